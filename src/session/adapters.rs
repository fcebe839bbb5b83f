//! Low-rank adapters (LoRA; Hu et al., arXiv 2106.09685) beside matrix weights of the program: y = x·W + s·dropout(x)·A·B with
//! s = alpha / rank. Only A and B train; export adds s·A·B to W, so the file keeps its form.

use crate::base::Reporter;
use crate::edits::heads::Initializer;
use crate::graph::{NodeKey, ValueKey};
use crate::ops::elementwise::{Binary, BinaryFn};
use crate::ops::linalg::MatMul;
use crate::ops::make;
use crate::ops::random::Dropout;
use crate::program::{Builder, Def, Instr, InstrKind, Misfit, Program, Value};
use crate::tensor::{DType, Payload, Tensor};

use super::error::SessionError;
use super::recipe::LoraChoice;
use super::select::{self, Candidate};

/// Part of the names of adapters' dropout.
pub const DROPOUT: &str = "lora_dropout";

/// The adapter of one weight.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub weight: NodeKey,
    /// A `[inputs, rank]` and B `[rank, outputs]`, constants of the program.
    pub a: (NodeKey, Value),
    pub b: (NodeKey, Value),
    /// alpha / rank.
    pub scale: f64,
    /// Whether the weight is `[outputs, inputs]`.
    pub is_transposed: bool,
}

impl Adapter {
    /// The weight with the adapter in it, for a weight of any float type.
    pub fn merged(&self, weight: &Tensor, a: &Tensor, b: &Tensor) -> Option<Tensor> {
        let (w, a_values, b_values) = (weight.to_f64s()?, a.to_f64s()?, b.to_f64s()?);
        let (&[inputs, rank], &[rank_b, outputs]) = (a.shape(), b.shape()) else { return None };
        if rank != rank_b || w.len() != inputs * outputs {
            return None;
        }
        let mut out = w;
        for i in 0..inputs {
            for r in 0..rank {
                let factor = self.scale * a_values[i * rank + r];
                for o in 0..outputs {
                    let at = if self.is_transposed { o * inputs + i } else { i * outputs + o };
                    out[at] += factor * b_values[r * outputs + o];
                }
            }
        }
        Some(Tensor::from_f64s(weight.dtype(), weight.shape(), out))
    }
}

/// Puts adapters beside the weights that `choice` selects. Values keep their numbers. Errors: a selector that fits no matrix,
/// a rank that no matrix has.
pub fn insert(
    program: &mut Program,
    choice: &LoraChoice,
    candidates: &[Candidate<'_>],
    nodes: &[(NodeKey, Value)],
    reporter: &mut Reporter,
) -> Result<Vec<Adapter>, SessionError> {
    if choice.rank == 0 || choice.rank > 1 << 14 || !choice.alpha.is_finite() || !(0.0..1.0).contains(&choice.dropout) {
        return Err(SessionError::Choice(format!(
            "LoRA with rank {}, alpha {} and dropout {} is not possible: the rank must be from 1 to 16384, the dropout from 0 \
             to below 1",
            choice.rank, choice.alpha, choice.dropout
        )));
    }
    let chosen = select::choose(&choice.weights, &[], candidates).map_err(SessionError::Choice)?;
    if let Some(s) = chosen.unmatched_include.first() {
        return Err(SessionError::Choice(format!("the LoRA selector {s} matches no constant of this model")));
    }
    let mut adapters = Vec::new();
    for &i in &chosen.chosen {
        let (node, value) = &nodes[i];
        match beside(program, choice, node, *value) {
            Ok(adapter) => adapters.push(adapter),
            Err(m) => {
                let what = format!("{node} gets no adapter: {m}");
                reporter.warning("no-adapter", what, Some(node.as_str().to_owned()));
            }
        }
    }
    if adapters.is_empty() {
        return Err(SessionError::Choice("LoRA found no matrix weight to stand beside".to_owned()));
    }
    Ok(adapters)
}

fn beside(program: &mut Program, choice: &LoraChoice, node: &NodeKey, weight: Value) -> Result<Adapter, Misfit> {
    let fact = program.fact(weight).clone();
    let dims = fact.dims().ok_or_else(|| Misfit::new("its shape is not known"))?;
    let &[rows, columns] = &dims[..] else {
        return Err(Misfit(format!("it is {}, not a matrix", fact.describe())));
    };
    let readers = program.readers()[weight.idx()].to_vec();
    let reads = |&i: &usize| -> Option<MatMul> {
        let instr = &program.instrs[i];
        (instr.inputs[1] == weight && instr.inputs[0] != weight).then(|| instr.op_as::<MatMul>().copied())?
    };
    let products: Vec<MatMul> = readers.iter().filter_map(reads).collect();
    let orientation = products.first().map(|op| op.transpose_b);
    let is_plain = products.len() == readers.len() && products.iter().all(|op| Some(op.transpose_b) == orientation);
    let is_transposed = is_plain && orientation == Some(true);
    let (inputs, outputs) = if is_transposed { (columns, rows) } else { (rows, columns) };
    if choice.rank > inputs.min(outputs) {
        return Err(Misfit(format!("rank {} is more than a matrix {rows}×{columns} has", choice.rank)));
    }
    let dtype = fact.dtype;
    let mut constant = |name: &str, tensor: Tensor| {
        let key = NodeKey::new(format!("{node}/{name}"));
        let value = Builder::new(program).constant(Some(key.clone()), Payload::from_tensor(tensor), None);
        (key, value)
    };
    let a = constant("lora_a", first(dtype, inputs, choice, node));
    let b = constant("lora_b", Tensor::zeros(dtype, &[choice.rank, outputs]));
    let adapter = Adapter { weight: node.clone(), a, b, scale: choice.alpha / choice.rank as f64, is_transposed };
    if is_plain && !products.is_empty() {
        beside_products(program, weight, &adapter, choice.dropout)?;
    } else {
        in_weight_space(program, weight, &adapter)?;
    }
    Ok(adapter)
}

/// y = x·W becomes x·W + s·dropout(x)·A·B wherever a product reads the weight.
fn beside_products(program: &mut Program, weight: Value, adapter: &Adapter, dropout: f64) -> Result<(), Misfit> {
    let old = std::mem::take(&mut program.instrs);
    let mut site = adapter.weight.as_str().bytes().fold(17u64, |h, b| h.wrapping_mul(0x0100_0000_01b3) ^ u64::from(b));
    for instr in old {
        let op = instr.op_as::<MatMul>().copied().filter(|_| instr.inputs[1] == weight);
        let Some(op) = op else {
            program.instrs.push(instr);
            continue;
        };
        let y = instr.outputs[0];
        let fact = program.fact(y).clone();
        let mut b = Builder::new(program);
        b.set_origin(instr.origin.clone());
        let plain = b.push(instr.kind.clone(), &instr.inputs, vec![fact])[0];
        let mut x = instr.inputs[0];
        if dropout > 0.0 {
            site = site.wrapping_add(1);
            x = dropped(&mut b, x, adapter, dropout, site)?;
        }
        let narrow = b.op(MatMul { transpose_a: op.transpose_a, transpose_b: false }, &[x, adapter.a.1])?;
        let wide = make::matmul(&mut b, narrow, adapter.b.1)?;
        let scaled = make::mul_scalar(&mut b, wide, adapter.scale)?;
        let sum = Instr {
            kind: add(),
            inputs: [plain, scaled].as_slice().into(),
            outputs: instr.outputs,
            origin: instr.origin,
        };
        program.instrs.push(sum);
    }
    settle(program);
    Ok(())
}

fn add() -> InstrKind {
    InstrKind::Op(std::sync::Arc::new(Binary { f: BinaryFn::Add }))
}

/// A dropout instruction under a name of its own, so that it is a site like those of the file.
fn dropped(b: &mut Builder, x: Value, adapter: &Adapter, rate: f64, site: u64) -> Result<Value, Misfit> {
    if b.program().value(x).key.is_none() {
        return Err(Misfit::new(
            "its input has no name in the file, so dropout before the adapter could not be switched off",
        ));
    }
    let rate = make::scalar_like(b, x, rate);
    let out = b.op(Dropout::new(site), &[x, rate])?;
    b.set_key(out, ValueKey::new(format!("{}/{DROPOUT}_{site:x}:0", adapter.weight)));
    Ok(out)
}

/// All readers get W + s·A·B.
fn in_weight_space(program: &mut Program, weight: Value, adapter: &Adapter) -> Result<(), Misfit> {
    let old = std::mem::take(&mut program.instrs);
    let mut b = Builder::new(program);
    b.set_origin(Some(adapter.weight.clone()));
    let product = make::matmul(&mut b, adapter.a.1, adapter.b.1)?;
    let scaled = make::mul_scalar(&mut b, product, adapter.scale)?;
    let sum = make::add(&mut b, weight, scaled)?;
    for mut instr in old {
        instr.inputs.iter_mut().filter(|v| **v == weight).for_each(|v| *v = sum);
        program.instrs.push(instr);
    }
    settle(program);
    Ok(())
}

/// Says of every value again which instruction computes it.
fn settle(program: &mut Program) {
    for (i, instr) in program.instrs.iter().enumerate() {
        for (port, v) in instr.outputs.iter().enumerate() {
            program.values[v.idx()].def = Def::Output { instr: i, port };
        }
    }
}

/// A starts uniform within ±1/√inputs, as PyTorch's linear layers do; B at 0, so that nothing changes at first.
fn first(dtype: DType, inputs: usize, choice: &LoraChoice, node: &NodeKey) -> Tensor {
    let limit = 1.0 / (inputs as f64).sqrt();
    Initializer::uniform(dtype, &[inputs, choice.rank], limit, choice.seed, node.as_str())
}
