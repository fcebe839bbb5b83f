//! What is wrong, worst first, each with its place and its cures.

use egui::{RichText, Ui};

use crate::ui::command::Command;
use crate::ui::ctx::Ctx;
use crate::ui::problems::{self, Problem};
use crate::ui::selection::{How, Target};
use crate::ui::state::UiState;
use crate::ui::theme::icons;
use crate::ui::{widgets, words};

/// Problems that are listed; whoever has more begins with these.
const MAX_SHOWN: usize = 200;

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, _state: &mut UiState) {
    let Some(open) = ctx.open else { return super::no_model(ui) };
    let (known, measured) = (open.problems(), ctx.run.map(|r| problems::of_run(r, open.recipe())).unwrap_or_default());
    let mut problems: Vec<&Problem> = known.iter().chain(&measured).collect();
    problems.sort_by_key(|p| std::cmp::Reverse(p.severity));
    if problems.is_empty() {
        return widgets::empty_state(
            ui,
            icons::DONE,
            "No problems",
            "Everything that trains can be reached, and every node was understood.",
        );
    }
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        for p in problems.iter().take(MAX_SHOWN) {
            problem_ui(ui, ctx, p);
            ui.separator();
        }
        if problems.len() > MAX_SHOWN {
            widgets::caption(ui, format!("and {} more, none of them worse", problems.len() - MAX_SHOWN));
        }
    });
}

fn problem_ui(ui: &mut Ui, ctx: &Ctx<'_>, p: &Problem) {
    ui.horizontal_top(|ui| {
        widgets::severity_mark(ui, p.severity);
        ui.vertical(|ui| {
            ui.add(egui::Label::new(words::sentence(&p.message, |w| is_name(ctx, w))).wrap());
            ui.horizontal_wrapped(|ui| {
                if let Some(place) = &p.place {
                    let is_node = ctx.open.is_some_and(|o| o.index.node_of_value(place).is_some());
                    if !is_node {
                        ui.label(RichText::new(place).monospace().color(ctx.tokens.text_secondary));
                    } else if widgets::name_link(ui, place).clicked() {
                        ctx.send(Command::Select(Target::Node(place.clone()), How::Replace));
                        ctx.send(Command::ShowPanel("graph"));
                    }
                }
                if p.code.starts_with("gradient-")
                    && let Some(place) = &p.place
                    && widgets::text_button(ui, icons::GRAPH, "Show path").clicked()
                {
                    super::gradients::show_path(ctx, place);
                }
                for cure in &p.cures {
                    if widgets::text_button(ui, icons::LIGHTNING, &cure.label).clicked() {
                        ctx.send(cure.command.clone());
                    }
                }
            });
        });
    });
}

fn is_name(ctx: &Ctx<'_>, word: &str) -> bool {
    ctx.open.is_some_and(|o| o.index.node_of_value(word).is_some())
}
