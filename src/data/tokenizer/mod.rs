//! Texts to token ids: BERT's word pieces from a `vocab.txt`, whatever a `tokenizer.json` describes, or the byte pairs of a
//! `vocab.json` with its `merges.txt`.

mod bert;
mod pairs;
mod unicode;

use std::path::Path;

use serde::Serialize;
use tokenizers::NormalizerWrapper;

use crate::base::files;

use super::source::DataError;

pub use bert::BertTokenizer;

/// What cannot be read from the tokenizer's own files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenizerOptions {
    /// `None`: from the files beside it, else guessed from the vocabulary.
    pub lower: Option<bool>,
    /// `None`: accents go exactly when letters are lowered.
    pub strip_accents: Option<bool>,
}

/// One text or pair, special tokens included, without padding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Encoded {
    pub tokens: Vec<String>,
    pub input_ids: Vec<u32>,
    /// 0 for the first text with its special tokens, 1 for the second.
    pub segment_ids: Vec<u32>,
    /// 1 for every token.
    pub input_mask: Vec<u32>,
}

/// See the module doc.
#[derive(Debug)]
pub struct Tokenizer {
    kind: Kind,
    pad_id: u32,
    /// How the decision about lower case came about, for a message.
    pub note: Option<String>,
}

#[derive(Debug)]
enum Kind {
    Bert(BertTokenizer),
    File(Box<tokenizers::Tokenizer>),
}

impl Tokenizer {
    /// Reads a `vocab.txt` (any `.txt`), a `tokenizer.json`, or byte pairs (`vocab.json` or `merges.txt`, each with the
    /// other beside it). Errors name the file and what is wrong in it.
    pub fn open(path: &Path, options: TokenizerOptions) -> Result<Self, DataError> {
        if let Some(read) = pairs::open(path) {
            let (inner, pad_id) = read?;
            let is_asked = options.lower.is_some() || options.strip_accents.is_some();
            let note =
                is_asked.then(|| "byte pairs keep letters as they are; --lower does not apply to them".to_owned());
            return Ok(Self { kind: Kind::File(Box::new(inner)), pad_id, note });
        }
        let is_sentence_piece = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("model"));
        if is_sentence_piece {
            let what = "a SentencePiece model, which is not read: save the tokenizer as tokenizer.json (in Python, \
                        AutoTokenizer.from_pretrained(folder).save_pretrained(folder)) and name that file"
                .to_owned();
            return Err(DataError::File { path: path.to_owned(), what });
        }
        let is_json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        if is_json { Self::from_json(path, options) } else { Self::from_vocab(path, options) }
    }

    fn from_vocab(path: &Path, options: TokenizerOptions) -> Result<Self, DataError> {
        let file = |what: String| DataError::File { path: path.to_owned(), what };
        let text = files::read_to_string(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        let mut note = None;
        let lower = match options.lower.or_else(|| configured_lower(path)) {
            Some(lower) => lower,
            None => {
                let lower = bert::looks_uncased(&text);
                let kind = if lower { "uncased" } else { "cased" };
                note = Some(format!(
                    "the vocabulary looks {kind}, so texts are {} (--lower says otherwise)",
                    if lower { "lowered" } else { "left as they are" }
                ));
                lower
            }
        };
        let bert = BertTokenizer::new(&text, lower, options.strip_accents).map_err(file)?;
        Ok(Self { pad_id: bert.id("[PAD]").unwrap_or(0), kind: Kind::Bert(bert), note })
    }

    fn from_json(path: &Path, options: TokenizerOptions) -> Result<Self, DataError> {
        let bytes = files::read(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        let mut inner = tokenizers::Tokenizer::from_bytes(&bytes)
            .map_err(|e| DataError::File { path: path.to_owned(), what: format!("not a tokenizer.json: {e}") })?;
        // Lengths are decided here, per batch.
        inner.with_padding(None);
        let _ = inner.with_truncation(None);
        let mut note = None;
        if options.lower.is_some() || options.strip_accents.is_some() {
            match inner.get_normalizer().cloned() {
                Some(NormalizerWrapper::BertNormalizer(mut n)) => {
                    n.lowercase = options.lower.unwrap_or(n.lowercase);
                    n.strip_accents = options.strip_accents.or(n.strip_accents);
                    inner.with_normalizer(Some(n));
                }
                _ => note = Some("the tokenizer's own normaliser is used; --lower does not apply to it".to_owned()),
            }
        }
        let pad_id = ["[PAD]", "<pad>"].iter().find_map(|t| inner.token_to_id(t)).unwrap_or(0);
        Ok(Self { kind: Kind::File(Box::new(inner)), pad_id, note })
    }

    /// Id that fills up short texts.
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    pub fn vocabulary_size(&self) -> usize {
        match &self.kind {
            Kind::Bert(b) => b.len(),
            Kind::File(t) => t.get_vocab_size(true),
        }
    }

    /// Encodes a text or a pair. With `max_length` the longer text loses tokens at its end until all fits.
    pub fn encode(&self, a: &str, b: Option<&str>, max_length: Option<usize>) -> Result<Encoded, DataError> {
        match &self.kind {
            Kind::Bert(t) => Ok(t.encode(a, b, max_length)),
            Kind::File(t) => encode_with_file(t, a, b, max_length).map_err(DataError::Other),
        }
    }

    /// Pieces of one word of a labelled sequence, without special tokens.
    pub fn pieces(&self, word: &str) -> Result<Vec<u32>, DataError> {
        match &self.kind {
            Kind::Bert(t) => Ok(t.pieces(word)),
            Kind::File(t) => {
                let e = t.encode(word, false).map_err(|e| DataError::Other(format!("cannot tokenize: {e}")))?;
                Ok(e.get_ids().to_vec())
            }
        }
    }

    /// Id of a token by its spelling in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        match &self.kind {
            Kind::Bert(t) => t.id(token),
            Kind::File(t) => t.token_to_id(token),
        }
    }

    /// The token of an id, as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        match &self.kind {
            Kind::Bert(t) => t.token(id).map(str::to_owned),
            Kind::File(t) => t.id_to_token(id),
        }
    }

    /// Ids of the tokens that begin and separate texts (`[CLS]`, `[SEP]`), where the vocabulary has them.
    pub fn begin_and_separator(&self) -> Option<(u32, u32)> {
        let id = |names: [&str; 2]| names.iter().find_map(|n| self.id(n));
        Some((id(["[CLS]", "<s>"])?, id(["[SEP]", "</s>"])?))
    }
}

fn encode_with_file(
    t: &tokenizers::Tokenizer,
    a: &str,
    b: Option<&str>,
    max_length: Option<usize>,
) -> Result<Encoded, String> {
    use tokenizers::{PostProcessor, TruncationParams, TruncationStrategy, truncate_encodings};
    let say = |e: tokenizers::Error| format!("cannot tokenize: {e}");
    let plain = |text: &str| t.encode_fast(text, false).map_err(say);
    let (mut first, mut second) = (plain(a)?, b.map(plain).transpose()?);
    if let Some(max) = max_length {
        let added = t.get_post_processor().map_or(0, |p| p.added_tokens(second.is_some()));
        let params = TruncationParams {
            max_length: max.saturating_sub(added),
            strategy: TruncationStrategy::LongestFirst,
            ..TruncationParams::default()
        };
        (first, second) = truncate_encodings(first, second, &params).map_err(|e| format!("cannot truncate: {e}"))?;
    }
    let e = t.post_process(first, second, true).map_err(say)?;
    Ok(Encoded {
        // The quick way of encoding leaves out the texts of tokens.
        tokens: e.get_ids().iter().map(|id| t.id_to_token(*id).unwrap_or_default()).collect(),
        input_ids: e.get_ids().to_vec(),
        segment_ids: e.get_type_ids().to_vec(),
        input_mask: vec![1; e.len()],
    })
}

/// `do_lower_case` of a `tokenizer_config.json` beside the vocabulary.
fn configured_lower(vocab: &Path) -> Option<bool> {
    let config = files::read(&vocab.with_file_name("tokenizer_config.json")).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&config).ok()?;
    json.get("do_lower_case")?.as_bool()
}
