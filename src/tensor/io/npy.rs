//! One array in NumPy's `.npy` format, versions 1 to 3.
//!
//! Layout (numpy/lib/format.py): `\x93NUMPY`, major, minor, header length (u16, from version 2 u32, little endian), a
//! Python dict literal `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }` padded with blanks, then the elements.

use std::io::{BufReader, Read, Write};
use std::path::Path;

use half::bf16;

use crate::base::files;
use crate::tensor::{DType, Dims, Tensor, shape};

use super::ArrayError;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy itself refuses longer headers of untrusted files at 10 kB; structured types may need more, we never do.
const MAX_HEADER: usize = 1 << 16;

/// What stands before the elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub dtype: DType,
    /// The elements are stored with the opposite byte order of this machine.
    pub swapped: bool,
    /// Column-major storage.
    pub fortran: bool,
    pub shape: Dims,
}

impl Header {
    /// Bytes of all elements.
    pub fn byte_len(&self) -> Result<usize, ArrayError> {
        shape::element_count(&self.shape)
            .and_then(|n| n.checked_mul(self.dtype.size()))
            .filter(|&n| n <= isize::MAX as usize / 2)
            .ok_or_else(|| ArrayError::malformed(format!("shape {:?} is too large", &self.shape[..])))
    }
}

/// Reads one `.npy` file.
pub fn read(path: &Path) -> Result<Tensor, ArrayError> {
    let file = files::open(path)?;
    let available = file.metadata()?.len();
    read_from(&mut BufReader::new(file), available)
}

/// Reads header and elements; refuses before allocating where the header promises more than `available` bytes.
pub fn read_from(input: &mut impl Read, available: u64) -> Result<Tensor, ArrayError> {
    let header = read_header(input)?;
    let len = header.byte_len()?;
    if len as u64 > available {
        return Err(ArrayError::malformed(format!(
            "shape {:?} of {} needs {len} bytes, only {available} are there",
            &header.shape[..],
            header.dtype
        )));
    }
    let mut tensor = Tensor::zeros(header.dtype, &header.shape);
    input.read_exact(tensor.bytes_mut()).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            ArrayError::malformed(format!("the data ends before the {len} bytes of shape {:?}", &header.shape[..]))
        }
        _ => e.into(),
    })?;
    if header.swapped {
        tensor.bytes_mut().chunks_exact_mut(component_size(header.dtype)).for_each(<[u8]>::reverse);
    }
    if header.fortran && header.shape.len() > 1 {
        tensor = row_major(&tensor);
    }
    if header.dtype == DType::Bool {
        tensor.as_mut_slice::<u8>().iter_mut().for_each(|b| *b = u8::from(*b != 0));
    }
    Ok(tensor)
}

/// Bytes that swap as one: complex numbers are two parts.
fn component_size(dtype: DType) -> usize {
    match dtype {
        DType::C64 => 4,
        DType::C128 => 8,
        d => d.size(),
    }
}

/// Reads up to the first element.
pub fn read_header(input: &mut impl Read) -> Result<Header, ArrayError> {
    let mut start = [0u8; 8];
    let short = |_| ArrayError::malformed("the file ends inside the header");
    input.read_exact(&mut start).map_err(short)?;
    if &start[..6] != MAGIC {
        return Err(ArrayError::malformed("not a .npy array (its first bytes are not \\x93NUMPY)"));
    }
    let len = match start[6] {
        1 => {
            let mut n = [0; 2];
            input.read_exact(&mut n).map_err(short)?;
            usize::from(u16::from_le_bytes(n))
        }
        2 | 3 => {
            let mut n = [0; 4];
            input.read_exact(&mut n).map_err(short)?;
            u32::from_le_bytes(n) as usize
        }
        v => return Err(ArrayError::malformed(format!("unknown .npy version {v}"))),
    };
    if len > MAX_HEADER {
        return Err(ArrayError::malformed(format!("a header of {len} bytes is too long")));
    }
    let mut text = vec![0; len];
    input.read_exact(&mut text).map_err(short)?;
    parse_header(&String::from_utf8_lossy(&text))
}

fn parse_header(text: &str) -> Result<Header, ArrayError> {
    let bad = |what: &str| ArrayError::malformed(format!("{what} in the header {:?}", text.trim()));
    let after = |key: &str| -> Result<&str, ArrayError> {
        let quoted = [format!("'{key}'"), format!("\"{key}\"")];
        let at = quoted.iter().find_map(|q| text.find(q.as_str()).map(|i| i + q.len()));
        let rest = at.and_then(|i| text[i..].trim_start().strip_prefix(':'));
        rest.map(str::trim_start).ok_or_else(|| bad(&format!("no '{key}'")))
    };
    let descr = after("descr")?;
    let quote = descr.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let quote = quote.ok_or_else(|| bad("a structured element type, which is not supported,"))?;
    let descr = descr[1..].split(quote).next().unwrap_or_default();
    let (dtype, swapped) = parse_descr(descr)?;
    let fortran = match after("fortran_order")? {
        t if t.starts_with("True") => true,
        t if t.starts_with("False") => false,
        _ => return Err(bad("no truth value for 'fortran_order'")),
    };
    let dims = after("shape")?.strip_prefix('(').and_then(|s| s.split(')').next());
    let dims = dims.ok_or_else(|| bad("no shape tuple"))?;
    let shape = dims
        .split(',')
        .map(|d| d.trim().trim_end_matches('L'))
        .filter(|d| !d.is_empty())
        .map(|d| d.parse::<usize>().map_err(|_| bad("a shape that is not made of whole numbers")))
        .collect::<Result<Dims, _>>()?;
    Ok(Header { dtype, swapped, fortran, shape })
}

fn parse_descr(descr: &str) -> Result<(DType, bool), ArrayError> {
    let (order, kind) = match descr.as_bytes().first() {
        Some(b'<' | b'>' | b'|' | b'=') => descr.split_at(1),
        _ => ("=", descr),
    };
    let dtype = match kind {
        "f2" => DType::F16,
        "f4" => DType::F32,
        "f8" => DType::F64,
        "i1" => DType::I8,
        "i2" => DType::I16,
        "i4" => DType::I32,
        "i8" => DType::I64,
        "u1" => DType::U8,
        "u2" => DType::U16,
        "u4" => DType::U32,
        "u8" => DType::U64,
        "b1" | "?" => DType::Bool,
        "c8" => DType::C64,
        "c16" => DType::C128,
        _ => {
            return Err(ArrayError::malformed(format!(
                "element type '{descr}' is not supported (numbers and booleans are; save with another dtype)"
            )));
        }
    };
    let big_machine = cfg!(target_endian = "big");
    let swapped = match order {
        "<" => big_machine,
        ">" => !big_machine,
        _ => false,
    };
    Ok((dtype, swapped && component_size(dtype) > 1))
}

fn row_major(columns: &Tensor) -> Tensor {
    let dims = columns.shape();
    let size = columns.dtype().size();
    let mut out = Tensor::zeros(columns.dtype(), dims);
    let mut strides = vec![1usize; dims.len()];
    for i in 1..dims.len() {
        strides[i] = strides[i - 1] * dims[i - 1];
    }
    let from = columns.bytes();
    let mut index = vec![0usize; dims.len()];
    for chunk in out.bytes_mut().chunks_exact_mut(size) {
        let at: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        chunk.copy_from_slice(&from[at * size..(at + 1) * size]);
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}

/// Writes one `.npy` file atomically.
pub fn write(path: &Path, tensor: &Tensor) -> Result<(), ArrayError> {
    files::replace_with(path, |out| write_to(out, tensor))
}

/// Writes header and elements, little endian, row-major; `bfloat16` leaves as `float32`.
pub fn write_to(out: &mut impl Write, tensor: &Tensor) -> Result<(), ArrayError> {
    if tensor.dtype() == DType::BF16 {
        let wide: Vec<f32> = tensor.as_slice::<bf16>().iter().map(|v| v.to_f32()).collect();
        return write_to(out, &Tensor::from_slice(tensor.shape(), &wide));
    }
    let descr = descr_of(tensor.dtype())
        .ok_or_else(|| ArrayError::malformed(format!("{} cannot be written as a NumPy array", tensor.dtype())))?;
    let dims: String = match tensor.shape() {
        [one] => format!("{one},"),
        dims => dims.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    // Elements start at a multiple of 64 bytes, as NumPy aligns them.
    let total = (10 + header.len() + 1).next_multiple_of(64);
    header.extend(std::iter::repeat_n(' ', total - 10 - header.len() - 1));
    header.push('\n');
    let len = u16::try_from(header.len()).map_err(|_| ArrayError::malformed("a rank that .npy cannot hold"))?;
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    out.write_all(tensor.bytes())?;
    Ok(())
}

fn descr_of(dtype: DType) -> Option<&'static str> {
    let big = cfg!(target_endian = "big");
    Some(match (dtype, big) {
        (DType::I8, _) => "|i1",
        (DType::U8, _) => "|u1",
        (DType::Bool, _) => "|b1",
        (DType::F16, false) => "<f2",
        (DType::F32, false) => "<f4",
        (DType::F64, false) => "<f8",
        (DType::I16, false) => "<i2",
        (DType::I32, false) => "<i4",
        (DType::I64, false) => "<i8",
        (DType::U16, false) => "<u2",
        (DType::U32, false) => "<u4",
        (DType::U64, false) => "<u8",
        (DType::C64, false) => "<c8",
        (DType::C128, false) => "<c16",
        (DType::F16, true) => ">f2",
        (DType::F32, true) => ">f4",
        (DType::F64, true) => ">f8",
        (DType::I16, true) => ">i2",
        (DType::I32, true) => ">i4",
        (DType::I64, true) => ">i8",
        (DType::U16, true) => ">u2",
        (DType::U32, true) => ">u4",
        (DType::U64, true) => ">u8",
        (DType::C64, true) => ">c8",
        (DType::C128, true) => ">c16",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(t: &Tensor) -> Tensor {
        let mut bytes = Vec::new();
        write_to(&mut bytes, t).unwrap();
        assert_eq!((bytes.len() - t.bytes().len()) % 64, 0);
        let n = bytes.len() as u64;
        read_from(&mut bytes.as_slice(), n).unwrap()
    }

    #[test]
    fn round_trip() {
        for t in [
            Tensor::from_slice(&[2, 3], &[1f32, 2., 3., 4., 5., f32::NAN]),
            Tensor::scalar(7i64),
            Tensor::from_slice(&[0, 4], &[0u8; 0]),
            Tensor::from_bools(&[3], &[true, false, true]),
            Tensor::from_f64s(DType::F16, &[2], [0.5, -3.0]),
        ] {
            assert_eq!(round(&t), t);
        }
    }

    #[test]
    fn other_layouts() {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        let header = "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n";
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        for v in [1i16, 4, 2, 5, 3, 6] {
            bytes.extend(v.to_be_bytes());
        }
        let n = bytes.len() as u64;
        assert_eq!(read_from(&mut bytes.as_slice(), n).unwrap(), Tensor::from_slice(&[2, 3], &[1i16, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn broken_headers_explain_themselves() {
        let file = |h: &str| {
            let mut b = b"\x93NUMPY\x01\x00".to_vec();
            b.extend((h.len() as u16).to_le_bytes());
            b.extend(h.as_bytes());
            let n = b.len() as u64;
            read_from(&mut b.as_slice(), n).unwrap_err().to_string()
        };
        assert!(file("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999,), }").contains("bytes"));
        assert!(
            file("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999, 9999999999999), }")
                .contains("too large")
        );
        assert!(file("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }").contains("'|O'"));
        assert!(file("{}").contains("no 'descr'"));
        assert!(file("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }").contains("whole numbers"));
    }
}
