//! The graph as a picture: pan, zoom, fold, select, trace. The layout is made in a job; drawing touches only what is
//! visible.
//!
//! Reading order: [`shown`] (rows to draw), [`fold`] and [`layered`] (places), [`layout`] and [`grid`] (the result and
//! how to search it), [`style`] and [`look`] (what is worked out once), [`draw`] with `cards`, `wires` and `far`,
//! `act` (pointer and keys), `marks` (controls on cards), `overlay` (what lies over the picture), [`export`].

mod act;
mod camera;
mod cards;
pub mod color;
pub mod draw;
pub mod export;
mod far;
pub mod fold;
pub mod grid;
pub mod keys;
pub mod layered;
pub mod layout;
pub mod look;
mod marks;
mod minimap;
pub mod motion;
mod overlay;
pub mod path;
pub mod shown;
pub mod style;
mod toolbar;
mod wires;

use std::path::PathBuf;
use std::sync::Arc;

use egui::{Sense, Ui, vec2};

use super::background::Background;
use super::ctx::{Ctx, Open};
use super::selection::Target;
use super::{UiState, widgets};
use camera::{Camera, Goal};
use draw::Look;
use export::{Picture, PictureKind};
use fold::View;
use layout::{Item, Layout};
use look::{LookKey, Trace};
use motion::Motion;
use shown::Shown;
use style::{StyleKey, Styles};

pub use color::ColorMode;

#[derive(Debug, Default)]
pub struct CanvasState {
    /// The model that `view` is about; another one starts anew.
    model: Option<PathBuf>,
    /// What is unfolded, and the rows that its numbers mean; chosen by itself for a new model.
    view: View,
    shown: Option<Arc<Shown>>,
    laid: Option<Laid>,
    job: Option<Job>,
    halt: Option<Halt>,
    camera: Option<Camera>,
    goal: Option<Goal>,
    motion: Option<Motion>,
    /// What was clicked to fold, so that it can stay in its place.
    anchor: Option<Item>,
    styles: Option<(StyleKey, Arc<Styles>)>,
    look: Option<(LookKey, Arc<Look>)>,
    trace: Option<Trace>,
    /// What the open menu is about, and what could be folded there.
    menu_for: Option<(Target, Option<Item>)>,
    picture: Option<Background<Result<Picture, String>>>,
    pub color_mode: ColorMode,
    /// Leaves out what edits took from the file.
    pub hides_removed: bool,
    /// Fades what the browser's filter leaves out.
    pub follows_filter: bool,
    pub wants: Wants,
    seen_revision: u64,
}

/// A layout with the rows and the view that it is of.
#[derive(Clone, Debug)]
struct Laid {
    shown: Arc<Shown>,
    view: View,
    layout: Arc<Layout>,
}

/// A layout in the making.
#[derive(Debug)]
struct Job {
    shown: Arc<Shown>,
    view: View,
    started: f64,
    work: Background<Option<Layout>>,
}

/// Why no layout is being made though one is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Halt {
    Cancelled,
    Failed,
}

/// What a command asked of the canvas; done as soon as a layout is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wants {
    #[default]
    Nothing,
    Fit,
    ZoomToSelection,
    /// Unfolds whatever hides the selection, and goes there.
    Reveal,
    Picture(PictureKind),
}

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    toolbar::ui(ui, ctx, open, state);
    let (rect, response) = ui.allocate_exact_size(ui.available_size().max(vec2(40.0, 40.0)), Sense::click_and_drag());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Canvas, true, "Graph canvas"));
    if state.wants_panel == Some("graph") {
        state.wants_panel = None;
        response.request_focus();
    }
    ui.painter().rect_filled(rect, 0.0, ctx.tokens.window);
    if open.overview.nodes.is_empty() {
        return overlay::empty_ui(ui, rect);
    }
    prepare(ui, open, ctx.settings.is_sideways, &mut state.canvas);
    take_picture(ctx, &mut state.canvas);
    let Some(laid) = state.canvas.laid.clone() else {
        return overlay::waiting_ui(ui, rect, &mut state.canvas);
    };
    act::commands(ctx, open, &laid, state);
    act::move_camera(ui, rect, &response, ctx, &laid, state);
    let Some(camera) = state.canvas.camera else { return };
    let styles = styles(ctx, open, &laid, &mut state.canvas);
    let look = look(open, &laid, state);
    let now = ui.input(|i| i.time);
    let motion = state.canvas.motion.take();
    let pointer = response.hover_pos().filter(|p| rect.contains(*p) && response.contains_pointer());
    let mut scene = draw::Scene {
        tokens: ctx.tokens,
        shown: &laid.shown,
        layout: &laid.layout,
        styles: &styles,
        look: &look,
        hovered: None,
        hovered_wire: None,
        camera,
        rect,
        motion: motion.as_ref().map(|m| (m, m.progress(now))),
        has_labels: ctx.settings.has_edge_shapes,
    };
    let visible = scene.visible();
    scene.hovered = pointer.and_then(|p| scene.hit(&visible, p));
    let is_ground = scene.hovered.is_none_or(|h| laid.layout.placed[h].is_open);
    if camera.zoom >= draw::CARD_ZOOM && motion.is_none() && is_ground {
        scene.hovered_wire = pointer.and_then(|p| scene.wire_at(p));
    }
    scene.draw(&ui.painter_at(rect), &visible);
    overlay::names(ui, &scene, &visible);
    overlay::edge_names(ui, &scene, &visible);
    overlay::tooltips(ui, &scene, &response);
    marks::ui(ui, ctx, open, &scene, &visible, state);
    let is_moving = scene.motion.is_some_and(|(_, t)| t < 1.0);
    act::clicks(ui, ctx, open, &scene, &response, state);
    act::keys(ui, ctx, open, &scene, &response, state);
    overlay::legend(ui, &scene, open);
    minimap::ui(ui, &scene, &mut state.canvas);
    overlay::cures_ui(ui, ctx, open, &scene, state.selection.focus());
    overlay::progress_ui(ui, rect, &mut state.canvas);
    if response.has_focus() && state.is_by_keyboard {
        super::focus::ring(ui, rect);
    }
    if is_moving && ctx.settings.has_motion {
        state.canvas.motion = motion;
        ui.ctx().request_repaint();
    }
}

/// Starts a layout where what is shown has changed, and takes a finished one.
fn prepare(ui: &Ui, open: &Open, is_sideways: bool, state: &mut CanvasState) {
    let shown = match &open.with_removed {
        Some(merged) if !state.hides_removed => merged,
        _ => &open.shown,
    };
    let is_same_rows = state.shown.as_ref().is_some_and(|s| Arc::ptr_eq(s, shown));
    if state.model.as_ref() != Some(&open.path) {
        let kept = (state.color_mode, state.hides_removed, state.follows_filter, state.wants);
        *state = CanvasState::default();
        (state.color_mode, state.hides_removed, state.follows_filter, state.wants) = kept;
        state.model = Some(open.path.clone());
        state.view = fold::default_view(&shown.overview, &shown.index);
    } else if !is_same_rows && let Some(old) = &state.shown {
        state.view = fold::carried_over(&state.view, old, shown);
    }
    state.shown = Some(shown.clone());
    if std::mem::replace(&mut state.view.is_sideways, is_sideways) != is_sideways && state.laid.is_some() {
        state.wants = Wants::Fit;
    }
    let now = ui.input(|i| i.time);
    take_layout(state, now);
    let is_it = |s: &Arc<Shown>, v: &View| Arc::ptr_eq(s, shown) && *v == state.view;
    let is_there = state.laid.as_ref().is_some_and(|l| is_it(&l.shown, &l.view));
    let is_running = state.job.as_ref().is_some_and(|j| is_it(&j.shown, &j.view));
    if is_there || is_running || state.halt.is_some() {
        return;
    }
    let (rows, view) = (shown.clone(), state.view.clone());
    let waker = ui.ctx().clone();
    let work =
        Background::spawn("layout", move || waker.request_repaint(), move |cancel| fold::layout(&rows, &view, cancel));
    state.job = Some(Job { shown: shown.clone(), view: state.view.clone(), started: now, work });
}

fn take_layout(state: &mut CanvasState, now: f64) {
    let Some(job) = &mut state.job else { return };
    let Some(result) = job.work.poll() else {
        if job.work.is_lost() {
            state.job = None;
            state.halt = Some(Halt::Failed);
        }
        return;
    };
    let Some(job) = state.job.take() else { return };
    let Some(layout) = result.map(Arc::new) else { return };
    let anchor = state.anchor.take();
    if let (Some(old), Some(camera)) = (&state.laid, &mut state.camera) {
        // Numbers of scopes mean the same things only within the same rows.
        state.motion =
            Arc::ptr_eq(&old.shown, &job.shown).then(|| Motion::new(&old.layout, layout.clone(), anchor, camera, now));
        state.goal = None;
    }
    state.laid = Some(Laid { shown: job.shown, view: job.view, layout });
}

fn styles(ctx: &Ctx<'_>, open: &Open, laid: &Laid, state: &mut CanvasState) -> Arc<Styles> {
    let key = StyleKey::new(open, ctx.run, &laid.shown, &laid.layout, state.color_mode, ctx.tokens);
    match &state.styles {
        Some((old, styles)) if *old == key => styles.clone(),
        _ => {
            let styles = Styles::new(open, ctx.run, &laid.shown, &laid.layout, state.color_mode, ctx.tokens);
            let styles = Arc::new(styles);
            state.styles = Some((key, styles.clone()));
            styles
        }
    }
}

fn look(open: &Open, laid: &Laid, state: &mut UiState) -> Arc<Look> {
    let filter = state.canvas.follows_filter.then(|| state.browser.filter.trim()).filter(|f| !f.is_empty());
    let asked = look::Asked { selection: &state.selection, trace: state.canvas.trace, filter };
    let key = LookKey::new(&laid.layout, open, asked);
    if state.canvas.look.as_ref().is_none_or(|(old, _)| *old != key) {
        let look = Look::new(open, &laid.shown, &laid.layout, asked);
        state.canvas.look = Some((key, Arc::new(look)));
    }
    state.canvas.look.as_ref().map(|(_, l)| l.clone()).unwrap_or_default()
}

/// A picture that is finished goes where the user says.
fn take_picture(ctx: &Ctx<'_>, state: &mut CanvasState) {
    let Some(job) = &mut state.picture else { return };
    match job.poll() {
        Some(Ok(picture)) => ctx.send(picture.into_command()),
        Some(Err(e)) => ctx.send(super::Command::Say(e)),
        None if job.is_lost() => ctx.send(super::Command::Say("Drawing the picture ended by a bug.".to_owned())),
        None => return,
    }
    state.picture = None;
}

impl CanvasState {
    /// A layout or picture is still being made, or something moves.
    pub fn is_busy(&self) -> bool {
        self.job.is_some() || self.goal.is_some() || self.motion.is_some() || self.picture.is_some()
    }

    /// Moves the view by a distance on the screen, as dragging does.
    pub fn pan(&mut self, by: egui::Vec2) {
        if let Some(camera) = &mut self.camera {
            camera.pan(by);
        }
    }

    /// Sets the zoom, as the wheel does.
    pub fn set_zoom(&mut self, zoom: f32) {
        if let Some(camera) = &mut self.camera {
            camera.zoom = zoom.clamp(*camera::ZOOM_RANGE.start(), *camera::ZOOM_RANGE.end());
        }
    }

    /// Opens every scope.
    pub fn unfold_all(&mut self, open: &Open) {
        self.view.open = (0..open.index.scopes.all.len()).collect();
    }

    /// The number of cards and boxes in the layout, and of wires.
    pub fn size(&self) -> (usize, usize) {
        self.laid.as_ref().map_or((0, 0), |l| (l.layout.placed.len(), l.layout.wires.len()))
    }
}

/// What the empty graph panel and the tool bar share.
fn busy_label(ui: &mut Ui, words: &str) {
    ui.spinner();
    widgets::caption(ui, words);
}
