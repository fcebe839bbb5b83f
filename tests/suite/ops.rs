//! Walks the op catalogue: every example of every op is checked for its shape rule (also with less knowledge), its value
//! (against the reference, and `f32` against `f64`), its gradient (against finite differences in `f64`, also with shapes
//! that are unknown while differentiating), and its text form.

use std::collections::BTreeSet;

use regraft::ops;
use regraft::program::eval::eval;
use regraft::program::verify::verify;
use regraft::program::{Builder, Def, Example, Flow, InstrKind, Op, OpInfo, Program, Random, Site, Value, text};
use regraft::tensor::{DType, Fact, PartialShape, Tensor};

/// Ops whose behaviour cannot be shown by an example.
const WITHOUT_EXAMPLES: &[&str] = &["opaque", "pieces"];

const RANDOM: Random = Random { seed: 7, step: 3 };

fn each_example(mut f: impl FnMut(&'static OpInfo, usize, &Example)) {
    for info in ops::all() {
        for (i, example) in (info.examples)().iter().enumerate() {
            f(info, i, example);
        }
    }
}

fn facts(example: &Example) -> Vec<Fact> {
    example.inputs.iter().map(Fact::of_tensor).collect()
}

fn infer(op: &dyn Op, facts: &[Fact]) -> Vec<Fact> {
    op.infer(&facts.iter().collect::<Vec<_>>()).expect("the shape rule accepts its example")
}

#[test]
fn catalogue_is_complete() {
    let mut names = BTreeSet::new();
    for info in ops::all() {
        assert!(names.insert(info.name), "two ops are called {}", info.name);
        assert!(info.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{}", info.name);
        assert!(!info.summary.is_empty() && !info.formula.is_empty(), "{} has no help", info.name);
        let n = (info.examples)().len();
        assert!(n > 0 || WITHOUT_EXAMPLES.contains(&info.name), "{} has no examples", info.name);
    }
}

#[test]
fn shapes_are_as_inferred_with_any_knowledge() {
    each_example(|info, i, example| {
        let at = format!("{} example {i}", info.name);
        let outputs = eval(&*example.op, &example.inputs, RANDOM).unwrap_or_else(|m| panic!("{at}: {m}"));
        let full = facts(example);
        let no_values: Vec<Fact> = full.iter().map(|f| Fact { value: None, ..f.clone() }).collect();
        let ranks: Vec<Fact> =
            full.iter().map(|f| Fact::new(f.dtype, PartialShape::of_rank(f.rank().unwrap_or(0)))).collect();
        let nothing: Vec<Fact> = full.iter().map(|f| Fact::new(f.dtype, PartialShape::unknown())).collect();
        for known in [full, no_values, ranks, nothing] {
            let inferred = infer(&*example.op, &known);
            assert_eq!(inferred.len(), outputs.len(), "{at}: number of outputs");
            for (fact, out) in inferred.iter().zip(&outputs) {
                assert_eq!(fact.dtype, out.dtype(), "{at}: element type");
                assert!(fact.shape.admits(out.shape()), "{at}: {} inferred, {:?} came", fact.shape, out.shape());
                if let Some(value) = &fact.value {
                    assert_eq!(value, out, "{at}: a value that the shape rule states");
                }
            }
        }
    });
}

fn assert_close(got: &Tensor, want: &Tensor, tolerance: f64, at: &str) {
    assert_eq!(got.shape(), want.shape(), "{at}: shape");
    let (Some(g), Some(w)) = (got.to_f64s(), want.to_f64s()) else {
        assert_eq!(got, want, "{at}");
        return;
    };
    let scale = w.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
    for (k, (g, w)) in g.iter().zip(&w).enumerate() {
        let same =
            g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= tolerance * w.abs().max(0.1 * scale).max(0.1);
        assert!(same, "{at}: element {k} is {g} instead of {w}");
    }
}

#[test]
fn values_match_their_references() {
    each_example(|info, i, example| {
        let Some(want) = &example.outputs else { return };
        let got = eval(&*example.op, &example.inputs, RANDOM).expect("runs");
        assert_eq!(got.len(), want.len());
        for (o, (got, want)) in got.iter().zip(want).enumerate() {
            assert_eq!(got.dtype(), want.dtype(), "{} example {i} output {o}", info.name);
            let tolerance = if want.dtype() == DType::F64 { 1e-12 } else { 2e-6 };
            assert_close(got, want, tolerance, &format!("{} example {i} output {o}", info.name));
        }
    });
}

/// Example inputs with every `f64` rounded to another float type.
fn rounded(example: &Example, to: DType) -> Vec<Tensor> {
    let round = |t: &Tensor| match t.to_f64s() {
        Some(v) if t.dtype() == DType::F64 => Tensor::from_f64s(to, t.shape(), v),
        _ => t.clone(),
    };
    example.inputs.iter().map(round).collect()
}

/// `f64` inputs that went through another type, so that both computations start from the same numbers.
fn through(inputs: &[Tensor]) -> Vec<Tensor> {
    let widen = |t: &Tensor| match t.to_f64s() {
        Some(v) if t.dtype().is_float() => Tensor::from_f64s(DType::F64, t.shape(), v),
        _ => t.clone(),
    };
    inputs.iter().map(widen).collect()
}

#[test]
fn narrower_floats_agree_with_f64() {
    for (to, tolerance) in [(DType::F32, 2e-5), (DType::F16, 2e-2), (DType::BF16, 1e-1)] {
        each_example(|info, i, example| {
            if example.op.is_random() || !example.inputs.iter().any(|t| t.dtype() == DType::F64) {
                return;
            }
            let narrow = rounded(example, to);
            if infer_fails(&*example.op, &narrow) && to != DType::F32 {
                return;
            }
            let at = format!("{} example {i} as {to}", info.name);
            let got = eval(&*example.op, &narrow, RANDOM).unwrap_or_else(|m| panic!("{at}: {m}"));
            let want = eval(&*example.op, &through(&narrow), RANDOM).expect("runs in f64");
            for (got, want) in got.iter().zip(&want) {
                if want.dtype() == DType::F64 {
                    assert_close(got, want, tolerance, &at);
                }
            }
        });
    }
}

fn infer_fails(op: &dyn Op, inputs: &[Tensor]) -> bool {
    let facts: Vec<Fact> = inputs.iter().map(Fact::of_tensor).collect();
    op.infer(&facts.iter().collect::<Vec<_>>()).is_err()
}

/// A program that computes gradients of an example by the op's own rule.
struct Differentiated {
    program: Program,
    /// Feeds of the example's inputs (where they are fed) and of the upstream gradients, with their numbers.
    bound: Vec<(Value, Tensor)>,
    grads: Vec<Option<Value>>,
    wanted: Vec<bool>,
}

/// `known`: whether the float inputs' shapes are known while differentiating.
fn differentiate(example: &Example, upstream: &[Option<Tensor>], known: bool) -> Result<Differentiated, String> {
    let mut program = Program::default();
    let mut bound = Vec::new();
    let mut b = Builder::new(&mut program);
    let mut inputs = Vec::new();
    let wanted: Vec<bool> = {
        let facts: Vec<Fact> = example.inputs.iter().map(|t| Fact::of_dims(t.dtype(), t.shape())).collect();
        let refs: Vec<&Fact> = facts.iter().collect();
        (0..refs.len()).map(|k| refs[k].dtype.is_float() && example.op.flow(k, &refs) == Flow::Flows).collect()
    };
    for (k, tensor) in example.inputs.iter().enumerate() {
        if !tensor.dtype().is_float() {
            inputs.push(b.literal(tensor.clone()));
            continue;
        }
        let shape = if known { PartialShape::from_dims(tensor.shape()) } else { PartialShape::of_rank(tensor.rank()) };
        let v = b.feed(format!("x{k}"), Fact::new(tensor.dtype(), shape));
        bound.push((v, tensor.clone()));
        inputs.push(v);
    }
    let outputs = b.op_n(example.op.clone(), &inputs).map_err(|m| m.to_string())?;
    let out_grads: Vec<Option<Value>> = outputs
        .iter()
        .zip(upstream)
        .map(|(&o, dy)| {
            let dy = dy.as_ref()?;
            let fact =
                if known { Fact::of_dims(dy.dtype(), dy.shape()) } else { Fact { value: None, ..b.fact(o).clone() } };
            let v = b.feed("dy", fact);
            bound.push((v, dy.clone()));
            Some(v)
        })
        .collect();
    let site = Site { inputs: &inputs, outputs: &outputs };
    let grads = example.op.vjp(&mut b, &site, &out_grads, &wanted).map_err(|m| m.to_string())?;
    let problems = verify(&program);
    assert!(problems.is_empty(), "{problems:?}\n{}", text::to_text(&program));
    Ok(Differentiated { program, bound, grads, wanted })
}

/// Runs a program instruction by instruction and gives all values.
fn run(program: &Program, bound: &[(Value, Tensor)]) -> Vec<Option<Tensor>> {
    let mut values: Vec<Option<Tensor>> = vec![None; program.values.len()];
    for c in &program.constants {
        values[c.value.idx()] = Some(c.payload.load().expect("in memory"));
    }
    for (v, t) in bound {
        assert!(matches!(program.def(*v), Def::Feed(_)));
        values[v.idx()] = Some(t.clone());
    }
    for instr in &program.instrs {
        let InstrKind::Op(op) = &instr.kind else { panic!("a gradient rule made a block") };
        let inputs: Vec<Tensor> = instr.inputs.iter().map(|v| values[v.idx()].clone().expect("computed")).collect();
        let outputs = eval(&**op, &inputs, RANDOM).unwrap_or_else(|m| panic!("{op:?}: {m}"));
        for (v, t) in instr.outputs.iter().zip(outputs) {
            values[v.idx()] = Some(t);
        }
    }
    values
}

/// Upstream gradients that differ from element to element.
fn upstream(example: &Example) -> Vec<Option<Tensor>> {
    let outputs = eval(&*example.op, &example.inputs, RANDOM).expect("runs");
    let numbers = |t: &Tensor| {
        let v = (0..t.len()).map(|k| 0.7 + 0.31 * ((k * 7 + 3) % 5) as f64 - 0.9 * ((k * 3) % 4) as f64 / 2.0);
        Tensor::from_f64s(t.dtype(), t.shape(), v)
    };
    outputs.iter().map(|t| (t.dtype() == DType::F64).then(|| numbers(t))).collect()
}

/// The sum of outputs times upstream gradients.
fn objective(op: &dyn Op, inputs: &[Tensor], upstream: &[Option<Tensor>]) -> f64 {
    let outputs = eval(op, inputs, RANDOM).expect("runs");
    let mut sum = 0.0;
    for (y, dy) in outputs.iter().zip(upstream) {
        if let (Some(dy), Some(y)) = (dy.as_ref().and_then(Tensor::to_f64s), y.to_f64s()) {
            sum += y.iter().zip(dy).map(|(y, dy)| y * dy).sum::<f64>();
        }
    }
    sum
}

fn central_difference(example: &Example, input: usize, upstream: &[Option<Tensor>]) -> Tensor {
    let x = &example.inputs[input];
    let numbers = x.to_f64s().expect("floats");
    let slope = |k: usize, h: f64| {
        let mut side = [0.0; 2];
        for (s, sign) in side.iter_mut().zip([1.0, -1.0]) {
            let mut moved = numbers.clone();
            moved[k] += sign * h;
            let mut inputs = example.inputs.clone();
            inputs[input] = Tensor::from_f64s(DType::F64, x.shape(), moved);
            *s = objective(&*example.op, &inputs, upstream);
        }
        (side[0] - side[1]) / (2.0 * h)
    };
    // Two steps, extrapolated: the error is of fourth order.
    let values = (0..numbers.len()).map(|k| (4.0 * slope(k, 1e-4) - slope(k, 2e-4)) / 3.0);
    Tensor::from_f64s(DType::F64, x.shape(), values)
}

#[test]
fn gradients_match_finite_differences() {
    let mut failures = Vec::new();
    each_example(|info, i, example| {
        let dy = upstream(example);
        if !example.inputs.iter().any(|t| t.dtype() == DType::F64) || dy.iter().all(Option::is_none) {
            return;
        }
        let at = format!("{} example {i}", info.name);
        let d = differentiate(example, &dy, true).unwrap_or_else(|m| panic!("{at}: {m}"));
        let values = run(&d.program, &d.bound);
        for (k, wanted) in d.wanted.iter().enumerate() {
            if !wanted {
                continue;
            }
            let want = central_difference(example, k, &dy);
            let got = match d.grads[k] {
                Some(v) => values[v.idx()].clone().expect("computed"),
                None => Tensor::zeros(DType::F64, want.shape()),
            };
            assert_eq!(got.shape(), want.shape(), "{at}: gradient of input {k}\n{}", text::to_text(&d.program));
            let (g, w) = (got.to_f64s().expect("floats"), want.to_f64s().expect("floats"));
            if g.iter().zip(&w).any(|(g, w)| (g - w).abs() > 1e-6 * w.abs().max(1.0)) {
                failures.push(format!("{at}: gradient of input {k} is {g:?} instead of {w:?}"));
            }
        }
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn gradients_do_not_need_known_shapes() {
    /// Rules that say in words that they need shapes.
    fn may_refuse(message: &str) -> bool {
        message.contains("known")
    }
    let mut refused = BTreeSet::new();
    each_example(|info, i, example| {
        let dy = upstream(example);
        if !example.inputs.iter().any(|t| t.dtype() == DType::F64) || dy.iter().all(Option::is_none) {
            return;
        }
        let at = format!("{} example {i}", info.name);
        let exact = differentiate(example, &dy, true).expect("works with known shapes");
        let open = match differentiate(example, &dy, false) {
            Ok(d) => d,
            Err(m) if may_refuse(&m) => {
                refused.insert(info.name);
                return;
            }
            Err(m) => panic!("{at}: {m}"),
        };
        let (a, b) = (run(&exact.program, &exact.bound), run(&open.program, &open.bound));
        for (k, (x, y)) in exact.grads.iter().zip(&open.grads).enumerate() {
            let value = |v: &Option<Value>, all: &[Option<Tensor>]| v.and_then(|v| all[v.idx()].clone());
            if let (Some(x), Some(y)) = (value(x, &a), value(y, &b)) {
                assert_close(&y, &x, 1e-12, &format!("{at}: gradient of input {k} with unknown shapes"));
            }
        }
    });
    assert!(refused.len() < 20, "rules that need known shapes: {refused:?}");
}

#[test]
fn programs_of_examples_have_a_text_form() {
    each_example(|info, _, example| {
        let mut program = Program::default();
        let mut b = Builder::new(&mut program);
        let inputs: Vec<Value> = example.inputs.iter().map(|t| b.literal(t.clone())).collect();
        let outputs = b.op_n(example.op.clone(), &inputs).expect("fits");
        program.outputs = outputs.to_vec();
        let written = text::to_text(&program);
        assert!(written.contains(&format!("{:?}", example.op)), "{}: {written}", info.name);
        assert!(verify(&program).is_empty(), "{}", info.name);
    });
}
