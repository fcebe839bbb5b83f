//! What a run shows to be wrong, with the settings that cure it.

use crate::base::Severity;
use crate::session::{Change, Recipe};
use crate::ui::run_view::RunView;
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
    out
}
