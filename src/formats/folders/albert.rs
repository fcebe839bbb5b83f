//! ALBERT: BERT with narrow embeddings and layers that share their weights in groups.

use crate::graph::ValueId;

use super::config::Config;
use super::encoder::{Encoded, EncoderSpec, Feeds, HUGGING_FACE_FEEDS, embeddings, pooled};
use super::heads::{self, Outputs, Task, WordsHead};
use super::net::{Activation, LayerPaths, Net};
use super::weights::Style;

/// As Hugging Face stores it.
pub fn build(net: &mut Net<'_>, c: &Config) -> Result<Outputs, String> {
    let mut spec = EncoderSpec::read(c, Activation::GeluErf, f32::MIN)?;
    spec.embedding = c.size_or("embedding_size", 128)?;
    // The feed-forward block drops nothing there.
    spec.layer.output_dropout = 0.0;
    let e = encode(net, c, &spec, HUGGING_FACE_FEEDS)?;
    let hidden = spec.layer.hidden;
    let mut out = Outputs::new();
    let path = net.w.inner("pooler");
    let pooler = if heads::has(net, &path) { Some(pooled(net, &path, e.sequence, hidden)?) } else { None };
    let rate = c.rate("classifier_dropout_prob", 0.1);
    if heads::has(net, "classifier") {
        let task = heads::task(c, if pooler.is_some() { Task::Texts } else { Task::Tokens });
        out.push((
            "logits",
            match (task, pooler) {
                (Task::Texts, Some(p)) => heads::classify_texts(net, "classifier", p, hidden, rate)?,
                (Task::Texts, None) => {
                    return Err("it classifies texts, but has no pooler among its weights".to_owned());
                }
                (Task::Tokens, _) => heads::classify_tokens(net, "classifier", e.rows, hidden, rate)?,
            },
        ));
    }
    if heads::has(net, "qa_outputs") {
        heads::spans(net, "qa_outputs", e.rows, hidden, &mut out)?;
    }
    if heads::has(net, "predictions.dense") {
        let head = WordsHead {
            transform: "predictions.dense",
            norm: "predictions.LayerNorm",
            bias: "predictions.bias",
            decoder: "predictions.decoder",
            activation: spec.layer.activation,
            epsilon: spec.layer.epsilon,
            hidden,
            embedding: spec.embedding,
            vocabulary: spec.vocabulary,
        };
        out.push(("logits", heads::words(net, c, &head, &e)?));
    }
    out.push(("last_hidden_state", e.sequence));
    out.extend(pooler.map(|p| ("pooler_output", p)));
    Ok(out)
}

/// Embeddings, their projection, and `num_hidden_layers` layers over `num_hidden_groups` sets of weights.
pub fn encode(net: &mut Net<'_>, c: &Config, spec: &EncoderSpec, feeds: Feeds) -> Result<Encoded, String> {
    let n_groups = c.size_or("num_hidden_groups", 1)?;
    let n_inner = c.size_or("inner_group_num", 1)?;
    if n_groups > spec.n_layers || n_inner > spec.n_layers {
        return Err(format!("{} layers cannot share {n_groups} groups of {n_inner}", spec.n_layers));
    }
    let hidden = spec.layer.hidden;
    let mask = net.feed(feeds.mask);
    let (rows, words) = embeddings(net, spec, feeds)?;
    let path = net.w.inner("encoder.embedding_hidden_mapping_in");
    let mut rows: ValueId = match spec.embedding == hidden && !heads::has(net, &path) {
        true => rows,
        false => net.dense(&path, rows, spec.embedding, hidden)?,
    };
    let bias = net.mask_bias(mask, spec.hidden_score);
    for i in 0..spec.n_layers {
        for inner in 0..n_inner {
            let paths = layer(net, i * n_groups / spec.n_layers, inner);
            rows = net.layer(&spec.layer, &paths, rows, bias)?;
        }
    }
    let scope = net.w.inner("encoder").replace('.', "/");
    let sequence = net.sequence(&scope, rows, hidden);
    Ok(Encoded { rows, sequence, words })
}

/// Paths of one shared layer.
fn layer(net: &Net<'_>, group: usize, inner: usize) -> LayerPaths {
    let is_torch = net.w.style() == Style::Torch;
    let at = |torch: &str, tensorflow: &str| {
        if is_torch {
            net.w.inner(&format!("encoder.albert_layer_groups.{group}.albert_layers.{inner}.{torch}"))
        } else {
            net.w.inner(&format!("encoder.transformer.group.{group}.inner_group.{inner}.{tensorflow}"))
        }
    };
    LayerPaths {
        query: at("attention.query", "attention.1.self.query"),
        key: at("attention.key", "attention.1.self.key"),
        value: at("attention.value", "attention.1.self.value"),
        projection: at("attention.dense", "attention.1.output.dense"),
        attention_norm: at("attention.LayerNorm", "LayerNorm"),
        intermediate: at("ffn", "ffn.1.intermediate.dense"),
        output: at("ffn_output", "ffn.1.intermediate.output.dense"),
        output_norm: at("full_layer_layer_norm", "LayerNorm.1"),
    }
}
