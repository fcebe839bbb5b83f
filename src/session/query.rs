//! The one search language: words are ANDed, `op:MatMul dtype:float32 shape:768x* elements:>1000 scope:bert/encoder
//! name:/layer_[0-5]/ role:bias trainable:yes grad:blocked changed:yes`, `-` negates, quotes are exact.

use regex::Regex;

/// What a query looks at; fields that a row does not have are empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row<'a> {
    pub name: &'a str,
    pub op: &'a str,
    pub dtype: &'a str,
    /// Dimensions of the first output or of the constant; `None` for an unknown one.
    pub shape: Option<&'a [Option<usize>]>,
    pub elements: Option<usize>,
    pub role: &'a str,
    pub trainable: bool,
    pub gradient: &'a str,
    pub changed: bool,
}

/// A parsed query. An empty one matches everything.
#[derive(Clone, Debug, Default)]
pub struct Query {
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
struct Term {
    negated: bool,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    /// Lower-case substring of the name or the op.
    Word(String),
    Exact(String),
    Op(String),
    Dtype(String),
    Shape(Vec<Option<usize>>),
    Elements(std::cmp::Ordering, bool, usize),
    Scope(String),
    Name(Regex),
    Role(String),
    Trainable(bool),
    Gradient(String),
    Changed(bool),
}

impl Query {
    /// Errors name the term and say what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let terms = split(text)?
            .into_iter()
            .map(|(negated, word, quoted)| Ok(Term { negated, test: parse_test(&word, quoted)? }))
            .collect::<Result<_, String>>()?;
        Ok(Self { terms })
    }

    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether a term asks what differs from the file.
    pub fn asks_for_changes(&self) -> bool {
        self.terms.iter().any(|t| matches!(t.test, Test::Changed(_)))
    }

    pub fn matches(&self, row: &Row<'_>) -> bool {
        self.terms.iter().all(|t| t.test.matches(row) != t.negated)
    }
}

/// Words with their negation and whether they were quoted.
fn split(text: &str) -> Result<Vec<(bool, String, bool)>, String> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
            continue;
        }
        let negated = c == '-';
        if negated {
            chars.next();
        }
        if chars.peek() == Some(&'"') {
            chars.next();
            let word: String = chars.by_ref().take_while(|&c| c != '"').collect();
            out.push((negated, word, true));
            continue;
        }
        let mut word = String::new();
        while let Some(&c) = chars.peek() {
            if c.is_whitespace() {
                break;
            }
            word.push(c);
            chars.next();
        }
        if word.is_empty() {
            return Err("a lone - needs a word behind it".to_owned());
        }
        out.push((negated, word, false));
    }
    Ok(out)
}

fn parse_test(word: &str, quoted: bool) -> Result<Test, String> {
    if quoted {
        return Ok(Test::Exact(word.to_owned()));
    }
    let Some((key, value)) = word.split_once(':') else { return Ok(Test::Word(word.to_lowercase())) };
    Ok(match key {
        "op" => Test::Op(value.to_lowercase()),
        "dtype" => Test::Dtype(value.to_lowercase()),
        "shape" => Test::Shape(parse_shape(value)?),
        "elements" => parse_elements(value)?,
        "scope" => Test::Scope(value.trim_end_matches('/').to_owned()),
        "name" => {
            let pattern = value.strip_prefix('/').and_then(|v| v.strip_suffix('/'));
            let pattern = pattern.map_or_else(|| regex::escape(value), str::to_owned);
            Test::Name(Regex::new(&pattern).map_err(|e| format!("name:{value} is not a valid pattern: {e}"))?)
        }
        "role" => Test::Role(value.to_lowercase()),
        "trainable" => Test::Trainable(parse_yes(key, value)?),
        "changed" => Test::Changed(parse_yes(key, value)?),
        "grad" => Test::Gradient(value.to_lowercase()),
        // Names may hold colons (`dense/MatMul:0`), so an unknown key is a word.
        _ => Test::Word(word.to_lowercase()),
    })
}

fn parse_yes(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "yes" | "true" | "1" => Ok(true),
        "no" | "false" | "0" => Ok(false),
        _ => Err(format!("{key}:{value} must be {key}:yes or {key}:no")),
    }
}

fn parse_shape(value: &str) -> Result<Vec<Option<usize>>, String> {
    value
        .split(['x', '×', ','])
        .map(|d| match d {
            "*" | "?" => Ok(None),
            d => d.parse().map(Some).map_err(|_| format!("shape:{value} must look like 768x* with numbers and *")),
        })
        .collect()
}

fn parse_elements(value: &str) -> Result<Test, String> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let (order, or_equal, number) = if let Some(n) = value.strip_prefix(">=") {
        (Greater, true, n)
    } else if let Some(n) = value.strip_prefix("<=") {
        (Less, true, n)
    } else if let Some(n) = value.strip_prefix('>') {
        (Greater, false, n)
    } else if let Some(n) = value.strip_prefix('<') {
        (Less, false, n)
    } else {
        (Equal, true, value)
    };
    let n = number.parse().map_err(|_| format!("elements:{value} must look like elements:>1000"))?;
    Ok(Test::Elements(order, or_equal, n))
}

impl Test {
    fn matches(&self, row: &Row<'_>) -> bool {
        match self {
            Self::Word(w) => contains_lower(row.name, w) || contains_lower(row.op, w),
            Self::Exact(w) => row.name == w || row.op == w,
            Self::Op(o) => contains_lower(row.op, o),
            Self::Dtype(d) => row.dtype == d,
            Self::Shape(want) => row.shape.is_some_and(|have| {
                have.len() == want.len() && want.iter().zip(have).all(|(w, h)| w.is_none() || w == h)
            }),
            Self::Elements(order, or_equal, n) => {
                row.elements.is_some_and(|e| e.cmp(n) == *order || (*or_equal && e == *n))
            }
            Self::Scope(s) => row.name.strip_prefix(s.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('/')),
            Self::Name(r) => r.is_match(row.name),
            Self::Role(r) => row.role == r,
            Self::Trainable(t) => row.trainable == *t,
            Self::Gradient(g) => row.gradient == g,
            Self::Changed(c) => row.changed == *c,
        }
    }
}

fn contains_lower(text: &str, lower: &str) -> bool {
    if text.is_ascii() && lower.is_ascii() {
        let (t, l) = (text.as_bytes(), lower.as_bytes());
        return l.is_empty() || t.windows(l.len()).any(|w| w.eq_ignore_ascii_case(l));
    }
    text.to_lowercase().contains(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_match_rows() {
        let row = Row {
            name: "bert/encoder/layer_3/output/dense/kernel",
            op: "Const",
            dtype: "float32",
            shape: Some(&[Some(768), None]),
            elements: Some(2000),
            role: "matmul-weight",
            trainable: true,
            gradient: "flows",
            changed: false,
        };
        for (query, want) in [
            ("", true),
            ("KERNEL dense", true),
            ("kernel bias", false),
            ("-bias", true),
            ("op:const dtype:float32", true),
            ("shape:768x*", true),
            ("shape:768", false),
            ("elements:>1000", true),
            ("elements:<=1999", false),
            ("scope:bert/encoder", true),
            ("scope:bert/enc", false),
            ("name:/layer_[0-5]/", true),
            ("role:bias", false),
            ("trainable:yes grad:flows changed:no", true),
            ("\"kernel\"", false),
            ("-grad:flows", false),
        ] {
            assert_eq!(Query::parse(query).unwrap().matches(&row), want, "{query}");
        }
        let changed = Row { changed: true, ..row };
        assert!(Query::parse("-changed:no").unwrap().matches(&changed));
        assert!(Query::parse("changed:no x").unwrap().asks_for_changes());
        assert!(!Query::parse("name:changed").unwrap().asks_for_changes());
        assert!(Query::parse("shape:axb").is_err());
        assert!(Query::parse("name:/(/").is_err());
        assert!(Query::parse("elements:many").is_err());
    }
}
