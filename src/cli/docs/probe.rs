//! Which ops a spelling leads to: its rule is run on made-up nodes until one fits, and what it appended is read off.
//! The table of ops is thereby made of what the rules do, not of what somebody wrote about them.

use crate::graph::{Attr, Node, NodeKey, NodeKind};
use crate::lower::{Read, Rule, Spelling};
use crate::program::{Builder, Program, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

/// What one kind of operand looks like.
#[derive(Clone, Copy)]
enum Operand {
    Float(usize),
    /// Integers of that rank whose elements are known.
    Ints(usize, i64),
    Bool(usize),
}

use Operand::{Bool, Float, Ints};

/// Shapes of operands that ops commonly take; every size is 2, so that all of them agree.
const PATTERNS: &[&[Operand]] = &[
    &[Float(4)],
    &[Float(4), Float(4)],
    &[Float(4), Float(4), Float(1)],
    &[Float(4), Float(1), Float(1), Float(1), Float(1)],
    &[Float(4), Ints(1, 1)],
    &[Float(4), Ints(0, 1)],
    &[Float(2), Ints(1, 1)],
    &[Float(2), Float(2), Float(2)],
    &[Ints(1, 1)],
    &[Ints(1, 2), Float(0)],
    &[Ints(0, 1), Float(4), Float(4)],
    &[Float(2), Ints(1, 1), Ints(1, 1)],
    &[Float(2), Ints(1, 1), Ints(1, 1), Ints(1, 1)],
    &[Float(4), Ints(2, 0)],
    &[Float(4), Ints(2, 0), Float(0)],
    &[Float(4), Ints(4, 1), Float(4)],
    &[Ints(1, 2), Float(4), Float(4)],
    &[Float(4), Ints(1, 2), Float(4)],
    &[Bool(4), Float(4), Float(4)],
    &[Bool(4), Bool(4)],
    &[Bool(4)],
    &[Ints(4, 1), Ints(4, 1)],
    &[Ints(2, 1), Float(2), Float(1)],
    &[Ints(1, 1), Ints(0, 2), Float(0), Float(0)],
    &[Ints(0, 0), Ints(0, 2), Ints(0, 1)],
    &[Float(0), Float(0), Float(0)],
    &[Float(2), Ints(1, 0), Float(1)],
    &[Ints(2, 1), Float(2), Ints(1, 2)],
    &[Float(1), Ints(1, 1), Ints(0, 2)],
    &[Float(2), Ints(1, 1), Ints(1, 1), Float(0)],
    &[Float(3), Float(3), Float(3), Float(2)],
    &[Float(3), Float(3), Float(3)],
    &[Float(3), Float(2), Float(1)],
    &[Float(5), Float(5)],
    &[Float(5)],
    &[Float(5), Ints(1, 2)],
    &[Float(3)],
    &[Float(2)],
    &[Float(1)],
    &[Float(0)],
    &[Float(2), Float(2), Float(2), Float(2), Float(1), Float(1), Float(1), Float(1)],
    &[Float(2), Float(2), Float(2), Float(1), Float(1), Float(2), Float(1)],
    &[Ints(4, 1), Float(0), Ints(0, 1)],
    &[Ints(4, 1), Float(0), Ints(0, 1), Ints(4, 1), Float(0), Ints(0, 1), Float(0), Ints(0, 1)],
    &[Ints(2, 1), Ints(2, 1), Ints(2, 1), Float(2), Float(2), Float(2), Float(1), Float(1)],
    &[Ints(2, 1), Float(0), Ints(0, 1), Float(0), Ints(0, 1)],
    &[Ints(4, 1), Float(0), Ints(0, 1), Float(0), Ints(0, 1)],
    &[Float(0), Ints(0, 1), Ints(2, 1), Float(0), Ints(0, 1)],
    &[Bool(2), Ints(2, 1), Float(0), Ints(0, 1), Ints(2, 1), Float(0), Ints(0, 1), Float(0), Ints(0, 1)],
    &[Ints(2, 1), Float(0), Ints(0, 1), Ints(2, 1), Float(0), Ints(0, 1), Ints(1, 1), Float(0), Ints(0, 1)],
    &[Float(0), Ints(0, 1), Float(2), Float(2), Float(2), Float(2)],
    &[Float(3), Float(1), Float(4), Float(2), Float(1), Float(4)],
    &[Float(2), Ints(0, 1), Ints(0, 1)],
    &[Float(4), Float(4), Ints(0, 1)],
    &[Float(2), Float(0), Float(0), Float(0), Float(0)],
    &[Float(2), Float(2), Float(0), Float(0), Float(0), Float(0)],
    &[Float(4), Float(3)],
    &[Float(3), Float(2)],
    &[Float(1), Float(1), Ints(0, 2)],
    &[Ints(1, 2), Ints(1, 2)],
    &[Ints(1, 2), Float(2), Float(0), Ints(1, 0)],
    &[Ints(1, 0), Float(2), Ints(1, 0)],
    &[Ints(2, 0), Float(1), Ints(1, 2), Float(0)],
    &[Ints(2, 0), Float(1), Ints(1, 2), Ints(1, 0)],
    &[Ints(2, 0), Float(1), Ints(1, 2), Ints(1, 0), Ints(1, 2)],
    &[],
];

/// Attributes that rules insist on, in both dialects' words.
fn attributes() -> Vec<(&'static str, Attr)> {
    let ints = |v: &[i64]| Attr::List(v.iter().map(|&i| Attr::Int(i)).collect());
    let floats = |v: &[f32]| Attr::List(v.iter().map(|&f| Attr::Float(f)).collect());
    let text = |s: &str| Attr::Bytes(s.as_bytes().to_vec());
    let float = || Attr::Type(DType::F32);
    vec![
        ("T", float()),
        ("dtype", float()),
        ("DstT", float()),
        ("Tout", float()),
        ("out_type", Attr::Type(DType::I64)),
        ("output_type", Attr::Type(DType::I64)),
        ("type", float()),
        ("shape", Attr::Shape(PartialShape::from_dims(&[2, 2]))),
        ("N", Attr::Int(2)),
        ("num", Attr::Int(2)),
        ("num_split", Attr::Int(2)),
        ("equation", text("abcd,cdef->abef")),
        ("strides", ints(&[1, 1, 1, 1])),
        ("ksize", ints(&[1, 2, 2, 1])),
        ("padding", text("SAME")),
        ("block_size", Attr::Int(1)),
        ("blocksize", Attr::Int(1)),
        ("k", Attr::Int(1)),
        ("depth_radius", Attr::Int(1)),
        ("fused_ops", Attr::List(vec![text("BiasAdd")])),
        ("num_args", Attr::Int(1)),
        ("to", Attr::Int(1)),
        ("kernel_shape", ints(&[2, 2])),
        ("size", Attr::Int(1)),
        ("num_heads", Attr::Int(1)),
        ("hidden_size", Attr::Int(2)),
        ("num_groups", Attr::Int(1)),
        ("groups", Attr::Int(1)),
        ("axes", ints(&[1])),
        ("coefficients", floats(&[1.0, 2.0])),
        ("imputed_value_floats", floats(&[1.0])),
        ("keys_int64s", ints(&[1])),
        ("values_floats", floats(&[1.0])),
        ("cats_int64s", ints(&[1])),
        ("classlabels_ints", ints(&[1])),
        ("value", Attr::Tensor(crate::tensor::Payload::from_tensor(Tensor::scalar(1.0f32)))),
    ]
}

/// Attributes that only some ops have, and that others would not take.
fn rare_attributes() -> Vec<(&'static str, Attr)> {
    let text = |s: &str| Attr::Bytes(s.as_bytes().to_vec());
    vec![
        ("mode", text("REFLECT")),
        ("rates", Attr::List(vec![Attr::Int(1); 4])),
        ("seq_dim", Attr::Int(1)),
        ("batch_dim", Attr::Int(0)),
        ("window_size", Attr::Int(2)),
        ("stride", Attr::Int(1)),
        ("row_partition_types", Attr::List(vec![text("ROW_SPLITS")])),
    ]
}

/// TensorFlow's `quint8` and `qint32` as attributes (see `formats::tensorflow::attrs`).
fn quantised_types() -> Vec<(&'static str, Attr)> {
    let code = |code: u8| Attr::Opaque(vec![6 << 3, code]);
    let narrow = ["T", "T1", "T2", "Tinput", "out_type"].map(|name| (name, code(12)));
    narrow.into_iter().chain([("Toutput", code(13))]).collect()
}

/// Attribute sets to try: all of the above; without those whose form depends on the number of axes; rare ones; none.
fn attribute_sets() -> Vec<Vec<(&'static str, Attr)>> {
    let all = attributes();
    let by_axes = ["strides", "ksize", "kernel_shape", "shape", "equation", "size", "padding"];
    let few = all.iter().filter(|(n, _)| !by_axes.contains(n)).cloned().collect();
    let mut flat = all.clone();
    for (name, value) in &mut flat {
        match *name {
            "equation" => *value = Attr::Bytes(b"abcd->abdc".to_vec()),
            "strides" => *value = Attr::List(vec![Attr::Int(1), Attr::Int(1)]),
            _ => {}
        }
    }
    let mut deep = all.clone();
    for (name, value) in &mut deep {
        if matches!(*name, "strides" | "ksize") {
            *value = Attr::List(vec![Attr::Int(1); 5]);
        }
    }
    let rare = all.iter().cloned().chain(rare_attributes()).collect();
    vec![all, few, flat, deep, rare, quantised_types(), Vec::new()]
}

/// Names of the ops that the rule appends, in order and once each; `None` where no made-up node fits.
pub fn ops_of(spelling: &Spelling) -> Option<Vec<&'static str>> {
    let mut found = None;
    each_attempt(spelling, &[DType::F32, DType::I32, DType::U8], &mut |ops| {
        found = ops;
        found.is_none()
    });
    found
}

/// Runs the rule on every made-up node, as long as `go_on` says so; it gets the names of the ops where the node fits. Also
/// a test's way to see that no rule panics on operands and attributes that do not belong to it.
pub fn each_attempt(spelling: &Spelling, types: &[DType], go_on: &mut dyn FnMut(Option<Vec<&'static str>>) -> bool) {
    for attrs in attribute_sets() {
        let mut node = Node::new(NodeKey::new("probe"), spelling.op, NodeKind::Op);
        node.attrs = attrs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        for dtype in types {
            for pattern in PATTERNS {
                if !go_on(attempt(spelling, &node, pattern, *dtype)) {
                    return;
                }
            }
        }
    }
}

fn attempt(spelling: &Spelling, node: &Node, pattern: &[Operand], main: DType) -> Option<Vec<&'static str>> {
    let mut program = Program::default();
    let mut b = Builder::new(&mut program);
    let inputs: Vec<Option<Value>> = pattern.iter().map(|o| Some(operand(&mut b, *o, main))).collect();
    let outputs =
        (spelling.rule)(&mut Rule { b: &mut b, node, inputs: &inputs, opset: 13, site: 1, read: Read::default() });
    let outputs = outputs.ok()?;
    // A rule that ignores what it was given has not been probed.
    if outputs.is_empty() || outputs.iter().all(|v| inputs.contains(&Some(*v))) && inputs.len() > 1 {
        return None;
    }
    let mut names = Vec::new();
    for instr in &program.instrs {
        if !names.contains(&instr.name()) {
            names.push(instr.name());
        }
    }
    Some(names)
}

fn operand(b: &mut Builder, operand: Operand, main: DType) -> Value {
    let dims = |rank: usize| vec![2usize; rank];
    match operand {
        Float(rank) => b.feed("x", Fact::of_dims(main, &dims(rank))),
        Bool(rank) => b.feed("p", Fact::of_dims(DType::Bool, &dims(rank))),
        Ints(rank, value) => b.literal(Tensor::filled(DType::I64, &dims(rank), value as f64)),
    }
}
