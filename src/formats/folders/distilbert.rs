//! DistilBERT: BERT without segments and pooler, under names of its own.

use super::config::Config;
use super::encoder::{Encoded, HUGGING_FACE_FEEDS};
use super::heads::{self, Outputs, Task, WordsHead};
use super::net::{Activation, LayerPaths, LayerSpec, Net};

/// The epsilon of every normalisation; no configuration says it.
const EPSILON: f32 = 1e-12;

pub fn build(net: &mut Net<'_>, c: &Config) -> Result<Outputs, String> {
    let hidden = c.size("dim")?;
    let rate = c.rate("dropout", 0.1);
    let spec = LayerSpec {
        hidden,
        heads: c.size("n_heads")?,
        inner: c.size("hidden_dim")?,
        activation: Activation::of(c.text("activation").unwrap_or("gelu"), Activation::GeluErf)?,
        epsilon: EPSILON,
        attention_dropout: c.rate("attention_dropout", 0.1),
        projection_dropout: 0.0,
        output_dropout: rate,
    }
    .checked()?;
    let e = encode(net, c, &spec, rate)?;
    let mut out = Outputs::new();
    if heads::has(net, "pre_classifier") && heads::has(net, "classifier") {
        let first = net.first_token("pre_classifier", e.sequence);
        let x = net.dense("pre_classifier", first, hidden, hidden)?;
        let x = net.activation("pre_classifier", Activation::Relu, x);
        let rate = c.rate("seq_classif_dropout", 0.2);
        out.push(("logits", heads::classify_texts(net, "classifier", x, hidden, rate)?));
    } else if heads::has(net, "classifier") && heads::task(c, Task::Tokens) == Task::Tokens {
        out.push(("logits", heads::classify_tokens(net, "classifier", e.rows, hidden, rate)?));
    }
    if heads::has(net, "qa_outputs") {
        let rows = net.dropout("qa_outputs", e.rows, c.rate("qa_dropout", 0.1));
        heads::spans(net, "qa_outputs", rows, hidden, &mut out)?;
    }
    if heads::has(net, "vocab_transform") {
        let head = WordsHead {
            transform: "vocab_transform",
            norm: "vocab_layer_norm",
            bias: "vocab_projector.bias",
            decoder: "vocab_projector",
            activation: spec.activation,
            epsilon: EPSILON,
            hidden,
            embedding: hidden,
            vocabulary: c.size("vocab_size")?,
        };
        out.push(("logits", heads::words(net, c, &head, &e)?));
    }
    out.push(("last_hidden_state", e.sequence));
    Ok(out)
}

fn encode(net: &mut Net<'_>, c: &Config, spec: &LayerSpec, rate: f64) -> Result<Encoded, String> {
    let hidden = spec.hidden;
    let mask = net.feed(HUGGING_FACE_FEEDS.mask);
    let inner = |net: &Net<'_>, part: &str| net.w.inner(part);
    let scope = inner(net, "embeddings").replace('.', "/");
    let table = net.w.table(&inner(net, "embeddings.word_embeddings"));
    let words = net.weight(&table, &[c.size("vocab_size")?, hidden])?;
    let ids = net.input_ids;
    let sum = net.b.gather(&format!("{scope}/GatherV2"), words, ids);
    let table = net.w.table(&inner(net, "embeddings.position_embeddings"));
    let table = net.weight(&table, &[c.size("max_position_embeddings")?, hidden])?;
    let positions = net.positions(&scope, table);
    let sum = net.b.typed(&format!("{scope}/add"), "AddV2", &[sum, positions]);
    let rows = net.rows(&scope, sum, hidden);
    let rows = net.norm(&inner(net, "embeddings.LayerNorm"), rows, hidden, EPSILON)?;
    let mut rows = net.dropout(&scope, rows, rate);
    let bias = net.mask_bias(mask, f32::MIN);
    for i in 0..c.layers("n_layers")? {
        let at = |part: &str| net.w.inner(&format!("transformer.layer.{i}.{part}"));
        let paths = LayerPaths {
            query: at("attention.q_lin"),
            key: at("attention.k_lin"),
            value: at("attention.v_lin"),
            projection: at("attention.out_lin"),
            attention_norm: at("sa_layer_norm"),
            intermediate: at("ffn.lin1"),
            output: at("ffn.lin2"),
            output_norm: at("output_layer_norm"),
        };
        rows = net.layer(spec, &paths, rows, bias)?;
    }
    let sequence = net.sequence(&inner(net, "transformer").replace('.', "/"), rows, hidden);
    Ok(Encoded { rows, sequence, words })
}
