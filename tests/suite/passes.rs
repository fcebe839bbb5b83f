//! Passes change no result: every pass is followed by `verify` and by a comparison with the program before, on programs like
//! those of networks (with their gradients) and on random ones.

use regraft::autodiff::differentiate;
use regraft::engine::{Bindings, ConstantStore, Control, Eager, Executable, Plan, Workspace};
use regraft::ops::linalg::MatMul;
use regraft::ops::make;
use regraft::ops::norm::Softmax;
use regraft::ops::random::Dropout;
use regraft::passes::{AFTER_AUTODIFF, Limits, Rewritten, after_autodiff, before_autodiff};
use regraft::program::{Builder, Misfit, Program, Random, Value, verify::verify};
use regraft::tensor::{DType, Fact, Payload, Tensor};

const RANDOM: Random = Random { seed: 11, step: 3 };

/// A small linear congruential sequence.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn tensor(&mut self, dims: &[usize]) -> Tensor {
        let n = dims.iter().product();
        let values: Vec<f32> = (0..n).map(|_| self.next(2001) as f32 / 1000.0 - 1.0).collect();
        Tensor::from_slice(dims, &values)
    }
}

struct Case {
    program: Program,
    params: Vec<Value>,
    feeds: Vec<Tensor>,
    held: Vec<Tensor>,
}

/// Builds programs with feeds and parameters of random content.
struct Making {
    numbers: Numbers,
    case: Case,
}

impl Making {
    fn new(seed: u64) -> Self {
        let case = Case { program: Program::default(), params: Vec::new(), feeds: Vec::new(), held: Vec::new() };
        Self { numbers: Numbers(seed), case }
    }

    fn b(&mut self) -> Builder<'_> {
        Builder::new(&mut self.case.program)
    }

    fn feed(&mut self, dims: &[usize]) -> Value {
        let t = self.numbers.tensor(dims);
        self.case.feeds.push(t);
        let name = format!("feed{}", self.case.feeds.len());
        self.b().feed(name, Fact::of_dims(DType::F32, dims))
    }

    fn param(&mut self, dims: &[usize]) -> Value {
        let t = self.numbers.tensor(dims);
        self.case.held.push(t.clone());
        let v = self.b().constant(None, Payload::from_tensor(t), None);
        self.case.params.push(v);
        v
    }

    /// Adds gradients of the sum of `out · weights` by all parameters and feeds, and finishes.
    fn with_gradients(mut self, out: Value) -> Result<Case, Misfit> {
        let dims = self.case.program.fact(out).dims().unwrap();
        let weights = self.numbers.tensor(&dims);
        let w = self.b().literal(weights);
        let product = make::mul(&mut self.b(), out, w)?;
        let loss = make::sum_all(&mut self.b(), product)?;
        let mut wrt = self.case.params.clone();
        wrt.extend(self.case.program.feeds.iter().map(|f| f.value));
        let gradients = differentiate(&mut self.case.program, &[(loss, None)], &wrt).unwrap();
        self.case.program.outputs = [loss, out].into_iter().chain(gradients.into_iter().flatten()).collect();
        Ok(self.case)
    }
}

fn layer_norm(b: &mut Builder, x: Value, gain: Value, bias: Value) -> Result<Value, Misfit> {
    let mean = make::reduce_mean(b, x, &[-1], true)?;
    let low = make::sub(b, x, mean)?;
    let square = make::square(b, low)?;
    let variance = make::reduce_mean(b, square, &[-1], true)?;
    let variance = make::add_scalar(b, variance, 1e-6)?;
    let inverse = make::rsqrt(b, variance)?;
    let scale = make::mul(b, inverse, gain)?;
    let scaled = make::mul(b, x, scale)?;
    let shift = make::mul(b, mean, scale)?;
    let shift = make::sub(b, bias, shift)?;
    make::add(b, scaled, shift)
}

fn gelu(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let half = make::mul_scalar(b, x, 0.5)?;
    let inner = make::mul_scalar(b, x, std::f64::consts::FRAC_1_SQRT_2)?;
    let erf = make::erf(b, inner)?;
    let one = make::add_scalar(b, erf, 1.0)?;
    make::mul(b, half, one)
}

/// A feed-forward block with dropout, residual and normalisation.
fn feed_forward() -> Case {
    let mut m = Making::new(1);
    let (x, w1, b1) = (m.feed(&[24, 16]), m.param(&[16, 40]), m.param(&[40]));
    let (w2, b2, gain, bias) = (m.param(&[40, 16]), m.param(&[16]), m.param(&[16]), m.param(&[16]));
    let mut b = m.b();
    let b = &mut b;
    let h = make::matmul(b, x, w1).unwrap();
    let h = make::add(b, h, b1).unwrap();
    let h = gelu(b, h).unwrap();
    let y = make::matmul(b, h, w2).unwrap();
    let y = make::add(b, y, b2).unwrap();
    let rate = make::scalar(b, DType::F32, 0.25);
    let y = b.op(Dropout::new(5), &[y, rate]).unwrap();
    let y = make::add(b, y, x).unwrap();
    let out = layer_norm(b, y, gain, bias).unwrap();
    m.with_gradients(out).unwrap()
}

/// Attention with heads inside rows, a mask for whole sequences, and dropout on the probabilities.
fn attention() -> Case {
    let (batch, seq, heads, depth) = (3, 8, 2, 6);
    let width = heads * depth;
    let mut m = Making::new(2);
    let (x, mask) = (m.feed(&[batch * seq, width]), m.feed(&[batch, 1, 1, seq]));
    let weights: Vec<(Value, Value)> = (0..3).map(|_| (m.param(&[width, width]), m.param(&[width]))).collect();
    let mut b = m.b();
    let b = &mut b;
    let split = |b: &mut Builder, (w, bias): (Value, Value)| {
        let y = make::matmul(b, x, w)?;
        let y = make::add(b, y, bias)?;
        let y = make::reshape(b, y, &[batch as i64, seq as i64, heads as i64, depth as i64])?;
        make::transpose(b, y, &[0, 2, 1, 3])
    };
    let parts: Vec<Value> = weights.iter().map(|&w| split(b, w).unwrap()).collect();
    let s = b.op(MatMul { transpose_a: false, transpose_b: true }, &[parts[0], parts[1]]).unwrap();
    let s = make::mul_scalar(b, s, 0.4).unwrap();
    let s = make::add(b, s, mask).unwrap();
    let p = b.op(Softmax { axis: -1 }, &[s]).unwrap();
    let rate = make::scalar(b, DType::F32, 0.1);
    let p = b.op(Dropout::new(9), &[p, rate]).unwrap();
    let y = make::matmul(b, p, parts[2]).unwrap();
    let y = make::transpose(b, y, &[0, 2, 1, 3]).unwrap();
    let out = make::reshape(b, y, &[(batch * seq) as i64, width as i64]).unwrap();
    m.with_gradients(out).unwrap()
}

/// Element-wise instructions, reductions and moves on random operands.
fn random(seed: u64) -> Case {
    let mut m = Making::new(seed);
    let mut values = vec![m.feed(&[3, 5, 8]), m.feed(&[15, 8]), m.param(&[8]), m.feed(&[3, 5, 1]), m.feed(&[5, 8])];
    values.push(m.feed(&[3, 1, 8]));
    let picks: Vec<[usize; 4]> = (0..40).map(|_| std::array::from_fn(|_| m.numbers.next(1 << 20))).collect();
    for pick in picks {
        let mut b = m.b();
        let x = values[pick[0] % values.len()];
        let y = values[pick[1] % values.len()];
        let made = match pick[2] % 14 {
            0 => make::add(&mut b, x, y),
            1 => make::mul(&mut b, x, y),
            2 => make::sub(&mut b, x, y),
            3 => make::tanh(&mut b, x),
            4 => make::maximum(&mut b, x, y),
            5 => make::reduce_sum(&mut b, x, &[-1], true),
            6 => make::reduce_max(&mut b, x, &[-1], pick[3] % 2 == 0),
            7 => make::greater(&mut b, x, y).and_then(|c| make::select(&mut b, c, x, y)),
            8 => make::sigmoid(&mut b, x),
            9 => make::reduce_sum(&mut b, x, &[0], false),
            10 => match b.fact(x).dims().map(|d| d.iter().product::<usize>()) {
                Some(120) => make::reshape(&mut b, x, if pick[3] % 2 == 0 { &[15, 8] } else { &[3, 5, 8] }),
                Some(15) => make::reshape(&mut b, x, if pick[3] % 2 == 0 { &[15, 1] } else { &[3, 5, 1] }),
                _ => continue,
            },
            11 => b.op(Softmax { axis: -1 }, &[x]),
            12 => make::greater(&mut b, x, y).and_then(|c| make::cast(&mut b, c, DType::F32)),
            _ => make::reduce_mean(&mut b, x, &[-1], false),
        };
        // Operands that do not broadcast are no case.
        if let Ok(v) = made {
            values.push(v);
        }
    }
    m.case.program.outputs = (0..5).map(|_| values[values.len() - 1 - m.numbers.next(12)]).collect();
    m.case
}

fn eager(program: &Program, params: &[Value], case: &Case) -> Vec<Tensor> {
    let eager = Eager::new(program.clone(), params, &mut ConstantStore::default()).unwrap();
    let bind = Bindings { feeds: &case.feeds, params: &case.held, random: RANDOM };
    eager.observe(&bind, &mut |_, _, _| Ok(())).unwrap()
}

fn planned(program: &Program, params: &[Value], case: &Case) -> Vec<Tensor> {
    let plan = Plan::new(program, params, &mut ConstantStore::default()).unwrap();
    let mut space = Workspace::new();
    let bind = Bindings { feeds: &case.feeds, params: &case.held, random: RANDOM };
    // Twice, since the second run starts with what the first left behind.
    for _ in 0..2 {
        plan.run(&mut space, &bind, Control::default()).unwrap();
    }
    (0..program.outputs.len()).map(|i| plan.output_tensor(&space, i)).collect()
}

fn close(what: &str, a: &[Tensor], b: &[Tensor]) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()), "{what}: output {i}");
        let (x, y) = (a.to_f64s().unwrap(), b.to_f64s().unwrap());
        let scale = x.iter().fold(1.0f64, |m, v| m.max(v.abs()));
        for (k, (x, y)) in x.iter().zip(&y).enumerate() {
            assert!((x - y).abs() <= 2e-5 * scale || x == y, "{what}: output {i} differs at {k}: {x} and {y}");
        }
    }
}

fn mapped(params: &[Value], r: &Rewritten) -> Vec<Value> {
    params.iter().map(|&p| r.value(p).expect("parameters stay")).collect()
}

fn check_passes(name: &str, case: &Case) {
    let want = eager(&case.program, &case.params, case);
    assert!(want == planned(&case.program, &case.params, case), "{name}: plan and eager run differ");
    let mut now = Rewritten::identity(case.program.clone());
    for pass in AFTER_AUTODIFF {
        let params = mapped(&case.params, &now);
        let next = pass.run(&now.program, &Limits { params: &params, final_form: true }).unwrap();
        let found = verify(&next.program);
        assert!(found.is_empty(), "{name} after {}: {found:?}", pass.name);
        now = now.then(next);
        let params = mapped(&case.params, &now);
        close(&format!("{name} after {}, eager", pass.name), &want, &eager(&now.program, &params, case));
        close(&format!("{name} after {}, planned", pass.name), &want, &planned(&now.program, &params, case));
    }
}

fn count(program: &Program, name: &str) -> usize {
    program.instrs.iter().filter(|i| i.name() == name).count()
}

#[test]
fn passes_keep_results_of_networks() {
    check_passes("feed-forward", &feed_forward());
    check_passes("attention", &attention());
}

#[test]
fn passes_keep_results_of_random_programs() {
    for seed in 0..60 {
        check_passes(&format!("random {seed}"), &random(seed));
    }
}

#[test]
fn passes_before_autodiff_keep_results() {
    for seed in 100..120 {
        let case = random(seed);
        let want = eager(&case.program, &case.params, &case);
        let r = before_autodiff(&case.program, &case.params).unwrap();
        assert_eq!(verify(&r.program), Vec::<String>::new());
        close("before autodiff", &want, &planned(&r.program, &mapped(&case.params, &r), &case));
    }
}

#[test]
fn networks_become_products_and_few_fused_steps() {
    let case = feed_forward();
    let r = after_autodiff(&case.program, &case.params).unwrap();
    let text = regraft::program::text::to_text(&r.program);
    assert!(count(&r.program, "rows") <= 6, "{text}");
    assert!(r.program.instrs.len() <= 16, "{text}");
    let case = attention();
    let r = after_autodiff(&case.program, &case.params).unwrap();
    let text = regraft::program::text::to_text(&r.program);
    assert_eq!(count(&r.program, "transpose"), 0, "{text}");
    assert!(count(&r.program, "softmax") + count(&r.program, "softmax_gradient") == 0, "{text}");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for case in [feed_forward(), attention()] {
        let r = after_autodiff(&case.program, &case.params).unwrap();
        let params = mapped(&case.params, &r);
        let run = |threads: usize| {
            let engine = regraft::engine::Engine::new(threads).unwrap();
            let executable = Executable::new(r.program.clone(), &params, &mut ConstantStore::default()).unwrap();
            let mut space = Workspace::new();
            let bind = Bindings { feeds: &case.feeds, params: &case.held, random: RANDOM };
            engine.run(&executable, &mut space, &bind, Control::default()).unwrap();
            (0..r.program.outputs.len()).map(|i| executable.output_tensor(&space, i)).collect::<Vec<_>>()
        };
        let one = run(1);
        for threads in [2, 3, 5] {
            assert!(one == run(threads), "{threads} threads give other bits");
        }
    }
}
