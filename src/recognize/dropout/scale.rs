//! From a mask to its product with a value, and to the scale that makes it dropout: one over the share that is kept.

use crate::ops::elementwise::{Binary, BinaryFn, Select};
use crate::program::{Instr, Program, Value};

use super::mask::Mask;
use super::scalar::{Factor, Scalar, Scalars};

/// How many scalar factors may stand between a value and its mask.
const MAX_FACTORS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScaleForm {
    Divided,
    Multiplied,
}

/// A masked and scaled value.
#[derive(Clone, Debug)]
pub(super) struct Product {
    pub(super) input: Value,
    pub(super) output: Value,
    /// The share that is kept, which a selection of zeros where the mask is true turns round.
    pub(super) keep: Scalar,
    pub(super) is_select: bool,
    pub(super) form: ScaleForm,
    /// The scale is computed in the graph rather than stated.
    pub(super) is_computed: bool,
}

/// A step from a value to the value that a scalar multiplies it from.
struct Peeled {
    rest: Value,
    factor: Factor,
    is_computed: bool,
}

/// The first product of the mask that is scaled as dropout is.
pub(super) fn product(program: &Program, scalars: &Scalars<'_>, mask: &Mask) -> Option<Product> {
    // The scale may already stand on the mask.
    let scaled_mask = scaled_readers(program, scalars, mask.value);
    let forms = std::iter::once((mask.value, None)).chain(scaled_mask.into_iter().map(|(v, p)| (v, Some(p))));
    for (value, on_mask) in forms {
        for &r in &scalars.readers[value.idx()] {
            let reader = &program.instrs[r];
            let Some((data, keep, is_select)) = masked(scalars, reader, value, mask.keep) else { continue };
            if scalars.read(data).is_some() {
                continue;
            }
            let found = scaled(program, scalars, data, reader.outputs[0], &keep, on_mask.as_ref());
            if let Some(product) = found {
                return Some(Product { is_select, ..product });
            }
        }
    }
    None
}

/// What an instruction masks, and the share that it keeps.
fn masked(scalars: &Scalars<'_>, reader: &Instr, mask: Value, keep: Scalar) -> Option<(Value, Scalar, bool)> {
    if let Some(Binary { f: BinaryFn::Mul }) = reader.op_as::<Binary>() {
        let other = if reader.inputs[0] == mask { reader.inputs[1] } else { reader.inputs[0] };
        return (other != mask).then_some((other, keep, false));
    }
    reader.op_as::<Select>()?;
    if reader.inputs[0] != mask {
        return None;
    }
    if scalars.is_zero(reader.inputs[2]) {
        Some((reader.inputs[1], keep, true))
    } else if scalars.is_zero(reader.inputs[1]) {
        Some((reader.inputs[2], keep.affine(-1.0, 1.0), true))
    } else {
        None
    }
}

/// Looks for the scale on the mask, on the value and on the product.
fn scaled(
    program: &Program,
    scalars: &Scalars<'_>,
    data: Value,
    output: Value,
    keep: &Scalar,
    on_mask: Option<&Peeled>,
) -> Option<Product> {
    let make = |input, output, p: &Peeled| Product {
        input,
        output,
        keep: *keep,
        is_select: false,
        form: if matches!(p.factor, Factor::Over(_)) { ScaleForm::Divided } else { ScaleForm::Multiplied },
        is_computed: p.is_computed,
    };
    if let Some(p) = on_mask {
        return p.factor.is_inverse_of(keep).then(|| make(data, output, p));
    }
    let mut at = data;
    for _ in 0..MAX_FACTORS {
        let Some(p) = peel(program, scalars, at) else { break };
        if p.factor.is_inverse_of(keep) {
            return Some(make(p.rest, output, &p));
        }
        // Only a factor of one may stand between.
        if !p.factor.is_one() {
            break;
        }
        at = p.rest;
    }
    let (scaled, p) =
        scaled_readers(program, scalars, output).into_iter().find(|(_, p)| p.factor.is_inverse_of(keep))?;
    Some(make(data, scaled, &p))
}

/// `x · c`, `c · x` or `x / c`: the value and its factor.
fn peel(program: &Program, scalars: &Scalars<'_>, v: Value) -> Option<Peeled> {
    let (_, instr) = program.producer(v)?;
    let f = instr.op_as::<Binary>()?.f;
    let (a, b) = (instr.inputs[0], instr.inputs[1]);
    let peeled =
        |rest, factor, from: Value| Some(Peeled { rest, factor, is_computed: program.producer(from).is_some() });
    match f {
        BinaryFn::Mul => match (scalars.factor(b), scalars.factor(a)) {
            (Some(c), _) => peeled(a, c, b),
            (None, Some(c)) => peeled(b, c, a),
            _ => None,
        },
        BinaryFn::Div => peeled(a, Factor::Over(scalars.read(b)?), b),
        _ => None,
    }
}

/// Readers that multiply or divide a value by a scalar.
fn scaled_readers(program: &Program, scalars: &Scalars<'_>, v: Value) -> Vec<(Value, Peeled)> {
    let outs = scalars.readers[v.idx()].iter().filter_map(|&r| program.instrs[r].outputs.first().copied());
    outs.filter_map(|out| Some((out, peel(program, scalars, out)?))).filter(|(_, p)| p.rest == v).collect()
}

/// The value behind factors of exactly one (older Keras multiplies by 1.0 to work around reference types).
pub(super) fn without_ones(program: &Program, scalars: &Scalars<'_>, v: Value) -> Value {
    let mut at = v;
    for _ in 0..MAX_FACTORS {
        match peel(program, scalars, at) {
            Some(p) if p.factor.is_one() => at = p.rest,
            _ => break,
        }
    }
    at
}
