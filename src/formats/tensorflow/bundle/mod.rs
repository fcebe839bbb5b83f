//! A checkpoint's tensors: TensorFlow's TensorBundle, an index (`PREFIX.index`, a sorted table) and one or more shards of
//! bytes (`PREFIX.data-00000-of-00001`).
//!
//! Reading order: [`Bundle`] here, [`table`] (the index), [`proto`] (its messages), [`slices`] (tensors stored in
//! pieces), [`stored`] (a tensor's bytes), [`mod@write`], [`old`] (the format before this one). Opening reads the index alone; bytes are mapped or read when a
//! tensor is asked for, and their checksum is compared then.

pub mod old;
pub mod proto;
pub mod slices;
mod stored;
pub mod table;
pub mod write;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use prost::Message;

use crate::formats::source::{Bytes, Source};
use crate::tensor::{DType, Payload, Tensor, shape};

use super::tensor_proto::dtype_from_code;
use slices::Region;
use stored::{Piece, Sliced, StoredTensor};

/// What is wrong with a bundle, and in which file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {what}")]
pub struct BundleError {
    pub file: String,
    pub what: String,
}

/// A tensor of the bundle.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name that it was saved under.
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Bytes in the shards; those of the pieces together where it is stored in pieces.
    pub bytes: u64,
    /// Rows of the index that hold its bytes, and what of the tensor they are.
    parts: Vec<(usize, Region)>,
}

/// A row of the index whose bytes lie in a shard.
#[derive(Clone, Debug)]
struct Row {
    shard: i32,
    offset: u64,
    size: u64,
    crc: u32,
    dtype: DType,
    dims: Vec<usize>,
}

/// An opened bundle. Cheap to share; nothing of the tensors is in memory.
#[derive(Debug)]
pub struct Bundle {
    /// File names before `.index`, relative to the source that it was opened with.
    pub prefix: String,
    pub num_shards: i32,
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
    /// By position in the index; `None` for the header and for tensors in pieces.
    rows: Vec<Option<Row>>,
    /// The index as it stands in the file.
    table: Vec<table::Row>,
    index: Bytes,
    shards: BTreeMap<i32, Bytes>,
}

/// The name of a shard.
pub fn shard_name(prefix: &str, shard: i32, n: i32) -> String {
    format!("{prefix}.data-{shard:05}-of-{n:05}")
}

/// The prefix that a shard's or an index's name begins with.
pub fn prefix_of(name: &str) -> Option<&str> {
    if let Some(p) = name.strip_suffix(".index").or_else(|| name.strip_suffix(".meta")) {
        return Some(p);
    }
    let (prefix, numbers) = name.rsplit_once(".data-")?;
    let (a, b) = numbers.split_once("-of-")?;
    let is_number = |s: &str| s.len() >= 5 && s.bytes().all(|c| c.is_ascii_digit());
    (is_number(a) && is_number(b)).then_some(prefix)
}

impl Bundle {
    /// Opens `PREFIX.index` and the shards that it names.
    pub fn open_path(prefix: &Path) -> Result<Self, BundleError> {
        let name = prefix.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = prefix.parent().unwrap_or(Path::new(""));
        Self::open(&Source::of_folder(folder), &name)
    }

    /// As [`Bundle::open_path`], with a prefix beside `beside`.
    pub fn open(beside: &Source, prefix: &str) -> Result<Self, BundleError> {
        let file = format!("{prefix}.index");
        if !beside.has_sibling(&file) {
            let names = old::file_names(beside, prefix);
            if !names.is_empty() {
                return old::open(beside, prefix, &names);
            }
        }
        let fail = |what: String| BundleError { file: file.clone(), what };
        let index = beside.companion(&file).map_err(|e| fail(format!("the checkpoint's index cannot be read: {e}")))?;
        let table = table::read(&index).map_err(|e| fail(e.to_string()))?;
        let header = match table.first() {
            Some((key, value)) if key.is_empty() => {
                proto::Header::decode(&value[..]).map_err(|e| fail(format!("its header is damaged: {e}")))?
            }
            _ => return Err(fail("it has no header, so it is no checkpoint's index".into())),
        };
        if header.endianness != 0 {
            let what = "the checkpoint was written on a big-endian machine; its numbers would have to be turned \
                        around: load and save it with TensorFlow on such a machine, or export a frozen graph there";
            return Err(fail(what.into()));
        }
        if header.num_shards < 1 {
            return Err(fail(format!("its header names {} shards", header.num_shards)));
        }
        let mut out = Self {
            prefix: prefix.to_owned(),
            num_shards: header.num_shards,
            entries: Vec::new(),
            by_name: HashMap::new(),
            rows: vec![None; table.len()],
            table: Vec::new(),
            index,
            shards: BTreeMap::new(),
        };
        out.read_entries(&table, beside).map_err(|(file, what)| match file {
            Some(file) => BundleError { file, what },
            None => fail(what),
        })?;
        out.table = table;
        Ok(out)
    }

    fn read_entries(&mut self, table: &[table::Row], beside: &Source) -> Result<(), (Option<String>, String)> {
        let positions: HashMap<&[u8], usize> = table.iter().enumerate().map(|(i, (k, _))| (&k[..], i)).collect();
        let decode = |i: usize| {
            let named = |what: &str| (None, format!("the entry {:?}: {what}", table[i].0.escape_ascii().to_string()));
            proto::Entry::decode(&table[i].1[..]).map_err(|e| named(&format!("it is damaged ({e})")))
        };
        for (i, (key, _)) in table.iter().enumerate().skip(1) {
            let message = decode(i)?;
            // Keys of pieces begin with a zero byte; they are looked up by their tensor.
            let is_piece = key.first() == Some(&0);
            let name = String::from_utf8_lossy(key).into_owned();
            let fail = |what: String| (None, format!("the tensor {:?}: {what}", key.escape_ascii().to_string()));
            let dims = shape_of(&message).ok_or_else(|| fail("its shape makes no sense".into()))?;
            let dtype = dtype_from_code(message.dtype.try_into().unwrap_or(0));
            if message.slices.is_empty() {
                let row = self.row(&message, dtype, &dims, beside).map_err(|(file, what)| (file, fail(what).1))?;
                if !is_piece {
                    let parts = vec![(i, slices::whole(&dims))];
                    self.add(Entry { name, dtype, shape: dims, bytes: row.size, parts });
                }
                self.rows[i] = Some(row);
                continue;
            }
            let (mut parts, mut bytes) = (Vec::new(), 0u64);
            for slice in &message.slices {
                let region = slices::region(slice, &dims).ok_or_else(|| fail("a piece does not fit it".into()))?;
                let at = positions.get(&slices::key(&name, slice)[..]);
                let at = *at.ok_or_else(|| fail(format!("its piece at {region:?} is missing")))?;
                let piece = decode(at)?;
                let lengths: Vec<usize> = region.iter().map(|r| r.1).collect();
                if shape_of(&piece) != Some(lengths) || piece.dtype != message.dtype {
                    return Err(fail(format!("its piece at {region:?} has another shape or type")));
                }
                bytes = bytes.saturating_add(u64::try_from(piece.size).unwrap_or(0));
                parts.push((at, region));
            }
            self.add(Entry { name, dtype, shape: dims, bytes, parts });
        }
        Ok(())
    }

    fn add(&mut self, entry: Entry) {
        self.by_name.insert(entry.name.clone(), self.entries.len());
        self.entries.push(entry);
    }

    /// Checks where a row's bytes lie; opens the shard when it is the first of it.
    fn row(
        &mut self,
        message: &proto::Entry,
        dtype: DType,
        dims: &[usize],
        beside: &Source,
    ) -> Result<Row, (Option<String>, String)> {
        let id = message.shard_id;
        if !(0..self.num_shards).contains(&id) {
            return Err((None, format!("it lies in shard {id} of {}", self.num_shards)));
        }
        let name = shard_name(&self.prefix, id, self.num_shards);
        if let std::collections::btree_map::Entry::Vacant(shard) = self.shards.entry(id) {
            let bytes = beside.companion(&name);
            shard.insert(bytes.map_err(|e| (Some(name.clone()), format!("this shard cannot be read ({e})")))?);
        }
        let len = self.shards.get(&id).map_or(0, Bytes::len);
        let (offset, size) = (u64::try_from(message.offset), u64::try_from(message.size));
        let (Ok(offset), Ok(size)) = (offset, size) else {
            return Err((None, "its place is a negative number".into()));
        };
        if offset.checked_add(size).is_none_or(|end| end > len) {
            let what = format!("it lies at bytes {offset} to {}, the shard has {len}", offset.saturating_add(size));
            return Err((Some(name), format!("{what} (it may be cut off)")));
        }
        let count = shape::element_count(dims);
        let fits = match (dtype.size(), count) {
            // Each text has at least a byte for its length.
            (0, Some(n)) => dtype != DType::String || n as u64 <= size,
            (bytes, Some(n)) => n.checked_mul(bytes).is_some_and(|b| b as u64 == size),
            (_, None) => false,
        };
        if !fits {
            return Err((None, format!("a {dtype} tensor of shape {dims:?} cannot take {size} bytes")));
        }
        Ok(Row { shard: id, offset, size, crc: message.crc32c, dtype, dims: dims.to_vec() })
    }

    /// All tensors, in the order of their names.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(*self.by_name.get(name)?)
    }

    /// Bytes of all files together.
    pub fn len(&self) -> u64 {
        self.index.len() + self.shards.values().map(Bytes::len).sum::<u64>()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A tensor whose bytes are fetched when they are asked for.
    pub fn payload(&self, name: &str) -> Option<Payload> {
        let entry = self.get(name)?;
        self.region_payload(entry, &slices::whole(&entry.shape))
    }

    /// Part of a tensor (what a partitioned variable restores); `None` where nothing of it is stored.
    pub fn region_payload(&self, entry: &Entry, region: &Region) -> Option<Payload> {
        let dims: Vec<usize> = region.iter().map(|r| r.1).collect();
        let stored = |(at, of): &(usize, Region)| {
            let row = self.rows.get(*at)?.as_ref()?;
            let bytes = self.shards.get(&row.shard)?.clone();
            let tensor = StoredTensor {
                bytes,
                file: shard_name(&self.prefix, row.shard, self.num_shards),
                name: entry.name.clone(),
                offset: row.offset,
                size: row.size,
                crc: row.crc,
                dtype: row.dtype,
                dims: row.dims.clone(),
            };
            Some(Piece { tensor, region: of.clone() })
        };
        let mut pieces: Vec<Piece> = entry.parts.iter().filter_map(stored).collect();
        if let [Piece { region: only, .. }] = &pieces[..]
            && only == region
        {
            let tensor = pieces.remove(0).tensor;
            return Some(Payload::lazy(entry.dtype, &dims, Arc::new(tensor)));
        }
        if pieces.is_empty() || entry.dtype.size() == 0 {
            return None;
        }
        let sliced = Sliced { pieces, region: region.clone(), dtype: entry.dtype, dims: dims.clone() };
        Some(Payload::lazy(entry.dtype, &dims, Arc::new(sliced)))
    }

    fn load_row(&self, at: usize) -> Option<Tensor> {
        let row = self.rows.get(at)?.as_ref()?;
        self.shards.get(&row.shard)?.tensor_at(row.dtype, &row.dims, row.offset).ok()
    }
}

fn shape_of(message: &proto::Entry) -> Option<Vec<usize>> {
    dims_of(message.shape.as_ref())
}

fn dims_of(shape: Option<&proto::Shape>) -> Option<Vec<usize>> {
    let Some(shape) = shape else { return Some(Vec::new()) };
    if shape.unknown_rank || shape.dim.len() > 254 {
        return None;
    }
    shape.dim.iter().map(|d| usize::try_from(d.size).ok()).collect()
}
