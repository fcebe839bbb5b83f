//! Models with one output for two classes: where their scores are, and whether labels are two classes, marks or numbers.

use crate::data::{Columns, DataSet, LabelVocabulary, Target};
use crate::ops::elementwise::{Select, Unary, UnaryFn};
use crate::program::{Program, Value};

/// The last dimension of a prediction; 1 for a value per example.
pub fn width(program: &Program, prediction: Value) -> Option<usize> {
    let shape = &program.fact(prediction).shape;
    match shape.rank()? {
        0 => None,
        1 => Some(1),
        rank => shape.dim(rank - 1),
    }
}

fn unary(program: &Program, v: Value, f: UnaryFn) -> Option<Value> {
    let (_, instr) = program.producer(v)?;
    instr.op_as::<Unary>().filter(|op| op.f == f).and(instr.inputs.first().copied())
}

/// The score behind a probability: metrics and predictions read scores.
pub fn before_sigmoid(program: &Program, v: Value) -> Option<Value> {
    unary(program, v, UnaryFn::Sigmoid)
}

/// What a sigmoid cross-entropy reads: its term log(1 + exp(−|x|)), however |x| is spelled, stands on the way to the loss.
pub fn score_of_loss(program: &Program, is_live: impl Fn(Value) -> bool) -> Option<Value> {
    let outputs = program.instrs.iter().rev().filter_map(|i| i.outputs.first().copied()).filter(|v| is_live(*v));
    let negated = |v: Value| unary(program, v, UnaryFn::Neg);
    let minus_size = |v: Value| {
        if let Some(size) = negated(v) {
            return unary(program, size, UnaryFn::Abs);
        }
        let (_, instr) = program.producer(v)?;
        instr.op_as::<Select>()?;
        let &[_, a, b] = &instr.inputs[..] else { return None };
        if negated(a) == Some(b) { Some(b) } else { (negated(b) == Some(a)).then_some(a) }
    };
    let of_term = |v: Value| match unary(program, v, UnaryFn::Log1p) {
        Some(e) => minus_size(unary(program, e, UnaryFn::Exp)?),
        None => minus_size(unary(program, v, UnaryFn::Softplus)?),
    };
    outputs.filter_map(of_term).next()
}

/// What labels mean where the model has one output: two different ones are classes, more are numbers. `found` is what
/// would be meant otherwise.
pub fn target(found: Target, sample: &DataSet, columns: &Columns) -> Target {
    if found == Target::Values || columns.label.len() > 1 {
        return found;
    }
    let as_classes = Columns { target: Target::Classes, ..columns.clone() };
    let labels = sample.labels(&as_classes).ok().flatten();
    let is_number = |n: &String| n.parse::<f64>().is_ok();
    match labels {
        Some(l) if l.len() == 2 => Target::Classes,
        Some(l) if l.len() > 2 && found == Target::Classes && l.names().iter().all(is_number) => Target::Values,
        _ => found,
    }
}

/// The same where the classes are known: those of the training data, which data to evaluate on need not all contain.
pub fn target_of(found: Target, labels: Option<&LabelVocabulary>) -> Target {
    match labels {
        Some(l) if l.len() == 2 && found != Target::Values => Target::Classes,
        None if found == Target::Classes => Target::Values,
        _ => found,
    }
}
