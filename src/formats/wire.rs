//! A protobuf wire scanner over positioned reads. It never reads a field's bytes unless asked to: length-delimited
//! fields come as ranges of the file, so that opening a graph does not touch its tensors.
//!
//! Wire format: <https://protobuf.dev/programming-guides/encoding/>. Everything is bounded: a field must lie inside its
//! message, varints have at most ten bytes, groups are refused.

use std::ops::Range;

use super::source::Bytes;

/// Bytes fetched at once from a file; most nodes are smaller.
const WINDOW: usize = 16 << 10;

/// What is wrong with the bytes, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct WireError {
    pub what: &'static str,
    pub offset: u64,
}

/// One field's content. Ranges are absolute positions in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Varint(u64),
    Fixed64(u64),
    Bytes(Range<u64>),
    Fixed32(u32),
}

/// One field of a message; `span` also covers its tag and length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub number: u32,
    pub content: Content,
    pub span: Range<u64>,
}

impl Field {
    /// The range of a length-delimited field.
    pub fn range(&self) -> Result<Range<u64>, WireError> {
        match &self.content {
            Content::Bytes(r) => Ok(r.clone()),
            _ => Err(WireError { what: "a message or text was expected", offset: self.span.start }),
        }
    }

    pub fn varint(&self) -> Result<u64, WireError> {
        match self.content {
            Content::Varint(v) => Ok(v),
            _ => Err(WireError { what: "a number was expected", offset: self.span.start }),
        }
    }

    pub fn float(&self) -> Result<f32, WireError> {
        match self.content {
            Content::Fixed32(v) => Ok(f32::from_bits(v)),
            _ => Err(WireError { what: "a float was expected", offset: self.span.start }),
        }
    }
}

/// Reads fields one after the other out of one file; the window makes small fields cheap.
#[derive(Debug)]
pub struct Scanner<'a> {
    bytes: &'a Bytes,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> Scanner<'a> {
    pub fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, window: Vec::new(), window_start: 0 }
    }

    pub fn source(&self) -> &'a Bytes {
        self.bytes
    }

    /// The whole file as a message.
    pub fn all(&self) -> Range<u64> {
        0..self.bytes.len()
    }

    /// The next field of the message that ends at `end`; `None` where it ends. Moves `at` behind the field.
    pub fn field(&mut self, at: &mut u64, end: u64) -> Result<Option<Field>, WireError> {
        let start = *at;
        if start >= end {
            return Ok(None);
        }
        let error = |what| WireError { what, offset: start };
        let tag = self.varint(at, end)?;
        let number = u32::try_from(tag >> 3).ok().filter(|&n| n > 0 && n < 1 << 29).ok_or(error("no field number"))?;
        let content = match tag & 7 {
            0 => Content::Varint(self.varint(at, end)?),
            1 => Content::Fixed64(u64::from_le_bytes(self.fixed(at, end)?)),
            2 => {
                let len = self.varint(at, end)?;
                let stop = at.checked_add(len).filter(|&s| s <= end);
                let stop = stop.ok_or(error("a field is longer than its message (the file may be cut off)"))?;
                let range = *at..stop;
                *at = stop;
                Content::Bytes(range)
            }
            5 => Content::Fixed32(u32::from_le_bytes(self.fixed(at, end)?)),
            _ => return Err(error("an unknown kind of field")),
        };
        Ok(Some(Field { number, content, span: start..*at }))
    }

    /// All fields of a message, passed to `each` in file order.
    pub fn each_field<E: From<WireError>>(
        &mut self,
        message: Range<u64>,
        mut each: impl FnMut(&mut Self, Field) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = message.start;
        while let Some(field) = self.field(&mut at, message.end)? {
            each(self, field)?;
        }
        Ok(())
    }

    /// The bytes of a range.
    pub fn read(&mut self, range: &Range<u64>) -> Result<Vec<u8>, WireError> {
        let error = || WireError { what: "the file ends here", offset: range.start };
        let len = usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| error())?;
        if let Some(memory) = self.bytes.as_memory() {
            return Ok(memory.get(range.start as usize..range.end as usize).ok_or_else(error)?.to_vec());
        }
        if len <= WINDOW {
            return Ok(self.peek(range.start, len).ok_or_else(error)?.to_vec());
        }
        self.bytes.read(range.start, range.end).map_err(|_| error())
    }

    /// The text of a range; bytes that are no UTF-8 are replaced.
    pub fn text(&mut self, range: &Range<u64>) -> Result<String, WireError> {
        let bytes = self.read(range)?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }

    /// A varint at `at`, within a message that ends at `end`.
    pub fn varint(&mut self, at: &mut u64, end: u64) -> Result<u64, WireError> {
        let start = *at;
        let available = (end.saturating_sub(start)).min(10) as usize;
        let bytes = self.peek(start, available).ok_or(WireError { what: "the file ends here", offset: start })?;
        let mut value = 0u64;
        for (i, &b) in bytes.iter().enumerate() {
            value |= u64::from(b & 0x7f) << (7 * i as u32).min(63);
            if b < 0x80 {
                *at = start + i as u64 + 1;
                return Ok(value);
            }
        }
        Err(WireError { what: "a number that does not end", offset: start })
    }

    fn fixed<const N: usize>(&mut self, at: &mut u64, end: u64) -> Result<[u8; N], WireError> {
        let error = WireError { what: "a field is longer than its message", offset: *at };
        if end.saturating_sub(*at) < N as u64 {
            return Err(error);
        }
        let bytes = self.peek(*at, N).and_then(|b| b.try_into().ok()).ok_or(error)?;
        *at += N as u64;
        Ok(bytes)
    }

    /// `len` bytes at `at` without a copy of their own; `None` where the file ends before.
    fn peek(&mut self, at: u64, len: usize) -> Option<&[u8]> {
        if let Some(memory) = self.bytes.as_memory() {
            let start = usize::try_from(at).ok()?;
            return memory.get(start..start.checked_add(len)?);
        }
        let inside = at >= self.window_start && at + len as u64 <= self.window_start + self.window.len() as u64;
        if !inside {
            let left = self.bytes.len().checked_sub(at)?;
            let size = left.min(WINDOW.max(len) as u64) as usize;
            self.window.resize(size, 0);
            self.window_start = at;
            if self.bytes.read_exact_at(&mut self.window, at).is_err() {
                self.window.clear();
                return None;
            }
        }
        let start = (at - self.window_start) as usize;
        self.window.get(start..start + len)
    }
}

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a varint field.
pub fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Appends tag and length of a length-delimited field.
pub fn put_header(out: &mut Vec<u8>, number: u32, len: u64) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, len);
}

/// Appends a length-delimited field.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_header(out, number, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_put() {
        let mut out = Vec::new();
        put_number(&mut out, 3, 300);
        put_bytes(&mut out, 1, b"name");
        let bytes = Bytes::from_memory(out);
        let mut s = Scanner::new(&bytes);
        let (mut at, end) = (0, bytes.len());
        let f = s.field(&mut at, end).unwrap().unwrap();
        assert_eq!((f.number, f.varint().unwrap()), (3, 300));
        let f = s.field(&mut at, end).unwrap().unwrap();
        assert_eq!(s.text(&f.range().unwrap()).unwrap(), "name");
        assert_eq!(s.field(&mut at, end).unwrap(), None);
    }

    #[test]
    fn refuses_lengths_beyond_the_message_and_endless_numbers() {
        for bad in
            [&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0x08, 0x80], &[0xff; 12], &[0x0b], &[0x00, 0x01], &[0x0d, 1]]
        {
            let bytes = Bytes::from_memory(bad.to_vec());
            let mut at = 0;
            assert!(Scanner::new(&bytes).field(&mut at, bytes.len()).is_err(), "{bad:?}");
        }
    }
}
