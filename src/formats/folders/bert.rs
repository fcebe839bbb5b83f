//! BERT as Hugging Face stores it.

use super::config::Config;
use super::encoder::{EncoderSpec, HUGGING_FACE_FEEDS, encode, pooled};
use super::heads::{self, Outputs, Task, WordsHead};
use super::net::{Activation, Net};

pub fn build(net: &mut Net<'_>, c: &Config) -> Result<Outputs, String> {
    let spec = EncoderSpec::read(c, Activation::GeluErf, f32::MIN)?;
    let e = encode(net, &spec, HUGGING_FACE_FEEDS)?;
    let hidden = spec.layer.hidden;
    let mut out = Outputs::new();
    let path = net.w.inner("pooler.dense");
    let pooler = if heads::has(net, &path) { Some(pooled(net, &path, e.sequence, hidden)?) } else { None };
    if heads::has(net, "classifier") {
        let rate = heads::classifier_rate(c);
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
    let has_words = heads::has(net, "cls.predictions.transform.dense");
    let has_next = heads::has(net, "cls.seq_relationship");
    if has_words {
        let head = WordsHead {
            transform: "cls.predictions.transform.dense",
            norm: "cls.predictions.transform.LayerNorm",
            bias: "cls.predictions.bias",
            decoder: "cls.predictions.decoder",
            activation: spec.layer.activation,
            epsilon: spec.layer.epsilon,
            hidden,
            embedding: hidden,
            vocabulary: spec.vocabulary,
        };
        let words = heads::words(net, c, &head, &e)?;
        out.push((if has_next { "prediction_logits" } else { "logits" }, words));
    }
    if let (true, Some(pooler)) = (has_next, pooler) {
        let next = heads::dense(net, "cls.seq_relationship", pooler, hidden)?;
        out.push((if has_words { "seq_relationship_logits" } else { "logits" }, next));
    }
    out.push(("last_hidden_state", e.sequence));
    out.extend(pooler.map(|p| ("pooler_output", p)));
    Ok(out)
}
