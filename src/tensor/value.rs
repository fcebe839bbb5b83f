//! A contiguous, row-major, immutable tensor whose bytes are 64-byte aligned or shared with a mapped file.

use std::fmt::Debug;
use std::sync::Arc;

use half::{bf16, f16};

use super::dtype::{DType, Element};
use super::shape::element_count;

/// Bytes owned by someone else (a mapped file), kept alive as long as a tensor uses them.
pub trait SharedBytes: Send + Sync {
    fn bytes(&self) -> &[u8];
}

impl SharedBytes for memmap2::Mmap {
    fn bytes(&self) -> &[u8] {
        self
    }
}

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Cheap to clone; the bytes never change once shared.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Arc<[usize]>,
    data: Data,
}

#[derive(Clone)]
enum Data {
    Owned { lines: Arc<Vec<Line>>, len: usize },
    Shared { owner: Arc<dyn SharedBytes>, offset: usize, len: usize },
    Strings(Arc<Vec<Vec<u8>>>),
}

impl Tensor {
    /// All elements zero. Panics where the byte size overflows: callers bound shapes first.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Self {
        let count = element_count(shape).expect("shape was bounded by the caller");
        if dtype == DType::String {
            return Self { dtype, shape: shape.into(), data: Data::Strings(Arc::new(vec![Vec::new(); count])) };
        }
        let len = count.checked_mul(dtype.size()).expect("shape was bounded by the caller");
        let lines = vec![Line([0; 64]); len.div_ceil(64)];
        Self { dtype, shape: shape.into(), data: Data::Owned { lines: Arc::new(lines), len } }
    }

    /// Copies `values`, whose count must be the product of `shape`.
    pub fn from_slice<T: Element>(shape: &[usize], values: &[T]) -> Self {
        assert_eq!(element_count(shape), Some(values.len()), "values do not fill shape {shape:?}");
        let mut t = Self::zeros(T::DTYPE, shape);
        t.as_mut_slice::<T>().copy_from_slice(values);
        t
    }

    pub fn from_bools(shape: &[usize], values: &[bool]) -> Self {
        assert_eq!(element_count(shape), Some(values.len()), "values do not fill shape {shape:?}");
        let mut t = Self::zeros(DType::Bool, shape);
        t.as_mut_slice::<u8>().iter_mut().zip(values).for_each(|(o, &v)| *o = v.into());
        t
    }

    pub fn from_strings(shape: &[usize], values: Vec<Vec<u8>>) -> Self {
        assert_eq!(element_count(shape), Some(values.len()), "values do not fill shape {shape:?}");
        Self { dtype: DType::String, shape: shape.into(), data: Data::Strings(Arc::new(values)) }
    }

    pub fn scalar<T: Element>(value: T) -> Self {
        Self::from_slice(&[], &[value])
    }

    /// A tensor with every element `value` rounded to `dtype`.
    pub fn filled(dtype: DType, shape: &[usize], value: f64) -> Self {
        let n = element_count(shape).expect("shape was bounded by the caller");
        Self::from_f64s(dtype, shape, std::iter::repeat_n(value, n))
    }

    /// Converts numbers to `dtype` (integers saturate, booleans are `!= 0`).
    pub fn from_f64s(dtype: DType, shape: &[usize], values: impl IntoIterator<Item = f64>) -> Self {
        let mut t = Self::zeros(dtype, shape);
        macro_rules! fill {
            ($ty:ty, $conv:expr) => {
                t.as_mut_slice::<$ty>().iter_mut().zip(values).for_each(|(o, v)| *o = $conv(v))
            };
        }
        match dtype {
            DType::F16 => fill!(f16, f16::from_f64),
            DType::BF16 => fill!(bf16, bf16::from_f64),
            DType::F32 => fill!(f32, |v| v as f32),
            DType::F64 => fill!(f64, |v| v),
            DType::I8 => fill!(i8, |v| v as i8),
            DType::I16 => fill!(i16, |v| v as i16),
            DType::I32 => fill!(i32, |v| v as i32),
            DType::I64 => fill!(i64, |v| v as i64),
            DType::U8 => fill!(u8, |v| v as u8),
            DType::U16 => fill!(u16, |v| v as u16),
            DType::U32 => fill!(u32, |v| v as u32),
            DType::U64 => fill!(u64, |v| v as u64),
            DType::Bool => fill!(u8, |v: f64| u8::from(v != 0.0)),
            _ => {}
        }
        t
    }

    /// Native-endian bytes of a row-major array; `None` where the length does not fit.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Option<Self> {
        let len = element_count(shape)?.checked_mul(dtype.size())?;
        if len != bytes.len() || dtype.size() == 0 {
            return None;
        }
        let mut t = Self::zeros(dtype, shape);
        t.bytes_mut().copy_from_slice(bytes);
        Some(t)
    }

    /// Uses bytes of `owner` in place where they are aligned for the element type, else copies them.
    pub fn from_shared(dtype: DType, shape: &[usize], owner: Arc<dyn SharedBytes>, offset: usize) -> Option<Self> {
        let len = element_count(shape)?.checked_mul(dtype.size())?;
        let bytes = owner.bytes().get(offset..offset.checked_add(len)?)?;
        if dtype.size() == 0 {
            return None;
        }
        if bytes.as_ptr().align_offset(dtype.size().min(8)) != 0 {
            return Self::from_bytes(dtype, shape, bytes);
        }
        Some(Self { dtype, shape: shape.into(), data: Data::Shared { owner, offset, len } })
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        element_count(&self.shape).unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same bytes under another shape of equal element count.
    pub fn reshaped(&self, shape: &[usize]) -> Self {
        assert_eq!(element_count(shape), Some(self.len()), "{:?} does not hold {shape:?}", self.shape);
        Self { dtype: self.dtype, shape: shape.into(), data: self.data.clone() }
    }

    /// Raw bytes; empty for strings.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Owned { lines, len } => &bytemuck::cast_slice(lines)[..*len],
            Data::Shared { owner, offset, len } => &owner.bytes()[*offset..*offset + *len],
            Data::Strings(_) => &[],
        }
    }

    /// Raw bytes for writing; copies first where they are shared.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        if let Data::Shared { .. } = self.data {
            *self = Self::from_bytes(self.dtype, &self.shape.clone(), self.bytes()).expect("same shape and bytes");
        }
        match &mut self.data {
            Data::Owned { lines, len } => &mut bytemuck::cast_slice_mut(Arc::make_mut(lines).as_mut_slice())[..*len],
            _ => &mut [],
        }
    }

    /// The elements; panics where `T` is not the storage of the dtype.
    pub fn as_slice<T: Element>(&self) -> &[T] {
        assert!(T::stores(self.dtype), "{} viewed as {}", self.dtype, T::DTYPE);
        bytemuck::cast_slice(self.bytes())
    }

    pub fn as_mut_slice<T: Element>(&mut self) -> &mut [T] {
        assert!(T::stores(self.dtype), "{} viewed as {}", self.dtype, T::DTYPE);
        bytemuck::cast_slice_mut(self.bytes_mut())
    }

    pub fn strings(&self) -> Option<&[Vec<u8>]> {
        match &self.data {
            Data::Strings(s) => Some(s),
            _ => None,
        }
    }

    /// Integers and booleans widened to `i64`; `None` for other types and for `u64` beyond the range.
    pub fn to_i64s(&self) -> Option<Vec<i64>> {
        macro_rules! widen {
            ($t:ty) => {
                Some(self.as_slice::<$t>().iter().map(|&v| i64::from(v)).collect())
            };
        }
        match self.dtype {
            DType::I8 => widen!(i8),
            DType::I16 => widen!(i16),
            DType::I32 => widen!(i32),
            DType::I64 => widen!(i64),
            DType::U8 | DType::Bool => widen!(u8),
            DType::U16 => widen!(u16),
            DType::U32 => widen!(u32),
            DType::U64 => self.as_slice::<u64>().iter().map(|&v| i64::try_from(v).ok()).collect(),
            _ => None,
        }
    }

    /// Any number as `f64`; `None` for strings, complex numbers and handles.
    pub fn to_f64s(&self) -> Option<Vec<f64>> {
        match self.dtype {
            DType::F16 => Some(self.as_slice::<f16>().iter().map(|v| v.to_f64()).collect()),
            DType::BF16 => Some(self.as_slice::<bf16>().iter().map(|v| v.to_f64()).collect()),
            DType::F32 => Some(self.as_slice::<f32>().iter().map(|&v| f64::from(v)).collect()),
            DType::F64 => Some(self.as_slice::<f64>().to_vec()),
            DType::U64 => Some(self.as_slice::<u64>().iter().map(|&v| v as f64).collect()),
            _ => Some(self.to_i64s()?.iter().map(|&v| v as f64).collect()),
        }
    }

    /// Whether all elements are bitwise equal (true for none and one).
    pub fn all_equal(&self) -> bool {
        if let Data::Strings(s) = &self.data {
            return s.windows(2).all(|w| w[0] == w[1]);
        }
        let size = self.dtype.size().max(1);
        let bytes = self.bytes();
        bytes.get(..size).is_none_or(|first| bytes.chunks_exact(size).all(|c| c == first))
    }
}

impl PartialEq for Tensor {
    /// Bitwise equality of type, shape and content.
    fn eq(&self, other: &Self) -> bool {
        self.dtype == other.dtype
            && self.shape == other.shape
            && self.bytes() == other.bytes()
            && self.strings() == other.strings()
    }
}

impl Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.dtype, self.shape)?;
        match self.to_f64s() {
            Some(v) if v.len() <= 8 => write!(f, " {v:?}"),
            _ => Ok(()),
        }
    }
}
