//! One op on concrete tensors: the reference way to run anything, used for folding, tests, and programs whose shapes
//! depend on data. Slower than a plan, but with the same kernels.

use crate::tensor::{Fact, Tensor, shape};

use super::kernel::AlignedScratch;
use super::{Call, Misfit, Op, Random, Run, View, ViewMut};

/// No op may produce more than this from inputs of a file (memory in proportion; hostile shapes end here).
const MAX_OUTPUT_BYTES: usize = 1 << 36;

/// Runs `op` on `inputs`. Errors say what did not fit.
pub fn eval(op: &dyn Op, inputs: &[Tensor], random: Random) -> Result<Vec<Tensor>, Misfit> {
    let in_facts: Vec<Fact> = inputs.iter().map(Fact::of_tensor).collect();
    let in_refs: Vec<&Fact> = in_facts.iter().collect();
    let out_facts = op.infer(&in_refs)?;
    let out_refs: Vec<&Fact> = out_facts.iter().collect();
    let kernel = op.kernel(&in_refs, &out_refs)?;
    match &kernel.run {
        Run::Host(f) => f(inputs),
        Run::Alias => {
            let dims = out_facts[0].dims().ok_or_else(|| Misfit::new("the output shape is not known"))?;
            Ok(vec![inputs[0].reshaped(&dims)])
        }
        Run::Compute(f) => {
            let mut outputs = out_facts.iter().map(allocate).collect::<Result<Vec<_>, _>>()?;
            let views: Vec<View<'_>> = inputs.iter().map(View::of).collect();
            let mut out_views: Vec<ViewMut<'_>> = outputs.iter_mut().map(ViewMut::of).collect();
            let mut scratch = AlignedScratch::new(kernel.scratch);
            f(&mut Call { inputs: &views, outputs: &mut out_views, scratch: scratch.bytes_mut(), random });
            Ok(outputs)
        }
    }
}

fn allocate(fact: &Fact) -> Result<Tensor, Misfit> {
    let dims = fact.dims().ok_or_else(|| Misfit::new("the output shape depends on values that are not known"))?;
    let bytes = shape::element_count(&dims).and_then(|n| n.checked_mul(fact.dtype.size().max(1)));
    if bytes.is_none_or(|b| b > MAX_OUTPUT_BYTES) {
        return Err(Misfit(format!("an output of shape {:?} is too large", &dims[..])));
    }
    Ok(Tensor::zeros(fact.dtype, &dims))
}
