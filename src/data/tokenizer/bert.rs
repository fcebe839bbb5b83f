//! BERT's word pieces, step by step as the reference (google-research `tokenization.py` and the Python `BertTokenizer` of
//! transformers): special tokens stay whole; control characters go; CJK characters stand alone; lower case and accents;
//! punctuation splits; then greedy longest-match pieces.

use std::collections::HashMap;

use super::Encoded;
use super::unicode::{Class, class, nfc, nfd};

/// Longer words are unknown, as in the reference.
const MAX_WORD_CHARS: usize = 100;
const SPECIAL: [&str; 5] = ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"];

/// See the module doc.
#[derive(Clone, Debug)]
pub struct BertTokenizer {
    vocabulary: HashMap<String, u32>,
    words: Vec<String>,
    lower: bool,
    strip_accents: bool,
    unknown: u32,
    begin: u32,
    separator: u32,
}

/// Whether a vocabulary was made from lowered texts: hardly any piece has a capital letter.
pub(super) fn looks_uncased(vocab: &str) -> bool {
    let pieces = || vocab.lines().filter(|l| !(l.starts_with('[') && l.ends_with(']')));
    let capital = pieces().filter(|l| l.chars().any(char::is_uppercase)).count();
    capital * 200 <= pieces().count()
}

impl BertTokenizer {
    /// `vocab` has one piece a line; the line number is the id.
    pub fn new(vocab: &str, lower: bool, strip_accents: Option<bool>) -> Result<Self, String> {
        let body = vocab.strip_suffix('\n').unwrap_or(vocab);
        let words: Vec<String> = body.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l).to_owned()).collect();
        let vocabulary: HashMap<String, u32> = words.iter().zip(0..).map(|(w, i)| (w.clone(), i)).collect();
        let need = |token: &str| {
            vocabulary.get(token).copied().ok_or_else(|| {
                format!("the vocabulary has no {token} (is this a BERT vocabulary with one piece a line?)")
            })
        };
        let (unknown, begin, separator) = (need("[UNK]")?, need("[CLS]")?, need("[SEP]")?);
        Ok(Self { vocabulary, words, lower, strip_accents: strip_accents.unwrap_or(lower), unknown, begin, separator })
    }

    pub fn len(&self) -> usize {
        self.words.len()
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub fn id(&self, token: &str) -> Option<u32> {
        self.vocabulary.get(token).copied()
    }

    pub fn token(&self, id: u32) -> Option<&str> {
        self.words.get(id as usize).map(String::as_str)
    }

    /// `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`, cut to `max_length`.
    pub fn encode(&self, a: &str, b: Option<&str>, max_length: Option<usize>) -> Encoded {
        let mut first = self.pieces(a);
        let mut second = b.map(|b| self.pieces(b));
        if let Some(max) = max_length {
            let room = max.saturating_sub(if second.is_some() { 3 } else { 2 });
            match &mut second {
                None => first.truncate(room),
                Some(second) => truncate_longest_first(&mut first, second, room),
            }
        }
        let mut out = Encoded::default();
        let mut push = |id: u32, segment: u32| {
            out.tokens.push(self.words[id as usize].clone());
            out.input_ids.push(id);
            out.segment_ids.push(segment);
            out.input_mask.push(1);
        };
        push(self.begin, 0);
        first.iter().for_each(|&id| push(id, 0));
        push(self.separator, 0);
        if let Some(second) = second {
            second.iter().for_each(|&id| push(id, 1));
            push(self.separator, 1);
        }
        out
    }

    /// Ids of a text, without special tokens around it.
    pub fn pieces(&self, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let next = SPECIAL
                .iter()
                .filter(|t| self.vocabulary.contains_key(**t))
                .filter_map(|t| rest.find(t).map(|at| (at, *t)))
                .min();
            let (plain, special) = next.map_or((rest, None), |(at, t)| (&rest[..at], Some(t)));
            for word in self.basic_words(plain) {
                self.word_pieces(&word, &mut out);
            }
            rest = &rest[plain.len() + special.map_or(0, str::len)..];
            out.extend(special.and_then(|t| self.id(t)));
        }
        out
    }

    /// Words and punctuation marks of a text.
    fn basic_words(&self, text: &str) -> Vec<String> {
        let mut clean = String::with_capacity(text.len() + 16);
        let mut take = |c: char| match c {
            '\t' | '\n' | '\r' => clean.push(' '),
            '\0' | '\u{fffd}' => {}
            c if c.is_ascii_graphic() || c == ' ' => clean.push(c),
            c if is_cjk(c) => clean.extend([' ', c, ' ']),
            c => match class(c) {
                Class::Control => {}
                Class::Space => clean.push(' '),
                _ => clean.push(c),
            },
        };
        for c in text.chars() {
            // The reference lowers before it cleans, one character at a time (so without final sigma).
            if self.lower { c.to_lowercase().for_each(&mut take) } else { take(c) }
        }
        let mut out = Vec::new();
        for word in nfc(&clean).split_whitespace() {
            let word = if self.strip_accents {
                nfd(word).chars().filter(|&c| c.is_ascii() || class(c) != Class::NonSpacingMark).collect()
            } else {
                word.to_owned()
            };
            split_on_punctuation(&word, &mut out);
        }
        out
    }

    /// Greedy longest match from the left; a word with a part that matches nothing is unknown as a whole.
    fn word_pieces(&self, word: &str, out: &mut Vec<u32>) {
        let bounds: Vec<usize> = word.char_indices().map(|(i, _)| i).chain([word.len()]).collect();
        if bounds.len() - 1 > MAX_WORD_CHARS {
            return out.push(self.unknown);
        }
        let before = out.len();
        let mut start = 0;
        let mut candidate = String::new();
        while start + 1 < bounds.len() {
            let found = (start + 1..bounds.len()).rev().find_map(|end| {
                candidate.clear();
                if start > 0 {
                    candidate.push_str("##");
                }
                candidate.push_str(&word[bounds[start]..bounds[end]]);
                self.vocabulary.get(candidate.as_str()).map(|&id| (id, end))
            });
            let Some((id, end)) = found else {
                out.truncate(before);
                return out.push(self.unknown);
            };
            out.push(id);
            start = end;
        }
    }
}

/// Takes one token at a time from the end of the longer text, from the second where both are equal.
fn truncate_longest_first(a: &mut Vec<u32>, b: &mut Vec<u32>, room: usize) {
    while a.len() + b.len() > room {
        if a.len() > b.len() {
            a.pop()
        } else {
            b.pop()
        };
    }
}

fn split_on_punctuation(word: &str, out: &mut Vec<String>) {
    let mut current = String::new();
    for c in word.chars() {
        if is_punctuation(c) {
            if !current.is_empty() {
                out.push(std::mem::take(&mut current));
            }
            out.push(c.to_string());
        } else if c.is_whitespace() {
            // Decomposition can leave a space (a spacing accent); it separates as any other.
            if !current.is_empty() {
                out.push(std::mem::take(&mut current));
            }
        } else {
            current.push(c);
        }
    }
    if !current.is_empty() {
        out.push(current);
    }
}

/// All ASCII characters that are neither letters, digits nor spaces count, as in the reference.
fn is_punctuation(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_punctuation() } else { class(c) == Class::Punctuation }
}

/// The blocks that the reference treats as Chinese characters.
fn is_cjk(c: char) -> bool {
    matches!(u32::from(c),
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F | 0x2B740..=0x2B81F
        | 0x2B820..=0x2CEAF | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F)
}
