//! The encoder that BERT, RoBERTa and ELECTRA share: embeddings of words, positions and segments, then equal layers.

use crate::graph::ValueId;

use super::config::Config;
use super::net::{Activation, LayerPaths, LayerSpec, Made, Net};

/// How tokens are numbered for the table of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// 0, 1, 2, ….
    Plain,
    /// From the id of padding on, padding left out (RoBERTa).
    AfterPadding(i32),
}

/// Sizes and rates of the whole encoder.
#[derive(Clone, Debug)]
pub struct EncoderSpec {
    pub layer: LayerSpec,
    pub n_layers: usize,
    pub vocabulary: usize,
    pub n_positions: usize,
    pub n_segments: usize,
    /// Width of the embeddings; where it differs from the hidden size they are projected.
    pub embedding: usize,
    pub embedding_dropout: f64,
    pub positions: Positions,
    /// What is added to the score of a hidden position.
    pub hidden_score: f32,
}

/// Names of the fed masks and segments.
#[derive(Clone, Copy, Debug)]
pub struct Feeds {
    pub mask: &'static str,
    pub segments: &'static str,
}

/// The names that Hugging Face's models use.
pub const HUGGING_FACE_FEEDS: Feeds = Feeds { mask: "attention_mask", segments: "token_type_ids" };

impl EncoderSpec {
    /// The keys that the family shares. Refuses what is not built: decoders and relative positions.
    pub fn read(c: &Config, plain_gelu: Activation, hidden_score: f32) -> Result<Self, String> {
        if c.flag("is_decoder", false) || c.flag("add_cross_attention", false) {
            return Err("it is configured as a decoder; only encoders can be built".to_owned());
        }
        if let Some(other) = c.text("position_embedding_type").filter(|t| *t != "absolute") {
            return Err(format!("its positions are of the kind {other:?}; only absolute ones can be built"));
        }
        let layer = LayerSpec::read(c, plain_gelu)?;
        Ok(Self {
            n_layers: c.layers("num_hidden_layers")?,
            vocabulary: c.size("vocab_size")?,
            n_positions: c.size("max_position_embeddings")?,
            n_segments: c.size_or("type_vocab_size", 2)?,
            embedding: c.size_or("embedding_size", layer.hidden)?,
            embedding_dropout: c.rate("hidden_dropout_prob", 0.1),
            positions: Positions::Plain,
            hidden_score,
            layer,
        })
    }
}

/// What heads read.
#[derive(Clone, Copy, Debug)]
pub struct Encoded {
    /// `[batch · length, hidden]`.
    pub rows: ValueId,
    /// `[batch, length, hidden]`.
    pub sequence: ValueId,
    /// The table that language-model heads are tied to.
    pub words: ValueId,
}

/// Embeddings and layers.
pub fn encode(net: &mut Net<'_>, spec: &EncoderSpec, feeds: Feeds) -> Result<Encoded, String> {
    let mask = net.feed(feeds.mask);
    let (mut rows, words) = embeddings(net, spec, feeds)?;
    let project = net.w.inner("embeddings_project");
    if spec.embedding != spec.layer.hidden || net.w.has(&net.w.kernel(&project)) {
        rows = net.dense(&project, rows, spec.embedding, spec.layer.hidden)?;
    }
    let bias = net.mask_bias(mask, spec.hidden_score);
    for i in 0..spec.n_layers {
        rows = net.layer(&spec.layer, &bert_layer(net, i), rows, bias)?;
    }
    let name = format!("{}encoder", net.w.prefix).replace('.', "/");
    let sequence = net.sequence(&name, rows, spec.layer.hidden);
    Ok(Encoded { rows, sequence, words })
}

/// Paths of layer `i` as BERT names them.
fn bert_layer(net: &Net<'_>, i: usize) -> LayerPaths {
    let at = |part: &str| net.w.inner(&format!("encoder.layer.{i}.{part}"));
    LayerPaths {
        query: at("attention.self.query"),
        key: at("attention.self.key"),
        value: at("attention.self.value"),
        projection: at("attention.output.dense"),
        attention_norm: at("attention.output.LayerNorm"),
        intermediate: at("intermediate.dense"),
        output: at("output.dense"),
        output_norm: at("output.LayerNorm"),
    }
}

/// Rows `[batch · length, embedding]`, and the table of words.
pub fn embeddings(net: &mut Net<'_>, spec: &EncoderSpec, feeds: Feeds) -> Result<(ValueId, ValueId), String> {
    let width = spec.embedding;
    let inner = |net: &Net<'_>, part: &str| net.w.inner(&format!("embeddings.{part}"));
    let scope = inner(net, "x").replace('.', "/");
    let scope = scope.trim_end_matches("/x").to_owned();
    let words = net.weight(&net.w.table(&inner(net, "word_embeddings")), &[spec.vocabulary, width])?;
    let ids = net.input_ids;
    let mut sum = net.b.gather(&format!("{scope}/GatherV2"), words, ids);
    let types = net.weight(&net.w.table(&inner(net, "token_type_embeddings")), &[spec.n_segments, width])?;
    // One kind of segment is the same for every token: its row is added as it is.
    let types = match spec.n_segments {
        1 => types,
        _ => {
            let segments = net.feed(feeds.segments);
            net.b.gather(&format!("{scope}/GatherV2_1"), types, segments)
        }
    };
    sum = net.b.typed(&format!("{scope}/add"), "AddV2", &[sum, types]);
    let table = net.weight(&net.w.table(&inner(net, "position_embeddings")), &[spec.n_positions, width])?;
    let positions = match spec.positions {
        Positions::Plain => net.positions(&scope, table),
        Positions::AfterPadding(pad) => {
            let numbers = net.positions_after_padding(&format!("{scope}/position_ids"), pad);
            net.b.gather(&format!("{scope}/GatherV2_2"), table, numbers)
        }
    };
    sum = net.b.typed(&format!("{scope}/add_1"), "AddV2", &[sum, positions]);
    let rows = net.rows(&scope, sum, width);
    let rows = net.norm(&inner(net, "LayerNorm"), rows, width, spec.layer.epsilon)?;
    let rows = net.dropout(&scope, rows, spec.embedding_dropout);
    Ok((rows, words))
}

/// The pooler: the first token's row through a dense layer and tanh, `[batch, hidden]`.
pub fn pooled(net: &mut Net<'_>, path: &str, sequence: ValueId, hidden: usize) -> Made {
    let scope = path.replace('.', "/");
    let scope = scope.rsplit_once('/').map_or("pooler", |(s, _)| s).to_owned();
    let first = net.first_token(&scope, sequence);
    let dense = net.dense(path, first, hidden, hidden)?;
    Ok(net.activation(path, Activation::Tanh, dense))
}
