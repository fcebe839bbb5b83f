//! A loop's list of equal tensors as one dense value `[n, …]`: `empty_stack` before the first write, `stack_write` sets
//! rows. Reading is `gather` along axis 0. What TensorFlow's TensorArrays and TensorLists become.

use std::sync::Arc;

use crate::ops::index::Range;
use crate::ops::make;
use crate::program::op::arity;
use crate::program::{Builder, Call, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

pub static EMPTY: OpInfo = OpInfo {
    name: "empty_stack",
    family: "control",
    summary: "A list of n tensors that nobody has written yet",
    formula: "zeros [n, element shape]; dimensions of an element that are not known are 0 until the first write",
    examples: empty_examples,
};

pub static WRITE: OpInfo = OpInfo {
    name: "stack_write",
    family: "control",
    summary: "Sets one row of a list, or several",
    formula: "inputs: stack [n, …], position (scalar or [k]), value […] or [k, …]; y = stack, except y[position] = value. \
              A stack without elements counts as zeros of the value's shape; positions outside are left out, or make \
              the list longer where it grows",
    examples: write_examples,
};

/// Input: the number of elements (integer scalar).
#[derive(Clone, Debug)]
pub struct EmptyStack {
    pub dtype: DType,
    pub element: PartialShape,
}

/// Inputs: stack, position, value. See the file's header.
#[derive(Clone, Debug, Default)]
pub struct StackWrite {
    /// Positions behind the end make the list longer.
    pub grows: bool,
}

impl StackWrite {
    /// The length after writing, where it is known.
    fn length(&self, stack: &Fact, position: &Fact) -> Result<Option<usize>, Misfit> {
        let n = stack.shape.dim(0);
        if !self.grows {
            return Ok(n);
        }
        let (Some(n), Some(at)) = (n, position.ints()) else { return Ok(None) };
        let end = at.iter().max().map_or(0, |&last| last.saturating_add(1).max(0));
        let end = usize::try_from(end).ok().filter(|&e| e <= LONGEST);
        Ok(Some(n.max(end.ok_or_else(|| Misfit(format!("position {at:?} in a list that grows is out of range")))?)))
    }
}

/// The length up to which lists grow.
const LONGEST: usize = 1 << 24;

impl Op for EmptyStack {
    fn info(&self) -> &'static OpInfo {
        &EMPTY
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        let n = inputs[0].scalar().map(|n| n.max(0.0) as usize);
        let shape = match self.element.partial() {
            None => PartialShape::from_partial([n, Some(0)]),
            Some(dims) => PartialShape::from_partial([n].into_iter().chain(dims.iter().map(|d| Some(d.unwrap_or(0))))),
        };
        Ok(vec![Fact::new(self.dtype, shape)])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let this = self.clone();
        Ok(Kernel::host(move |inputs| {
            let facts: Vec<Fact> = inputs.iter().map(Fact::of_tensor).collect();
            let fact = this.infer(&facts.iter().collect::<Vec<_>>())?.remove(0);
            let dims = fact.dims().ok_or_else(|| Misfit::new("the number of elements is not known"))?;
            let count = crate::tensor::shape::element_count(&dims).filter(|n| *n <= 1 << 34);
            count.ok_or_else(|| Misfit::new("the list is too large"))?;
            Ok(vec![Tensor::zeros(this.dtype, &dims)])
        }))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Zero("the length of a list is an integer")
    }
}

impl Op for StackWrite {
    fn info(&self) -> &'static OpInfo {
        &WRITE
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 3)?;
        let [stack, position, value] = [inputs[0], inputs[1], inputs[2]];
        if stack.dtype != value.dtype || !position.dtype.is_int() {
            return Err(Misfit::new("stack and value must have one element type and the position must be an integer"));
        }
        let skipped = position.rank();
        let (Some(skipped), Some(dims)) = (skipped, value.shape.partial()) else {
            return Ok(vec![Fact::new(stack.dtype, PartialShape::unknown())]);
        };
        if skipped > 1 || dims.len() < skipped {
            return Err(Misfit::new("the position must be a scalar, or a list with a value for each entry"));
        }
        let element = dims[skipped..].iter().copied();
        let n = self.length(stack, position)?;
        let written = PartialShape::from_partial([n].into_iter().chain(element.clone()));
        let is_empty = stack.shape.partial().is_some_and(|d| d.contains(&Some(0)));
        let of_old = PartialShape::from_partial([stack.shape.dim(0)].into_iter().chain(element));
        let shape = match of_old.merge(&stack.shape) {
            _ if is_empty => Some(written),
            Some(merged) => {
                merged.partial().map(|d| PartialShape::from_partial([n].into_iter().chain(d[1..].iter().copied())))
            }
            None => None,
        };
        let misfit = || Misfit::new("the value does not fit the elements that the list already has");
        Ok(vec![Fact::new(stack.dtype, shape.ok_or_else(misfit)?)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let n = outputs[0].shape.dim(0).ok_or_else(|| Misfit::new("the length of the list is not known"))?;
        if outputs[0].dtype.size() == 0 {
            return Err(Misfit(format!("lists of {} are not computed", outputs[0].dtype)));
        }
        let is_i64 = match inputs[1].dtype {
            DType::I32 => false,
            DType::I64 => true,
            other => return Err(Misfit(format!("positions must be int32 or int64, found {other}"))),
        };
        Ok(Kernel::compute(move |call| write(call, n, is_i64)))
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        match input {
            1 => Flow::Zero("a position is an integer"),
            _ if inputs[2].dtype.is_float() => Flow::Flows,
            _ => Flow::Zero("integers and booleans have no derivative"),
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
        let [stack, position, value] = [at.inputs[0], at.inputs[1], at.inputs[2]];
        let was_empty = b.fact(stack).shape.partial().is_some_and(|d| d.contains(&Some(0)));
        let mut grads = vec![None; 3];
        if wanted[0] && !was_empty {
            let zeros = make::zeros_like(b, value)?;
            let mut own = g;
            let (before, after) = (b.fact(stack).shape.dim(0), b.fact(g).shape.dim(0));
            if self.grows && (before.is_none() || before != after) {
                let shape = make::shape_of(b, stack)?;
                let n = make::slice(b, shape, &[0], &[1])?;
                let n = make::reshape(b, n, &[])?;
                let (zero, one) = (make::scalar(b, DType::I64, 0.0), make::scalar(b, DType::I64, 1.0));
                let rows = b.op(Range, &[zero, n, one])?;
                own = make::gather(b, g, rows, 0)?;
            }
            grads[0] = Some(b.op(Self { grows: false }, &[own, position, zeros])?);
        }
        if wanted[2] {
            grads[2] = Some(make::gather(b, g, position, 0)?);
        }
        Ok(grads)
    }
}

fn write(call: &mut Call<'_>, n: usize, is_i64: bool) {
    let positions: Vec<i64> = if is_i64 {
        call.input::<i64>(1).to_vec()
    } else {
        call.input::<i32>(1).iter().map(|&p| i64::from(p)).collect()
    };
    let (old, value) = (call.inputs[0].bytes(), call.inputs[2].bytes());
    let out = call.outputs[0].bytes();
    // A stack without elements becomes zeros, and so do rows behind its end.
    let kept = old.len().min(out.len());
    out[..kept].copy_from_slice(&old[..kept]);
    out[kept..].fill(0);
    let row = out.len() / n.max(1);
    for (i, &p) in positions.iter().enumerate() {
        if let Some(p) = usize::try_from(p).ok().filter(|&p| p < n)
            && let Some(from) = value.get(i * row..(i + 1) * row)
        {
            out[p * row..(p + 1) * row].copy_from_slice(from);
        }
    }
}

fn empty_examples() -> Vec<Example> {
    let op = Arc::new(EmptyStack { dtype: DType::F32, element: PartialShape::from_dims(&[2]) });
    vec![Example { op, inputs: vec![Tensor::scalar(3i32)], outputs: Some(vec![Tensor::zeros(DType::F32, &[3, 2])]) }]
}

fn write_examples() -> Vec<Example> {
    let stack = Tensor::from_slice(&[3, 2], &[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let row = Tensor::from_slice(&[2], &[-1.0f64, -2.0]);
    let rows = Tensor::from_slice(&[2, 2], &[-1.0f64, -2.0, -3.0, -4.0]);
    let op: Arc<dyn Op> = Arc::new(StackWrite::default());
    let longer = Example {
        op: Arc::new(StackWrite { grows: true }),
        inputs: vec![stack.clone(), Tensor::scalar(4i32), row.clone()],
        outputs: Some(vec![Tensor::from_slice(&[5, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0, -1.0, -2.0])]),
    };
    let case = |position: Tensor, value: &Tensor, want: [f64; 6]| Example {
        op: op.clone(),
        inputs: vec![stack.clone(), position, value.clone()],
        outputs: Some(vec![Tensor::from_slice(&[3, 2], &want)]),
    };
    vec![
        case(Tensor::scalar(1i32), &row, [1.0, 2.0, -1.0, -2.0, 5.0, 6.0]),
        case(Tensor::from_slice(&[2], &[2i64, 0]), &rows, [-3.0, -4.0, 3.0, 4.0, -1.0, -2.0]),
        longer,
    ]
}
