//! Named bytes with siblings: the readers' only input, so that tests and fuzzers need no disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use memmap2::Mmap;

use crate::base::files::{self, PositionedFile};
use crate::tensor::{DType, SharedBytes, Tensor, shape};

/// Files up to this size are read whole: cheaper than many positioned reads, and nobody can truncate them under us.
const SMALL_FILE: u64 = 4 << 20;

/// One file's bytes, in memory or read by position; cheap to clone.
#[derive(Clone, Debug)]
pub struct Bytes(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    Memory(Vec<u8>),
    File { file: PositionedFile, map: OnceLock<Option<Arc<Mmap>>> },
}

impl SharedBytes for Inner {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Memory(b) => b,
            Self::File { .. } => &[],
        }
    }
}

impl Bytes {
    pub fn from_memory(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Inner::Memory(bytes)))
    }

    /// Reads small files whole and keeps a handle to large ones.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = PositionedFile::open(path)?;
        if file.len() <= SMALL_FILE {
            let mut bytes = vec![0; file.len() as usize];
            file.read_exact_at(&mut bytes, 0)?;
            return Ok(Self::from_memory(bytes));
        }
        Ok(Self(Arc::new(Inner::File { file, map: OnceLock::new() })))
    }

    pub fn len(&self) -> u64 {
        match &*self.0 {
            Inner::Memory(b) => b.len() as u64,
            Inner::File { file, .. } => file.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes where they are in memory anyway.
    pub fn as_memory(&self) -> Option<&[u8]> {
        match &*self.0 {
            Inner::Memory(b) => Some(b),
            Inner::File { .. } => None,
        }
    }

    /// Fills `buf` from `offset`; an error where the bytes end before.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match &*self.0 {
            Inner::Memory(b) => {
                let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
                let end = start.checked_add(buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
                buf.copy_from_slice(b.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
            Inner::File { file, .. } => file.read_exact_at(buf, offset),
        }
    }

    /// A copy of `start..end`.
    pub fn read(&self, start: u64, end: u64) -> io::Result<Vec<u8>> {
        if start > end || end > self.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut buf = vec![0; (end - start) as usize];
        self.read_exact_at(&mut buf, start)?;
        Ok(buf)
    }

    /// The array of `dtype` and `dims` that lies little-endian at `offset`: in place (memory or map) where it is aligned
    /// for its type, else copied. Errors where the bytes end before it does.
    pub fn tensor_at(&self, dtype: DType, dims: &[usize], offset: u64) -> io::Result<Tensor> {
        let len = shape::element_count(dims).and_then(|n| n.checked_mul(dtype.size()));
        let len = len.ok_or(io::ErrorKind::InvalidData)? as u64;
        if offset.checked_add(len).is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let at = offset as usize;
        let shared: Option<Tensor> = match &*self.0 {
            Inner::Memory(_) => Tensor::from_shared(dtype, dims, self.0.clone(), at),
            Inner::File { file, map } if offset.is_multiple_of(dtype.size().clamp(1, 8) as u64) => map
                .get_or_init(|| file.map().ok())
                .as_ref()
                .and_then(|m| Tensor::from_shared(dtype, dims, m.clone(), at)),
            Inner::File { .. } => None,
        };
        if let Some(t) = shared {
            return Ok(t);
        }
        let mut t = Tensor::zeros(dtype, dims);
        self.read_exact_at(t.bytes_mut(), offset)?;
        Ok(t)
    }
}

/// A named file and what lies beside it.
#[derive(Clone, Debug)]
pub struct Source {
    /// File name with extension, as messages show it.
    pub name: String,
    pub bytes: Bytes,
    /// Which signature, meta graph or tag set is meant, where a file holds several.
    pub choice: Option<String>,
    siblings: Siblings,
}

#[derive(Clone, Debug)]
enum Siblings {
    Folder(PathBuf),
    Memory(Arc<BTreeMap<String, Bytes>>),
}

impl Source {
    /// A file on disk; its siblings are those in the same folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self { name, bytes: Bytes::open(path)?, choice: None, siblings: Siblings::Folder(folder) })
    }

    /// Bytes in memory, with siblings by name.
    pub fn from_memory(name: impl Into<String>, bytes: Vec<u8>, siblings: BTreeMap<String, Bytes>) -> Self {
        let siblings = Siblings::Memory(Arc::new(siblings));
        Self { name: name.into(), bytes: Bytes::from_memory(bytes), choice: None, siblings }
    }

    /// A file beside this one. Names that leave the folder are refused.
    pub fn sibling(&self, name: &str) -> io::Result<Bytes> {
        match &self.siblings {
            Siblings::Memory(m) => m.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into()),
            Siblings::Folder(folder) => {
                let relative = Path::new(name);
                let plain = relative.components().all(|c| matches!(c, std::path::Component::Normal(_)));
                if !plain {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name leaves the folder"));
                }
                let path = folder.join(relative);
                let root = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
                // A link may lead anywhere: what it leads to must lie in the folder as well.
                if !files::canonical(&path)?.starts_with(files::canonical(root)?) {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "the file is a link out of the folder"));
                }
                Bytes::open(&path)
            }
        }
    }

    /// No file of its own, but the files of a folder as siblings.
    pub fn of_folder(folder: &Path) -> Self {
        let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let siblings = Siblings::Folder(folder.to_path_buf());
        Self { name, bytes: Bytes::from_memory(Vec::new()), choice: None, siblings }
    }

    /// A file beside this one whose name the reader made up itself (a checkpoint's shard, a SavedModel's variables) and
    /// did not find in a file: links are followed, as model caches use them.
    pub fn companion(&self, name: &str) -> io::Result<Bytes> {
        match &self.siblings {
            Siblings::Memory(_) => self.sibling(name),
            Siblings::Folder(folder) => Bytes::open(&folder.join(name)),
        }
    }

    /// The folder that it lies in, where it is a file on disk.
    pub fn folder(&self) -> Option<&Path> {
        match &self.siblings {
            Siblings::Folder(folder) if folder.as_os_str().is_empty() => Some(Path::new(".")),
            Siblings::Folder(folder) => Some(folder),
            Siblings::Memory(_) => None,
        }
    }

    /// Names of the files in the same folder.
    pub fn sibling_names(&self) -> Vec<String> {
        match &self.siblings {
            Siblings::Memory(m) => m.keys().cloned().collect(),
            Siblings::Folder(_) => {
                let listed = self.folder().and_then(|f| files::list(f).ok()).unwrap_or_default();
                listed.iter().filter_map(|p| Some(p.file_name()?.to_str()?.to_owned())).collect()
            }
        }
    }

    /// Puts another file beside one in memory; nothing happens to one on disk.
    pub fn add_sibling(&mut self, name: &str, bytes: Bytes) {
        if let Siblings::Memory(m) = &mut self.siblings {
            Arc::make_mut(m).insert(name.to_owned(), bytes);
        }
    }

    /// Whether a file beside this one exists.
    pub fn has_sibling(&self, name: &str) -> bool {
        match &self.siblings {
            Siblings::Memory(m) => m.contains_key(name),
            Siblings::Folder(folder) => files::exists(&folder.join(name)),
        }
    }
}
