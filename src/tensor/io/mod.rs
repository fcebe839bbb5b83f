//! Arrays in files: NumPy's `.npy` and `.npz`, and `.safetensors`. Chosen by the extension; knows no model format.

pub mod npy;
pub mod npz;
pub mod safetensors;

use std::io;
use std::path::Path;

use indexmap::IndexMap;

use super::Tensor;

pub use npz::NpzReader;

/// Named arrays in the order of the file.
pub type Arrays = IndexMap<String, Tensor>;

/// Why arrays could not be read or written. The caller adds the path.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The content is not what its format demands.
    #[error("{0}")]
    Malformed(String),
    #[error("array '{name}': {source}")]
    Member { name: String, source: Box<ArrayError> },
    #[error("unknown extension '{0}' of an array file (use .npz, .npy or .safetensors)")]
    Extension(String),
}

impl ArrayError {
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::Malformed(message.into())
    }

    pub(crate) fn of(self, name: &str) -> Self {
        Self::Member { name: name.to_owned(), source: Box::new(self) }
    }
}

fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Reads all arrays of a `.npz`, `.npy` (one array under the file's stem) or `.safetensors` file.
pub fn read(path: &Path) -> Result<Arrays, ArrayError> {
    match extension(path).as_str() {
        "npz" => NpzReader::open(path)?.read_all(),
        "npy" => {
            let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            Ok(Arrays::from_iter([(name, npy::read(path)?)]))
        }
        "safetensors" => Ok(safetensors::read(path)?.arrays),
        other => Err(ArrayError::Extension(other.to_owned())),
    }
}

/// Writes arrays atomically into a `.npz` or `.safetensors` file. `bfloat16` becomes `float32` in `.npz`.
pub fn write<'a>(path: &Path, arrays: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<(), ArrayError> {
    match extension(path).as_str() {
        "npz" => npz::write(path, arrays),
        "npy" => match arrays.into_iter().collect::<Vec<_>>().as_slice() {
            [(_, tensor)] => npy::write(path, tensor),
            several => Err(ArrayError::malformed(format!(
                "a .npy file holds one array, {} were given (use .npz)",
                several.len()
            ))),
        },
        "safetensors" => safetensors::write(path, arrays, &Default::default()),
        other => Err(ArrayError::Extension(other.to_owned())),
    }
}

/// As [`write()`], but the file is read back and compared before it gets its name.
pub fn write_checked<'a>(
    path: &Path,
    arrays: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<(), ArrayError> {
    let arrays: Vec<(&str, &Tensor)> = arrays.into_iter().collect();
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new("."));
    let put = |temp: &Path| write(&temp.join(&name), arrays.iter().copied());
    let compare = |temp: &Path| {
        let found = read(&temp.join(&name))?;
        let bad =
            |what: String| ArrayError::malformed(format!("read back, the new file holds {what}; it was not kept"));
        if found.len() != arrays.len() {
            return Err(bad(format!("{} arrays instead of {}", found.len(), arrays.len())));
        }
        // A single array in a `.npy` has no name.
        let by_name = |key: &str| found.get(key).or_else(|| found.values().next().filter(|_| found.len() == 1));
        match arrays.iter().find(|(key, t)| !by_name(key).is_some_and(|f| is_same(f, t))) {
            Some((key, _)) => Err(bad(format!("other values for {key}"))),
            None => Ok(()),
        }
    };
    crate::base::files::place_checked(folder, std::slice::from_ref(&name), put, compare)
}

/// The same shape and bits; a type that the file does not know may have become a wider one.
fn is_same(found: &Tensor, wanted: &Tensor) -> bool {
    if found.shape() != wanted.shape() {
        return false;
    }
    if found.dtype() == wanted.dtype() {
        return found == wanted || found.bytes() == wanted.bytes();
    }
    match (found.to_f64s(), wanted.to_f64s()) {
        (Some(a), Some(b)) => a.iter().zip(&b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())),
        _ => false,
    }
}

/// The key under which a value's array lies: its exact name, or with a trailing `:0` added or left out.
pub fn find_key<'m, V>(arrays: &'m IndexMap<String, V>, name: &str) -> Option<&'m str> {
    let with = format!("{name}:0");
    let names = [Some(name), Some(with.as_str()), name.strip_suffix(":0")];
    names.into_iter().flatten().find_map(|n| arrays.get_key_value(n).map(|(k, _)| k.as_str()))
}
