//! Spellings of TensorFlow ops: the fused recurrent cells, written in primitives so that all of them are differentiable.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::StopGradient;
use crate::ops::linalg::MatMul;
use crate::ops::make;
use crate::program::{Misfit, Value};
use crate::tensor::{DType, Tensor};

pub const RULES: &[Spelling] = &[
    Spelling { op: "LSTMBlockCell", rule: lstm_block_cell },
    Spelling { op: "BlockLSTM", rule: |r| block_lstm(r, GateOrder::InputCellForget, 1.0) },
    Spelling { op: "BlockLSTMV2", rule: |r| block_lstm(r, GateOrder::InputForgetCell, 0.0) },
    Spelling { op: "GRUBlockCell", rule: gru_block_cell },
];

/// Longest sequence that is unrolled.
const MAX_STEPS: usize = 4096;

/// Order of the first three gates in the columns of the kernel; the output gate is last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum GateOrder {
    InputCellForget,
    InputForgetCell,
}

/// Weights and settings of an LSTM cell.
struct Lstm {
    weights: Value,
    bias: Value,
    /// Diagonal weights from the cell state to input, forget and output gate.
    peepholes: Option<[Value; 3]>,
    order: GateOrder,
    forget_bias: f64,
    cell_clip: f64,
    units: usize,
}

/// What a step of an LSTM gives, in the order of TensorFlow's outputs.
struct LstmStep {
    input_gate: Value,
    cell: Value,
    forget_gate: Value,
    output_gate: Value,
    candidate: Value,
    squashed: Value,
    hidden: Value,
}

impl LstmStep {
    fn outputs(&self) -> [Value; 7] {
        [self.input_gate, self.cell, self.forget_gate, self.output_gate, self.candidate, self.squashed, self.hidden]
    }
}

/// Reads the attributes and the inputs that start at `first` (w, wci, wcf, wco, b).
fn lstm(r: &mut Rule<'_, '_>, first: usize, order: GateOrder, forget_bias: f64, clip: f32) -> Result<Lstm, Misfit> {
    let peepholes = match r.bool_or("use_peephole", false) {
        true => Some([r.input(first + 1)?, r.input(first + 2)?, r.input(first + 3)?]),
        false => None,
    };
    let units = r.fact(first + 4)?.shape.dim(0).ok_or_else(|| Misfit::new("the number of units must be known"))? / 4;
    Ok(Lstm {
        weights: r.input(first)?,
        bias: r.input(first + 4)?,
        peepholes,
        order,
        forget_bias: f64::from(r.float_or("forget_bias", forget_bias as f32)),
        cell_clip: f64::from(r.float_or("cell_clip", clip)),
        units,
    })
}

/// `sigmoid(gate + cell · weight)`, without the product where there is no peephole.
fn gate(r: &mut Rule<'_, '_>, raw: Value, cell: Value, peephole: Option<Value>) -> Result<Value, Misfit> {
    let sum = match peephole {
        Some(w) => {
            let from_cell = make::mul(r.b, cell, w)?;
            make::add(r.b, raw, from_cell)?
        }
        None => raw,
    };
    make::sigmoid(r.b, sum)
}

fn lstm_step(r: &mut Rule<'_, '_>, net: &Lstm, x: Value, cell: Value, hidden: Value) -> Result<LstmStep, Misfit> {
    let joined = make::concat(r.b, &[x, hidden], 1)?;
    let product = r.b.op(MatMul::default(), &[joined, net.weights])?;
    let raw = make::add(r.b, product, net.bias)?;
    let mut column = |i: usize| make::slice(r.b, raw, &[0, (i * net.units) as i64], &[-1, net.units as i64]);
    let (first, second, third, last) = (column(0)?, column(1)?, column(2)?, column(3)?);
    let (candidate, forget) = match net.order {
        GateOrder::InputCellForget => (second, third),
        GateOrder::InputForgetCell => (third, second),
    };
    let forget = make::add_scalar(r.b, forget, net.forget_bias)?;
    let input_gate = gate(r, first, cell, net.peepholes.map(|p| p[0]))?;
    let forget_gate = gate(r, forget, cell, net.peepholes.map(|p| p[1]))?;
    let candidate = make::tanh(r.b, candidate)?;
    let fresh = make::mul(r.b, candidate, input_gate)?;
    let kept = make::mul(r.b, cell, forget_gate)?;
    let mut cell = make::add(r.b, fresh, kept)?;
    if net.cell_clip > 0.0 {
        let (low, high) = (make::scalar_like(r.b, cell, -net.cell_clip), make::scalar_like(r.b, cell, net.cell_clip));
        cell = make::maximum(r.b, cell, low)?;
        cell = make::minimum(r.b, cell, high)?;
    }
    let output_gate = gate(r, last, cell, net.peepholes.map(|p| p[2]))?;
    let squashed = make::tanh(r.b, cell)?;
    let hidden = make::mul(r.b, squashed, output_gate)?;
    Ok(LstmStep { input_gate, cell, forget_gate, output_gate, candidate, squashed, hidden })
}

/// Inputs x, cs_prev, h_prev, w, wci, wcf, wco, b; outputs i, cs, f, o, ci, co, h.
fn lstm_block_cell(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let net = lstm(r, 3, GateOrder::InputCellForget, 1.0, 3.0)?;
    let (x, cell, hidden) = (r.input(0)?, r.input(1)?, r.input(2)?);
    Ok(lstm_step(r, &net, x, cell, hidden)?.outputs().into_iter().collect())
}

/// Inputs seq_len_max, x [time, batch, in], cs_prev, h_prev, w, wci, wcf, wco, b; outputs as the cell's, stacked over time
/// and zero from seq_len_max on. As in TensorFlow only the cell state and the hidden state pass gradients.
fn block_lstm(r: &mut Rule<'_, '_>, order: GateOrder, forget_bias: f64) -> Result<Outputs, Misfit> {
    let clip = if order == GateOrder::InputCellForget { 3.0 } else { 0.0 };
    let net = lstm(r, 4, order, forget_bias, clip)?;
    let x = r.input(1)?;
    let steps = r.fact(1)?.shape.dim(0).filter(|&t| t > 0 && t <= MAX_STEPS);
    let steps =
        steps.ok_or_else(|| Misfit(format!("the number of time steps must be known, from 1 to {MAX_STEPS}")))?;
    let features = r.fact(1)?.shape.dim(2).ok_or_else(|| Misfit::new("the number of features must be known"))?;
    let length = r.input(0)?;
    let (mut cell, mut hidden) = (r.input(2)?, r.input(3)?);
    let mut over_time: [Vec<Value>; 7] = Default::default();
    for t in 0..steps {
        let x_t = make::slice(r.b, x, &[t as i64, 0, 0], &[1, -1, -1])?;
        let x_t = make::reshape(r.b, x_t, &[-1, features as i64])?;
        let step = lstm_step(r, &net, x_t, cell, hidden)?;
        (cell, hidden) = (step.cell, step.hidden);
        for (port, (all, mut v)) in over_time.iter_mut().zip(step.outputs()).enumerate() {
            if port != 1 && port != 6 {
                v = r.b.op(StopGradient, &[v])?;
            }
            v = within(r, v, t, length)?;
            all.push(make::expand_dims(r.b, v, 0)?);
        }
    }
    over_time.iter().map(|all| make::concat(r.b, all, 0)).collect()
}

/// `v` where step `t` is within the sequence, else zero.
fn within(r: &mut Rule<'_, '_>, v: Value, t: usize, length: Value) -> Result<Value, Misfit> {
    match r.b.fact(length).scalar() {
        Some(n) if (t as f64) < n => Ok(v),
        Some(_) => make::mul_scalar(r.b, v, 0.0),
        None => {
            let dtype = r.b.fact(length).dtype;
            let t = r.b.literal(Tensor::filled(dtype, &[], t as f64));
            let inside = make::less(r.b, t, length)?;
            let to: DType = r.b.fact(v).dtype;
            let factor = make::cast(r.b, inside, to)?;
            make::mul(r.b, v, factor)
        }
    }
}

/// Inputs x, h_prev, w_ru, w_c, b_ru, b_c; outputs r, u, c, h.
fn gru_block_cell(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let [x, hidden, w_ru, w_c, b_ru, b_c] =
        [r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?, r.input(4)?, r.input(5)?];
    let units = r.fact(5)?.shape.dim(0).ok_or_else(|| Misfit::new("the number of units must be known"))? as i64;
    let joined = make::concat(r.b, &[x, hidden], 1)?;
    let product = r.b.op(MatMul::default(), &[joined, w_ru])?;
    let raw = make::add(r.b, product, b_ru)?;
    let gates = make::sigmoid(r.b, raw)?;
    let reset = make::slice(r.b, gates, &[0, 0], &[-1, units])?;
    let update = make::slice(r.b, gates, &[0, units], &[-1, units])?;
    let remembered = make::mul(r.b, hidden, reset)?;
    let joined = make::concat(r.b, &[x, remembered], 1)?;
    let product = r.b.op(MatMul::default(), &[joined, w_c])?;
    let raw = make::add(r.b, product, b_c)?;
    let candidate = make::tanh(r.b, raw)?;
    let difference = make::sub(r.b, hidden, candidate)?;
    let moved = make::mul(r.b, update, difference)?;
    let hidden = make::add(r.b, candidate, moved)?;
    Ok(smallvec![reset, update, candidate, hidden])
}
