//! What an op says about itself when it is asked about its examples: which element types it takes, and to which inputs
//! a gradient passes.

use crate::program::{Example, Flow, OpInfo};
use crate::tensor::{DType, Fact};

const FLOATS: &[DType] = &[DType::F16, DType::BF16, DType::F32, DType::F64];
const INTS: &[DType] = &[DType::I8, DType::I16, DType::I32, DType::I64, DType::U8, DType::U16, DType::U32, DType::U64];
const OTHERS: &[DType] = &[DType::Bool, DType::C64, DType::String];

/// Element types of the main operand (those of the first input, and of the others that share its type).
pub fn types(info: &OpInfo) -> String {
    let examples = (info.examples)();
    let takes = |d: DType| examples.iter().any(|e| accepts(e, d));
    let mut words = Vec::new();
    for (group, name) in [(FLOATS, "floats"), (INTS, "integers")] {
        let taken: Vec<&str> = group.iter().filter(|d| takes(**d)).map(|d| d.name()).collect();
        if taken.len() == group.len() {
            words.push(name.to_owned());
        } else {
            words.extend(taken.iter().map(|t| (*t).to_owned()));
        }
    }
    words.extend(OTHERS.iter().filter(|d| takes(**d)).map(|d| d.name().to_owned()));
    if words.is_empty() { "any that the file states".to_owned() } else { words.join(", ") }
}

/// Whether shape rule and kernel accept an example with its main type replaced.
fn accepts(example: &Example, to: DType) -> bool {
    let floats = example.inputs.iter().find(|t| t.dtype().is_float());
    let Some(main) = floats.or(example.inputs.first()).map(|t| t.dtype()) else {
        return false;
    };
    let fact = |t: &crate::tensor::Tensor| match t.dtype() == main {
        true if to == main => Fact::of_tensor(t),
        true => Fact::of_dims(to, t.shape()),
        false => Fact::of_tensor(t),
    };
    let facts: Vec<Fact> = example.inputs.iter().map(fact).collect();
    let inputs: Vec<&Fact> = facts.iter().collect();
    let Ok(outputs) = example.op.infer(&inputs) else { return false };
    let outputs: Vec<&Fact> = outputs.iter().collect();
    // Shapes that depend on values leave the kernel to the run.
    outputs.iter().any(|f| f.dims().is_none()) || example.op.kernel(&inputs, &outputs).is_ok()
}

/// Per input of the examples what becomes of a gradient; inputs that are never floating-point are left out.
pub fn gradient(info: &OpInfo) -> String {
    let examples = (info.examples)();
    let width = examples.iter().map(|e| e.inputs.len()).max().unwrap_or(0);
    let mut by_word: Vec<(String, Vec<usize>)> = Vec::new();
    for input in 0..width {
        let mut words: Vec<String> = Vec::new();
        for example in &examples {
            let facts: Vec<Fact> = example.inputs.iter().map(Fact::of_tensor).collect();
            let facts: Vec<&Fact> = facts.iter().collect();
            if facts.get(input).is_some_and(|f| f.dtype.is_float()) {
                let word = word(example.op.flow(input, &facts));
                if !words.contains(&word) {
                    words.push(word);
                }
            }
        }
        if words.is_empty() {
            continue;
        }
        let word = words.join(" or ");
        match by_word.iter_mut().find(|(w, _)| *w == word) {
            Some((_, inputs)) => inputs.push(input),
            None => by_word.push((word, vec![input])),
        }
    }
    let n_float: usize = by_word.iter().map(|(_, i)| i.len()).sum();
    match by_word.as_slice() {
        [] if info.name == "opaque" => "blocked".to_owned(),
        [] => "none: no floating-point input".to_owned(),
        [(word, _)] => {
            if n_float == 1 {
                word.clone()
            } else {
                format!("{word}, to each input")
            }
        }
        many => {
            let part = |(word, inputs): &(String, Vec<usize>)| {
                let list: Vec<String> = inputs.iter().map(ToString::to_string).collect();
                format!("input {}: {word}", list.join(", "))
            };
            many.iter().map(part).collect::<Vec<_>>().join("; ")
        }
    }
}

fn word(flow: Flow) -> String {
    match flow {
        Flow::Flows => "flows".to_owned(),
        Flow::Zero(why) => format!("zero ({why})"),
        Flow::Stopped { exact: true, why } => format!("stopped, which is exact ({why})"),
        Flow::Stopped { exact: false, why } => format!("stopped ({why})"),
        Flow::Blocked(why) => format!("blocked ({why})"),
    }
}
