//! The graph as a picture: pan, zoom, fold, select. The layout is made in a job; drawing touches only what is visible.

mod color;
mod draw;
pub mod fold;
pub mod layered;
mod minimap;

use std::sync::Arc;

use egui::{Pos2, Rect, Sense, Ui, Vec2, pos2, vec2};

use super::background::Background;
use super::ctx::{Ctx, Open};
use super::selection::{How, Target};
use super::theme::{self, icons};
use super::{Command, UiState, widgets};
use fold::{Item, Layout, View};

pub use color::ColorMode;

const ZOOM_RANGE: std::ops::RangeInclusive<f32> = 0.02..=2.5;

#[derive(Debug, Default)]
pub struct CanvasState {
    /// What is unfolded; chosen by itself for a new model.
    view: Option<(usize, View)>,
    layout: Option<(LayoutKey, Arc<Layout>)>,
    job: Option<(LayoutKey, Background<Option<Layout>>)>,
    /// Screen = (world - center) × zoom + middle of the canvas.
    camera: Option<Camera>,
    goal: Option<Goal>,
    pub color_mode: ColorMode,
    pub wants: Wants,
    seen_revision: u64,
}

type LayoutKey = (usize, View);

#[derive(Clone, Copy, Debug)]
struct Camera {
    center: [f32; 2],
    zoom: f32,
}

/// Where the camera is going.
#[derive(Clone, Copy, Debug)]
struct Goal {
    from: Camera,
    to: Camera,
    started: f64,
}

/// What a command asked of the canvas; done as soon as a layout is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wants {
    #[default]
    Nothing,
    Fit,
    ZoomToSelection,
}

impl Camera {
    fn to_screen(self, middle: Pos2, p: [f32; 2]) -> Pos2 {
        pos2((p[0] - self.center[0]) * self.zoom + middle.x, (p[1] - self.center[1]) * self.zoom + middle.y)
    }

    fn to_world(self, middle: Pos2, p: Pos2) -> [f32; 2] {
        [(p.x - middle.x) / self.zoom + self.center[0], (p.y - middle.y) / self.zoom + self.center[1]]
    }

    /// Shows a world rectangle with a margin.
    fn fitting(min: [f32; 2], size: [f32; 2], canvas: Vec2, max_zoom: f32) -> Self {
        let zoom = (canvas.x / (size[0] + 80.0)).min(canvas.y / (size[1] + 80.0)).min(max_zoom);
        Self {
            center: [min[0] + size[0] / 2.0, min[1] + size[1] / 2.0],
            zoom: zoom.clamp(*ZOOM_RANGE.start(), *ZOOM_RANGE.end()),
        }
    }
}

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    toolbar_ui(ui, ctx, open, state);
    let (rect, response) = ui.allocate_exact_size(ui.available_size().max(vec2(40.0, 40.0)), Sense::click_and_drag());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Canvas, true, "Graph canvas"));
    prepare(ui, open, &mut state.canvas);
    ui.painter().rect_filled(rect, 0.0, ctx.tokens.window);
    let Some((_, layout)) = state.canvas.layout.clone() else {
        ui.put(Rect::from_center_size(rect.center(), vec2(160.0, 40.0)), |ui: &mut Ui| {
            ui.horizontal(|ui| {
                ui.spinner();
                ui.label("Laying out the graph");
            })
            .response
        });
        return;
    };
    move_camera(ui, rect, &response, ctx, open, &layout, state);
    let Some(camera) = state.canvas.camera else { return };
    let scene = draw::Scene { ctx, open, layout: &layout, camera, rect, state };
    let hit = scene.draw(ui, &response);
    if let Some(i) = hit {
        clicked(ui, ctx, open, &layout, i, &response, state);
    } else if response.clicked() {
        state.selection.clear();
    }
    if state.canvas.layout.as_ref().is_some_and(|(k, _)| state.canvas.view.as_ref() != Some(k)) {
        ui.painter().text(
            rect.left_bottom() + vec2(12.0, -12.0),
            egui::Align2::LEFT_BOTTOM,
            "Laying out…",
            egui::FontId::proportional(theme::CAPTION),
            ctx.tokens.text_secondary,
        );
    }
}

/// Starts a layout where what is shown has changed, and takes a finished one.
fn prepare(ui: &Ui, open: &Open, state: &mut CanvasState) {
    let model = Arc::as_ptr(&open.index) as usize;
    if state.view.as_ref().is_none_or(|(m, _)| *m != model) {
        // A refreshed overview of the same model keeps what is unfolded, since scopes keep their order.
        let same_shape = state.layout.as_ref().is_some_and(|(_, l)| l.shown_by.len() == open.overview.nodes.len());
        let view = match state.view.take() {
            Some((_, view)) if same_shape => view,
            _ => {
                state.camera = None;
                fold::default_view(&open.overview, &open.index)
            }
        };
        state.view = Some((model, view));
    }
    let Some(key) = state.view.clone() else { return };
    if let Some((job_key, job)) = &mut state.job
        && let Some(result) = job.poll()
    {
        if let Some(layout) = result {
            state.layout = Some((job_key.clone(), Arc::new(layout)));
        }
        state.job = None;
    }
    let is_wanted = state.layout.as_ref().is_none_or(|(k, _)| *k != key);
    let is_running = state.job.as_ref().is_some_and(|(k, _)| *k == key);
    if is_wanted && !is_running {
        let (overview, index, view) = (open.overview.clone(), open.index.clone(), key.1.clone());
        let ctx = ui.ctx().clone();
        let job = Background::spawn(
            "layout",
            move || ctx.request_repaint(),
            move |cancel| fold::layout(&overview, &index, &view, cancel),
        );
        state.job = Some((key, job));
    }
}

fn move_camera(
    ui: &Ui,
    rect: Rect,
    response: &egui::Response,
    ctx: &Ctx<'_>,
    open: &Open,
    layout: &Layout,
    state: &mut UiState,
) {
    let now = ui.input(|i| i.time);
    let canvas = &mut state.canvas;
    if canvas.camera.is_none() {
        // The first look: as much as is readable, from the top.
        let mut camera = Camera::fitting([0.0; 2], layout.size, rect.size(), 1.0);
        if camera.zoom < 0.75 {
            camera.zoom = (rect.width() / (layout.size[0] + 80.0)).clamp(0.6, 1.0);
            camera.center[1] = rect.height() / 2.0 / camera.zoom - 24.0;
        }
        canvas.camera = Some(camera);
    }
    let Some(mut camera) = canvas.camera else { return };
    let focus_moved = canvas.seen_revision != state.selection.revision();
    canvas.seen_revision = state.selection.revision();
    let goal = match std::mem::take(&mut canvas.wants) {
        Wants::Fit => Some(Camera::fitting([0.0; 2], layout.size, rect.size(), 1.0)),
        Wants::ZoomToSelection => focus_rect(open, layout, state.selection.focus())
            .map(|(min, size)| Camera::fitting(min, size, rect.size(), 1.0)),
        Wants::Nothing if focus_moved => focus_rect(open, layout, state.selection.focus()).and_then(|(min, size)| {
            let shown = Rect::from_min_size(camera.to_screen(rect.center(), min), vec2(size[0], size[1]) * camera.zoom);
            let center = [min[0] + size[0] / 2.0, min[1] + size[1] / 2.0];
            (!rect.shrink(24.0).intersects(shown)).then_some(Camera { center, zoom: camera.zoom })
        }),
        Wants::Nothing => None,
    };
    if let Some(to) = goal {
        canvas.goal = Some(Goal { from: camera, to, started: now });
    }
    if let Some(goal) = canvas.goal {
        let t = if ctx.settings.has_motion { ((now - goal.started) / 0.16).clamp(0.0, 1.0) as f32 } else { 1.0 };
        let ease = 1.0 - (1.0 - t).powi(3);
        let mix = |a: f32, b: f32| a + (b - a) * ease;
        camera = Camera {
            center: [mix(goal.from.center[0], goal.to.center[0]), mix(goal.from.center[1], goal.to.center[1])],
            zoom: mix(goal.from.zoom, goal.to.zoom),
        };
        if t >= 1.0 {
            canvas.goal = None;
        }
        ui.ctx().request_repaint();
    }
    if response.dragged() {
        let d = response.drag_delta();
        camera.center = [camera.center[0] - d.x / camera.zoom, camera.center[1] - d.y / camera.zoom];
        canvas.goal = None;
    }
    if let Some(pointer) = response.hover_pos().filter(|_| response.contains_pointer()) {
        let (scroll, pinch) = ui.input(|i| (i.smooth_scroll_delta(), i.zoom_delta()));
        let factor = pinch * (scroll.y * 0.003).exp();
        if (factor - 1.0).abs() > 1e-4 {
            let fixed = camera.to_world(rect.center(), pointer);
            camera.zoom = (camera.zoom * factor).clamp(*ZOOM_RANGE.start(), *ZOOM_RANGE.end());
            let moved = camera.to_world(rect.center(), pointer);
            camera.center = [camera.center[0] + fixed[0] - moved[0], camera.center[1] + fixed[1] - moved[1]];
            canvas.goal = None;
        }
    }
    canvas.camera = Some(camera);
}

/// The rectangle of what shows a target.
fn focus_rect(open: &Open, layout: &Layout, focus: Option<&Target>) -> Option<([f32; 2], [f32; 2])> {
    let i = placed_of(open, layout, focus?)?;
    Some((layout.placed[i].min, layout.placed[i].size))
}

/// The placed thing that shows a target.
fn placed_of(open: &Open, layout: &Layout, target: &Target) -> Option<usize> {
    match target {
        Target::Node(n) => layout.shown_by.get(open.index.node_of_value(n)?).copied().flatten(),
        Target::Site(s) => {
            let site = open.overview.dropout.iter().position(|d| d.output == *s)?;
            layout
                .placed
                .iter()
                .position(|p| p.item == Item::Site(site))
                .or_else(|| layout.shown_by.get(open.index.node_of_value(s)?).copied().flatten())
        }
        Target::Scope(s) => {
            let scope = open.index.scopes.named(s)?;
            layout.placed.iter().position(|p| p.item == Item::Scope(scope))
        }
    }
}

fn clicked(
    ui: &Ui,
    ctx: &Ctx<'_>,
    open: &Open,
    layout: &Layout,
    i: usize,
    response: &egui::Response,
    state: &mut UiState,
) {
    let target = match layout.placed[i].item {
        Item::Node(n) => Target::Node(open.overview.nodes[n].name.clone()),
        Item::Site(s) => Target::Site(open.overview.dropout[s].output.clone()),
        Item::Scope(s) => Target::Scope(open.index.scopes.all[s].name.clone()),
    };
    if response.double_clicked() {
        toggle(layout.placed[i].item, state);
    } else if response.clicked() {
        let how = if ui.input(|i| i.modifiers.command) { How::Toggle } else { How::Replace };
        ctx.send(Command::Select(target, how));
    }
}

/// Opens or closes a scope or a dropout site.
fn toggle(item: Item, state: &mut UiState) {
    let Some((_, view)) = &mut state.canvas.view else { return };
    let (set, key) = match item {
        Item::Scope(s) => (&mut view.open, s),
        Item::Site(s) => (&mut view.expanded_sites, s),
        Item::Node(_) => return,
    };
    if !set.remove(&key) {
        set.insert(key);
    }
}

fn toolbar_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    ui.horizontal(|ui| {
        let can_back = state.selection.can_go_back();
        let can_forward = state.selection.can_go_forward();
        if widgets::icon_button_enabled(ui, can_back, icons::BACK, "Back").clicked() {
            ctx.act(super::Action::SelectBack);
        }
        if widgets::icon_button_enabled(ui, can_forward, icons::FORWARD, "Forward").clicked() {
            ctx.act(super::Action::SelectForward);
        }
        if widgets::icon_button(ui, icons::FIT, "Fit the graph").clicked() {
            state.canvas.wants = Wants::Fit;
        }
        if widgets::icon_button(ui, icons::FOCUS, "Zoom to the selection").clicked() {
            state.canvas.wants = Wants::ZoomToSelection;
        }
        if widgets::icon_button(ui, icons::PLUS, "Unfold one level").clicked() {
            unfold(open, state);
        }
        if widgets::icon_button(ui, icons::MINUS, "Fold all").clicked()
            && let Some((_, view)) = &mut state.canvas.view
        {
            view.open = std::collections::BTreeSet::from([0]);
            view.expanded_sites.clear();
            state.canvas.wants = Wants::Fit;
        }
        ui.separator();
        color::color_mode_ui(ui, ctx, &mut state.canvas.color_mode);
    });
}

/// Opens every closed scope that is shown.
fn unfold(open: &Open, state: &mut UiState) {
    let Some((_, view)) = &mut state.canvas.view else { return };
    let scopes = &open.index.scopes;
    let closed: Vec<usize> = (1..scopes.all.len())
        .filter(|s| !view.open.contains(s) && scopes.all[*s].parent.is_some_and(|p| p == 0 || view.open.contains(&p)))
        .collect();
    view.open.extend(closed);
}

impl CanvasState {
    /// A layout is still being made.
    pub fn is_busy(&self) -> bool {
        self.job.is_some() || self.goal.is_some()
    }
}
