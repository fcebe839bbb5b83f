//! Classes of a label column, numbered in sorted order.

use std::collections::BTreeMap;

use super::source::DataError;
use super::table::Table;

/// The classes of a data set with how often each occurs in the rows that it was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelVocabulary {
    names: Vec<String>,
    counts: Vec<usize>,
}

impl LabelVocabulary {
    /// From all values of a column. Whole numbers sort by value, anything else by its bytes.
    pub fn of_column(table: &Table, column: usize) -> Result<Self, DataError> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        table.for_each(column, |row, value| {
            let value = value.trim();
            if value.is_empty() {
                return Err(table.row_error(row, "the label is empty"));
            }
            match counts.get_mut(value) {
                Some(n) => *n += 1,
                None => drop(counts.insert(value.to_owned(), 1)),
            }
            Ok(())
        })?;
        Ok(Self::from_counts(counts))
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
        Self { names, counts }
    }

    /// With a fixed order (the list beside an exported model).
    pub fn from_names(names: Vec<String>) -> Self {
        Self { counts: vec![0; names.len()], names }
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
        let name = name.trim();
        self.names.iter().position(|n| n == name)
    }

    /// The class of every row; a label that is not in the vocabulary is an error with its line.
    pub fn indices(&self, table: &Table, column: usize) -> Result<Vec<u32>, DataError> {
        let mut out = Vec::with_capacity(table.len());
        table.for_each(column, |row, value| match self.index(value) {
            Some(i) => {
                out.push(i as u32);
                Ok(())
            }
            None => Err(table.row_error(
                row,
                format!("the label '{}' does not occur in the training data ({})", value.trim(), self.names.join(", ")),
            )),
        })?;
        Ok(out)
    }
}
