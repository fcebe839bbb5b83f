//! Which file of a folder, or beside a name, is the model: people name the folder, the prefix of a checkpoint, or any of
//! its files.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::files;

use super::bundle::prefix_of;

/// The file that is opened for `path`: itself, what a folder holds, or the index of the checkpoint whose prefix it is.
/// `None` where a folder holds nothing that is known.
pub fn main_file(path: &Path) -> io::Result<Option<PathBuf>> {
    if !files::is_dir(path) {
        let index = beside(path, "index");
        let is_prefix = !files::exists(path) && files::exists(&index);
        return Ok(Some(if is_prefix { index } else { path.to_owned() }));
    }
    for name in ["saved_model.pb", "saved_model.pbtxt", "checkpoint"] {
        let file = path.join(name);
        if files::exists(&file) && !files::is_dir(&file) {
            return Ok(Some(file));
        }
    }
    Ok(newest(&indices(path)?))
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// All checkpoints' indices in a folder.
pub fn indices(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_index = |p: &PathBuf| p.extension().is_some_and(|e| e == "index");
    Ok(files::list(folder)?.into_iter().filter(is_index).collect())
}

/// The one with the highest step; names without a step come first.
pub fn newest(indices: &[PathBuf]) -> Option<PathBuf> {
    let step = |p: &PathBuf| {
        let name = p.file_name().and_then(|n| n.to_str()).and_then(prefix_of).unwrap_or_default();
        name.rsplit_once('-').and_then(|(_, n)| n.parse::<u64>().ok())
    };
    indices.iter().max_by_key(|p| step(p)).cloned()
}

/// The prefix that a `checkpoint` state file (a CheckpointState message as text) names, without folders: what it names
/// lies beside it.
pub fn prefix_in_state(text: &str) -> Option<String> {
    let line = text.lines().find_map(|l| l.trim().strip_prefix("model_checkpoint_path"))?;
    let value = line.trim_start().strip_prefix(':')?.trim();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let value = value.strip_prefix(quote)?;
    let path = value.get(..value.find(quote)?)?.replace('\\', "/");
    path.rsplit('/').next().filter(|n| !n.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_files_and_steps() {
        assert_eq!(
            prefix_in_state("model_checkpoint_path: \"/a/b/model.ckpt-3\"\nall: 1"),
            Some("model.ckpt-3".into())
        );
        assert_eq!(prefix_in_state("model_checkpoint_path: \"\""), None);
        assert_eq!(prefix_in_state("nothing"), None);
        let paths = ["m-9.index", "m-10.index", "m.index"].map(PathBuf::from);
        assert_eq!(newest(&paths), Some(PathBuf::from("m-10.index")));
    }
}
