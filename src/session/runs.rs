//! The runs of a session side by side: what each was set to and came to, in what they differ, and their housekeeping.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::Value as Json;

use crate::base::files;
use crate::data::LabelVocabulary;
use crate::train::{RunLog, checkpoint, run_log};

use super::error::SessionError;
use super::file;
use super::recipe::Recipe;
use super::run;
use super::training::RECIPE;

/// One run's folder as read.
#[derive(Clone, Debug, Default)]
pub struct RunRow {
    pub folder: PathBuf,
    pub name: String,
    pub log: RunLog,
    pub recipe: Recipe,
    /// It has a checkpoint to go on from.
    pub can_resume: bool,
    /// One of its checkpoints was the best.
    pub has_best: bool,
    /// The constants that its newest checkpoint holds.
    pub tuned: Vec<String>,
    /// Names of the classes; empty where it has none.
    pub classes: Vec<String>,
}

/// The folder that holds the runs of a session or model file.
pub fn folder_of(opened: &Path) -> PathBuf {
    opened.with_extension("runs")
}

/// Every run of a folder, by name; one that cannot be read is left out. An absent folder holds none.
pub fn list(folder: &Path) -> Vec<RunRow> {
    let mut rows: Vec<RunRow> =
        files::list(folder).unwrap_or_default().into_iter().filter_map(|f| read(&f).ok()).collect();
    // run-2 before run-10.
    let key = |r: &RunRow| {
        let digits = r.name.len() - r.name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (word, number) = r.name.split_at(r.name.len() - digits);
        (word.to_owned(), number.parse::<u64>().unwrap_or(0), r.name.clone())
    };
    rows.sort_by_cached_key(key);
    rows
}

/// One run's folder.
pub fn read(folder: &Path) -> Result<RunRow, SessionError> {
    let fail = |why: String| SessionError::File { path: folder.to_owned(), what: "read as a run", why };
    if !run::is_run(folder) {
        return Err(fail(format!("it holds no {RECIPE}")));
    }
    let mut recipe = file::load(&folder.join(RECIPE))?.recipe;
    // The same file is the same file, wherever the run's folder lies.
    for path in recipe.data.iter_mut().flat_map(super::recipe::DataChoice::paths_mut) {
        if let Ok(plain) = files::canonical(Path::new(&*path)) {
            *path = plain.to_string_lossy().into_owned();
        }
    }
    let newest = checkpoint::newest(folder).ok().flatten();
    Ok(RunRow {
        name: folder.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        log: RunLog::read(&folder.join(run_log::LOG_NAME)).unwrap_or_default(),
        recipe,
        can_resume: newest.is_some(),
        has_best: checkpoint::best(folder).is_some(),
        classes: classes(folder),
        tuned: newest.and_then(|path| checkpoint::parameter_names(&path).ok()).unwrap_or_default(),
        folder: folder.to_owned(),
    })
}

/// The classes as the run's folder lists them.
fn classes(folder: &Path) -> Vec<String> {
    let lists = ["txt", "json"].map(|e| folder.join(format!("{}.{e}", super::tables::LABELS)));
    let list = lists.iter().find(|p| files::exists(p)).and_then(|p| LabelVocabulary::read(p).ok());
    list.map(|l| l.names().to_vec()).unwrap_or_default()
}

/// Gives a run another name; its folder moves. Errors: a name that is no file name, or is taken.
pub fn rename(folder: &Path, name: &str) -> Result<PathBuf, SessionError> {
    let fail = |why: String| SessionError::File { path: folder.to_owned(), what: "renamed", why };
    let name = name.trim();
    let is_plain =
        !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':', '*', '?', '"', '<', '>', '|']);
    if !is_plain {
        return Err(fail(format!("{name:?} cannot be the name of a folder; use letters, digits, - and _")));
    }
    let to = folder.with_file_name(name);
    files::rename(folder, &to).map_err(|e| fail(e.to_string()))?;
    Ok(to)
}

/// Removes a run with its checkpoints. Refuses what is not a run's folder.
pub fn delete(folder: &Path) -> Result<(), SessionError> {
    let fail = |why: String| SessionError::File { path: folder.to_owned(), what: "deleted", why };
    if !run::is_run(folder) {
        return Err(fail(format!("it holds no {RECIPE}, so it is no run")));
    }
    files::remove_dir_all(folder).map_err(|e| fail(e.to_string()))
}

/// The recipe with a run's length extended by whole epochs, or by steps where its length is given in steps.
pub fn extended(recipe: &Recipe, more: usize) -> Result<Recipe, SessionError> {
    let settings = super::training::settings(recipe)?;
    let mut out = recipe.clone();
    let (key, total) = match settings.training.steps {
        Some(steps) => ("training.steps", steps + more as u64),
        None => ("training.epochs", (settings.training.epochs + more) as u64),
    };
    out.settings.insert(key.to_owned(), total.to_string());
    Ok(out)
}

/// Every decision in which recipes differ, as a line of their values; defaults are empty.
pub fn differences(recipes: &[&Recipe]) -> Vec<(String, Vec<String>)> {
    let flat: Vec<IndexMap<String, String>> = recipes.iter().map(|r| flatten(r)).collect();
    let keys: BTreeSet<&String> = flat.iter().flat_map(IndexMap::keys).collect();
    let line = |key: &String| flat.iter().map(|f| f.get(key).cloned().unwrap_or_default()).collect::<Vec<_>>();
    let lines = keys.into_iter().map(|k| (k.clone(), line(k)));
    lines.filter(|(_, v)| v.windows(2).any(|w| w[0] != w[1])).collect()
}

/// A recipe as one text per key path; lists of plain values are one text.
fn flatten(recipe: &Recipe) -> IndexMap<String, String> {
    let mut out = IndexMap::new();
    let mut todo = vec![(String::new(), serde_json::to_value(recipe).unwrap_or_default())];
    while let Some((path, value)) = todo.pop() {
        let join = |key: &str| match (path.as_str(), key) {
            // The keys of `--set` are known by themselves.
            ("" | "settings", _) => key.to_owned(),
            _ => format!("{path}.{key}"),
        };
        match value {
            Json::Object(map) => todo.extend(map.into_iter().map(|(k, v)| (join(&k), v))),
            Json::Array(items) if items.iter().any(|i| i.is_object() || i.is_array()) => {
                todo.extend(items.into_iter().enumerate().map(|(i, v)| (join(&(i + 1).to_string()), v)));
            }
            Json::Array(items) => {
                let words: Vec<String> = items.iter().map(plain).collect();
                out.insert(path, words.join(", "));
            }
            other => {
                out.insert(path, plain(&other));
            }
        }
    }
    out
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(s) => s.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::Change;
    use super::super::recipe::SitePolicy;
    use super::*;

    #[test]
    fn only_what_differs_is_listed() {
        let a = Recipe::default();
        let set = |key: &str, value: &str| Change::SetSetting { key: key.to_owned(), value: Some(value.to_owned()) };
        let b = set("optimizer.lr", "1e-4").apply(&a);
        let c = Change::SetDropout(SitePolicy::Off).apply(&set("optimizer.lr", "1e-3").apply(&a));
        assert!(differences(&[&a, &a]).is_empty());
        let lines = differences(&[&a, &b, &c]);
        assert_eq!(lines[0].0, "dropout.default");
        assert_eq!(lines[0].1, ["train", "train", "off"]);
        assert_eq!(lines[1], ("optimizer.lr".to_owned(), ["", "1e-4", "1e-3"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_run_is_extended_in_its_own_unit() {
        let r = extended(&Recipe::default(), 2).unwrap();
        let epochs: usize = r.settings["training.epochs"].parse().unwrap();
        assert_eq!(epochs, super::super::training::settings(&Recipe::default()).unwrap().training.epochs + 2);
        let steps = Change::SetSetting { key: "training.steps".into(), value: Some("10".into()) };
        assert_eq!(extended(&steps.apply(&Recipe::default()), 5).unwrap().settings["training.steps"], "15");
    }

    #[test]
    fn runs_are_listed_renamed_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let runs = dir.path().join("model.runs");
        assert!(list(&runs).is_empty());
        for name in ["run-10", "run-2"] {
            let folder = runs.join(name);
            files::create_dir_all(&folder).unwrap();
            let recipe = r#"{"regraft": 1, "model": {"path": "../../model.pb"}, "recipe": {"trainable": {"include": ["all"]}, "dropout": {"default": "off"}}}"#;
            files::replace(&folder.join(RECIPE), recipe.as_bytes()).unwrap();
        }
        let names = || list(&runs).into_iter().map(|r| r.name).collect::<Vec<_>>();
        assert_eq!(names(), ["run-2", "run-10"]);
        assert_eq!(list(&runs)[0].recipe.dropout.default, SitePolicy::Off);
        assert!(!list(&runs)[0].can_resume);
        assert!(rename(&runs.join("run-2"), "../out").is_err());
        assert!(rename(&runs.join("run-2"), "run-10").is_err(), "taken");
        rename(&runs.join("run-2"), "frozen").unwrap();
        assert_eq!(names(), ["frozen", "run-10"]);
        assert!(delete(dir.path()).is_err(), "no run");
        delete(&runs.join("frozen")).unwrap();
        assert_eq!(names(), ["run-10"]);
    }
}
