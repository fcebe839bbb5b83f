//! Unsaved decisions are written aside while the program runs, and offered again after a crash.
//!
//! Each running program has two files in the recovery folder: a session file, and a lock that it holds while it lives. A
//! session file whose lock is free was left by a program that ended without saying goodbye.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::base::files;
use crate::session::{Model, Recipe, file};
use crate::ui::ctx::Recoverable;

use super::App;
use super::jobs::Outcome;

/// Decisions that are older than this are written.
const DELAY: Duration = Duration::from_secs(2);
const FOLDER: &str = "recovery";

/// What belongs to a session file in the recovery folder.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Note {
    /// Where the session was saved before, if it was.
    pub session: Option<PathBuf>,
    /// What a person calls it.
    pub name: String,
}

/// This program's place in the recovery folder.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Without the extension; `None` where nothing is kept.
    own: Option<PathBuf>,
    /// Held as long as the program lives.
    _lock: Option<files::File>,
    /// The recipe that was last written aside.
    written: Option<Arc<Recipe>>,
    /// When a newer one was first seen.
    changed: Option<Instant>,
    pub found: Vec<Recoverable>,
}

impl Recovery {
    /// Takes a place in the folder and looks for what others left there.
    pub(super) fn start(config_dir: Option<&Path>) -> Self {
        let Some(folder) = config_dir.map(|d| d.join(FOLDER)) else { return Self::default() };
        if files::create_dir_all(&folder).is_err() {
            return Self::default();
        }
        let found = left_behind(&folder);
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
        let own = folder.join(format!("{}-{nanos}", std::process::id()));
        let lock = files::lock(&own.with_extension("lock")).ok().flatten();
        let own = lock.is_some().then_some(own);
        Self { own, _lock: lock, written: None, changed: None, found }
    }

    fn session_file(&self) -> Option<PathBuf> {
        Some(self.own.as_ref()?.with_extension(file::EXTENSION))
    }

    /// Nothing is unsaved any more.
    fn forget(&mut self) {
        if self.written.take().is_some() {
            self.session_file().iter().for_each(|p| remove(p));
        }
        self.changed = None;
    }

    /// Gives the place back; what was written aside goes with it.
    fn end(&mut self) {
        if let Some(own) = &self.own {
            // The lock first: a job that still writes looks for it afterwards. Nobody minds one that stays behind.
            let _ = files::remove_file(&own.with_extension("lock"));
        }
        self.forget();
        self.own = None;
    }
}

impl Drop for Recovery {
    fn drop(&mut self) {
        // A panic that unwinds through the window is a crash.
        if !std::thread::panicking() {
            self.end();
        }
    }
}

/// A session file with its note and lock.
pub(super) fn remove(session: &Path) {
    for extension in [file::EXTENSION, "json", "lock"] {
        let path = session.with_extension(extension);
        if files::exists(&path)
            && let Err(e) = files::remove_file(&path)
        {
            tracing::warn!("{}: {e}", path.display());
        }
    }
}

/// What programs that no longer live left in the folder, newest first.
fn left_behind(folder: &Path) -> Vec<Recoverable> {
    let mut found: Vec<(Duration, Recoverable)> = Vec::new();
    for path in files::list(folder).unwrap_or_default().into_iter().filter(|p| file::is_session(p)) {
        if !matches!(files::lock(&path.with_extension("lock")), Ok(Some(_))) {
            continue;
        }
        let age = files::modified(&path).ok().and_then(|t| t.elapsed().ok()).unwrap_or_default();
        found.push((age, Recoverable { name: note(&path).name, when: ago(age), path }));
    }
    found.sort_by_key(|(age, _)| *age);
    found.into_iter().map(|(_, r)| r).collect()
}

pub(super) fn note(session: &Path) -> Note {
    let text = files::read_to_string(&session.with_extension("json")).ok();
    text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default()
}

/// `just now`, `3 minutes ago`.
fn ago(age: Duration) -> String {
    let (minutes, hours, days) = (age.as_secs() / 60, age.as_secs() / 3600, age.as_secs() / 86_400);
    let words = |n: u64, one: &str| format!("{n} {one}{} ago", if n == 1 { "" } else { "s" });
    match (minutes, hours, days) {
        (0, _, _) => "just now".to_owned(),
        (_, 0, _) => words(minutes, "minute"),
        (_, _, 0) => words(hours, "hour"),
        _ => words(days, "day"),
    }
}

fn write(path: &Path, model: &Model, recipe: &Recipe, note: &Note) -> Result<(), String> {
    file::save(path, model, recipe).map_err(|e| e.to_string())?;
    let text = serde_json::to_string(note).map_err(|e| e.to_string())?;
    files::replace(&path.with_extension("json"), text.as_bytes()).map_err(|e| e.to_string())?;
    if !files::exists(&path.with_extension("lock")) {
        // The program ended well in the meantime.
        remove(path);
    }
    Ok(())
}

impl App {
    /// Writes unsaved decisions aside once they have rested a moment; called every frame.
    pub(super) fn autosave(&mut self) {
        let Some(path) = self.recovery.session_file() else { return };
        let (Some(open), Some(held)) = (&self.open, &self.session) else { return self.recovery.forget() };
        if open.is_saved() {
            return self.recovery.forget();
        }
        let recipe = open.history.recipe().clone();
        if self.recovery.written.as_ref() == Some(&recipe) {
            self.recovery.changed = None;
            return;
        }
        let since = *self.recovery.changed.get_or_insert_with(Instant::now);
        if since.elapsed() < DELAY {
            // A window that nothing happens in draws no frames by itself.
            return self.jobs.context().request_repaint_after(DELAY);
        }
        self.recovery.changed = None;
        self.recovery.written = Some(recipe.clone());
        let (model, note) = (held.model.clone(), Note { session: open.session_path.clone(), name: open.title() });
        self.jobs.start_quietly("Autosaving", move |_, _| Outcome::Autosaved(write(&path, &model, &recipe, &note)));
    }

    pub(super) fn take_autosaved(&mut self, result: Result<(), String>) {
        if let Err(e) = result {
            self.recovery.written = None;
            tracing::warn!("unsaved decisions could not be written aside: {e}");
        }
    }

    pub(super) fn discard_recovery(&mut self, path: &Path) {
        remove(path);
        self.recovery.found.retain(|r| r.path != path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_program_left_is_found_and_a_living_one_is_not_robbed() {
        let dir = tempfile::tempdir().unwrap();
        let living = Recovery::start(Some(dir.path()));
        let session = living.session_file().unwrap();
        files::replace(&session, b"{}").unwrap();
        assert!(Recovery::start(Some(dir.path())).found.is_empty(), "its program lives");
        let dead = dir.path().join(FOLDER).join("1-1.regraft");
        files::replace(&dead, b"{}").unwrap();
        let note = serde_json::to_string(&Note { session: None, name: "bert.pb".to_owned() }).unwrap();
        files::replace(&dead.with_extension("json"), note.as_bytes()).unwrap();
        let found = Recovery::start(Some(dir.path())).found.clone();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].when.as_str()), ("bert.pb", "just now"));
        remove(&dead);
        assert!(Recovery::start(Some(dir.path())).found.is_empty());
        assert!(Recovery::start(None).session_file().is_none());
    }

    #[test]
    fn ages_are_words() {
        let of = |s| ago(Duration::from_secs(s));
        assert_eq!(
            [of(5), of(60), of(150), of(7200), of(200_000)],
            ["just now", "1 minute ago", "2 minutes ago", "2 hours ago", "2 days ago"]
        );
    }
}
