//! Selectors: how a recipe names constants so that it can be replayed on another model of the same family.
//!
//! Words: `suggested`, `all`, `none`; `last-N-layers` (the last N layers and what follows them), `heads` (grafted heads, else
//! what follows the last layer), `bitfit` (all biases; Ben Zaken et al. 2021), `layer-norm` (gains and shifts of
//! normalisations). Prefixes: `glob:`, `re:`, `role:`, `below:` (a node or scope: the constants from which its inputs are
//! computed). Anything else is a name.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::graph::Graph;

use super::below;
use super::recipe::serde_as_text;

/// Names constants by exact name, pattern, role or place. `glob:`, `re:`, `role:` and `below:` are the only prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// What the role recogniser suggests.
    Suggested,
    /// Every float constant with more than one element.
    All,
    None,
    /// The last layers, by structure, with everything after them.
    LastLayers(usize),
    /// Grafted heads; without one, what stands after the last layer.
    Heads,
    /// Biases and the shifts of normalisations.
    BitFit,
    /// Gains and shifts of normalisations.
    LayerNorm,
    Name(String),
    Glob(String),
    Regex(String),
    Role(String),
    /// Constants from which the inputs of a node or scope are computed.
    Below(String),
}

/// `last-2-layers` → 2.
fn last_layers(s: &str) -> Option<usize> {
    let n = s.strip_prefix("last-")?;
    n.strip_suffix("-layers").or_else(|| n.strip_suffix("-layer"))?.parse().ok()
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let selector = match s {
            "suggested" => Self::Suggested,
            "all" => Self::All,
            "none" => Self::None,
            "heads" => Self::Heads,
            "bitfit" => Self::BitFit,
            "layer-norm" => Self::LayerNorm,
            _ => {
                if let Some(n) = last_layers(s) {
                    Self::LastLayers(n)
                } else if let Some(p) = s.strip_prefix("glob:") {
                    Self::Glob(p.to_owned())
                } else if let Some(p) = s.strip_prefix("re:") {
                    Self::Regex(p.to_owned())
                } else if let Some(p) = s.strip_prefix("role:") {
                    Self::Role(p.to_owned())
                } else if let Some(p) = s.strip_prefix("below:") {
                    Self::Below(p.to_owned())
                } else {
                    Self::Name(s.to_owned())
                }
            }
        };
        selector.matcher(None)?;
        Ok(selector)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suggested => f.write_str("suggested"),
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
            Self::LastLayers(1) => f.write_str("last-1-layer"),
            Self::LastLayers(n) => write!(f, "last-{n}-layers"),
            Self::Heads => f.write_str("heads"),
            Self::BitFit => f.write_str("bitfit"),
            Self::LayerNorm => f.write_str("layer-norm"),
            Self::Name(n) => f.write_str(n),
            Self::Glob(p) => write!(f, "glob:{p}"),
            Self::Regex(p) => write!(f, "re:{p}"),
            Self::Role(r) => write!(f, "role:{r}"),
            Self::Below(n) => write!(f, "below:{n}"),
        }
    }
}

serde_as_text!(Selector, "suggested, all, none, a name, or glob:, re:, role: with a pattern, below: with a node");

/// What a selector looks at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidate<'a> {
    pub name: &'a str,
    pub is_float: bool,
    pub elements: usize,
    /// The role's name as the command line prints it.
    pub role: &'a str,
    pub suggested: bool,
    /// How many layers it is away from the output: 0 behind the last one, 1 in the last.
    pub from_top: Option<usize>,
    /// Whether it belongs to a head, grafted or recognised.
    pub is_head: bool,
}

/// A selector with its pattern compiled.
#[derive(Debug)]
pub struct Matcher(Kind);

#[derive(Debug)]
enum Kind {
    Suggested,
    All,
    None,
    LastLayers(usize),
    Heads,
    Roles(&'static [&'static str]),
    Name(String),
    Glob(globset::GlobMatcher),
    Regex(regex::Regex),
    Role(String),
    Among(HashSet<String>),
}

impl Selector {
    /// Everything whose name lies in a scope.
    pub fn inside(scope: &str) -> Self {
        Self::Glob(format!("{}/*", globset::escape(scope)))
    }

    /// Whether it is the exact name of a constant.
    pub fn names(&self, name: &str) -> bool {
        matches!(self, Self::Name(n) if n.strip_suffix(":0").unwrap_or(n) == name)
    }

    /// Compiles the pattern; the error says what is wrong with it. Without a graph nothing is below anything.
    pub fn matcher(&self, graph: Option<&Graph>) -> Result<Matcher, String> {
        Ok(Matcher(match self {
            Self::Suggested => Kind::Suggested,
            Self::All => Kind::All,
            Self::None => Kind::None,
            Self::LastLayers(n) => Kind::LastLayers(*n),
            Self::Heads => Kind::Heads,
            Self::BitFit => Kind::Roles(&["bias", "norm-shift"]),
            Self::LayerNorm => Kind::Roles(&["norm-scale", "norm-shift"]),
            Self::Name(n) => Kind::Name(n.strip_suffix(":0").unwrap_or(n).to_owned()),
            Self::Glob(p) => Kind::Glob(
                globset::Glob::new(p).map_err(|e| format!("the pattern glob:{p} is not valid: {e}"))?.compile_matcher(),
            ),
            Self::Regex(p) => {
                Kind::Regex(regex::Regex::new(p).map_err(|e| format!("the pattern re:{p} is not valid: {e}"))?)
            }
            Self::Role(r) => Kind::Role(r.clone()),
            Self::Below(place) => Kind::Among(match graph {
                None => HashSet::new(),
                Some(g) => below::names(g, place)
                    .ok_or_else(|| format!("below:{place} names no node and no scope of this model"))?,
            }),
        }))
    }
}

impl Matcher {
    /// Only float constants can train; everything else never matches but by exact name.
    pub fn matches(&self, c: &Candidate<'_>) -> bool {
        match &self.0 {
            Kind::Suggested => c.suggested,
            Kind::All => c.is_float && c.elements > 1,
            Kind::None => false,
            Kind::LastLayers(n) => c.suggested && c.from_top.is_some_and(|d| d <= *n),
            Kind::Heads => c.is_float && c.is_head,
            Kind::Roles(roles) => c.is_float && c.suggested && roles.contains(&c.role),
            Kind::Name(n) => c.name == n || c.name.strip_suffix(":0") == Some(n),
            Kind::Glob(g) => c.is_float && g.is_match(c.name),
            Kind::Regex(r) => c.is_float && r.is_match(c.name),
            Kind::Role(r) => c.is_float && c.role == r,
            Kind::Among(names) => c.is_float && names.contains(c.name),
        }
    }
}

/// The outcome of choosing: indices into the candidates, selectors that matched nothing.
#[derive(Debug, Default)]
pub struct Chosen {
    pub chosen: Vec<usize>,
    pub unmatched_include: Vec<Selector>,
    pub unmatched_exclude: Vec<Selector>,
    /// Names that were asked for but are not float constants.
    pub not_float: Vec<String>,
}

/// As [`choose_in`], without a graph: for selectors that name no place.
pub fn choose(include: &[Selector], exclude: &[Selector], candidates: &[Candidate<'_>]) -> Result<Chosen, String> {
    choose_in(None, include, exclude, candidates)
}

/// Applies a choice to candidates, in their order; places are looked up in `graph`.
pub fn choose_in(
    graph: Option<&Graph>,
    include: &[Selector],
    exclude: &[Selector],
    candidates: &[Candidate<'_>],
) -> Result<Chosen, String> {
    let mut out = Chosen::default();
    let mut keep = vec![false; candidates.len()];
    for selector in include {
        let m = selector.matcher(graph)?;
        let mut any = matches!(selector, Selector::None | Selector::Suggested | Selector::All);
        for (i, c) in candidates.iter().enumerate() {
            if m.matches(c) {
                any = true;
                if c.is_float {
                    keep[i] = true;
                } else {
                    out.not_float.push(c.name.to_owned());
                }
            }
        }
        if !any {
            out.unmatched_include.push(selector.clone());
        }
    }
    for selector in exclude {
        let m = selector.matcher(graph)?;
        let mut any = false;
        for (i, c) in candidates.iter().enumerate() {
            if m.matches(c) {
                any = true;
                keep[i] = false;
            }
        }
        if !any {
            out.unmatched_exclude.push(selector.clone());
        }
    }
    out.chosen = keep.iter().enumerate().filter_map(|(i, &k)| k.then_some(i)).collect();
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(include: &[&str], exclude: &[&str]) -> Vec<String> {
        let c = |name, role, elements, suggested| Candidate {
            name,
            is_float: true,
            elements,
            role,
            suggested,
            ..Candidate::default()
        };
        let candidates = [
            c("a/kernel", "matmul-weight", 64, true),
            c("a/bias", "bias", 8, true),
            c("a/eps", "scalar", 1, false),
            c("ns::odd", "other", 4, false),
            Candidate { name: "ids", elements: 9, role: "other", ..Candidate::default() },
        ];
        let parse = |s: &[&str]| s.iter().map(|s| s.parse().unwrap()).collect::<Vec<Selector>>();
        let chosen = choose(&parse(include), &parse(exclude), &candidates).unwrap();
        chosen.chosen.iter().map(|&i| candidates[i].name.to_owned()).collect()
    }

    #[test]
    fn selectors_choose_by_name_pattern_and_role() {
        assert_eq!(names(&["suggested"], &[]), ["a/kernel", "a/bias"]);
        assert_eq!(names(&["all"], &["role:bias"]), ["a/kernel", "ns::odd"]);
        assert_eq!(names(&["ns::odd"], &[]), ["ns::odd"]);
        assert_eq!(names(&["glob:a/*"], &["re:eps$"]), ["a/kernel", "a/bias"]);
        assert_eq!(names(&["a/eps:0"], &[]), ["a/eps"]);
        assert!(names(&["none"], &[]).is_empty());
        assert_eq!(names(&["bitfit"], &[]), ["a/bias"]);
        for text in
            ["last-2-layers", "last-1-layer", "heads", "bitfit", "layer-norm", "last-layers", "role:bias", "below:a"]
        {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
        assert!("re:(".parse::<Selector>().is_err());
    }
}
