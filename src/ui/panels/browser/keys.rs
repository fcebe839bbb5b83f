//! The tables by keyboard: arrows walk the rows (with Shift they extend), Enter and F3 walk what the filter shows, Space
//! makes the selected constants trainable or frozen.

use egui::{Key, Modifiers, Ui};

use crate::session::Change;
use crate::ui::command::Command;
use crate::ui::ctx::{Ctx, Open};
use crate::ui::focus;
use crate::ui::selection::{How, Target};
use crate::ui::state::UiState;

use super::{filter_id, shown_names};

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
        let mut step = 0;
        for (key, by) in [(Key::ArrowDown, 1), (Key::ArrowUp, -1), (Key::PageDown, PAGE), (Key::PageUp, -PAGE)] {
            step += by * i.count_and_consume_key(none, key) as isize;
        }
        let mut extended = 0;
        for (key, by) in [(Key::ArrowDown, 1), (Key::ArrowUp, -1)] {
            extended += by * i.count_and_consume_key(shift, key) as isize;
        }
        step += i.count_and_consume_key(none, Key::F3) as isize - i.count_and_consume_key(shift, Key::F3) as isize;
        if in_filter {
            step += i.count_and_consume_key(none, Key::Enter) as isize;
        }
        (step + extended, extended != 0, !in_filter && i.consume_key(none, Key::Space))
    });
    if is_toggle {
        toggle(ctx, open, state);
    }
    if step == 0 {
        return;
    }
    let names = shown_names(open, &mut state.browser);
    let Some(last) = names.len().checked_sub(1) else { return };
    let at = state.selection.focus().and_then(|f| names.iter().position(|n| n == f.name()));
    let to = match at {
        Some(at) => at.saturating_add_signed(step).min(last),
        None if step > 0 => 0,
        None => last,
    };
    if extends {
        let mut nodes: Vec<String> = state.selection.nodes().iter().cloned().collect();
        nodes.push(names[to].clone());
        ctx.send(Command::SelectMany { nodes, focus: Some(names[to].clone()) });
    } else {
        ctx.send(Command::Select(Target::Node(names[to].clone()), How::Replace));
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
