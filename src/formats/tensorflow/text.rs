//! GraphDef and SavedModel in protobuf's text form (`.pbtxt`), turned into the binary form, so that there is one reader.
//!
//! Syntax: <https://protobuf.dev/reference/protobuf/textformat-spec/>. Fields that are not in the tables are left out and
//! counted.

use crate::formats::wire;

use Kind::{Boolean, Bytes, Double, Float, Message, Number, Type, Word, ZigZag};

use super::text_meta::{OP_DEF, SAVED_MODEL};

/// Messages deeper than this are hostile.
const MAX_DEPTH: usize = 64;

/// What is wrong with the text, and in which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} in line {line}")]
pub struct TextError {
    pub what: String,
    pub line: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Bytes,
    Number,
    Boolean,
    Float,
    Double,
    /// An element type by name (`DT_FLOAT`).
    Type,
    /// One of a few words with their numbers.
    Word(&'static [(&'static str, u64)]),
    /// A number whose sign is its lowest bit.
    ZigZag,
    Message(fn() -> &'static [Field]),
}

/// Name, field number, kind.
pub(super) type Field = (&'static str, u32, Kind);

pub(super) const GRAPH: &[Field] = &[
    ("node", 1, Message(|| NODE)),
    ("library", 2, Message(|| LIBRARY)),
    ("version", 3, Number),
    ("versions", 4, Message(|| VERSIONS)),
];
pub(super) const VERSIONS: &[Field] =
    &[("producer", 1, Number), ("min_consumer", 2, Number), ("bad_consumers", 3, Number)];
const NODE: &[Field] = &[
    ("name", 1, Bytes),
    ("op", 2, Bytes),
    ("input", 3, Bytes),
    ("device", 4, Bytes),
    ("attr", 5, Message(|| ATTR_ENTRY)),
];
const ATTR_ENTRY: &[Field] = &[("key", 1, Bytes), ("value", 2, Message(|| ATTR))];
pub(super) const ATTR: &[Field] = &[
    ("list", 1, Message(|| LIST)),
    ("s", 2, Bytes),
    ("i", 3, Number),
    ("f", 4, Float),
    ("b", 5, Boolean),
    ("type", 6, Type),
    ("shape", 7, Message(|| SHAPE)),
    ("tensor", 8, Message(|| TENSOR)),
    ("placeholder", 9, Bytes),
    ("func", 10, Message(|| NAME_ATTRS)),
];
const LIST: &[Field] = &[
    ("s", 2, Bytes),
    ("i", 3, Number),
    ("f", 4, Float),
    ("b", 5, Boolean),
    ("type", 6, Type),
    ("shape", 7, Message(|| SHAPE)),
    ("tensor", 8, Message(|| TENSOR)),
    ("func", 9, Message(|| NAME_ATTRS)),
];
const NAME_ATTRS: &[Field] = &[("name", 1, Bytes), ("attr", 2, Message(|| ATTR_ENTRY))];
pub(super) const SHAPE: &[Field] = &[("dim", 2, Message(|| DIM)), ("unknown_rank", 3, Boolean)];
const DIM: &[Field] = &[("size", 1, Number), ("name", 2, Bytes)];
pub(super) const TENSOR: &[Field] = &[
    ("dtype", 1, Type),
    ("tensor_shape", 2, Message(|| SHAPE)),
    ("version_number", 3, Number),
    ("tensor_content", 4, Bytes),
    ("float_val", 5, Float),
    ("double_val", 6, Double),
    ("int_val", 7, Number),
    ("string_val", 8, Bytes),
    ("scomplex_val", 9, Float),
    ("int64_val", 10, Number),
    ("bool_val", 11, Boolean),
    ("dcomplex_val", 12, Double),
    ("half_val", 13, Number),
    ("uint32_val", 16, Number),
    ("uint64_val", 17, Number),
];
const LIBRARY: &[Field] = &[("function", 1, Message(|| FUNCTION)), ("gradient", 2, Message(|| GRADIENT))];
const GRADIENT: &[Field] = &[("function_name", 1, Bytes), ("gradient_func", 2, Bytes)];
const FUNCTION: &[Field] = &[
    ("signature", 1, Message(|| OP_DEF)),
    ("node_def", 3, Message(|| NODE)),
    ("ret", 4, Message(|| TEXT_ENTRY)),
    ("attr", 5, Message(|| ATTR_ENTRY)),
    ("control_ret", 6, Message(|| TEXT_ENTRY)),
    ("arg_attr", 7, Message(|| ARG_ENTRY)),
];
pub(super) const TEXT_ENTRY: &[Field] = &[("key", 1, Bytes), ("value", 2, Bytes)];
const ARG_ENTRY: &[Field] = &[("key", 1, Number), ("value", 2, Message(|| ARG_ATTRS))];
const ARG_ATTRS: &[Field] = &[("attr", 1, Message(|| ATTR_ENTRY))];

/// TensorFlow's element types by code (types.proto).
pub(super) const TYPES: &[&str] = &[
    "INVALID",
    "FLOAT",
    "DOUBLE",
    "INT32",
    "UINT8",
    "INT16",
    "INT8",
    "STRING",
    "COMPLEX64",
    "INT64",
    "BOOL",
    "QINT8",
    "QUINT8",
    "QINT32",
    "BFLOAT16",
    "QINT16",
    "QUINT16",
    "UINT16",
    "COMPLEX128",
    "HALF",
    "RESOURCE",
    "VARIANT",
    "UINT32",
    "UINT64",
    "FLOAT8_E5M2",
    "FLOAT8_E4M3FN",
];

/// Whether the text starts like a GraphDef.
pub fn looks_like_graph(start: &[u8]) -> bool {
    looks_like(start, GRAPH)
}

/// Whether the text starts like a SavedModel.
pub fn looks_like_saved_model(start: &[u8]) -> bool {
    looks_like(start, SAVED_MODEL)
}

fn looks_like(start: &[u8], fields: &[Field]) -> bool {
    let mut parser = Parser { text: start, at: 0, n_unknown: 0 };
    let Some(name) = parser.word() else { return false };
    let is_known = fields.iter().any(|(n, ..)| n.as_bytes() == name);
    is_known && matches!(parser.peek(), Some(b'{' | b'<' | b':'))
}

/// The binary form of a GraphDef, and how many fields were left out.
pub fn to_wire(text: &[u8]) -> Result<(Vec<u8>, usize), TextError> {
    message_to_wire(text, GRAPH)
}

/// As [`to_wire`], of a SavedModel.
pub fn saved_model_to_wire(text: &[u8]) -> Result<(Vec<u8>, usize), TextError> {
    message_to_wire(text, SAVED_MODEL)
}

fn message_to_wire(text: &[u8], fields: &[Field]) -> Result<(Vec<u8>, usize), TextError> {
    let mut parser = Parser { text, at: 0, n_unknown: 0 };
    let mut out = Vec::with_capacity(text.len() / 2);
    parser.message(fields, None, &mut out, 0)?;
    Ok((out, parser.n_unknown))
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    n_unknown: usize,
}

impl<'t> Parser<'t> {
    fn error(&self, what: impl Into<String>) -> TextError {
        let line = 1 + self.text[..self.at.min(self.text.len())].iter().filter(|&&b| b == b'\n').count();
        TextError { what: what.into(), line }
    }

    /// The next byte that is neither space nor comment.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.text.get(self.at)? {
                b if b.is_ascii_whitespace() => self.at += 1,
                b'#' => {
                    let rest = &self.text[self.at..];
                    self.at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
                }
                b => return Some(b),
            }
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// A name or a number.
    fn word(&mut self) -> Option<&'t [u8]> {
        self.peek()?;
        let rest = &self.text[self.at..];
        let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'+');
        let len = rest.iter().position(|b| !is_part(b)).unwrap_or(rest.len());
        self.at += len;
        (len > 0).then(|| &rest[..len])
    }

    /// What stands before the closing bracket.
    fn bracketed(&mut self) -> Result<&'t [u8], TextError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|&b| b == b']').ok_or_else(|| self.error("a name that does not end"))?;
        self.at += len + 1;
        Ok(&rest[..len])
    }

    /// Fields up to `close` (or the end of the text).
    fn message(
        &mut self,
        fields: &[Field],
        close: Option<u8>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), TextError> {
        if depth > MAX_DEPTH {
            return Err(self.error("messages nested too deep"));
        }
        loop {
            match (self.peek(), close) {
                (None, None) => return Ok(()),
                (None, Some(_)) => return Err(self.error("the text ends inside a message (it may be cut off)")),
                (Some(b), Some(c)) if b == c => {
                    self.at += 1;
                    return Ok(());
                }
                _ => {}
            }
            let name = match self.take(b'[') {
                // An extension, or a message that an Any holds: by its full name, which no table has.
                true => self.bracketed()?,
                false => self.word().ok_or_else(|| self.error("a field name was expected"))?,
            };
            let field = fields.iter().find(|(n, ..)| n.as_bytes() == name).copied();
            let has_colon = self.take(b':');
            if self.take(b'[') {
                while !self.take(b']') {
                    self.value(field, true, out, depth)?;
                    self.take(b',');
                }
            } else {
                self.value(field, has_colon, out, depth)?;
            }
            let _ = self.take(b',') || self.take(b';');
        }
    }

    fn value(
        &mut self,
        field: Option<Field>,
        has_colon: bool,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), TextError> {
        let close = match self.peek() {
            Some(b'{') => Some(b'}'),
            Some(b'<') => Some(b'>'),
            _ => None,
        };
        if let Some(close) = close {
            self.at += 1;
            let mut inner = Vec::new();
            match field {
                Some((_, number, Message(fields))) => {
                    self.message(fields(), Some(close), &mut inner, depth + 1)?;
                    wire::put_bytes(out, number, &inner);
                }
                Some((name, ..)) => return Err(self.error(format!("{name} is no message"))),
                None => {
                    // One field, whatever it holds.
                    let before = self.n_unknown;
                    self.message(&[], Some(close), &mut inner, depth + 1)?;
                    self.n_unknown = before + 1;
                }
            }
            return Ok(());
        }
        if !has_colon {
            return Err(self.error("a colon or a message was expected"));
        }
        if matches!(self.peek(), Some(b'"' | b'\'')) {
            let bytes = self.string()?;
            match field {
                Some((_, number, Bytes)) => wire::put_bytes(out, number, &bytes),
                Some((name, ..)) => return Err(self.error(format!("{name} is no text"))),
                None => self.n_unknown += 1,
            }
            return Ok(());
        }
        let word = self.word().ok_or_else(|| self.error("a value was expected"))?;
        let word = std::str::from_utf8(word).map_err(|_| self.error("a value that is no text"))?;
        let Some((name, number, kind)) = field else {
            self.n_unknown += 1;
            return Ok(());
        };
        put_scalar(out, number, kind, word).ok_or_else(|| self.error(format!("{name} cannot be {word}")))
    }

    /// One or more quoted strings, joined.
    fn string(&mut self) -> Result<Vec<u8>, TextError> {
        let mut out = Vec::new();
        while let Some(quote @ (b'"' | b'\'')) = self.peek() {
            self.at += 1;
            loop {
                let byte = *self.text.get(self.at).ok_or_else(|| self.error("a text that does not end"))?;
                self.at += 1;
                match byte {
                    b if b == quote => break,
                    b'\\' => self.escape(&mut out)?,
                    b => out.push(b),
                }
            }
        }
        Ok(out)
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), TextError> {
        let byte = *self.text.get(self.at).ok_or_else(|| self.error("a text that does not end"))?;
        self.at += 1;
        let plain = match byte {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            b'0'..=b'7' => return self.digits(out, 8, 3, true),
            b'x' | b'X' => return self.digits(out, 16, 2, false),
            other => other,
        };
        out.push(plain);
        Ok(())
    }

    /// Up to `most` digits; `back` where the first one was already taken.
    fn digits(&mut self, out: &mut Vec<u8>, radix: u32, most: usize, back: bool) -> Result<(), TextError> {
        self.at -= usize::from(back);
        let (mut value, mut n) = (0u32, 0);
        while n < most
            && let Some(d) = self.text.get(self.at).and_then(|b| char::from(*b).to_digit(radix))
        {
            value = value * radix + d;
            (self.at, n) = (self.at + 1, n + 1);
        }
        out.push(u8::try_from(value).map_err(|_| self.error("an escape beyond one byte"))?);
        Ok(())
    }
}

fn put_scalar(out: &mut Vec<u8>, number: u32, kind: Kind, word: &str) -> Option<()> {
    match kind {
        Number => wire::put_number(out, number, integer(word)?),
        Boolean => wire::put_number(out, number, u64::from(matches!(word, "true" | "True" | "t" | "1"))),
        Type => wire::put_number(out, number, type_code(word)?),
        Word(words) => {
            let known = words.iter().find(|(w, _)| *w == word).map(|(_, code)| *code);
            wire::put_number(out, number, known.or_else(|| integer(word))?);
        }
        ZigZag => {
            let value = integer(word)? as i64;
            wire::put_number(out, number, ((value << 1) ^ (value >> 63)) as u64);
        }
        Float => {
            wire::put_varint(out, u64::from(number) << 3 | 5);
            out.extend_from_slice(
                &(word.trim_end_matches(['f', 'F']).parse::<f32>().or(word.parse()).ok()?).to_le_bytes(),
            );
        }
        Double => {
            wire::put_varint(out, u64::from(number) << 3 | 1);
            out.extend_from_slice(&word.parse::<f64>().ok()?.to_le_bytes());
        }
        Bytes | Message(_) => return None,
    }
    Some(())
}

fn integer(word: &str) -> Option<u64> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(d) => (true, d),
        None => (false, word),
    };
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

/// `DT_FLOAT`, `DT_FLOAT_REF`, or the code itself.
fn type_code(word: &str) -> Option<u64> {
    let Some(name) = word.strip_prefix("DT_") else { return integer(word) };
    let (name, offset) = match name.strip_suffix("_REF") {
        Some(n) => (n, 100),
        None => (name, 0),
    };
    // A type that came later than this table is kept as not known.
    Some(TYPES.iter().position(|t| *t == name).map_or(0, |c| c as u64 + offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_the_same_bytes() {
        let text = br#"node { name: "a" op: 'Const' # comment
            attr { key: "dtype" value { type: DT_INT32 } }
            attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape { dim { size: 2 } } int_val: [7, -1] } } } }
            versions { producer: 27 } debug_info { whatever: 3 }"#;
        let (wire, n_unknown) = to_wire(text).unwrap();
        assert_eq!(n_unknown, 1);
        assert!(looks_like_graph(text));
        let bytes = crate::formats::source::Bytes::from_memory(wire);
        let mut s = crate::formats::wire::Scanner::new(&bytes);
        let all = s.all();
        let mut report = crate::base::Reporter::default();
        let read = super::super::graph_def::read_graph(&mut s, all, &mut report).unwrap();
        assert_eq!(read.producer, 27);
        let constant = read.graph.constants().next().unwrap().1;
        assert_eq!(constant.payload.load().unwrap().to_i64s().unwrap(), [7, -1]);
    }

    #[test]
    fn errors_name_the_line() {
        let error = to_wire(b"node {\n name: 3x }").unwrap_err();
        assert_eq!(error.line, 2, "{error}");
        assert!(to_wire(b"node { name: \"a").is_err());
        assert!(to_wire(b"node { attr { key: \"\\777\" } }").is_err());
    }
}
