//! Nodes as no exporter would write them: attributes out of every range, lists that are too short, shapes and positions that
//! cannot be, inputs that are missing or exchanged. Each ends in a result or a diagnostic, never in a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use regraft::formats;
use regraft::graph::{Attr, Graph, Node};
use regraft::lower::{self, Spelled};
use regraft::program::Value;
use regraft::specialise::{FeedSpec, Mode, Request, specialise};
use regraft::tensor::shape::element_count;
use regraft::tensor::{Payload, Tensor};

use super::tensorflow_ops::run;

#[test]
fn malformed_nodes_end_in_an_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ops_tf_more");
    let imported = formats::open(&folder.join("ops.pb")).expect("the graph can be read");
    // One node in sixteen, others in each round; all of them on request.
    let step = if std::env::var_os("REGRAFT_HOSTILE_ALL").is_some() { 1 } else { 16 };
    for (round, (name, spoil)) in SPOILED.iter().enumerate() {
        let mut graph = (*imported.graph).clone();
        for node in graph.nodes.iter_mut().filter(|n| n.key.as_str().ends_with("/op") || n.constant.is_some()) {
            spoil(node);
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let spelled = lower::spell(&graph, imported.dialect());
            let mut answers = [0usize; 2];
            let nodes = graph.nodes.iter().filter(|n| n.key.as_str().ends_with("/op"));
            for node in nodes.skip(round % step).step_by(step) {
                answers[usize::from(compute(&graph, node, &spelled).is_err())] += 1;
            }
            answers
        }));
        let [computed, refused] = outcome.unwrap_or_else(|_| panic!("{name}: a panic"));
        assert!((computed + refused) * step > 80, "{name}: {computed} computed, {refused} refused");
    }
}

type Spoil = fn(&mut Node);

const SPOILED: &[(&str, Spoil)] = &[
    ("constants -1", |n| constant(n, -1.0)),
    ("constants 0", |n| constant(n, 0.0)),
    ("constants large", |n| constant(n, 2e9)),
    ("constants small", |n| constant(n, -2e9)),
    ("no attributes", |n| n.attrs.retain(|_, a| matches!(a, Attr::Type(_)))),
    ("no attributes at all", |n| n.attrs.clear()),
    ("numbers -1", |n| numbers(n, -1)),
    ("numbers 0", |n| numbers(n, 0)),
    ("numbers large", |n| numbers(n, i64::MAX)),
    ("numbers small", |n| numbers(n, i64::MIN)),
    ("lists empty", |n| each_list(n, &|_| Vec::new())),
    ("lists shorter", |n| each_list(n, &|l| l.iter().skip(1).cloned().collect())),
    ("lists longer", |n| each_list(n, &|l| l.iter().chain(l).cloned().collect())),
    ("texts", |n| {
        n.attrs.values_mut().for_each(|a| {
            if matches!(a, Attr::Bytes(_)) {
                *a = Attr::Bytes(b"?".to_vec())
            }
        })
    }),
    ("first input missing", |n| n.inputs.iter_mut().take(1).for_each(|i| *i = None)),
    ("no inputs", |n| n.inputs.clear()),
    ("last input missing", |n| n.inputs.truncate(n.inputs.len().saturating_sub(1))),
    ("inputs reversed", |n| n.inputs.reverse()),
    ("inputs equal", |n| {
        let first = n.inputs.first().copied().flatten();
        n.inputs.iter_mut().for_each(|i| *i = first);
    }),
];

/// All integers that are constants (sizes, axes, positions).
fn constant(node: &mut Node, value: f64) {
    if let Some(c) = &mut node.constant
        && let Ok(old) = c.payload.load()
        && old.dtype().is_int()
    {
        c.payload = Payload::from_tensor(Tensor::filled(old.dtype(), old.shape(), value));
    }
}

fn numbers(node: &mut Node, value: i64) {
    for attr in node.attrs.values_mut() {
        match attr {
            Attr::Int(n) => *n = value,
            Attr::Float(f) => *f = value as f32,
            Attr::List(list) => list.iter_mut().for_each(|a| {
                if let Attr::Int(n) = a {
                    *n = value
                }
            }),
            _ => {}
        }
    }
}

fn each_list(node: &mut Node, change: &dyn Fn(&[Attr]) -> Vec<Attr>) {
    for attr in node.attrs.values_mut() {
        if let Attr::List(list) = attr {
            *list = change(list);
        }
    }
}

/// The first output of `node`, with every feed it needs as ones.
fn compute(graph: &Graph, node: &Node, spelled: &Spelled) -> Result<(), String> {
    let key = &graph.value(*node.outputs.first().ok_or("no output")?).key;
    let value = *spelled.values.get(key).ok_or("not spelled")?;
    let scope = node.key.as_str().trim_end_matches("op");
    let feeds: Vec<(Value, Tensor)> = spelled
        .program
        .feeds
        .iter()
        .filter(|f| f.name.starts_with(scope))
        .filter_map(|f| {
            let fact = spelled.program.fact(f.value);
            Some((f.value, Tensor::filled(fact.dtype, &fact.dims()?, 1.0)))
        })
        .collect();
    let spec = |(value, t): &(Value, Tensor)| FeedSpec {
        value: *value,
        dtype: t.dtype(),
        dims: t.shape().into(),
        tensor: Some(t.clone()),
    };
    let request = Request {
        mode: Mode::Eval,
        fetches: vec![value],
        feeds: feeds.iter().map(spec).collect(),
        pins: Vec::new(),
        dropout: Vec::new(),
    };
    let special = specialise(&spelled.program, &[], &request).map_err(|e| e.to_string())?;
    let bound: Vec<(Value, Tensor)> = special
        .feeds
        .iter()
        .filter_map(|(from, to)| Some((*to, feeds.iter().find(|f| f.0 == *from)?.1.clone())))
        .collect();
    // What would take memory out of proportion is refused by the plan, which is not made here.
    let size = |v: usize| special.program.values[v].fact.dims().map_or(0, |d| element_count(&d).unwrap_or(usize::MAX));
    if (0..special.program.values.len()).any(|v| size(v) > 1 << 20) {
        return Err("too large to compute here".into());
    }
    run(&special.program, &bound).map(drop)
}
