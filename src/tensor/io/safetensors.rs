//! `.safetensors`: eight bytes of header length, a JSON header, then the elements (huggingface.co/docs/safetensors).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use ::safetensors::tensor::{Dtype, Metadata};
use indexmap::IndexMap;
use serde_json::json;

use crate::base::files::{self, PositionedFile};
use crate::tensor::{DType, Tensor, shape};

use super::{ArrayError, Arrays};

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pub arrays: Arrays,
    pub metadata: BTreeMap<String, String>,
}

/// Where one array lies in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Of its first byte, from the start of the file.
    pub offset: u64,
}

/// The header of a file: names in the order of their bytes, and what else it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub entries: IndexMap<String, Entry>,
    pub metadata: BTreeMap<String, String>,
}

/// Reads the header of a file of `len` bytes through positioned reads; every entry lies inside the file then.
pub fn layout(len: u64, read_exact_at: impl Fn(&mut [u8], u64) -> io::Result<()>) -> Result<Layout, ArrayError> {
    let mut first = [0; 8];
    read_exact_at(&mut first, 0)
        .map_err(|_| ArrayError::malformed("not a readable .safetensors file: shorter than its header"))?;
    let header = usize::try_from(u64::from_le_bytes(first)).unwrap_or(usize::MAX);
    let start = header.saturating_add(8);
    if start as u64 > len {
        return Err(ArrayError::malformed("not a readable .safetensors file: the header is longer than the file"));
    }
    let mut head = vec![0; start];
    read_exact_at(&mut head, 0)?;
    let metadata = read_metadata(&head, len)?;
    let words = metadata.metadata().clone().unwrap_or_default();
    let mut out = Layout { metadata: words.into_iter().collect(), ..Layout::default() };
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let dtype = from_safetensors(info.dtype).ok_or_else(|| {
            ArrayError::malformed(format!("element type {:?} is not supported", info.dtype)).of(&name)
        })?;
        let bytes = shape::element_count(&info.shape).and_then(|n| n.checked_mul(dtype.size()));
        if bytes != Some(info.data_offsets.1 - info.data_offsets.0) {
            return Err(ArrayError::malformed("shape and byte range disagree").of(&name));
        }
        let entry = Entry { dtype, shape: info.shape.clone(), offset: (start + info.data_offsets.0) as u64 };
        out.entries.insert(name, entry);
    }
    Ok(out)
}

/// Reads every array into memory, in the order of their bytes.
pub fn read(path: &Path) -> Result<Content, ArrayError> {
    let file = PositionedFile::open(path)?;
    let layout = layout(file.len(), |buf, at| file.read_exact_at(buf, at))?;
    let mut content = Content { metadata: layout.metadata, ..Content::default() };
    for (name, entry) in layout.entries {
        let mut tensor = Tensor::zeros(entry.dtype, &entry.shape);
        file.read_exact_at(tensor.bytes_mut(), entry.offset)?;
        content.arrays.insert(name, tensor);
    }
    Ok(content)
}

/// Parses the header (which checks offsets against shapes) and compares it with the file's length.
fn read_metadata(head: &[u8], file_len: u64) -> Result<Metadata, ArrayError> {
    let bad = |what: String| ArrayError::malformed(format!("not a readable .safetensors file: {what}"));
    let text = std::str::from_utf8(&head[8..]).map_err(|e| bad(e.to_string()))?;
    let metadata: Metadata = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
    let (wants, has) = (metadata.data_len() as u64, file_len - head.len() as u64);
    if wants != has {
        return Err(bad(format!("the header speaks of {wants} bytes of data, {has} are there")));
    }
    Ok(metadata)
}

/// Writes arrays and metadata atomically, streaming; wide elements first, so that all are aligned.
pub fn write<'a>(
    path: &Path,
    arrays: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), ArrayError> {
    let mut arrays: Vec<(&str, &Tensor)> = arrays.into_iter().collect();
    arrays.sort_by_key(|(_, t)| std::cmp::Reverse(t.dtype().size()));
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), json!(metadata));
    }
    let mut offset = 0;
    for (name, t) in &arrays {
        let dtype = to_safetensors(t.dtype()).ok_or_else(|| {
            ArrayError::malformed(format!("{} cannot be written as .safetensors", t.dtype())).of(name)
        })?;
        let end = offset + t.bytes().len();
        let entry = json!({"dtype": dtype, "shape": t.shape(), "data_offsets": [offset, end]});
        if header.insert((*name).to_owned(), entry).is_some() {
            return Err(ArrayError::malformed("two arrays have this name").of(name));
        }
        offset = end;
    }
    let mut text = serde_json::Value::Object(header).to_string();
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    files::replace_with(path, |out| {
        out.write_all(&(text.len() as u64).to_le_bytes())?;
        out.write_all(text.as_bytes())?;
        arrays.iter().try_for_each(|(_, t)| out.write_all(t.bytes()))?;
        Ok(())
    })
}

const PAIRS: [(DType, Dtype); 14] = [
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::F32, Dtype::F32),
    (DType::F64, Dtype::F64),
    (DType::I8, Dtype::I8),
    (DType::I16, Dtype::I16),
    (DType::I32, Dtype::I32),
    (DType::I64, Dtype::I64),
    (DType::U8, Dtype::U8),
    (DType::U16, Dtype::U16),
    (DType::U32, Dtype::U32),
    (DType::U64, Dtype::U64),
    (DType::Bool, Dtype::BOOL),
    (DType::C64, Dtype::C64),
];

/// The name of an element type in a header.
pub fn to_safetensors(dtype: DType) -> Option<Dtype> {
    PAIRS.iter().find(|p| p.0 == dtype).map(|p| p.1)
}

fn from_safetensors(dtype: Dtype) -> Option<DType> {
    PAIRS.iter().find(|p| p.1 == dtype).map(|p| p.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let a = Tensor::from_slice(&[2, 2], &[1f32, 2., 3., 4.]);
        let b = Tensor::from_slice(&[], &[5u64]);
        let meta = BTreeMap::from([("step".to_owned(), "3".to_owned())]);
        write(&path, [("w/a", &a), ("b", &b)], &meta).unwrap();
        let got = read(&path).unwrap();
        assert_eq!(got.arrays["w/a"], a);
        assert_eq!(got.arrays["b"], b);
        assert_eq!(got.metadata, meta);
        let good = files::read(&path).unwrap();
        for cut in 0..good.len() {
            files::replace(&path, &good[..cut]).unwrap();
            assert!(read(&path).is_err(), "cut at {cut}");
        }
    }
}
