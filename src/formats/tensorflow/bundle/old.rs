//! Checkpoints in TensorFlow's first format (`Saver` with `write_version=V1`, the only one before 2016): one table, `PREFIX`
//! itself or a few `PREFIX-00000-of-00003`, whose rows are the values. Source: tensorflow/core/util/saved_tensor_slice.proto,
//! saved_tensor_slice_util.cc, tensor_slice_writer.cc.
//!
//! The table is packed, so nothing of it can be mapped: it is turned into index and shard of today's format in memory,
//! which everything else then reads, and which is what a copy is written as (TensorFlow restores either alike).

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;

use crate::base::files;
use crate::formats::source::{Bytes, Source};
use crate::formats::tensorflow::tensor_proto::{dtype_from_code, read_payload};
use crate::formats::wire::{self, Scanner};
use crate::tensor::shape;

use super::proto::{self, SavedSlices, SliceMeta};
use super::slices::{key, region};
use super::table::{self, mask};
use super::{Bundle, BundleError, shard_name};

/// More files than any checkpoint of that time has.
const MAX_FILES: usize = 4096;
/// Values take at least a byte of the message that holds them, and at most so many in memory.
const MAX_GROWTH: usize = 16;

/// A prefix without what marks the files of the old format: `PREFIX-?????-of-00003` (as state files name it) and
/// `PREFIX-00001-of-00003`.
pub fn prefix_of(name: &str) -> &str {
    let parts = name.rsplit_once("-of-").and_then(|(front, count)| Some((front.rsplit_once('-')?, count)));
    let Some(((prefix, number), count)) = parts else { return name };
    let is_digits = |s: &str| s.len() == 5 && s.bytes().all(|b| b.is_ascii_digit());
    if is_digits(count) && (is_digits(number) || number == "?????") { prefix } else { name }
}

/// The files of an old checkpoint with that prefix, beside a source; empty where there are none.
pub fn file_names(beside: &Source, prefix: &str) -> Vec<String> {
    if beside.has_sibling(prefix) {
        return vec![prefix.to_owned()];
    }
    let mut out = beside.sibling_names();
    out.retain(|name| name.len() > prefix.len() && prefix_of(name) == prefix);
    out.sort();
    out.truncate(MAX_FILES);
    out
}

/// Whether a path is one of the files of an old checkpoint.
pub fn is_file(path: &Path) -> bool {
    !files::is_dir(path) && Bytes::open(path).is_ok_and(|bytes| table::is_table(&bytes))
}

/// Reads the files and turns them into a bundle in memory.
pub fn open(beside: &Source, prefix: &str, names: &[String]) -> Result<Bundle, BundleError> {
    let mut made = Made::default();
    for name in names {
        let fail = |what: String| BundleError { file: name.clone(), what };
        let bytes = beside.companion(name).map_err(|e| fail(format!("it cannot be read: {e}")))?;
        // A state file or a folder of that name is no checkpoint.
        if !table::is_table(&bytes) {
            return Err(fail("it is no checkpoint of TensorFlow's first format, or it is cut off".into()));
        }
        let rows = table::read(&bytes).map_err(|e| fail(e.to_string()))?;
        made.add(rows).map_err(fail)?;
    }
    let (index, shard) = made.finish().map_err(|what| BundleError { file: prefix.to_owned(), what })?;
    let index_name = format!("{prefix}.index");
    let files = BTreeMap::from([(shard_name(prefix, 0, 1), Bytes::from_memory(shard))]);
    let mut memory = Source::from_memory(index_name.clone(), Vec::new(), files);
    memory.add_sibling(&index_name, Bytes::from_memory(index));
    Bundle::open(&memory, prefix)
}

/// The bundle that is being made.
#[derive(Default)]
struct Made {
    tensors: BTreeMap<String, SliceMeta>,
    /// Entries of values by their key: those of pieces, and of whole tensors under a piece's key until the end.
    values: BTreeMap<Vec<u8>, proto::Entry>,
    shard: Vec<u8>,
}

impl Made {
    fn add(&mut self, rows: Vec<table::Row>) -> Result<(), String> {
        let mut known: BTreeMap<String, SliceMeta> = BTreeMap::new();
        for (row_key, value) in rows {
            let at = || row_key.escape_ascii().to_string();
            let row = SavedSlices::decode(&value[..]).map_err(|e| format!("the row {:?} is damaged ({e})", at()))?;
            drop(value);
            if let Some(meta) = row.meta {
                known.extend(meta.tensor.into_iter().map(|t| (t.name.clone(), t)));
            }
            let Some(data) = row.data else { continue };
            let of = known.get(&data.name).ok_or_else(|| format!("{} is not in its list of tensors", data.name))?;
            let slice = data.slice.unwrap_or_default();
            let entry = self.value(of, &slice, data.data)?;
            self.values.insert(key(&data.name, &slice), entry);
        }
        for (name, tensor) in known {
            match self.tensors.get_mut(&name) {
                Some(there) if there.shape == tensor.shape && there.dtype == tensor.dtype => {
                    there.slice.extend(tensor.slice);
                }
                Some(_) => return Err(format!("{name} has another shape in another of its files")),
                None => {
                    self.tensors.insert(name, tensor);
                }
            }
        }
        Ok(())
    }

    /// Decodes a slice's values and appends their bytes.
    fn value(&mut self, of: &SliceMeta, slice: &proto::Slice, data: Vec<u8>) -> Result<proto::Entry, String> {
        let fail = |what: &str| format!("the tensor {}: {what}", of.name);
        let dims = super::dims_of(of.shape.as_ref()).ok_or_else(|| fail("its shape makes no sense"))?;
        let region = region(slice, &dims).ok_or_else(|| fail("a piece does not fit it"))?;
        let lengths: Vec<usize> = region.iter().map(|r| r.1).collect();
        let dtype = dtype_from_code(of.dtype.try_into().unwrap_or(0));
        let size = shape::element_count(&lengths).and_then(|n| n.checked_mul(dtype.size().max(1)));
        if size.is_none_or(|size| size > data.len().saturating_mul(MAX_GROWTH)) {
            return Err(fail(&format!("{} bytes cannot hold its shape {lengths:?}", data.len())));
        }
        // The stored message has values alone; with type and shape in front it is a whole TensorProto.
        let wanted = shape_message(&lengths);
        let mut message = Vec::with_capacity(data.len() + 64);
        wire::put_number(&mut message, 1, u64::try_from(of.dtype).unwrap_or(0));
        wire::put_bytes(&mut message, 2, &wanted.encode_to_vec());
        message.extend_from_slice(&data);
        drop(data);
        let bytes = Bytes::from_memory(message);
        let mut s = Scanner::new(&bytes);
        let all = s.all();
        let payload = read_payload(&mut s, all).map_err(|e| fail(&e.to_string()))?;
        let payload = payload.ok_or_else(|| fail("its shape makes no sense"))?;
        let tensor = payload.load().map_err(|e| fail(&e.to_string()))?;
        let offset = self.shard.len() as i64;
        let crc = match tensor.strings() {
            Some(texts) => put_strings(texts, &mut self.shard),
            None => {
                self.shard.extend_from_slice(tensor.bytes());
                crc32c::crc32c(tensor.bytes())
            }
        };
        let size = self.shard.len() as i64 - offset;
        let dtype = of.dtype;
        Ok(proto::Entry {
            dtype,
            shape: Some(wanted),
            shard_id: 0,
            offset,
            size,
            crc32c: mask(crc),
            slices: Vec::new(),
        })
    }

    /// Index and shard.
    fn finish(mut self) -> Result<(Vec<u8>, Vec<u8>), String> {
        let header = proto::Header { num_shards: 1, endianness: 0 };
        let mut rows = BTreeMap::from([(Vec::new(), header.encode_to_vec())]);
        for (name, tensor) in &self.tensors {
            let dims =
                super::dims_of(tensor.shape.as_ref()).ok_or_else(|| format!("the shape of {name} is damaged"))?;
            let is_whole = |slice: &proto::Slice| {
                region(slice, &dims).is_some_and(|r| r.iter().zip(&dims).all(|(part, dim)| *part == (0, *dim)))
            };
            if let [only] = &tensor.slice[..]
                && is_whole(only)
            {
                let value = self.values.remove(&key(name, only)).ok_or_else(|| format!("{name} has no values"))?;
                rows.insert(name.clone().into_bytes(), value.encode_to_vec());
                continue;
            }
            let shape = tensor.shape.clone();
            let entry =
                proto::Entry { dtype: tensor.dtype, shape, slices: tensor.slice.clone(), ..proto::Entry::default() };
            rows.insert(name.clone().into_bytes(), entry.encode_to_vec());
        }
        rows.extend(self.values.into_iter().map(|(k, v)| (k, v.encode_to_vec())));
        Ok((table::write(&rows.into_iter().collect::<Vec<_>>()), self.shard))
    }
}

fn shape_message(dims: &[usize]) -> proto::Shape {
    let dim = dims.iter().map(|&d| proto::Dim { size: d as i64 }).collect();
    proto::Shape { dim, unknown_rank: false }
}

/// Texts as today's format stores them (tensor_bundle.cc, `WriteStringTensor`); gives the checksum.
fn put_strings(texts: &[Vec<u8>], out: &mut Vec<u8>) -> u32 {
    let mut crc = 0;
    for text in texts {
        let len = text.len() as u64;
        wire::put_varint(out, len);
        crc = match u32::try_from(len) {
            Ok(short) => crc32c::crc32c_append(crc, &short.to_le_bytes()),
            Err(_) => crc32c::crc32c_append(crc, &len.to_le_bytes()),
        };
    }
    let lengths = mask(crc).to_le_bytes();
    out.extend_from_slice(&lengths);
    crc = crc32c::crc32c_append(crc, &lengths);
    for text in texts {
        out.extend_from_slice(text);
        crc = crc32c::crc32c_append(crc, text);
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn names_of_files_and_their_prefix() {
        for (name, want) in [
            ("model.ckpt-3", "model.ckpt-3"),
            ("model.ckpt-3-?????-of-00002", "model.ckpt-3"),
            ("model.ckpt-3-00001-of-00002", "model.ckpt-3"),
            ("a-of-b", "a-of-b"),
            ("x-0001-of-00002", "x-0001-of-00002"),
        ] {
            assert_eq!(prefix_of(name), want);
        }
    }

    /// A row that promises far more values than its bytes can hold.
    #[test]
    fn lying_shapes_take_no_memory() {
        let meta = SliceMeta {
            name: "w".into(),
            shape: Some(shape_message(&[1 << 20, 1 << 12])),
            dtype: 1,
            slice: vec![proto::Slice { extent: vec![proto::Extent::default(); 2] }],
        };
        let tensor = Tensor::from_slice(&[2], &[1.0f32, 2.0]);
        let mut data = Vec::new();
        wire::put_bytes(&mut data, 5, tensor.bytes());
        let error = Made::default().value(&meta, &meta.slice[0], data.clone()).unwrap_err();
        assert!(error.contains("cannot hold"), "{error}");
        let honest = SliceMeta { shape: Some(shape_message(&[2])), ..meta };
        let entry = Made::default().value(&honest, &proto::Slice { extent: vec![Default::default()] }, data).unwrap();
        assert_eq!((entry.size, entry.crc32c), (8, mask(crc32c::crc32c(tensor.bytes()))));
    }
}
