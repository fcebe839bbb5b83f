//! New nodes in TensorFlow's words, with ops that every version since 1.0 has.

use crate::graph::{Attr, Fact, ValueKey};
use crate::lower::compose::{Composed, Composer, NewNode, NewOp};
use crate::tensor::{DType, PartialShape, Tensor};

/// See the module doc.
pub fn compose(new: &NewNode<'_>) -> Composed {
    let mut c = Composer::new(new, "Const", |key| format!("{key}:0"));
    let output = match (&new.op, new.inputs) {
        (NewOp::Constant(tensor), _) => c.constant(new.key, tensor.clone()),
        (NewOp::Dense { rank, rows, columns }, [x, w, b]) => dense(&mut c, new, (*rank, *rows, *columns), [x, w, b]),
        (NewOp::First, [x]) => {
            let part = |c: &mut Composer<'_>, name: &str, v: [i32; 2]| {
                let key = c.sub(name);
                c.constant(&key, Tensor::from_slice(&[2], &v))
            };
            let (begin, end, strides) =
                (part(&mut c, "begin", [0, 0]), part(&mut c, "end", [0, 1]), part(&mut c, "strides", [1, 1]));
            // Axis 0 as a whole, of axis 1 the first position without the axis.
            let attrs = slice_attrs(new.fact.dtype, 1, 1, 2);
            c.node(new.key, "StridedSlice", &[x, &begin, &end, &strides], new.fact.clone(), attrs)
        }
        (NewOp::Softmax { .. }, [x]) => c.node(new.key, "Softmax", &[x], new.fact.clone(), typed(new.fact.dtype)),
        (NewOp::Sigmoid, [x]) => c.node(new.key, "Sigmoid", &[x], new.fact.clone(), typed(new.fact.dtype)),
        (NewOp::Dropout { rate, seed }, [x]) => dropout(&mut c, new, *rate, *seed, x),
        (NewOp::Size { axis, ints, of }, [x]) => size(&mut c, new.key, x, *axis, *ints, *of),
        (NewOp::Join { ints }, parts) => join(&mut c, new.key, &parts.iter().collect::<Vec<_>>(), *ints),
        (NewOp::Product { ints }, [a, b]) => c.node(new.key, "Mul", &[a, b], new.fact.clone(), typed(*ints)),
        (NewOp::Fill { dtype, ints }, [dims, value]) => {
            let attrs = vec![("T", Attr::Type(*dtype)), ("index_type", Attr::Type(*ints))];
            c.node(new.key, "Fill", &[dims, value], new.fact.clone(), attrs)
        }
        (NewOp::Count { ints }, [n]) => {
            let scalar = Fact::new(*ints, PartialShape::scalar());
            let (shape, zero, one) = (c.sub("scalar"), c.sub("start"), c.sub("delta"));
            let shape = c.constant(&shape, Tensor::from_slice::<i32>(&[0], &[]));
            let key = c.sub("limit");
            let attrs = vec![("T", Attr::Type(*ints)), ("Tshape", Attr::Type(DType::I32))];
            let limit = c.node(&key, "Reshape", &[n, &shape], scalar, attrs);
            let zero = c.constant(&zero, Tensor::filled(*ints, &[], 0.0));
            let one = c.constant(&one, Tensor::filled(*ints, &[], 1.0));
            c.node(new.key, "Range", &[&zero, &limit, &one], new.fact.clone(), vec![("Tidx", Attr::Type(*ints))])
        }
        (NewOp::Reshape { dtype, ints }, [x, dims]) => reshape(&mut c, new.key, x, dims, *dtype, *ints, &new.fact),
        // Callers give each op its inputs.
        _ => return Composed::default(),
    };
    c.finish(output)
}

fn typed(dtype: DType) -> Vec<(&'static str, Attr)> {
    vec![("T", Attr::Type(dtype))]
}

fn slice_attrs(dtype: DType, begin_mask: i64, end_mask: i64, shrink: i64) -> Vec<(&'static str, Attr)> {
    vec![
        ("T", Attr::Type(dtype)),
        ("Index", Attr::Type(DType::I32)),
        ("begin_mask", Attr::Int(begin_mask)),
        ("end_mask", Attr::Int(end_mask)),
        ("ellipsis_mask", Attr::Int(0)),
        ("new_axis_mask", Attr::Int(0)),
        ("shrink_axis_mask", Attr::Int(shrink)),
    ]
}

fn reshape(
    c: &mut Composer<'_>,
    key: &str,
    x: &ValueKey,
    dims: &ValueKey,
    dtype: DType,
    ints: DType,
    fact: &Fact,
) -> ValueKey {
    let attrs = vec![("T", Attr::Type(dtype)), ("Tshape", Attr::Type(ints))];
    c.node(key, "Reshape", &[x, dims], fact.clone(), attrs)
}

/// `MatMul` takes matrices only, so a sequence is flattened before and restored after, as BERT's own layers do.
fn dense(
    c: &mut Composer<'_>,
    new: &NewNode<'_>,
    (rank, rows, columns): (usize, usize, usize),
    [x, w, b]: [&ValueKey; 3],
) -> ValueKey {
    let dtype = new.fact.dtype;
    let matrix = |n: usize| Fact::new(dtype, PartialShape::from_partial([None, Some(n)]));
    let mut attrs = typed(dtype);
    attrs.extend([("transpose_a", Attr::Bool(false)), ("transpose_b", Attr::Bool(false))]);
    let flat = if rank == 2 {
        x.clone()
    } else {
        let (key, dims) = (c.sub("flat"), c.sub("flat/shape"));
        let dims = c.constant(&dims, Tensor::from_slice(&[2], &[-1, rows as i32]));
        reshape(c, &key, x, &dims, dtype, DType::I32, &matrix(rows))
    };
    let (product_key, format) = (c.sub("MatMul"), Attr::Bytes(b"NHWC".to_vec()));
    let product = c.node(&product_key, "MatMul", &[&flat, w], matrix(columns), attrs);
    let bias_attrs = vec![("T", Attr::Type(dtype)), ("data_format", format)];
    if rank == 2 {
        return c.node(new.key, "BiasAdd", &[&product, b], new.fact.clone(), bias_attrs);
    }
    let key = c.sub("BiasAdd");
    let sum = c.node(&key, "BiasAdd", &[&product, b], matrix(columns), bias_attrs);
    let mut dims = Vec::new();
    for axis in 0..rank - 1 {
        let key = c.sub(&format!("size_{axis}"));
        dims.push(size(c, &key, x, axis, DType::I32, dtype));
    }
    let key = c.sub("columns");
    dims.push(c.constant(&key, Tensor::from_slice(&[1], &[columns as i32])));
    let key = c.sub("shape");
    let dims = join(c, &key, &dims.iter().collect::<Vec<_>>(), DType::I32);
    reshape(c, new.key, &sum, &dims, dtype, DType::I32, &new.fact)
}

/// A vector of one integer. `x` is of element type `dtype`.
fn size(c: &mut Composer<'_>, key: &str, x: &ValueKey, axis: usize, ints: DType, dtype: DType) -> ValueKey {
    let attrs = vec![("T", Attr::Type(dtype)), ("out_type", Attr::Type(ints))];
    let shape = c.node(&format!("{key}/Shape"), "Shape", &[x], Fact::new(ints, PartialShape::of_rank(1)), attrs);
    let part = |c: &mut Composer<'_>, name: &str, v: usize| {
        c.constant(&format!("{key}/{name}"), Tensor::from_slice(&[1], &[v as i32]))
    };
    let (begin, end, strides) = (part(c, "begin", axis), part(c, "end", axis + 1), part(c, "strides", 1));
    let fact = Fact::new(ints, PartialShape::from_dims(&[1]));
    c.node(key, "StridedSlice", &[&shape, &begin, &end, &strides], fact, slice_attrs(ints, 0, 0, 0))
}

fn join(c: &mut Composer<'_>, key: &str, parts: &[&ValueKey], ints: DType) -> ValueKey {
    let axis = c.constant(&format!("{key}/axis"), Tensor::scalar(0i32));
    let inputs: Vec<&ValueKey> = parts.iter().copied().chain([&axis]).collect();
    let attrs = vec![("N", Attr::Int(parts.len() as i64)), ("T", Attr::Type(ints)), ("Tidx", Attr::Type(DType::I32))];
    c.node(key, "ConcatV2", &inputs, Fact::new(ints, PartialShape::of_rank(1)), attrs)
}

/// As `tf.nn.dropout` of TensorFlow 2.4: scaled first, then masked.
fn dropout(c: &mut Composer<'_>, new: &NewNode<'_>, rate: f64, seed: u64, x: &ValueKey) -> ValueKey {
    let dtype = new.fact.dtype;
    let free = Fact::new(dtype, new.fact.shape.clone());
    let keys = ["scale", "Mul", "Shape", "random_uniform", "rate", "GreaterEqual", "Cast"].map(|n| c.sub(n));
    let scale = c.constant(&keys[0], Tensor::filled(dtype, &[], 1.0 / (1.0 - rate)));
    let scaled = c.node(&keys[1], "Mul", &[x, &scale], free.clone(), typed(dtype));
    let shape_attrs = vec![("T", Attr::Type(dtype)), ("out_type", Attr::Type(DType::I32))];
    let shape = c.node(&keys[2], "Shape", &[x], Fact::new(DType::I32, PartialShape::of_rank(1)), shape_attrs);
    let random_attrs = vec![
        ("T", Attr::Type(DType::I32)),
        ("dtype", Attr::Type(dtype)),
        ("seed", Attr::Int(0)),
        ("seed2", Attr::Int((seed & 0x7fff_ffff) as i64)),
    ];
    let uniform = c.node(&keys[3], "RandomUniform", &[&shape], free.clone(), random_attrs);
    let rate = c.constant(&keys[4], Tensor::filled(dtype, &[], rate));
    let kept = Fact::new(DType::Bool, new.fact.shape.clone());
    let kept = c.node(&keys[5], "GreaterEqual", &[&uniform, &rate], kept, typed(dtype));
    let cast_attrs = vec![("SrcT", Attr::Type(DType::Bool)), ("DstT", Attr::Type(dtype))];
    let mask = c.node(&keys[6], "Cast", &[&kept], free, cast_attrs);
    c.node(new.key, "Mul", &[&scaled, &mask], new.fact.clone(), typed(dtype))
}
