//! Several named arrays in a zip archive of `.npy` members, as `numpy.savez` writes them. Names may hold `/` and `:`.

use std::fmt;
use std::io::{BufReader, Cursor};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::base::files::{self, File};
use crate::tensor::Tensor;

use super::{ArrayError, Arrays, npy};

/// Deflate cannot shrink below this ratio, so a member that claims more than it times its stored size lies.
const MAX_DEFLATE_RATIO: u64 = 1040;

/// An open archive; arrays are read one by one.
pub struct NpzReader {
    archive: ZipArchive<BufReader<File>>,
    names: Vec<String>,
}

impl fmt::Debug for NpzReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NpzReader").field("names", &self.names).finish()
    }
}

fn zip_error(e: zip::result::ZipError) -> ArrayError {
    match e {
        zip::result::ZipError::Io(e) => ArrayError::Io(e),
        other => ArrayError::malformed(format!("not a readable .npz archive: {other}")),
    }
}

impl NpzReader {
    pub fn open(path: &Path) -> Result<Self, ArrayError> {
        let archive = ZipArchive::new(BufReader::new(files::open(path)?)).map_err(zip_error)?;
        let names = archive.file_names().map(|n| n.strip_suffix(".npy").unwrap_or(n).to_owned()).collect();
        Ok(Self { archive, names })
    }

    /// Names without `.npy`, in the order of the archive.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn read(&mut self, index: usize) -> Result<Tensor, ArrayError> {
        let name = self.names.get(index).cloned().unwrap_or_default();
        let mut member = self.archive.by_index(index).map_err(|e| zip_error(e).of(&name))?;
        let available = member.size().min(member.compressed_size().saturating_mul(MAX_DEFLATE_RATIO));
        npy::read_from(&mut member, available).map_err(|e| e.of(&name))
    }

    pub fn read_all(&mut self) -> Result<Arrays, ArrayError> {
        let mut out = Arrays::new();
        for i in 0..self.names.len() {
            let tensor = self.read(i)?;
            out.insert(self.names[i].clone(), tensor);
        }
        Ok(out)
    }
}

/// Writes a compressed archive atomically.
pub fn write<'a>(path: &Path, arrays: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<(), ArrayError> {
    // Compressed in memory: the archive's directory needs seeking, the atomic writer only appends.
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in arrays {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1))
            .large_file(tensor.bytes().len() >= 1 << 31);
        zip.start_file(format!("{name}.npy"), options).map_err(|e| zip_error(e).of(name))?;
        npy::write_to(&mut zip, tensor).map_err(|e| e.of(name))?;
    }
    let bytes = zip.finish().map_err(zip_error)?.into_inner();
    Ok(files::replace(path, &bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    #[test]
    fn round_trip_with_odd_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let a = Tensor::from_slice(&[2], &[1f32, 2.]);
        let b = Tensor::from_f64s(DType::BF16, &[1], [2.0]);
        write(&path, [("loss/Mean:0", &a), ("x", &b)]).unwrap();
        let got = super::super::read(&path).unwrap();
        assert_eq!(got.keys().map(String::as_str).collect::<Vec<_>>(), ["loss/Mean:0", "x"]);
        assert_eq!(got["loss/Mean:0"], a);
        assert_eq!(got["x"], Tensor::from_slice(&[1], &[2f32]));
        assert_eq!(super::super::find_key(&got, "loss/Mean"), Some("loss/Mean:0"));
        assert_eq!(super::super::find_key(&got, "x:0"), Some("x"));
    }

    #[test]
    fn damaged_archives_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let a = Tensor::from_slice(&[64], &[1f32; 64]);
        write(&path, [("a", &a)]).unwrap();
        let good = files::read(&path).unwrap();
        for cut in [0, 10, good.len() / 2, good.len() - 1] {
            files::replace(&path, &good[..cut]).unwrap();
            assert!(super::super::read(&path).is_err(), "cut at {cut}");
        }
    }
}
