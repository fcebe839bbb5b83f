//! Guesses about data and graph: which placeholder wants what, what the labels mean, where the predictions are.

use indexmap::IndexMap;

use crate::data::{DataSet, Feature, FeedSpec, IGNORED, LabelVocabulary, Target};
use crate::program::verify::live_values;
use crate::program::{Program, Value};
use crate::train::losses::{self, Labels};
use crate::train::metrics::Task;

use super::binary;
use super::error::SessionError;
use super::recipe::DataChoice;
use super::understand::Understood;
use super::words;

const CLASS_LOSSES: &[&str] = &["softmax_cross_entropy", "sparse_softmax_cross_entropy", "log_softmax"];

/// The label columns of a choice.
pub fn label_columns(data: &DataChoice) -> Vec<String> {
    let columns = data.label.iter().flat_map(|l| l.split(','));
    columns.map(|c| c.trim().to_owned()).filter(|c| !c.is_empty()).collect()
}

/// What the labels mean: as the objective's loss takes them; where the loss is in the graph, as its ops and the data
/// suggest.
pub fn target(understood: &Understood, sample: &DataSet, data: &DataChoice) -> Target {
    match understood.objective.attached {
        Some(attached) => target_of_loss(attached.kind),
        _ if finds(understood, CLASS_LOSSES).is_some() => Target::Classes,
        _ if guess_score(understood).is_some() => Target::Marks,
        _ if holds_numbers(sample, data) => Target::Values,
        _ => Target::Classes,
    }
}

pub fn target_of_loss(kind: &str) -> Target {
    match losses::find(kind) {
        Some(l) if l.labels == Labels::Targets && l.kind.starts_with("sigmoid") => Target::Marks,
        Some(l) if l.labels == Labels::Targets => Target::Values,
        _ => Target::Classes,
    }
}

/// Whether the label columns of a table hold fractions, or there are several.
fn holds_numbers(sample: &DataSet, data: &DataChoice) -> bool {
    let (DataSet::Table(table), columns) = (sample, label_columns(data)) else { return false };
    let [column] = columns.as_slice() else { return columns.len() > 1 };
    let Ok(column) = table.column(column) else { return false };
    let rows: Vec<_> = (0..table.len().min(200)).filter_map(|r| table.row(r).ok()?.into_iter().nth(column)).collect();
    let numbers: Option<Vec<f64>> = rows.iter().map(|v| v.trim().parse().ok()).collect();
    numbers.is_some_and(|n| n.iter().any(|v| v.fract() != 0.0))
}

/// What predictions and labels mean for metrics.
pub fn task(target: Target, is_sequences: bool, has_logits: bool, labels: Option<&LabelVocabulary>) -> Task {
    match (target, labels) {
        _ if !has_logits => Task::None,
        (Target::Values, _) => Task::Regression,
        (Target::Words, _) => Task::Words,
        (Target::Classes, Some(l)) => {
            let tagged = |n: &String| n.len() > 2 && n.is_char_boundary(2) && matches!(&n[..2], "B-" | "I-");
            let entities = is_sequences && l.names().iter().any(tagged);
            Task::Classes { names: l.names().to_vec(), ignore: IGNORED, entities }
        }
        (Target::Marks, Some(l)) => Task::MultiLabel { names: l.names().to_vec() },
        _ => Task::None,
    }
}

/// One entry per placeholder that loss or predictions need.
pub fn feeds(
    understood: &Understood,
    data: &DataChoice,
    logits: Option<Value>,
    sample: &DataSet,
) -> Result<Vec<FeedSpec>, SessionError> {
    let mut program = understood.program.clone();
    program.outputs = understood.objective.values.iter().copied().chain(logits).collect();
    let live = live_values(&program);
    let names = understood.names()?;
    let mut chosen: IndexMap<Value, Feature> = IndexMap::new();
    for (name, feature) in &data.map {
        chosen.insert(names.value(name)?, Feature::parse(feature));
    }
    let mut out = Vec::new();
    let mut open = Vec::new();
    for feed in program.feeds.iter().filter(|f| live[f.value.idx()] || chosen.contains_key(&f.value)) {
        let fact = program.fact(feed.value);
        let guess = || guess(understood, &program, feed.value, &feed.name, data, sample);
        let pin = |(name, _): &(&String, &f64)| names.find(name) == Some(feed.value);
        let is_pinned = understood.recipe.pins.iter().any(|p| pin(&p));
        let spec = |feature| FeedSpec {
            ignored: ignored_label(understood, &program, feed.value),
            ..FeedSpec::new(program.describe(feed.value), feature, fact.dtype, fact.shape.clone())
        };
        match chosen.get(&feed.value).cloned().or_else(|| if is_pinned { None } else { guess() }) {
            Some(feature) => out.push(spec(feature)),
            None if is_pinned => {}
            None => open.push((feed.name.clone(), spec(Feature::Label))),
        }
    }
    fill_last(sample, &mut out, &mut open);
    match open.first() {
        None => Ok(out),
        Some((name, spec)) => Err(SessionError::Unfed {
            placeholder: name.clone(),
            why: format!(
                "nothing says what fills the placeholder {name} ({} {}); map it with --map {name}=FEATURE ({}), or pin it \
                 with --set-input {name}=VALUE",
                spec.dtype,
                spec.shape,
                features(sample)
            ),
        }),
    }
}

/// What can be mapped.
fn features(sample: &DataSet) -> String {
    match sample {
        DataSet::Table(t) => {
            format!(
                "input_ids, input_mask, segment_ids, label, masked_labels, masked_positions, masked_ids, masked_weights (of \
                 words that data.mask_rate hides), or a column: {}",
                t.columns().join(", ")
            )
        }
        DataSet::Sequences(_) => "input_ids, input_mask, segment_ids, label".to_owned(),
        DataSet::Arrays(a) => format!("label, or an array: {}", a.arrays().map(|a| a.0).collect::<Vec<_>>().join(", ")),
        DataSet::Images(_) => "image or label".to_owned(),
    }
}

/// One placeholder and one array (or the pictures) that are left belong together.
fn fill_last(sample: &DataSet, out: &mut Vec<FeedSpec>, open: &mut Vec<(String, FeedSpec)>) {
    if open.len() != 1 {
        return;
    }
    let feature = match sample {
        DataSet::Images(_) if !out.iter().any(|f| f.feature == Feature::Image) => Some(Feature::Image),
        DataSet::Arrays(a) => {
            let used = |k: &str| out.iter().any(|f| f.feature == Feature::Column(k.to_owned()));
            let left: Vec<&str> = a.arrays().map(|(k, _)| k).filter(|k| Some(*k) != a.label() && !used(k)).collect();
            match left.as_slice() {
                [one] => Some(Feature::Column((*one).to_owned())),
                _ => None,
            }
        }
        _ => None,
    };
    if let Some(feature) = feature
        && let Some((_, spec)) = open.pop()
    {
        out.push(FeedSpec { feature, ..spec });
    }
}

/// By what the data offers under the placeholder's name, by the words of its name, else by its shape.
fn guess(
    understood: &Understood,
    program: &Program,
    value: Value,
    name: &str,
    data: &DataChoice,
    sample: &DataSet,
) -> Option<Feature> {
    let hides = understood.recipe.hides_words();
    if understood.objective.labels == Some(value) {
        return Some(if hides { Feature::MaskedLabels } else { Feature::Label });
    }
    let bare = name.trim_end_matches(":0");
    let last = bare.rsplit('/').next().unwrap_or(bare);
    match sample {
        DataSet::Arrays(a) => {
            if let Some(key) = a.find(name).or_else(|| a.find(last)) {
                let is_label = a.label() == Some(key);
                return Some(if is_label { Feature::Label } else { Feature::Column(key.to_owned()) });
            }
            return if a.label().is_some() && is_label_name(name) { Some(Feature::Label) } else { None };
        }
        DataSet::Images(_) => {
            let fact = program.fact(value);
            let is_picture = fact.rank() == Some(4) || (fact.rank() == Some(3) && fact.dtype.is_float());
            return if is_picture {
                Some(Feature::Image)
            } else if is_label_name(name) || (fact.dtype.is_int() && fact.rank() == Some(1)) {
                Some(Feature::Label)
            } else {
                None
            };
        }
        DataSet::Table(t) => {
            let column = t.columns().iter().find(|c| c.eq_ignore_ascii_case(bare) || c.eq_ignore_ascii_case(last));
            let is_other = |c: &&String| !data.text.contains(c) && !label_columns(data).contains(c);
            if let Some(c) = column.filter(is_other) {
                return Some(Feature::Column(c.clone()));
            }
        }
        DataSet::Sequences(_) => {}
    }
    words::guess(name).filter(|_| hides).or_else(|| guess_text(program, value, name))
}

fn is_label_name(name: &str) -> bool {
    let name = name.to_lowercase();
    ["label", "target"].iter().any(|w| name.contains(w)) || name.starts_with("tag") || name.contains("/tag")
}

fn guess_text(program: &Program, value: Value, name: &str) -> Option<Feature> {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| name.contains(w));
    if has(&["masked"]) {
        // Hidden words, which nothing hides here.
        None
    } else if has(&["mask"]) {
        Some(Feature::InputMask)
    } else if has(&["segment", "token_type", "type_ids"]) {
        Some(Feature::SegmentIds)
    } else if is_label_name(&name) {
        Some(Feature::Label)
    } else if has(&["input_ids", "token", "word", "input_word"]) || name.starts_with("ids") {
        Some(Feature::InputIds)
    } else {
        let fact = program.fact(value);
        (fact.dtype.is_int() && fact.rank() == Some(1)).then_some(Feature::Label)
    }
}

/// What positions that do not count are fed: what the attached loss ignores; for a loss in the graph [`IGNORED`], which
/// one-hot labels turn into zeros, but class 0 where a sparse cross-entropy would give NaN.
fn ignored_label(understood: &Understood, program: &Program, labels: Value) -> i64 {
    if let Some(attached) = understood.objective.attached
        && understood.objective.labels == Some(labels)
    {
        return attached.ignore;
    }
    let readers = program.readers();
    let mut todo = vec![labels];
    let mut seen = 0;
    while let Some(v) = todo.pop() {
        seen += 1;
        for &i in readers[v.idx()].iter().take(1000) {
            let instr = &program.instrs[i];
            if instr.name() == "sparse_softmax_cross_entropy" {
                return 0;
            }
            if ["reshape", "regroup", "cast", "copy", "slice", "strided_slice", "transpose"].contains(&instr.name())
                && seen < 1000
            {
                todo.extend(&instr.outputs);
            }
        }
    }
    IGNORED
}

/// What a cross-entropy on the way to the loss reads.
pub fn guess_logits(understood: &Understood) -> Option<Value> {
    finds(understood, CLASS_LOSSES).or_else(|| guess_score(understood))
}

/// What a sigmoid cross-entropy on the way to the loss reads.
fn guess_score(understood: &Understood) -> Option<Value> {
    let mut program = understood.program.clone();
    program.outputs.clone_from(&understood.objective.values);
    let live = live_values(&program);
    binary::score_of_loss(&program, |v| live[v.idx()])
}

/// The first operand of the last live instruction of one of these names.
fn finds(understood: &Understood, names: &[&str]) -> Option<Value> {
    let mut program = understood.program.clone();
    program.outputs.clone_from(&understood.objective.values);
    let live = live_values(&program);
    let reaches = |outs: &[Value]| outs.iter().any(|v| live[v.idx()]);
    let found = program.instrs.iter().rev().find(|i| names.contains(&i.name()) && reaches(&i.outputs))?;
    found.inputs.first().copied()
}
