//! Einstein summation against the definition: a sum over all axis names, element by element.

use std::collections::BTreeMap;

use regraft::ops::linalg::einsum::einsum;
use regraft::program::eval::eval;
use regraft::program::{Builder, Program, Random, Value};
use regraft::tensor::{DType, Fact, PartialShape, Tensor};

fn numbers(shape: &[usize], step: f64) -> Tensor {
    let n = shape.iter().product::<usize>();
    Tensor::from_f64s(DType::F64, shape, (0..n).map(|i| ((i as f64 + 1.0) * step).sin()))
}

/// The program's result; `known`: whether shapes are known while spelling.
fn spelled(equation: &str, operands: &[Tensor], known: bool) -> Tensor {
    let mut program = Program::default();
    let mut b = Builder::new(&mut program);
    let inputs: Vec<Value> = operands
        .iter()
        .map(|t| {
            let shape = if known { PartialShape::from_dims(t.shape()) } else { PartialShape::of_rank(t.rank()) };
            b.feed("x", Fact::new(DType::F64, shape))
        })
        .collect();
    let out = einsum(&mut b, equation, &inputs).unwrap_or_else(|m| panic!("{equation}: {m}"));
    let mut values: Vec<Option<Tensor>> = vec![None; program.values.len()];
    for (v, t) in inputs.iter().zip(operands) {
        values[v.idx()] = Some(t.clone());
    }
    for c in &program.constants {
        values[c.value.idx()] = Some(c.payload.load().expect("in memory"));
    }
    for instr in &program.instrs {
        let inputs: Vec<Tensor> = instr.inputs.iter().map(|v| values[v.idx()].clone().expect("computed")).collect();
        let op = instr.op().expect("no blocks");
        let outputs = eval(&**op, &inputs, Random::default()).unwrap_or_else(|m| panic!("{equation}: {op:?}: {m}"));
        for (v, t) in instr.outputs.iter().zip(outputs) {
            values[v.idx()] = Some(t);
        }
    }
    values[out.idx()].clone().expect("computed")
}

/// The definition, for equations without an ellipsis.
fn defined(terms: &[&str], result: &str, operands: &[Tensor]) -> Tensor {
    let mut size: BTreeMap<char, usize> = BTreeMap::new();
    for (term, t) in terms.iter().zip(operands) {
        size.extend(term.chars().zip(t.shape().iter().copied()));
    }
    let names: Vec<char> = size.keys().copied().collect();
    let flat = |term: &str, at: &BTreeMap<char, usize>| term.chars().fold(0, |i, c| i * size[&c] + at[&c]);
    let shape: Vec<usize> = result.chars().map(|c| size[&c]).collect();
    let mut out = vec![0.0; shape.iter().product()];
    for mut i in 0..size.values().product::<usize>() {
        let mut at = BTreeMap::new();
        for &c in names.iter().rev() {
            at.insert(c, i % size[&c]);
            i /= size[&c];
        }
        let product: f64 = terms.iter().zip(operands).map(|(t, x)| x.as_slice::<f64>()[flat(t, &at)]).product();
        out[flat(result, &at)] += product;
    }
    Tensor::from_slice(&shape, &out)
}

fn assert_close(got: &Tensor, want: &Tensor, at: &str) {
    assert_eq!(got.shape(), want.shape(), "{at}");
    for (g, w) in got.as_slice::<f64>().iter().zip(want.as_slice::<f64>()) {
        assert!((g - w).abs() < 1e-11, "{at}: {g} instead of {w}");
    }
}

#[test]
fn equals_the_definition() {
    let size = BTreeMap::from([('a', 2), ('b', 3), ('c', 4), ('d', 5), ('e', 2)]);
    let equations = [
        "ab,bc->ac",
        "ab,cb->ac",
        "ba,bc->ac",
        "abc,cd->abd",
        "abc,bcd->ad",
        "abcd,aebc->abde",
        "ab,ab->ab",
        "ab,ab->",
        "a,b->ab",
        "ab->ba",
        "abc->b",
        "ab,b->a",
        "abc,c->ba",
        "acbe,aecd->abcd",
        "ab,bc,cd->ad",
        "a,ab,b->",
        "dabc,cbe->aed",
    ];
    for equation in equations {
        let (left, right) = equation.split_once("->").expect("an arrow");
        let terms: Vec<&str> = left.split(',').collect();
        let operands: Vec<Tensor> = terms
            .iter()
            .enumerate()
            .map(|(i, t)| numbers(&t.chars().map(|c| size[&c]).collect::<Vec<_>>(), 0.3 + 0.2 * i as f64))
            .collect();
        let want = defined(&terms, right, &operands);
        assert_close(&spelled(equation, &operands, true), &want, equation);
        assert_close(&spelled(equation, &operands, false), &want, &format!("{equation} with unknown sizes"));
    }
}

#[test]
fn special_forms() {
    let square = numbers(&[2, 3, 3], 0.7);
    assert_close(
        &spelled("...ii->...i", std::slice::from_ref(&square), true),
        &defined(&["aii"], "ai", std::slice::from_ref(&square)),
        "diagonal",
    );
    let (x, y) = (numbers(&[2, 3, 4], 0.7), numbers(&[4, 5], 0.4));
    let want = defined(&["abc", "cd"], "abd", &[x.clone(), y.clone()]);
    assert_close(&spelled("... c, c d -> ... d", &[x.clone(), y.clone()], false), &want, "ellipsis");
    let matrices = [numbers(&[3, 4], 0.7), y];
    assert_close(&spelled("bc,cd", &matrices, true), &defined(&["bc", "cd"], "bd", &matrices), "without an arrow");
}

#[test]
fn unsound_equations_are_refused_in_words() {
    let mut program = Program::default();
    let mut b = Builder::new(&mut program);
    let x = b.feed("x", Fact::of_dims(DType::F64, &[2, 3]));
    for equation in ["ab,bc->ac", "abc->a", "a->a", "ab->ac", "ab->aa", "a?->a", ""] {
        assert!(einsum(&mut b, equation, &[x]).is_err(), "{equation}");
    }
}
