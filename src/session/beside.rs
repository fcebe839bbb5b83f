//! What lies beside an exported model so that it can be used without the run: the list of labels, the tokenizer's files,
//! and a session that says how texts become feeds.

use std::path::{Path, PathBuf};

use crate::base::{Reporter, files};
use crate::data::LabelVocabulary;
use crate::formats;
use crate::train::losses::LossOptions;

use super::error::SessionError;
use super::file;
use super::mapping;
use super::model::Model;
use super::objective::AttachedLoss;
use super::recipe::{DataChoice, Objective, Recipe};
use super::session::Session;
use super::tables::LABELS;

/// Name of the labels of a loss that is put on an exported head again.
const LABEL_FEED: &str = "regraft/labels";

/// Files that belong to a tokenizer, beside its vocabulary.
const TOKENIZER_FILES: &[&str] = &["tokenizer_config.json", "special_tokens_map.json"];
/// Two files that make one tokenizer of byte pairs.
const PAIRS: [&str; 2] = ["vocab.json", "merges.txt"];

/// The session that was written beside an exported model: `tuned.regraft` for `tuned.pb`, or inside a model's folder.
pub fn session_of(model: &Path) -> Option<PathBuf> {
    if file::is_session(model) {
        return None;
    }
    let path = place(model).1;
    files::exists(&path).then_some(path)
}

/// The folder for what lies beside a model, and the session's path.
fn place(model: &Path) -> (PathBuf, PathBuf) {
    if files::is_dir(model) {
        return (model.to_owned(), model.join(format!("model.{}", file::EXTENSION)));
    }
    let folder = model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (folder.to_owned(), model.with_extension(file::EXTENSION))
}

/// Fills what the choice does not say from files beside the model: list of labels and tokenizer.
pub fn complete(model: &Path, data: &mut DataChoice) {
    let folder = place(model).0;
    let find = |names: &[&str]| {
        let found = names.iter().map(|n| folder.join(n)).find(|p| files::exists(p));
        found.map(|p| p.to_string_lossy().into_owned())
    };
    if data.labels.is_none() && data.train.is_empty() {
        data.labels = find(&["labels.txt", "labels.json"]);
    }
    if data.tokenizer.is_none() {
        data.tokenizer = find(&["tokenizer.json", "vocab.txt", "vocab.json"]);
    }
}

/// What is known about an exported model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exported<'a> {
    pub labels: Option<&'a LabelVocabulary>,
    /// Name of the predictions in the exported file.
    pub logits: Option<&'a str>,
    /// The loss that training put on them.
    pub attached: Option<AttachedLoss>,
}

/// Writes labels, tokenizer files and a session beside a model that was exported, and gives the paths.
///
/// A file that is there already with other content is left
/// alone; ours then begins with the model's name.
pub fn write(
    model: &Path,
    recipe: &Recipe,
    exported: &Exported<'_>,
    reporter: &mut Reporter,
) -> Result<Vec<PathBuf>, SessionError> {
    let Exported { labels, logits, .. } = *exported;
    let (folder, session) = place(model);
    let fail = |path: &Path, why: String| SessionError::File { path: path.to_owned(), what: "written", why };
    let stem = model.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let mut written = Vec::new();
    let mut data = recipe.data.clone().unwrap_or_default();
    data.labels = None;
    if let Some(labels) = labels.filter(|l| !l.is_empty()) {
        let taken = ["txt", "json"].iter().map(|e| folder.join(format!("{LABELS}.{e}"))).find(|p| files::exists(p));
        let is_same = |p: &PathBuf| LabelVocabulary::read(p).is_ok_and(|l| l.names() == labels.names());
        let name = if taken.is_none_or(|p| is_same(&p)) { LABELS.to_owned() } else { format!("{stem}-{LABELS}") };
        let path = folder.join(labels.write(&folder, &name).map_err(|e| fail(&folder, e.to_string()))?);
        data.labels = Some(path.to_string_lossy().into_owned());
        written.push(path);
    }
    if let Some(from) = data.tokenizer.clone().map(PathBuf::from) {
        let path = copy(&from, &folder, &stem, reporter).map_err(|e| fail(&folder, e.to_string()))?;
        data.tokenizer = Some(path.to_string_lossy().into_owned());
        written.push(path);
        let is_pairs = from.file_name().is_some_and(|n| PAIRS.iter().any(|p| n == *p));
        let partners = PAIRS.iter().filter(|p| is_pairs && from.file_name().is_some_and(|n| n != **p));
        for name in TOKENIZER_FILES.iter().chain(partners) {
            let other = from.with_file_name(name);
            if files::exists(&other) {
                written.push(copy(&other, &folder, &stem, reporter).map_err(|e| fail(&folder, e.to_string()))?);
            }
        }
    }
    data.logits = data.logits.or(logits.map(str::to_owned));
    let use_it = usable(recipe, data, exported.attached);
    let opened = Model::open(model)?;
    file::save(&session, &opened, &use_it)?;
    written.push(session);
    Ok(written)
}

/// [`write()`] for the export of a run. Weights alone (`.safetensors`, `.npz`) get no session, because they are no model.
pub fn write_for_run(
    run: &Path,
    session: &Session,
    to: &Path,
    reporter: &mut Reporter,
) -> Result<Vec<PathBuf>, SessionError> {
    let extension = to.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if session.recipe().data.is_none() || ["safetensors", "npz", "npy", "ckpt"].contains(&extension.as_str()) {
        return Ok(Vec::new());
    }
    // A folder with a grafted head is used by the graph in it, which holds the head.
    let graph = to.join(formats::folders::write::GRAPH);
    let has_graph = session.model.imported.is_built() && files::is_dir(to) && files::exists(&graph);
    let to = if has_graph { &graph } else { to };
    let lists = ["txt", "json"].map(|e| run.join(format!("{LABELS}.{e}")));
    let labels = lists.iter().find(|p| files::exists(p)).map(|p| LabelVocabulary::read(p)).transpose()?;
    let understood = session.understand()?;
    let logits = understood.objective.logits.or_else(|| mapping::guess_logits(&understood));
    let logits = logits.filter(|&v| understood.program.value(v).key.is_some()).map(|v| understood.program.describe(v));
    let attached = understood.objective.attached;
    let mut recipe = (**session.recipe()).clone();
    if let (Some(data), Some(own)) = (&mut recipe.data, &session.model.imported.assets.tokenizer)
        && !data.text.is_empty()
    {
        // A run tokenizes by the file beside its model unless another is named; so does what was exported.
        data.tokenizer.get_or_insert_with(|| own.to_string_lossy().into_owned());
    }
    write(to, &recipe, &Exported { labels: labels.as_ref(), logits: logits.as_deref(), attached }, reporter)
}

/// What using the model needs of the recipe that trained it: its edits are in the file now, and nothing trains.
fn usable(recipe: &Recipe, data: DataChoice, attached: Option<AttachedLoss>) -> Recipe {
    let logits = data.logits.clone();
    let objective = match &recipe.objective {
        // The head is in the file now; its loss is put on its output again.
        Some(Objective::Head { .. }) | None => attached.zip(logits).map(|(a, on)| Objective::Attached {
            loss: a.kind.to_owned(),
            on,
            labels: LABEL_FEED.to_owned(),
            ignore_label: a.ignore,
            options: LossOptions::default(),
        }),
        other => other.clone(),
    };
    let keep = |k: &String| k.starts_with("data.") || k == "training.batch";
    Recipe {
        signature: recipe.signature.clone(),
        shapes: recipe.shapes.clone(),
        pins: recipe.pins.clone(),
        objective,
        data: Some(data),
        settings: recipe.settings.iter().filter(|(k, _)| keep(k)).map(|(k, v)| (k.clone(), v.clone())).collect(),
        ..Recipe::default()
    }
}

/// Copies a file into a folder, under its own name where that is free or the same file is there.
fn copy(from: &Path, folder: &Path, stem: &str, reporter: &mut Reporter) -> std::io::Result<PathBuf> {
    let bytes = files::read(from)?;
    let name = from.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut path = folder.join(&name);
    if files::exists(&path) {
        if files::read(&path)? == bytes {
            return Ok(path);
        }
        path = folder.join(format!("{stem}-{name}"));
        let said = format!("{name} is there already and differs; the model's own is {}", path.display());
        reporter.warning("name-taken", said, Some(path.display().to_string()));
    }
    files::replace(&path, &bytes)?;
    Ok(path)
}
