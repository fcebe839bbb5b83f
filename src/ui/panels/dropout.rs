//! Recognised dropout sites: what happens at each in training, and whether it stays in the graph that is exported.

use std::borrow::Cow;
use std::collections::HashSet;

use egui::{RichText, Role, Ui, WidgetInfo};

use crate::session::overview::SiteRow;
use crate::session::{Change, EditStep, SitePolicy};
use crate::ui::command::{Action, Command};
use crate::ui::ctx::{Ctx, Open};
use crate::ui::selection::{How, Target};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets};

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let Some(open) = ctx.open else { return super::no_model(ui) };
    let sites = shown_sites(open);
    if sites.is_empty() {
        return widgets::empty_state(
            ui,
            icons::DROP,
            "No dropout",
            "No structure in this graph drops and rescales at random.",
        );
    }
    let bypassed = |e: &crate::session::EditEntry| e.enabled && matches!(e.step, EditStep::BypassDropout { .. });
    let removed = open.recipe().edits.iter().filter(|e| bypassed(e)).count();
    let mut words = format!("{} recognised by structure", text::plural(sites.len(), "site", "sites"));
    if removed > 0 {
        words.push_str(&format!(", {removed} removed"));
    }
    widgets::note(ui, words);
    all_ui(ui, ctx, open);
    ui.separator();
    egui::ScrollArea::vertical().auto_shrink(false).show_rows(ui, SITE_HEIGHT, sites.len(), |ui, range| {
        for site in &sites[range] {
            row_ui(ui, ctx, open, site, state);
        }
    });
}

const SITE_HEIGHT: f32 = 52.0;

fn all_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open) {
    let policy = open.recipe().dropout.default;
    ui.horizontal(|ui| {
        ui.label("All sites");
        if let Some(new) = policy_ui(ui, "all-sites", "Dropout of all sites", policy, None) {
            ctx.change(Change::SetDropout(new));
        }
    });
    if widgets::text_button(ui, icons::PROHIBIT, "Remove all from the graph").clicked() {
        ctx.act(Action::BypassAllDropout);
    }
}

fn row_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, site: &SiteRow, state: &UiState) {
    let target = Target::Site(site.output.clone());
    let is_selected = state.selection.focus() == Some(&target);
    let removed = is_bypassed(open, &site.output);
    ui.allocate_ui(egui::vec2(ui.available_width(), SITE_HEIGHT - 4.0), |ui| {
        ui.set_min_height(SITE_HEIGHT - 4.0);
        ui.horizontal(|ui| {
            let color = if removed { ctx.tokens.text_secondary } else { ctx.tokens.accent };
            let shown = widgets::fit_apart(&site.output, ui.available_width() - 70.0, &open.index);
            let mut name = RichText::new(shown).monospace().color(color);
            if is_selected {
                name = name.strong();
            }
            if removed {
                name = name.strikethrough();
            }
            let r = ui.add(egui::Link::new(name)).on_hover_text(&site.output);
            r.widget_info(|| WidgetInfo::labeled(Role::Link, true, &site.output));
            if r.clicked() {
                ctx.send(Command::Select(target, How::Replace));
            }
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                ui.label(RichText::new(rate_words(site)).monospace().color(ctx.tokens.text_secondary));
            });
        });
        controls_ui(ui, ctx, open, site);
    });
}

fn rate_words(site: &SiteRow) -> String {
    site.rate.map_or_else(|| "fed".to_owned(), |r| text::number(r, 3))
}

fn controls_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, site: &SiteRow) {
    let removed = is_bypassed(open, &site.output);
    let recipe = open.recipe();
    let own = recipe.dropout.sites.get(&site.output).copied();
    ui.horizontal(|ui| {
        ui.add_enabled_ui(!removed, |ui| {
            let name = format!("Dropout of {}", site.output);
            let policy = own.unwrap_or(recipe.dropout.default);
            if let Some(new) = policy_ui(ui, &site.output, &name, policy, site.rate) {
                let policy = (new != recipe.dropout.default).then_some(new);
                ctx.change(Change::SetSiteDropout { output: site.output.clone(), policy });
            }
        });
        let mut is_removed = removed;
        let r = ui
            .checkbox(&mut is_removed, "Remove")
            .on_hover_text("Its readers read its input; an edit of what is exported");
        r.widget_info(|| WidgetInfo::selected(Role::CheckBox, true, removed, format!("Remove {}", site.output)));
        if r.changed() {
            match bypass_entry(open, &site.output) {
                Some(index) => ctx.change(Change::EnableEdit { index, enabled: is_removed }),
                None => ctx.change(Change::AddEdits(vec![EditStep::BypassDropout { output: site.output.clone() }])),
            }
        }
    });
}

/// A choice of policy, with a rate where it is one's own.
fn policy_ui(ui: &mut Ui, salt: &str, name: &str, policy: SitePolicy, file_rate: Option<f64>) -> Option<SitePolicy> {
    let mut new = None;
    let words = match policy {
        SitePolicy::Train => "At the file's rate",
        SitePolicy::Rate(_) => "At an own rate",
        SitePolicy::Off => "Off",
        SitePolicy::AsInFile => "As in the file",
    };
    let combo = egui::ComboBox::from_id_salt(("policy", salt)).width(132.0).selected_text(words);
    let response = combo.show_ui(ui, |ui| {
        let own = SitePolicy::Rate(file_rate.filter(|r| (0.0..1.0).contains(r)).unwrap_or(0.1));
        let choices = [
            (SitePolicy::Train, "At the file's rate", "Active in training, absent in evaluation"),
            (own, "At an own rate", "Active in training at a rate of your choice"),
            (SitePolicy::Off, "Off", "Absent in training and in evaluation"),
            (SitePolicy::AsInFile, "As in the file", "The graph exactly as it stands, in both modes"),
        ];
        for (choice, title, help) in choices {
            let is_on = std::mem::discriminant(&choice) == std::mem::discriminant(&policy);
            if widgets::choice(ui, is_on, title).on_hover_text(help).clicked() && !is_on {
                new = Some(choice);
            }
        }
    });
    response.response.accessible_name(name);
    if let SitePolicy::Rate(rate) = policy {
        let mut r = rate;
        let drag = ui.add(egui::DragValue::new(&mut r).range(0.0..=0.95).speed(0.005).max_decimals(3));
        let drag = drag.accessible_name(format!("Rate: {name}"));
        if drag.changed() {
            new = Some(SitePolicy::Rate(r));
        }
    }
    new
}

/// A site as the inspector shows it.
pub fn site_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, site: &SiteRow) {
    widgets::fact(ui, "Rate in the file", &rate_words(site));
    widgets::fact(ui, "Variant", &site.variant);
    if let Some(p) = &site.predicate {
        widgets::fact(ui, "Switched by", p);
    }
    widgets::fact(ui, "Input", &site.input);
    ui.add_space(theme::RELATED);
    controls_ui(ui, ctx, open, site);
    widgets::section(ui, "MEMBERS", |ui| {
        for name in site.nodes.iter().take(40) {
            if widgets::name_link(ui, name).clicked() {
                ctx.send(Command::Select(Target::Node(name.clone()), How::Replace));
            }
        }
    });
}

fn bypass_entry(open: &Open, output: &str) -> Option<usize> {
    open.recipe().edits.iter().position(|e| matches!(&e.step, EditStep::BypassDropout { output: o } if o == output))
}

/// The sites of the graph, and those that adjustments took out of it.
fn shown_sites(open: &Open) -> Vec<Cow<'_, SiteRow>> {
    let mut sites: Vec<Cow<'_, SiteRow>> = open.overview.dropout.iter().map(Cow::Borrowed).collect();
    let mut listed: HashSet<&str> = open.overview.dropout.iter().map(|s| s.output.as_str()).collect();
    for entry in &open.recipe().edits {
        let EditStep::BypassDropout { output } = &entry.step else { continue };
        if listed.insert(output) {
            sites.push(Cow::Owned(SiteRow { output: output.clone(), ..SiteRow::default() }));
        }
    }
    sites
}

/// Whether the exported graph goes without this site.
pub fn is_bypassed(open: &Open, output: &str) -> bool {
    bypass_entry(open, output).is_some_and(|i| open.recipe().edits[i].enabled)
}
