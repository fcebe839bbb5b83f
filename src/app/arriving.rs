//! Files that come from outside: dropped on the window, named on the command line, picked, or opened before. What cannot
//! be used is said at once and changes nothing.

use std::path::Path;

use crate::base::{Severity, files};
use crate::data::dataset::EXTENSIONS;
use crate::data::images;
use crate::formats;
use crate::session::file;
use crate::ui::Command;
use crate::ui::command::DataFile;
use crate::ui::dialogs::Then;

use super::App;

/// What a file is to a window with a model, or without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// A model or a session.
    Model,
    Data,
    Tokenizer,
    /// Neither, and why.
    Unknown(String),
}

/// By its ending, then by its content. Without a model nothing is data: weights and arrays may be models too.
pub(super) fn kind(path: &Path, has_model: bool, has_data: bool) -> Arrived {
    if file::is_session(path) {
        return Arrived::Model;
    }
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    if has_data && ["vocab.txt", "tokenizer.json"].contains(&name.as_str()) {
        return Arrived::Tokenizer;
    }
    if has_model && is_data(path) {
        return Arrived::Data;
    }
    match formats::recognise(path) {
        Ok(_) => Arrived::Model,
        Err(_) if has_model && files::is_dir(path) && images::is_folder_of_classes(path) => Arrived::Data,
        Err(e) => Arrived::Unknown(e.to_string()),
    }
}

/// Whether a file's ending is that of examples.
pub(super) fn is_data(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

impl App {
    /// Uses what was dropped; of several models the first.
    pub(super) fn dropped_files(&mut self, ctx: &egui::Context) {
        let paths: Vec<_> = ctx.input(|i| i.raw.dropped_files.iter().map(|f| f.path().to_owned()).collect());
        let mut is_opening = false;
        for path in paths {
            let recipe = self.open.as_ref().map(|o| o.recipe());
            let has_data = recipe.is_some_and(|r| r.data.is_some());
            match kind(&path, recipe.is_some(), has_data) {
                Arrived::Model if is_opening => {
                    self.say(Severity::Warning, format!("One model at a time: {} was left out.", path.display()));
                }
                Arrived::Model => {
                    is_opening = true;
                    self.commands.send(Command::Open(path));
                }
                Arrived::Data => self.commands.send(Command::UseData(path)),
                Arrived::Tokenizer => self.commands.send(Command::UseDataFile(DataFile::Tokenizer, path)),
                Arrived::Unknown(_) if self.open.is_none() && is_data(&path) => {
                    self.say(Severity::Warning, "Open a model before its data.");
                }
                Arrived::Unknown(why) => self.cannot_open(why),
            }
        }
    }

    /// Opens a model or session, after asking about decisions that would be lost; but not where it cannot be opened anyway.
    pub(super) fn open_asked(&mut self, path: std::path::PathBuf) {
        if self.run.as_ref().is_some_and(|r| r.state.is_active()) {
            return self.say(Severity::Warning, "A run is in progress; stop it before opening another model.");
        }
        if !files::exists(&path) {
            let was_known = self.preferences.recent.contains(&path);
            self.preferences.recent.retain(|p| *p != path);
            if was_known {
                self.save_preferences();
            }
            let more = if was_known { " any more; it is no longer listed" } else { "" };
            return self.cannot_open(format!("{} is not there{more}.", path.display()));
        }
        if !file::is_session(&path)
            && let Err(e) = formats::recognise(&path)
        {
            return self.cannot_open(e.to_string());
        }
        self.leave(Then::Open(path));
    }

    fn cannot_open(&mut self, why: String) {
        self.opening_failed = self.open.is_none().then(|| why.clone());
        self.say(Severity::Error, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_what_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        files::replace(&at("notes.xyz"), b"some words\n").unwrap();
        assert!(matches!(kind(&at("notes.xyz"), true, true), Arrived::Unknown(_)));
        assert!(matches!(kind(&at("nowhere.pb"), false, false), Arrived::Unknown(_)));
        files::replace(&at("rows.tsv"), b"text\tlabel\na\tb\n").unwrap();
        assert_eq!(kind(&at("rows.tsv"), true, false), Arrived::Data);
        assert!(matches!(kind(&at("rows.tsv"), false, false), Arrived::Unknown(_)));
        files::replace(&at("vocab.txt"), b"[PAD]\n").unwrap();
        assert_eq!(kind(&at("vocab.txt"), true, true), Arrived::Tokenizer);
        files::create_dir_all(&at("pictures/cats")).unwrap();
        assert!(matches!(kind(&at("pictures"), true, false), Arrived::Unknown(_)));
        files::replace(&at("pictures/cats/1.png"), b"-").unwrap();
        assert_eq!(kind(&at("pictures"), true, false), Arrived::Data);
        assert_eq!(kind(&at("anything.regraft"), false, false), Arrived::Model);
    }
}
