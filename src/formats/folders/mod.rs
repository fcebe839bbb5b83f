//! Folders with weights and a configuration but no graph: the graph is built from the configuration, in TensorFlow's
//! words, over the folder's own names.
//!
//! Reading order: [`hugging_face`] (what is opened), [`encoder`] and [`heads`] (what is built), [`net`] (layers), [`build`]
//! (nodes), [`weights`] and [`arrays`] (where values lie), [`mod@write`] (back into a folder). Adding an architecture: a
//! file with `build`, an entry in `hugging_face::FAMILIES`.

mod albert;
pub mod arrays;
mod bert;
pub mod build;
mod config;
mod distilbert;
mod electra;
mod encoder;
pub mod google;
mod heads;
pub mod hugging_face;
mod net;
mod roberta;
mod weights;
pub mod write;

use std::path::{Path, PathBuf};

use crate::base::{Reporter, files};

use super::Source;
use super::tensorflow::bundle::prefix_of;
use config::Config;

/// The file that describes a folder, if it is one of those that are built here. Google's names tell more than
/// `config.json`, which many programs use.
pub fn description(folder: &Path) -> Option<PathBuf> {
    let here = |name: &str| files::exists(&folder.join(name));
    if let Some(name) = google::CONFIGS.iter().find(|n| here(n)) {
        return Some(folder.join(name));
    }
    // A SavedModel may lie in a folder with a configuration, and is the model where there are no arrays.
    let has_arrays = here(arrays::FILE) || here(arrays::INDEX);
    let is_other = !has_arrays && here("saved_model.pb");
    let config = folder.join(hugging_face::CONFIG);
    (files::exists(&config) && !is_other).then_some(config)
}

/// The description beside a file of weights (`model.safetensors` that somebody opened by its own name).
pub fn description_beside(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?.to_str()?;
    // A checkpoint without a graph of its own.
    let prefix = prefix_of(name).filter(|p| !files::exists(&file.with_file_name(format!("{p}.meta"))));
    if prefix.is_some() {
        return description(file.parent().unwrap_or(Path::new("")));
    }
    let is_weights = name == arrays::FILE || name == arrays::INDEX || name.ends_with(".safetensors");
    let config = file.with_file_name(hugging_face::CONFIG);
    (is_weights && files::exists(&config)).then_some(config)
}

/// Tokenizers that can be read, the most exact first.
const TOKENIZERS: &[&str] = &["tokenizer.json", "vocab.txt"];
/// Byte pairs in two files.
const PAIRS: [&str; 2] = ["vocab.json", "merges.txt"];

/// Tokenizers that cannot: SentencePiece, and one of two files alone.
const OTHER_TOKENIZERS: &[&str] =
    &["spiece.model", "sentencepiece.bpe.model", "30k-clean.model", "vocab.json", "merges.txt"];

/// The tokenizer in the same folder as a file on disk.
pub fn tokenizer_beside(source: &Source) -> Option<PathBuf> {
    let folder = source.folder()?;
    let whole = TOKENIZERS.iter().map(|name| folder.join(name)).find(|file| files::exists(file));
    let pairs = || PAIRS.iter().all(|name| files::exists(&folder.join(name))).then(|| folder.join(PAIRS[0]));
    whole.or_else(pairs)
}

/// Says where the rest is, where a folder was written with more than its configuration describes.
fn report_graph(source: &Source, report: &mut Reporter) {
    if source.has_sibling(write::GRAPH) {
        let what = format!(
            "what is opened is built from the configuration; {} beside it holds a graph as a whole, a grafted head included",
            write::GRAPH
        );
        report.info("graph-beside", what, None);
    }
}

/// Says which tokenizer is offered.
fn report_tokenizer(source: &Source, report: &mut Reporter) {
    if let Some(file) = tokenizer_beside(source) {
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        report.info("tokenizer-beside", format!("{name} lies beside the model and can tokenize its texts"), None);
        return;
    }
    if let Some(name) = OTHER_TOKENIZERS.iter().find(|name| source.has_sibling(name)) {
        let what = format!(
            "the tokenizer beside the model is only there as {name}; for texts, save it as tokenizer.json: in Python, \
             AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
        );
        report.info("tokenizer-unread", what, None);
    }
}

/// The longest text in tokens: what the tokenizer says, within the table of positions.
fn max_length(config: &Config, source: &Source) -> Option<usize> {
    let positions = config.size("max_position_embeddings").ok();
    let usable = positions.map(|n| match config.text("model_type") {
        // Their positions start behind the id of padding.
        Some("roberta" | "xlm-roberta" | "camembert") => {
            n.saturating_sub(config.float("pad_token_id", 1.0).max(0.0) as usize + 1)
        }
        _ => n,
    });
    let tokenizer = source.sibling("tokenizer_config.json").ok();
    let tokenizer = tokenizer.and_then(|b| b.read(0, b.len()).ok()).and_then(|b| Config::of_bytes(&b));
    let stated = tokenizer.and_then(|c| c.size("model_max_length").ok());
    match (usable, stated) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
