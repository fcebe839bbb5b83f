//! IDX files (MNIST and its relatives): `00 00 type rank`, then the dimensions as big-endian 32-bit numbers, then the elements,
//! big-endian (yann.lecun.com/exdb/mnist).

use std::path::{Path, PathBuf};

use crate::base::files;
use crate::tensor::{DType, Tensor, shape};

use super::source::DataError;

/// Whether a path looks like an IDX file: `*.idx`, or a name with `idx1`, `idx3`, … as MNIST's have.
pub fn is_idx(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let numbered = name.find("idx").is_some_and(|i| name[i + 3..].starts_with(|c: char| c.is_ascii_digit()));
    name.ends_with(".idx") || (numbered && !name.ends_with(".gz"))
}

/// The file of labels that belongs to a file of images: `images` becomes `labels` and `idx3` becomes `idx1` in its name.
pub fn labels_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let other = name.replace("images", "labels").replace("idx3", "idx1");
    let other = path.with_file_name(&other);
    (other != path && files::exists(&other)).then_some(other)
}

/// Reads one file. Errors: not IDX, or shorter than its dimensions say.
pub fn read(path: &Path) -> Result<Tensor, DataError> {
    let bytes = files::read(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    parse(&bytes).map_err(|what| DataError::File { path: path.to_owned(), what })
}

fn parse(bytes: &[u8]) -> Result<Tensor, String> {
    let dtype = match bytes {
        [0x1f, 0x8b, ..] => return Err("a gzip file; unpack it first (gunzip)".to_owned()),
        [0, 0, 0x08, ..] => DType::U8,
        [0, 0, 0x09, ..] => DType::I8,
        [0, 0, 0x0b, ..] => DType::I16,
        [0, 0, 0x0c, ..] => DType::I32,
        [0, 0, 0x0d, ..] => DType::F32,
        [0, 0, 0x0e, ..] => DType::F64,
        _ => return Err("not an IDX file (it does not begin with 00 00 and a type)".to_owned()),
    };
    let rank = bytes.get(3).copied().map_or(0, usize::from);
    let header = 4 + 4 * rank;
    let dims = bytes.get(4..header).ok_or("the file ends inside its header")?;
    let dims: Vec<usize> =
        dims.chunks_exact(4).map(|d| u32::from_be_bytes([d[0], d[1], d[2], d[3]]) as usize).collect();
    let wanted = shape::element_count(&dims).and_then(|n| n.checked_mul(dtype.size()));
    let body = &bytes[header..];
    match wanted {
        Some(n) if n <= body.len() => {
            let mut body = body[..n].to_vec();
            if cfg!(target_endian = "little") {
                body.chunks_exact_mut(dtype.size()).for_each(<[u8]>::reverse);
            }
            Tensor::from_bytes(dtype, &dims, &body).ok_or_else(|| "the elements do not fit the dimensions".to_owned())
        }
        _ => Err(format!("dimensions {dims:?} of {dtype} need more bytes than the {} that are there", body.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_big_endian() {
        let bytes = [0, 0, 0x0b, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 1, 0];
        assert_eq!(parse(&bytes).unwrap(), Tensor::from_slice(&[1, 2], &[5i16, 256]));
        assert!(parse(&bytes[..15]).unwrap_err().contains("need more bytes"));
        assert!(parse(&[0, 0, 8, 200, 1]).unwrap_err().contains("header"));
        assert!(parse(&[0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]).is_err());
        assert!(parse(&[0x1f, 0x8b, 8, 0]).unwrap_err().contains("gunzip"));
    }

    #[test]
    fn names_are_those_of_the_data_sets() {
        assert!(is_idx(Path::new("a/train-images-idx3-ubyte")));
        assert!(is_idx(Path::new("train-images.idx3-ubyte")) && is_idx(Path::new("x.idx")));
        assert!(!is_idx(Path::new("idx.csv")) && !is_idx(Path::new("train-images-idx3-ubyte.gz")));
    }
}
