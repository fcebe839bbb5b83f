//! Whole entities in sequences of `B-x`, `I-x`, `O` labels, scored as seqeval's default mode (conlleval's rules): an entity
//! counts where type, begin and end agree.

use std::collections::BTreeMap;

use super::ClassRow;

/// Counts over all sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequences {
    all: Counts,
    types: BTreeMap<String, Counts>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    correct: u64,
    truth: u64,
    predicted: u64,
}

impl Counts {
    /// Precision, recall and F1.
    fn scores(&self) -> (f64, f64, f64) {
        let ratio = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
        (
            ratio(self.correct, self.predicted),
            ratio(self.correct, self.truth),
            ratio(2 * self.correct, self.truth + self.predicted),
        )
    }
}

/// An entity: type, first and last position.
pub type Entity<'a> = (&'a str, usize, usize);

impl Sequences {
    /// One sequence of (true, predicted) class indices.
    pub fn add(&mut self, names: &[String], row: &[(usize, usize)]) {
        let name = |i: usize| names.get(i).map_or("O", String::as_str);
        let truth = entities(&row.iter().map(|r| name(r.0)).collect::<Vec<_>>());
        let predicted = entities(&row.iter().map(|r| name(r.1)).collect::<Vec<_>>());
        for e in &truth {
            self.count(e.0, |c| c.truth += 1);
        }
        for e in &predicted {
            self.count(e.0, |c| c.predicted += 1);
            if truth.contains(e) {
                self.count(e.0, |c| c.correct += 1);
            }
        }
    }

    fn count(&mut self, kind: &str, f: impl Fn(&mut Counts)) {
        f(&mut self.all);
        match self.types.get_mut(kind) {
            Some(c) => f(c),
            None => f(self.types.entry(kind.to_owned()).or_default()),
        }
    }

    /// Precision, recall and F1 (micro).
    pub fn scores(&self) -> (f64, f64, f64) {
        self.all.scores()
    }

    /// Mean of the types' F1.
    pub fn f1_macro(&self) -> f64 {
        self.types.values().map(|c| c.scores().2).sum::<f64>() / self.types.len().max(1) as f64
    }

    /// One row per type of entity.
    pub fn rows(&self) -> Vec<ClassRow> {
        let row = |(name, c): (&String, &Counts)| {
            let (precision, recall, f1) = c.scores();
            ClassRow { name: name.clone(), precision, recall, f1, support: c.truth }
        };
        self.types.iter().map(row).collect()
    }
}

/// The entities of a sequence. An `I-x` that does not continue an `x` begins one.
pub fn entities<'a>(labels: &[&'a str]) -> Vec<Entity<'a>> {
    let mut out = Vec::new();
    let mut open: Option<(&str, usize)> = None;
    for (i, label) in labels.iter().enumerate() {
        let (tag, kind) = label.split_once('-').unwrap_or((label, "_"));
        let inside = tag != "O" && !tag.is_empty();
        let continues = inside && tag != "B" && tag != "S" && open.is_some_and(|(k, _)| k == kind);
        if !continues {
            if let Some((k, start)) = open.take() {
                out.push((k, start, i - 1));
            }
            if inside {
                open = Some((kind, i));
            }
        }
        if matches!(tag, "E" | "S")
            && let Some((k, start)) = open.take()
        {
            out.push((k, start, i));
        }
    }
    if let Some((k, start)) = open {
        out.push((k, start, labels.len() - 1));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_begin_and_end() {
        assert_eq!(
            entities(&["B-per", "I-per", "O", "I-loc", "B-loc", "I-per"]),
            [("per", 0, 1), ("loc", 3, 3), ("loc", 4, 4), ("per", 5, 5)]
        );
        assert!(entities(&["O", "O"]).is_empty());
    }
}
