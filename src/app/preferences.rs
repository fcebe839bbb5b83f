//! What is kept between starts: preferences and the docking layout, as JSON files in the user's configuration folder.

use std::path::{Path, PathBuf};

use crate::base::files;
use crate::ui::ctx::Preferences;
use crate::ui::theme::fonts;

use super::jobs::Outcome;
use super::{App, layout};

const PREFERENCES: &str = "preferences.json";
const LAYOUT: &str = "layout.json";
const MAX_RECENT: usize = 12;

/// The configuration folder of this user; `None` where the system has none.
pub fn config_dir() -> Option<PathBuf> {
    Some(directories::ProjectDirs::from("", "", "Regraft")?.config_dir().to_owned())
}

/// Preferences from a folder; defaults where there are none or they cannot be read.
pub fn load(dir: Option<&Path>) -> Preferences {
    let text = dir.and_then(|d| files::read_to_string(&d.join(PREFERENCES)).ok());
    text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default()
}

impl App {
    pub(super) fn save_preferences(&self) {
        if let Ok(text) = serde_json::to_string_pretty(&self.preferences) {
            self.write_config(PREFERENCES, &text);
        }
    }

    /// Looks for fonts of other scripts in a job: their files are large, and the first frame must not wait.
    pub(super) fn load_system_fonts(&mut self) {
        self.jobs.start_quietly("Finding fonts", |_, _| {
            Outcome::Fonts(Box::new(fonts::with_system_fallback(fonts::definitions())))
        });
    }

    pub(super) fn save_layout(&self) {
        if let Some(text) = layout::to_text(&self.layout) {
            self.write_config(LAYOUT, &text);
        }
    }

    fn write_config(&self, name: &str, text: &str) {
        let Some(dir) = &self.config_dir else { return };
        let written = files::create_dir_all(dir).and_then(|()| files::replace(&dir.join(name), text.as_bytes()));
        if let Err(e) = written {
            tracing::warn!("Could not remember {name}: {e}");
        }
    }

    pub(super) fn restore_layout(&mut self) {
        let text = self.config_dir.as_ref().and_then(|d| files::read_to_string(&d.join(LAYOUT)).ok());
        if let Some(tree) = text.and_then(|t| layout::from_text(&t)) {
            self.layout = tree;
        }
    }

    /// Puts a file at the top of the recent ones.
    pub(super) fn remember_recent(&mut self, path: &Path) {
        let path = files::canonical(path).unwrap_or_else(|_| path.to_owned());
        let recent = &mut self.preferences.recent;
        recent.retain(|p| *p != path);
        recent.insert(0, path);
        recent.truncate(MAX_RECENT);
        self.save_preferences();
    }
}
