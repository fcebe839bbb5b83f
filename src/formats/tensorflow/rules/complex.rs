//! Spellings of TensorFlow ops: complex numbers and Fourier transforms.
//!
//! A complex value is computed as pairs of real numbers along a new last axis, `[..] → [.., 2]`. A node one of whose
//! attributes is a complex type is spelled by this file's tables alone; what is not in them is refused, since the ordinary
//! rules would take the pairs for numbers.

use smallvec::smallvec;

use crate::graph::{Attr, Node};
use crate::lower::{Outputs, Read, Rule, Spelling};
use crate::ops::elementwise::{BinaryFn, ComplexPairs, StopGradient, UnaryFn};
use crate::ops::linalg::Fourier;
use crate::ops::make;
use crate::ops::shape::Reverse;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::rows;

/// Ops that are about complex numbers only.
pub const RULES: &[Spelling] = rows! {
    "Complex" => complex;
    "Real" => |r| part_of(r, 0);
    "Imag" => |r| part_of(r, 1);
    "Conj" => conjugate;
    "ComplexAbs" => absolute;
    "Angle" => angle;
    "FFT" => |r| transform(r, 1, false);
    "FFT2D" => |r| transform(r, 2, false);
    "FFT3D" => |r| transform(r, 3, false);
    "IFFT" => |r| transform(r, 1, true);
    "IFFT2D" => |r| transform(r, 2, true);
    "IFFT3D" => |r| transform(r, 3, true);
    "BatchFFT" => |r| transform(r, 1, false);
    "BatchFFT2D" => |r| transform(r, 2, false);
    "BatchFFT3D" => |r| transform(r, 3, false);
    "BatchIFFT" => |r| transform(r, 1, true);
    "BatchIFFT2D" => |r| transform(r, 2, true);
    "BatchIFFT3D" => |r| transform(r, 3, true);
    "RFFT" => |r| real_to_complex(r, 1);
    "RFFT2D" => |r| real_to_complex(r, 2);
    "RFFT3D" => |r| real_to_complex(r, 3);
    "IRFFT" => |r| complex_to_real(r, 1);
    "IRFFT2D" => |r| complex_to_real(r, 2);
    "IRFFT3D" => |r| complex_to_real(r, 3);
};

/// What ops with other uses do with complex numbers.
const OF_COMPLEX: &[Spelling] = rows! {
    "Mul" => multiply;
    "RealDiv" => |r| divide(r, BinaryFn::Div);
    "Div" => |r| divide(r, BinaryFn::Div);
    "DivNoNan" => |r| divide(r, BinaryFn::DivNoNan);
    "Square" => square;
    "Reciprocal" => reciprocal;
    "Inv" => reciprocal;
    "Exp" => exponential;
    "Log" => logarithm;
    "Sqrt" => root;
    "MatMul" => |r| bilinear(r, false);
    "BatchMatMul" => |r| bilinear(r, true);
    "BatchMatMulV2" => |r| bilinear(r, true);
    "BatchMatMulV3" => |r| bilinear(r, true);
    "Einsum" => |r| if r.inputs.len() == 1 { each_part(r) } else { bilinear(r, false) };
    "ConjugateTranspose" => conjugate_transpose;
    "Cast" => cast;
    "Equal" => |r| compare(r, BinaryFn::And);
    "NotEqual" => |r| compare(r, BinaryFn::Or);
    "OnesLike" => ones_like;
    "Shape" => of_one_part;
    "ShapeN" => of_one_part;
    "Size" => of_one_part;
    "Rank" => of_one_part;
};

/// Ops that do the same to both parts.
const LINEAR: &[&str] = &[
    "Add",
    "AddV2",
    "AddN",
    "AccumulateNV2",
    "Sub",
    "Neg",
    "Sum",
    "Mean",
    "Cumsum",
    "Reshape",
    "ExpandDims",
    "Squeeze",
    "Transpose",
    "BroadcastTo",
    "Fill",
    "ZerosLike",
    "Concat",
    "ConcatV2",
    "Pack",
    "ParallelConcat",
    "Unpack",
    "Split",
    "SplitV",
    "Slice",
    "StridedSlice",
    "Pad",
    "PadV2",
    "MirrorPad",
    "Tile",
    "Reverse",
    "ReverseV2",
    "Roll",
    "Gather",
    "GatherV2",
    "GatherNd",
    "ScatterNd",
    "TensorScatterAdd",
    "TensorScatterUpdate",
    "Select",
    "SelectV2",
    "DeepCopy",
    "StopGradient",
    "MatrixBandPart",
    "MatrixDiag",
    "MatrixDiagV2",
    "MatrixDiagV3",
    "MatrixDiagPart",
    "MatrixDiagPartV2",
    "MatrixDiagPartV3",
    "MatrixSetDiag",
    "MatrixSetDiagV2",
    "MatrixSetDiagV3",
    "Diag",
    "DiagPart",
    "SpaceToBatchND",
    "BatchToSpaceND",
    "SegmentSum",
    "SegmentMean",
    "UnsortedSegmentSum",
    "DynamicStitch",
    "DynamicPartition",
];

const EACH_PART: Spelling = Spelling { op: "(both parts of complex numbers)", rule: each_part };
const REFUSED: Spelling = Spelling { op: "(complex numbers)", rule: refused };

fn is_complex(attr: &Attr) -> bool {
    match attr {
        Attr::Type(t) => matches!(t, DType::C64 | DType::C128),
        Attr::List(list) => list.iter().any(is_complex),
        _ => false,
    }
}

/// Whether some input or output of a node is complex.
pub fn concerns(node: &Node) -> bool {
    node.attrs.values().any(is_complex) || RULES.iter().any(|s| s.op == node.op)
}

/// The row for a node that [`concerns`] complex numbers.
pub fn find(op: &str) -> &'static Spelling {
    known(op).unwrap_or(&REFUSED)
}

/// [`find`], where there is one that does not only refuse.
pub fn known(op: &str) -> Option<&'static Spelling> {
    let row = RULES.iter().chain(OF_COMPLEX).find(|s| s.op == op);
    row.or_else(|| LINEAR.contains(&op).then_some(&EACH_PART))
}

fn refused(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    Err(Misfit(format!("there is no rule for complex numbers in the op {}", r.node.op)))
}

/// Input `i` as pairs.
fn pairs(r: &mut Rule<'_, '_>, i: usize) -> Result<Value, Misfit> {
    let x = r.input(i)?;
    match r.b.fact(x).dtype {
        d if d.is_float() => Ok(x),
        _ => r.b.op(ComplexPairs, &[x]),
    }
}

/// Part 0 (real) or 1 (imaginary) of pairs.
fn part(b: &mut Builder, x: Value, which: i64) -> Result<Value, Misfit> {
    let at = make::scalar(b, DType::I64, which as f64);
    make::gather(b, x, at, -1)
}

fn parts(r: &mut Rule<'_, '_>, i: usize) -> Result<(Value, Value), Misfit> {
    let x = pairs(r, i)?;
    Ok((part(r.b, x, 0)?, part(r.b, x, 1)?))
}

fn join(b: &mut Builder, re: Value, im: Value) -> Result<Value, Misfit> {
    let (re, im) = (make::expand_dims(b, re, -1)?, make::expand_dims(b, im, -1)?);
    make::concat(b, &[re, im], -1)
}

/// Whether input `i` holds complex numbers: all numbers do that are not integers or conditions.
fn holds_numbers(r: &Rule<'_, '_>, i: usize) -> bool {
    r.fact(i).is_ok_and(|f| !f.dtype.is_exact() && f.dtype != DType::String)
}

/// The ordinary rule of the node on other inputs.
fn ordinary(r: &mut Rule<'_, '_>, inputs: &[Option<Value>]) -> Result<Outputs, Misfit> {
    let spelling = super::find(&r.node.op).ok_or_else(|| Misfit(format!("there is no rule for {}", r.node.op)))?;
    (spelling.rule)(&mut Rule { b: r.b, node: r.node, inputs, opset: r.opset, site: r.site, read: Read::default() })
}

/// The inputs with one part each of those that are complex.
fn inputs_of(r: &mut Rule<'_, '_>, which: i64) -> Result<Vec<Option<Value>>, Misfit> {
    let mut out = Vec::new();
    for i in 0..r.inputs.len() {
        out.push(match r.inputs[i] {
            Some(_) if holds_numbers(r, i) => {
                let x = pairs(r, i)?;
                Some(part(r.b, x, which)?)
            }
            other => other,
        });
    }
    Ok(out)
}

fn each_part(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (re, im) = (inputs_of(r, 0)?, inputs_of(r, 1)?);
    let (re, im) = (ordinary(r, &re)?, ordinary(r, &im)?);
    re.into_iter().zip(im).map(|(re, im)| join(r.b, re, im)).collect()
}

/// Shapes and sizes are those of either part.
fn of_one_part(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let inputs = inputs_of(r, 0)?;
    ordinary(r, &inputs)
}

fn complex(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (re, im) = (r.input(0)?, r.input(1)?);
    // Either may be broadcast.
    let zero = make::mul_scalar(r.b, im, 0.0)?;
    let re = if r.b.fact(re).dims() == r.b.fact(im).dims() { re } else { make::add(r.b, re, zero)? };
    let im = make::broadcast_like(r.b, im, re)?;
    Ok(smallvec![join(r.b, re, im)?])
}

fn part_of(r: &mut Rule<'_, '_>, which: i64) -> Result<Outputs, Misfit> {
    let x = pairs(r, 0)?;
    Ok(smallvec![part(r.b, x, which)?])
}

/// The pairs with the imaginary part negated.
fn conjugated(b: &mut Builder, x: Value) -> Result<Value, Misfit> {
    let dtype = b.fact(x).dtype;
    let signs = b.literal(Tensor::from_f64s(dtype, &[2], [1.0, -1.0]));
    make::mul(b, x, signs)
}

fn conjugate(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = pairs(r, 0)?;
    Ok(smallvec![conjugated(r.b, x)?])
}

fn conjugate_transpose(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let y = each_part(r)?[0];
    Ok(smallvec![conjugated(r.b, y)?])
}

/// √(a² + b²) without overflow; its slope at 0 is 0.
fn size(b: &mut Builder, re: Value, im: Value) -> Result<Value, Misfit> {
    let (a, c) = (make::abs(b, re)?, make::abs(b, im)?);
    let largest = make::maximum(b, a, c)?;
    let zero = make::scalar_like(b, largest, 0.0);
    let is_zero = make::equal(b, largest, zero)?;
    let one = make::scalar_like(b, largest, 1.0);
    let scale = make::select(b, is_zero, one, largest)?;
    // The result does not depend on the scale.
    let scale = b.op(StopGradient, &[scale])?;
    let mut sum = None;
    for x in [re, im] {
        let x = make::div(b, x, scale)?;
        let x = make::square(b, x)?;
        sum = Some(match sum {
            None => x,
            Some(s) => make::add(b, s, x)?,
        });
    }
    let sum = make::select(b, is_zero, one, sum.unwrap_or(one))?;
    let y = make::sqrt(b, sum)?;
    let y = make::mul(b, y, scale)?;
    make::select(b, is_zero, zero, y)
}

fn absolute(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (re, im) = parts(r, 0)?;
    Ok(smallvec![size(r.b, re, im)?])
}

fn angle(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (re, im) = parts(r, 0)?;
    Ok(smallvec![make::binary(r.b, BinaryFn::Atan2, im, re)?])
}

type Pair = (Value, Value);

fn product(b: &mut Builder, x: Pair, y: Pair) -> Result<Pair, Misfit> {
    let (ac, bd) = (make::mul(b, x.0, y.0)?, make::mul(b, x.1, y.1)?);
    let (ad, bc) = (make::mul(b, x.0, y.1)?, make::mul(b, x.1, y.0)?);
    Ok((make::sub(b, ac, bd)?, make::add(b, ad, bc)?))
}

fn multiply(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (x, y) = (parts(r, 0)?, parts(r, 1)?);
    let (re, im) = product(r.b, x, y)?;
    Ok(smallvec![join(r.b, re, im)?])
}

fn square(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let x = parts(r, 0)?;
    let (re, im) = product(r.b, x, x)?;
    Ok(smallvec![join(r.b, re, im)?])
}

/// x · conj(y) / |y|², with y divided by its size first so that nothing overflows.
fn quotient(b: &mut Builder, x: Pair, y: Pair, f: BinaryFn) -> Result<Value, Misfit> {
    let length = size(b, y.0, y.1)?;
    let (c, d) = (make::binary(b, f, y.0, length)?, make::binary(b, f, y.1, length)?);
    let d = make::neg(b, d)?;
    let (re, im) = product(b, x, (c, d))?;
    let (re, im) = (make::binary(b, f, re, length)?, make::binary(b, f, im, length)?);
    join(b, re, im)
}

fn divide(r: &mut Rule<'_, '_>, f: BinaryFn) -> Result<Outputs, Misfit> {
    let (x, y) = (parts(r, 0)?, parts(r, 1)?);
    Ok(smallvec![quotient(r.b, x, y, f)?])
}

fn reciprocal(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let y = parts(r, 0)?;
    let one = make::ones_like(r.b, y.0)?;
    let zero = make::zeros_like(r.b, y.0)?;
    Ok(smallvec![quotient(r.b, (one, zero), y, BinaryFn::Div)?])
}

/// `length` · (cos φ + i sin φ).
fn polar(b: &mut Builder, length: Value, angle: Value) -> Result<Value, Misfit> {
    let (cos, sin) = (make::unary(b, UnaryFn::Cos, angle)?, make::unary(b, UnaryFn::Sin, angle)?);
    let (re, im) = (make::mul(b, length, cos)?, make::mul(b, length, sin)?);
    join(b, re, im)
}

fn exponential(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (re, im) = parts(r, 0)?;
    let length = make::exp(r.b, re)?;
    Ok(smallvec![polar(r.b, length, im)?])
}

/// The principal value: ln |z| + i arg z.
fn logarithm(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (re, im) = parts(r, 0)?;
    let length = size(r.b, re, im)?;
    let angle = make::binary(r.b, BinaryFn::Atan2, im, re)?;
    let length = make::log(r.b, length)?;
    Ok(smallvec![join(r.b, length, angle)?])
}

/// The principal root: √|z| at half the angle.
fn root(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (re, im) = parts(r, 0)?;
    let length = size(r.b, re, im)?;
    let length = make::sqrt(r.b, length)?;
    let angle = make::binary(r.b, BinaryFn::Atan2, im, re)?;
    let half = make::mul_scalar(r.b, angle, 0.5)?;
    Ok(smallvec![polar(r.b, length, half)?])
}

/// A product of two operands by the ordinary rule on their parts; where the node says so, `adj_*` also conjugates.
fn bilinear(r: &mut Rule<'_, '_>, adjoints: bool) -> Result<Outputs, Misfit> {
    if r.inputs.len() != 2 {
        return Err(Misfit(format!("{} operands of complex numbers in one product are not supported", r.inputs.len())));
    }
    let mut operands = Vec::new();
    for (i, name) in ["adj_x", "adj_y"].into_iter().enumerate() {
        let mut x = pairs(r, i)?;
        if adjoints && r.bool_or(name, false) {
            x = conjugated(r.b, x)?;
        }
        operands.push((part(r.b, x, 0)?, part(r.b, x, 1)?));
    }
    let (x, y) = (operands[0], operands[1]);
    // The widening form would read the complex type off the node.
    if r.attr("Tout").is_some() {
        return Err(Misfit::new("a product that widens complex numbers is not supported"));
    }
    let mut of = |a: Value, b: Value| -> Result<Value, Misfit> {
        let out = ordinary(r, &[Some(a), Some(b)])?;
        out.first().copied().ok_or_else(|| Misfit::new("the product has no value"))
    };
    let (ac, bd, ad, bc) = (of(x.0, y.0)?, of(x.1, y.1)?, of(x.0, y.1)?, of(x.1, y.0)?);
    let (re, im) = (make::sub(r.b, ac, bd)?, make::add(r.b, ad, bc)?);
    Ok(smallvec![join(r.b, re, im)?])
}

fn real_of(dtype: DType) -> Option<DType> {
    match dtype {
        DType::C64 => Some(DType::F32),
        DType::C128 => Some(DType::F64),
        _ => None,
    }
}

fn cast(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (from, to) = (r.type_attr("SrcT")?, r.type_attr("DstT")?);
    let y = match (real_of(from), real_of(to)) {
        (Some(_), Some(to)) => {
            let x = pairs(r, 0)?;
            make::cast(r.b, x, to)?
        }
        (None, Some(to)) => {
            let x = r.input(0)?;
            let re = make::cast(r.b, x, to)?;
            let im = make::zeros_like(r.b, re)?;
            join(r.b, re, im)?
        }
        (Some(_), None) if to.is_float() || to.is_int() => {
            let x = pairs(r, 0)?;
            let re = part(r.b, x, 0)?;
            make::cast(r.b, re, to)?
        }
        _ => return Err(Misfit(format!("no cast from {from} to {to}"))),
    };
    Ok(smallvec![y])
}

fn compare(r: &mut Rule<'_, '_>, both: BinaryFn) -> Result<Outputs, Misfit> {
    let (re, im) = (inputs_of(r, 0)?, inputs_of(r, 1)?);
    let (re, im) = (ordinary(r, &re)?[0], ordinary(r, &im)?[0]);
    Ok(smallvec![make::binary(r.b, both, re, im)?])
}

fn ones_like(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (re, _) = parts(r, 0)?;
    let (one, zero) = (make::ones_like(r.b, re)?, make::zeros_like(r.b, re)?);
    Ok(smallvec![join(r.b, one, zero)?])
}

/// Transforms the last `axes` axes of pairs; the inverse is divided by the number of elements.
fn transformed(b: &mut Builder, x: Value, axes: std::ops::Range<usize>, inverse: bool) -> Result<Value, Misfit> {
    let dims = b.fact(x).dims().filter(|d| d.len() > axes.end);
    let dims = dims.ok_or_else(|| Misfit::new("the sizes of what is transformed must be known"))?;
    let (mut y, mut count) = (x, 1.0);
    for axis in axes {
        count *= dims[dims.len() - 2 - axis] as f64;
        y = b.op(Fourier { inverse, axis }, &[y])?;
    }
    if inverse && count > 0.0 { make::mul_scalar(b, y, 1.0 / count) } else { Ok(y) }
}

fn transform(r: &mut Rule<'_, '_>, axes: usize, inverse: bool) -> Result<Outputs, Misfit> {
    let x = pairs(r, 0)?;
    Ok(smallvec![transformed(r.b, x, 0..axes, inverse)?])
}

/// Cut off or filled up with zeros, so that `axis` has `n` elements.
fn resized(b: &mut Builder, x: Value, axis: usize, n: i64) -> Result<Value, Misfit> {
    let dims = b.fact(x).dims().ok_or_else(|| Misfit::new("the sizes of what is transformed must be known"))?;
    let have = dims[axis] as i64;
    if n < have {
        let mut size = vec![-1i64; dims.len()];
        size[axis] = n;
        return make::slice(b, x, &vec![0; dims.len()], &size);
    }
    if n == have {
        return Ok(x);
    }
    let mut paddings = vec![(0, 0); dims.len()];
    paddings[axis].1 = n - have;
    make::pad(b, x, &paddings)
}

/// The lengths that input 1 asks for, outermost first.
fn lengths(r: &Rule<'_, '_>, axes: usize) -> Result<Vec<i64>, Misfit> {
    let lengths = r.ints(1)?;
    let sound = lengths.len() == axes && lengths.iter().all(|n| (1..=1 << 26).contains(n));
    if sound { Ok(lengths) } else { Err(Misfit(format!("lengths {lengths:?} for {axes} axes"))) }
}

fn rank_of(b: &Builder, x: Value, least: usize) -> Result<usize, Misfit> {
    let rank = b.fact(x).rank().ok_or_else(|| Misfit::new("the number of axes must be known"))?;
    if rank >= least { Ok(rank) } else { Err(Misfit(format!("{rank} axes, expected at least {least}"))) }
}

/// Real numbers to the first half of their transform along the last axis.
fn real_to_complex(r: &mut Rule<'_, '_>, axes: usize) -> Result<Outputs, Misfit> {
    let lengths = lengths(r, axes)?;
    let mut x = r.input(0)?;
    let rank = rank_of(r.b, x, axes)?;
    for (i, &n) in lengths.iter().enumerate() {
        x = resized(r.b, x, rank - axes + i, n)?;
    }
    let zeros = make::zeros_like(r.b, x)?;
    let pairs = join(r.b, x, zeros)?;
    let y = transformed(r.b, pairs, 0..1, false)?;
    let y = resized(r.b, y, rank - 1, lengths[axes - 1] / 2 + 1)?;
    Ok(smallvec![transformed(r.b, y, 1..axes, false)?])
}

/// The first half of a symmetric transform back to real numbers.
fn complex_to_real(r: &mut Rule<'_, '_>, axes: usize) -> Result<Outputs, Misfit> {
    let lengths = lengths(r, axes)?;
    let mut x = pairs(r, 0)?;
    let rank = rank_of(r.b, x, axes + 1)? - 1;
    let n = lengths[axes - 1];
    for (i, &length) in lengths.iter().enumerate() {
        let size = if i + 1 == axes { n / 2 + 1 } else { length };
        x = resized(r.b, x, rank - axes + i, size)?;
    }
    let x = transformed(r.b, x, 1..axes, true)?;
    // The other half is its mirror image, conjugated: elements n/2 (or (n-1)/2) down to 1.
    let last = rank - 1;
    let (mut begin, mut size) = (vec![0i64; rank + 1], vec![-1i64; rank + 1]);
    (begin[last], size[last]) = (1, (n - 1) / 2);
    let inner = make::slice(r.b, x, &begin, &size)?;
    let axis = r.ints_literal(&[last as i64]);
    let mirrored = r.b.op(Reverse, &[inner, axis])?;
    let mirrored = conjugated(r.b, mirrored)?;
    let whole = make::concat(r.b, &[x, mirrored], last as i64)?;
    let y = transformed(r.b, whole, 0..1, true)?;
    Ok(smallvec![part(r.b, y, 0)?])
}
