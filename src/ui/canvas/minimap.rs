//! The whole graph in a corner, with a frame around what is visible; a click or drag there goes there.

use egui::{Mesh, Pos2, Rect, Sense, Shape, Stroke, StrokeKind, Ui, WidgetInfo, vec2};

use crate::ui::theme::tokens;

use super::CanvasState;
use super::draw::Scene;

/// Of more things only the first are drawn: parents come first, so the coarse picture stays.
const MAX_DRAWN: usize = 4000;
const MAX_SIZE: [f32; 2] = [130.0, 150.0];

/// Drawn only where not all of the graph is in sight, and where there is room for it.
pub(super) fn ui(ui: &Ui, scene: &Scene<'_>, canvas: &mut CanvasState) {
    let layout = scene.layout;
    let whole = Rect::from_min_size(scene.point([0.0; 2]), vec2(layout.size[0], layout.size[1]) * scene.camera.zoom);
    if scene.rect.contains_rect(whole) || scene.rect.width() < 420.0 || scene.rect.height() < 300.0 {
        return;
    }
    let scale = (MAX_SIZE[0] / layout.size[0].max(1.0)).min(MAX_SIZE[1] / layout.size[1].max(1.0));
    let size = (vec2(layout.size[0], layout.size[1]) * scale).max(vec2(16.0, 16.0));
    let map = Rect::from_min_size(scene.rect.right_bottom() - size - vec2(16.0, 16.0), size);
    let response = ui.interact(map.expand(4.0), ui.scope_id().with("map"), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Image, true, "Map of the graph"));
    if let Some(p) = response.interact_pointer_pos().filter(|_| response.dragged() || response.clicked())
        && let Some(camera) = &mut canvas.camera
    {
        let at = (p - map.min) / scale;
        camera.center = [at.x.clamp(0.0, layout.size[0]), at.y.clamp(0.0, layout.size[1])];
        canvas.goal = None;
        ui.ctx().request_repaint();
    }
    paint(ui, scene, map, scale);
}

fn paint(ui: &Ui, scene: &Scene<'_>, map: Rect, scale: f32) {
    let t = scene.tokens;
    let painter = ui.painter_at(scene.rect);
    let ground = tokens::faded(t.panel, 0.92);
    painter.rect(map.expand(4.0), 4.0, ground, Stroke::new(1.0, t.stroke_subtle), StrokeKind::Outside);
    let mut mesh = Mesh::default();
    for (i, p) in scene.layout.placed.iter().enumerate().take(MAX_DRAWN) {
        let min = map.min + vec2(p.min[0], p.min[1]) * scale;
        let r = Rect::from_min_size(min, (vec2(p.size[0], p.size[1]) * scale).max(vec2(1.0, 1.0)));
        let color = if p.is_open { t.raised } else { tokens::mix(t.raised, scene.styles.color[i], 0.6) };
        mesh.add_colored_rect(r, if scene.look.on_way.contains(&i) && !p.is_open { t.accent } else { color });
    }
    painter.add(Shape::mesh(mesh));
    let to_map = |p: Pos2| {
        let w = scene.camera.to_world(scene.rect.center(), p);
        map.min + vec2(w[0], w[1]) * scale
    };
    let shown = Rect::from_two_pos(to_map(scene.rect.min), to_map(scene.rect.max)).intersect(map);
    if shown.is_positive() {
        painter.rect_stroke(shown, 1.0, Stroke::new(1.25, t.accent), StrokeKind::Inside);
    }
}
