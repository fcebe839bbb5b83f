//! Hugging Face folders: `config.json` says the architecture, `model.safetensors` (or its shards) hold the weights.

use crate::base::Reporter;
use crate::formats::tensorflow::dialect::TENSORFLOW;
use crate::formats::{Assets, Format, OpenError, Read, Source};

use super::arrays::{self, FolderArrays};
use super::config::Config;
use super::heads::Outputs;
use super::net::Net;
use super::weights::{Style, Weights};
use super::{albert, bert, distilbert, electra, roberta, write};

/// The file that makes a folder one of these.
pub const CONFIG: &str = "config.json";

pub const HUGGING_FACE: Format = Format {
    name: "hugging-face-folder",
    label: "Hugging Face folder (config.json with model.safetensors)",
    extensions: &[],
    detect: |source| Config::of_source(source).is_some_and(|c| c.text("model_type").is_some()),
    read,
    write: Some(write::hugging_face),
};

type Builder = fn(&mut Net<'_>, &Config) -> Result<Outputs, String>;

/// Architectures by their `model_type`, with what stands in front of the encoder's names under a head.
const FAMILIES: &[(&[&str], &str, Builder)] = &[
    (&["bert"], "bert.", bert::build),
    (&["distilbert"], "distilbert.", distilbert::build),
    (&["roberta", "xlm-roberta", "camembert"], "roberta.", roberta::build),
    (&["electra"], "electra.", electra::build),
    (&["albert"], "albert.", albert::build),
];

/// Every `model_type` that can be built.
pub fn model_types() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|(types, ..)| types.iter().copied())
}

/// Weights in other clothes, with what to do.
const OTHER_WEIGHTS: &[(&str, &str)] = &[
    ("pytorch_model.bin", "PyTorch's pickle, which can run code when it is read"),
    ("pytorch_model.bin.index.json", "PyTorch's pickle in shards, which can run code when it is read"),
    ("tf_model.h5", "Keras HDF5"),
    ("flax_model.msgpack", "Flax"),
];

/// Arrays that only repeat the word embeddings, because a head is tied to them.
const TIED: &[&str] = &[
    "cls.predictions.decoder.weight",
    "lm_head.decoder.weight",
    "generator_lm_head.weight",
    "vocab_projector.weight",
    "predictions.decoder.weight",
];

/// Whether a stored array that the graph does not read repeats the word embeddings.
pub fn repeats_words(name: &str) -> bool {
    TIED.contains(&name)
}

fn read(source: &Source, report: &mut Reporter) -> Result<Read, OpenError> {
    let unsupported = |what: String| OpenError::Unsupported { name: source.name.clone(), what };
    let config = Config::of_source(source).ok_or_else(|| unsupported("it is not a JSON object".to_owned()))?;
    let model_type = config.text("model_type").unwrap_or_default();
    let family = FAMILIES.iter().find(|(types, ..)| types.contains(&model_type));
    let &(_, prefix, build) = family.ok_or_else(|| {
        unsupported(format!(
            "its model_type is {model_type:?}; folders of {} can be opened (export others to ONNX)",
            model_types().collect::<Vec<_>>().join(", ")
        ))
    })?;
    let folder = match arrays::read(source) {
        Some(read) => read.map_err(unsupported)?,
        None => return Err(unsupported(without_weights(source))),
    };
    let FolderArrays { arrays, bytes, .. } = folder;
    let mut weights = Weights::new(arrays, Style::Torch);
    if weights.any_starts_with(prefix) {
        prefix.clone_into(&mut weights.prefix);
    }
    let mut net = Net::new(&weights);
    let outputs = build(&mut net, &config).map_err(unsupported)?;
    report_unused(&net, report);
    super::report_graph(source, report);
    super::report_tokenizer(source, report);
    let graph = net.b.finish(&outputs);
    let producer = match config.text("transformers_version") {
        Some(version) => format!("transformers {version}"),
        None => "transformers (version not stated)".to_owned(),
    };
    let assets = Assets {
        tokenizer: super::tokenizer_beside(source),
        labels: config.labels(),
        max_length: super::max_length(&config, source),
        bytes,
    };
    Ok(Read { graph, producer, assets, ..Read::built(&TENSORFLOW) })
}

/// Floats that the architecture did not ask for: kept in exports, but nothing computes with them.
fn report_unused(net: &Net<'_>, report: &mut Reporter) {
    let is_float = |name: &&str| net.w.get(name).is_some_and(|p| p.dtype.is_float());
    let unused: Vec<&str> =
        net.w.names().filter(|n| !net.used.contains(*n) && !repeats_words(n)).filter(is_float).collect();
    if let [first, ..] = unused.as_slice() {
        let what = format!(
            "{} arrays are not used by this architecture and stay as they are in exports ({first}{})",
            unused.len(),
            if unused.len() > 1 { ", …" } else { "" }
        );
        report.info("unused-weights", what, None);
    }
}

fn without_weights(source: &Source) -> String {
    let found = OTHER_WEIGHTS.iter().find(|(name, _)| source.has_sibling(name));
    match found {
        Some((name, kind)) => format!(
            "its weights are only there as {name} ({kind}); save them as safetensors first: in Python, \
             AutoModel.from_pretrained(folder).save_pretrained(folder, safe_serialization=True) with the class that \
             \"architectures\" in config.json names"
        ),
        None => format!(
            "there is no {} beside it; put the weights into the same folder ({} for several files)",
            arrays::FILE,
            arrays::INDEX
        ),
    }
}
