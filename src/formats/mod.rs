//! The only place that knows file formats: readers make a [`Graph`], dialects spell its nodes, writers patch the
//! original bytes.
//!
//! Reading order: [`source`] (bytes), [`wire`] (protobuf fields), [`open`] here, [`tensorflow`]. Adding a format: a
//! folder, a `mod` line, an entry in [`ALL`].

pub mod about;
pub mod entry;
pub mod folders;
pub mod foreign;
pub mod named;
pub mod onnx;
pub mod source;
pub mod targets;
pub mod tensorflow;
pub mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::{Diagnostic, Reporter, files};
use crate::graph::{Graph, GraphPatch, Span};
use crate::lower::Dialect;

pub use entry::{EntryPoint, entry_points};
pub use source::Source;

/// A format that can be opened.
#[derive(Clone, Copy)]
pub struct Format {
    /// Stable name, as `inspect --json` shows it.
    pub name: &'static str,
    /// What a person calls it.
    pub label: &'static str,
    /// Usual endings, without the dot; the content decides.
    pub extensions: &'static [&'static str],
    /// Whether the content looks like this format; reads little.
    pub detect: fn(&Source) -> bool,
    pub read: fn(&Source, &mut Reporter) -> Result<Read, OpenError>,
    /// Writes a changed copy; `None` where the format can only be read.
    pub write: Option<fn(&Imported, &GraphPatch, &Path) -> Result<(), WriteError>>,
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All formats, in the order in which they are tried.
pub const ALL: &[&Format] = &[
    &folders::google::GOOGLE,
    &folders::hugging_face::HUGGING_FACE,
    &tensorflow::checkpoint::CHECKPOINT,
    &tensorflow::saved_model::SAVED_MODEL,
    &onnx::ONNX,
    &tensorflow::FROZEN,
    &tensorflow::TEXT,
];

/// What a reader gives; [`open`] adds where it came from.
#[derive(Debug)]
pub struct Read {
    pub graph: Graph,
    pub producer: String,
    /// Where the graph's message lies in the file, for writers.
    pub graph_span: Span,
    pub dialect: &'static dyn Dialect,
    /// The bytes that spans refer to, where they are not those of the file.
    pub converted: Option<Source>,
    pub assets: Assets,
    /// The checkpoint that holds the values of variables, where they have files of their own.
    pub variables: Option<Arc<tensorflow::variables::Variables>>,
    /// Empty where the graph's own signatures say it.
    pub entry_points: Vec<EntryPoint>,
}

impl Read {
    /// For readers that build their graph themselves: nothing of it lies in the file.
    pub fn built(dialect: &'static dyn Dialect) -> Self {
        Self {
            graph: Graph::default(),
            producer: String::new(),
            graph_span: 0..0,
            dialect,
            converted: None,
            assets: Assets::default(),
            variables: None,
            entry_points: Vec::new(),
        }
    }
}

/// What lies beside a model and belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assets {
    /// A `tokenizer.json` or `vocab.txt`.
    pub tokenizer: Option<PathBuf>,
    /// Names of the classes, by index; empty where nothing says them.
    pub labels: Vec<String>,
    /// The longest text in tokens.
    pub max_length: Option<usize>,
    /// Bytes of the files that hold the weights, where they are not in the file itself.
    pub bytes: u64,
}

/// A file as it was opened; never changed afterwards.
#[derive(Clone, Debug)]
pub struct Imported {
    pub graph: Arc<Graph>,
    /// `tensorflow-graphdef`, …
    pub format: &'static str,
    /// The program that wrote the file, as far as it says.
    pub producer: String,
    pub bytes: u64,
    pub path: PathBuf,
    pub diagnostics: Vec<Diagnostic>,
    pub assets: Assets,
    /// The ways into the model, in file order.
    pub entry_points: Vec<EntryPoint>,
    source: Source,
    graph_span: Span,
    dialect: &'static dyn Dialect,
    variables: Option<Arc<tensorflow::variables::Variables>>,
}

impl Imported {
    /// The checkpoint that holds the values of variables, where they have files of their own.
    pub fn variables(&self) -> Option<&tensorflow::variables::Variables> {
        self.variables.as_deref()
    }

    pub fn dialect(&self) -> &'static dyn Dialect {
        self.dialect
    }

    /// Whether the graph was built from a configuration, because the source holds none.
    pub fn is_built(&self) -> bool {
        [folders::hugging_face::HUGGING_FACE.name, folders::google::GOOGLE.name].contains(&self.format)
    }

    /// The original bytes, for writers.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Where the graph's message lies in the file.
    pub fn graph_span(&self) -> Span {
        self.graph_span.clone()
    }
}

/// Why a file could not be understood at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path} could not be read: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("{0} is empty")]
    Empty(String),
    #[error("{name} is none of the formats that can be opened ({known}); it starts with {start}")]
    Unrecognised { name: String, known: String, start: String },
    #[error("{name} looks like {format}, but is damaged: {source}")]
    Broken { name: String, format: &'static str, source: wire::WireError },
    #[error("{name}: {what}")]
    Unsupported { name: String, what: String },
}

/// Opens a model file, or a folder that holds one. Never reads tensor bytes.
pub fn open(path: &Path) -> Result<Imported, OpenError> {
    open_choosing(path, None)
}

/// As [`open`]; `choice` names a signature, meta graph or tag set of a file that holds several.
pub fn open_choosing(path: &Path, choice: Option<&str>) -> Result<Imported, OpenError> {
    open_source(source_of(path, choice)?, path)
}

/// The file that says what the model at `path` is.
fn source_of(path: &Path, choice: Option<&str>) -> Result<Source, OpenError> {
    let io = |source| OpenError::Io { path: path.display().to_string(), source };
    let described = match files::is_dir(path) {
        true => folders::description(path),
        false => folders::description_beside(path),
    };
    let file = match described {
        Some(file) => Some(file),
        None => tensorflow::locate::main_file(path).map_err(io)?,
    };
    let Some(file) = file else {
        let what = "this folder holds no model that can be opened; name the model file itself".to_owned();
        return Err(OpenError::Unsupported { name: path.display().to_string(), what });
    };
    let mut source = Source::open(&file).map_err(io)?;
    source.choice = choice.map(str::to_owned);
    Ok(source)
}

/// Whether [`open`] knows what is at `path`, by its first bytes; the model itself is not read. Errors say what it is
/// instead.
pub fn recognise(path: &Path) -> Result<&'static Format, OpenError> {
    format_of(&source_of(path, None)?)
}

fn format_of(source: &Source) -> Result<&'static Format, OpenError> {
    if source.bytes.is_empty() {
        return Err(OpenError::Empty(source.name.clone()));
    }
    if let Some(format) = ALL.iter().find(|f| (f.detect)(source)) {
        return Ok(format);
    }
    if let Some(what) = foreign::name(source) {
        return Err(OpenError::Unsupported { name: source.name.clone(), what: format!("this is {what}") });
    }
    let known = ALL.iter().map(|f| f.label).collect::<Vec<_>>().join(", ");
    Err(OpenError::Unrecognised { known, start: first_bytes(source), name: source.name.clone() })
}

/// As [`open`], from bytes; `path` is only remembered.
pub fn open_source(source: Source, path: &Path) -> Result<Imported, OpenError> {
    let _span = tracing::info_span!("open", name = %source.name).entered();
    let format = format_of(&source)?;
    let mut report = Reporter::default();
    let read = (format.read)(&source, &mut report)?;
    let bytes = match &read.variables {
        // The index or a shard may be the file that was named.
        Some(v) => v.bundle.len() + read.converted.as_ref().unwrap_or(&source).bytes.len(),
        None => source.bytes.len() + read.assets.bytes,
    };
    let entry_points = match read.entry_points.is_empty() {
        true => entry::of_signatures(&read.graph.signatures, source.choice.as_deref()),
        false => read.entry_points,
    };
    let source = read.converted.unwrap_or(source);
    Ok(Imported {
        entry_points,
        graph: Arc::new(read.graph),
        format: format.name,
        producer: read.producer,
        bytes,
        path: path.to_owned(),
        diagnostics: report.into_diagnostics(),
        assets: read.assets,
        graph_span: read.graph_span,
        dialect: read.dialect,
        variables: read.variables,
        source,
    })
}

/// Why a model could not be written. Nothing is left under the final name then.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("writing failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("the original file cannot be read any more: {0}")]
    Original(#[from] wire::WireError),
    #[error("the change does not fit the model: {0}")]
    Patch(String),
    #[error("reading the new file back gave {0}; it was not kept")]
    ReadBack(String),
    #[error("{0} is the file that is open; choose another name")]
    SameFile(String),
    #[error("files of the format {0} can be read but not written")]
    ReadOnly(&'static str),
    #[error("this model cannot be written as {kind}: {why}")]
    OutOfReach { kind: &'static str, why: String },
}

/// Writes the imported model with `patch` carried out to `path`, in its own format. Unchanged parts keep their bytes.
pub fn write(imported: &Imported, patch: &GraphPatch, path: &Path) -> Result<(), WriteError> {
    let _span = tracing::info_span!("write", path = %path.display()).entered();
    let same = |a: &Path, b: &Path| matches!((files::canonical(a), files::canonical(b)), (Ok(a), Ok(b)) if a == b);
    if same(path, &imported.path) {
        return Err(WriteError::SameFile(path.display().to_string()));
    }
    // Another ending than the model's own asks for another kind of file.
    if let Some(kind) = targets::of_path(path)
        && let Some(why) = targets::why_not(imported, kind)
    {
        return Err(WriteError::OutOfReach { kind: kind.label(), why });
    }
    if is_other_kind(imported, path) {
        return match tensorflow::text_print::is_text(path) {
            true => tensorflow::text_print::write(imported, patch, path),
            false => tensorflow::freeze::write(imported, patch, path),
        };
    }
    let format = ALL.iter().find(|f| f.name == imported.format);
    match format.and_then(|f| f.write) {
        Some(write) => write(imported, patch, path),
        None => Err(WriteError::ReadOnly(imported.format)),
    }
}

/// Whether a model would be written to `path` as another kind of file than it was read from: frozen.
pub fn is_other_kind(imported: &Imported, path: &Path) -> bool {
    let is_frozen = [tensorflow::FROZEN.name, tensorflow::TEXT.name].contains(&imported.format);
    !is_frozen && imported.dialect.name() == "tensorflow" && wants_frozen(path)
}

/// Whether a path asks for a frozen TensorFlow graph, whatever the model was read from.
fn wants_frozen(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let is_graph = name.ends_with(".pb") || tensorflow::text_print::is_text(path);

    is_graph && !["saved_model.pb", "saved_model.pbtxt"].contains(&name.as_str()) && !files::is_dir(path)
}

fn first_bytes(source: &Source) -> String {
    let bytes = source.bytes.read(0, source.bytes.len().min(16)).unwrap_or_default();
    bytes.escape_ascii().to_string()
}
