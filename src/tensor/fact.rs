//! What is known about a value before it is computed: element type, shape, constant value.

use super::{DType, Dims, PartialShape, Tensor};

/// Knowledge about a value; each part may be missing. `value` is only ever a whole, exact value.
#[derive(Clone, Debug)]
pub struct Fact {
    pub dtype: DType,
    pub shape: PartialShape,
    pub value: Option<Tensor>,
}

impl Fact {
    pub fn new(dtype: DType, shape: PartialShape) -> Self {
        Self { dtype, shape, value: None }
    }

    pub fn of_dims(dtype: DType, dims: &[usize]) -> Self {
        Self::new(dtype, PartialShape::from_dims(dims))
    }

    pub fn unknown() -> Self {
        Self::new(DType::Unknown, PartialShape::unknown())
    }

    pub fn of_tensor(tensor: &Tensor) -> Self {
        Self { dtype: tensor.dtype(), shape: PartialShape::from_dims(tensor.shape()), value: Some(tensor.clone()) }
    }

    pub fn dims(&self) -> Option<Dims> {
        self.shape.known()
    }

    pub fn rank(&self) -> Option<usize> {
        self.shape.rank()
    }

    /// The constant integers (any integer type), flattened, where the value is known.
    pub fn ints(&self) -> Option<Vec<i64>> {
        self.value.as_ref()?.to_i64s()
    }

    /// The constant scalar as `f64`, where the value is known and has one element.
    pub fn scalar(&self) -> Option<f64> {
        let v = self.value.as_ref()?;
        if v.len() == 1 { v.to_f64s()?.first().copied() } else { None }
    }

    /// The same element type, as far as both are known.
    pub fn may_have_type_of(&self, other: &Self) -> bool {
        self.dtype == other.dtype || self.dtype == DType::Unknown || other.dtype == DType::Unknown
    }

    /// `float32 [4, ?, 128]`, as messages show it.
    pub fn describe(&self) -> String {
        format!("{} {}", self.dtype, self.shape)
    }
}

/// The first of `inputs` that can take the place of a result: of its element type, and of a shape that is the same as far
/// as both are known. One that is known to be the same goes before one that may be.
pub fn replacement(result: &Fact, inputs: &[&Fact]) -> Option<usize> {
    let may = |x: &&Fact| x.may_have_type_of(result) && x.shape.merge(&result.shape).is_some();
    let surely = |x: &&Fact| may(x) && x.shape.is_known() && x.shape == result.shape;
    inputs.iter().position(surely).or_else(|| inputs.iter().position(may))
}
