//! Spellings of ONNX ops: RNN, GRU, LSTM as loops over primitives; unrolled at once where the number of steps is known.
//!
//! The products with the inputs of all steps are one matrix product before the loop. Weights are `[directions, gates ·
//! hidden, …]` with gates in the order `iofc` (LSTM) and `zrh` (GRU).

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::UnaryFn;
use crate::ops::linalg::MatMul;
use crate::ops::make;
use crate::ops::shape::{Append, ShapeOf};
use crate::program::{Builder, InstrKind, LoopBlocks, Misfit, Program, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

use super::arrays::{pick, reversed, reversed_sequences, stack};
use super::common::{Spelled, floats_attr, rows, texts_attr};

pub const RULES: &[Spelling] = rows! {
    "RNN" => |r| recurrent(r, Kind::Rnn);
    "GRU" => |r| recurrent(r, Kind::Gru);
    "LSTM" => |r| recurrent(r, Kind::Lstm);
};

/// Sequences up to this length are unrolled while spelling.
const MAX_UNROLLED: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rnn,
    Gru,
    Lstm,
}

impl Kind {
    fn gates(self) -> i64 {
        match self {
            Self::Rnn => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }
}

/// An activation function with its parameters.
#[derive(Clone, Copy, Debug)]
struct Activation {
    f: Function,
    alpha: f64,
    beta: f64,
}

#[derive(Clone, Copy, Debug)]
enum Function {
    Plain(UnaryFn),
    Affine,
    LeakyRelu,
    ThresholdedRelu,
    ScaledTanh,
    HardSigmoid,
    Elu,
}

impl Activation {
    fn named(name: &str) -> Result<(Self, usize), Misfit> {
        let plain = |f| (Self { f: Function::Plain(f), alpha: 1.0, beta: 1.0 }, 0);
        let with = |f, alpha, beta, n| (Self { f, alpha, beta }, n);
        Ok(match name.to_lowercase().as_str() {
            "relu" => plain(UnaryFn::Relu),
            "tanh" => plain(UnaryFn::Tanh),
            "sigmoid" => plain(UnaryFn::Sigmoid),
            "softsign" => plain(UnaryFn::Softsign),
            "softplus" => plain(UnaryFn::Softplus),
            "affine" => with(Function::Affine, 1.0, 0.0, 2),
            "leakyrelu" => with(Function::LeakyRelu, 0.01, 0.0, 1),
            "thresholdedrelu" => with(Function::ThresholdedRelu, 1.0, 0.0, 1),
            "scaledtanh" => with(Function::ScaledTanh, 1.0, 1.0, 2),
            "hardsigmoid" => with(Function::HardSigmoid, 0.2, 0.5, 2),
            "elu" => with(Function::Elu, 1.0, 0.0, 1),
            other => return Err(Misfit(format!("unknown activation {other:?}"))),
        })
    }

    fn apply(self, b: &mut Builder, x: Value) -> Result<Value, Misfit> {
        let zero = make::scalar_like(b, x, 0.0);
        match self.f {
            Function::Plain(f) => make::unary(b, f, x),
            Function::Affine => {
                let y = make::mul_scalar(b, x, self.alpha)?;
                make::add_scalar(b, y, self.beta)
            }
            Function::LeakyRelu => {
                let low = make::mul_scalar(b, x, self.alpha)?;
                let above = make::greater_equal(b, x, zero)?;
                make::select(b, above, x, low)
            }
            Function::ThresholdedRelu => {
                let bound = make::scalar_like(b, x, self.alpha);
                let above = make::greater(b, x, bound)?;
                make::select(b, above, x, zero)
            }
            Function::ScaledTanh => {
                let y = make::mul_scalar(b, x, self.beta)?;
                let y = make::tanh(b, y)?;
                make::mul_scalar(b, y, self.alpha)
            }
            Function::HardSigmoid => super::math::hard_sigmoid(b, x, self.alpha as f32, self.beta as f32),
            Function::Elu => {
                let low = make::minimum(b, x, zero)?;
                let low = make::unary(b, UnaryFn::Expm1, low)?;
                let low = make::mul_scalar(b, low, self.alpha)?;
                let above = make::greater(b, x, zero)?;
                make::select(b, above, x, low)
            }
        }
    }
}

/// Attributes that all directions share.
#[derive(Clone, Debug)]
struct Cell {
    kind: Kind,
    hidden: i64,
    /// Of one direction.
    activations: Vec<Activation>,
    clip: Option<f64>,
    linear_before_reset: bool,
    input_forget: bool,
}

/// Values of one direction that stay the same in all steps; where they are left out, `None`.
#[derive(Clone, Copy, Debug)]
struct Weights {
    /// Recurrent weights `[gates · hidden, hidden]`.
    recurrent: Value,
    /// Recurrent bias of the hidden gate (GRU with `linear_before_reset`).
    hidden_bias: Option<Value>,
    /// Peepholes `[3 · hidden]` of input, output and forget gate (LSTM).
    peepholes: Option<Value>,
    /// Valid steps of each sequence `[batch, 1]`.
    lengths: Option<Value>,
}

impl Weights {
    fn list(&self) -> Vec<Value> {
        [Some(self.recurrent), self.hidden_bias, self.peepholes, self.lengths].into_iter().flatten().collect()
    }

    /// The same with other values, in the order of [`Self::list`].
    fn with(&self, values: &[Value]) -> Self {
        let mut rest = values.iter().copied();
        let mut next = |is_there: bool| if is_there { rest.next() } else { None };
        Self {
            recurrent: next(true).unwrap_or(self.recurrent),
            hidden_bias: next(self.hidden_bias.is_some()),
            peepholes: next(self.peepholes.is_some()),
            lengths: next(self.lengths.is_some()),
        }
    }
}

fn recurrent(r: &mut Rule<'_, '_>, kind: Kind) -> Spelled {
    let (x, w, rec) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let known = r.b.fact(rec).shape.dim(2).map(|d| d as i64);
    let hidden = r.attr("hidden_size").and_then(crate::graph::Attr::as_int).or(known);
    let hidden = hidden.filter(|&h| h > 0).ok_or_else(|| Misfit::new("hidden_size is not known"))?;
    let direction = r.str_or("direction", "forward").to_owned();
    let directions: &[bool] = match direction.as_str() {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => return Err(Misfit(format!("unknown direction {other:?}"))),
    };
    let activations = activations(r, kind, directions.len())?;
    let batch_first = r.int_or("layout", 0) != 0;
    let x = if batch_first { make::transpose(r.b, x, &[1, 0, 2])? } else { x };
    let lengths = match r.has_input(4) {
        true => {
            let l = r.input(4)?;
            let l = make::cast(r.b, l, DType::I64)?;
            Some(make::reshape(r.b, l, &[-1, 1])?)
        }
        false => None,
    };
    let n_states = if kind == Kind::Lstm { 2 } else { 1 };
    let (mut all_steps, mut finals) = (Vec::new(), vec![Vec::new(); n_states]);
    for (d, &backward) in directions.iter().enumerate() {
        let per_direction = activations.len() / directions.len();
        let cell = Cell {
            kind,
            hidden,
            activations: activations[d * per_direction..(d + 1) * per_direction].to_vec(),
            clip: r.attr("clip").and_then(crate::graph::Attr::as_float).map(f64::from),
            linear_before_reset: r.int_or("linear_before_reset", 0) != 0,
            input_forget: r.int_or("input_forget", 0) != 0,
        };
        let (w, rec) = (pick(r.b, w, 0, d as i64)?, pick(r.b, rec, 0, d as i64)?);
        let x = turned(r.b, x, lengths, backward)?;
        let (projected, hidden_bias) = projected(r, &cell, x, w, d)?;
        let peepholes = match kind == Kind::Lstm && r.has_input(7) {
            true => Some({
                let p = r.input(7)?;
                pick(r.b, p, 0, d as i64)?
            }),
            false => None,
        };
        let weights = Weights { recurrent: rec, hidden_bias, peepholes, lengths };
        let mut state = Vec::new();
        for i in 0..n_states {
            state.push(initial(r, x, 5 + i, d, hidden, batch_first)?);
        }
        let (state, steps) = run(r.b, &cell, projected, &state, &weights)?;
        all_steps.push(turned(r.b, steps, lengths, backward)?);
        finals.iter_mut().zip(state).for_each(|(f, s)| f.push(s));
    }
    let mut out: Outputs = smallvec![stack(r.b, &all_steps, 1)?];
    for f in &finals {
        out.push(stack(r.b, f, 0)?);
    }
    if batch_first {
        // [seq, dirs, batch, h] → [batch, seq, dirs, h]; [dirs, batch, h] → [batch, dirs, h].
        out[0] = make::transpose(r.b, out[0], &[2, 0, 1, 3])?;
        for v in &mut out[1..] {
            *v = make::transpose(r.b, *v, &[1, 0, 2])?;
        }
    }
    Ok(out)
}

fn activations(r: &Rule<'_, '_>, kind: Kind, directions: usize) -> Result<Vec<Activation>, Misfit> {
    let default: &[&str] = match kind {
        Kind::Rnn => &["Tanh"],
        Kind::Gru => &["Sigmoid", "Tanh"],
        Kind::Lstm => &["Sigmoid", "Tanh", "Tanh"],
    };
    let names = texts_attr(r, "activations").filter(|n| !n.is_empty());
    let names = names.unwrap_or_else(|| default.repeat(directions).iter().map(|s| (*s).to_owned()).collect());
    if names.len() != default.len() * directions {
        return Err(Misfit(format!("{} activations for {directions} directions", names.len())));
    }
    let (alphas, betas) = (floats_attr(r, "activation_alpha"), floats_attr(r, "activation_beta"));
    let mut alphas = alphas.unwrap_or_default().into_iter();
    let mut betas = betas.unwrap_or_default().into_iter();
    names
        .iter()
        .map(|name| {
            let (mut a, parameters) = Activation::named(name)?;
            if parameters > 0 {
                a.alpha = alphas.next().unwrap_or(a.alpha);
            }
            if parameters > 1 {
                a.beta = betas.next().unwrap_or(a.beta);
            }
            Ok(a)
        })
        .collect()
}

/// Time in reverse, within each sequence where lengths are given.
fn turned(b: &mut Builder, x: Value, lengths: Option<Value>, backward: bool) -> Result<Value, Misfit> {
    match (backward, lengths) {
        (false, _) => Ok(x),
        (true, None) => reversed(b, x, &[0]),
        (true, Some(l)) => reversed_sequences(b, x, l, 0, 1),
    }
}

/// `x Wᵀ + b` for all steps. Input and recurrent bias are one sum, but for the hidden gate of a GRU that resets after
/// its product.
fn projected(
    r: &mut Rule<'_, '_>,
    cell: &Cell,
    x: Value,
    w: Value,
    d: usize,
) -> Result<(Value, Option<Value>), Misfit> {
    let y = r.b.op(MatMul { transpose_a: false, transpose_b: true }, &[x, w])?;
    if !r.has_input(3) {
        return Ok((y, None));
    }
    let bias = r.input(3)?;
    let bias = pick(r.b, bias, 0, d as i64)?;
    let n = cell.kind.gates() * cell.hidden;
    let (input, mut rec) = (make::slice(r.b, bias, &[0], &[n])?, make::slice(r.b, bias, &[n], &[n])?);
    let mut hidden_bias = None;
    if cell.kind == Kind::Gru && cell.linear_before_reset {
        let gates = make::slice(r.b, rec, &[0], &[2 * cell.hidden])?;
        hidden_bias = Some(make::slice(r.b, rec, &[2 * cell.hidden], &[cell.hidden])?);
        rec = make::pad(r.b, gates, &[(0, cell.hidden)])?;
    }
    let bias = make::add(r.b, input, rec)?;
    Ok((make::add(r.b, y, bias)?, hidden_bias))
}

/// The state before the first step: given, or zeros.
fn initial(
    r: &mut Rule<'_, '_>,
    x: Value,
    input: usize,
    d: usize,
    hidden: i64,
    batch_first: bool,
) -> Result<Value, Misfit> {
    if r.has_input(input) {
        let all = r.input(input)?;
        return pick(r.b, all, usize::from(batch_first), d as i64);
    }
    let zero = make::scalar_like(r.b, x, 0.0);
    let shape = match r.b.fact(x).shape.dim(1) {
        Some(batch) => r.ints_literal(&[batch as i64, hidden]),
        None => {
            let sizes = r.b.op(ShapeOf { to: DType::I64 }, &[x])?;
            let batch = make::slice(r.b, sizes, &[1], &[1])?;
            let hidden = r.ints_literal(&[hidden]);
            make::concat(r.b, &[batch, hidden], 0)?
        }
    };
    make::broadcast_to(r.b, zero, shape)
}

impl Cell {
    fn gate(&self, b: &mut Builder, all: Value, i: i64) -> Result<Value, Misfit> {
        make::slice(b, all, &[0, i * self.hidden], &[-1, self.hidden])
    }

    fn clipped(&self, b: &mut Builder, x: Value) -> Result<Value, Misfit> {
        let Some(limit) = self.clip else { return Ok(x) };
        let (low, high) = (make::scalar_like(b, x, -limit), make::scalar_like(b, x, limit));
        let x = make::maximum(b, x, low)?;
        make::minimum(b, x, high)
    }

    fn activate(&self, b: &mut Builder, i: usize, x: Value) -> Result<Value, Misfit> {
        let x = self.clipped(b, x)?;
        self.activations[i].apply(b, x)
    }

    /// The state after a step; `x` are the projected inputs of the step `[batch, gates · hidden]`.
    fn step(&self, b: &mut Builder, x: Value, state: &[Value], w: &Weights) -> Result<Vec<Value>, Misfit> {
        let by_transposed = MatMul { transpose_a: false, transpose_b: true };
        match self.kind {
            Kind::Rnn => {
                let from_state = b.op(by_transposed, &[state[0], w.recurrent])?;
                let sum = make::add(b, x, from_state)?;
                Ok(vec![self.activate(b, 0, sum)?])
            }
            Kind::Gru => self.gru(b, x, state[0], w).map(|h| vec![h]),
            Kind::Lstm => {
                let from_state = b.op(by_transposed, &[state[0], w.recurrent])?;
                let gates = make::add(b, x, from_state)?;
                self.lstm(b, gates, state[1], w)
            }
        }
    }

    fn gru(&self, b: &mut Builder, x: Value, h: Value, w: &Weights) -> Result<Value, Misfit> {
        let by_transposed = MatMul { transpose_a: false, transpose_b: true };
        let n = self.hidden;
        let from_gates = make::slice(b, w.recurrent, &[0, 0], &[2 * n, -1])?;
        let from_hidden = make::slice(b, w.recurrent, &[2 * n, 0], &[n, -1])?;
        let gates = b.op(by_transposed, &[h, from_gates])?;
        let given = make::slice(b, x, &[0, 0], &[-1, 2 * n])?;
        let gates = make::add(b, given, gates)?;
        let (z, r) = (self.gate(b, gates, 0)?, self.gate(b, gates, 1)?);
        let (z, r) = (self.activate(b, 0, z)?, self.activate(b, 0, r)?);
        let inner = if self.linear_before_reset {
            let mut inner = b.op(by_transposed, &[h, from_hidden])?;
            if let Some(bias) = w.hidden_bias {
                inner = make::add(b, inner, bias)?;
            }
            make::mul(b, r, inner)?
        } else {
            let reset = make::mul(b, r, h)?;
            b.op(by_transposed, &[reset, from_hidden])?
        };
        let given = self.gate(b, x, 2)?;
        let new = make::add(b, given, inner)?;
        let new = self.activate(b, 1, new)?;
        // (1 - z) · new + z · h
        let change = make::sub(b, h, new)?;
        let change = make::mul(b, z, change)?;
        make::add(b, new, change)
    }

    fn lstm(&self, b: &mut Builder, gates: Value, c: Value, w: &Weights) -> Result<Vec<Value>, Misfit> {
        let peephole = |b: &mut Builder, gate: Value, i: i64, c: Value| -> Result<Value, Misfit> {
            let Some(p) = w.peepholes else { return Ok(gate) };
            let p = make::slice(b, p, &[i * self.hidden], &[self.hidden])?;
            let more = make::mul(b, p, c)?;
            make::add(b, gate, more)
        };
        let (i, o) = (self.gate(b, gates, 0)?, self.gate(b, gates, 1)?);
        let (f, new) = (self.gate(b, gates, 2)?, self.gate(b, gates, 3)?);
        let i = peephole(b, i, 0, c)?;
        let i = self.activate(b, 0, i)?;
        let f = if self.input_forget {
            let one = make::scalar_like(b, i, 1.0);
            make::sub(b, one, i)?
        } else {
            let f = peephole(b, f, 2, c)?;
            self.activate(b, 0, f)?
        };
        let new = self.activate(b, 1, new)?;
        let (kept, added) = (make::mul(b, f, c)?, make::mul(b, i, new)?);
        let c = make::add(b, kept, added)?;
        let o = peephole(b, o, 1, c)?;
        let o = self.activate(b, 0, o)?;
        let shown = self.activations[2].apply(b, c)?;
        Ok(vec![make::mul(b, o, shown)?, c])
    }

    /// A step of which only sequences that still go on take notice: the state, and what the step gives.
    fn guarded(
        &self,
        b: &mut Builder,
        x: Value,
        t: Value,
        state: &[Value],
        w: &Weights,
    ) -> Result<(Vec<Value>, Value), Misfit> {
        let next = self.step(b, x, state, w)?;
        let Some(lengths) = w.lengths else { return Ok((next.clone(), next[0])) };
        let goes_on = make::less(b, t, lengths)?;
        let kept: Result<Vec<Value>, Misfit> =
            next.iter().zip(state).map(|(&n, &s)| make::select(b, goes_on, n, s)).collect();
        let zero = make::scalar_like(b, next[0], 0.0);
        let shown = make::select(b, goes_on, next[0], zero)?;
        Ok((kept?, shown))
    }
}

/// All steps: the last state, and what each step gives `[seq, batch, hidden]`.
fn run(b: &mut Builder, cell: &Cell, x: Value, state: &[Value], w: &Weights) -> Result<(Vec<Value>, Value), Misfit> {
    if let Some(n) = b.fact(x).shape.dim(0).filter(|&n| (1..=MAX_UNROLLED).contains(&n)) {
        let (mut state, mut steps) = (state.to_vec(), Vec::new());
        for t in 0..n {
            let x = pick(b, x, 0, t as i64)?;
            let at = make::scalar(b, DType::I64, t as f64);
            let shown;
            (state, shown) = cell.guarded(b, x, at, &state, w)?;
            steps.push(shown);
        }
        return Ok((state, stack(b, &steps, 0)?));
    }
    looped(b, cell, x, state, w)
}

/// As a loop instruction. State: step, hidden state (and cell), what was given so far; invariants: number of steps, inputs,
/// weights.
fn looped(b: &mut Builder, cell: &Cell, x: Value, state: &[Value], w: &Weights) -> Result<(Vec<Value>, Value), Misfit> {
    let dtype = b.fact(x).dtype;
    let sizes = b.op(ShapeOf { to: DType::I64 }, &[x])?;
    let n = make::slice(b, sizes, &[0], &[1])?;
    let n = make::reshape(b, n, &[])?;
    let first = b.literal(Tensor::scalar(0i64));
    let batch = b.fact(x).shape.dim(1);
    let nothing = b.literal(Tensor::zeros(dtype, &[0, batch.unwrap_or(0), cell.hidden as usize]));
    let hidden = Some(cell.hidden as usize);
    let mut facts = vec![Fact::of_dims(DType::I64, &[])];
    facts.extend(state.iter().map(|_| Fact::new(dtype, PartialShape::from_partial([batch, hidden]))));
    facts.push(Fact::new(dtype, PartialShape::from_partial([None, batch, hidden])));
    let mut inputs = vec![first];
    inputs.extend(state);
    inputs.push(nothing);
    let n_state = inputs.len();
    inputs.extend([n, x]);
    inputs.extend(w.list());
    let outer: Vec<Fact> = inputs[n_state..].iter().map(|&v| Fact { value: None, ..b.fact(v).clone() }).collect();
    let open = |program: &mut Program| -> Vec<Value> {
        let mut b = Builder::new(program);
        facts.iter().chain(&outer).enumerate().map(|(i, f)| b.feed(format!("carried {i}"), f.clone())).collect()
    };
    let (mut cond, mut body) = (Program::default(), Program::default());
    let own = open(&mut cond);
    let more = make::less(&mut Builder::new(&mut cond), own[0], own[n_state])?;
    cond.outputs = vec![more];
    let own = open(&mut body);
    let mut inner = Builder::new(&mut body);
    let step = make::gather(&mut inner, own[n_state + 1], own[0], 0)?;
    let weights = w.with(&own[n_state + 2..]);
    let (next, shown) = cell.guarded(&mut inner, step, own[0], &own[1..n_state - 1], &weights)?;
    let mut outputs = vec![make::add_scalar(&mut inner, own[0], 1.0)?];
    outputs.extend(next);
    outputs.push(inner.op(Append, &[own[n_state - 1], shown])?);
    body.outputs = outputs;
    let blocks = LoopBlocks { cond, body, n_state };
    let out = b.push(InstrKind::Loop(Box::new(blocks)), &inputs, facts.clone());
    Ok((out[1..n_state - 1].to_vec(), out[n_state - 1]))
}
