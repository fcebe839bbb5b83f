//! New nodes in ONNX's words, for the op set that the model states.

use crate::graph::{Attr, Fact, ValueKey};
use crate::lower::compose::{Composed, Composer, NewNode, NewOp};
use crate::tensor::{DType, PartialShape, Tensor};

/// See the module doc.
pub fn compose(new: &NewNode<'_>) -> Composed {
    let mut c = Composer::new(new, "Initializer", str::to_owned);
    let fact = new.fact.clone();
    let output = match (&new.op, new.inputs) {
        (NewOp::Constant(tensor), _) => c.constant(new.key, tensor.clone()),
        (NewOp::Dense { .. }, [x, w, b]) => {
            let key = c.sub("MatMul");
            let product = c.node(&key, "MatMul", &[x, w], fact.clone(), Vec::new());
            c.node(new.key, "Add", &[&product, b], fact, Vec::new())
        }
        (NewOp::First, [x]) => {
            let key = c.sub("position");
            let first = c.constant(&key, Tensor::scalar(0i64));
            c.node(new.key, "Gather", &[x, &first], fact, vec![("axis", Attr::Int(1))])
        }
        (NewOp::Softmax { rank }, [x]) => {
            c.node(new.key, "Softmax", &[x], fact, vec![("axis", Attr::Int(*rank as i64 - 1))])
        }
        (NewOp::Sigmoid, [x]) => c.node(new.key, "Sigmoid", &[x], fact, Vec::new()),
        (NewOp::Dropout { rate, .. }, [x]) => dropout(&mut c, new, *rate, x),
        (NewOp::Size { axis, ints, .. }, [x]) => {
            let (shape, place) = (c.sub("Shape"), c.sub("axis"));
            let shape = c.node(&shape, "Shape", &[x], Fact::new(DType::I64, PartialShape::of_rank(1)), Vec::new());
            let place = c.constant(&place, Tensor::from_slice(&[1], &[*axis as i64]));
            let one = Fact::new(*ints, PartialShape::from_dims(&[1]));
            let axis0 = vec![("axis", Attr::Int(0))];
            if *ints == DType::I64 {
                c.node(new.key, "Gather", &[&shape, &place], one, axis0)
            } else {
                let key = c.sub("Gather");
                let wide = c.node(&key, "Gather", &[&shape, &place], Fact { dtype: DType::I64, ..one.clone() }, axis0);
                c.node(new.key, "Cast", &[&wide], one, vec![("to", Attr::Type(*ints))])
            }
        }
        (NewOp::Join { .. }, parts) => {
            c.node(new.key, "Concat", &parts.iter().collect::<Vec<_>>(), fact, vec![("axis", Attr::Int(0))])
        }
        (NewOp::Product { .. }, [a, b]) => c.node(new.key, "Mul", &[a, b], fact, Vec::new()),
        (NewOp::Fill { .. }, [dims, value]) => c.node(new.key, "Expand", &[value, dims], fact, Vec::new()),
        (NewOp::Count { ints }, [n]) => {
            let (shape, limit, zero, one) = (c.sub("scalar"), c.sub("limit"), c.sub("start"), c.sub("delta"));
            let shape = c.constant(&shape, Tensor::from_slice::<i64>(&[0], &[]));
            let scalar = Fact::new(*ints, PartialShape::scalar());
            let limit = c.node(&limit, "Reshape", &[n, &shape], scalar, Vec::new());
            let zero = c.constant(&zero, Tensor::filled(*ints, &[], 0.0));
            let one = c.constant(&one, Tensor::filled(*ints, &[], 1.0));
            c.node(new.key, "Range", &[&zero, &limit, &one], fact, Vec::new())
        }
        (NewOp::Reshape { .. }, [x, dims]) => c.node(new.key, "Reshape", &[x, dims], fact, Vec::new()),
        // Callers give each op its inputs.
        _ => return Composed::default(),
    };
    c.finish(output)
}

/// From op set 12 on the rate and the mode are inputs; before, the op drops nothing outside of training by itself.
fn dropout(c: &mut Composer<'_>, new: &NewNode<'_>, rate: f64, x: &ValueKey) -> ValueKey {
    let fact = new.fact.clone();
    if new.opset < 12 {
        return c.node(new.key, "Dropout", &[x], fact, vec![("ratio", Attr::Float(rate as f32))]);
    }
    let (ratio, mode) = (c.sub("ratio"), c.sub("training_mode"));
    let ratio = c.constant(&ratio, Tensor::filled(DType::F32, &[], rate));
    let mode = c.constant(&mode, Tensor::from_bools(&[], &[true]));
    c.node(new.key, "Dropout", &[x, &ratio, &mode], fact, Vec::new())
}
