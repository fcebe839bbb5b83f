//! The tree of name scopes with totals: those that hold what the filter finds, siblings in the order of a column.

use std::collections::BTreeSet;
use std::sync::Arc;

use egui::{RichText, Role, Ui, WidgetInfo};
use egui_extras::Column;

use crate::session::query::Query;
use crate::ui::command::{Action, Command};
use crate::ui::ctx::{Ctx, Open};
use crate::ui::index::Scopes;
use crate::ui::selection::{How, Target};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::widgets::table::{self, Sort};
use crate::ui::{offers, text, widgets};

use super::rows::{self, Listed};

const COLUMNS: [&str; 4] = ["Scope", "Nodes", "Parameters", "Trains"];

/// What is open and in which order; and the rows of the last frame.
#[derive(Debug)]
pub struct ScopesState {
    pub open: BTreeSet<usize>,
    sort: Sort,
    /// What the rows follow from.
    key: Option<(usize, usize, String, Sort, BTreeSet<usize>)>,
    /// Scopes with their depths.
    rows: Vec<(usize, usize)>,
    error: Option<String>,
}

impl Default for ScopesState {
    fn default() -> Self {
        Self { open: BTreeSet::from([0]), sort: Sort::by(0), key: None, rows: Vec::new(), error: None }
    }
}

impl ScopesState {
    /// The names of the rows, in order.
    pub fn names<'a>(&self, open: &'a Open) -> Vec<&'a str> {
        self.rows.iter().map(|(s, _)| open.index.scopes.all[*s].name.as_str()).collect()
    }

    pub fn refresh(&mut self, open: &Open, filter: &str) {
        let (shown, tuned) = (Arc::as_ptr(&open.shown) as usize, Arc::as_ptr(&open.tuned) as usize);
        let key = (shown, tuned, filter.to_owned(), self.sort, self.open.clone());
        if self.key.as_ref() == Some(&key) {
            return;
        }
        self.key = Some(key);
        match Query::parse(filter) {
            Ok(query) => {
                self.error = None;
                let kept = (!query.is_empty()).then(|| holders(open, &query));
                self.rows = visible(&open.index.scopes, &self.open, kept.as_deref(), self.sort);
            }
            // The last good rows stay while somebody types.
            Err(e) => self.error = Some(e),
        }
    }
}

/// For each scope whether anything inside it matches.
fn holders(open: &Open, query: &Query) -> Vec<bool> {
    let scopes = &open.index.scopes;
    let mut kept = vec![false; scopes.all.len()];
    for n in rows::nodes(Listed { shown: &open.shown, tuned: &open.tuned }, query, Sort::by(0)) {
        let mut at = scopes.of_node.get(n).copied();
        // What is above a scope that is kept is kept already.
        while let Some(s) = at.filter(|&s| !std::mem::replace(&mut kept[s], true)) {
            at = scopes.all[s].parent;
        }
    }
    kept
}

/// Scopes in tree order with their depths: those whose parents are open, or all that `kept` keeps.
fn visible(scopes: &Scopes, open: &BTreeSet<usize>, kept: Option<&[bool]>, sort: Sort) -> Vec<(usize, usize)> {
    let totals = |s: usize| &scopes.all[s].totals;
    let share = |s: usize| totals(s).trainable_parameters as f64 / totals(s).parameters.max(1) as f64;
    let mut out = Vec::new();
    let mut todo = vec![(0, 0)];
    while let Some((s, depth)) = todo.pop() {
        if kept.is_some_and(|k| !k[s]) {
            continue;
        }
        out.push((s, depth));
        if kept.is_none() && !open.contains(&s) {
            continue;
        }
        let mut children = scopes.all[s].children.clone();
        match sort.column {
            1 => children.sort_by_key(|&c| totals(c).nodes),
            2 => children.sort_by_key(|&c| totals(c).parameters),
            3 => children.sort_by(|&a, &b| share(a).total_cmp(&share(b))),
            // The file's own order.
            _ => {}
        }
        if sort.is_descending {
            children.reverse();
        }
        todo.extend(children.into_iter().rev().map(|c| (c, depth + 1)));
    }
    out
}

pub(super) fn ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    state.browser.scopes.refresh(open, &state.browser.filter);
    if let Some(e) = &state.browser.scopes.error {
        ui.label(RichText::new(e).color(ctx.tokens.error));
    }
    if state.browser.scopes.rows.is_empty() {
        return super::nothing_ui(ui, &mut state.browser);
    }
    let focus = state.selection.focus();
    let selected = focus.filter(|t| matches!(t, Target::Scope(_))).map(|t| t.name().to_owned());
    let scopes = &open.index.scopes;
    let mut sort = state.browser.scopes.sort;
    let shown = std::mem::take(&mut state.browser.scopes.rows);
    let mut table = super::builder(ui)
        .id_salt("scopes")
        .column(Column::remainder().at_least(80.0).clip(true))
        .column(Column::initial(46.0).clip(true))
        .column(Column::initial(72.0).clip(true))
        .column(Column::initial(44.0).clip(true));
    if state.browser.seen_revision != state.selection.revision() {
        state.browser.seen_revision = state.selection.revision();
        let at = shown.iter().position(|(s, _)| Some(&scopes.all[*s].name) == selected.as_ref());
        if let Some(row) = at {
            table = table.scroll_to_row(row, None);
        }
    }
    table
        .header(theme::ROW_HEIGHT, |mut row| {
            for (i, title) in COLUMNS.iter().enumerate() {
                row.col(|ui| table::header(ui, title, i, &mut sort, i > 0));
            }
        })
        .body(|body| {
            body.rows(theme::ROW_HEIGHT, shown.len(), |mut row| {
                let (s, depth) = shown[row.index()];
                row.set_selected(selected.as_ref() == Some(&scopes.all[s].name));
                row.col(|ui| name_ui(ui, scopes, s, depth, &mut state.browser.scopes.open));
                totals_ui(&mut row, ctx, scopes, s);
                let response = row.response();
                let target = Target::Scope(scopes.all[s].name.clone());
                response.widget_info(|| WidgetInfo::labeled(Role::Row, true, &scopes.all[s].name));
                if response.clicked() {
                    ctx.send(Command::Select(target.clone(), How::Replace));
                    state.browser.seen_revision = state.selection.revision() + 1;
                }
                if response.double_clicked() {
                    ctx.send(Command::ShowPanel("graph"));
                    ctx.act(Action::RevealSelection);
                }
                if s != 0 {
                    response.context_menu(|ui| offers::ui(ui, ctx, open, &state.selection, &target));
                }
            });
        });
    state.browser.scopes.rows = shown;
    state.browser.scopes.sort = sort;
}

fn totals_ui(row: &mut egui_extras::TableRow<'_, '_>, ctx: &Ctx<'_>, scopes: &Scopes, s: usize) {
    let totals = scopes.all[s].totals;
    row.col(|ui| table::number_cell(ui, &text::count(totals.nodes), &text::exact(totals.nodes)));
    row.col(|ui| table::number_cell(ui, &text::count(totals.parameters), &text::exact(totals.parameters)));
    row.col(|ui| {
        let share = totals.trainable_parameters as f32 / totals.parameters.max(1) as f32;
        let size = egui::vec2(ui.available_width().max(8.0) - 4.0, 6.0);
        let (trained, all) = (text::exact(totals.trainable_parameters), text::exact(totals.parameters));
        let words = format!("{trained} of {all} parameters train");
        widgets::share_bar(ui, share, ctx.tokens.trainable, size).on_hover_text(words);
    });
}

fn name_ui(ui: &mut Ui, scopes: &Scopes, s: usize, depth: usize, open: &mut BTreeSet<usize>) {
    let scope = &scopes.all[s];
    ui.add_space(depth as f32 * 12.0);
    if scope.children.is_empty() {
        ui.add_space(20.0);
    } else {
        let is_open = open.contains(&s);
        let icon = if is_open { icons::CARET_DOWN } else { icons::CARET_RIGHT };
        let r = ui.add(egui::Button::new(icon).frame(false).min_size(egui::vec2(16.0, 18.0)));
        let name = format!("{} {}", if is_open { "Close" } else { "Open" }, scope.name);
        if widgets::named(r, &name).clicked() && !open.remove(&s) {
            open.insert(s);
        }
    }
    widgets::name_label(ui, if s == 0 { "(all)" } else { text::last_part(&scope.name) });
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::session::History;
    use crate::ui::sample;

    fn rows(filter: &str, sort: Sort) -> Vec<String> {
        let open = Open::new(Path::new("m.pb"), Arc::new(sample::overview()), History::default());
        let mut state = ScopesState { sort, ..ScopesState::default() };
        state.refresh(&open, filter);
        state.names(&open).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn the_filter_keeps_the_scopes_that_hold_what_it_finds() {
        assert_eq!(rows("", Sort::by(0)), ["", "encoder", "loss"]);
        assert_eq!(rows("op:RandomUniform", Sort::by(0)), ["", "encoder", "encoder/dropout"]);
        assert_eq!(rows("role:bias", Sort::by(0)), ["", "encoder", "encoder/dense"]);
        assert_eq!(rows("loss", Sort::by(0)), ["", "loss"]);
        assert!(rows("nothing-like-it", Sort::by(0)).is_empty());
    }

    #[test]
    fn siblings_follow_the_column() {
        let by_nodes = |is_descending| rows("", Sort { column: 1, is_descending });
        assert_eq!(by_nodes(true), ["", "encoder", "loss"]);
        assert_eq!(by_nodes(false), ["", "loss", "encoder"]);
    }

    #[test]
    fn a_filter_that_cannot_be_read_keeps_the_rows() {
        let open = Open::new(Path::new("m.pb"), Arc::new(sample::overview()), History::default());
        let mut state = ScopesState::default();
        state.refresh(&open, "");
        state.refresh(&open, "elements:many");
        assert!(state.error.is_some() && state.names(&open).len() == 3);
    }
}
