//! Ways of the keyboard through the whole window: from panel to panel, into the menus and from menu to menu, and back to
//! where it was before something stood in front.

use egui::{FocusDirection, Id, Key, Modifiers, Popup, Response};
use egui_tiles::{Tile, TileId};

use crate::ui::{UiState, panels};

use super::App;
use super::layout::{DockTree, Pane};

/// What had the keyboard before a dialog or the palette took it.
#[derive(Debug, Default)]
pub(super) struct Before {
    was_open: bool,
    /// What stood in front is gone since the last frame, in which nothing behind it could take the keyboard.
    is_due: bool,
    focused: Option<Id>,
}

impl Before {
    /// At the end of a frame: gives the keyboard back where what stood in front is gone and nothing else has taken it. A
    /// text field does not get it back, since it would take the keys of what was asked for in the meantime.
    pub(super) fn end(&mut self, ctx: &egui::Context, state: &UiState) {
        let is_open = state.palette.is_some() || state.dialog.is_some();
        let focused = ctx.memory(egui::Memory::focused);
        if is_open {
            self.was_open = true;
            return;
        }
        if std::mem::take(&mut self.was_open) {
            self.is_due = true;
            return ctx.request_repaint();
        }
        if std::mem::take(&mut self.is_due) {
            if let Some(id) = self.focused.filter(|_| focused.is_none() && state.wants_panel.is_none()) {
                ctx.memory_mut(|m| m.request_focus(id));
                ctx.request_repaint();
            }
            return;
        }
        self.focused = focused.filter(|_| !ctx.text_edit_focused());
    }
}

impl App {
    /// F6 and Shift+F6: to the next panel in sight.
    pub(super) fn walk_panels(&mut self, ctx: &egui::Context) {
        if self.state.palette.is_some() || self.state.dialog.is_some() || self.open.is_none() {
            return;
        }
        let (back, on) =
            ctx.input_mut(|i| (i.consume_key(Modifiers::SHIFT, Key::F6), i.consume_key(Modifiers::NONE, Key::F6)));
        if !back && !on {
            return;
        }
        let shown = shown(&self.layout);
        let at = ctx
            .memory(egui::Memory::focused)
            .and_then(|id| ctx.read_response(id))
            .and_then(|r| shown.iter().position(|(tile, _)| holds(&self.layout, *tile, &r)));
        let next = match at {
            _ if shown.is_empty() => return,
            Some(at) if back => (at + shown.len() - 1) % shown.len(),
            Some(at) => (at + 1) % shown.len(),
            None if back => shown.len() - 1,
            None => 0,
        };
        self.state.wants_panel = Some(shown[next].1);
        ctx.request_repaint();
    }
}

/// The panels in sight, as they stand.
fn shown(tree: &DockTree) -> Vec<(TileId, &'static str)> {
    let panel = |t: TileId| match tree.tiles.get(t)? {
        Tile::Pane(Pane(id)) => Some((t, panels::named(id)?.id)),
        Tile::Container(_) => None,
    };
    tree.active_tiles().into_iter().filter_map(panel).collect()
}

fn holds(tree: &DockTree, tile: TileId, what: &Response) -> bool {
    tree.tiles.rect(tile).is_some_and(|r| r.contains(what.rect.center()))
}

/// F10 goes to the menus; the arrows go from one that is open to the next; Esc goes back to its title.
pub(super) fn menus(ctx: &egui::Context, titles: &[Response]) {
    let (f10, left, right, escape) = ctx.input_mut(|i| {
        let f10 = i.consume_key(Modifiers::NONE, Key::F10);
        (f10, i.key_pressed(Key::ArrowLeft), i.key_pressed(Key::ArrowRight), i.key_pressed(Key::Escape))
    });
    if f10 && let Some(first) = titles.first() {
        first.request_focus();
    }
    let is_open = |r: &Response| Popup::is_id_open(ctx, Popup::default_response_id(r));
    let now = titles.iter().position(is_open);
    let key = Id::unique("menu-that-was-open");
    let was: Option<usize> = ctx.data_mut(|d| {
        let was = d.get_temp::<Option<usize>>(key).flatten();
        d.insert_temp(key, now);
        was
    });
    if let (Some(was), None, true) = (was, now, escape) {
        titles[was.min(titles.len() - 1)].request_focus();
    }
    let next = match now {
        Some(at) if right => (at + 1) % titles.len(),
        Some(at) if left => (at + titles.len() - 1) % titles.len(),
        _ => return,
    };
    Popup::open_id(ctx, Popup::default_response_id(&titles[next]));
    titles[next].request_focus();
    // The arrow has done its work.
    ctx.memory_mut(|m| m.move_focus(FocusDirection::None));
}
