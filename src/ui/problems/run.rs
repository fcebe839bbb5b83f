//! What a run shows to be wrong, with the settings that cure it.

use crate::base::Severity;
use crate::session::{Change, Recipe};
use crate::ui::run_view::{RunState, RunView};
use crate::ui::text;
use crate::ui::weights::Health;

use super::{Cure, Problem};

/// What a run showed to be wrong, with settings that cure it.
pub fn of_run(run: &RunView, recipe: &Recipe) -> Vec<Problem> {
    let set = |key: &str, value: &str| Change::SetSetting { key: key.to_owned(), value: Some(value.to_owned()) };
    let clip = || Cure::change("Clip gradients at 1", set("training.clip_global_norm", "1"));
    let slower = || {
        let now = recipe.settings.get("optimizer.lr").and_then(|v| v.parse::<f64>().ok()).unwrap_or(run.learning_rate);
        let rate = format!("{:e}", now / 2.0);
        Cure::change(format!("Halve the learning rate to {rate}"), set("optimizer.lr", &rate))
    };
    let mut out = Vec::new();
    if let Some(node) = &run.watch.nan_origin {
        out.push(Problem {
            severity: Severity::Error,
            code: "nan".to_owned(),
            message: format!("Training ended by a value that is not finite; the first came from {node}."),
            place: Some(node.clone()),
            cures: vec![slower(), clip()],
        });
    }
    for (health, severity, message, cures) in [
        (Health::Exploding, Severity::Error, "has an exploding gradient", vec![clip(), slower()]),
        (Health::Dead, Severity::Warning, "gets a gradient of exactly zero", Vec::new()),
        (Health::Fast, Severity::Warning, "moves by more than a tenth in one update", vec![slower()]),
    ] {
        let mut ill: Vec<&String> =
            run.watch.weights.iter().filter(|(_, w)| w.health() == health).map(|(name, _)| name).collect();
        ill.sort();
        let Some(first) = ill.first() else { continue };
        let mut cures = cures;
        if health == Health::Dead {
            let names: Vec<String> = ill.iter().map(|n| (*n).clone()).collect();
            let label = format!("Freeze {}", text::plural(names.len(), "weight", "weights"));
            cures.push(Cure::change(label, Change::Train { names, on: false }));
        }
        let others = match ill.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        out.push(Problem {
            severity,
            code: format!("weight-{}", health.word()),
            message: format!("{first}{others} {message}. {}", health.help()),
            place: Some((*first).clone()),
            cures,
        });
    }
    out.extend(flat(run, recipe));
    out
}

/// Steps before a loss is judged.
const ENOUGH_STEPS: usize = 30;
/// Steps at the start and at the end that are compared: this is asked in every frame, however long the run was.
const MOST_COMPARED: usize = 1000;
/// A loss that kept more than this of itself hardly fell.
const FLAT: f64 = 0.95;

/// A run that is over and in which the loss hardly fell, with what usually helps: a greater rate, more epochs.
fn flat(run: &RunView, recipe: &Recipe) -> Option<Problem> {
    let values = &run.loss.values;
    if run.state != RunState::Finished || values.len() < ENOUGH_STEPS {
        return None;
    }
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
    let part = (values.len() / 5).min(MOST_COMPARED);
    let (first, last) = (mean(&values[..part]), mean(&values[values.len() - part..]));
    // What is small already need not fall.
    if !(first > 0.1 && last > first * FLAT) {
        return None;
    }
    let set = |key: &str, value: String| Change::SetSetting { key: key.to_owned(), value: Some(value) };
    let rate = recipe.settings.get("optimizer.lr").and_then(|v| v.parse::<f64>().ok());
    let mut cures = Vec::new();
    if let Some(greater) = rate.map(|r| r * 10.0).filter(|r| *r <= 0.1) {
        let greater = format!("{:e}", (greater * 1e12).round() / 1e12);
        let label = format!("Learning rate {greater}, ten times as much");
        cures.push(Cure::change(label, set("optimizer.lr", greater)));
    }
    if run.total_epochs > 0 {
        let more = run.total_epochs * 3;
        cures.push(Cure::change(format!("Train for {more} epochs"), set("training.epochs", more.to_string())));
    }
    let words = |v: f64| text::number(v, 3);
    Some(Problem {
        severity: Severity::Warning,
        code: "flat".to_owned(),
        message: format!(
            "The loss hardly fell in {}: {} at first, {} at the end.",
            text::plural(run.step, "step", "steps"),
            words(first),
            words(last)
        ),
        place: None,
        cures,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::series::Moment;

    fn run(loss: impl Fn(f64) -> f64) -> RunView {
        let mut run = RunView { state: RunState::Finished, step: 60, total_epochs: 3, ..RunView::default() };
        for i in 0..60 {
            run.loss.push(Moment { step: f64::from(i), ..Moment::default() }, loss(f64::from(i)));
        }
        run
    }

    #[test]
    fn a_loss_that_stays_is_a_problem_with_cures() {
        let mut recipe = Recipe::default();
        recipe.settings.insert("optimizer.lr".to_owned(), "5e-5".to_owned());
        let found = of_run(&run(|x| 2.3 + 0.1 * (x * 1.7).sin()), &recipe);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].code, "flat");
        let rate = Change::SetSetting { key: "optimizer.lr".to_owned(), value: Some("5e-4".to_owned()) };
        assert_eq!(found[0].cures[0].command, crate::ui::Command::change(rate));
        assert_eq!(found[0].cures[1].label, "Train for 9 epochs");
        assert!(of_run(&run(|x| 2.3 - x / 40.0), &recipe).is_empty(), "it fell");
        assert!(of_run(&run(|_| 0.02), &recipe).is_empty(), "it was small already");
        let unfinished = RunView { state: RunState::Running, ..run(|_| 2.3) };
        assert!(of_run(&unfinished, &recipe).is_empty(), "not yet");
    }
}
