//! RoBERTa and those that are stored like it (XLM-RoBERTa, CamemBERT).

use super::config::Config;
use super::encoder::{EncoderSpec, HUGGING_FACE_FEEDS, Positions, encode, pooled};
use super::heads::{self, Outputs, Task, WordsHead};
use super::net::{Activation, Net};

pub fn build(net: &mut Net<'_>, c: &Config) -> Result<Outputs, String> {
    let mut spec = EncoderSpec::read(c, Activation::GeluErf, f32::MIN)?;
    spec.positions = Positions::AfterPadding(c.float("pad_token_id", 1.0) as i32);
    let e = encode(net, &spec, HUGGING_FACE_FEEDS)?;
    let hidden = spec.layer.hidden;
    let mut out = Outputs::new();
    let rate = heads::classifier_rate(c);
    if heads::has(net, "classifier.out_proj") {
        let first = net.first_token("classifier", e.sequence);
        let first = net.dropout("classifier/dense", first, rate);
        let x = net.dense("classifier.dense", first, hidden, hidden)?;
        let x = net.activation("classifier.dense", Activation::Tanh, x);
        out.push(("logits", heads::classify_texts(net, "classifier.out_proj", x, hidden, rate)?));
    } else if heads::has(net, "classifier") && heads::task(c, Task::Tokens) == Task::Tokens {
        out.push(("logits", heads::classify_tokens(net, "classifier", e.rows, hidden, rate)?));
    }
    if heads::has(net, "qa_outputs") {
        heads::spans(net, "qa_outputs", e.rows, hidden, &mut out)?;
    }
    if heads::has(net, "lm_head.dense") {
        let head = WordsHead {
            transform: "lm_head.dense",
            norm: "lm_head.layer_norm",
            bias: "lm_head.bias",
            decoder: "lm_head.decoder",
            // Fixed in the head, whatever the encoder's own is.
            activation: Activation::GeluErf,
            epsilon: spec.layer.epsilon,
            hidden,
            embedding: hidden,
            vocabulary: spec.vocabulary,
        };
        out.push(("logits", heads::words(net, c, &head, &e)?));
    }
    out.push(("last_hidden_state", e.sequence));
    let path = net.w.inner("pooler.dense");
    if heads::has(net, &path) {
        out.push(("pooler_output", pooled(net, &path, e.sequence, hidden)?));
    }
    Ok(out)
}
