//! Settings of the next run as one form made from their descriptions, and the buttons of the run in progress.

mod estimate;
mod groups;

pub use estimate::ESTIMATING;

use egui::{RichText, Role, Ui, WidgetInfo};

use crate::session::Change;
use crate::ui::command::{Action, Command};
use crate::ui::ctx::{Ctx, Open, Setting, SettingKind};
use crate::ui::dialogs::objective;
use crate::ui::run_view::{RunState, RunView};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets};

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let Some(open) = ctx.open else { return super::no_model(ui) };
    // What must stay in sight stands above the form; where the form would have no room, everything scrolls.
    if ui.available_height() < LEAST_HEIGHT {
        egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            head_ui(ui, ctx, open, state);
            form_ui(ui, ctx, open, state);
        });
        return;
    }
    head_ui(ui, ctx, open, state);
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| form_ui(ui, ctx, open, state));
}

/// Below this height the panel scrolls as a whole.
const LEAST_HEIGHT: f32 = 340.0;

/// The run in progress, or what starts one.
fn head_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    match ctx.run.filter(|r| r.state.is_active()) {
        Some(run) => running_ui(ui, ctx, run, state),
        None => start_ui(ui, ctx, open, state),
    }
    if open.form.iter().any(|g| g.advanced) {
        ui.checkbox(&mut state.show_advanced, "Advanced settings");
    }
    ui.separator();
}

fn form_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    if open.form.is_empty() {
        widgets::note(ui, "No settings.");
    }
    let shows_advanced = state.show_advanced;
    for group in open.form.iter().filter(|g| !g.advanced || shows_advanced) {
        widgets::section(ui, &group.title.to_uppercase(), |ui| {
            for s in &group.settings {
                setting_ui(ui, ctx, open, s, state);
            }
        });
    }
    if shows_advanced {
        widgets::section(ui, "THIS MACHINE", |ui| threads_ui(ui, ctx));
        widgets::section(ui, "GROUPS", |ui| groups::ui(ui, ctx, open, state));
    }
}

fn start_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    let (n, parameters) = (open.overview.counts.trainable, open.overview.counts.trainable_parameters);
    let why_not = why_not(ctx, open, n);
    let is_ready = why_not.is_none();
    ui.horizontal(|ui| {
        let r = widgets::primary_button(ui, icons::PLAY, "Train", why_not.is_none() && ctx.is_enabled(Action::Train));
        if r.on_hover_text("Ctrl+Enter").clicked() {
            ctx.act(Action::Train);
        }
        let words = format!("{} · {} parameters", text::plural(n, "constant", "constants"), text::count(parameters));
        let label = egui::Label::new(RichText::new(words).color(ctx.tokens.text_secondary)).truncate();
        ui.add(label).on_hover_text(text::exact(parameters));
    });
    if let Some(why) = why_not {
        widgets::message(ui, crate::base::Severity::Warning, &why);
        ui.horizontal_wrapped(|ui| {
            if objective::lacks_loss(open) && widgets::text_button(ui, icons::TARGET, "Choose the loss…").clicked() {
                ctx.act(Action::ChooseLoss);
            }
            if open.recipe().data.is_none() && widgets::text_button(ui, icons::DATA, "Pick data…").clicked() {
                ctx.act(Action::PickData);
            }
        });
    }
    objective_ui(ui, ctx, open);
    estimate::ui(ui, ctx, open, is_ready);
    if let Some(run) = ctx.run {
        let state = run.state.title().to_lowercase();
        let mut words = format!("Last run: {}, {state} at step {}", run.name, text::exact(run.step));
        if let Some(m) = &run.message {
            words.push_str(&format!(". {m}"));
        }
        if run.state == RunState::Failed {
            widgets::message(ui, crate::base::Severity::Error, &words);
        } else {
            widgets::note(ui, words);
        }
    }
    again_ui(ui, ctx, open, state);
}

/// Goes on with a run: to its end, or beyond it. The one that is looked at, else the newest with a checkpoint.
fn again_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    let shown = ctx.run.and_then(|r| r.folder.as_ref());
    let entry = open.runs.iter().find(|r| r.can_resume && Some(&r.folder) == shown);
    let Some(entry) = entry.or_else(|| open.runs.iter().rfind(|r| r.can_resume)) else { return };
    let can = ctx.is_enabled(Action::ResumeRun);
    ui.horizontal_wrapped(|ui| {
        if entry.steps < entry.total_steps {
            let (done, all) = (text::exact(entry.steps), text::exact(entry.total_steps));
            let help = format!("{} goes on after step {done} of {all}.", entry.name);
            let r = widgets::text_button_enabled(ui, can, icons::PLAY, "Resume the run").on_hover_text(help);
            if r.clicked() {
                ctx.send(Command::ResumeRun { folder: entry.folder.clone(), more: 0 });
            }
        }
        let (one, many) = entry.unit();
        let more = &mut state.compare.more;
        let n = (*more).max(1);
        let words = format!("Extend the run by {}", text::plural(n, one, many));
        let help = format!(
            "{} trains on from its last checkpoint, beyond its end, with the settings that it had.",
            entry.name
        );
        if widgets::text_button_enabled(ui, can, icons::PLUS, &words).on_hover_text(help).clicked() {
            ctx.send(Command::ResumeRun { folder: entry.folder.clone(), more: n });
        }
        let mut number = n;
        let drag =
            ui.add(egui::DragValue::new(&mut number).range(1..=10_000)).accessible_name("Length of the extension");
        if drag.changed() {
            *more = number;
        }
    });
}

/// What is minimised, and the way to another choice.
fn objective_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open) {
    ui.horizontal(|ui| {
        ui.label(RichText::new("Minimises").color(ctx.tokens.text_secondary));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let info = Action::ChooseLoss.info();
            if widgets::icon_button(ui, info.icon, info.title).clicked() {
                ctx.act(Action::ChooseLoss);
            }
            widgets::name_label(ui, &objective::words(open));
        });
    });
}

/// What is missing before training can start.
fn why_not(ctx: &Ctx<'_>, open: &Open, n_trainable: usize) -> Option<String> {
    if n_trainable == 0 {
        let has_weights = open.overview.counts.suggested_trainable > 0;
        let words = if has_weights {
            "Nothing trains. Choose constants in the browser."
        } else {
            "This model holds no weights, so there is nothing to train; a grafted head would bring some."
        };
        Some(words.to_owned())
    } else if objective::lacks_loss(open) {
        Some("Nothing says what to minimise: choose a loss on an output, or graft a head.".to_owned())
    } else if open.recipe().data.is_none() {
        Some("No data is chosen.".to_owned())
    } else if open.data.as_ref().is_some_and(|d| d.problem.is_some()) {
        Some("The data do not fit the model yet; the Data panel says why.".to_owned())
    } else if open.gradients.as_ref().is_some_and(|g| g.reached == 0) {
        Some("No gradient reaches what trains; see Gradients.".to_owned())
    } else if ctx.jobs.iter().any(|j| j.title.starts_with("Opening")) {
        Some("The model is still being opened.".to_owned())
    } else {
        None
    }
}

fn running_ui(ui: &mut Ui, ctx: &Ctx<'_>, run: &RunView, state: &mut UiState) {
    ui.horizontal(|ui| {
        ui.label(RichText::new(run.state.title()).family(theme::strong_family()));
        ui.label(format!("step {} of {}", text::exact(run.step), text::exact(run.total_steps)));
    });
    ui.add(egui::ProgressBar::new(run.fraction()).desired_height(6.0).fill(ctx.tokens.accent))
        .accessible_name("Progress of the run");
    ui.horizontal_wrapped(|ui| {
        let actions: &[Action] = match run.state {
            RunState::Running => &[Action::Pause, Action::StopAndKeep, Action::StopAndDiscard, Action::SaveCheckpoint],
            RunState::Paused => &[Action::Resume, Action::StopAndKeep, Action::StopAndDiscard, Action::SaveCheckpoint],
            _ => &[Action::StopAndKeep],
        };
        for action in actions {
            let info = action.info();
            let r = widgets::text_button_enabled(ui, ctx.is_enabled(*action), info.icon, info.title);
            if r.on_hover_text(info.help).clicked() {
                ctx.act(*action);
            }
        }
    });
    if let Some(left) = run.remaining_secs() {
        widgets::fact(ui, "Time left", &text::duration(left));
    }
    widgets::fact(ui, "Examples per second", &text::number(run.examples_per_sec, 3));
    if let Some(loss) = run.loss.last() {
        widgets::fact(ui, "Loss", &text::number(loss, 4));
    }
    rate_ui(ui, ctx, run, state);
}

/// The learning rate of the run, which can be changed while it runs.
fn rate_ui(ui: &mut Ui, ctx: &Ctx<'_>, run: &RunView, state: &mut UiState) {
    let key = "running-learning-rate".to_owned();
    ui.horizontal(|ui| {
        ui.label(RichText::new("Learning rate").color(ctx.tokens.text_secondary));
        let mut draft = state.drafts.get(&key).cloned().unwrap_or_else(|| text::number(run.learning_rate, 4));
        let edit = egui::TextEdit::singleline(&mut draft).desired_width(90.0).font(theme::mono(theme::BODY));
        let r = ui.add(edit).accessible_name("Learning rate of this run");
        if r.changed() {
            state.drafts.insert(key.clone(), draft.clone());
        }
        if r.lost_focus() {
            state.drafts.remove(&key);
            if let Some(rate) = draft.trim().parse().ok().filter(|r: &f64| r.is_finite() && *r >= 0.0) {
                ctx.send(Command::SetLearningRate(rate));
            }
        }
    });
}

/// Where the fields of the form begin.
const LABEL_WIDTH: f32 = 112.0;

/// One row of the form.
pub(super) fn setting_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, s: &Setting, state: &mut UiState) {
    let set = open.recipe().settings.get(&s.key);
    let value = set.unwrap_or(&s.default).clone();
    ui.horizontal(|ui| {
        ui.set_min_height(theme::LIST_ROW_HEIGHT);
        let mut label = RichText::new(&s.label);
        if set.is_some() {
            label = label.family(theme::strong_family());
        }
        let left = egui::Layout::left_to_right(egui::Align::Center);
        let label = ui.allocate_ui_with_layout(egui::vec2(LABEL_WIDTH, 20.0), left, |ui| {
            ui.set_min_width(LABEL_WIDTH);
            ui.add(egui::Label::new(label).truncate())
        });
        let label = label.inner;
        label.on_hover_text(explained(s));
        let new = value_ui(ui, ctx, s, &value, state);
        if set.is_some() && widgets::icon_button(ui, icons::UNDO, &format!("Reset {}", s.label)).clicked() {
            ctx.change(Change::SetSetting { key: s.key.clone(), value: None });
        }
        if let Some(new) = new.filter(|n| *n != value) {
            let value = (new != s.default).then_some(new);
            ctx.change(Change::SetSetting { key: s.key.clone(), value });
        }
    });
}

/// How many threads runs may use: of this machine, so it is no part of a recipe.
fn threads_ui(ui: &mut Ui, ctx: &Ctx<'_>) {
    let mut p = ctx.settings.clone();
    ui.horizontal(|ui| {
        ui.set_min_height(theme::LIST_ROW_HEIGHT);
        let left = egui::Layout::left_to_right(egui::Align::Center);
        ui.allocate_ui_with_layout(egui::vec2(LABEL_WIDTH, 20.0), left, |ui| {
            ui.set_min_width(LABEL_WIDTH);
            ui.label("Threads");
        });
        widgets::threads(ui, &mut p.threads).on_hover_text(
            "Threads of the next run. 0: as many as the machine has cores. The same numbers come out of any.",
        );
    });
    if p != *ctx.settings {
        ctx.send(Command::SetPreferences(p));
    }
}

fn value_ui(ui: &mut Ui, ctx: &Ctx<'_>, s: &Setting, value: &str, state: &mut UiState) -> Option<String> {
    match &s.kind {
        SettingKind::Bool => {
            let was = value == "true";
            let mut on = was;
            let r = ui.checkbox(&mut on, "");
            r.widget_info(|| WidgetInfo::selected(Role::CheckBox, true, was, &s.label));
            r.on_hover_text(explained(s)).changed().then(|| on.to_string())
        }
        SettingKind::Choice(choices) => {
            let mut new = None;
            let combo = egui::ComboBox::from_id_salt(&s.key).width(88.0).selected_text(value.to_owned());
            let r = combo.show_ui(ui, |ui| {
                for c in choices {
                    if widgets::choice(ui, c == value, c.as_str()).clicked() {
                        new = Some(c.clone());
                    }
                }
            });
            r.response.accessible_name(&s.label).on_hover_text(explained(s));
            new
        }
        kind => {
            let mut draft = state.drafts.get(&s.key).cloned().unwrap_or_else(|| value.to_owned());
            let error = check(kind, &draft).err();
            let mut edit = egui::TextEdit::singleline(&mut draft)
                .hint_text(if matches!(kind, SettingKind::Text) { "none" } else { "automatic" })
                .desired_width(88.0)
                .font(theme::mono(theme::BODY));
            if error.is_some() {
                edit = edit.text_color(ctx.tokens.error);
            }
            let r = ui.add(edit);
            r.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, &s.label));
            let r = r.on_hover_text(error.unwrap_or_else(|| explained(s)));
            if r.changed() {
                state.drafts.insert(s.key.clone(), draft.clone());
            }
            if !r.lost_focus() {
                return None;
            }
            state.drafts.remove(&s.key);
            check(kind, &draft).ok().map(|()| draft.trim().to_owned())
        }
    }
}

/// What a setting does, what it may be, and how session files and `--set` call it.
fn explained(s: &Setting) -> String {
    let unit = if s.unit.is_empty() { String::new() } else { format!(" ({})", s.unit) };
    let default = if s.default.is_empty() { "automatic" } else { &s.default };
    format!("{}\n{}{unit}. Default: {default}\n{}", s.help, expected(&s.kind), s.key)
}

/// What a value of this kind may be, in words.
fn expected(kind: &SettingKind) -> String {
    let or_empty = |optional: bool| if optional { ", or empty" } else { "" };
    match kind {
        SettingKind::Bool => "On or off".to_owned(),
        SettingKind::Choice(choices) => format!("One of {}", choices.join(", ")),
        SettingKind::Text => "Text".to_owned(),
        SettingKind::Integer { min, max, optional } if *max >= 1 << 40 => {
            format!("A whole number from {min}{}", or_empty(*optional))
        }
        SettingKind::Integer { min, max, optional } => {
            format!("A whole number from {min} to {max}{}", or_empty(*optional))
        }
        SettingKind::Number { min, max, optional } if *max >= 1e6 => {
            format!("A number from {min}{}", or_empty(*optional))
        }
        SettingKind::Number { min, max, optional } => format!("A number from {min} to {max}{}", or_empty(*optional)),
    }
}

/// Whether a text is a value of this kind; the error says what is expected.
fn check(kind: &SettingKind, value: &str) -> Result<(), String> {
    let value = value.trim();
    match kind {
        SettingKind::Integer { optional: true, .. } | SettingKind::Number { optional: true, .. }
            if value.is_empty() =>
        {
            Ok(())
        }
        SettingKind::Integer { min, max, .. } => match value.parse::<i64>() {
            Ok(v) if (*min..=*max).contains(&v) => Ok(()),
            _ => Err(expected(kind)),
        },
        SettingKind::Number { min, max, .. } => match value.parse::<f64>() {
            Ok(v) if v >= *min && v <= *max => Ok(()),
            _ => Err(expected(kind)),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_before_they_are_taken() {
        let epochs = SettingKind::Integer { min: 1, max: i64::MAX, optional: false };
        assert!(check(&epochs, "3").is_ok());
        assert_eq!(check(&epochs, "0").unwrap_err(), "A whole number from 1");
        let rate = SettingKind::Number { min: 0.0, max: 1.0, optional: true };
        assert!(check(&rate, " 2e-5 ").is_ok());
        assert!(check(&rate, "").is_ok(), "an optional one may be left empty");
        assert!(check(&rate, "nan").is_err());
        assert!(check(&rate, "fast").is_err());
    }

    #[test]
    fn tooltips_say_what_a_value_may_be() {
        let s = Setting {
            key: "optimizer.lr".to_owned(),
            help: "Peak rate.".to_owned(),
            default: "1e-3".to_owned(),
            kind: SettingKind::Number { min: 0.0, max: 1e6, optional: false },
            ..Setting::default()
        };
        assert_eq!(explained(&s), "Peak rate.\nA number from 0. Default: 1e-3\noptimizer.lr");
    }
}
