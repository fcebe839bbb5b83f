//! The tables by keyboard: arrows walk the rows (with Shift they extend), Enter and F3 walk what the filter shows, Space
//! makes the selected constants trainable or frozen; Right and Left open and close scopes.

use egui::{Key, Modifiers, Ui};

use crate::session::Change;
use crate::ui::command::Command;
use crate::ui::ctx::{Ctx, Open};
use crate::ui::focus;
use crate::ui::selection::{How, Target};
use crate::ui::state::UiState;

use super::{Tab, filter_id, shown_names};

/// A page of rows.
const PAGE: isize = 20;

/// Reads the keys of the frame while the filter has the keyboard, or nobody has.
pub(super) fn walk(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    let focused = ui.memory(egui::Memory::focused);
    let in_filter = focused == Some(filter_id());
    if !in_filter && !focus::is_free(ui.ctx()) {
        return;
    }
    let (none, shift) = (Modifiers::NONE, Modifiers::SHIFT);
    let (step, extends, is_toggle) = ui.input_mut(|i| {
        // With Shift first: a key alone would take it as well.
        let mut extended = 0;
        for (key, by) in [(Key::ArrowDown, 1), (Key::ArrowUp, -1)] {
            extended += by * i.count_and_consume_key(shift, key) as isize;
        }
        let mut step = -(i.count_and_consume_key(shift, Key::F3) as isize);
        let plain =
            [(Key::ArrowDown, 1), (Key::ArrowUp, -1), (Key::PageDown, PAGE), (Key::PageUp, -PAGE), (Key::F3, 1)];
        for (key, by) in plain {
            step += by * i.count_and_consume_key(none, key) as isize;
        }
        if in_filter {
            step += i.count_and_consume_key(none, Key::Enter) as isize;
        }
        (step + extended, extended != 0, !in_filter && i.consume_key(none, Key::Space))
    });
    if state.browser.tab == Tab::Scopes {
        return walk_scopes(ui, ctx, open, state, step, in_filter);
    }
    if is_toggle {
        toggle(ctx, open, state);
    }
    if step == 0 {
        return;
    }
    let names = shown_names(open, &mut state.browser);
    let at = state.selection.focus().and_then(|f| names.iter().position(|n| n == f.name()));
    let Some(to) = moved(at, step, names.len()) else { return };
    if extends {
        let mut nodes: Vec<String> = state.selection.nodes().iter().cloned().collect();
        nodes.push(names[to].clone());
        ctx.send(Command::SelectMany { nodes, focus: Some(names[to].clone()) });
    } else {
        ctx.send(Command::Select(Target::Node(names[to].clone()), How::Replace));
    }
}

/// The row that is so many steps from another; the first or last one where none is selected.
fn moved(at: Option<usize>, step: isize, n: usize) -> Option<usize> {
    let last = n.checked_sub(1)?;
    Some(match at {
        Some(at) => at.saturating_add_signed(step).min(last),
        None if step > 0 => 0,
        None => last,
    })
}

fn walk_scopes(ui: &Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState, step: isize, in_filter: bool) {
    state.browser.scopes.refresh(open, &state.browser.filter);
    let focus = state.selection.focus().filter(|t| matches!(t, Target::Scope(_))).map(|t| t.name().to_owned());
    if !in_filter && let Some(s) = focus.as_deref().and_then(|f| open.index.scopes.named(f)) {
        let pressed = |key| ui.input_mut(|i| i.consume_key(Modifiers::NONE, key));
        if pressed(Key::ArrowRight) {
            state.browser.scopes.open.insert(s);
        }
        if pressed(Key::ArrowLeft) {
            state.browser.scopes.open.remove(&s);
        }
    }
    if step == 0 {
        return;
    }
    let names = state.browser.scopes.names(open);
    let at = focus.and_then(|f| names.iter().position(|n| *n == f));
    if let Some(to) = moved(at, step, names.len()) {
        ctx.send(Command::Select(Target::Scope(names[to].to_owned()), How::Replace));
    }
}

/// All selected constants train, or none of them where all did.
fn toggle(ctx: &Ctx<'_>, open: &Open, state: &UiState) {
    let selected = state.selection.nodes().iter().filter_map(|n| open.index.constant(n));
    let rows: Vec<_> = selected.map(|c| &open.overview.constants[c]).filter(|c| super::is_float(&c.dtype)).collect();
    if !rows.is_empty() {
        let on = !rows.iter().all(|c| c.trainable);
        ctx.change(Change::Train { names: rows.iter().map(|c| c.name.clone()).collect(), on });
    }
}
