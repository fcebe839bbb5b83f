//! Classes of a label column, numbered in sorted order.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::base::files;

use super::source::DataError;
use super::table::Table;

/// The classes of a data set with how often each occurs in the rows that it was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelVocabulary {
    names: Vec<String>,
    counts: Vec<usize>,
    index: HashMap<String, u32>,
}

/// The class of a row whose label is in no vocabulary.
pub const UNKNOWN: u32 = u32::MAX;

/// More labels than this are no classes but texts or numbers in the wrong column.
const MAX_CLASSES: usize = 1 << 20;

impl LabelVocabulary {
    /// From all values of a column. Whole numbers sort by value, anything else by its bytes.
    pub fn of_column(table: &Table, column: usize) -> Result<Self, DataError> {
        Self::collect(table, column, None)
    }

    /// As [`LabelVocabulary::of_column`] where a row has any number of labels between separators.
    pub fn of_marks(table: &Table, column: usize, separator: char) -> Result<Self, DataError> {
        Self::collect(table, column, Some(separator))
    }

    fn collect(table: &Table, column: usize, separator: Option<char>) -> Result<Self, DataError> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut count = |row: usize, value: &str| {
            if let Some(n) = counts.get_mut(value) {
                *n += 1;
            } else if counts.len() < MAX_CLASSES {
                counts.insert(value.to_owned(), 1);
            } else {
                return Err(table.row_error(row, too_many()));
            }
            Ok(())
        };
        table.for_each(column, |row, text| match separator {
            None if text.trim().is_empty() => Err(table.row_error(row, "the label is empty")),
            None => count(row, text.trim()),
            Some(s) => text.split(s).map(str::trim).filter(|p| !p.is_empty()).try_for_each(|p| count(row, p)),
        })?;
        Ok(Self::from_counts(counts.into_iter().collect()))
    }

    /// From any values.
    pub fn of_values<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for value in values {
            match counts.get_mut(value) {
                Some(n) => *n += 1,
                None => drop(counts.insert(value.to_owned(), 1)),
            }
        }
        Self::from_counts(counts)
    }

    fn from_counts(counts: BTreeMap<String, usize>) -> Self {
        let mut pairs: Vec<(String, usize)> = counts.into_iter().collect();
        if pairs.iter().all(|(n, _)| n.parse::<i64>().is_ok()) {
            pairs.sort_by_key(|(n, _)| n.parse::<i64>().unwrap_or(0));
        }
        let (names, counts) = pairs.into_iter().unzip();
        Self::with_counts(names, counts)
    }

    /// With a fixed order (the list beside an exported model).
    pub fn from_names(names: Vec<String>) -> Self {
        let index = names.iter().enumerate().map(|(i, n)| (n.clone(), i as u32)).collect();
        Self { counts: vec![0; names.len()], names, index }
    }

    /// Names with how often each occurs, in this order.
    pub fn with_counts(names: Vec<String>, counts: Vec<usize>) -> Self {
        Self { counts, ..Self::from_names(names) }
    }

    /// Reads a list of labels: one a line, or a JSON array of texts (`.json`; also an object from index to label, as
    /// model configurations write `id2label`).
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let text = files::read_to_string(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        let is_json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        let names = if is_json { json_names(&text) } else { Ok(line_names(&text)) };
        let names = names.map_err(|what| DataError::File { path: path.to_owned(), what })?;
        let made = Self::from_names(names);
        if made.is_empty() || made.index.len() != made.names.len() {
            let what = if made.is_empty() { "no labels" } else { "a label stands there twice" };
            return Err(DataError::File { path: path.to_owned(), what: what.to_owned() });
        }
        Ok(made)
    }

    /// Writes one label a line (a JSON array where a label holds a line end), atomically, and gives the file's name.
    pub fn write(&self, folder: &Path, stem: &str) -> std::io::Result<String> {
        let lines = !self.names.iter().any(|n| n.contains(['\n', '\r']) || n.trim() != n || n.is_empty());
        let (name, text) = if lines {
            (format!("{stem}.txt"), self.names.join("\n") + "\n")
        } else {
            (format!("{stem}.json"), serde_json::to_string_pretty(&self.names).map_err(std::io::Error::other)?)
        };
        files::replace(&folder.join(&name), text.as_bytes())?;
        Ok(name)
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    pub fn index(&self, name: &str) -> Option<usize> {
        self.index.get(name.trim()).map(|&i| i as usize)
    }

    /// What to say about a label that is not here.
    pub fn unknown(&self, label: &str) -> String {
        let shown = 20.min(self.names.len());
        let more = if shown < self.names.len() { ", …" } else { "" };
        format!(
            "the label '{}' does not occur in the training data ({}{more}); correct the row, or add examples of it to the \
             training data",
            label.trim(),
            self.names[..shown].join(", ")
        )
    }

    /// The class of every row. A label that is not in the vocabulary is an error with its line, or [`UNKNOWN`] where such
    /// rows are left out.
    pub fn indices(&self, table: &Table, column: usize, skip: bool) -> Result<Vec<u32>, DataError> {
        let mut out = Vec::with_capacity(table.len());
        table.for_each(column, |row, value| match self.index(value) {
            Some(i) => {
                out.push(i as u32);
                Ok(())
            }
            None if skip => {
                out.push(UNKNOWN);
                Ok(())
            }
            None => Err(table.row_error(row, self.unknown(value))),
        })?;
        Ok(out)
    }
}

fn too_many() -> String {
    format!("this column has more than {MAX_CLASSES} different labels; name another column with --label")
}

fn line_names(text: &str) -> Vec<String> {
    let lines = text.trim_start_matches('\u{feff}').lines();
    lines.map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

fn json_names(text: &str) -> Result<Vec<String>, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
    let word = |v: &serde_json::Value| match v {
        serde_json::Value::String(s) => s.clone(),
        other => other.to_string(),
    };
    match value.get("id2label").unwrap_or(&value) {
        serde_json::Value::Array(items) => Ok(items.iter().map(word).collect()),
        serde_json::Value::Object(map) => {
            let mut pairs = Vec::new();
            for (key, label) in map {
                let index: usize = key.parse().map_err(|_| format!("'{key}' is no index of a label"))?;
                pairs.push((index, word(label)));
            }
            pairs.sort();
            if pairs.iter().enumerate().any(|(i, (index, _))| i != *index) {
                return Err("the indices of the labels have gaps".to_owned());
            }
            Ok(pairs.into_iter().map(|p| p.1).collect())
        }
        _ => Err("neither a list of labels nor an object from index to label".to_owned()),
    }
}
