//! ELECTRA, discriminator or generator: BERT's encoder with embeddings of their own width and no pooler.

use super::config::Config;
use super::encoder::{EncoderSpec, HUGGING_FACE_FEEDS, encode};
use super::heads::{self, Outputs, Task, WordsHead};
use super::net::{Activation, Net};

pub fn build(net: &mut Net<'_>, c: &Config) -> Result<Outputs, String> {
    let spec = EncoderSpec::read(c, Activation::GeluErf, f32::MIN)?;
    let e = encode(net, &spec, HUGGING_FACE_FEEDS)?;
    let hidden = spec.layer.hidden;
    let mut out = Outputs::new();
    let rate = heads::classifier_rate(c);
    if heads::has(net, "classifier.out_proj") {
        let first = net.first_token("classifier", e.sequence);
        let first = net.dropout("classifier/dense", first, rate);
        let x = net.dense("classifier.dense", first, hidden, hidden)?;
        let x = net.activation("classifier.dense", Activation::GeluErf, x);
        out.push(("logits", heads::classify_texts(net, "classifier.out_proj", x, hidden, rate)?));
    } else if heads::has(net, "classifier") && heads::task(c, Task::Tokens) == Task::Tokens {
        out.push(("logits", heads::classify_tokens(net, "classifier", e.rows, hidden, rate)?));
    }
    if heads::has(net, "qa_outputs") {
        heads::spans(net, "qa_outputs", e.rows, hidden, &mut out)?;
    }
    if heads::has(net, "discriminator_predictions.dense") {
        let path = "discriminator_predictions.dense";
        let x = net.dense(path, e.rows, hidden, hidden)?;
        let x = net.activation(path, spec.layer.activation, x);
        let x = net.dense("discriminator_predictions.dense_prediction", x, hidden, 1)?;
        let (batch, length) = (net.batch, net.length);
        let logits = net.b.scoped("discriminator_predictions", |b| {
            let shape = b.pack("Reshape/shape", &[batch, length]);
            b.reshape("Reshape", x, shape)
        });
        out.push(("logits", logits));
    }
    if heads::has(net, "generator_predictions.dense") {
        let head = WordsHead {
            transform: "generator_predictions.dense",
            norm: "generator_predictions.LayerNorm",
            bias: "generator_lm_head.bias",
            decoder: "generator_lm_head",
            activation: Activation::GeluErf,
            epsilon: spec.layer.epsilon,
            hidden,
            embedding: spec.embedding,
            vocabulary: spec.vocabulary,
        };
        out.push(("logits", heads::words(net, c, &head, &e)?));
    }
    out.push(("last_hidden_state", e.sequence));
    Ok(out)
}
