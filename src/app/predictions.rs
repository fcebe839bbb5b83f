//! What a model said about held-out examples, with the words of the data: texts, names of classes, entities, hidden words.

use std::path::Path;

use crate::base::Reporter;
use crate::data::{Columns, DataError, DataSet, Tokenizer};
use crate::session::recipe::DataChoice;
use crate::session::{Model, plan, run, tables};
use crate::train::protocol::{Said, Sample};
use crate::ui::run_view::Prediction;
use crate::ui::text;

/// Samples with what their rows say. Rows count in the validation data, or in the training data where these were split.
pub(super) fn of_samples(
    model: &Model,
    data: &DataChoice,
    classes: &[String],
    samples: &[Sample],
) -> Result<Vec<Prediction>, String> {
    let path = Path::new(data.validation.as_ref().unwrap_or(&data.train));
    let set = DataSet::open(path, data.label.as_deref(), true).map_err(|e| e.to_string())?;
    let columns = Columns { text: data.text.clone(), ..Columns::default() };
    let has_positions = |s: &Sample| matches!(s.said, Said::Tags(_) | Said::Words(_));
    let tokenizer = match samples.iter().any(has_positions) {
        true => plan::tokenizer_of(model, data).map_err(|e| e.to_string())?.map(|(t, _)| t),
        false => None,
    };
    let words = Words { set: &set, classes, tokenizer: tokenizer.as_ref() };
    let row = |s: &Sample| {
        Ok(Prediction {
            text: set.describe(s.row, &columns),
            label: words.of(s.row, &s.truth)?,
            predicted: words.of(s.row, &s.said)?,
            probability: s.probability,
            loss: s.loss,
            is_number: matches!(s.said, Said::Numbers(_)),
        })
    };
    let rows: Result<_, DataError> = samples.iter().filter(|s| s.row < set.len()).map(row).collect();
    rows.map_err(|e| e.to_string())
}

/// What numbers of the model mean in the data.
struct Words<'a> {
    set: &'a DataSet,
    classes: &'a [String],
    tokenizer: Option<&'a Tokenizer>,
}

impl Words<'_> {
    fn class(&self, i: usize) -> String {
        self.classes.get(i).cloned().unwrap_or_else(|| i.to_string())
    }

    /// A truth or a prediction in words. Errors: a word that the tokenizer cannot split.
    fn of(&self, row: usize, said: &Said) -> Result<String, DataError> {
        let list = |parts: Vec<String>| if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
        Ok(match said {
            Said::Class(i) => self.class(*i),
            Said::Labels(all) => list(all.iter().map(|&i| self.class(i)).collect()),
            Said::Numbers(all) => all.iter().map(|v| text::number(*v, 5)).collect::<Vec<_>>().join(", "),
            Said::Words(all) => list(all.iter().map(|&i| self.token(i)).collect()),
            Said::Tags(all) => {
                let tags: Vec<String> = all.iter().map(|&i| self.class(i)).collect();
                list(tagged(&self.labelled(row)?, &tags))
            }
        })
    }

    fn token(&self, i: usize) -> String {
        let known = self.tokenizer.and_then(|t| t.token(u32::try_from(i).ok()?));
        known.unwrap_or_else(|| i.to_string())
    }

    /// The words of a sentence that have a position in the model's input; none where the data have no sentences.
    fn labelled(&self, row: usize) -> Result<Vec<&str>, DataError> {
        let DataSet::Sequences(file) = self.set else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        for word in file.sentences().get(row).map(|s| s.words.as_slice()).unwrap_or_default() {
            // A word that is only control characters has no piece and so no position.
            let has_pieces = match self.tokenizer {
                Some(t) => !t.pieces(word)?.is_empty(),
                None => true,
            };
            if has_pieces {
                out.push(word.as_str());
            }
        }
        Ok(out)
    }
}

/// Tags along a sentence as people read them: entities with their types where tags are `B-x`, `I-x` and `O`, else every word
/// with its tag. Words beyond the maximal length have no tag.
fn tagged(words: &[&str], tags: &[String]) -> Vec<String> {
    let part = |tag: &str| {
        tag.split_once('-').filter(|(p, _)| matches!(*p, "B" | "I")).map(|(p, kind)| (p == "B", kind.to_owned()))
    };
    let word = |i: usize| words.get(i).map_or_else(|| format!("{}", i + 1), |w| (*w).to_owned());
    if !tags.iter().all(|t| t == "O" || part(t).is_some()) {
        return tags.iter().enumerate().map(|(i, t)| format!("{}/{t}", word(i))).collect();
    }
    let mut out: Vec<(String, String)> = Vec::new();
    let mut open: Option<String> = None;
    for (i, tag) in tags.iter().enumerate() {
        let Some((begins, kind)) = part(tag) else {
            open = None;
            continue;
        };
        match out.last_mut().filter(|_| !begins && open.as_ref() == Some(&kind)) {
            Some((text, _)) => *text = format!("{text} {}", word(i)),
            None => out.push((word(i), kind.clone())),
        }
        open = Some(kind);
    }
    out.into_iter().map(|(words, kind)| format!("{words} ({kind})")).collect()
}

/// The validation examples with what a run's last checkpoint says about them.
pub(super) fn of_run(folder: &Path, validation: &str) -> Result<Vec<Prediction>, String> {
    let run = run::Run::open(folder, "last").map_err(|e| e.to_string())?;
    let data = run.session.recipe().data.clone().unwrap_or_default();
    let path = Path::new(validation);
    let said = tables::predict(&run, path, None, &mut Reporter::default()).map_err(|e| e.to_string())?;
    let set = DataSet::open(path, data.label.as_deref(), true).map_err(|e| e.to_string())?;
    let columns = Columns { text: data.text.clone(), ..Columns::default() };
    let row = |(i, p): (usize, &tables::Prediction)| {
        let label = truth(&set, i, &data)?;
        Ok(Prediction {
            text: set.describe(i, &columns),
            loss: p.probabilities.get(&label).map_or(f64::NAN, |p| -p.max(f64::MIN_POSITIVE).ln()),
            label,
            is_number: p.probabilities.is_empty() && p.tokens.is_empty(),
            predicted: p.label.clone(),
            probability: p.probabilities.get(&p.label).copied().unwrap_or(f64::NAN),
        })
    };
    let rows: Result<_, DataError> = said.iter().enumerate().map(row).collect();
    rows.map_err(|e| e.to_string())
}

/// What is true of an example, as the data write it; empty where they do not say.
fn truth(set: &DataSet, row: usize, data: &DataChoice) -> Result<String, DataError> {
    Ok(match set {
        DataSet::Table(table) => {
            let column = data.label.as_deref().and_then(|l| table.columns().iter().position(|c| c == l));
            let fields = table.row(row)?;
            column.and_then(|c| fields.get(c).cloned()).unwrap_or_default()
        }
        DataSet::Sequences(file) => file.sentences().get(row).map(|s| s.labels.join(" ")).unwrap_or_default(),
        // A picture's class is its folder.
        DataSet::Images(images) => {
            let folder = images.file(row).and_then(Path::parent).and_then(Path::file_name);
            folder.map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
        }
        DataSet::Arrays(_) => String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(all: &str) -> Vec<String> {
        all.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn tags_become_entities() {
        let words = ["Anna", "Maria", "Müller", "lives", "in", "Berlin", "Mitte"];
        assert_eq!(
            tagged(&words, &tags("B-PER I-PER I-PER O O B-LOC B-LOC")),
            ["Anna Maria Müller (PER)", "Berlin (LOC)", "Mitte (LOC)"]
        );
        // As seqeval reads it: another type begins another entity, and one may begin with I.
        assert_eq!(tagged(&words, &tags("I-PER I-LOC O O O")), ["Anna (PER)", "Maria (LOC)"]);
        assert!(tagged(&words, &tags("O O O")).is_empty());
        assert_eq!(tagged(&["a", "dog"], &tags("DET NOUN")), ["a/DET", "dog/NOUN"]);
        assert_eq!(tagged(&[], &tags("B-X I-X")), ["1 2 (X)"], "arrays have no words");
    }

    #[test]
    fn truths_and_predictions_are_in_the_words_of_the_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.conll");
        std::fs::write(&path, "Anna\tB-PER\nlives\tO\n\nIn\tO\nBerlin\tB-LOC\n").unwrap();
        let set = DataSet::open(&path, None, false).unwrap();
        let classes = ["O", "B-PER", "B-LOC"].map(str::to_owned);
        let words = Words { set: &set, classes: &classes, tokenizer: None };
        assert_eq!(words.of(1, &Said::Tags(vec![0, 2])).unwrap(), "Berlin (LOC)");
        assert_eq!(words.of(0, &Said::Tags(vec![0, 0])).unwrap(), "none");
        assert_eq!(words.of(0, &Said::Labels(vec![1, 2])).unwrap(), "B-PER, B-LOC");
        assert_eq!(words.of(0, &Said::Class(7)).unwrap(), "7");
        assert_eq!(truth(&set, 1, &DataChoice::default()).unwrap(), "O B-LOC");
    }
}
