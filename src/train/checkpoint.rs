//! Checkpoints: parameters, optimizer state and the place in the data, in one atomic safetensors file.
//!
//! `checkpoint-00000040.safetensors` holds the state before step 40. Resuming from it gives the same numbers as never having
//! stopped: order of examples and dropout depend on seed, epoch and step alone, and the log is cut to what the file has seen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::files;
use crate::tensor::Tensor;
use crate::tensor::io::{Arrays, safetensors};

use super::store::Store;

/// Version of the layout.
const VERSION: &str = "1";
const PREFIX: &str = "checkpoint-";
const SUFFIX: &str = ".safetensors";
/// The best checkpoint so far, as a name of its own.
const BEST: &str = "best.safetensors";

/// Where a run stands, besides its tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The step that comes next; also the number of updates done.
    pub step: u64,
    /// Optimizer updates done (differs from `step` only if steps were skipped).
    pub updates: u64,
    pub epoch: usize,
    /// The batch of the epoch that comes next.
    pub batch: usize,
    /// Peak rate where it was changed while running.
    pub lr: Option<f64>,
    /// Value of the best metric so far, and evaluations since it improved.
    pub best: Option<f64>,
    pub without_improvement: usize,
    /// Bytes of the log that this state has seen.
    pub log_len: u64,
    pub elapsed_secs: f64,
    pub seed: u64,
}

impl Progress {
    fn to_words(&self) -> BTreeMap<String, String> {
        let mut words = BTreeMap::from([
            ("regraft_checkpoint".to_owned(), VERSION.to_owned()),
            ("step".to_owned(), self.step.to_string()),
            ("updates".to_owned(), self.updates.to_string()),
            ("epoch".to_owned(), self.epoch.to_string()),
            ("batch".to_owned(), self.batch.to_string()),
            ("without_improvement".to_owned(), self.without_improvement.to_string()),
            ("log_len".to_owned(), self.log_len.to_string()),
            ("elapsed_secs".to_owned(), self.elapsed_secs.to_string()),
            ("seed".to_owned(), self.seed.to_string()),
        ]);
        // Decimal text of Rust floats reads back to the same bits.
        words.extend(self.lr.map(|v| ("lr".to_owned(), v.to_string())));
        words.extend(self.best.map(|v| ("best".to_owned(), v.to_string())));
        words
    }

    fn from_words(words: &BTreeMap<String, String>) -> Result<Self, String> {
        fn get<T: std::str::FromStr>(words: &BTreeMap<String, String>, key: &str) -> Result<T, String> {
            let text = words.get(key).ok_or_else(|| format!("'{key}' is missing"))?;
            text.parse().map_err(|_| format!("'{key}' is '{text}'"))
        }
        match words.get("regraft_checkpoint").map(String::as_str) {
            Some(VERSION) => {}
            Some(other) => return Err(format!("its version is {other}, this program knows {VERSION}")),
            None => return Err("it is not a checkpoint of a run (only weights)".to_owned()),
        }
        Ok(Self {
            step: get(words, "step")?,
            updates: get(words, "updates")?,
            epoch: get(words, "epoch")?,
            batch: get(words, "batch")?,
            lr: words.contains_key("lr").then(|| get(words, "lr")).transpose()?,
            best: words.contains_key("best").then(|| get(words, "best")).transpose()?,
            without_improvement: get(words, "without_improvement")?,
            log_len: get(words, "log_len")?,
            elapsed_secs: get(words, "elapsed_secs")?,
            seed: get(words, "seed")?,
        })
    }
}

/// Name of a parameter inside a checkpoint.
pub fn parameter_key(name: &str) -> String {
    format!("parameter|{name}")
}

/// Path of the checkpoint before `step`.
pub fn path_of(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{step:08}{SUFFIX}"))
}

/// Writes a checkpoint and gives its path. With `best` a copy under a name of its own stays when older ones go.
pub fn save(folder: &Path, store: &Store, progress: &Progress, best: bool) -> Result<PathBuf, String> {
    let path = path_of(folder, progress.step);
    let words = progress.to_words();
    let write = |path: &Path| {
        let tensors: Vec<(String, &Tensor)> = store.tensors().collect();
        safetensors::write(path, tensors.iter().map(|(k, t)| (k.as_str(), *t)), &words)
            .map_err(|e| format!("cannot save the checkpoint {}: {e}", path.display()))
    };
    write(&path)?;
    if best {
        write(&folder.join(BEST))?;
    }
    Ok(path)
}

/// The parameters that a checkpoint holds, by name; their values are not read.
pub fn parameter_names(path: &Path) -> Result<Vec<String>, String> {
    let say = |e: String| format!("{}: {e}", path.display());
    let file = files::PositionedFile::open(path).map_err(|e| say(e.to_string()))?;
    let layout = safetensors::layout(file.len(), |buf, at| file.read_exact_at(buf, at));
    let layout = layout.map_err(|e| say(e.to_string()))?;
    Ok(layout.entries.keys().filter_map(|k| k.strip_prefix("parameter|")).map(str::to_owned).collect())
}

/// A checkpoint in memory.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub progress: Progress,
    arrays: Arrays,
}

impl Loaded {
    /// Reads and checks a checkpoint.
    pub fn read(path: &Path) -> Result<Self, String> {
        let say = |e: String| format!("{}: {e}", path.display());
        let content = safetensors::read(path).map_err(|e| say(e.to_string()))?;
        let progress = Progress::from_words(&content.metadata).map_err(say)?;
        Ok(Self { progress, arrays: content.arrays })
    }

    /// The parameters by name, without optimizer state.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.arrays.iter().filter_map(|(k, t)| Some((k.strip_prefix("parameter|")?, t)))
    }

    /// Moves everything into a store that was made for the same parameters and optimizer.
    pub fn restore(mut self, store: &mut Store) -> Result<Progress, String> {
        store.restore(|key| self.arrays.swap_remove(key), self.progress.updates)?;
        Ok(self.progress)
    }
}

/// The checkpoints of a run folder, oldest first: (step, path).
pub fn list(folder: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let step =
        |p: &Path| -> Option<u64> { p.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok() };
    let mut found: Vec<(u64, PathBuf)> =
        files::list(folder)?.into_iter().filter_map(|p| Some((step(&p)?, p))).collect();
    found.sort();
    Ok(found)
}

/// The newest checkpoint of a run folder.
pub fn newest(folder: &Path) -> std::io::Result<Option<PathBuf>> {
    Ok(list(folder)?.pop().map(|(_, p)| p))
}

/// The best checkpoint of a run folder, where one was marked.
pub fn best(folder: &Path) -> Option<PathBuf> {
    let path = folder.join(BEST);
    files::exists(&path).then_some(path)
}

/// Removes all but the newest `keep`. A file that cannot be removed stays.
pub fn prune(folder: &Path, keep: usize) {
    let Ok(found) = list(folder) else { return };
    for (_, path) in found.iter().rev().skip(keep.max(1)) {
        if let Err(e) = files::remove_file(path) {
            tracing::warn!("cannot remove the old checkpoint {}: {e}", path.display());
        }
    }
}
