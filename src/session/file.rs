//! Session files `*.regraft`: JSON with stable key order, versioned; models and data by relative path, size and hash;
//! never weights.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::{Diagnostic, Severity, files};

use super::error::SessionError;
use super::model::Model;
use super::recipe::{EditStep, Recipe};

pub const EXTENSION: &str = "regraft";
const VERSION: u32 = 1;
/// How much of a model is hashed: enough to notice another export, not so much that saving waits for a disk.
const HASHED_BYTES: u64 = 1 << 20;
/// Data files up to this size are hashed whole.
const WHOLE_BYTES: u64 = 32 << 20;

/// A session file.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SessionFile {
    /// Version of this layout.
    regraft: u32,
    model: ModelReference,
    recipe: Recipe,
    /// What the files that the recipe names were when it was saved, by the paths that stand in it. Leave an entry out, and
    /// its file is not compared.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    files: IndexMap<String, FileReference>,
}

/// A file as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileReference {
    bytes: u64,
    /// SHA-256 of the length and the content (of the first and last mebibyte of large files).
    fingerprint: String,
}

/// The imported model.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ModelReference {
    /// Relative to the session file, with `/` between parts.
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// SHA-256 of the first and last mebibyte and the length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

/// A session file as read: the model is not opened yet.
#[derive(Debug)]
pub struct Loaded {
    pub model_path: PathBuf,
    pub recipe: Recipe,
    session_path: PathBuf,
    fingerprint: Option<String>,
    /// Files that are not what they were when this was saved; each says what to do.
    pub changed: Vec<Diagnostic>,
}

/// Whether a path is a session file, by its extension.
pub fn is_session(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(EXTENSION))
}

pub fn load(path: &Path) -> Result<Loaded, SessionError> {
    let fail = |why: String| SessionError::File { path: path.to_owned(), what: "read", why };
    let text = files::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    let version = serde_json::from_str::<serde_json::Value>(&text)
        .map_err(|e| fail(format!("it is not JSON ({e})")))?
        .get("regraft")
        .and_then(serde_json::Value::as_u64)
        .ok_or_else(|| fail("it has no version (\"regraft\": 1)".to_owned()))?;
    if version > u64::from(VERSION) {
        return Err(fail(format!("it was written by a newer Regraft (layout {version}, this one knows {VERSION})")));
    }
    let read: SessionFile = serde_json::from_str(&text).map_err(|e| fail(e.to_string()))?;
    let changed = read.files.iter().filter_map(|(name, was)| changed(&folder(path).join(name), was)).collect();
    let mut recipe = read.recipe;
    for text in data_paths(&mut recipe) {
        *text = folder(path).join(&*text).to_string_lossy().into_owned();
    }
    Ok(Loaded {
        model_path: folder(path).join(&read.model.path),
        recipe,
        session_path: path.to_owned(),
        fingerprint: read.model.fingerprint,
        changed,
    })
}

/// Refuses a model that is not the one that the session was saved with.
pub fn check_model(loaded: &Loaded, model: &Model) -> Result<(), SessionError> {
    let Some(want) = &loaded.fingerprint else { return Ok(()) };
    let have = fingerprint(&model.imported.path);
    if have.as_ref().is_some_and(|h| h != want) {
        return Err(SessionError::File {
            path: loaded.session_path.clone(),
            what: "opened",
            why: format!(
                "{} is not the model that it was saved with; put that model back, or remove \"fingerprint\" from the \
                 session file to go on with this one",
                loaded.model_path.display()
            ),
        });
    }
    Ok(())
}

pub fn save(path: &Path, model: &Model, recipe: &Recipe) -> Result<(), SessionError> {
    let fail = |why: String| SessionError::File { path: path.to_owned(), what: "written", why };
    let mut recipe = recipe.clone();
    let mut files = IndexMap::new();
    for text in data_paths(&mut recipe).filter(|t| !t.is_empty()) {
        let reference = reference(Path::new(&*text));
        *text = relative(Path::new(&*text), folder(path));
        files.extend(reference.map(|r| (text.clone(), r)));
    }
    let file = SessionFile {
        regraft: VERSION,
        model: ModelReference {
            path: relative(&model.imported.path, folder(path)),
            bytes: Some(model.imported.bytes),
            fingerprint: fingerprint(&model.imported.path),
        },
        recipe,
        files,
    };
    let mut text = serde_json::to_string_pretty(&file).map_err(|e| fail(e.to_string()))?;
    text.push('\n');
    files::replace(path, text.as_bytes()).map_err(|e| fail(e.to_string()))
}

/// The recipe's paths: relative to the session in the file, to the working folder (or absolute) in memory.
fn data_paths(recipe: &mut Recipe) -> impl Iterator<Item = &mut String> {
    let weights = recipe.edits.iter_mut().filter_map(|e| match &mut e.step {
        EditStep::LoadWeights(choice) => Some(&mut choice.file),
        _ => None,
    });
    let data = recipe.data.iter_mut();
    let data = data.flat_map(|d| {
        std::iter::once(&mut d.train).chain(&mut d.validation).chain(&mut d.tokenizer).chain(&mut d.labels)
    });
    data.chain(weights)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// `path` as seen from `from`, absolute where they share no root.
pub fn relative(path: &Path, from: &Path) -> String {
    let (Ok(path), Ok(from)) = (files::canonical(path), files::canonical(from)) else {
        return path.to_string_lossy().replace('\\', "/");
    };
    let shared = path.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    if shared == 0 {
        return path.to_string_lossy().replace('\\', "/");
    }
    let up = from.components().skip(shared).map(|_| "..".to_owned());
    let down = path.components().skip(shared).map(|c| c.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<_>>().join("/")
}

/// What a file is now; `None` for folders and files that cannot be read.
fn reference(path: &Path) -> Option<FileReference> {
    let bytes = files::len(path).ok()?;
    let fingerprint = if bytes <= WHOLE_BYTES && !files::is_dir(path) {
        let mut hash = Sha256::new();
        hash.update(bytes.to_le_bytes());
        hash.update(files::read(path).ok()?);
        hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
    } else {
        fingerprint(path)?
    };
    Some(FileReference { bytes, fingerprint })
}

/// What to say where a file is not what it was.
fn changed(path: &Path, was: &FileReference) -> Option<Diagnostic> {
    let what = match reference(path) {
        Some(now) if now == *was => return None,
        Some(now) => format!("has changed since the session was saved ({} bytes then, {} now)", was.bytes, now.bytes),
        None if files::exists(path) => return None,
        None => "is no longer where it was when the session was saved".to_owned(),
    };
    Some(Diagnostic {
        severity: Severity::Warning,
        code: "data-changed".to_owned(),
        message: format!(
            "{} {what}; put the old file back to get the same numbers, choose the data again, or save the session again \
             to accept it",
            path.display()
        ),
        place: Some(path.display().to_string()),
    })
}

/// The JSON schema of session files, with one entry per setting.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(SessionFile).to_value();
    let setting = |s: &crate::train::settings::Setting| {
        let help = if s.unit.is_empty() { s.help.to_owned() } else { format!("{} Unit: {}.", s.help, s.unit) };
        (s.key.to_owned(), serde_json::json!({ "type": "string", "description": help, "default": s.default }))
    };
    let settings: serde_json::Map<String, serde_json::Value> =
        crate::train::settings::table::ALL.iter().map(setting).collect();
    if let Some(place) = schema.pointer_mut("/$defs/Recipe/properties/settings") {
        place["properties"] = serde_json::Value::Object(settings);
        place["additionalProperties"] = serde_json::Value::Bool(false);
    }
    schema
}

/// `None` for folders and files that cannot be read: then nothing is compared.
fn fingerprint(path: &Path) -> Option<String> {
    let file = files::PositionedFile::open(path).ok()?;
    let len = file.len();
    let mut hash = Sha256::new();
    hash.update(len.to_le_bytes());
    for start in [0, len.saturating_sub(HASHED_BYTES)] {
        let mut buf = vec![0; usize::try_from(HASHED_BYTES.min(len - start)).ok()?];
        file.read_exact_at(&mut buf, start).ok()?;
        hash.update(&buf);
    }
    Some(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
