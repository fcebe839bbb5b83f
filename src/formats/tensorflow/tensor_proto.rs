//! TensorProto in all its encodings: raw `tensor_content`, or typed value lists whose last value is repeated.
//!
//! Field numbers: tensorflow/core/framework/tensor.proto. Opening reads only type, shape and positions; values are read
//! when they are asked for.

use std::ops::Range;
use std::sync::Arc;

use crate::formats::source::Bytes;
use crate::formats::wire::{Content, Field, Scanner, WireError};
use crate::tensor::{DType, Dims, LazyTensor, PartialShape, Payload, PayloadError, Tensor, shape};

/// Messages up to this size are decoded while opening: scalars, axes, small shapes.
const EAGER_MESSAGE: u64 = 256;
/// And only if the value itself is as small (a fill makes much out of little).
const EAGER_VALUE: usize = 4096;
/// A value that is mostly fill may not become larger than this.
const MAX_FILLED: usize = 1 << 31;
/// TensorFlow's own limit of dimensions.
const MAX_RANK: usize = 254;

/// TensorFlow's element type codes (types.proto); reference types are 100 more.
pub fn dtype_from_code(code: u64) -> DType {
    match code % 100 {
        1 => DType::F32,
        2 => DType::F64,
        3 => DType::I32,
        4 => DType::U8,
        5 => DType::I16,
        6 => DType::I8,
        7 => DType::String,
        8 => DType::C64,
        9 => DType::I64,
        10 => DType::Bool,
        14 => DType::BF16,
        17 => DType::U16,
        18 => DType::C128,
        19 => DType::F16,
        20 => DType::Resource,
        21 => DType::Variant,
        22 => DType::U32,
        23 => DType::U64,
        _ => DType::Unknown,
    }
}

/// How the elements of a tensor of that code are stored: quantised types are the integers of their size.
fn stored_from_code(code: u64) -> DType {
    match code % 100 {
        11 => DType::I8,
        12 => DType::U8,
        13 => DType::I32,
        15 => DType::I16,
        16 => DType::U16,
        _ => dtype_from_code(code),
    }
}

/// The code that a written message carries; 0 where TensorFlow has none.
pub fn code_from_dtype(dtype: DType) -> u64 {
    (1..=23).find(|&c| dtype != DType::Unknown && dtype_from_code(c) == dtype).unwrap_or(0)
}

/// A TensorShapeProto; `None` for dimensions that make no sense.
pub fn read_shape(s: &mut Scanner<'_>, range: Range<u64>) -> Result<Option<PartialShape>, WireError> {
    let mut dims: Vec<Option<usize>> = Vec::new();
    let (mut unknown_rank, mut sound) = (false, true);
    s.each_field(range, |s, field| {
        match field.number {
            2 => {
                let mut size = 0i64;
                s.each_field(field.range()?, |_, f| {
                    if f.number == 1 {
                        size = f.varint()? as i64;
                    }
                    Ok::<_, WireError>(())
                })?;
                sound &= size >= -1 && dims.len() < MAX_RANK;
                if sound {
                    dims.push(usize::try_from(size).ok());
                }
            }
            3 => unknown_rank = field.varint()? != 0,
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    Ok(sound.then(|| if unknown_rank { PartialShape::unknown() } else { PartialShape::from_partial(dims) }))
}

/// A TensorProto as a payload. `None` where its shape is not concrete or too large for any machine.
pub fn read_payload(s: &mut Scanner<'_>, range: Range<u64>) -> Result<Option<Payload>, WireError> {
    let (mut code, mut dims, mut content) = (0, Some(PartialShape::scalar()), None);
    s.each_field(range.clone(), |s, field| {
        match field.number {
            1 => code = field.varint()?,
            2 => dims = read_shape(s, field.range()?)?,
            4 => content = Some(field.range()?),
            // Values follow the header; their fields are looked at when the value is loaded.
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    let Some(dims) = dims.and_then(|d| d.known()) else { return Ok(None) };
    let dtype = stored_from_code(code);
    let Some(len) = shape::element_count(&dims).and_then(|n| n.checked_mul(dtype.size().max(1))) else {
        return Ok(None);
    };
    let content = content.filter(|c| !c.is_empty());
    let stored = Arc::new(StoredTensor { bytes: s.source().clone(), message: range.clone(), content, dtype, dims });
    if range.end - range.start <= EAGER_MESSAGE
        && len <= EAGER_VALUE
        && let Ok(tensor) = stored.load()
    {
        return Ok(Some(Payload::from_tensor(tensor)));
    }
    Ok(Some(Payload::lazy(dtype, &stored.dims.clone(), stored)))
}

/// A value that lies in a file.
struct StoredTensor {
    bytes: Bytes,
    /// The TensorProto.
    message: Range<u64>,
    /// Its `tensor_content`, where that is used.
    content: Option<Range<u64>>,
    dtype: DType,
    dims: Dims,
}

impl std::fmt::Debug for StoredTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} at bytes {:?}", self.dtype, &self.dims[..], self.message)
    }
}

impl LazyTensor for StoredTensor {
    fn load(&self) -> Result<Tensor, PayloadError> {
        let count = shape::element_count(&self.dims).ok_or_else(|| self.error("its shape is too large"))?;
        match (&self.content, self.dtype.size()) {
            (_, 0) if self.dtype == DType::String => self.strings(count),
            (_, 0) => Err(self.error(&format!("values of type {} are kept but not read", self.dtype))),
            (Some(content), size) => {
                if content.end - content.start != (count * size) as u64 {
                    return Err(self.error(&format!(
                        "its shape needs {} bytes, the file holds {}",
                        count * size,
                        content.end - content.start
                    )));
                }
                let tensor = self.bytes.tensor_at(self.dtype, &self.dims, content.start);
                tensor.map_err(|e| self.error(&e.to_string()))
            }
            (None, size) => self.filled(count, size),
        }
    }

    fn all_equal(&self) -> Result<bool, PayloadError> {
        let Some(content) = &self.content else { return Ok(self.load()?.all_equal()) };
        let size = self.dtype.size();
        if size == 0 {
            return Ok(self.load()?.all_equal());
        }
        // In growing pieces: most constants differ within the first few bytes.
        let (mut at, mut piece, mut first) = (content.start, 4096u64, Vec::new());
        while at < content.end {
            let end = (at + piece).min(content.end);
            let bytes = self.bytes.read(at, end).map_err(|e| self.error(&e.to_string()))?;
            if first.is_empty() {
                first = bytes.get(..size).unwrap_or(&bytes).to_vec();
            }
            if bytes.chunks(size).any(|c| c != first) {
                return Ok(false);
            }
            (at, piece) = (end, (piece * 4).min(1 << 20));
        }
        Ok(true)
    }
}

impl StoredTensor {
    fn error(&self, what: &str) -> PayloadError {
        PayloadError(format!("the {} constant {:?} at byte {}: {what}", self.dtype, &self.dims[..], self.message.start))
    }

    /// Typed value lists; the last value given stands for all that follow, none at all for zeros.
    fn filled(&self, count: usize, size: usize) -> Result<Tensor, PayloadError> {
        if count * size > MAX_FILLED {
            return Err(self.error("its value would take more than 2 GiB"));
        }
        let given = self.given_bytes(size).map_err(|e| self.error(&e.to_string()))?;
        let mut tensor = Tensor::zeros(self.dtype, &self.dims);
        let out = tensor.bytes_mut();
        let n = given.len().min(out.len()) / size * size;
        out[..n].copy_from_slice(&given[..n]);
        if n >= size {
            let last = given[n - size..n].to_vec();
            out[n..].chunks_exact_mut(size).for_each(|c| c.copy_from_slice(&last));
        }
        Ok(tensor)
    }

    /// The values of the list that belongs to the type, as little-endian elements.
    fn given_bytes(&self, size: usize) -> Result<Vec<u8>, WireError> {
        let number = match self.dtype {
            DType::F32 => 5,
            DType::F64 => 6,
            DType::I32 | DType::I16 | DType::I8 | DType::U8 | DType::U16 => 7,
            DType::C64 => 9,
            DType::I64 => 10,
            DType::Bool => 11,
            DType::C128 => 12,
            DType::F16 | DType::BF16 => 13,
            DType::U32 => 16,
            DType::U64 => 17,
            _ => return Ok(Vec::new()),
        };
        let mut out = Vec::new();
        Scanner::new(&self.bytes).each_field(self.message.clone(), |s, field| {
            if field.number == number { push_numbers(s, &field, self.dtype, size, &mut out) } else { Ok(()) }
        })?;
        Ok(out)
    }

    fn strings(&self, count: usize) -> Result<Tensor, PayloadError> {
        if count as u64 > (self.message.end - self.message.start).max(1 << 20) {
            return Err(self.error("it declares more texts than the file can hold"));
        }
        let mut out: Vec<Vec<u8>> = Vec::new();
        let mut scanner = Scanner::new(&self.bytes);
        let read = match &self.content {
            Some(content) => packed_strings(&mut scanner, content, count, &mut out),
            None => scanner.each_field(self.message.clone(), |s, field| {
                if field.number == 8 && out.len() < count {
                    out.push(s.read(&field.range()?)?);
                }
                Ok::<_, WireError>(())
            }),
        };
        read.map_err(|e| self.error(&e.to_string()))?;
        let last = out.last().cloned().unwrap_or_default();
        if (count - out.len().min(count)).saturating_mul(last.len()) > MAX_FILLED {
            return Err(self.error("its value would take more than 2 GiB"));
        }
        out.resize(count, last);
        Ok(Tensor::from_strings(&self.dims, out))
    }
}

/// Strings inside `tensor_content`: all lengths as varints, then all bytes.
fn packed_strings(
    s: &mut Scanner<'_>,
    content: &Range<u64>,
    count: usize,
    out: &mut Vec<Vec<u8>>,
) -> Result<(), WireError> {
    let mut at = content.start;
    let lengths = (0..count).map(|_| s.varint(&mut at, content.end)).collect::<Result<Vec<_>, _>>()?;
    for len in lengths {
        let end = at.checked_add(len).filter(|&e| e <= content.end);
        let end = end.ok_or(WireError { what: "a text is longer than its message", offset: at })?;
        out.push(s.read(&(at..end))?);
        at = end;
    }
    Ok(())
}

/// Appends the numbers of one field, packed or not, as elements of `size` bytes.
fn push_numbers(
    s: &mut Scanner<'_>,
    field: &Field,
    dtype: DType,
    size: usize,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    let mut push = |v: u64| {
        let v = if dtype == DType::Bool { u64::from(v != 0) } else { v };
        out.extend_from_slice(&v.to_le_bytes()[..size.min(8)]);
    };
    match &field.content {
        Content::Varint(v) => push(*v),
        Content::Fixed32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Content::Fixed64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Content::Bytes(range) if matches!(dtype, DType::F32 | DType::F64 | DType::C64 | DType::C128) => {
            out.extend(s.read(range)?);
        }
        Content::Bytes(range) => {
            let mut at = range.start;
            while at < range.end {
                push(s.varint(&mut at, range.end)?);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::wire::{put_bytes, put_number, put_varint};

    fn payload(build: impl FnOnce(&mut Vec<u8>)) -> Payload {
        let mut out = Vec::new();
        build(&mut out);
        let bytes = Bytes::from_memory(out);
        let mut s = Scanner::new(&bytes);
        let all = s.all();
        read_payload(&mut s, all).unwrap().unwrap()
    }

    fn shape_of(dims: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        for &d in dims {
            let mut dim = Vec::new();
            put_number(&mut dim, 1, d);
            put_bytes(&mut out, 2, &dim);
        }
        out
    }

    #[test]
    fn the_last_value_is_repeated() {
        let p = payload(|out| {
            put_number(out, 1, 1);
            put_bytes(out, 2, &shape_of(&[4]));
            put_bytes(out, 5, &[1.5f32.to_le_bytes(), 2.0f32.to_le_bytes()].concat());
        });
        assert_eq!(p.load().unwrap(), Tensor::from_slice(&[4], &[1.5f32, 2.0, 2.0, 2.0]));
    }

    #[test]
    fn no_value_at_all_means_zeros_and_halves_are_bits() {
        let p = payload(|out| {
            put_number(out, 1, 3);
            put_bytes(out, 2, &shape_of(&[2]));
        });
        assert_eq!(p.load().unwrap(), Tensor::from_slice(&[2], &[0i32, 0]));
        let p = payload(|out| {
            put_number(out, 1, 14);
            put_bytes(out, 2, &shape_of(&[3]));
            let mut packed = Vec::new();
            put_varint(&mut packed, 0x3f80);
            put_bytes(out, 13, &packed);
        });
        assert_eq!(p.load().unwrap().to_f64s().unwrap(), [1.0; 3]);
    }

    #[test]
    fn negative_integers_and_content() {
        let p = payload(|out| {
            put_number(out, 1, 3);
            put_number(out, 7, (-7i64) as u64);
        });
        assert_eq!(p.load().unwrap(), Tensor::scalar(-7i32));
        let p = payload(|out| {
            put_number(out, 1, 1);
            put_bytes(out, 2, &shape_of(&[2]));
            put_bytes(out, 4, &[0; 4]);
        });
        assert!(p.load().unwrap_err().0.contains("needs 8 bytes"));
    }

    #[test]
    fn a_fill_cannot_take_all_memory() {
        let p = payload(|out| {
            put_number(out, 1, 1);
            put_bytes(out, 2, &shape_of(&[1 << 40]));
            put_bytes(out, 5, &1f32.to_le_bytes());
        });
        assert!(p.load().is_err());
    }
}
