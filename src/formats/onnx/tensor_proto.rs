//! TensorProto and SparseTensorProto in all their encodings: `raw_data`, typed lists, external files, coordinates.
//!
//! Field numbers: onnx/onnx.proto. Opening reads only type, shape and positions; values are read when they are asked for.
//! Types narrower than a byte and 8-bit floats have no element type of their own here: they become the smallest type that
//! holds their values exactly (`int8`, `uint8`, `float32`).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::formats::source::{Bytes, Source};
use crate::formats::wire::{Content, Field, Scanner, WireError};
use crate::tensor::{DType, Dims, LazyTensor, Payload, PayloadError, Tensor, shape};

use super::narrow::Narrow;

/// Messages up to this size are decoded while opening: scalars, axes, small shapes.
const EAGER_MESSAGE: u64 = 256;
/// A dense copy of a sparse tensor may not become larger than this.
const MAX_DENSE: usize = 1 << 31;
const MAX_RANK: usize = 254;

/// The element type that values of an ONNX type code are kept in (TensorProto.DataType).
pub fn dtype_from_code(code: u64) -> DType {
    match code {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        8 => DType::String,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        14 => DType::C64,
        15 => DType::C128,
        16 => DType::BF16,
        _ => Narrow::from_code(code).map_or(DType::Unknown, Narrow::dtype),
    }
}

/// The code that a written message carries; 0 where ONNX has none.
pub fn code_from_dtype(dtype: DType) -> u64 {
    (1..=16).find(|&c| dtype_from_code(c) == dtype).unwrap_or(0)
}

/// A named tensor of the file. `value` is `None` where it cannot be used; `problem` then says why.
#[derive(Debug)]
pub struct RawTensor {
    pub name: String,
    pub value: Result<Payload, String>,
    /// Its message without tag and length.
    pub span: Range<u64>,
}

/// Opens files beside the model once each.
#[derive(Debug)]
pub struct ExternalFiles<'a> {
    source: &'a Source,
    opened: HashMap<String, Result<Bytes, String>>,
}

impl<'a> ExternalFiles<'a> {
    pub fn new(source: &'a Source) -> Self {
        Self { source, opened: HashMap::new() }
    }

    /// The names of the files that were there, in alphabetical order.
    pub fn locations(&self) -> Vec<String> {
        let mut out: Vec<String> = self.opened.iter().filter(|(_, b)| b.is_ok()).map(|(n, _)| n.clone()).collect();
        out.sort();
        out
    }

    fn open(&mut self, location: &str) -> Result<Bytes, String> {
        let plain = location.strip_prefix("./").unwrap_or(location);
        self.opened
            .entry(plain.to_owned())
            .or_insert_with(|| {
                let found = self.source.sibling(plain);
                found.map_err(|e| format!("its values lie in the file {location:?}, which could not be opened: {e}"))
            })
            .clone()
    }
}

/// The header of a TensorProto: where everything lies.
#[derive(Default)]
struct Header {
    name: String,
    code: u64,
    dims: Vec<i64>,
    raw: Option<Range<u64>>,
    is_external: bool,
    entries: Vec<(String, String)>,
}

/// Reads a TensorProto.
pub fn read_tensor(
    s: &mut Scanner<'_>,
    range: Range<u64>,
    files: &mut ExternalFiles<'_>,
) -> Result<RawTensor, WireError> {
    let mut h = Header::default();
    s.each_field(range.clone(), |s, field| {
        match field.number {
            1 => push_ints(s, &field, &mut h.dims)?,
            2 => h.code = field.varint()?,
            8 => h.name = s.text(&field.range()?)?,
            9 => h.raw = Some(field.range()?),
            13 => h.entries.push(read_entry(s, field.range()?)?),
            14 => h.is_external = field.varint()? == 1,
            // Values follow the header; their fields are looked at when the value is loaded.
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    let name = std::mem::take(&mut h.name);
    let value = payload(s.source(), range.clone(), &h, files);
    Ok(RawTensor { name, value, span: range })
}

fn payload(bytes: &Bytes, message: Range<u64>, h: &Header, files: &mut ExternalFiles<'_>) -> Result<Payload, String> {
    let dims = concrete(&h.dims)?;
    let dtype = dtype_from_code(h.code);
    if dtype == DType::Unknown {
        return Err(format!("element type code {} is not known", h.code));
    }
    let is_small = message.end - message.start <= EAGER_MESSAGE && !h.is_external;
    let (bytes, raw) = match h.is_external {
        true => external(&h.entries, files)?,
        false => (bytes.clone(), h.raw.clone()),
    };
    let stored =
        StoredTensor { bytes, message, raw, dtype, code: h.code, dims: dims.clone(), is_external: h.is_external };
    if is_small && let Ok(tensor) = stored.load() {
        return Ok(Payload::from_tensor(tensor));
    }
    Ok(Payload::lazy(dtype, &dims, Arc::new(stored)))
}

/// The place of external values: the file and, within it, where they start and end.
fn external(
    entries: &[(String, String)],
    files: &mut ExternalFiles<'_>,
) -> Result<(Bytes, Option<Range<u64>>), String> {
    let get = |key: &str| entries.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    let number = |key: &str| match get(key) {
        None => Ok(None),
        Some(v) => v.trim().parse::<u64>().map(Some).map_err(|_| format!("its external {key} {v:?} is no number")),
    };
    let location = get("location").ok_or("its values lie in another file that is not named")?;
    let bytes = files.open(location)?;
    let start = number("offset")?.unwrap_or(0);
    let end = match number("length")? {
        Some(n) => start.checked_add(n).ok_or("its external offset and length are too large")?,
        None => bytes.len(),
    };
    if start > end || end > bytes.len() {
        return Err(format!("its values should lie at bytes {start}..{end} of {location}, which has {}", bytes.len()));
    }
    Ok((bytes, Some(start..end)))
}

fn concrete(dims: &[i64]) -> Result<Dims, String> {
    let out: Option<Dims> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let out = out.filter(|d| d.len() <= MAX_RANK).ok_or_else(|| format!("its shape {dims:?} makes no sense"))?;
    match shape::element_count(&out).and_then(|n| n.checked_mul(16)) {
        Some(_) => Ok(out),
        None => Err(format!("its shape {dims:?} is too large for any machine")),
    }
}

/// One StringStringEntryProto.
pub fn read_entry(s: &mut Scanner<'_>, range: Range<u64>) -> Result<(String, String), WireError> {
    let (mut key, mut value) = (String::new(), String::new());
    s.each_field(range, |s, field| {
        match field.number {
            1 => key = s.text(&field.range()?)?,
            2 => value = s.text(&field.range()?)?,
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    Ok((key, value))
}

/// Appends the integers of a field, packed or not.
pub fn push_ints(s: &mut Scanner<'_>, field: &Field, out: &mut Vec<i64>) -> Result<(), WireError> {
    match &field.content {
        Content::Varint(v) => out.push(*v as i64),
        Content::Bytes(range) => {
            let mut at = range.start;
            while at < range.end {
                out.push(s.varint(&mut at, range.end)? as i64);
            }
        }
        _ => return Err(WireError { what: "a number was expected", offset: field.span.start }),
    }
    Ok(())
}

/// A value that lies in the model or in a file beside it.
struct StoredTensor {
    bytes: Bytes,
    /// The TensorProto in the model file.
    message: Range<u64>,
    /// Raw values in `bytes`.
    raw: Option<Range<u64>>,
    dtype: DType,
    code: u64,
    dims: Dims,
    is_external: bool,
}

impl std::fmt::Debug for StoredTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} at bytes {:?}", self.dtype, &self.dims[..], self.message)
    }
}

impl LazyTensor for StoredTensor {
    fn load(&self) -> Result<Tensor, PayloadError> {
        let count = shape::element_count(&self.dims).ok_or_else(|| self.error("its shape is too large"))?;
        if self.dtype == DType::String {
            return self.strings(count);
        }
        if let Some(narrow) = Narrow::from_code(self.code) {
            let packed = self.packed().map_err(|e| self.error(&e))?;
            return narrow
                .unpack(&packed, &self.dims, count)
                .ok_or_else(|| self.wrong_size(narrow.bytes(count), packed.len()));
        }
        let size = self.dtype.size();
        if let Some(raw) = &self.raw {
            let len = raw.end - raw.start;
            // External files may be padded; inside a message the length is exact.
            let fits = if self.is_external { len >= (count * size) as u64 } else { len == (count * size) as u64 };
            if !fits {
                return Err(self.wrong_size(count * size, len as usize));
            }
            return self.bytes.tensor_at(self.dtype, &self.dims, raw.start).map_err(|e| self.error(&e.to_string()));
        }
        let given = self.typed(size).map_err(|e| self.error(&e.to_string()))?;
        if given.len() != count * size {
            return Err(self.wrong_size(count * size, given.len()));
        }
        Tensor::from_bytes(self.dtype, &self.dims, &given).ok_or_else(|| self.wrong_size(count * size, given.len()))
    }

    fn all_equal(&self) -> Result<bool, PayloadError> {
        let size = self.dtype.size();
        let (Some(raw), None, true) = (&self.raw, Narrow::from_code(self.code), size > 0) else {
            return Ok(self.load()?.all_equal());
        };
        let count = shape::element_count(&self.dims).unwrap_or(0);
        let end = raw.end.min(raw.start + (count * size) as u64);
        // In growing pieces: most constants differ within the first few bytes.
        let (mut at, mut piece, mut first) = (raw.start, 4096u64, Vec::new());
        while at < end {
            let stop = (at + piece).min(end);
            let bytes = self.bytes.read(at, stop).map_err(|e| self.error(&e.to_string()))?;
            if first.is_empty() {
                first = bytes.get(..size).unwrap_or(&bytes).to_vec();
            }
            if bytes.chunks(size).any(|c| c != first) {
                return Ok(false);
            }
            (at, piece) = (stop, (piece * 4).min(1 << 20));
        }
        Ok(true)
    }
}

impl StoredTensor {
    fn error(&self, what: &str) -> PayloadError {
        PayloadError(format!("the {} tensor {:?} at byte {}: {what}", self.dtype, &self.dims[..], self.message.start))
    }

    fn wrong_size(&self, needed: usize, found: usize) -> PayloadError {
        self.error(&format!("its shape needs {needed} bytes, the file holds {found}"))
    }

    /// Bytes of a type that is narrower than the element type we keep it in.
    fn packed(&self) -> Result<Vec<u8>, String> {
        match &self.raw {
            Some(raw) => self.bytes.read(raw.start, raw.end).map_err(|e| e.to_string()),
            None => self.typed(1).map_err(|e| e.to_string()),
        }
    }

    /// The values of the list that belongs to the type, as little-endian elements of `size` bytes.
    fn typed(&self, size: usize) -> Result<Vec<u8>, WireError> {
        let number = match self.dtype {
            _ if Narrow::from_code(self.code).is_some() => 5,
            DType::F32 | DType::C64 => 4,
            DType::I64 => 7,
            DType::F64 | DType::C128 => 10,
            DType::U32 | DType::U64 => 11,
            _ => 5,
        };
        let is_float = matches!(number, 4 | 10);
        let mut out = Vec::new();
        Scanner::new(&self.bytes).each_field(self.message.clone(), |s, field| {
            if field.number != number {
                return Ok(());
            }
            match &field.content {
                Content::Fixed32(v) => out.extend_from_slice(&v.to_le_bytes()),
                Content::Fixed64(v) => out.extend_from_slice(&v.to_le_bytes()),
                Content::Bytes(range) if is_float => out.extend(s.read(range)?),
                _ => {
                    let mut values = Vec::new();
                    push_ints(s, &field, &mut values)?;
                    values.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()[..size.min(8)]));
                }
            }
            Ok::<_, WireError>(())
        })?;
        Ok(out)
    }

    fn strings(&self, count: usize) -> Result<Tensor, PayloadError> {
        let mut out: Vec<Vec<u8>> = Vec::new();
        let read = Scanner::new(&self.bytes).each_field(self.message.clone(), |s, field| {
            if field.number == 6 {
                out.push(s.read(&field.range()?)?);
            }
            Ok::<_, WireError>(())
        });
        read.map_err(|e| self.error(&e.to_string()))?;
        if out.len() != count {
            return Err(self.error(&format!("its shape needs {count} texts, the file holds {}", out.len())));
        }
        Ok(Tensor::from_strings(&self.dims, out))
    }
}

/// Reads a SparseTensorProto: values at coordinates, zeros elsewhere.
pub fn read_sparse(
    s: &mut Scanner<'_>,
    range: Range<u64>,
    files: &mut ExternalFiles<'_>,
) -> Result<RawTensor, WireError> {
    let (mut values, mut indices, mut dims) = (None, None, Vec::new());
    s.each_field(range.clone(), |s, field| {
        match field.number {
            1 => values = Some(read_tensor(s, field.range()?, files)?),
            2 => indices = Some(read_tensor(s, field.range()?, files)?),
            3 => push_ints(s, &field, &mut dims)?,
            _ => {}
        }
        Ok::<_, WireError>(())
    })?;
    let name = values.as_ref().map(|v| v.name.clone()).unwrap_or_default();
    let build = || -> Result<Payload, String> {
        let dims = concrete(&dims)?;
        let values = values.ok_or("it has no values")?.value?;
        let indices = indices.ok_or("it has no coordinates")?.value?;
        let len = shape::element_count(&dims).and_then(|n| n.checked_mul(values.dtype.size().max(1)));
        if len.is_none_or(|l| l > MAX_DENSE) {
            return Err("it would take more than 2 GiB".to_owned());
        }
        let dtype = values.dtype;
        Ok(Payload::lazy(dtype, &dims.clone(), Arc::new(Sparse { values, indices, dims })))
    };
    Ok(RawTensor { name, value: build(), span: range })
}

#[derive(Debug)]
struct Sparse {
    values: Payload,
    indices: Payload,
    dims: Dims,
}

impl LazyTensor for Sparse {
    fn load(&self) -> Result<Tensor, PayloadError> {
        let (values, indices) = (self.values.load()?, self.indices.load()?);
        let wrong = || PayloadError("the coordinates of a sparse tensor do not fit it".to_owned());
        let at = indices.to_i64s().ok_or_else(wrong)?;
        let mut out = Tensor::zeros(values.dtype(), &self.dims);
        let (total, size) = (out.len(), values.dtype().size());
        if size == 0 {
            return Err(PayloadError("a sparse tensor of texts".to_owned()));
        }
        // Coordinates are linear, or one column for each dimension.
        let columns = if indices.rank() == 2 { indices.shape()[1] } else { 1 };
        if at.len() != values.len() * columns || (indices.rank() == 2 && columns != self.dims.len()) {
            return Err(wrong());
        }
        let strides = shape::strides(&self.dims);
        let bytes = out.bytes_mut();
        for (row, value) in at.chunks(columns.max(1)).zip(values.bytes().chunks_exact(size)) {
            let linear = if indices.rank() == 2 {
                let inside = row.iter().zip(&self.dims).all(|(&i, &d)| i >= 0 && (i as usize) < d);
                inside.then(|| row.iter().zip(&strides).map(|(&i, &s)| i as usize * s).sum::<usize>())
            } else {
                usize::try_from(row[0]).ok()
            };
            let linear = linear.filter(|&l| l < total).ok_or_else(wrong)?;
            bytes[linear * size..(linear + 1) * size].copy_from_slice(value);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::formats::wire::{put_bytes, put_number};

    fn read(build: impl FnOnce(&mut Vec<u8>), beside: Option<(&str, Vec<u8>)>) -> Result<Tensor, String> {
        let mut out = Vec::new();
        build(&mut out);
        let siblings: BTreeMap<String, Bytes> =
            beside.into_iter().map(|(n, b)| (n.to_owned(), Bytes::from_memory(b))).collect();
        let source = Source::from_memory("m.onnx", out, siblings);
        let mut s = Scanner::new(&source.bytes);
        let all = s.all();
        let tensor = read_tensor(&mut s, all, &mut ExternalFiles::new(&source)).map_err(|e| e.to_string())?;
        tensor.value?.load().map_err(|e| e.0)
    }

    #[test]
    fn raw_and_typed_values() {
        let raw = read(
            |o| {
                put_number(o, 1, 2);
                put_number(o, 2, 1);
                put_bytes(o, 9, &[1.5f32.to_le_bytes(), 2.0f32.to_le_bytes()].concat());
            },
            None,
        );
        assert_eq!(raw.unwrap(), Tensor::from_slice(&[2], &[1.5f32, 2.0]));
        let halves = read(
            |o| {
                put_number(o, 1, 1);
                put_number(o, 2, 16);
                put_number(o, 5, 0x3f80);
            },
            None,
        );
        assert_eq!(halves.unwrap().to_f64s().unwrap(), [1.0]);
    }

    #[test]
    fn a_shape_that_does_not_fit_is_an_error() {
        let short = read(
            |o| {
                put_number(o, 1, 3);
                put_number(o, 2, 7);
                put_number(o, 7, 5);
            },
            None,
        );
        assert!(short.unwrap_err().contains("needs 24 bytes"));
        let huge = read(
            |o| {
                (0..3).for_each(|_| put_number(o, 1, 1 << 40));
                put_number(o, 2, 1);
            },
            None,
        );
        assert!(huge.unwrap_err().contains("too large"));
    }

    fn external(o: &mut Vec<u8>, location: &str, offset: &str) {
        put_number(o, 1, 2);
        put_number(o, 2, 3);
        put_number(o, 14, 1);
        for (k, v) in [("location", location), ("offset", offset), ("length", "2")] {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, k.as_bytes());
            put_bytes(&mut entry, 2, v.as_bytes());
            put_bytes(o, 13, &entry);
        }
    }

    #[test]
    fn values_in_another_file() {
        let beside = || Some(("w.bin", vec![9u8, 1, 0xff, 9]));
        assert_eq!(read(|o| external(o, "w.bin", "1"), beside()).unwrap(), Tensor::from_slice(&[2], &[1i8, -1]));
        assert!(read(|o| external(o, "w.bin", "3"), beside()).unwrap_err().contains("which has 4"));
        assert!(read(|o| external(o, "../w.bin", "0"), beside()).is_err());
    }
}
