//! Nodes, constants and scopes: three tables over one selection and one query.

mod keys;
mod rows;
mod scopes;

use egui::{Align, Layout, Modifiers, RichText, Role, Ui, WidgetInfo};
use egui_extras::{Column, TableBuilder, TableRow};

use crate::data::statistics::ValueRange;
use crate::session::Change;
use crate::session::overview::ValueRow;
use crate::session::query::Query;
use crate::ui::command::{Action, Command};
use crate::ui::ctx::{Ctx, Open};
use crate::ui::selection::{How, Target};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::widgets::table::{self, Sort};
use crate::ui::{offers, text, widgets};

pub use rows::Listed;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tab {
    Nodes,
    #[default]
    Constants,
    Scopes,
}

impl Tab {
    const ALL: [Self; 3] = [Self::Nodes, Self::Constants, Self::Scopes];

    fn title(self) -> &'static str {
        match self {
            Self::Nodes => "Nodes",
            Self::Constants => "Constants",
            Self::Scopes => "Scopes",
        }
    }

    /// How many rows it has without a filter.
    fn count(self, open: &Open) -> usize {
        match self {
            Self::Nodes => open.overview.nodes.len(),
            Self::Constants => open.overview.constants.len(),
            Self::Scopes => open.index.scopes.all.len() - 1,
        }
    }
}

#[derive(Debug)]
pub struct BrowserState {
    pub tab: Tab,
    pub filter: String,
    pub wants_focus: bool,
    node_sort: Sort,
    constant_sort: Sort,
    cache: Cache,
    scopes: scopes::ScopesState,
    seen_revision: u64,
}

impl Default for BrowserState {
    fn default() -> Self {
        Self {
            tab: Tab::default(),
            filter: String::new(),
            wants_focus: false,
            node_sort: Sort::by(0),
            constant_sort: Sort::by(1),
            cache: Cache::default(),
            scopes: scopes::ScopesState::default(),
            seen_revision: 0,
        }
    }
}

/// Outputs that a tooltip lists.
const MAX_OUTPUTS: usize = 16;

/// Constants whose ranges are read in one go.
const MAX_UNREAD: usize = 256;

/// The rows of the last frame; made anew when what they depend on changes.
#[derive(Debug, Default)]
struct Cache {
    key: Option<(usize, usize, Tab, String, Sort, usize)>,
    rows: Vec<usize>,
    error: Option<String>,
}

pub fn filter_id() -> egui::Id {
    egui::Id::unique("browser-filter")
}

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let Some(open) = ctx.open else { return super::no_model(ui) };
    ui.horizontal(|ui| {
        let is_narrow = ui.available_width() < 330.0;
        for tab in Tab::ALL {
            let n = tab.count(open);
            let is_on = state.browser.tab == tab;
            let label = if is_narrow { tab.title().to_owned() } else { format!("{} {}", tab.title(), text::count(n)) };
            let r = ui.add(egui::Button::selectable(is_on, label));
            r.widget_info(|| WidgetInfo::selected(Role::Tab, true, is_on, tab.title()));
            let r = r.on_hover_text(text::exact(n));
            if r.clicked() {
                state.browser.tab = tab;
            }
        }
    });
    let id = filter_id();
    if state.dialog.is_none() && state.palette.is_none() {
        keys::walk(ui, ctx, open, state);
    }
    let row = egui::vec2(ui.available_width(), theme::BUTTON_HEIGHT);
    ui.allocate_ui_with_layout(row, Layout::right_to_left(Align::Center), |ui| {
        if state.browser.tab == Tab::Constants {
            offers::bulk_menu(ui, ctx, open, &state.selection);
        }
        widgets::filter_field(ui, id, &mut state.browser.filter, "Filter", "Filter: op:MatMul  -bias");
    });
    if std::mem::take(&mut state.browser.wants_focus) {
        ui.memory_mut(|m| m.request_focus(id));
    }
    if state.browser.tab == Tab::Scopes {
        scopes::ui(ui, ctx, open, state);
        return;
    }
    refresh(open, &mut state.browser);
    if let Some(e) = &state.browser.cache.error {
        ui.label(RichText::new(e).color(ctx.tokens.error));
    }
    let footer = 20.0;
    let height = ui.available_height() - footer;
    ui.allocate_ui(egui::vec2(ui.available_width(), height.max(40.0)), |ui| {
        ui.set_min_size(ui.available_size());
        match state.browser.tab {
            _ if state.browser.cache.rows.is_empty() => nothing_ui(ui, &mut state.browser),
            Tab::Nodes => nodes_ui(ui, ctx, open, state),
            _ => constants_ui(ui, ctx, open, state),
        }
    });
    footer_ui(ui, open, state);
}

fn refresh(open: &Open, state: &mut BrowserState) {
    let sort = if state.tab == Tab::Nodes { state.node_sort } else { state.constant_sort };
    let is_by_value = state.tab == Tab::Constants && rows::RANGE_COLUMNS.contains(&sort.column);
    let known = if is_by_value { open.ranges.len() } else { 0 };
    let (rows, tuned) = (std::sync::Arc::as_ptr(&open.shown) as usize, std::sync::Arc::as_ptr(&open.tuned) as usize);
    let key = (rows, tuned, state.tab, state.filter.clone(), sort, known);
    if state.cache.key.as_ref() == Some(&key) {
        return;
    }
    match Query::parse(&state.filter) {
        Ok(query) => {
            state.cache.error = None;
            let listed = Listed { shown: &open.shown, tuned: &open.tuned };
            state.cache.rows = match state.tab {
                Tab::Nodes => rows::nodes(listed, &query, sort),
                _ => rows::constants(listed, &open.ranges, &query, sort),
            };
        }
        // The last good rows stay while somebody types.
        Err(e) => {
            if state.cache.key.is_none() {
                state.cache.rows = (0..state.tab.count(open)).collect();
            }
            state.cache.error = Some(e);
        }
    }
    state.cache.key = Some(key);
}

/// In the place of a table without rows.
fn nothing_ui(ui: &mut Ui, state: &mut BrowserState) {
    let what = state.tab.title().to_lowercase();
    if state.filter.trim().is_empty() {
        return widgets::empty_state(ui, icons::CONSTANT, &format!("No {what}"), "This file holds none.");
    }
    let how = "Every word of the filter has to match; a word with - before it must not.";
    widgets::empty_state(ui, icons::SEARCH, &format!("No {what} match"), how);
    ui.vertical_centered(|ui| {
        if widgets::text_button(ui, icons::CLOSE, "Clear the filter").clicked() {
            state.filter.clear();
        }
    });
}

/// Names of the rows that the filter shows, for Ctrl+A and bulk actions.
pub fn shown_names(open: &Open, state: &mut BrowserState) -> Vec<String> {
    refresh(open, state);
    let o = &open.overview;
    match state.tab {
        Tab::Nodes => state.cache.rows.iter().map(|&i| o.nodes[i].name.clone()).collect(),
        _ => state.cache.rows.iter().map(|&i| o.constants[i].name.clone()).collect(),
    }
}

/// Nodes that a query matches, constants among them.
pub fn matching_nodes(listed: Listed<'_>, query: &Query) -> Vec<usize> {
    rows::nodes(listed, query, Sort::by(0))
}

fn footer_ui(ui: &mut Ui, open: &Open, state: &UiState) {
    let counts = open.overview.counts;
    let c = (counts.trainable, counts.trainable_parameters);
    let shown = state.browser.cache.rows.len();
    let total = state.browser.tab.count(open);
    ui.horizontal(|ui| {
        let mut words = format!("{} train · {} parameters", text::exact(c.0), text::count(c.1));
        if shown != total {
            words = format!("{} of {} shown · {words}", text::exact(shown), text::exact(total));
        }
        let selected = state.selection.nodes().len();
        if selected > 1 {
            words = format!("{selected} selected · {words}");
        }
        widgets::caption(ui, words).on_hover_text(format!("{} parameters train", text::exact(c.1)));
    });
}

fn is_float(dtype: &str) -> bool {
    dtype.contains("float") || dtype == "half"
}

fn builder(ui: &mut Ui) -> TableBuilder<'_> {
    table::builder(ui).sense(egui::Sense::CLICK)
}

/// Where the table scrolls to when the selection changed elsewhere.
fn scroll_target(state: &mut UiState, find: impl Fn(&str) -> Option<usize>) -> Option<usize> {
    if state.browser.seen_revision == state.selection.revision() {
        return None;
    }
    state.browser.seen_revision = state.selection.revision();
    let at = find(state.selection.focus()?.name())?;
    state.browser.cache.rows.iter().position(|&r| r == at)
}

fn nodes_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    let o = open.overview.clone();
    let scroll = scroll_target(state, |n| open.index.node(n));
    let mut sort = state.browser.node_sort;
    // Name and op fill a narrow panel.
    let name_width = (ui.available_width() - 110.0 - 36.0).clamp(120.0, 260.0);
    egui::ScrollArea::horizontal().show(ui, |ui| {
        let mut table = builder(ui)
            .id_salt("nodes")
            .column(Column::initial(name_width).at_least(120.0).clip(true))
            .column(Column::initial(110.0).at_least(50.0).clip(true))
            .column(Column::initial(64.0).at_least(40.0).clip(true))
            .column(Column::initial(104.0).at_least(50.0).clip(true))
            .column(Column::remainder().at_least(70.0).clip(true));
        if let Some(row) = scroll {
            table = table.scroll_to_row(row, None);
        }
        table
            .header(theme::ROW_HEIGHT, |mut row| {
                for (i, title) in rows::NODE_COLUMNS.iter().enumerate() {
                    row.col(|ui| table::header(ui, title, i, &mut sort, false));
                }
            })
            .body(|body| {
                let n = state.browser.cache.rows.len();
                body.rows(theme::ROW_HEIGHT, n, |mut row| {
                    let at = row.index();
                    let node = &o.nodes[state.browser.cache.rows[at]];
                    row.set_selected(state.selection.contains(&node.name));
                    let out = node.outputs.first();
                    let (_, cell) = row.col(|ui| {
                        widgets::told_apart(ui, &node.name, &open.index);
                    });
                    cell.widget_info(|| WidgetInfo::labeled(Role::Row, true, &node.name));
                    row.col(|ui| {
                        let t = ctx.tokens;
                        let color = if node.supported { t.text } else { t.ink(t.error, t.selection()) };
                        let r = widgets::name_label_colored(ui, &node.op, color);
                        if let Some(why) = &node.unsupported_reason {
                            r.on_hover_text(why);
                        }
                    });
                    row.col(|ui| {
                        widgets::name_label_colored(ui, out.map_or("", |o| &o.dtype), ctx.tokens.text_secondary);
                    });
                    row.col(|ui| outputs_cell(ui, &node.outputs));
                    row.col(|ui| {
                        widgets::verdict_badge(ui, &node.gradient);
                    });
                    row_clicks(&row, &node.name, at, ctx, open, state);
                });
            });
    });
    state.browser.node_sort = sort;
}

/// The shape of the first output, how many more there are, and all of them in the tooltip.
fn outputs_cell(ui: &mut Ui, outputs: &[ValueRow]) {
    let shape = outputs.first().map_or_else(String::new, |o| text::shape(o.shape.as_deref()));
    if outputs.len() < 2 {
        widgets::name_label(ui, &shape);
        return;
    }
    let r = widgets::name_label(ui, &format!("{shape} +{}", outputs.len() - 1));
    r.on_hover_ui(|ui| {
        for o in outputs.iter().take(MAX_OUTPUTS) {
            let words = format!("{}  {} {}", o.name, o.dtype, text::shape(o.shape.as_deref()));
            ui.label(RichText::new(words).monospace());
        }
        if outputs.len() > MAX_OUTPUTS {
            widgets::caption(ui, format!("and {} more", outputs.len() - MAX_OUTPUTS));
        }
    });
}

fn constants_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    let o = open.overview.clone();
    let scroll = scroll_target(state, |n| open.index.constant(n));
    let mut sort = state.browser.constant_sort;
    let mut unread: Vec<String> = Vec::new();
    // The first four columns fill the panel where names stay readable; the rest is reached by scrolling or widening.
    let name_width = (ui.available_width() - 40.0 - 76.0 - 60.0 - 52.0).clamp(148.0, 420.0);
    egui::ScrollArea::horizontal().show(ui, |ui| {
        let mut table = builder(ui)
            .id_salt("constants")
            .column(Column::exact(40.0))
            .column(Column::initial(name_width).at_least(80.0).clip(true))
            .column(Column::initial(76.0).at_least(50.0).clip(true))
            .column(Column::initial(60.0).at_least(50.0).clip(true))
            .column(Column::initial(112.0).at_least(50.0).clip(true))
            .column(Column::initial(70.0).at_least(50.0).clip(true))
            .column(Column::initial(62.0).at_least(40.0).clip(true))
            .column(Column::initial(66.0).at_least(50.0).clip(true))
            .columns(Column::initial(70.0).at_least(44.0).clip(true), 3)
            .column(Column::remainder().at_least(220.0).clip(true));
        if let Some(row) = scroll {
            table = table.scroll_to_row(row, None);
        }
        table
            .header(theme::ROW_HEIGHT, |mut row| {
                for (i, title) in rows::CONSTANT_COLUMNS.iter().enumerate() {
                    row.col(|ui| table::header(ui, title, i, &mut sort, matches!(i, 3 | 7..=10)));
                }
            })
            .body(|body| {
                let n = state.browser.cache.rows.len();
                body.rows(theme::ROW_HEIGHT, n, |mut row| {
                    let at = row.index();
                    let c = &o.constants[state.browser.cache.rows[at]];
                    row.set_selected(state.selection.contains(&c.name));
                    let range = open.ranges.get(&c.name);
                    if range.is_none() && unread.len() < MAX_UNREAD {
                        unread.push(c.name.clone());
                    }
                    constant_cells(&mut row, ctx, open, c, range.copied());
                    row_clicks(&row, &c.name, at, ctx, open, state);
                });
            });
    });
    state.browser.constant_sort = sort;
    if rows::RANGE_COLUMNS.contains(&sort.column) {
        // Sorting needs all of them.
        let rest = state.browser.cache.rows.iter().map(|&i| &o.constants[i].name);
        unread = rest.filter(|n| !open.ranges.contains_key(*n)).take(MAX_UNREAD).cloned().collect();
    }
    if !unread.is_empty() {
        ctx.send(Command::Summarise(unread));
    }
}

/// `range` is `None` while it is not read, and holds `None` where there are no numbers.
fn constant_cells(
    row: &mut TableRow<'_, '_>,
    ctx: &Ctx<'_>,
    open: &Open,
    c: &crate::session::overview::ConstantRow,
    range: Option<Option<ValueRange>>,
) {
    row.col(|ui| {
        let mut on = c.trainable;
        let can = is_float(&c.dtype);
        ui.add_space(4.0);
        // An empty box is the mark of what is frozen.
        ui.visuals_mut().widgets.inactive.bg_stroke.color = ctx.tokens.frozen;
        let r = ui.add_enabled(can, egui::Checkbox::without_text(&mut on));
        let name = format!("Train {}", c.name);
        r.widget_info(|| WidgetInfo::selected(Role::CheckBox, can, c.trainable, &name));
        if r.on_disabled_hover_text("Only float constants can train").clicked() {
            ctx.change(Change::Train { names: vec![c.name.clone()], on });
        }
    });
    let (_, cell) = row.col(|ui| {
        widgets::told_apart(ui, &c.name, &open.index);
    });
    cell.widget_info(|| WidgetInfo::labeled(Role::Row, true, &c.name));
    row.col(|ui| {
        widgets::name_label(ui, &text::shape(c.shape.as_deref()));
    });
    row.col(|ui| table::number_cell(ui, &text::count(c.elements), &text::exact(c.elements)));
    row.col(|ui| {
        widgets::name_label_colored(ui, &c.role, ctx.tokens.text_secondary);
    });
    row.col(|ui| {
        widgets::verdict_badge(ui, &c.gradient);
    });
    row.col(|ui| {
        widgets::name_label_colored(ui, &c.dtype, ctx.tokens.text_secondary);
    });
    row.col(|ui| table::number_cell(ui, &text::bytes(c.bytes as u64), &text::exact(c.bytes)));
    for pick in [|r: ValueRange| r.min, |r: ValueRange| r.max, |r: ValueRange| r.mean] {
        row.col(|ui| match range {
            Some(Some(r)) => table::number_cell(ui, &text::number(pick(r), 3), &pick(r).to_string()),
            Some(None) => table::number_cell(ui, "–", "–"),
            None => {}
        });
    }
    row.col(|ui| {
        let words = text::capitalised(&format!("{}: {}", c.suggest, c.reason));
        let r = ui.add(
            egui::Label::new(RichText::new(&words).color(ctx.tokens.text_secondary))
                .truncate()
                .show_tooltip_when_elided(false),
        );
        r.on_hover_text(words);
    });
}

/// Click, Ctrl+click, Shift+click and the offers of a right click.
fn row_clicks(row: &TableRow<'_, '_>, name: &str, at: usize, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    let response = row.response();
    let target = Target::Node(name.to_owned());
    if response.clicked() {
        let held: Modifiers = response.ctx.input(|i| i.modifiers);
        if held.shift {
            let shown = shown_names(open, &mut state.browser);
            let from = state.selection.focus().and_then(|f| shown.iter().position(|n| n == f.name())).unwrap_or(at);
            let (low, high) = (from.min(at), from.max(at).min(shown.len().saturating_sub(1)));
            ctx.send(Command::SelectMany { nodes: shown[low..=high].to_vec(), focus: Some(name.to_owned()) });
        } else {
            let how = if held.command { How::Toggle } else { How::Replace };
            ctx.send(Command::Select(target.clone(), how));
        }
        // What was clicked here is in view already.
        state.browser.seen_revision = state.selection.revision() + 1;
    }
    if response.double_clicked() {
        ctx.send(Command::ShowPanel("graph"));
        ctx.act(Action::RevealSelection);
    }
    response.context_menu(|ui| {
        if !state.selection.contains(name) {
            ctx.send(Command::Select(target.clone(), How::Replace));
        }
        offers::ui(ui, ctx, open, &state.selection, &target);
    });
}
