//! Every TensorFlow op of `fixtures/ops_tf`: one node each, its outputs and the gradients of its inputs, compared with what
//! TensorFlow 2.15 computed. Runs the whole way: reading, spelling, specialising, differentiating, kernels.

use std::path::Path;

use regraft::autodiff::differentiate;
use regraft::formats;
use regraft::graph::ValueKey;
use regraft::lower::{self, Spelled};
use regraft::program::eval::eval;
use regraft::program::{Builder, Program, Random, Value};
use regraft::specialise::{FeedSpec, Mode, Request, specialise};
use regraft::tensor::io::{self, Arrays};
use regraft::tensor::{Fact, Tensor};

/// Variants that are known not to agree, with the reason. May only shrink.
const EXCEPTIONS: &[(&str, &str)] = &[];

#[derive(serde::Deserialize)]
struct Index {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    id: String,
    key: String,
    op: String,
    inputs: usize,
    outputs: Vec<String>,
}

impl Case {
    /// Relative and absolute tolerance; half types are rounded after each op of ours and once by TensorFlow.
    fn tolerance(&self) -> (f64, f64) {
        if self.outputs.iter().any(|d| d.contains("float16")) { (2e-2, 1e-2) } else { (2e-4, 2e-5) }
    }

    fn output(&self, port: usize) -> ValueKey {
        ValueKey::new(format!("{}/op:{port}", self.key))
    }

    fn input(&self, i: usize) -> ValueKey {
        ValueKey::new(format!("{}/in{i}:0", self.key))
    }
}

fn close(got: &Tensor, want: &Tensor, relative: f64, absolute: f64) -> Result<(), String> {
    if got.shape() != want.shape() {
        return Err(format!("shape {:?} instead of {:?}", got.shape(), want.shape()));
    }
    let (Some(g), Some(w)) = (got.to_f64s(), want.to_f64s()) else {
        return if got == want { Ok(()) } else { Err("values differ".into()) };
    };
    let top = w.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
    let exact = !want.dtype().is_float();
    for (g, w) in g.iter().zip(&w) {
        let same = g == w || (g.is_nan() && w.is_nan());
        if !same && (exact || !((g - w).abs() <= absolute + relative * w.abs().max(1e-2 * top))) {
            return Err(format!("{g} instead of {w}"));
        }
    }
    Ok(())
}

pub fn run(program: &Program, bound: &[(Value, Tensor)]) -> Result<Vec<Option<Tensor>>, String> {
    let mut values: Vec<Option<Tensor>> = vec![None; program.values.len()];
    for c in &program.constants {
        values[c.value.idx()] = Some(c.payload.load().map_err(|e| e.to_string())?);
    }
    for (v, t) in bound {
        values[v.idx()] = Some(t.clone());
    }
    for instr in &program.instrs {
        let op = instr.op().ok_or("a block is left")?;
        let inputs: Option<Vec<Tensor>> = instr.inputs.iter().map(|v| values[v.idx()].clone()).collect();
        let outputs = eval(&**op, &inputs.ok_or("an input is missing")?, Random::default());
        for (v, t) in instr.outputs.iter().zip(outputs.map_err(|m| format!("{}: {m}", instr.name()))?) {
            values[v.idx()] = Some(t);
        }
    }
    Ok(values)
}

/// What one case says about itself; `Err` names the first disagreement.
fn check(case: &Case, spelled: &Spelled, arrays: &Arrays) -> Result<(), String> {
    let array = |name: &str, i: usize| arrays.get(&format!("{}.{name}{i}", case.key));
    let value = |key: &ValueKey| spelled.values.get(key).copied().ok_or(format!("{key} is not in the program"));
    let mut feeds = Vec::new();
    for i in 0..case.inputs {
        if let Some(t) = array("in", i).filter(|t| t.dtype().is_float()) {
            feeds.push((value(&case.input(i))?, t.clone(), i));
        }
    }
    // In inference form the reserve outputs of batch normalisation hold uninitialised memory in TensorFlow.
    let reserve = case.op.starts_with("FusedBatchNorm");
    let ports: Vec<usize> =
        (0..case.outputs.len()).filter(|&p| array("out", p).is_some() && !(reserve && p >= 3)).collect();
    let fetches = ports.iter().map(|&p| value(&case.output(p))).collect::<Result<Vec<_>, _>>()?;
    let request = Request {
        mode: Mode::Eval,
        fetches,
        feeds: feeds
            .iter()
            .map(|(v, t, _)| FeedSpec { value: *v, dtype: t.dtype(), dims: t.shape().into(), tensor: Some(t.clone()) })
            .collect(),
        pins: Vec::new(),
        dropout: Vec::new(),
    };
    let special = specialise(&spelled.program, &[], &request).map_err(|e| e.to_string())?;
    let bind = |p: &[(Value, Value)]| -> Vec<(Value, Tensor)> {
        p.iter().filter_map(|(from, to)| feeds.iter().find(|f| f.0 == *from).map(|f| (*to, f.1.clone()))).collect()
    };
    let mut bound = bind(&special.feeds);
    let (relative, absolute) = case.tolerance();
    let values = run(&special.program, &bound)?;
    let outputs = special.program.outputs.clone();
    for (&port, out) in ports.iter().zip(&outputs) {
        let (Some(got), Some(want)) = (&values[out.idx()], array("out", port)) else { continue };
        close(got, want, relative, absolute).map_err(|m| format!("output {port}: {m}"))?;
    }
    let mut program = special.program.clone();
    let mut seeds = Vec::new();
    for (&port, &out) in ports.iter().zip(&outputs) {
        let Some(dy) = array("dy", port).filter(|_| program.fact(out).dtype.is_float()) else { continue };
        let seed = Builder::new(&mut program).feed("dy", Fact::of_dims(dy.dtype(), dy.shape()));
        bound.push((seed, dy.clone()));
        seeds.push((out, Some(seed)));
    }
    let wrt: Vec<(usize, Value)> =
        feeds.iter().filter(|f| array("dx", f.2).is_some()).filter_map(|f| Some((f.2, special.get(f.0)?))).collect();
    if seeds.is_empty() || wrt.is_empty() {
        return Ok(());
    }
    let wanted: Vec<Value> = wrt.iter().map(|w| w.1).collect();
    let grads = differentiate(&mut program, &seeds, &wanted).map_err(|e| e.to_string())?;
    let values = run(&program, &bound)?;
    for ((i, _), grad) in wrt.iter().zip(grads) {
        let Some(want) = array("dx", *i) else { continue };
        let got = match grad {
            Some(v) => values[v.idx()].clone().ok_or("a gradient was not computed")?,
            None => Tensor::zeros(want.dtype(), want.shape()),
        };
        let want = without_nan_of_pow(case, want, &got);
        close(&got, &want, relative.max(5e-4), absolute.max(1e-4)).map_err(|m| format!("gradient {i}: {m}"))?;
    }
    Ok(())
}

/// TensorFlow says NaN for the gradient of `0 ** y` where 0 is right: either will do.
fn without_nan_of_pow(case: &Case, want: &Tensor, got: &Tensor) -> Tensor {
    match (want.to_f64s(), got.to_f64s()) {
        (Some(w), Some(g)) if case.op == "Pow" && w.len() == g.len() => {
            let mended = w.iter().zip(&g).map(|(w, g)| if w.is_nan() { *g } else { *w });
            Tensor::from_f64s(want.dtype(), want.shape(), mended)
        }
        _ => want.clone(),
    }
}

#[test]
fn outputs_and_gradients_are_those_of_tensorflow() {
    check_all("fixtures/ops_tf");
}

#[test]
fn rarer_ops_too() {
    check_all("fixtures/ops_tf_more");
}

fn check_all(folder: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let text = std::fs::read_to_string(folder.join("ops.json")).expect("the index is there");
    let index: Index = serde_json::from_str(&text).expect("the index is sound");
    let arrays = io::read(&folder.join("ops.npz")).expect("the arrays can be read");
    let imported = formats::open(&folder.join("ops.pb")).expect("the graph can be read");
    let spelled = lower::spell(&imported.graph, imported.dialect());
    let mut failures = Vec::new();
    for case in &index.cases {
        let result = check(case, &spelled, &arrays);
        let excepted = EXCEPTIONS.iter().any(|(id, _)| *id == case.id);
        match result {
            Err(m) if !excepted => failures.push(format!("{}: {m}", case.id)),
            Ok(()) if excepted => failures.push(format!("{}: agrees now, take it off the list", case.id)),
            _ => {}
        }
    }
    let right = index.cases.len() - failures.len();
    assert!(failures.is_empty(), "{right} of {} right\n{}", index.cases.len(), failures.join("\n"));
}
