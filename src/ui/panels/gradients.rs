//! Where gradients arrive: per trainable constant a verdict, grouped by the node that stops them.

use egui::{Align, Layout, RichText, Role, Ui, WidgetInfo};
use egui_extras::Column;

use crate::session::Change;
use crate::ui::command::{Action, Command};
use crate::ui::ctx::{Blocker, Ctx, GradientRow, Gradients};
use crate::ui::run_view::RunView;
use crate::ui::selection::{How, Target};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::weights::{Health, Watch, Weight};
use crate::ui::{text, widgets, words};

/// Blocking nodes that are listed.
const MAX_BLOCKERS: usize = 100;

#[derive(Debug, Default)]
pub struct GradientsState {
    /// Only constants that no gradient reaches.
    only_missing: bool,
    rows: Rows,
}

/// The order of the last frame's rows, and what it follows from: the report, the filter, the run and its step.
#[derive(Debug, Default)]
struct Rows {
    of: Option<(std::sync::Arc<Gradients>, bool, Option<(String, u64)>)>,
    order: Vec<usize>,
}

impl Rows {
    /// What needs a look comes first; else the file's order.
    fn refresh(&mut self, g: &std::sync::Arc<Gradients>, only_missing: bool, run: Option<&RunView>) {
        let measured = run.and_then(|r| Some((r.name.clone(), r.watch.step?)));
        let is_same = |(old, only, step): &(std::sync::Arc<Gradients>, bool, Option<(String, u64)>)| {
            std::sync::Arc::ptr_eq(old, g) && *only == only_missing && *step == measured
        };
        if self.of.as_ref().is_some_and(is_same) {
            return;
        }
        let watch = run.map(|r| &r.watch).filter(|w| w.step.is_some());
        self.order = (0..g.constants.len()).filter(|&i| !only_missing || g.constants[i].verdict != "flows").collect();
        self.order.sort_by_cached_key(|&i| (g.constants[i].verdict == "flows", health(watch, &g.constants[i])));
        self.of = Some((g.clone(), only_missing, measured));
    }
}

/// How a weight does, where that was measured.
fn health(watch: Option<&Watch>, c: &GradientRow) -> Health {
    watch.and_then(|w| w.of(&c.name)).map_or(Health::Fine, Weight::health)
}

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let Some(open) = ctx.open else { return super::no_model(ui) };
    let Some(g) = &open.gradients else {
        return widgets::empty_state(
            ui,
            icons::GAUGE,
            "Not known yet",
            "The map of gradients appears as soon as there is something to minimise and something that trains.",
        );
    };
    head_ui(ui, ctx, g, &mut state.gradients);
    measured_ui(ui, ctx);
    egui::ScrollArea::horizontal().show(ui, |ui| {
        if g.blockers.is_empty() {
            return table_ui(ui, ctx, g, state);
        }
        ui.horizontal_top(|ui| {
            let height = ui.available_height();
            let width = ui.available_width();
            ui.allocate_ui(egui::vec2((width * 0.42).max(280.0), height), |ui| {
                ui.vertical(|ui| {
                    egui::ScrollArea::vertical().id_salt("blockers").auto_shrink(false).show(ui, |ui| {
                        for b in g.blockers.iter().take(MAX_BLOCKERS) {
                            blocker_ui(ui, ctx, b);
                            ui.separator();
                        }
                        if g.blockers.len() > MAX_BLOCKERS {
                            widgets::caption(ui, format!("and {} more", g.blockers.len() - MAX_BLOCKERS));
                        }
                    });
                });
            });
            ui.separator();
            ui.vertical(|ui| {
                ui.set_min_size(egui::vec2((width * 0.54).max(300.0), height));
                table_ui(ui, ctx, g, state);
            });
        });
    });
}

fn head_ui(ui: &mut Ui, ctx: &Ctx<'_>, g: &Gradients, state: &mut GradientsState) {
    ui.horizontal(|ui| {
        let all = g.reached == g.trainable;
        let (icon, color) = if all { (icons::DONE, ctx.tokens.flows) } else { (icons::ERROR, ctx.tokens.error) };
        ui.label(RichText::new(icon).size(16.0).color(color));
        ui.label(summary(g));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.checkbox(&mut state.only_missing, "Only what is not reached");
        });
    });
}

/// What the run in progress (or the last one) measured: how many weights are ill, and where numbers went wrong.
fn measured_ui(ui: &mut Ui, ctx: &Ctx<'_>) {
    let Some(run) = ctx.run else { return };
    if let Some(node) = &run.watch.nan_origin {
        ui.horizontal_wrapped(|ui| {
            widgets::severity_mark(ui, crate::base::Severity::Error);
            ui.label("The first value that is not finite came from");
            if widgets::name_link(ui, node).clicked() {
                ctx.send(Command::Select(Target::Node(node.clone()), How::Replace));
                ctx.send(Command::ShowPanel("graph"));
            }
        });
    }
    if let Some(step) = run.watch.step {
        let words = match run.watch.n_ill() {
            0 => format!("Measured at step {}: every weight is fine.", text::exact(step as usize)),
            n => format!(
                "Measured at step {}: {} not fine.",
                text::exact(step as usize),
                text::plural(n, "weight is", "weights are")
            ),
        };
        widgets::caption(ui, words);
    }
}

/// `41 of 41 trainable constants are reached from loss/Mean:0`.
fn summary(g: &Gradients) -> String {
    let from = if g.objective.is_empty() { String::new() } else { format!(" from {}", g.objective) };
    format!(
        "{} of {} are reached{from}",
        g.reached,
        text::plural(g.trainable, "trainable constant", "trainable constants")
    )
}

/// Goes to a blocking node on the graph; what is selected lights the ways that end there.
pub fn show_path(ctx: &Ctx<'_>, node: &str) {
    ctx.send(Command::Select(Target::Node(node.to_owned()), How::Replace));
    ctx.act(Action::RevealSelection);
}

/// One blocking node with its reason and cures.
pub fn blocker_ui(ui: &mut Ui, ctx: &Ctx<'_>, b: &Blocker) {
    ui.horizontal_wrapped(|ui| {
        widgets::verdict_badge(ui, &b.verdict);
        ui.label(RichText::new(&b.op).family(theme::strong_family()));
        ui.label(format!("blocks {}", text::plural(b.blocks.len(), "weight", "weights")));
    });
    if widgets::name_link(ui, &b.node).clicked() {
        ctx.send(Command::Select(Target::Node(b.node.clone()), How::Replace));
        ctx.send(Command::ShowPanel("graph"));
    }
    let is_name = |w: &str| ctx.open.is_some_and(|o| o.index.node_of_value(w).is_some());
    widgets::note(ui, words::sentence(&b.why, is_name));
    ui.horizontal_wrapped(|ui| {
        for cure in &b.cures {
            if widgets::text_button(ui, icons::LIGHTNING, &cure.label).clicked() {
                ctx.send(cure.command.clone());
            }
        }
        if !b.blocks.is_empty() && widgets::text_button(ui, icons::MINUS, "Train without what it blocks").clicked() {
            ctx.change(Change::Train { names: b.blocks.clone(), on: false });
        }
        if widgets::text_button(ui, icons::GRAPH, "Show path").clicked() {
            show_path(ctx, &b.node);
        }
        if widgets::text_button(ui, icons::TARGET, "Select what it blocks").clicked() {
            ctx.send(Command::SelectMany { nodes: b.blocks.clone(), focus: None });
        }
    });
}

fn table_ui(ui: &mut Ui, ctx: &Ctx<'_>, g: &std::sync::Arc<Gradients>, state: &mut UiState) {
    let only_missing = state.gradients.only_missing;
    state.gradients.rows.refresh(g, only_missing, ctx.run);
    let rows = &state.gradients.rows.order;
    let watch = ctx.run.map(|r| &r.watch).filter(|w| w.step.is_some());
    widgets::table::builder(ui)
        .id_salt("gradients")
        .sense(egui::Sense::click())
        .resizable(false)
        .column(Column::initial(300.0).at_least(160.0).clip(true).resizable(true))
        .column(Column::exact(76.0))
        .column(Column::exact(if watch.is_some() { 84.0 } else { 0.0 }))
        .column(Column::exact(if watch.is_some() { 104.0 } else { 0.0 }))
        .column(Column::remainder().at_least(160.0).clip(true))
        .header(theme::ROW_HEIGHT, |mut row| {
            let measured = |title| if watch.is_some() { title } else { "" };
            for (i, title) in
                ["Constant", "Verdict", measured("Norm"), measured("Update/weight"), "Why"].iter().enumerate()
            {
                row.col(|ui| {
                    let add = |ui: &mut Ui| {
                        widgets::caption(ui, *title);
                    };
                    if matches!(i, 2 | 3) { widgets::table::right(ui, add) } else { add(ui) }
                });
            }
        })
        .body(|body| {
            body.rows(theme::ROW_HEIGHT, rows.len(), |mut row| {
                let c = &g.constants[rows[row.index()]];
                row.set_selected(state.selection.contains(&c.name));
                let (_, cell) = row.col(|ui| {
                    widgets::name_label(ui, &c.name);
                });
                cell.widget_info(|| WidgetInfo::labeled(Role::Row, true, &c.name));
                row.col(|ui| {
                    widgets::verdict_badge(ui, &c.verdict);
                });
                let weight = watch.and_then(|w| w.of(&c.name));
                for v in [weight.and_then(|w| w.gradient), weight.and_then(|w| w.update_ratio)] {
                    row.col(|ui| {
                        if let Some(v) = v {
                            widgets::table::number_cell(ui, &text::number(v, 3), &v.to_string());
                        }
                    });
                }
                row.col(|ui| {
                    let health = health(watch, c);
                    if health != Health::Fine {
                        let color = if health == Health::Fast { ctx.tokens.warning } else { ctx.tokens.error };
                        widgets::badge(ui, health.word(), color).on_hover_text(health.help());
                    }
                    let why = c.why.as_deref().unwrap_or(health.help());
                    let label = egui::Label::new(RichText::new(why).color(ctx.tokens.text_secondary))
                        .truncate()
                        .show_tooltip_when_elided(false);
                    ui.add(label).on_hover_text(why);
                });
                let r = row.response();
                if r.clicked() {
                    ctx.send(Command::Select(Target::Node(c.name.clone()), How::Replace));
                }
            });
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_follows_report_filter_and_measurements() {
        let row = |name: &str, verdict: &str| GradientRow {
            name: name.to_owned(),
            verdict: verdict.to_owned(),
            ..GradientRow::default()
        };
        let g = std::sync::Arc::new(Gradients {
            constants: vec![row("a", "flows"), row("b", "blocked"), row("c", "flows")],
            ..Gradients::default()
        });
        let mut rows = Rows::default();
        rows.refresh(&g, false, None);
        assert_eq!(rows.order, [1, 0, 2], "what is not reached stands first");
        rows.refresh(&g, true, None);
        assert_eq!(rows.order, [1]);
        // What a run finds ill stands first.
        let mut run = RunView { name: "run-1".to_owned(), ..RunView::default() };
        let dead = |n| crate::train::WeightRow {
            name: "c".into(),
            gradient_norm: Some(0.0),
            update_ratio: Some(0.0),
            zero_in_a_row: n,
        };
        (1..=4).for_each(|n| run.watch.take(u64::from(n), &[dead(n)]));
        rows.refresh(&g, false, Some(&run));
        assert_eq!(rows.order, [1, 2, 0]);
    }

    #[test]
    fn the_summary_counts() {
        let g = Gradients { objective: "loss".to_owned(), trainable: 41, reached: 40, ..Gradients::default() };
        assert_eq!(summary(&g), "40 of 41 trainable constants are reached from loss");
    }
}
