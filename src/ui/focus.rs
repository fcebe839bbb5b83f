//! Panels by keyboard: a panel that a command brings to the front takes the keyboard, so that Tab goes on inside it; and
//! what only the pointer can use (edges of columns, splitters) is passed over by Tab and by the arrows.

use std::collections::HashSet;

use egui::{Event, FocusDirection, Id, Key, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, vec2};

use super::UiState;
use super::panels::{self, Panel};
use super::theme::Tokens;

/// What has the keyboard while a panel as a whole has it.
fn anchor(panel: &str) -> Id {
    Id::unique(("panel-anchor", panel))
}

/// Whether no control has the keyboard: nothing at all, or a panel as a whole.
pub fn is_free(ctx: &egui::Context) -> bool {
    let focused = ctx.memory(egui::Memory::focused);
    focused.is_none_or(|id| panels::ALL.iter().any(|p| anchor(p.id) == id))
}

/// Gives the keyboard to a panel that was asked for by keyboard, and shows that it has it. It is a stop for Tab only as
/// long as it has the keyboard.
pub fn panel_ui(ui: &Ui, panel: &Panel, state: &mut UiState) {
    let id = anchor(panel.id);
    let is_wanted = state.wants_panel == Some(panel.id);
    let has = ui.memory(|m| m.has_focus(id));
    if !is_wanted && !has {
        return;
    }
    let area = ui.max_rect();
    let line = Rect::from_min_size(area.min, vec2(area.width(), 1.0));
    let response = ui.interact(line, id, Sense::focusable_noninteractive());
    response.widget_info(|| WidgetInfo::labeled(Role::Group, true, format!("{} panel", panel.title)));
    if is_wanted {
        state.wants_panel = None;
        response.request_focus();
    }
    if has {
        ring(ui, area.expand(4.0));
    }
}

/// Passes the keyboard on from controls that cannot act on keys. Those are the ones without a name: everything that a key
/// can use has one, and says it when it gets the keyboard.
#[derive(Debug, Default)]
pub struct Stops {
    /// What had the keyboard at the end of the last frame.
    last: Option<Id>,
    /// Where a key sends the keyboard; kept for one frame after the key, since it may arrive that late.
    direction: Option<FocusDirection>,
    is_late: bool,
    /// What had the keyboard when the key was pressed.
    origin: Option<Id>,
    /// What gets the keyboard at the start of the next frame, so that it says its name in it.
    asked: Option<Id>,
    is_probing: bool,
    /// How often in a row the keyboard was passed on, while it is.
    passed: usize,
    nameless: HashSet<Id>,
}

/// More controls without a name do not stand in a row.
const MOST_PASSED: usize = 200;

impl Stops {
    /// Before anything is drawn.
    pub fn begin(&mut self, ctx: &egui::Context) {
        if let Some(id) = self.asked.take() {
            ctx.memory_mut(|m| m.request_focus(id));
            return;
        }
        let focused = ctx.memory(egui::Memory::focused);
        if let Some(direction) = self.direction.filter(|_| self.passed > 0 && !self.is_late) {
            self.is_late = true;
            ctx.memory_mut(|m| m.move_focus(direction));
            return;
        }
        if let Some(id) = focused.filter(|id| self.direction.is_some_and(is_arrow) && !is_anchor(*id)) {
            if Some(id) == self.last {
                if self.nameless.contains(&id) {
                    self.give_back(ctx, id);
                }
            } else if self.nameless.contains(&id) || is_edge(ctx, id) {
                self.nameless.insert(id);
                self.pass_on(ctx, id);
                return self.begin(ctx);
            } else if ctx.read_response(id).is_some_and(|r| r.sense.senses_drag()) {
                // The arrows move the keyboard between frames, when nothing says its name. What can be dragged may be
                // without one: it is taken away for a frame, and given back in the next to ask for it.
                ctx.memory_mut(|m| m.surrender_focus(id));
                (self.asked, self.is_probing) = (Some(id), true);
                return ctx.request_repaint();
            }
        }
        match ctx.input(|i| i.events.iter().rev().find_map(direction_of)) {
            Some(direction) => {
                (self.direction, self.origin) = (Some(direction), focused);
                (self.is_late, self.passed) = (false, 0);
            }
            None if self.is_late => self.direction = None,
            None => self.is_late = true,
        }
    }

    /// After everything is drawn. Whether what has the keyboard now can use it.
    pub fn end(&mut self, ctx: &egui::Context) -> bool {
        let focused = ctx.memory(egui::Memory::focused);
        let is_new = focused != self.last;
        self.last = focused;
        let Some(id) = focused.filter(|id| !is_anchor(*id)) else { return true };
        let is_probed = std::mem::take(&mut self.is_probing);
        if !is_new || self.direction.is_none_or(|d| is_arrow(d) && !is_probed) {
            return !self.nameless.contains(&id);
        }
        let pointer_only = |role| matches!(role, Role::Splitter | Role::ScrollBar);
        if ctx.output(|o| o.events.iter().any(|e| !pointer_only(e.widget_info().role))) {
            self.nameless.remove(&id);
            return true;
        }
        self.nameless.insert(id);
        self.pass_on(ctx, id);
        let next = self.direction.filter(|d| !is_arrow(*d)).and_then(|d| self.neighbour(ctx, id, d));
        if next.is_some() && self.passed <= MOST_PASSED {
            self.asked = next;
        }
        false
    }

    /// The next control in Tab's order on the same layer that is not known to be without a name.
    fn neighbour(&self, ctx: &egui::Context, id: Id, direction: FocusDirection) -> Option<Id> {
        ctx.viewport(|v| {
            let all = &v.this_pass.widgets;
            let (layer, _) = all.order(id)?;
            let mut order: Vec<_> = all.get_layer(layer).collect();
            if direction == FocusDirection::Previous {
                order.reverse();
            }
            let after = order.into_iter().skip_while(|w| w.id != id).skip(1);
            let mut usable = after.filter(|w| w.enabled && w.sense.is_focusable() && !self.nameless.contains(&w.id));
            usable.next().map(|w| w.id)
        })
    }

    fn pass_on(&mut self, ctx: &egui::Context, from: Id) {
        self.last = Some(from);
        self.passed += 1;
        self.is_late = self.passed > MOST_PASSED;
        ctx.request_repaint();
    }

    /// Nothing that can act lies in the arrow's direction.
    fn give_back(&mut self, ctx: &egui::Context, id: Id) {
        self.direction = None;
        ctx.memory_mut(|m| match self.origin {
            Some(origin) => m.request_focus(origin),
            None => m.surrender_focus(id),
        });
    }
}

/// Whether this is an edge between columns or panels, by its form.
fn is_edge(ctx: &egui::Context, id: Id) -> bool {
    ctx.read_response(id).is_some_and(|r| r.sense.senses_drag() && r.interact_rect.size().min_elem() <= EDGE)
}

/// No control is as thin as the area in which an edge can be taken.
const EDGE: f32 = 12.0;

fn is_arrow(direction: FocusDirection) -> bool {
    use FocusDirection::{Down, Left, Right, Up};
    matches!(direction, Up | Down | Left | Right)
}

/// Where a key sends the keyboard.
fn direction_of(event: &Event) -> Option<FocusDirection> {
    let Event::Key { key, pressed: true, modifiers, .. } = event else { return None };
    match key {
        Key::Tab if modifiers.shift_only() => Some(FocusDirection::Previous),
        _ if modifiers.any() => None,
        Key::Tab => Some(FocusDirection::Next),
        Key::ArrowUp => Some(FocusDirection::Up),
        Key::ArrowDown => Some(FocusDirection::Down),
        Key::ArrowLeft => Some(FocusDirection::Left),
        Key::ArrowRight => Some(FocusDirection::Right),
        _ => None,
    }
}

fn is_anchor(id: Id) -> bool {
    panels::ALL.iter().any(|p| anchor(p.id) == id)
}

/// A line around the control that has the keyboard, for those that show it too little themselves: headers that fold,
/// tabs, bars.
pub fn control_ui(ctx: &egui::Context) {
    let Some(id) = ctx.memory(egui::Memory::focused) else { return };
    let is_panel = panels::ALL.iter().any(|p| anchor(p.id) == id);
    let Some(response) = ctx.read_response(id).filter(|_| !is_panel) else { return };
    let stroke = Stroke::new(1.5, Tokens::of(&ctx.global_style().visuals).accent);
    let rect = response.interact_rect.expand(1.0);
    ctx.layer_painter(response.layer_id).rect_stroke(rect, 4.0, stroke, StrokeKind::Outside);
}

/// A line around what has the keyboard.
pub fn ring(ui: &Ui, rect: Rect) {
    let stroke = Stroke::new(1.5, Tokens::of(ui.visuals()).accent);
    ui.painter().rect_stroke(rect, 4.0, stroke, StrokeKind::Inside);
}
