//! What is wrong with a model and its data, worst first, with the changes that would help.

use std::cell::RefCell;
use std::sync::Arc;

use crate::base::{Diagnostic, Severity};
use crate::session::overview::{SiteRow, ValueRow};
use crate::session::recipe::DataChoice;
use crate::session::{Change, EditStep, Overview, Recipe, SitePolicy, UnbakeChoice};
use crate::ui::command::{Action, Command, DataFile};
use crate::ui::ctx::{Blocker, DataView, Gradients, Open};
use crate::ui::dialogs::HeadForm;
use crate::ui::dialogs::objective::lacks_loss;
use crate::ui::text;

use super::{Cure, Problem};

/// What problems follow from; held, so that equal addresses mean equal content.
#[derive(Debug)]
struct Key {
    overview: Arc<Overview>,
    gradients: Option<Arc<Gradients>>,
    data: Option<Arc<DataView>>,
    recipe: Arc<Recipe>,
}

impl Key {
    fn is_same(&self, other: &Self) -> bool {
        fn same<T>(a: &Option<Arc<T>>, b: &Option<Arc<T>>) -> bool {
            match (a, b) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                (a, b) => a.is_none() && b.is_none(),
            }
        }
        Arc::ptr_eq(&self.overview, &other.overview)
            && Arc::ptr_eq(&self.recipe, &other.recipe)
            && same(&self.gradients, &other.gradients)
            && same(&self.data, &other.data)
    }
}

/// Problems as they were last worked out.
#[derive(Debug, Default)]
pub struct Known(RefCell<Option<(Key, Arc<Vec<Problem>>)>>);

impl Open {
    /// Everything that is wrong, worst first: the model's findings, then gradients that do not arrive. Worked out anew
    /// only where something that it follows from has changed.
    pub fn problems(&self) -> Arc<Vec<Problem>> {
        let key = Key {
            overview: self.overview.clone(),
            gradients: self.gradients.clone(),
            data: self.data.clone(),
            recipe: self.history.recipe().clone(),
        };
        let mut known = self.known_problems.0.borrow_mut();
        if let Some((_, problems)) = known.as_ref().filter(|(old, _)| old.is_same(&key)) {
            return problems.clone();
        }
        let problems = Arc::new(self.find_problems());
        *known = Some((key, problems.clone()));
        problems
    }

    fn find_problems(&self) -> Vec<Problem> {
        let mut out: Vec<Problem> = self
            .overview
            .diagnostics
            .iter()
            .map(|d| Problem {
                severity: d.severity,
                code: d.code.clone(),
                message: d.message.clone(),
                place: d.place.clone(),
                cures: self.diagnostic_cures(d),
            })
            .collect();
        for b in self.gradients.iter().flat_map(|g| &g.blockers) {
            out.push(blocked(b));
        }
        out.extend(self.missing());
        out.extend(self.baked());
        for (i, why) in self.group_sizes.iter().enumerate().filter_map(|(i, g)| Some((i, g.as_ref().err()?))) {
            let mut groups = self.recipe().groups.clone();
            if i < groups.len() {
                groups.remove(i);
            }
            out.push(Problem {
                severity: Severity::Error,
                code: "group".to_owned(),
                message: format!("The group {} of parameters has no members: {why}", i + 1),
                place: None,
                cures: vec![Cure::change("Remove the group", Change::SetGroups(groups))],
            });
        }
        out.extend(self.data.iter().filter_map(|d| d.problem.as_ref()).map(|why| Problem {
            severity: Severity::Error,
            code: "data".to_owned(),
            message: format!("The data do not fit: {why}"),
            place: None,
            cures: self.data_cures(),
        }));
        out.sort_by_key(|p| std::cmp::Reverse(p.severity));
        out
    }

    /// What helps against a finding about decisions: the library says it in words, here it is a click.
    fn diagnostic_cures(&self, d: &Diagnostic) -> Vec<Cure> {
        let place = d.place.as_deref().unwrap_or_default();
        match d.code.as_str() {
            "idle-dropout" => {
                let bare = |name: &str| name.strip_suffix(":0").unwrap_or(name).to_owned();
                let site = self.overview.dropout.iter().find(|s| bare(&s.output) == place);
                let set =
                    |output: &str, policy| Change::SetSiteDropout { output: output.to_owned(), policy: Some(policy) };
                let cures = |s: &SiteRow| {
                    vec![
                        Cure::change("Drop at a rate of 0.1", set(&s.output, SitePolicy::Rate(0.1))),
                        Cure::change("Dropout off", set(&s.output, SitePolicy::Off)),
                    ]
                };
                site.map(cures).unwrap_or_default()
            }
            "exclude-matches-nothing" => {
                let mut choice = self.recipe().trainable.clone();
                // The message names the selector; what it does not name stays.
                choice.exclude.retain(|s| !d.message.contains(&format!(" {s} ")));
                if choice == self.recipe().trainable {
                    return Vec::new();
                }
                vec![Cure::change("Forget this exception", Change::SetTrainable(choice))]
            }
            _ => Vec::new(),
        }
    }

    /// What a run still needs before it can start.
    fn missing(&self) -> Vec<Problem> {
        let problem = |severity, code: &str, message: &str, cures: &[Action]| Problem {
            severity,
            code: code.to_owned(),
            message: message.to_owned(),
            place: None,
            cures: cures.iter().copied().map(Cure::action).collect(),
        };
        let counts = self.overview.counts;
        let mut out = Vec::new();
        if counts.suggested_trainable == 0 {
            // A file without weights is looked at, not trained.
            return out;
        }
        if counts.trainable == 0 {
            let words = "Nothing trains: every weight is frozen.";
            out.push(problem(Severity::Warning, "nothing-trains", words, &[Action::TrainSuggested]));
        }
        if lacks_loss(self) {
            let words = "Nothing says what to minimise: choose a loss on an output, or graft a head.";
            out.push(problem(Severity::Info, "no-loss", words, &[Action::ChooseLoss, Action::GraftHead]));
        }
        if self.recipe().data.is_none() {
            let words = "No data is chosen: training needs examples.";
            out.push(problem(Severity::Info, "no-data", words, &[Action::PickData]));
        }
        out
    }

    /// Batch size and length that every placeholder repeats, where the file fixes them.
    pub fn baked_sizes(&self) -> (Option<usize>, Option<usize>) {
        let shapes = || self.overview.placeholders.iter().filter_map(|p| Some((p, p.shape.as_ref()?)));
        let same = |sizes: Vec<Option<usize>>| match sizes.as_slice() {
            [Some(n), rest @ ..] if rest.iter().all(|m| *m == Some(*n)) => Some(*n),
            _ => None,
        };
        let batch = same(shapes().filter(|(_, s)| !s.is_empty()).map(|(_, s)| s[0]).collect());
        let is_sequence = |p: &ValueRow, s: &[_]| s.len() == 2 && p.dtype.starts_with("int");
        let length = same(shapes().filter(|(p, s)| is_sequence(p, s)).map(|(_, s)| s[1]).collect());
        // One column of labels is no length.
        (batch, length.filter(|n| *n > 1))
    }

    /// What helps where data do not fit: one value for a placeholder that nothing fills, a head for the classes at hand,
    /// guessing anew what was chosen by hand.
    fn data_cures(&self) -> Vec<Cure> {
        let Some(data) = &self.recipe().data else { return Vec::new() };
        let mut out = Vec::new();
        let view = self.data.as_deref();
        if let Some(name) = view.and_then(|d| d.unfed.as_ref()) {
            // A switch or a rate is no part of the examples: it has one value for all of them.
            out.extend([0.0, 1.0].map(|value| {
                let pin = Change::SetPin { name: name.clone(), value: Some(value) };
                Cure::change(format!("Feed {name} always {value}"), pin)
            }));
        }
        if let Some(n) = view.and_then(|d| d.too_many_classes) {
            let form = HeadForm { classes: n, ..HeadForm::new(Some(self), None) };
            out.push(Cure::change(format!("Graft a head for {n} classes"), form.change()));
        }
        let plain = DataChoice {
            train: data.train.clone(),
            validation: data.validation.clone(),
            tokenizer: data.tokenizer.clone(),
            ..DataChoice::default()
        };
        let cure = |label: &str, data| Cure::change(label, Change::SetData(data));
        if !data.text.is_empty() && data.tokenizer.is_none() && view.is_none_or(|d| d.tokenizer.is_none()) {
            let command = Command::PickDataFile(DataFile::Tokenizer);
            out.push(Cure { label: "Choose the tokenizer…".to_owned(), command });
        }
        if plain != *data {
            out.push(cure("Guess columns and mapping anew", Some(plain)));
        }
        out.push(cure("Choose other data", None));
        out
    }

    /// Says which sizes the file fixes, with the adjustments that free them.
    fn baked(&self) -> Option<Problem> {
        let freed = |is: fn(&UnbakeChoice) -> bool| {
            let on = self.recipe().edits.iter().filter(|e| e.enabled);
            on.into_iter().any(|e| matches!(&e.step, EditStep::Unbake(u) if is(u)))
        };
        let (batch, length) = self.baked_sizes();
        let batch = batch.filter(|_| !freed(|u| u.batch));
        let length = length.filter(|_| !freed(|u| u.length));
        let words = |name: &str, n: Option<usize>| n.map(|n| format!("{name} {n}"));
        let fixed: Vec<String> =
            [words("batches of", batch), words("texts of length", length)].into_iter().flatten().collect();
        let cure = |label: &str, batch, length| {
            Cure::change(label, Change::AddEdits(vec![EditStep::Unbake(UnbakeChoice { batch, length })]))
        };
        let cures = match (batch, length) {
            (None, None) => return None,
            (Some(_), None) => vec![cure("Free the batch size", true, false)],
            (None, Some(_)) => vec![cure("Free the length", false, true)],
            (Some(_), Some(_)) => vec![
                cure("Free batch size and length", true, true),
                cure("Free the batch size", true, false),
                cure("Free the length", false, true),
            ],
        };
        Some(Problem {
            severity: Severity::Info,
            code: "baked".to_owned(),
            message: format!(
                "The file fixes {}: what is shorter is filled up, and training cannot choose otherwise.",
                fixed.join(" and ")
            ),
            place: None,
            cures,
        })
    }
}

/// A node that stops gradients, or that nobody can compute.
fn blocked(b: &Blocker) -> Problem {
    let n = b.blocks.len();
    let mut cures = b.cures.clone();
    let message = if n == 0 {
        format!("{} cannot be computed, and what training minimises needs it: {}", b.op, b.why)
    } else {
        let label = format!("Train without {}", text::plural(n, "weight", "weights"));
        cures.push(Cure::change(label, Change::Train { names: b.blocks.clone(), on: false }));
        format!("{} blocks the gradient of {}: {}", b.op, text::plural(n, "weight", "weights"), b.why)
    };
    let place = Some(b.node.clone());
    Problem { severity: Severity::Error, code: format!("gradient-{}", b.verdict), message, place, cures }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::session::History;
    use crate::ui::{Command, sample};

    #[test]
    fn findings_about_decisions_have_cures() {
        let mut overview = sample::overview();
        let finding = |code: &str, message: &str, place: Option<&str>| Diagnostic {
            severity: Severity::Warning,
            code: code.to_owned(),
            message: message.to_owned(),
            place: place.map(str::to_owned),
        };
        overview.diagnostics = vec![
            finding("idle-dropout", "it drops nothing", Some("encoder/dropout/mul")),
            finding("exclude-matches-nothing", "the exclude selector glob:x/* matches no constant", None),
            finding("edit-not-applied", "something else", None),
        ];
        let glob = |p: &str| crate::session::Selector::Glob(p.to_owned());
        let mut recipe = Recipe::default();
        recipe.trainable.exclude = vec![glob("encoder/*"), glob("x/*")];
        let open = Open::new(Path::new("m.pb"), Arc::new(overview), History::new(recipe));
        let found = open.problems();
        let cure = |i: usize, c: usize| match &found[i].cures[c].command {
            Command::Change { change, .. } => change.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!((found[0].cures.len(), found[1].cures.len(), found[2].cures.len()), (2, 1, 0));
        let output = "encoder/dropout/mul:0".to_owned();
        assert_eq!(cure(0, 1), Change::SetSiteDropout { output, policy: Some(SitePolicy::Off) });
        let Change::SetTrainable(choice) = cure(1, 0) else { panic!("it is about what trains") };
        assert_eq!(choice.exclude, [glob("encoder/*")]);
    }

    #[test]
    fn frozen_weights_and_blocked_ones_have_cures() {
        let mut overview = sample::overview();
        overview.counts.suggested_trainable = 2;
        let mut open = Open::new(Path::new("m.pb"), Arc::new(overview.clone()), History::default());
        let codes = |open: &Open| open.problems().iter().map(|p| p.code.clone()).collect::<Vec<_>>();
        assert_eq!(codes(&open), ["nothing-trains", "no-data"]);
        assert_eq!(open.problems()[0].cures, [Cure::action(Action::TrainSuggested)]);
        overview.counts.trainable = 2;
        open.overview = Arc::new(overview);
        assert_eq!(codes(&open), ["no-data"], "what a run still needs");
        let data = DataChoice { train: "texts.tsv".to_owned(), ..DataChoice::default() };
        assert!(open.history.apply(&Change::SetData(Some(data)), None));
        assert!(codes(&open).is_empty());
        let blocks = vec!["encoder/dense/kernel".to_owned()];
        let stop = Blocker { op: "Merge".to_owned(), blocks: blocks.clone(), ..Blocker::default() };
        let unknown = Blocker { op: "Odd".to_owned(), ..Blocker::default() };
        open.gradients = Some(Arc::new(Gradients { blockers: vec![stop, unknown], ..Gradients::default() }));
        let found = open.problems();
        assert!(found[0].message.starts_with("Merge blocks the gradient of 1 weight"));
        let last = found[0].cures.last().expect("something else can train");
        assert_eq!(last.command, Command::change(Change::Train { names: blocks, on: false }));
        assert!(found[1].message.starts_with("Odd cannot be computed") && found[1].cures.is_empty());
    }

    #[test]
    fn data_that_do_not_fit_come_with_what_helps() {
        let mut history = History::default();
        let choice = DataChoice { train: "a.tsv".to_owned(), label: Some("stars".to_owned()), ..DataChoice::default() };
        history.apply(&Change::SetData(Some(choice)), None);
        let mut open = Open::new(Path::new("m.pb"), Arc::new(sample::overview()), history);
        let view = DataView { problem: Some("no".to_owned()), ..DataView::default() };
        let mut labels = |view: DataView| -> Vec<String> {
            open.data = Some(Arc::new(view));
            let all = open.problems();
            let problem = all.iter().find(|p| p.code == "data").unwrap();
            problem.cures.iter().map(|c| c.label.clone()).collect()
        };
        let usual = ["Guess columns and mapping anew", "Choose other data"];
        assert_eq!(labels(view.clone()), usual);
        let unfed = labels(DataView { unfed: Some("keep_prob:0".to_owned()), ..view.clone() });
        assert_eq!(unfed[..2], ["Feed keep_prob:0 always 0", "Feed keep_prob:0 always 1"]);
        let many = labels(DataView { too_many_classes: Some(5), ..view });
        assert_eq!((many[0].as_str(), &many[1..]), ("Graft a head for 5 classes", &usual.map(str::to_owned)[..]));
        let all = open.problems();
        let cure = all.iter().flat_map(|p| &p.cures).find(|c| c.label.starts_with("Graft")).unwrap();
        let form = HeadForm { classes: 5, ..HeadForm::new(Some(&open), None) };
        assert_eq!(*cure, Cure::change("Graft a head for 5 classes", form.change()));
    }

    #[test]
    fn problems_are_worked_out_when_something_changes_and_only_then() {
        let mut overview = sample::overview();
        overview.diagnostics.push(Diagnostic {
            severity: Severity::Warning,
            code: "odd".to_owned(),
            message: "something is odd".to_owned(),
            place: None,
        });
        let mut open = Open::new(Path::new("m.pb"), Arc::new(overview), History::default());
        let first = open.problems();
        assert!(first.iter().any(|p| p.code == "odd"));
        assert!(Arc::ptr_eq(&first, &open.problems()), "nothing changed");
        open.data = Some(Arc::new(DataView { problem: Some("no column".to_owned()), ..DataView::default() }));
        let second = open.problems();
        assert_eq!(second[0].code, "data", "worst first");
        open.data = None;
        assert_eq!(*open.problems(), *first);
    }
}
