//! Whole entities in sequences of `B-x`, `I-x`, `O` labels, scored as seqeval's default mode (conlleval's rules): an entity
//! counts where type, begin and end agree.

/// Counts over all sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequences {
    correct: u64,
    truth: u64,
    predicted: u64,
}

/// An entity: type, first and last position.
pub type Entity<'a> = (&'a str, usize, usize);

impl Sequences {
    /// One sequence of (true, predicted) class indices.
    pub fn add(&mut self, names: &[String], row: &[(usize, usize)]) {
        let name = |i: usize| names.get(i).map_or("O", String::as_str);
        let truth = entities(&row.iter().map(|r| name(r.0)).collect::<Vec<_>>());
        let predicted = entities(&row.iter().map(|r| name(r.1)).collect::<Vec<_>>());
        self.correct += predicted.iter().filter(|e| truth.contains(e)).count() as u64;
        self.truth += truth.len() as u64;
        self.predicted += predicted.len() as u64;
    }

    /// Precision, recall and F1 (micro).
    pub fn scores(&self) -> (f64, f64, f64) {
        let ratio = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
        (
            ratio(self.correct, self.predicted),
            ratio(self.correct, self.truth),
            ratio(2 * self.correct, self.truth + self.predicted),
        )
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
