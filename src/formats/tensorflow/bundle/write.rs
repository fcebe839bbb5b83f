//! A copy of a bundle with other values for some tensors. Layout, shards and every byte that does not change are kept; the
//! index gets the new checksums.

use std::collections::BTreeMap;
use std::io::Write;

use prost::Message;

use crate::formats::WriteError;
use crate::formats::source::Bytes;
use crate::formats::tensorflow::tensor_proto::code_from_dtype;
use crate::formats::wire::{self, Scanner};
use crate::tensor::Tensor;

use super::slices::{Region, copy_shared, whole};
use super::table::{self, mask};
use super::{Bundle, Entry, proto, shard_name};

/// Bytes copied at once.
const COPY: u64 = 1 << 20;

/// New values by the index row that holds them, and new tensors by name.
#[derive(Debug, Default)]
pub struct Changes(BTreeMap<usize, Tensor>, BTreeMap<String, Tensor>);

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty() && self.1.is_empty()
    }

    /// Notes a tensor that the bundle does not have; it goes behind all others of the last shard.
    pub fn add(&mut self, bundle: &Bundle, name: String, value: Tensor) -> Result<(), WriteError> {
        if bundle.get(&name).is_some() {
            let what = format!("the checkpoint has a tensor {name} already; give the new one another name");
            return Err(WriteError::Patch(what));
        }
        if value.dtype().size() == 0 {
            return Err(WriteError::Patch(format!("{name} is {}, which cannot be added", value.dtype())));
        }
        self.1.insert(name, value);
        Ok(())
    }

    /// Notes that `region` of a tensor gets new values, of the tensor's own type and the region's shape.
    pub fn set(&mut self, bundle: &Bundle, entry: &Entry, region: &Region, value: &Tensor) -> Result<(), WriteError> {
        let bad = |what: &str| WriteError::Patch(format!("the variable {}: {what}", entry.name));
        let dims: Vec<usize> = region.iter().map(|r| r.1).collect();
        if value.dtype() != entry.dtype || value.shape() != dims || entry.dtype.size() == 0 {
            return Err(bad("the new value has another type or shape"));
        }
        for (at, of) in &entry.parts {
            let lengths: Vec<usize> = of.iter().map(|r| r.1).collect();
            if of == region {
                self.0.insert(*at, value.clone());
                continue;
            }
            if of.iter().zip(region).any(|(&(a, n), &(b, m))| a + n <= b || b + m <= a) {
                continue;
            }
            let mut old = match self.0.remove(at) {
                Some(t) => t,
                None => bundle.load_row(*at).ok_or_else(|| bad("its old value cannot be read"))?,
            };
            if old.shape() != lengths {
                return Err(bad("its pieces do not fit"));
            }
            copy_shared(value, region, &mut old, of);
            self.0.insert(*at, old);
        }
        Ok(())
    }

    /// As [`Changes::set`] for all of a tensor.
    pub fn set_whole(&mut self, bundle: &Bundle, entry: &Entry, value: &Tensor) -> Result<(), WriteError> {
        self.set(bundle, entry, &whole(&entry.shape), value)
    }
}

impl Bundle {
    /// Names of the files of a copy under another prefix: the index first, then the shards.
    pub fn file_names(&self, prefix: &str) -> Vec<String> {
        let shards = self.shards.keys().map(|s| shard_name(prefix, *s, self.num_shards));
        std::iter::once(format!("{prefix}.index")).chain(shards).collect()
    }

    /// Writes the index of a copy; the file as it stands where nothing changes.
    pub fn write_index(&self, changes: &Changes, out: &mut dyn Write) -> Result<(), WriteError> {
        if changes.is_empty() {
            return copy(&self.index, 0, self.index.len(), out);
        }
        let mut rows = self.table.clone();
        for (at, tensor) in &changes.0 {
            let crc = mask(crc32c::crc32c(tensor.bytes()));
            if let Some((_, value)) = rows.get_mut(*at) {
                *value = with_crc(std::mem::take(value), crc)?;
            }
        }
        self.add_rows(changes, &mut rows);
        Ok(out.write_all(&table::write(&rows))?)
    }

    /// Entries of new tensors, where their keys belong.
    fn add_rows(&self, changes: &Changes, rows: &mut Vec<table::Row>) {
        let Some((&shard, bytes)) = self.shards.last_key_value() else { return };
        let mut offset = bytes.len();
        for (name, tensor) in &changes.1 {
            let dim = tensor.shape().iter().map(|&d| proto::Dim { size: d as i64 }).collect();
            let size = tensor.bytes().len() as u64;
            let entry = proto::Entry {
                dtype: code_from_dtype(tensor.dtype()) as i32,
                shape: Some(proto::Shape { dim, unknown_rank: false }),
                shard_id: shard,
                offset: offset as i64,
                size: size as i64,
                crc32c: mask(crc32c::crc32c(tensor.bytes())),
                slices: Vec::new(),
            };
            let key = name.as_bytes().to_vec();
            let at = rows.partition_point(|(k, _)| *k < key);
            rows.insert(at, (key, entry.encode_to_vec()));
            offset += size;
        }
    }

    /// Writes the `nth` shard of [`Bundle::file_names`] (0 is the first shard).
    pub fn write_shard(&self, nth: usize, changes: &Changes, out: &mut dyn Write) -> Result<(), WriteError> {
        let missing = || WriteError::Patch(format!("the checkpoint has no shard number {nth}"));
        let (shard, bytes) = self.shards.iter().nth(nth).ok_or_else(missing)?;
        let row = |at: &usize| self.rows.get(*at)?.as_ref().filter(|r| r.shard == *shard);
        let mut places: Vec<_> = changes.0.iter().filter_map(|(at, t)| Some((row(at)?.offset, t))).collect();
        places.sort_by_key(|p| p.0);
        let mut at = 0;
        for (offset, tensor) in places {
            if offset < at {
                return Err(WriteError::Patch("two tensors of the checkpoint share their bytes".into()));
            }
            copy(bytes, at, offset, out)?;
            out.write_all(tensor.bytes())?;
            at = offset + tensor.bytes().len() as u64;
        }
        copy(bytes, at, bytes.len(), out)?;
        if self.shards.last_key_value().is_some_and(|(last, _)| last == shard) {
            changes.1.values().try_for_each(|tensor| out.write_all(tensor.bytes()))?;
        }
        Ok(())
    }
}

pub(crate) fn copy(bytes: &Bytes, start: u64, end: u64, out: &mut dyn Write) -> Result<(), WriteError> {
    let mut at = start;
    while at < end {
        let stop = (at + COPY).min(end);
        out.write_all(&bytes.read(at, stop)?)?;
        at = stop;
    }
    Ok(())
}

/// An entry with another checksum (field 6); every other field as it was.
fn with_crc(value: Vec<u8>, crc: u32) -> Result<Vec<u8>, WriteError> {
    let bytes = Bytes::from_memory(value);
    let mut s = Scanner::new(&bytes);
    let all = s.all();
    let mut out = Vec::new();
    s.each_field(all, |s, field| {
        if field.number != 6 {
            out.extend(s.read(&field.span)?);
        }
        Ok::<_, wire::WireError>(())
    })?;
    wire::put_varint(&mut out, 6 << 3 | 5);
    out.extend_from_slice(&crc.to_le_bytes());
    Ok(out)
}
