//! The sorted table that a checkpoint's `.index` file is: LevelDB's format, read whole with every block's checksum
//! verified.
//!
//! Layout: blocks, each followed by a type byte (0 plain, 1 snappy) and a masked CRC-32C of content and type; at the end a
//! footer of 48 bytes with the places of two directory blocks and a magic number. In a block, keys share prefixes with
//! the key before. Source: <https://github.com/google/leveldb/blob/main/doc/table_format.md>.
//!
//! Everything is bounded by the file: blocks lie in order and do not overlap, a snappy block may not claim more than
//! snappy can shrink, and keys together stay in proportion to the file.

use crate::formats::source::Bytes;
use crate::formats::wire;

const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
const FOOTER: u64 = 48;
const TRAILER: u64 = 5;
/// Snappy's densest element: 64 bytes out of a copy of 3.
const MAX_SNAPPY_RATIO: usize = 22;
/// Longer keys are hostile: names of variables are far shorter.
const MAX_KEY: usize = 1 << 16;
/// All keys together, beyond a mebibyte, as a multiple of the file.
const MAX_KEYS_RATIO: u64 = 16;
/// Keys between two full ones when writing, as TensorFlow does it.
const RESTART_EVERY: usize = 16;
/// Content of a block before the next begins, as TensorFlow does it.
const BLOCK: usize = 1 << 18;

/// What is wrong with a table, and where in the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct TableError {
    pub what: String,
    pub offset: u64,
}

fn error(what: impl Into<String>, offset: u64) -> TableError {
    TableError { what: what.into(), offset }
}

/// A key and its value, as they stand in the table.
pub type Row = (Vec<u8>, Vec<u8>);

/// Whether the file ends like a table.
pub fn is_table(bytes: &Bytes) -> bool {
    let len = bytes.len();
    len >= FOOTER && bytes.read(len - 8, len).is_ok_and(|m| m == MAGIC.to_le_bytes())
}

/// All rows in order of their keys.
pub fn read(bytes: &Bytes) -> Result<Vec<Row>, TableError> {
    let len = bytes.len();
    if len < FOOTER {
        return Err(error(format!("{len} bytes are too few for an index (it may be cut off)"), 0));
    }
    if !is_table(bytes) {
        return Err(error("the mark that an index ends with is missing (it may be cut off)", len - 8));
    }
    let footer = bytes.read(len - FOOTER, len - 8).map_err(|e| error(e.to_string(), len - FOOTER))?;
    let mut at = 0;
    let bad = || error("the footer is damaged", len - FOOTER);
    // The first handle is the meta index, which TensorFlow leaves empty.
    handle(&footer, &mut at).ok_or_else(bad)?;
    let directory = handle(&footer, &mut at).ok_or_else(bad)?;
    let mut reader = Reader { bytes, end: len - FOOTER, keys_left: (1 << 20) + len.saturating_mul(MAX_KEYS_RATIO) };
    let mut rows: Vec<Row> = Vec::new();
    let mut free_from = 0;
    for (_, place) in reader.rows(directory)? {
        let mut at = 0;
        let block = handle(&place, &mut at).ok_or_else(|| error("a place in the directory is damaged", directory.0))?;
        if block.0 < free_from {
            return Err(error("two blocks overlap", block.0));
        }
        free_from = block.0.saturating_add(block.1);
        for row in reader.rows(block)? {
            if rows.last().is_some_and(|last| last.0 >= row.0) {
                return Err(error("its keys are not in order", block.0));
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Offset and size of a block.
type Handle = (u64, u64);

fn handle(bytes: &[u8], at: &mut usize) -> Option<Handle> {
    Some((varint(bytes, at)?, varint(bytes, at)?))
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for i in 0..10 {
        let b = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(b & 0x7f) << (7 * i).min(63);
        if b < 0x80 {
            return Some(value);
        }
    }
    None
}

struct Reader<'b> {
    bytes: &'b Bytes,
    /// Where blocks must end.
    end: u64,
    keys_left: u64,
}

impl Reader<'_> {
    /// A block's content, checked and unpacked.
    fn block(&self, (offset, size): Handle) -> Result<Vec<u8>, TableError> {
        let stop = offset.checked_add(size).and_then(|s| s.checked_add(TRAILER)).filter(|s| *s <= self.end);
        let stop = stop.ok_or_else(|| error("a block lies outside the file", offset))?;
        let mut raw = self.bytes.read(offset, stop).map_err(|e| error(e.to_string(), offset))?;
        let stored = raw.split_off(raw.len() - 4);
        let stored = u32::from_le_bytes(stored.try_into().unwrap_or_default());
        if mask(crc32c::crc32c(&raw)) != stored {
            return Err(error("the checksum of a block does not fit its content (a damaged file)", offset));
        }
        match raw.pop() {
            Some(0) => Ok(raw),
            Some(1) => {
                let unpacked = snap::raw::decompress_len(&raw).map_err(|e| error(e.to_string(), offset))?;
                if unpacked > raw.len().saturating_mul(MAX_SNAPPY_RATIO).saturating_add(64) {
                    return Err(error(format!("a block claims to hold {unpacked} bytes, which it cannot"), offset));
                }
                snap::raw::Decoder::new().decompress_vec(&raw).map_err(|e| error(e.to_string(), offset))
            }
            other => Err(error(format!("a block is packed in an unknown way ({})", other.unwrap_or_default()), offset)),
        }
    }

    fn rows(&mut self, handle: Handle) -> Result<Vec<Row>, TableError> {
        let block = self.block(handle)?;
        let bad = || error("a block is damaged", handle.0);
        // At the end: places of the full keys, and how many.
        let (body, count) = block.split_last_chunk::<4>().ok_or_else(bad)?;
        let restarts = (u32::from_le_bytes(*count) as usize).checked_mul(4).ok_or_else(bad)?;
        let body = body.get(..body.len().checked_sub(restarts).ok_or_else(bad)?).ok_or_else(bad)?;
        let (mut out, mut at) = (Vec::new(), 0);
        let mut key: Vec<u8> = Vec::new();
        while at < body.len() {
            let mut number = || varint(body, &mut at).and_then(|v| usize::try_from(v).ok()).ok_or_else(bad);
            let (shared, own, len) = (number()?, number()?, number()?);
            if shared > key.len() || own > MAX_KEY || shared + own > MAX_KEY {
                return Err(error("a key is damaged", handle.0));
            }
            let value_at = at.checked_add(own).ok_or_else(bad)?;
            let stop = value_at.checked_add(len).ok_or_else(bad)?;
            key.truncate(shared);
            key.extend_from_slice(body.get(at..value_at).ok_or_else(bad)?);
            let left = self.keys_left.checked_sub(key.len() as u64);
            self.keys_left = left.ok_or_else(|| error("its keys are out of proportion to the file", handle.0))?;
            out.push((key.clone(), body.get(value_at..stop).ok_or_else(bad)?.to_vec()));
            at = stop;
        }
        Ok(out)
    }
}

/// LevelDB's disguise of a checksum that is itself stored in checksummed data.
pub fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The bytes of a table with these rows, which must be in order of their keys.
pub fn write(rows: &[Row]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Block::default();
    let mut block = Block::default();
    let flush = |out: &mut Vec<u8>, block: &mut Block, last: &[u8], directory: &mut Block| {
        let place = std::mem::take(block).finish(out);
        directory.push(last, &place_bytes(place), 1);
    };
    let mut last: &[u8] = &[];
    for (key, value) in rows {
        block.push(key, value, RESTART_EVERY);
        last = key;
        if block.body.len() >= BLOCK {
            flush(&mut out, &mut block, last, &mut directory);
        }
    }
    if block.n > 0 || rows.is_empty() {
        flush(&mut out, &mut block, last, &mut directory);
    }
    let meta = Block::default().finish(&mut out);
    let directory = directory.finish(&mut out);
    let mut footer = [place_bytes(meta), place_bytes(directory)].concat();
    footer.resize(FOOTER as usize - 8, 0);
    footer.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend(footer);
    out
}

fn place_bytes((offset, size): Handle) -> Vec<u8> {
    let mut out = Vec::new();
    wire::put_varint(&mut out, offset);
    wire::put_varint(&mut out, size);
    out
}

#[derive(Default)]
struct Block {
    body: Vec<u8>,
    restarts: Vec<u32>,
    last: Vec<u8>,
    n: usize,
}

impl Block {
    fn push(&mut self, key: &[u8], value: &[u8], restart_every: usize) {
        let shared = if self.n.is_multiple_of(restart_every) {
            self.restarts.push(self.body.len() as u32);
            0
        } else {
            self.last.iter().zip(key).take_while(|(a, b)| a == b).count()
        };
        wire::put_varint(&mut self.body, shared as u64);
        wire::put_varint(&mut self.body, (key.len() - shared) as u64);
        wire::put_varint(&mut self.body, value.len() as u64);
        self.body.extend_from_slice(&key[shared..]);
        self.body.extend_from_slice(value);
        self.last = key.to_vec();
        self.n += 1;
    }

    /// Appends the block with its trailer.
    fn finish(mut self, out: &mut Vec<u8>) -> Handle {
        if self.restarts.is_empty() {
            self.restarts.push(0);
        }
        for r in &self.restarts {
            self.body.extend_from_slice(&r.to_le_bytes());
        }
        self.body.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        let place = (out.len() as u64, self.body.len() as u64);
        self.body.push(0);
        let crc = mask(crc32c::crc32c(&self.body));
        out.extend_from_slice(&self.body);
        out.extend_from_slice(&crc.to_le_bytes());
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: usize) -> Vec<Row> {
        (0..n).map(|i| (format!("layer/{i:06}/kernel").into_bytes(), vec![i as u8; i % 90])).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        for n in [0, 1, 15, 16, 17, 20_000] {
            let bytes = Bytes::from_memory(write(&rows(n)));
            assert_eq!(read(&bytes).unwrap(), rows(n));
        }
    }

    #[test]
    fn any_flipped_bit_in_a_block_is_noticed() {
        let good = write(&rows(40));
        let blocks = good.len() - FOOTER as usize;
        for i in (0..blocks).step_by(7) {
            let mut bad = good.clone();
            bad[i] ^= 0x10;
            let found = read(&Bytes::from_memory(bad));
            // The empty meta block is not read.
            assert!(found.is_err() || found == Ok(rows(40)), "byte {i}");
        }
    }

    /// A snappy block that claims a gigabyte, and one that is honest.
    #[test]
    fn snappy_blocks_are_bounded() {
        let plain = write(&rows(3));
        let mut at = plain.len() - 48;
        let footer = plain[at..].to_vec();
        at = 0;
        handle(&footer, &mut at).unwrap();
        let (start, _) = handle(&footer, &mut at).unwrap();
        let content = |claim: Option<u64>| {
            let first = Block::default();
            let mut block = first;
            rows(3).iter().for_each(|(k, v)| block.push(k, v, 16));
            let mut raw = Vec::new();
            let (_, size) = block.finish(&mut raw);
            let mut packed = snap::raw::Encoder::new().compress_vec(&raw[..size as usize]).unwrap();
            if let Some(claim) = claim {
                let mut lie = Vec::new();
                wire::put_varint(&mut lie, claim);
                lie.extend_from_slice(&packed[1..]);
                packed = lie;
            }
            packed
        };
        assert!(start > 0);
        let table = |packed: Vec<u8>| {
            let size = packed.len() as u64;
            let mut out = packed;
            out.push(1);
            let crc = mask(crc32c::crc32c(&out));
            out.extend_from_slice(&crc.to_le_bytes());
            let mut directory = Block::default();
            directory.push(b"z", &place_bytes((0, size)), 1);
            let place = directory.finish(&mut out);
            let mut footer = [place_bytes((0, 0)), place_bytes(place)].concat();
            footer.resize(40, 0);
            footer.extend_from_slice(&MAGIC.to_le_bytes());
            out.extend(footer);
            Bytes::from_memory(out)
        };
        assert_eq!(read(&table(content(None))).unwrap(), rows(3));
        assert!(read(&table(content(Some(1 << 30)))).unwrap_err().what.contains("claims"));
    }
}
