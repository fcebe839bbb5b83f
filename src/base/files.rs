//! The one place that touches disk: whole and positioned reads, maps, and atomic replacement.
//!
//! Every file we write is written beside its final name, synced, and renamed, so that a half-written file is
//! never visible under its final name.

use std::fs;
pub use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use super::CancelToken;

thread_local! {
    /// What may take back the right to give names to files on this thread.
    static CANCEL: std::cell::RefCell<Option<CancelToken>> = const { std::cell::RefCell::new(None) };
}

/// Runs `work`. What it writes on this thread gets no name once `cancel` is cancelled, so that a job that is cancelled
/// leaves every file as it was.
pub fn unless_cancelled<T>(cancel: &CancelToken, work: impl FnOnce() -> T) -> T {
    let outer = CANCEL.replace(Some(cancel.clone()));
    let out = work();
    CANCEL.set(outer);
    out
}

/// Whether what was written may get its name.
fn may_name() -> io::Result<()> {
    let is_cancelled = CANCEL.with_borrow(|c| c.as_ref().is_some_and(CancelToken::is_cancelled));
    if is_cancelled { Err(io::Error::other("it was cancelled; nothing was written")) } else { Ok(()) }
}

/// A file that is read by position; cheap to clone.
#[derive(Clone, Debug)]
pub struct PositionedFile {
    file: Arc<File>,
    path: Arc<Path>,
    len: u64,
}

impl PositionedFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Self { len: meta.len(), file: Arc::new(file), path: path.into() })
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills `buf` from `offset`; an error if the file ends before.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        #[cfg(unix)]
        {
            std::os::unix::fs::FileExt::read_exact_at(&*self.file, buf, offset)
        }
        #[cfg(windows)]
        {
            use std::os::windows::fs::FileExt;
            let mut done = 0;
            while done < buf.len() {
                let n = self.file.seek_read(&mut buf[done..], offset + done as u64)?;
                if n == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                done += n;
            }
            Ok(())
        }
    }

    /// Maps the whole file for reading. Another program that truncates a mapped file may end this process, so small
    /// files are better read; see `DESIGN` invariant 14 in `ARCHITECTURE.md`.
    #[allow(unsafe_code)]
    pub fn map(&self) -> io::Result<Arc<Mmap>> {
        // SAFETY: the map is only read; the documented risk is a concurrent truncation by another program.
        unsafe { Mmap::map(&*self.file) }.map(Arc::new)
    }
}

pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

/// Memory of this program that is in use, in bytes; `None` where the system does not tell (it is Linux that does, whose
/// pages are of 4 KiB on everything that is built for).
pub fn resident_bytes() -> Option<u64> {
    let words = fs::read_to_string("/proc/self/statm").ok()?;
    Some(words.split_whitespace().nth(1)?.parse::<u64>().ok()? * 4096)
}

pub fn read_to_string(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

pub fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

pub fn exists(path: &Path) -> bool {
    path.exists()
}

pub fn is_dir(path: &Path) -> bool {
    path.is_dir()
}

pub fn len(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.len())
}

pub fn create_dir_all(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Makes one folder; an error of the kind `AlreadyExists` where something has its name, so that only one of several asks
/// gets it.
pub fn create_dir(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

pub fn remove_file(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// Removes a folder with everything in it.
pub fn remove_dir_all(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path)
}

/// Gives a file or folder another name on the same disk; refuses to put it over something.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} exists already", to.display())));
    }
    fs::rename(from, to)
}

/// When a file was last written.
pub fn modified(path: &Path) -> io::Result<std::time::SystemTime> {
    fs::metadata(path)?.modified()
}

/// Makes a file and holds it locked as long as the result lives, also against other processes; `None` where somebody
/// else holds it. A process that dies lets go.
pub fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = fs::OpenOptions::new().create(true).append(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(e),
    }
}

/// The entries of a folder, sorted by name.
pub fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut out = fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
    out.sort();
    Ok(out)
}

pub fn canonical(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

/// Opens a file for appending, creating it when missing.
pub fn append(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().create(true).append(true).open(path)
}

/// Shortens an existing file to `len` bytes (a log whose last line was cut off by a crash).
pub fn truncate(path: &Path, len: u64) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(path)?.set_len(len)
}

/// Writes through `write` into a temporary file beside `path`, syncs it, and renames it over `path`.
pub fn replace_with<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<&mut File>) -> Result<(), E>,
) -> Result<(), E> {
    replace_checked(path, write, |_| Ok(()))
}

/// As [`replace_with`], but `check` sees the finished temporary file first and may refuse it; then nothing is replaced.
pub fn replace_checked<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<&mut File>) -> Result<(), E>,
    check: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    // The temporary file keeps the extension, so that `check` can read it as what it will be.
    let suffix = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    let mut builder = tempfile::Builder::new();
    builder.prefix(".regraft-").suffix(&suffix);
    // Temporary files are private by default; what we write is as readable as any file of the user (minus the umask).
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut temp = builder.tempfile_in(folder)?;
    {
        let mut out = io::BufWriter::new(temp.as_file_mut());
        write(&mut out)?;
        out.flush()?;
    }
    temp.as_file().sync_all()?;
    check(temp.path())?;
    may_name()?;
    temp.persist(path).map_err(|e| E::from(e.error))?;
    sync_folder(folder);
    Ok(())
}

/// Makes a folder: `write` fills a temporary one beside it, `check` may refuse that, then it gets its name. A folder that
/// is there already must be empty.
pub fn create_folder_checked<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
    check: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    if path.exists() && (!path.is_dir() || fs::read_dir(path)?.next().is_some()) {
        let what = format!("{} is there already; name a new or an empty folder", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what).into());
    }
    let parent = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".regraft-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let temp = builder.tempdir_in(parent)?;
    write(temp.path())?;
    check(temp.path())?;
    may_name()?;
    // Renaming onto an empty folder works on Unix only.
    if path.exists() {
        fs::remove_dir(path)?;
    }
    fs::rename(temp.path(), path)?;
    // It has its name now; there is nothing left to clean up.
    let _ = temp.keep();
    sync_folder(parent);
    Ok(())
}

/// Writes several files that belong together into a folder: `write` fills a temporary folder inside it, `check` may refuse
/// that, then each file gets its name, in the order of `names` (the one that makes the others visible last).
pub fn place_checked<E: From<io::Error>>(
    folder: &Path,
    names: &[String],
    write: impl FnOnce(&Path) -> Result<(), E>,
    check: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    fs::create_dir_all(folder)?;
    let temp = tempfile::Builder::new().prefix(".regraft-").tempdir_in(folder)?;
    write(temp.path())?;
    check(temp.path())?;
    may_name()?;
    for name in names {
        fs::rename(temp.path().join(name), folder.join(name))?;
    }
    sync_folder(folder);
    Ok(())
}

pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, |out| out.write_all(bytes))
}

/// Makes the rename itself durable where the platform lets folders be synced.
fn sync_folder(folder: &Path) {
    if let Ok(f) = File::open(folder) {
        // A platform that refuses to sync a folder has no weaker guarantee than without the call.
        let _ = f.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cancelled_job_writes_gets_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("a.txt"), folder.path().join("model"));
        let cancel = CancelToken::default();
        unless_cancelled(&cancel, || replace(&file, b"first")).unwrap();
        let cancelled_meanwhile = |_: &Path| {
            cancel.cancel();
            Ok::<(), io::Error>(())
        };
        let write = |out: &mut io::BufWriter<&mut File>| out.write_all(b"second");
        let refused = unless_cancelled(&cancel, || replace_checked(&file, write, cancelled_meanwhile)).unwrap_err();
        assert!(refused.to_string().contains("cancelled"), "{refused}");
        assert_eq!(read_to_string(&file).unwrap(), "first", "the old file stays");
        let ok = |_: &Path| Ok::<(), io::Error>(());
        assert!(unless_cancelled(&cancel, || create_folder_checked(&other, ok, ok)).is_err());
        assert!(unless_cancelled(&cancel, || place_checked(folder.path(), &["a.txt".to_owned()], ok, ok)).is_err());
        assert_eq!(list(folder.path()).unwrap(), std::slice::from_ref(&file), "nothing is left behind");
        // Work after it is not bound by it.
        replace(&file, b"third").unwrap();
        assert_eq!(read_to_string(&file).unwrap(), "third");
    }
}
