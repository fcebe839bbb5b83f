//! What pointer, wheel and keys do on the canvas.

use egui::{Event, EventFilter, Key, PointerButton, Rect, Response, Ui};

use crate::ui::command::Command;
use crate::ui::ctx::{Ctx, Open};
use crate::ui::selection::{How, Target};
use crate::ui::theme::icons;
use crate::ui::{UiState, offers};

use super::camera::{Camera, Goal};
use super::draw::Scene;
use super::export;
use super::keys::{Direction, neighbour};
use super::layout::Item;
use super::look::{Trace, node_of, placed_of};
use super::{CanvasState, Laid, Wants, fold, marks};

/// Wishes that are not about the camera.
pub(super) fn commands(ctx: &Ctx<'_>, open: &Open, laid: &Laid, state: &mut UiState) {
    match state.canvas.wants {
        Wants::Reveal => {
            let view = &mut state.canvas.view;
            match state.selection.focus() {
                Some(Target::Scope(name)) => fold::reveal_scope(view, &laid.shown, name),
                focus => {
                    if let Some(node) = focus.and_then(|t| node_of(&laid.shown, t)) {
                        fold::reveal(view, &laid.shown, node);
                    }
                }
            }
            state.canvas.halt = None;
            state.canvas.wants = Wants::ZoomToSelection;
        }
        Wants::Picture(kind) => {
            state.canvas.wants = Wants::Nothing;
            if let (Some((_, styles)), Some((_, look))) = (&state.canvas.styles, &state.canvas.look) {
                let (shown, layout) = (laid.shown.clone(), laid.layout.clone());
                let job = export::start(kind, shown, layout, styles.clone(), look.clone(), open, ctx.tokens);
                state.canvas.picture = Some(job);
            }
        }
        _ => {}
    }
}

pub(super) fn move_camera(ui: &Ui, rect: Rect, response: &Response, ctx: &Ctx<'_>, laid: &Laid, state: &mut UiState) {
    let now = ui.input(|i| i.time);
    let layout = &laid.layout;
    let canvas = &mut state.canvas;
    let mut camera = canvas.camera.unwrap_or_else(|| Camera::first(layout, rect.size()));
    let has_moved = canvas.seen_revision != state.selection.revision();
    let place = state.selection.focus().and_then(|t| placed_of(&laid.shown, layout, t)).map(|i| &layout.placed[i]);
    // Going to something that a layout on its way, or about to be made, will move would miss it.
    let is_waiting = canvas.job.is_some() || (canvas.halt.is_none() && laid.view != canvas.view);
    let goal = match canvas.wants {
        Wants::Fit if !is_waiting => Some(Camera::fitting([0.0; 2], layout.size, rect.size(), 1.0)),
        Wants::ZoomToSelection if !is_waiting => place.map(|p| Camera::fitting(p.min, p.size, rect.size(), 1.0)),
        Wants::Nothing if has_moved => place.and_then(|p| {
            let min = camera.to_screen(rect.center(), p.min);
            let shown = Rect::from_min_size(min, egui::vec2(p.size[0], p.size[1]) * camera.zoom);
            let center = [p.min[0] + p.size[0] / 2.0, p.min[1] + p.size[1] / 2.0];
            (!rect.shrink(24.0).intersects(shown)).then_some(Camera { center, ..camera })
        }),
        _ => None,
    };
    canvas.seen_revision = state.selection.revision();
    if matches!(canvas.wants, Wants::Fit | Wants::ZoomToSelection) && !is_waiting {
        canvas.wants = Wants::Nothing;
    }
    if let Some(to) = goal {
        canvas.goal = Some(Goal { from: camera, to, started: now });
    }
    if let Some(goal) = canvas.goal {
        let (at, has_arrived) = goal.at(now, ctx.settings.has_motion);
        camera = at;
        if has_arrived {
            canvas.goal = None;
        }
        ui.ctx().request_repaint();
    }
    if response.dragged() {
        camera.pan(response.drag_delta());
        canvas.goal = None;
    }
    if let Some(pointer) = response.hover_pos().filter(|_| response.contains_pointer()) {
        let (scroll, pinch) = ui.input(|i| (i.smooth_scroll_delta(), i.zoom_delta()));
        let factor = pinch * (scroll.y * 0.003).exp();
        if (factor - 1.0).abs() > 1e-4 {
            camera.zoom_at(rect, pointer, factor);
            canvas.goal = None;
        }
    }
    canvas.camera = Some(camera);
}

/// What a placed thing is in the selection.
fn target(scene: &Scene<'_>, i: usize) -> Target {
    match scene.layout.placed[i].item {
        Item::Node(n) => Target::Node(scene.shown.overview.nodes[n].name.clone()),
        Item::Site(s) => Target::Site(scene.shown.overview.dropout[s].output.clone()),
        Item::Scope(s) => Target::Scope(scene.shown.index.scopes.all[s].name.clone()),
    }
}

pub(super) fn clicks(ui: &Ui, ctx: &Ctx<'_>, open: &Open, scene: &Scene<'_>, response: &Response, state: &mut UiState) {
    // Enter and Space on what has the focus count as clicks too; those are keys here.
    let is_clicked = response.clicked_by(PointerButton::Primary);
    if is_clicked {
        response.request_focus();
    }
    let edge = scene.hovered_wire.and_then(|w| scene.edge(w));
    if response.secondary_clicked() {
        let card = || scene.hovered.map(|i| (target(scene, i), Some(scene.layout.placed[i].item)));
        state.canvas.menu_for = edge.clone().map(|e| (e, None)).or_else(card);
        // One of several that are selected stands for all of them.
        if let Some((target, _)) = &state.canvas.menu_for
            && !is_one_of_several(target, state)
        {
            ctx.send(Command::Select(target.clone(), How::Replace));
        }
    }
    match scene.hovered {
        _ if is_clicked && edge.is_some() => {
            if let Some(edge) = edge {
                ctx.send(Command::Select(edge, How::Replace));
            }
        }
        Some(i) if response.double_clicked_by(PointerButton::Primary) => {
            toggle(scene.layout.placed[i].item, &mut state.canvas)
        }
        Some(i) if is_clicked => {
            let target = target(scene, i);
            // Boxes and sites are selected by themselves: what is selected together are nodes.
            let adds = ui.input(|i| i.modifiers.command) && matches!(target, Target::Node(_));
            ctx.send(Command::Select(target, if adds { How::Toggle } else { How::Replace }));
        }
        None if is_clicked => {
            state.selection.deselect();
            state.canvas.trace = None;
        }
        _ => {}
    }
    if let Some(about) = state.canvas.menu_for.clone() {
        response.context_menu(|ui| menu_ui(ui, ctx, open, scene, &about, state));
    }
}

fn is_one_of_several(target: &Target, state: &UiState) -> bool {
    matches!(target, Target::Node(n) if state.selection.nodes().len() > 1 && state.selection.contains(n))
}

fn menu_ui(
    ui: &mut Ui,
    ctx: &Ctx<'_>,
    open: &Open,
    scene: &Scene<'_>,
    (target, item): &(Target, Option<Item>),
    state: &mut UiState,
) {
    let canvas = &mut state.canvas;
    let folded = item.filter(|i| !matches!(i, Item::Node(_))).and_then(|i| scene.layout.by_item.get(&i));
    if let Some(p) = folded.map(|&i| &scene.layout.placed[i]) {
        let (icon, words) = if p.is_open { (icons::MINUS, "Fold") } else { (icons::PLUS, "Unfold") };
        if offers::entry(ui, true, icon, words, None) {
            toggle(p.item, canvas);
        }
    }
    if offers::entry(ui, true, icons::CARET_UP, "Trace what it needs", None) {
        canvas.trace = Some(Trace::Needs);
    }
    if offers::entry(ui, true, icons::CARET_DOWN, "Trace what reads it", None) {
        canvas.trace = Some(Trace::Feeds);
    }
    ui.separator();
    offers::ui(ui, ctx, open, &state.selection, target);
}

/// Keys that work while the canvas has the focus: arrows walk, Enter, + and − fold, Space switches a dropout
/// site, Escape lets go.
pub(super) fn keys(ui: &Ui, ctx: &Ctx<'_>, open: &Open, scene: &Scene<'_>, response: &Response, state: &mut UiState) {
    if !response.has_focus() {
        return;
    }
    let filter = EventFilter { horizontal_arrows: true, vertical_arrows: true, escape: true, ..EventFilter::default() };
    ui.memory_mut(|m| m.set_focus_lock_filter(response.id, filter));
    let pressed: Vec<Key> = ui.input(|i| {
        let plain = |e: &Event| match e {
            Event::Key { key, pressed: true, modifiers, .. } if modifiers.is_none() => Some(*key),
            _ => None,
        };
        i.events.iter().filter_map(plain).collect()
    });
    for key in pressed {
        let direction = match key {
            Key::ArrowUp => Direction::Up,
            Key::ArrowDown => Direction::Down,
            Key::ArrowLeft => Direction::Left,
            Key::ArrowRight => Direction::Right,
            Key::Enter | Key::Space => {
                match scene.look.focus.map(|i| scene.layout.placed[i].item) {
                    Some(Item::Site(s)) if key == Key::Space => {
                        marks::flip(ctx, open, &scene.shown.overview.dropout[s].output);
                    }
                    Some(item) => toggle(item, &mut state.canvas),
                    None => {}
                }
                continue;
            }
            Key::Escape => {
                state.selection.deselect();
                state.canvas.trace = None;
                continue;
            }
            Key::PageUp | Key::PageDown => {
                let by = if key == Key::PageUp { 0.8 } else { -0.8 };
                state.canvas.pan(egui::vec2(0.0, by * scene.rect.height()));
                ui.ctx().request_repaint();
                continue;
            }
            Key::Plus | Key::Equals | Key::Minus if folds(scene, key != Key::Minus) => {
                if let Some(i) = scene.look.focus {
                    toggle(scene.layout.placed[i].item, &mut state.canvas);
                }
                continue;
            }
            Key::Plus | Key::Equals | Key::Minus => {
                let factor = if key == Key::Minus { 1.0 / 1.25 } else { 1.25 };
                state.canvas.set_zoom(scene.camera.zoom * factor);
                ui.ctx().request_repaint();
                continue;
            }
            _ => continue,
        };
        if let Some(to) = neighbour(scene.layout, scene.look.focus, direction) {
            ctx.send(Command::Select(target(scene, to), How::Replace));
        }
    }
}

/// Whether + would open, or − would close, what is selected.
fn folds(scene: &Scene<'_>, is_plus: bool) -> bool {
    let focus = scene.look.focus.map(|i| &scene.layout.placed[i]);
    focus.is_some_and(|p| matches!(p.item, Item::Scope(_)) && p.is_open != is_plus)
}

/// Opens or closes a scope or a dropout site; it stays where it is on the screen.
pub(super) fn toggle(item: Item, canvas: &mut CanvasState) {
    let (set, key) = match item {
        Item::Scope(s) => (&mut canvas.view.open, s),
        Item::Site(s) => (&mut canvas.view.expanded_sites, s),
        Item::Node(_) => return,
    };
    if !set.remove(&key) {
        set.insert(key);
    }
    canvas.anchor = Some(item);
    canvas.halt = None;
}
