//! The two small controls on the picture: + and − on boxes, and the switch on a dropout card.

use egui::{Align2, CornerRadius, FontId, Painter, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};

use crate::session::{Change, SitePolicy};
use crate::ui::UiState;
use crate::ui::ctx::{Ctx, Open};
use crate::ui::theme::icons;

use super::act::toggle;
use super::draw::{CARD_ZOOM, Scene, Visible};
use super::layout::Item;
use super::shown::Fate;

/// Below this zoom they would be too small to hit.
const LEAST_ZOOM: f32 = 0.55;

impl Scene<'_> {
    /// Where the + or − of a box is; for open boxes also far away, as long as they have room for a title.
    pub(super) fn fold_mark(&self, i: usize) -> Option<Rect> {
        let p = &self.layout.placed[i];
        let is_box = matches!(p.item, Item::Scope(_)) && (p.is_open || self.camera.zoom >= LEAST_ZOOM);
        let r = self.screen(i);
        let side = (16.0 * self.camera.zoom).clamp(13.0, 22.0);
        if !is_box || self.camera.zoom < CARD_ZOOM || r.width() < 5.0 * side || r.height() < 1.5 * side {
            return None;
        }
        let pad = (5.0 * self.camera.zoom).max(2.0);
        // A box that reaches beyond the view keeps its mark in sight.
        let right = (r.right() - pad).min(self.rect.right() - 4.0);
        let mark = Rect::from_min_size(pos2(right - side, r.top() + pad), vec2(side, side));
        (right - side > r.left() + 4.0 * side && self.rect.contains_rect(mark)).then_some(mark)
    }

    /// Where the switch of a dropout card is.
    pub(super) fn site_switch(&self, i: usize) -> Option<Rect> {
        let is_site = matches!(self.layout.placed[i].item, Item::Site(s) if !self.shown.is_removed_site(s));
        if !is_site || self.camera.zoom < LEAST_ZOOM || self.layout.placed[i].is_open {
            return None;
        }
        let z = self.camera.zoom;
        let r = self.screen(i);
        let size = vec2(24.0, 13.0) * z;
        Some(Rect::from_min_size(r.right_bottom() - size - vec2(7.0, 6.0) * z, size))
    }

    pub(super) fn paint_fold_mark(&self, painter: &Painter, i: usize) {
        let Some(r) = self.fold_mark(i) else { return };
        let icon = if self.layout.placed[i].is_open { icons::MINUS } else { icons::PLUS };
        let font = FontId::proportional(self.font(13.0).clamp(11.0, 18.0));
        painter.text(r.center(), Align2::CENTER_CENTER, icon, font, self.tokens.text_secondary);
    }

    pub(super) fn paint_switch(&self, painter: &Painter, i: usize) {
        let Some(r) = self.site_switch(i) else { return };
        let t = self.tokens;
        let is_on = !self.styles.is_off[i];
        let round = CornerRadius::same((r.height() / 2.0).round() as u8);
        let (fill, line) = if is_on { (t.trainable, t.trainable) } else { (t.window, t.stroke_strong) };
        painter.rect(r, round, fill, Stroke::new(1.0, line), StrokeKind::Inside);
        let knob = r.height() / 2.0 - 2.0;
        let x = if is_on { r.right() - r.height() / 2.0 } else { r.left() + r.height() / 2.0 };
        painter.circle_filled(pos2(x, r.center().y), knob, if is_on { t.on_accent } else { t.frozen });
    }
}

/// Takes clicks on the controls. They are reached by the canvas' own keys, so Tab does not stop at each of them.
pub(super) fn ui(ui: &Ui, ctx: &Ctx<'_>, open: &Open, scene: &Scene<'_>, visible: &Visible, state: &mut UiState) {
    for &i in &visible.placed {
        let i = i as usize;
        let item = scene.layout.placed[i].item;
        match item {
            Item::Scope(s) => {
                let Some(r) = scene.fold_mark(i) else { continue };
                let verb = if scene.layout.placed[i].is_open { "Fold" } else { "Unfold" };
                let response = ui.interact(r, ui.scope_id().with(("fold", item)), Sense::CLICK | Sense::HOVER);
                let name = format!("{verb} {}", scene.shown.index.scopes.all[s].name);
                response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
                if response.on_hover_text(verb).clicked() {
                    toggle(item, &mut state.canvas);
                }
            }
            Item::Site(s) => {
                let Some(r) = scene.site_switch(i) else { continue };
                if scene.styles.fate[i] == Fate::Removed {
                    continue;
                }
                let response = ui.interact(r, ui.scope_id().with(("switch", item)), Sense::CLICK | Sense::HOVER);
                let output = &scene.shown.overview.dropout[s].output;
                let is_on = !scene.styles.is_off[i];
                let name = format!("Switch of dropout {output}");
                response.widget_info(|| WidgetInfo::selected(Role::CheckBox, true, is_on, &name));
                let words =
                    if is_on { "Active in training; click to switch it off" } else { "Off; click to switch it on" };
                if response.on_hover_text(words).clicked() {
                    flip(ctx, open, output);
                }
            }
            Item::Node(_) => {}
        }
    }
}

/// Switches a dropout site on or off in training.
pub(super) fn flip(ctx: &Ctx<'_>, open: &Open, output: &str) {
    let is_off = open.recipe().dropout.policy(output) == SitePolicy::Off;
    let policy = Some(if is_off { SitePolicy::Train } else { SitePolicy::Off });
    ctx.change(Change::SetSiteDropout { output: output.to_owned(), policy });
}
