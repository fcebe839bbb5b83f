//! What the run would take, asked for before it starts.

use egui::Ui;

use crate::ui::command::Command;
use crate::ui::ctx::{Ctx, Open};
use crate::ui::theme::icons;
use crate::ui::{text, widgets};

/// Title of the job that probes a run.
pub const ESTIMATING: &str = "Estimating the run";

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, can_train: bool) {
    if let Some(job) = ctx.jobs.iter().find(|j| j.title == ESTIMATING) {
        ui.horizontal_wrapped(|ui| {
            ui.spinner();
            let share = job.fraction.map(|f| format!(": {}", text::percent(f64::from(f)))).unwrap_or_default();
            ui.label(format!("Trying a few steps{share}"));
            if widgets::text_button(ui, "", "Cancel the estimate").clicked() {
                ctx.send(Command::CancelJob(job.id));
            }
        });
        return;
    }
    let known = open.estimate.as_ref();
    let is_current = known.is_some_and(|e| *e.recipe == *open.recipe());
    if !is_current {
        let r = widgets::text_button_enabled(ui, can_train, icons::GAUGE, "Estimate memory and time");
        let help = "Runs a few steps on batches of this data and throws their results away.";
        if r.on_hover_text(help).clicked() {
            ctx.send(Command::EstimateRun);
        }
    }
    let Some(known) = known else { return };
    match &known.result {
        Err(e) => widgets::message(ui, crate::base::Severity::Error, e),
        Ok(e) => {
            let exact = |n: u64| text::exact(usize::try_from(n).unwrap_or(usize::MAX));
            widgets::fact_with_exact(ui, "Memory", &text::bytes(e.memory_bytes), Some(&exact(e.memory_bytes)));
            widgets::fact(ui, "Steps", &exact(e.steps));
            let step = format!("{} s", text::number(e.step_secs, 3));
            widgets::fact_with_exact(ui, "Time per step", &step, Some(&e.step_secs.to_string()));
            let evaluation = format!("; an evaluation {} s", text::number(e.eval_secs, 3));
            let total = format!("{} s{evaluation}", text::number(e.total_secs, 6));
            widgets::fact_with_exact(ui, "Time in all", &text::duration(e.total_secs), Some(&total));
            if !is_current {
                widgets::caption(ui, "For the decisions as they were; they have changed since.");
            }
        }
    }
}
