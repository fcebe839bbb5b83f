//! Google's release folders: a configuration (`bert_config.json`, `albert_config.json`, …), a checkpoint, and a graph file
//! that is missing or only good for training. The graph is built over the checkpoint's own names.

use std::path::Path;

use indexmap::IndexMap;

use crate::base::{Reporter, files};
use crate::formats::tensorflow::bundle::Bundle;
use crate::formats::tensorflow::dialect::TENSORFLOW;
use crate::formats::{Assets, Format, OpenError, Read, Source};

use super::albert;
use super::config::Config;
use super::encoder::{Encoded, EncoderSpec, Feeds, encode, pooled};
use super::heads::{self, Outputs, WordsHead};
use super::net::{Activation, Net};
use super::weights::{Style, Weights};
use super::write;

/// Files that make a folder one of these.
pub const CONFIGS: &[&str] = &["bert_config.json", "albert_config.json", "electra_config.json"];

pub const GOOGLE: Format = Format {
    name: "google-bert-folder",
    label: "Google's BERT folder (bert_config.json with bert_model.ckpt)",
    extensions: &[],
    detect: |source| {
        let names = |c: Config| c.get("model_type").is_none() && c.size("num_hidden_layers").is_ok();
        CONFIGS.contains(&source.name.as_str()) && Config::of_source(source).is_some_and(names)
    },
    read,
    write: Some(write::google),
};

/// The names of the original code.
const FEEDS: Feeds = Feeds { mask: "input_mask", segments: "segment_ids" };
/// What its code adds to the scores of hidden positions, and its normalisations' epsilon.
const HIDDEN_SCORE: f32 = -10000.0;
const EPSILON: f32 = 1e-12;
/// Checkpoints of releases, the most usual first.
const PREFIXES: &[&str] = &["bert_model.ckpt", "model.ckpt-best", "electra_small", "electra_base", "electra_large"];

fn read(source: &Source, report: &mut Reporter) -> Result<Read, OpenError> {
    let unsupported = |what: String| OpenError::Unsupported { name: source.name.clone(), what };
    let config = Config::of_source(source).ok_or_else(|| unsupported("it is not a JSON object".to_owned()))?;
    let bundle = checkpoint(source).map_err(unsupported)?;
    let arrays: IndexMap<_, _> =
        bundle.entries().iter().filter_map(|e| Some((e.name.clone(), bundle.payload(&e.name)?))).collect();
    let mut weights = Weights::new(arrays, Style::TensorFlow);
    let scopes = ["bert", "electra", "albert"];
    let scope = scopes.iter().find(|s| weights.any_starts_with(&format!("{s}/embeddings/")));
    let scope = scope.ok_or_else(|| {
        unsupported(format!(
            "its checkpoint {} has no variables below bert/embeddings or electra/embeddings",
            bundle.prefix
        ))
    })?;
    weights.prefix = format!("{scope}.");
    let mut net = Net::new(&weights);
    let outputs = build(&mut net, &config, scope).map_err(unsupported)?;
    report_unused(&net, report);
    super::report_graph(source, report);
    super::report_tokenizer(source, report);
    let graph = net.b.finish(&outputs);
    let assets = Assets {
        tokenizer: super::tokenizer_beside(source),
        labels: Vec::new(),
        bytes: bundle.len(),
        max_length: config.size("max_position_embeddings").ok(),
    };
    let producer = format!("TensorFlow checkpoint {} (graph built from {})", bundle.prefix, source.name);
    Ok(Read { graph, producer, assets, ..Read::built(&TENSORFLOW) })
}

/// The checkpoint beside a configuration; an error that says what was looked for.
pub fn checkpoint(source: &Source) -> Result<Bundle, String> {
    let prefix = prefix_beside(source)?;
    Bundle::open(source, &prefix).map_err(|e| e.to_string())
}

fn prefix_beside(source: &Source) -> Result<String, String> {
    if let Some(usual) = PREFIXES.iter().find(|p| source.has_sibling(&format!("{p}.index"))) {
        return Ok((*usual).to_owned());
    }
    let listed = source.folder().map(Path::to_owned).and_then(|f| files::list(&f).ok()).unwrap_or_default();
    let names = listed.iter().filter_map(|p| p.file_name()?.to_str()?.strip_suffix(".index").map(str::to_owned));
    let mut prefixes: Vec<String> = names.collect();
    match prefixes.len() {
        0 => Err("there is no checkpoint beside it (bert_model.ckpt.index and its .data file)".to_owned()),
        1 => Ok(prefixes.remove(0)),
        _ => Err(format!(
            "there are several checkpoints beside it ({}); leave one of them in the folder",
            prefixes.join(", ")
        )),
    }
}

/// What optimizers remember is no part of the model; of the rest, what no layer asked for is told.
fn report_unused(net: &Net<'_>, report: &mut Reporter) {
    let is_slot = |n: &str| {
        let last = n.rsplit('/').next().unwrap_or(n);
        last.starts_with("adam_") || last.starts_with("lamb_") || last == "global_step" || n.starts_with("Adam")
    };
    let is_float = |n: &&str| net.w.get(n).is_some_and(|p| p.dtype.is_float());
    let left: Vec<&str> = net.w.names().filter(|n| !net.used.contains(*n) && !is_slot(n)).filter(is_float).collect();
    if let [first, ..] = left.as_slice() {
        let what = format!(
            "{} variables are not used by this architecture and stay as they are in exports ({first}{})",
            left.len(),
            if left.len() > 1 { ", …" } else { "" }
        );
        report.info("unused-weights", what, None);
    }
}

fn build(net: &mut Net<'_>, c: &Config, scope: &str) -> Result<Outputs, String> {
    let is_albert = net.w.any_starts_with(&net.w.inner("encoder.transformer.group.0"));
    // BERT's and ALBERT's code calls the tanh form gelu, ELECTRA's the exact one.
    let gelu = if scope == "electra" { Activation::GeluErf } else { Activation::GeluTanh };
    let mut spec = EncoderSpec::read(c, gelu, HIDDEN_SCORE)?;
    spec.layer.epsilon = EPSILON;
    if let Some([_, width]) = net.w.get(&net.w.inner("embeddings.word_embeddings")).map(|p| &p.shape[..]) {
        spec.embedding = *width;
    }
    let e = match is_albert {
        true => albert::encode(net, c, &spec, FEEDS)?,
        false => encode(net, &spec, FEEDS)?,
    };
    let hidden = spec.layer.hidden;
    let mut out = Outputs::new();
    let path = net.w.inner("pooler.dense");
    let pooler = match (heads::has(net, &path), scope) {
        (true, _) => pooled(net, &path, e.sequence, hidden)?,
        (false, _) => net.first_token(&format!("{scope}/pooler"), e.sequence),
    };
    if net.w.has("output_weights") {
        out.push((
            "logits",
            matrix_head(net, "output_weights", "output_bias", pooler, hidden, spec.embedding_dropout)?,
        ));
    }
    if net.w.has("cls/predictions/transform/dense/kernel") {
        out.push(("prediction_logits", words(net, c, &spec, &e)?));
    }
    if net.w.has("cls/seq_relationship/output_weights") {
        let at = "cls/seq_relationship";
        let logits =
            matrix_head(net, &format!("{at}/output_weights"), &format!("{at}/output_bias"), pooler, hidden, 0.0)?;
        out.push(("seq_relationship_logits", logits));
    }
    if net.w.has("discriminator_predictions/dense/kernel") {
        out.push(("logits", discriminator(net, &spec, &e)?));
    }
    out.push(("sequence_output", e.sequence));
    out.push(("pooled_output", pooler));
    Ok(out)
}

/// The heads of `run_classifier.py`: a matrix `[classes, hidden]` that is multiplied transposed.
fn matrix_head(
    net: &mut Net<'_>,
    matrix: &str,
    bias: &str,
    x: crate::graph::ValueId,
    hidden: usize,
    rate: f64,
) -> super::net::Made {
    let shape = net.w.get(matrix).map(|p| p.shape.to_vec()).unwrap_or_default();
    let [classes, _] = shape[..] else { return Err(format!("{matrix} is no matrix")) };
    let matrix = net.weight(matrix, &[classes, hidden])?;
    let bias = net.weight(bias, &[classes])?;
    let x = net.dropout("loss", x, rate);
    Ok(net.b.scoped("loss", |b| {
        let product = b.matmul("MatMul", x, matrix, true);
        b.bias_add("BiasAdd", product, bias)
    }))
}

/// The masked-language-model head, for every position.
fn words(net: &mut Net<'_>, c: &Config, spec: &EncoderSpec, e: &Encoded) -> super::net::Made {
    let head = WordsHead {
        transform: "cls/predictions/transform/dense",
        norm: "cls/predictions/transform/LayerNorm",
        bias: "cls/predictions/output_bias",
        decoder: "cls/predictions",
        activation: spec.layer.activation,
        epsilon: EPSILON,
        hidden: spec.layer.hidden,
        embedding: spec.embedding,
        vocabulary: spec.vocabulary,
    };
    heads::words(net, c, &head, e)
}

fn discriminator(net: &mut Net<'_>, spec: &EncoderSpec, e: &Encoded) -> super::net::Made {
    let hidden = spec.layer.hidden;
    let x = net.dense("discriminator_predictions/dense", e.rows, hidden, hidden)?;
    let x = net.activation("discriminator_predictions/dense", spec.layer.activation, x);
    let x = net.dense("discriminator_predictions/dense_1", x, hidden, 1)?;
    let (batch, length) = (net.batch, net.length);
    Ok(net.b.scoped("discriminator_predictions", |b| {
        let shape = b.pack("Reshape/shape", &[batch, length]);
        b.reshape("Reshape", x, shape)
    }))
}
