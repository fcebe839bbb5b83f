//! `reduce_*`: sum, mean, maximum, minimum, product, all, any over chosen dimensions.

use std::sync::Arc;

use crate::ops::make;
use crate::ops::shape::shape_operand;
use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor, shape};

use super::cumulative::{Cumulative, CumulativeFn};
use super::reduce_kernel;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceFn {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    All,
    Any,
}

macro_rules! infos {
    ($($f:ident $name:literal $summary:literal $formula:literal;)*) => {
        pub static INFOS: &[&OpInfo] = &[$(&OpInfo {
            name: $name,
            family: "reduce",
            summary: $summary,
            formula: $formula,
            examples: || examples(ReduceFn::$f),
        }),*];
    };
}
infos! {
    Sum "reduce_sum" "Sum over dimensions" "Σ x; inputs: x, axes; an empty sum is 0";
    Mean "reduce_mean" "Mean over dimensions" "Σ x / n; integers drop the fraction";
    Max "reduce_max" "Maximum over dimensions" "NaN where any is NaN; ties share the gradient evenly";
    Min "reduce_min" "Minimum over dimensions" "NaN where any is NaN; ties share the gradient evenly";
    Prod "reduce_prod" "Product over dimensions" "Π x; an empty product is 1";
    All "reduce_all" "Whether all are true" "conjunction over dimensions";
    Any "reduce_any" "Whether any is true" "disjunction over dimensions";
}

/// Inputs: values, axes (integers; negative ones count from the end; an empty list reduces nothing).
#[derive(Clone, Debug)]
pub struct Reduce {
    pub f: ReduceFn,
    pub keep_dims: bool,
}

/// Which dimensions are reduced; `None` where the axes are not known.
fn marked(axes: &Fact, rank: usize) -> Result<Option<Vec<bool>>, Misfit> {
    let Some(given) = axes.ints() else { return Ok(None) };
    let mut out = vec![false; rank];
    for axis in given {
        let a =
            shape::normalize_axis(axis, rank).ok_or_else(|| Misfit(format!("axis {axis} is outside rank {rank}")))?;
        out[a] = true;
    }
    Ok(Some(out))
}

impl Op for Reduce {
    fn info(&self) -> &'static OpInfo {
        INFOS[self.f as usize]
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let (x, axes) = (inputs[0], inputs[1]);
        let logical = matches!(self.f, ReduceFn::All | ReduceFn::Any);
        let fits = match x.dtype {
            DType::Unknown => true,
            DType::Bool => logical,
            d => !logical && (d.is_float() || d.is_int()),
        };
        if !fits {
            return Err(Misfit(format!("not defined for {}", x.dtype)));
        }
        let Some(dims) = x.shape.partial() else {
            return Ok(vec![Fact::new(x.dtype, PartialShape::unknown())]);
        };
        let shape = match marked(axes, dims.len())? {
            None if self.keep_dims => PartialShape::of_rank(dims.len()),
            None => PartialShape::unknown(),
            Some(m) if self.keep_dims => {
                PartialShape::from_partial((0..dims.len()).map(|a| if m[a] { Some(1) } else { dims[a] }))
            }
            Some(m) => PartialShape::from_partial((0..dims.len()).filter(|&a| !m[a]).map(|a| dims[a])),
        };
        Ok(vec![Fact::new(x.dtype, shape)])
    }

    fn kernel(&self, inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let known = || Misfit::new("the shape or the axes are not known");
        let dims = inputs[0].dims().ok_or_else(known)?;
        let m = marked(inputs[1], dims.len())?.ok_or_else(known)?;
        reduce_kernel::kernel(self.f, inputs[0].dtype, &dims, &m)
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        match self.f {
            _ if input == 1 => shape_operand(),
            ReduceFn::All | ReduceFn::Any => Flow::Zero("logic on booleans has no gradient"),
            _ if inputs[0].dtype.is_exact() => Flow::Zero("integers have no gradient"),
            _ => Flow::Flows,
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None, None]) };
        let (x, axes, y) = (at.inputs[0], at.inputs[1], at.outputs[0]);
        let kept = kept_shape(b, x, axes)?;
        let g = make::reshape_to(b, g, kept)?;
        let shape = make::shape_of(b, x)?;
        let back = match self.f {
            ReduceFn::Sum => make::broadcast_to(b, g, shape)?,
            ReduceFn::Mean => {
                let n = element_ratio(b, x, y)?;
                let each = make::div(b, g, n)?;
                make::broadcast_to(b, each, shape)?
            }
            ReduceFn::Max | ReduceFn::Min => {
                let y = make::reshape_to(b, y, kept)?;
                let hit = make::equal(b, x, y)?;
                let dtype = b.fact(x).dtype;
                let hit = make::cast(b, hit, dtype)?;
                let ties = make::reduce(b, ReduceFn::Sum, hit, axes, true)?;
                let each = make::div(b, g, ties)?;
                make::mul(b, hit, each)?
            }
            ReduceFn::Prod => {
                let rest = product_of_others(b, x, axes)?;
                make::mul(b, rest, g)?
            }
            ReduceFn::All | ReduceFn::Any => return Ok(vec![None, None]),
        };
        Ok(vec![Some(back), None])
    }
}

/// The shape of `x` with 1 in the reduced dimensions, as a value.
fn kept_shape(b: &mut Builder, x: Value, axes: Value) -> Result<Value, Misfit> {
    if let Some(dims) = b.fact(x).dims()
        && let Some(m) = marked(b.fact(axes), dims.len())?
    {
        let kept: Vec<i64> = dims.iter().zip(m).map(|(&d, m)| if m { 1 } else { d as i64 }).collect();
        return Ok(make::ints(b, &kept));
    }
    // Only the shape is wanted; `any` over dimensions that are not known yet gives it cheaply enough.
    let dtype = b.fact(x).dtype;
    let f = if dtype == DType::Bool { ReduceFn::Any } else { ReduceFn::Sum };
    let kept = make::reduce(b, f, x, axes, true)?;
    make::shape_of(b, kept)
}

/// Number of elements of `x` for each of `y`, as a scalar of their type.
fn element_ratio(b: &mut Builder, x: Value, y: Value) -> Result<Value, Misfit> {
    let dtype = b.fact(x).dtype;
    if let (Some(from), Some(to)) = (b.fact(x).dims(), b.fact(y).dims()) {
        let count = |d: &[usize]| shape::element_count(d).unwrap_or(0) as f64;
        return Ok(make::scalar(b, dtype, count(&from) / count(&to).max(1.0)));
    }
    let mut counts = [x, y];
    for v in &mut counts {
        let shape = make::shape_of(b, *v)?;
        let shape = make::cast(b, shape, dtype)?;
        let zero = make::ints(b, &[0]);
        *v = make::reduce(b, ReduceFn::Prod, shape, zero, false)?;
    }
    make::div(b, counts[0], counts[1])
}

/// For each element the product of the others it is multiplied with: exact where some are zero. The reduced dimensions go
/// last, as one; then products of what stands before times products of what stands after.
fn product_of_others(b: &mut Builder, x: Value, axes: Value) -> Result<Value, Misfit> {
    let unknown = || Misfit::new("the gradient of a product needs known shapes and axes");
    let dims = b.fact(x).dims().ok_or_else(unknown)?;
    let m = marked(b.fact(axes), dims.len())?.ok_or_else(unknown)?;
    let order: Vec<usize> = (0..dims.len()).filter(|&a| !m[a]).chain((0..dims.len()).filter(|&a| m[a])).collect();
    let mut back = vec![0i64; order.len()];
    order.iter().enumerate().for_each(|(i, &a)| back[a] = i as i64);
    let n: usize = (0..dims.len()).filter(|&a| m[a]).map(|a| dims[a]).product();
    let outer: usize = (0..dims.len()).filter(|&a| !m[a]).map(|a| dims[a]).product();
    let moved_dims: Vec<i64> = order.iter().map(|&a| dims[a] as i64).collect();

    let perm: Vec<i64> = order.iter().map(|&a| a as i64).collect();
    let moved = make::transpose(b, x, &perm)?;
    let flat = make::reshape(b, moved, &[outer as i64, n as i64])?;
    let running = |reverse| Cumulative { f: CumulativeFn::Prod, exclusive: true, reverse };
    let axis = make::scalar(b, DType::I64, 1.0);
    let before = b.op(running(false), &[flat, axis])?;
    let after = b.op(running(true), &[flat, axis])?;
    let others = make::mul(b, before, after)?;
    let others = make::reshape(b, others, &moved_dims)?;
    make::transpose(b, others, &back)
}

fn examples(f: ReduceFn) -> Vec<Example> {
    let case = |x: &Tensor, axes: &[i32], keep_dims: bool, want: Option<Tensor>| Example {
        op: Arc::new(Reduce { f, keep_dims }),
        inputs: vec![x.clone(), Tensor::from_slice(&[axes.len()], axes)],
        outputs: want.map(|w| vec![w]),
    };
    if matches!(f, ReduceFn::All | ReduceFn::Any) {
        let x = Tensor::from_bools(&[2, 2], &[true, false, true, true]);
        let want = if f == ReduceFn::All { [false, true] } else { [true, true] };
        return vec![case(&x, &[1], false, Some(Tensor::from_bools(&[2], &want)))];
    }
    let x = Tensor::from_slice(&[2, 3], &[1.5f64, -2.0, 0.5, 4.0, 3.0, -1.0]);
    let (columns, rows) = match f {
        ReduceFn::Sum => ([5.5, 1.0, -0.5], [0.0, 6.0]),
        ReduceFn::Mean => ([2.75, 0.5, -0.25], [0.0, 2.0]),
        ReduceFn::Max => ([4.0, 3.0, 0.5], [1.5, 4.0]),
        ReduceFn::Min => ([1.5, -2.0, -1.0], [-2.0, -1.0]),
        _ => ([6.0, -6.0, -0.5], [-1.5, -12.0]),
    };
    let deep: Vec<f64> = (0..24).map(|i| f64::from(i * 7 % 11) / 3.0 - 1.3 + f64::from(i) * 0.01).collect();
    let deep = Tensor::from_slice(&[2, 3, 4], &deep);
    let one_zero = Tensor::from_slice(&[3], &[2.0f64, 0.0, 3.0]);
    let mut out = vec![
        case(&x, &[0], false, Some(Tensor::from_slice(&[3], &columns))),
        case(&x, &[-1], true, Some(Tensor::from_slice(&[2, 1], &rows))),
        case(&x, &[], false, Some(x.clone())),
        case(&deep, &[0, 2], false, None),
        case(&deep, &[1], true, None),
        case(&deep, &[0, 1, 2], false, None),
    ];
    if f == ReduceFn::Prod {
        out.push(case(&one_zero, &[0], false, Some(Tensor::scalar(0.0f64))));
    }
    out
}
