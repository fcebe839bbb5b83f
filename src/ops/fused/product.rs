//! Matrix products whose operands and result lie transposed in memory: the product reads and writes through strides what
//! would else be copied. Only passes make it.

use smallvec::SmallVec;

use crate::ops::half::through_f32;
use crate::ops::linalg::gemm::{self, BatchDim, GemmElement, Layout};
use crate::program::op::arity;
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{DType, Dims, Element, Fact, Tensor, shape::element_count};
use crate::with_real;

pub static INFO: OpInfo = OpInfo {
    name: "product",
    family: "fused",
    summary: "Matrix product on transposed operands and result, without copies",
    formula: "C[.., i, j] = Σ_k A[.., i, k] · B[.., k, j] at the places that the strides give",
    examples,
};

/// One dimension of a batch of products: how often, and how many elements each operand advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strided {
    pub count: usize,
    pub a: usize,
    pub b: usize,
    pub c: usize,
}

/// Inputs `a`, `b`; the output has `dims`. Strides are `(row, column)` in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: (usize, usize),
    pub b: (usize, usize),
    pub c: (usize, usize),
    /// Outermost first.
    pub batch: SmallVec<[Strided; 4]>,
    pub dims: Dims,
}

impl Product {
    fn layout(&self) -> Layout {
        let pair = |(r, c): (usize, usize)| (r as isize, c as isize);
        let (m, n, k) = (self.m, self.n, self.k);
        Layout { m, n, k, a: pair(self.a), b: pair(self.b), c: pair(self.c), batch: SmallVec::new() }.batch(
            self.batch.iter().map(|d| BatchDim { count: d.count, a: d.a as isize, b: d.b as isize, c: d.c as isize }),
        )
    }

    /// One past the last element that a `rows` × `cols` operand reaches.
    fn reach(&self, rows: usize, cols: usize, strides: (usize, usize), step: impl Fn(&Strided) -> usize) -> usize {
        if rows == 0 || cols == 0 || self.batch.iter().any(|d| d.count == 0) {
            return 0;
        }
        let batch: usize = self.batch.iter().map(|d| (d.count - 1) * step(d)).sum();
        (rows - 1) * strides.0 + (cols - 1) * strides.1 + batch + 1
    }

    /// Whether operands are long enough and the result is written whole.
    fn check(&self, inputs: &[&Fact]) -> Result<(), Misfit> {
        let len = |f: &Fact| f.dims().and_then(|d| element_count(&d)).unwrap_or(0);
        let written = self.batch.iter().map(|d| d.count).product::<usize>() * self.m * self.n;
        let total = element_count(&self.dims).unwrap_or(0);
        let fits = self.reach(self.m, self.k, self.a, |d| d.a) <= len(inputs[0])
            && self.reach(self.k, self.n, self.b, |d| d.b) <= len(inputs[1])
            && self.reach(self.m, self.n, self.c, |d| d.c) == total
            && written == total;
        if fits { Ok(()) } else { Err(Misfit::new("the strides of a product do not fit its operands")) }
    }
}

impl Op for Product {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        if inputs[0].dtype != inputs[1].dtype {
            return Err(Misfit::new("the element types differ"));
        }
        Ok(vec![Fact::of_dims(inputs[0].dtype, &self.dims)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        self.check(inputs)?;
        if let Some(k) = through_f32(self, inputs, outputs)? {
            return Ok(k);
        }
        let layout = self.layout();
        with_real!(inputs[0].dtype, T => Ok(kernel::<T>(layout)))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Blocked("made after gradients were taken".to_owned())
    }
}

fn kernel<T: Element + GemmElement>(layout: Layout) -> Kernel {
    let flops = layout.flops();
    Kernel::compute(move |call| {
        if layout.k == 0 {
            return call.output::<T>(0).fill(T::ZERO);
        }
        let (a, b) = (call.inputs[0].ptr::<T>(), call.inputs[1].ptr::<T>());
        let c = call.outputs[0].ptr::<T>();
        // SAFETY: `check` compared every reach with the buffers; the result is written once and shares no memory.
        #[allow(unsafe_code)]
        unsafe {
            gemm::run(&layout, T::ONE, a, b, T::ZERO, c);
        }
    })
    .flops(flops)
}

fn examples() -> Vec<Example> {
    // Two heads inside rows of four: A[s, h, d] · B[t, h, d]ᵀ for each h.
    let op = Product {
        m: 2,
        n: 2,
        k: 2,
        a: (4, 1),
        b: (1, 4),
        c: (2, 1),
        batch: SmallVec::from_slice(&[Strided { count: 2, a: 2, b: 2, c: 4 }]),
        dims: Dims::from_slice(&[2, 2, 2]),
    };
    let a = Tensor::from_f64s(DType::F64, &[2, 2, 2], (0..8).map(f64::from));
    let b = Tensor::from_f64s(DType::F64, &[2, 2, 2], (0..8).map(|i| f64::from(i) - 3.0));
    let want = [-2.0, 2.0, -22.0, 14.0, -2.0, 18.0, -6.0, 46.0];
    vec![Example {
        op: std::sync::Arc::new(op),
        inputs: vec![a, b],
        outputs: Some(vec![Tensor::from_f64s(DType::F64, &[2, 2, 2], want)]),
    }]
}
