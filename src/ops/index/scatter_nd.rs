//! `scatter_nd`: writes or combines slices at positions with several coordinates.

use std::sync::Arc;

use crate::ops::make;
use crate::ops::shape::{data_flow, shape_operand};
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Dims, Fact, Tensor};

use super::gather_nd::slice_at;
use super::{Combine, GatherNd, Indices, ScatterFn, for_storage};

pub static INFO: OpInfo = OpInfo {
    name: "scatter_nd",
    family: "index",
    summary: "Writes or combines slices at positions with several coordinates",
    formula: "inputs: base, positions [p…, k], updates [p…, i…]; y = base, then y[positions[p…]] ∘= updates[p…] in order",
    examples,
};

/// Inputs: base values, positions (integers), updates.
#[derive(Clone, Debug)]
pub struct ScatterNd {
    pub f: ScatterFn,
}

impl Op for ScatterNd {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 3)?;
        let (base, at, updates) = (inputs[0], inputs[1], inputs[2]);
        Indices::check(at.dtype)?;
        if base.dtype != updates.dtype && base.dtype != DType::Unknown && updates.dtype != DType::Unknown {
            return Err(Misfit(format!("element types differ: {} and {}", base.dtype, updates.dtype)));
        }
        if let (Some(x), Some(p), Some(u)) = (base.dims(), at.dims(), updates.dims()) {
            let depth = p.last().copied().ok_or_else(|| Misfit::new("positions need a dimension of coordinates"))?;
            let fits = depth <= x.len() && {
                let want: Dims = p[..p.len() - 1].iter().chain(&x[depth..]).copied().collect();
                want == u
            };
            if !fits {
                return Err(Misfit(format!("updates {} at {} of {}", updates.shape, at.shape, base.shape)));
            }
        }
        Ok(vec![Fact::new(base.dtype, base.shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape is not known");
        let (x, p) = (inputs[0].dims().ok_or_else(known)?, inputs[1].dims().ok_or_else(known)?);
        let f = self.f;
        for_storage!(inputs[0].dtype, T => kernel::<T>(f, x, &p))
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        match (input, self.f) {
            (1, _) => shape_operand(),
            (_, ScatterFn::Mul) if !inputs[0].dtype.is_exact() => {
                Flow::Blocked("scattering with multiplication has no gradient rule".into())
            }
            _ => data_flow(inputs[0]),
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None; 3]) };
        let (base, positions, updates, y) = (at.inputs[0], at.inputs[1], at.inputs[2], at.outputs[0]);
        let mut out = vec![None; 3];
        match self.f {
            ScatterFn::Update => {
                if wanted[0] {
                    let zeros = make::zeros_like(b, updates)?;
                    out[0] = Some(b.op(Self { f: ScatterFn::Update }, &[g, positions, zeros])?);
                }
                out[2] = Some(b.op(GatherNd, &[g, positions])?);
            }
            ScatterFn::Add | ScatterFn::Sub => {
                out[0] = Some(g);
                let picked = b.op(GatherNd, &[g, positions])?;
                out[2] = Some(if self.f == ScatterFn::Sub { make::neg(b, picked)? } else { picked });
            }
            ScatterFn::Max | ScatterFn::Min => {
                // Whatever equals the result shares its gradient evenly.
                let dtype = b.fact(base).dtype;
                let base_hit = make::equal(b, base, y)?;
                let base_hit = make::cast(b, base_hit, dtype)?;
                let result = b.op(GatherNd, &[y, positions])?;
                let hit = make::equal(b, updates, result)?;
                let hit = make::cast(b, hit, dtype)?;
                let ties = b.op(Self { f: ScatterFn::Add }, &[base_hit, positions, hit])?;
                let each = make::div(b, g, ties)?;
                out[0] = Some(make::mul(b, base_hit, each)?);
                let picked = b.op(GatherNd, &[each, positions])?;
                out[2] = Some(make::mul(b, hit, picked)?);
            }
            ScatterFn::Mul => {}
        }
        Ok(out)
    }
}

fn kernel<T: Combine>(f: ScatterFn, x: Dims, p: &[usize]) -> Kernel {
    let depth = p.last().copied().unwrap_or(0);
    let rows: usize = p[..p.len().saturating_sub(1)].iter().product();
    let inner: usize = x[depth.min(x.len())..].iter().product();
    Kernel::compute(move |call| {
        if !call.aliased(0, 0) {
            let base = call.inputs[0].bytes();
            call.outputs[0].bytes().copy_from_slice(base);
        }
        let at = Indices::of(&call.inputs[1]);
        let updates = call.input::<T>(2);
        let y = call.output::<T>(0);
        for r in 0..rows {
            let Some(k) = slice_at(at, r, depth, &x) else { continue };
            let new = &updates[r * inner..(r + 1) * inner];
            for (y, &v) in y[k * inner..(k + 1) * inner].iter_mut().zip(new) {
                *y = y.combine(f, v);
            }
        }
    })
    .in_place(&[(0, 0)])
}

fn examples() -> Vec<Example> {
    let base = Tensor::from_slice(&[3, 2], &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let positions = Tensor::from_slice(&[2, 1], &[2i32, 0]);
    let updates = Tensor::from_slice(&[2, 2], &[10.0f64, 20.0, -7.0, 0.5]);
    let case = |f, want: &[f64]| Example {
        op: Arc::new(ScatterNd { f }),
        inputs: vec![base.clone(), positions.clone(), updates.clone()],
        outputs: Some(vec![Tensor::from_slice(&[3, 2], want)]),
    };
    vec![
        case(ScatterFn::Update, &[-7.0, 0.5, 3.0, 4.0, 10.0, 20.0]),
        case(ScatterFn::Add, &[-6.0, 2.5, 3.0, 4.0, 15.0, 26.0]),
        case(ScatterFn::Sub, &[8.0, 1.5, 3.0, 4.0, -5.0, -14.0]),
        case(ScatterFn::Mul, &[-7.0, 1.0, 3.0, 4.0, 50.0, 120.0]),
        case(ScatterFn::Max, &[1.0, 2.0, 3.0, 4.0, 10.0, 20.0]),
        case(ScatterFn::Min, &[-7.0, 0.5, 3.0, 4.0, 5.0, 6.0]),
    ]
}
