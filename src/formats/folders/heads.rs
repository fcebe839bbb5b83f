//! The usual ends of the family: classes of texts or tokens, spans, and words. A head is built where its weights are.

use crate::graph::ValueId;

use super::config::Config;
use super::encoder::Encoded;
use super::net::{Activation, Made, Net};

/// Named outputs of the whole graph, the most wanted first.
pub type Outputs = Vec<(&'static str, ValueId)>;

/// What the last layer classifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Texts,
    Tokens,
}

/// By the architecture's name; `otherwise` where it says nothing.
pub fn task(c: &Config, otherwise: Task) -> Task {
    match c.architecture() {
        Some(name) if name.ends_with("ForTokenClassification") => Task::Tokens,
        Some(name) if name.ends_with("ForSequenceClassification") || name.ends_with("ForMultipleChoice") => Task::Texts,
        _ => otherwise,
    }
}

/// Rate of the dropout before a classifier.
pub fn classifier_rate(c: &Config) -> f64 {
    c.rate("classifier_dropout", c.rate("hidden_dropout_prob", 0.1))
}

/// A dense layer whose number of outputs its weights say.
pub fn dense(net: &mut Net<'_>, path: &str, x: ValueId, n_in: usize) -> Made {
    Ok(sized_dense(net, path, x, n_in)?.0)
}

fn sized_dense(net: &mut Net<'_>, path: &str, x: ValueId, n_in: usize) -> Result<(ValueId, usize), String> {
    let bias = net.w.bias(path);
    let shape = net.w.get(&bias).map(|p| p.shape.to_vec());
    match shape.as_deref() {
        Some([n]) => Ok((net.dense(path, x, n_in, *n)?, *n)),
        _ => Err(format!("there is no vector {bias} among its weights")),
    }
}

pub fn has(net: &Net<'_>, path: &str) -> bool {
    net.w.has(&net.w.kernel(path))
}

/// `[batch, n]` from `[batch, hidden]`.
pub fn classify_texts(net: &mut Net<'_>, path: &str, pooled: ValueId, hidden: usize, rate: f64) -> Made {
    let x = net.dropout(&path.replace('.', "/"), pooled, rate);
    dense(net, path, x, hidden)
}

/// `[batch, length, n]` from rows.
pub fn classify_tokens(net: &mut Net<'_>, path: &str, rows: ValueId, hidden: usize, rate: f64) -> Made {
    let scope = path.replace('.', "/");
    let x = net.dropout(&scope, rows, rate);
    let (logits, n) = sized_dense(net, path, x, hidden)?;
    Ok(net.sequence(&scope, logits, n))
}

/// Scores of where an answer starts and ends, `[batch, length]` each.
pub fn spans(net: &mut Net<'_>, path: &str, rows: ValueId, hidden: usize, out: &mut Outputs) -> Result<(), String> {
    let logits = net.dense(path, rows, hidden, 2)?;
    let scope = path.replace('.', "/");
    let sequence = net.sequence(&scope, logits, 2);
    for (i, name) in ["start_logits", "end_logits"].into_iter().enumerate() {
        let picked = net.b.scoped(&format!("{scope}/{name}"), |b| {
            let begin = b.ints("stack", &[0, 0, i as i32]);
            let end = b.ints("stack_1", &[0, 0, i as i32 + 1]);
            let strides = b.ints("stack_2", &[1, 1, 1]);
            b.strided_slice("strided_slice", sequence, [begin, end, strides], 3, 4)
        });
        out.push((name, picked));
    }
    Ok(())
}

/// Where a language-model head's parts lie.
#[derive(Clone, Copy, Debug)]
pub struct WordsHead<'a> {
    pub transform: &'a str,
    pub norm: &'a str,
    pub bias: &'a str,
    /// A table of its own, where it is not tied to the word embeddings.
    pub decoder: &'a str,
    pub activation: Activation,
    pub epsilon: f32,
    /// Width of the hidden rows and of the embeddings.
    pub hidden: usize,
    pub embedding: usize,
    pub vocabulary: usize,
}

/// Scores of words, `[batch, length, vocabulary]`.
pub fn words(net: &mut Net<'_>, c: &Config, head: &WordsHead<'_>, e: &Encoded) -> Made {
    let x = net.dense(head.transform, e.rows, head.hidden, head.embedding)?;
    let x = net.activation(head.transform, head.activation, x);
    let x = net.norm(head.norm, x, head.embedding, head.epsilon)?;
    let decoder = net.w.kernel(head.decoder);
    let is_tied = c.flag("tie_word_embeddings", true) || !net.w.has(&decoder);
    let table = if is_tied { e.words } else { net.weight(&decoder, &[head.vocabulary, head.embedding])? };
    // The bias is stored twice by some releases, under the decoder's name as well.
    let own = if net.w.has(head.bias) { head.bias.to_owned() } else { net.w.bias(head.decoder) };
    let bias = net.weight(&own, &[head.vocabulary])?;
    let scope = head.decoder.replace('.', "/");
    let logits = net.tied_logits(&scope, x, table, bias);
    Ok(net.sequence(&scope, logits, head.vocabulary))
}
