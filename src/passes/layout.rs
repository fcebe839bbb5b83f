//! Lets matrix products read transposed operands and write transposed results through strides, instead of copying: the
//! heads of attention are such transposes.

use smallvec::SmallVec;

use crate::ops::fused::{Product, Strided};
use crate::ops::linalg::MatMul;
use crate::program::{Instr, InstrKind, Misfit, Program, Value};
use crate::tensor::{DType, Dims, shape};

use super::Limits;
use super::rewrite::{Rewriter, Rewritten};

/// A value as a product sees it: dimensions, and how far neighbours are apart in `source`.
struct Seen {
    source: Value,
    dims: Dims,
    strides: Dims,
    transposed: bool,
}

pub(super) fn run(program: &Program, _: &Limits<'_>) -> Result<Rewritten, Misfit> {
    let readers = program.readers();
    // Transposes that a product writes itself, with the product's instruction.
    let mut written: Vec<Option<usize>> = vec![None; program.instrs.len()];
    let mut r = Rewriter::new(program);
    for (i, instr) in program.instrs.iter().enumerate() {
        if written[i].is_some() {
            continue;
        }
        let Some(product) = product(program, instr, &readers, &written) else {
            r.copy(instr)?;
            continue;
        };
        let inputs = [r.get(product.a)?, r.get(product.b)?];
        match product.transpose {
            None => r.copy_as(instr, InstrKind::Op(std::sync::Arc::new(product.op)), &inputs),
            Some(t) => {
                // The transposed value takes the product's place; nobody reads the untransposed one.
                written[t] = Some(i);
                let at = &program.instrs[t];
                let moved = Instr { origin: instr.origin.clone(), ..at.clone() };
                r.copy_as(&moved, InstrKind::Op(std::sync::Arc::new(product.op)), &inputs);
            }
        }
    }
    r.finish()
}

struct Found {
    a: Value,
    b: Value,
    op: Product,
    /// The instruction that transposes the result, if the product does that now.
    transpose: Option<usize>,
}

/// The strided form of a matrix product, where that saves a transpose.
fn product(
    program: &Program,
    instr: &Instr,
    readers: &[SmallVec<[usize; 4]>],
    written: &[Option<usize>],
) -> Option<Found> {
    let matmul = instr.op_as::<MatMul>()?;
    let out = instr.outputs[0];
    if !matches!(program.fact(out).dtype, DType::F32 | DType::F64) {
        return None;
    }
    let (a, b) = (seen(program, instr.inputs[0], written)?, seen(program, instr.inputs[1], written)?);
    let dims = program.fact(out).dims()?;
    let (result, transpose) = result(program, out, &dims, readers);
    if !a.transposed && !b.transposed && transpose.is_none() {
        return None;
    }
    let matrix = |s: &Seen, transpose: bool| {
        let n = s.dims.len();
        let (r, c) = if transpose { (n - 1, n - 2) } else { (n - 2, n - 1) };
        ((s.dims[r], s.dims[c]), (s.strides[r], s.strides[c]))
    };
    let ((m, k), a_strides) = matrix(&a, matmul.transpose_a);
    let ((_, n), b_strides) = matrix(&b, matmul.transpose_b);
    let rank = dims.len();
    let along = |s: &Seen, axis: usize| {
        // Batch axes are matched from the right; missing and single ones repeat.
        let lead = rank - s.dims.len();
        if axis < lead || s.dims[axis - lead] == 1 { 0 } else { s.strides[axis - lead] }
    };
    let batch = (0..rank - 2)
        .map(|i| Strided { count: dims[i], a: along(&a, i), b: along(&b, i), c: result.strides[i] })
        .collect();
    let op = Product {
        m,
        n,
        k,
        a: a_strides,
        b: b_strides,
        c: (result.strides[rank - 2], result.strides[rank - 1]),
        batch,
        dims: result.dims,
    };
    Some(Found { a: a.source, b: b.source, op, transpose })
}

fn permutation(program: &Program, instr: &Instr) -> Option<Vec<usize>> {
    if instr.name() != "transpose" {
        return None;
    }
    let perm = program.fact(*instr.inputs.get(1)?).ints()?;
    let perm: Vec<usize> = perm.iter().map(|&p| usize::try_from(p).ok()).collect::<Option<_>>()?;
    let mut seen = vec![false; perm.len()];
    for &p in &perm {
        *seen.get_mut(p)? = true;
    }
    seen.iter().all(|&s| s).then_some(perm)
}

/// An operand, looked at through the transpose that made it; not where another product writes that transpose itself, since
/// there is nothing behind it then.
fn seen(program: &Program, v: Value, written: &[Option<usize>]) -> Option<Seen> {
    let dims = program.fact(v).dims()?;
    if let Some((at, instr)) = program.producer(v)
        && written[at].is_none()
        && let Some(perm) = permutation(program, instr)
    {
        let source = instr.inputs[0];
        let from = shape::strides(&program.fact(source).dims()?);
        if perm.len() == from.len() {
            let strides = perm.iter().map(|&p| from[p]).collect();
            return Some(Seen { source, dims, strides, transposed: true });
        }
    }
    let strides = shape::strides(&dims);
    Some(Seen { source: v, dims, strides, transposed: false })
}

struct Written {
    /// Strides of the product's own axes in what is written, and its dimensions.
    strides: Dims,
    dims: Dims,
}

/// Where the product writes: straight into the transpose of its result, where that is all that reads it.
fn result(program: &Program, out: Value, dims: &Dims, readers: &[SmallVec<[usize; 4]>]) -> (Written, Option<usize>) {
    let plain = Written { strides: shape::strides(dims), dims: dims.clone() };
    if program.outputs.contains(&out) || readers[out.idx()].len() != 1 {
        return (plain, None);
    }
    let reader = readers[out.idx()][0];
    let instr = &program.instrs[reader];
    let Some(perm) = permutation(program, instr).filter(|_| instr.inputs[0] == out) else { return (plain, None) };
    let to: Dims = perm.iter().map(|&p| dims[p]).collect();
    let to_strides = shape::strides(&to);
    let mut strides = to_strides.clone();
    for (i, &p) in perm.iter().enumerate() {
        strides[p] = to_strides[i];
    }
    (Written { strides, dims: to }, Some(reader))
}
