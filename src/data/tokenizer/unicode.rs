//! Classes of characters as Python's `unicodedata` gives them, remembered once asked.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use regex::Regex;
use tokenizers::NormalizedString;

/// What the tokenizer asks about a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    Other = 1,
    /// General category C…: control, format, private, unassigned.
    Control = 2,
    /// P….
    Punctuation = 3,
    /// Mn.
    NonSpacingMark = 4,
    /// Zs.
    Space = 5,
}

struct Tables {
    memo: Vec<AtomicU8>,
    classes: Vec<(Regex, Class)>,
}

/// Characters that are newer than the reference implementation's tables are unassigned to it. Unicode 14 is what
/// Python 3.11 knows.
const CLASSES: [(&str, Class); 4] = [
    (r"^(?:\p{C}|\P{Age=14.0})$", Class::Control),
    (r"^\p{P}$", Class::Punctuation),
    (r"^\p{Mn}$", Class::NonSpacingMark),
    (r"^\p{Zs}$", Class::Space),
];

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| Tables {
        memo: std::iter::repeat_with(|| AtomicU8::new(0)).take(0x11_0000).collect(),
        classes: CLASSES.iter().filter_map(|(p, c)| Regex::new(p).ok().map(|r| (r, *c))).collect(),
    })
}

pub(super) fn class(c: char) -> Class {
    let tables = tables();
    let memo = &tables.memo[c as usize];
    match memo.load(Ordering::Relaxed) {
        1 => Class::Other,
        2 => Class::Control,
        3 => Class::Punctuation,
        4 => Class::NonSpacingMark,
        5 => Class::Space,
        _ => {
            let mut buffer = [0; 4];
            let text: &str = c.encode_utf8(&mut buffer);
            let found = tables.classes.iter().find(|(r, _)| r.is_match(text)).map_or(Class::Other, |(_, c)| *c);
            memo.store(found as u8, Ordering::Relaxed);
            found
        }
    }
}

/// Canonical composition.
pub(super) fn nfc(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    NormalizedString::from(text).nfc().get().to_owned()
}

/// Canonical decomposition.
pub(super) fn nfd(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    NormalizedString::from(text).nfd().get().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_known() {
        assert_eq!(tables().classes.len(), 4);
        for (c, want) in [
            ('a', Class::Other),
            ('\u{200b}', Class::Control),
            ('\u{1fae8}', Class::Control),
            ('😀', Class::Other),
            ('„', Class::Punctuation),
            ('\u{301}', Class::NonSpacingMark),
            ('\u{a0}', Class::Space),
        ] {
            assert_eq!(class(c), want, "{c:?}");
            assert_eq!(class(c), want, "{c:?} remembered");
        }
    }
}
