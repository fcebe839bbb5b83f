//! A small program of element-wise steps and row reductions over a matrix of `rows` × `cols`, run block by block so that
//! everything between its inputs and outputs stays in cache.
//!
//! It covers what networks do between matrix products: bias and activation, layer normalisation with its gradient, masked
//! softmax with its gradient, residual sums, dropout (whose mask is drawn again rather than stored), and the sums over rows
//! that are gradients of biases and gains. Only passes make it, after autodiff.

use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{DType, Dims, Fact, shape::element_count};

use super::micro::{Binary, Fold, Pair, Unary};
use super::rows_run;

pub static INFO: OpInfo = OpInfo {
    name: "rows",
    family: "fused",
    summary: "Element-wise steps and row reductions in one pass over memory",
    formula: "the composition of the instructions that it replaced",
    examples,
};

/// How an input lies against the matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lie {
    /// An element each.
    Full,
    /// One number per row.
    Column,
    /// One row for all rows.
    Row,
    Scalar,
    /// Leading dimensions (whose product is `rows`) with the distance between neighbours in elements, 0 where the input
    /// repeats; `vector` where it also has the columns, else one number per row.
    Spread {
        dims: Dims,
        strides: Dims,
        vector: bool,
    },
}

/// An operand of a step: an input, or the result of an earlier step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    Input(usize),
    Step(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Unary {
        f: Unary,
        x: Arg,
        column: bool,
    },
    Binary {
        f: Binary,
        a: Arg,
        b: Arg,
        column: bool,
    },
    /// Two functions in one pass: of `a` and `b`, then of that and `c`. The result is a whole matrix.
    Pair {
        f: Pair,
        a: Arg,
        b: Arg,
        c: Arg,
    },
    Select {
        cond: Arg,
        a: Arg,
        b: Arg,
        column: bool,
    },
    /// Row to number; the result is a column.
    Fold {
        f: Fold,
        x: Arg,
    },
    /// Inverted dropout with the stream of the op of this site; `rate` is a scalar input.
    Dropout {
        site: u64,
        x: Arg,
        rate: usize,
    },
    /// Sum over all rows; only an output may take it.
    ColumnSum {
        x: Arg,
    },
}

impl Step {
    /// Whether the result is one number per row.
    pub fn is_column(&self) -> bool {
        match self {
            Self::Unary { column, .. } | Self::Binary { column, .. } | Self::Select { column, .. } => *column,
            Self::Fold { .. } => true,
            Self::Pair { .. } | Self::Dropout { .. } | Self::ColumnSum { .. } => false,
        }
    }

    fn map_steps(&mut self, place: impl Fn(usize) -> usize) {
        let args: smallvec::SmallVec<[&mut Arg; 3]> = match self {
            Self::Unary { x, .. } | Self::Fold { x, .. } | Self::ColumnSum { x } | Self::Dropout { x, .. } => {
                smallvec::smallvec![x]
            }
            Self::Binary { a, b, .. } => smallvec::smallvec![a, b],
            Self::Pair { a, b, c, .. } => smallvec::smallvec![a, b, c],
            Self::Select { cond, a, b, .. } => smallvec::smallvec![cond, a, b],
        };
        for arg in args {
            if let Arg::Step(s) = arg {
                *s = place(*s);
            }
        }
    }

    pub fn args(&self) -> smallvec::SmallVec<[Arg; 3]> {
        match *self {
            Self::Unary { x, .. } | Self::Fold { x, .. } | Self::ColumnSum { x } => smallvec::smallvec![x],
            Self::Binary { a, b, .. } => smallvec::smallvec![a, b],
            Self::Pair { a, b, c, .. } => smallvec::smallvec![a, b, c],
            Self::Select { cond, a, b, .. } => smallvec::smallvec![cond, a, b],
            Self::Dropout { x, rate, .. } => smallvec::smallvec![x, Arg::Input(rate)],
        }
    }
}

/// Joins two element-wise steps into one wherever the first has no other reader: each pass over a block that is saved is
/// one that does not wait for the cache.
pub fn pair_up(steps: &[Step], outputs: &[Output]) -> (Vec<Step>, Vec<Output>) {
    let mut reads = vec![0usize; steps.len()];
    for arg in steps.iter().flat_map(Step::args) {
        if let Arg::Step(s) = arg {
            reads[s] += 1;
        }
    }
    for out in outputs {
        reads[out.step] += 2;
    }
    let mut made: Vec<Option<Step>> = steps.iter().cloned().map(Some).collect();
    for (i, step) in steps.iter().enumerate() {
        let Step::Binary { f: second, a, b, column: false } = *step else { continue };
        for (arg, other, swapped) in [(a, b, false), (b, a, true)] {
            let Arg::Step(s) = arg else { continue };
            let Some(Step::Binary { f: first, a: x, b: y, column: false }) = made[s] else { continue };
            if reads[s] == 1
                && let Some(f) = Pair::of(first, second, swapped)
            {
                made[i] = Some(Step::Pair { f, a: x, b: y, c: other });
                made[s] = None;
                break;
            }
        }
    }
    let mut place = vec![0; steps.len()];
    let mut kept = Vec::new();
    for (i, step) in made.into_iter().enumerate() {
        place[i] = kept.len();
        kept.extend(step);
    }
    for step in &mut kept {
        step.map_steps(|s| place[s]);
    }
    let outputs = outputs.iter().map(|o| Output { step: place[o.step], dims: o.dims.clone() }).collect();
    (kept, outputs)
}

/// A result that leaves the program: the step that gives it and the shape it gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub step: usize,
    pub dims: Dims,
}

/// See the module doc. Inputs and outputs are `float32`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    pub rows: usize,
    pub cols: usize,
    pub inputs: Vec<Lie>,
    pub steps: Vec<Step>,
    /// Each step at most once.
    pub outputs: Vec<Output>,
}

impl Rows {
    /// Elements that an input must have.
    fn input_len(&self, lie: &Lie) -> usize {
        match lie {
            Lie::Full => self.rows * self.cols,
            Lie::Column => self.rows,
            Lie::Row => self.cols,
            Lie::Scalar => 1,
            Lie::Spread { dims, strides, vector } => {
                let last: usize = dims.iter().zip(strides).map(|(&d, &s)| d.saturating_sub(1) * s).sum();
                last + if *vector { self.cols } else { 1 }
            }
        }
    }

    /// Elements that a step's output has.
    pub fn output_len(&self, step: &Step) -> usize {
        match step {
            Step::ColumnSum { .. } => self.cols,
            s if s.is_column() => self.rows,
            _ => self.rows * self.cols,
        }
    }

    /// Everything that running relies on.
    fn check(&self, inputs: &[&Fact]) -> Result<(), Misfit> {
        let wrong = |what: &str| Err(Misfit(format!("fused rows: {what}")));
        if inputs.len() != self.inputs.len() {
            return wrong("the number of inputs differs");
        }
        for (fact, lie) in inputs.iter().zip(&self.inputs) {
            let len = fact.dims().and_then(|d| element_count(&d));
            let leading = match lie {
                Lie::Spread { dims, .. } => element_count(dims) == Some(self.rows),
                _ => true,
            };
            if fact.dtype != DType::F32 || len.is_none_or(|l| l < self.input_len(lie)) || !leading {
                return wrong("an input does not lie as stated");
            }
        }
        for (i, step) in self.steps.iter().enumerate() {
            for arg in step.args() {
                let sound = match arg {
                    Arg::Input(k) => k < self.inputs.len(),
                    Arg::Step(s) => s < i && !matches!(self.steps[s], Step::ColumnSum { .. }),
                };
                if !sound {
                    return wrong("a step reads what is not there");
                }
                // A column can only be computed from columns and numbers.
                let vector = match arg {
                    Arg::Input(k) => matches!(self.inputs[k], Lie::Full | Lie::Row | Lie::Spread { vector: true, .. }),
                    Arg::Step(s) => !self.steps[s].is_column(),
                };
                if vector && step.is_column() && !matches!(step, Step::Fold { .. }) {
                    return wrong("a column is computed from rows");
                }
            }
            if let Step::Dropout { rate, .. } = step
                && self.inputs.get(*rate) != Some(&Lie::Scalar)
            {
                return wrong("a dropout rate is not one number");
            }
        }
        for (k, out) in self.outputs.iter().enumerate() {
            let fits = self.steps.get(out.step).is_some_and(|s| element_count(&out.dims) == Some(self.output_len(s)));
            if !fits || self.outputs[..k].iter().any(|o| o.step == out.step) {
                return wrong("an output does not fit its step");
            }
        }
        let unused =
            |i: usize| matches!(self.steps[i], Step::ColumnSum { .. }) && !self.outputs.iter().any(|o| o.step == i);
        if (0..self.steps.len()).any(unused) {
            return wrong("a sum over rows is no output");
        }
        Ok(())
    }
}

impl Op for Rows {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        if inputs.len() != self.inputs.len() {
            return Err(Misfit::new("the number of inputs differs"));
        }
        Ok(self.outputs.iter().map(|o| Fact::of_dims(DType::F32, &o.dims)).collect())
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        self.check(inputs)?;
        Ok(rows_run::kernel(self))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Blocked("fused after gradients were taken".to_owned())
    }

    fn is_random(&self) -> bool {
        self.steps.iter().any(|s| matches!(s, Step::Dropout { .. }))
    }
}

fn examples() -> Vec<Example> {
    use crate::tensor::Tensor;
    let (rows, cols) = (3, 4);
    let op = Rows {
        rows,
        cols,
        inputs: vec![Lie::Full, Lie::Row],
        steps: vec![
            Step::Binary { f: Binary::Add, a: Arg::Input(0), b: Arg::Input(1), column: false },
            Step::Fold { f: Fold::Max, x: Arg::Step(0) },
            Step::Binary { f: Binary::Sub, a: Arg::Step(0), b: Arg::Step(1), column: false },
            Step::ColumnSum { x: Arg::Step(2) },
        ],
        outputs: vec![
            Output { step: 2, dims: Dims::from_slice(&[3, 4]) },
            Output { step: 1, dims: Dims::from_slice(&[3, 1]) },
            Output { step: 3, dims: Dims::from_slice(&[4]) },
        ],
    };
    let x: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let out: Vec<f32> = [-3.0, -1.0, -2.0, 0.0].repeat(3);
    vec![Example {
        op: std::sync::Arc::new(op),
        inputs: vec![Tensor::from_slice(&[3, 4], &x), Tensor::from_slice(&[4], &[0.0f32, 1.0, -1.0, 0.0])],
        outputs: Some(vec![
            Tensor::from_slice(&[3, 4], &out),
            Tensor::from_slice(&[3, 1], &[3.0f32, 7.0, 11.0]),
            Tensor::from_slice(&[4], &[-9.0f32, -3.0, -6.0, 0.0]),
        ]),
    }]
}
