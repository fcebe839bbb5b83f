//! A tensor's bytes in a shard, whole or put together from pieces.

use crate::formats::source::Bytes;
use crate::tensor::{DType, LazyTensor, PayloadError, Tensor, shape};

use super::slices::{Region, copy_shared};
use super::table::mask;

/// Bytes whose checksum is computed at once.
const CHUNK: u64 = 1 << 20;
/// A variable that is put together from pieces may not become larger than this.
const MAX_ASSEMBLED: usize = 1 << 36;

/// A tensor that lies in one piece.
pub struct StoredTensor {
    pub bytes: Bytes,
    /// The shard's name, for messages.
    pub file: String,
    pub name: String,
    pub offset: u64,
    pub size: u64,
    pub crc: u32,
    pub dtype: DType,
    pub dims: Vec<usize>,
}

impl std::fmt::Debug for StoredTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} at byte {} of {}", self.dtype, self.dims, self.offset, self.file)
    }
}

impl LazyTensor for StoredTensor {
    fn load(&self) -> Result<Tensor, PayloadError> {
        match (self.dtype, self.dtype.size()) {
            (DType::String, _) => self.strings(),
            (_, 0) => Err(self.error(&format!("values of type {} are kept but not read", self.dtype))),
            _ => {
                let tensor = self.bytes.tensor_at(self.dtype, &self.dims, self.offset);
                let tensor = tensor.map_err(|e| self.error(&e.to_string()))?;
                self.check(crc32c::crc32c(tensor.bytes()))?;
                Ok(tensor)
            }
        }
    }

    fn all_equal(&self) -> Result<bool, PayloadError> {
        let size = self.dtype.size();
        if size == 0 {
            return Ok(self.load()?.all_equal());
        }
        // In growing pieces: most variables differ within the first few elements.
        let end = self.offset + self.size;
        let (mut at, mut piece, mut first) = (self.offset, 4096u64, Vec::new());
        while at < end {
            let stop = (at + piece).min(end);
            let bytes = self.bytes.read(at, stop).map_err(|e| self.error(&e.to_string()))?;
            if first.is_empty() {
                first = bytes.get(..size).unwrap_or(&bytes).to_vec();
            }
            if bytes.chunks(size).any(|c| c != first) {
                return Ok(false);
            }
            (at, piece) = (stop, (piece * 4).min(CHUNK));
        }
        Ok(true)
    }
}

impl StoredTensor {
    fn error(&self, what: &str) -> PayloadError {
        PayloadError(format!("{}: the tensor {} at byte {}: {what}", self.file, self.name, self.offset))
    }

    fn check(&self, crc: u32) -> Result<(), PayloadError> {
        match mask(crc) == self.crc {
            true => Ok(()),
            false => Err(self.error("its checksum does not fit its bytes (a damaged file)")),
        }
    }

    /// All lengths as varints, a checksum of the lengths, then all bytes (tensor_bundle.cc, `ReadStringTensor`).
    fn strings(&self) -> Result<Tensor, PayloadError> {
        let bad = || self.error("its texts are damaged");
        let all = self.bytes.read(self.offset, self.offset + self.size).map_err(|e| self.error(&e.to_string()))?;
        let count = shape::element_count(&self.dims).filter(|n| *n <= all.len()).ok_or_else(bad)?;
        let (mut at, mut crc) = (0usize, 0u32);
        let mut lengths = Vec::with_capacity(count);
        for _ in 0..count {
            let (mut value, mut shift) = (0u64, 0);
            loop {
                let b = *all.get(at).filter(|_| shift < 64).ok_or_else(bad)?;
                at += 1;
                value |= u64::from(b & 0x7f) << shift;
                shift += 7;
                if b < 0x80 {
                    break;
                }
            }
            crc = match u32::try_from(value) {
                Ok(short) => crc32c::crc32c_append(crc, &short.to_le_bytes()),
                Err(_) => crc32c::crc32c_append(crc, &value.to_le_bytes()),
            };
            lengths.push(usize::try_from(value).map_err(|_| bad())?);
        }
        let stored = all.get(at..at + 4).ok_or_else(bad)?;
        if stored != mask(crc).to_le_bytes() {
            return Err(self.error("the checksum of its texts' lengths does not fit (a damaged file)"));
        }
        crc = crc32c::crc32c_append(crc, stored);
        at += 4;
        let mut texts = Vec::with_capacity(count);
        for len in lengths {
            let stop = at.checked_add(len).ok_or_else(bad)?;
            texts.push(all.get(at..stop).ok_or_else(bad)?.to_vec());
            at = stop;
        }
        self.check(texts.iter().fold(crc, |c, t| crc32c::crc32c_append(c, t)))?;
        Ok(Tensor::from_strings(&self.dims, texts))
    }
}

/// Part of a tensor, and which.
#[derive(Debug)]
pub struct Piece {
    pub tensor: StoredTensor,
    pub region: Region,
}

/// A region of a tensor that lies in pieces, or part of a tensor that lies in one.
#[derive(Debug)]
pub struct Sliced {
    pub pieces: Vec<Piece>,
    pub region: Region,
    pub dtype: DType,
    pub dims: Vec<usize>,
}

impl LazyTensor for Sliced {
    fn load(&self) -> Result<Tensor, PayloadError> {
        let name = self.pieces.first().map_or("", |p| &p.tensor.name);
        let fail = |what: String| PayloadError(format!("the tensor {name}: {what}"));
        let count = shape::element_count(&self.dims).filter(|n| n.saturating_mul(self.dtype.size()) <= MAX_ASSEMBLED);
        let count = count.ok_or_else(|| fail("its shape is too large".into()))?;
        let stored: u64 = self.pieces.iter().map(|p| p.tensor.size).sum();
        if (count * self.dtype.size()) as u64 > stored {
            return Err(fail("its pieces hold less than its shape needs".into()));
        }
        let mut out = Tensor::zeros(self.dtype, &self.dims);
        let mut copied = 0;
        for piece in &self.pieces {
            let is_apart = piece.region.iter().zip(&self.region).any(|(&(a, n), &(b, m))| a + n <= b || b + m <= a);
            if !is_apart {
                copied += copy_shared(&piece.tensor.load()?, &piece.region, &mut out, &self.region);
            }
        }
        match copied >= count {
            true => Ok(out),
            false => Err(fail(format!("its pieces hold {copied} of {count} elements"))),
        }
    }
}
