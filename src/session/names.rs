//! From the names that people write to values: graph names with or without `:0`, and the keys of the signature.

use crate::graph::{Signature, ValueKey};
use crate::lower::Spelled;
use crate::program::{Program, Value};

use super::error::SessionError;

/// Looks names up in a spelled graph.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    pub spelled: &'a Spelled,
    /// The program that may have more feeds than the spelled one (labels of an attached loss).
    pub program: &'a Program,
    pub signature: Option<&'a Signature>,
}

impl Names<'_> {
    /// The value of a name; the error offers near ones.
    pub fn value(&self, name: &str) -> Result<Value, SessionError> {
        self.find(name).ok_or_else(|| SessionError::NoValue { name: name.to_owned(), near: self.near(name) })
    }

    pub fn find(&self, name: &str) -> Option<Value> {
        if let Some(v) = self.exact(name) {
            return Some(v);
        }
        let aliases = self.signature.iter().flat_map(|s| s.inputs.iter().chain(&s.outputs));
        let key = aliases.filter(|(alias, _)| alias == name).map(|(_, key)| key).next()?;
        self.exact(key.as_str())
    }

    fn exact(&self, name: &str) -> Option<Value> {
        let get = |n: &str| self.spelled.values.get(&ValueKey::new(n)).copied();
        get(name).or_else(|| get(&format!("{name}:0"))).or_else(|| get(name.strip_suffix(":0")?)).or_else(|| {
            let bare = name.strip_suffix(":0").unwrap_or(name);
            let feed = self.program.feeds.iter().find(|f| f.name.strip_suffix(":0").unwrap_or(&f.name) == bare);
            feed.map(|f| f.value)
        })
    }

    /// Up to two names that end alike or contain the word.
    fn near(&self, name: &str) -> Vec<String> {
        let bare = name.strip_suffix(":0").unwrap_or(name);
        let last = bare.rsplit('/').next().unwrap_or(bare);
        let mut found: Vec<String> = self
            .spelled
            .values
            .keys()
            .map(|k| k.as_str())
            .filter(|k| k.eq_ignore_ascii_case(name) || k.contains(bare) || (last.len() > 3 && k.contains(last)))
            .map(str::to_owned)
            .collect();
        found.sort_by_key(|k| (k.len(), k.clone()));
        found.truncate(2);
        found
    }
}
