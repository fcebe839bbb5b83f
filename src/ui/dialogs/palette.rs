//! One field that finds commands, panels, nodes and constants.

use egui::{Id, Key, Modal, RichText, Role, Ui, WidgetInfo};

use crate::session::Selector;
use crate::session::query::Query;
use crate::ui::bulk;
use crate::ui::command::{Action, Command};
use crate::ui::ctx::Ctx;
use crate::ui::panels;
use crate::ui::problems::{self, Cure, Problem};
use crate::ui::selection::{How, Selection, Target};
use crate::ui::theme::{self, icons};
use crate::ui::{offers, text, widgets};

#[derive(Debug, Default)]
pub struct PaletteState {
    text: String,
    at: usize,
    has_focus: bool,
}

/// One row that the palette offers.
#[derive(Clone, Debug)]
struct Row {
    icon: &'static str,
    title: String,
    detail: String,
    /// Empty where it cannot be taken now; the detail says why.
    command: Vec<Command>,
}

const MAX_ROWS: usize = 12;
const MAX_NAMES: usize = 60;
/// So many numbers of layers are offered one by one.
const MAX_LAYERS: usize = 24;

/// Shows the palette; false when it is done.
pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, selection: &Selection, state: &mut PaletteState) -> bool {
    let mut is_open = true;
    let area = Modal::default_area(Id::unique("palette")).anchor(egui::Align2::CENTER_TOP, [0.0, 80.0]);
    let frame = egui::Frame::popup(ui.style()).inner_margin(10);
    let modal = Modal::new(Id::unique("palette")).area(area).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width((ui.ctx().content_rect().width() - 80.0).min(560.0));
        let (down, up, enter) = ui.input_mut(|i| {
            let none = egui::Modifiers::NONE;
            (i.consume_key(none, Key::ArrowDown), i.consume_key(none, Key::ArrowUp), i.key_pressed(Key::Enter))
        });
        let edit = egui::TextEdit::singleline(&mut state.text)
            .hint_text("Search commands, nodes and constants")
            .desired_width(f32::INFINITY);
        let r = ui.add(edit);
        r.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, "Search or run a command"));
        if !state.has_focus {
            r.request_focus();
            state.has_focus = true;
        }
        if r.changed() {
            state.at = 0;
        }
        let rows = rows(ctx, &state.text);
        if down {
            state.at = (state.at + 1).min(rows.len().saturating_sub(1));
        }
        if up {
            state.at = state.at.saturating_sub(1);
        }
        ui.add_space(4.0);
        let mut chosen = None;
        for (i, row) in rows.iter().enumerate() {
            if row_ui(ui, ctx, selection, row, i == state.at) {
                chosen = Some(i);
            }
        }
        if rows.is_empty() {
            widgets::note(ui, "Nothing fits.");
        }
        if enter {
            chosen = chosen.or((!rows.is_empty()).then_some(state.at));
        }
        if enter && chosen.is_some_and(|i| rows[i].command.is_empty()) {
            r.request_focus();
        }
        if let Some(i) = chosen.filter(|i| !rows[*i].command.is_empty()) {
            for c in &rows[i].command {
                ctx.send(c.clone());
            }
            is_open = false;
        }
    });
    is_open && !modal.should_close()
}

fn row_ui(ui: &mut Ui, ctx: &Ctx<'_>, selection: &Selection, row: &Row, is_on: bool) -> bool {
    let label = format!("{}  {}", row.icon, widgets::fit_name(&row.title, ui.available_width() - 150.0));
    let covered = match (row.command.as_slice(), ctx.open) {
        ([Command::Do(action)], Some(open)) => offers::covered(ui, open, selection, *action),
        _ => None,
    };
    let detail = covered.map_or_else(|| row.detail.clone(), bulk::Covered::short);
    let detail = RichText::new(detail).size(theme::CAPTION).color(ctx.tokens.text_secondary);
    let can = !row.command.is_empty();
    let color = if can { ctx.tokens.text } else { ctx.tokens.text_disabled };
    let label = RichText::new(label).color(color);
    let r = widgets::list_row(ui, egui::Button::selectable(is_on, label).right_text(detail));
    r.widget_info(|| WidgetInfo::selected(Role::Button, can, is_on, &row.title));
    r.clicked()
}

/// Every one-click cure of the problems, with the place that it is for.
fn cures(ctx: &Ctx<'_>) -> Vec<(String, Cure)> {
    let Some(open) = ctx.open else { return Vec::new() };
    let (known, measured) = (open.problems(), ctx.run.map(|r| problems::of_run(r, open.recipe())).unwrap_or_default());
    let place = |p: &Problem| text::elide_middle(p.place.as_deref().unwrap_or_default(), 24);
    known.iter().chain(&measured).flat_map(|p| p.cures.iter().map(move |c| (place(p), c.clone()))).collect()
}

/// Recent files, layers to train, and panels to close.
fn more(ctx: &Ctx<'_>, query: &str, scored: &mut Vec<(i32, Row)>) {
    let mut add = |title: String, icon: &'static str, detail: &str, command: Command| {
        if let Some(score) = text::fuzzy(query, &title) {
            scored.push((score + 2, Row { icon, title, detail: detail.to_owned(), command: vec![command] }));
        }
    };
    // Without a text only commands are listed.
    if query.trim().is_empty() {
        return;
    }
    for path in &ctx.settings.recent {
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        add(format!("Open recent: {name}"), icons::FILE, "recent file", Command::Open(path.clone()));
    }
    if let Some(open) = ctx.open {
        let most = bulk::n_layers(&open.overview);
        for n in 1..=most.min(MAX_LAYERS) {
            let covered = bulk::covered(&open.overview, &[Selector::LastLayers(n)]);
            let title = format!("Train the last {}", text::plural(n, "layer", "layers"));
            add(title, icons::STACK, &covered.short(), Command::change(bulk::last_layers(n)));
        }
        for p in panels::ALL {
            add(format!("Close {}", p.title), icons::CLOSE, "panel", Command::ClosePanel(p.id));
            add(format!("Split {} off", p.title), icons::LAYOUT, "panel", Command::SplitPanel(p.id, true));
        }
    }
}

/// The best rows for a text: commands and panels first, then names that it matches as a query.
fn rows(ctx: &Ctx<'_>, query: &str) -> Vec<Row> {
    let mut scored: Vec<(i32, Row)> = Vec::new();
    for action in Action::ALL {
        let info = action.info();
        let why_not = ctx.why_not(*action);
        let score = text::fuzzy(query, info.title).filter(|_| why_not.is_none() || !query.trim().is_empty());
        if let Some(score) = score {
            let (detail, command, less) = match why_not {
                None => (format!("{} menu", info.menu.title()), vec![action.command()], 0),
                // What cannot be done now stands below what can.
                Some(why) => (why.to_owned(), Vec::new(), 1000),
            };
            scored.push((score + 8 - less, Row { icon: info.icon, title: info.title.to_owned(), detail, command }));
        }
    }
    for p in panels::ALL {
        let title = format!("Show {}", p.title);
        if let Some(score) = text::fuzzy(query, p.title).max(text::fuzzy(query, &title)) {
            scored.push((
                score + 4,
                Row { icon: p.icon, title, detail: "panel".to_owned(), command: vec![Command::ShowPanel(p.id)] },
            ));
        }
    }
    more(ctx, query, &mut scored);
    for (place, cure) in cures(ctx) {
        let title = format!("Cure: {}", cure.label);
        if let Some(score) = text::fuzzy(query, &title) {
            let command = vec![cure.command];
            scored.push((score + 6, Row { icon: icons::LIGHTNING, title, detail: place, command }));
        }
    }
    let asked = Query::parse(query).ok().filter(|_| query.trim().len() >= 2);
    if let (Some(open), Some(asked)) = (ctx.open, asked) {
        for i in panels::matching_nodes(panels::Listed { shown: &open.shown, tuned: &open.tuned }, &asked)
            .into_iter()
            .take(MAX_NAMES)
        {
            let n = &open.overview.nodes[i];
            let score = text::fuzzy(query, &n.name).unwrap_or(0);
            let icon = if open.index.constant(&n.name).is_some() { icons::CONSTANT } else { icons::GRAPH };
            let select = Command::Select(Target::Node(n.name.clone()), How::Replace);
            scored.push((
                score,
                Row {
                    icon,
                    title: n.name.clone(),
                    detail: n.op.clone(),
                    command: vec![select, Command::ShowPanel("inspector")],
                },
            ));
        }
    }
    if query.trim().is_empty() {
        // Nothing is asked for yet: cures first, then the order of the menus.
        scored.sort_by_key(|(_, row)| row.icon != icons::LIGHTNING);
    } else {
        // Stable, so that equal scores keep the order of menus and files.
        scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    }
    scored.truncate(MAX_ROWS);
    scored.into_iter().map(|(_, r)| r).collect()
}
