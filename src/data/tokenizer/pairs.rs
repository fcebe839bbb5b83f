//! Byte pairs in two files (`vocab.json`, `merges.txt`), as RoBERTa and its relatives are published: which tokens begin, end
//! and fill up a text stands in `tokenizer_config.json` and `special_tokens_map.json` beside them, else in the usual names.

use std::path::Path;

use serde_json::Value;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Tokenizer};

use crate::base::files;
use crate::data::source::DataError;

const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";
/// Larger files are no merges.
const MAX_BYTES: u64 = 64 << 20;

/// Tokens of a role: what the configuration calls it, and RoBERTa's name.
const ROLES: [(&str, &str); 5] = [
    ("bos_token", "<s>"),
    ("pad_token", "<pad>"),
    ("eos_token", "</s>"),
    ("unk_token", "<unk>"),
    ("mask_token", "<mask>"),
];

/// The tokenizer and the id that fills up texts; `None` where a path is no such file.
pub fn open(path: &Path) -> Option<Result<(Tokenizer, u32), DataError>> {
    let name = path.file_name()?.to_str()?;
    let is_one = name == VOCABULARY || (name == MERGES && !files::is_dir(path));
    is_one.then(|| read(path))
}

fn read(path: &Path) -> Result<(Tokenizer, u32), DataError> {
    let (vocabulary, merges) = (path.with_file_name(VOCABULARY), path.with_file_name(MERGES));
    let file = |path: &Path, what: String| DataError::File { path: path.to_owned(), what };
    let text = |path: &Path| {
        let io = |source| DataError::Io { path: path.to_owned(), source };
        if files::len(path).map_err(io)? > MAX_BYTES {
            return Err(file(path, "it is too large for a tokenizer".to_owned()));
        }
        files::read_to_string(path).map_err(io)
    };
    let ids: Value = serde_json::from_str(&text(&vocabulary)?)
        .map_err(|e| file(&vocabulary, format!("not the vocabulary of byte pairs: {e}")))?;
    let ids = ids.as_object().ok_or_else(|| file(&vocabulary, "not a JSON object of tokens".to_owned()))?;
    let id = |(token, id): (&String, &Value)| Some((token.clone(), u32::try_from(id.as_u64()?).ok()?));
    let ids: Option<std::collections::HashMap<String, u32>> = ids.iter().map(id).collect();
    let ids = ids.ok_or_else(|| file(&vocabulary, "an id is no number".to_owned()))?;
    let mut pairs = Vec::new();
    let lines = text(&merges)?;
    for (i, line) in lines.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with("#version")) {
        let split = line.trim_end().split_once(' ').filter(|(_, b)| !b.contains(' '));
        let (a, b) = split.ok_or_else(|| file(&merges, format!("line {} is no pair of tokens", i + 1)))?;
        pairs.push((a.to_owned(), b.to_owned()));
    }
    let settings = Settings::beside(path);
    let special = ROLES.map(|(role, usual)| settings.token(role).unwrap_or_else(|| usual.to_owned()));
    let model = BPE::builder().vocab_and_merges(ids.into_iter().collect::<tokenizers::models::bpe::Vocab>(), pairs);
    let model = model.build().map_err(|e| file(&merges, format!("its pairs do not fit the vocabulary: {e}")))?;
    let mut inner = Tokenizer::new(model);
    let prefix = settings.flag("add_prefix_space");
    let [begin, pad, end, _, mask] = &special;
    let known = |t: &String, inner: &Tokenizer| inner.token_to_id(t).map(|id| (t.clone(), id));
    let (Some(begin), Some(end)) = (known(begin, &inner), known(end, &inner)) else {
        let what =
            format!("neither it nor the settings beside it say which tokens begin and end a text ({begin}, {end})");
        return Err(file(&vocabulary, what));
    };
    inner.with_pre_tokenizer(Some(ByteLevel::new(prefix, true, true)));
    let post = RobertaProcessing::new(end, begin).trim_offsets(true).add_prefix_space(prefix);
    inner.with_post_processor(Some(post));
    let known = |t: &&String| inner.token_to_id(t).is_some();
    // The mask takes the space before it, as RoBERTa was trained.
    let added: Vec<AddedToken> =
        special.iter().filter(known).map(|t| AddedToken::from(t.clone(), true).lstrip(t == mask)).collect();
    let pad_id = inner.token_to_id(pad).unwrap_or(0);
    inner.add_special_tokens(&added);
    Ok((inner, pad_id))
}

/// What the files beside a tokenizer say about it.
struct Settings(Vec<Value>);

impl Settings {
    fn beside(path: &Path) -> Self {
        let read = |name: &str| serde_json::from_slice(&files::read(&path.with_file_name(name)).ok()?).ok();
        Self(["tokenizer_config.json", "special_tokens_map.json"].iter().filter_map(|n| read(n)).collect())
    }

    /// A token's text: itself, or the content of its description.
    fn token(&self, role: &str) -> Option<String> {
        let text = |v: &Value| Some(v.as_str().or_else(|| v.get("content")?.as_str())?.to_owned());
        self.0.iter().find_map(|file| text(file.get(role)?))
    }

    fn flag(&self, name: &str) -> bool {
        self.0.iter().find_map(|file| file.get(name)?.as_bool()).unwrap_or(false)
    }
}
