//! Cards: closed scopes, nodes with their constants as chips, dropout sites as ghosts.

use egui::{Align2, Color32, CornerRadius, FontId, Painter, Rect, Shape, Stroke, StrokeKind, pos2, vec2};

use crate::ui::theme::{self, icons, tokens};
use crate::ui::{text, widgets};

use super::draw::{SMALLEST_TEXT, Scene};
use super::fold::{CHIP_HEIGHT, MAX_CHIPS};
use super::layout::{Item, Placed};
use super::shown::Fate;
use super::style::Mark;

/// Below these zooms the second line and the words of chips would be too small to read.
const SECOND_LINE_ZOOM: f32 = 0.62;
const CHIP_ZOOM: f32 = 0.66;

impl Scene<'_> {
    pub(super) fn card(&self, painter: &Painter, i: usize) {
        let mut painter = painter.clone();
        painter.multiply_opacity(self.opacity(i));
        let painter = &painter;
        let (t, z) = (self.tokens, self.camera.zoom);
        let p = &self.layout.placed[i];
        let r = self.screen(i);
        let outline = self.outline(i);
        let is_selected = self.look.focus == Some(i) || self.look.selected.contains(&i);
        let is_ghost = matches!(p.item, Item::Site(_)) || self.styles.fate[i] == Fate::Removed;
        let fill = match (is_selected, self.hovered == Some(i)) {
            (true, _) => t.selection(),
            (false, true) => t.hover(),
            _ if is_ghost => tokens::mix(t.window, t.raised, 0.5),
            _ => t.raised,
        };
        let corner = CornerRadius::same((6.0 * z).round() as u8);
        painter.rect(r, corner, fill, outline.unwrap_or(Stroke::new(1.0, t.stroke_strong)), StrokeKind::Inside);
        let mut stripe = r.shrink2(vec2(1.0, 5.0 * z));
        stripe.set_width((3.0 * z).max(1.5));
        painter.rect_filled(stripe, 1.0, self.styles.color[i]);
        let is_hatched = self.styles.fate[i] == Fate::Removed || self.styles.is_off[i];
        if is_hatched || is_ghost {
            let clip = r.shrink(2.0).intersect(self.rect);
            if clip.is_positive() {
                let color = if is_hatched { tokens::faded(t.bypassed, 0.45) } else { t.stroke_subtle };
                hatch(&painter.with_clip_rect(clip), r, color);
            }
        }
        self.words(painter, i, p, r);
    }

    fn words(&self, painter: &Painter, i: usize, p: &Placed, r: Rect) {
        let (t, z) = (self.tokens, self.camera.zoom);
        let clip_rect = r.shrink(3.0 * z).intersect(self.rect);
        if !clip_rect.is_positive() {
            return;
        }
        let clip = painter.with_clip_rect(clip_rect);
        let (title, below) = self.title(p.item);
        let has_second = z >= SECOND_LINE_ZOOM;
        let left = r.left() + 11.0 * z.max(0.55);
        // A corner mark needs its own room.
        let n_marks = u8::from(self.styles.mark[i] != Mark::None) + u8::from(self.fold_mark(i).is_some());
        let right = r.right() - (6.0 + 16.0 * f32::from(n_marks)) * z;
        let line = |words: &str, size: f32, y: f32, color: Color32| {
            let size = self.font(size).max(SMALLEST_TEXT + 0.5);
            let lay =
                |max: usize| clip.layout_no_wrap(text::elide_middle(words, max), FontId::proportional(size), color);
            // Most words are as wide as this; those with wide letters are laid out again.
            let max = (right - left) / (size * 0.55);
            let mut galley = lay(max as usize);
            if galley.size().x > right - left {
                galley = lay((max * (right - left) / galley.size().x) as usize);
            }
            let at = Align2::LEFT_CENTER.anchor_size(pos2(left, y), galley.size());
            clip.galley(at.min, galley, color);
        };
        let is_short = r.height() < 30.0 * z + 10.0 || !has_second;
        let title_y = if is_short && p.chips.is_empty() && !has_second { r.center().y } else { r.top() + 14.0 * z };
        let color = if self.styles.fate[i] == Fate::Removed { t.text_secondary } else { t.text };
        line(&title, 13.0, title_y, color);
        if has_second {
            line(&below, 11.0, r.top() + 30.0 * z, t.text_secondary);
        }
        match p.item {
            Item::Scope(s) => {
                self.share(painter, r, s);
                self.paint_fold_mark(&clip, i);
            }
            Item::Node(_) => self.chips(&clip, p, r),
            Item::Site(_) => {
                if self.styles.is_off[i] {
                    let half = vec2(8.0 * z, 0.0);
                    clip.line_segment([r.left_center() + half, r.right_center() - half], Stroke::new(1.5, t.bypassed));
                }
                let at = r.right_top() + vec2(-6.0, 6.0) * z;
                clip.text(at, Align2::RIGHT_TOP, icons::DROP, FontId::proportional(self.font(14.0)), t.text_secondary);
                self.paint_switch(&clip, i);
            }
        }
        self.corner(&clip, r, i);
        self.edited(&clip, r, i);
    }

    /// The trainable share of a closed scope, at its bottom.
    fn share(&self, painter: &Painter, r: Rect, scope: usize) {
        let t = self.tokens;
        let totals = self.shown.index.scopes.all[scope].totals;
        if totals.parameters == 0 {
            return;
        }
        let z = self.camera.zoom;
        let mut bar = Rect::from_min_max(
            pos2(r.left() + 12.0 * z, r.bottom() - 9.0 * z),
            pos2(r.right() - 10.0 * z, r.bottom() - 6.0 * z),
        );
        painter.rect_filled(bar, 1.0, tokens::mix(t.raised, t.text, 0.12));
        bar.set_width(bar.width() * (totals.trainable_parameters as f32 / totals.parameters as f32));
        painter.rect_filled(bar, 1.0, t.trainable);
    }

    fn chips(&self, clip: &Painter, p: &Placed, r: Rect) {
        let (t, z) = (self.tokens, self.camera.zoom);
        let mut y = r.top() + 44.0 * z;
        for &c in p.chips.iter().take(MAX_CHIPS) {
            let row = &self.shown.overview.constants[c];
            let size = vec2(r.width() - 20.0 * z, (CHIP_HEIGHT - 2.0) * z);
            let chip = Rect::from_min_size(pos2(r.left() + 10.0 * z, y), size);
            let is_selected = self.look.chips.contains(&c);
            let fill = if is_selected { t.selection() } else { tokens::mix(t.raised, t.text, 0.06) };
            clip.rect_filled(chip, 3.0, fill);
            if is_selected {
                clip.rect_stroke(chip, 3.0, Stroke::new(1.5, t.accent), StrokeKind::Inside);
            }
            widgets::paint_dot(clip, chip.left_center() + vec2(8.0 * z, 0.0), 3.5 * z, row.trainable, t);
            if z >= CHIP_ZOOM {
                let words = format!("{} {}", role_letter(&row.role), text::shape(row.shape.as_deref()));
                let at = chip.left_center() + vec2(16.0 * z, 0.0);
                clip.text(at, Align2::LEFT_CENTER, words, theme::mono(self.font(10.5)), t.text_secondary);
            }
            y += CHIP_HEIGHT * z;
        }
        if p.chips.len() > MAX_CHIPS && z >= CHIP_ZOOM {
            let words = format!("and {} more", p.chips.len() - MAX_CHIPS);
            let at = pos2(r.left() + 12.0 * z, y + 8.0 * z);
            clip.text(at, Align2::LEFT_CENTER, words, FontId::proportional(self.font(10.5)), t.text_secondary);
        }
    }

    /// A mark for an op that cannot run, or a gradient that stops here.
    fn corner(&self, clip: &Painter, r: Rect, i: usize) {
        let t = self.tokens;
        let (mark, color) = match self.styles.mark[i] {
            Mark::None => return,
            Mark::Unsupported => (icons::ERROR, t.error),
            Mark::Blocker | Mark::Blocked => (icons::PROHIBIT, t.blocked),
            Mark::Zero => ("0", t.zero),
        };
        // Beside the sign that folds, where there is one.
        let aside = self.fold_mark(i).map_or(0.0, |m| r.right() - m.left() - 3.0 * self.camera.zoom);
        let at = r.right_top() + vec2(-7.0, 7.0) * self.camera.zoom - vec2(aside, 0.0);
        let size = self.font(12.0).max(SMALLEST_TEXT + 1.0);
        clip.text(at, Align2::RIGHT_TOP, mark, FontId::proportional(size), color);
    }

    /// A diamond where edits changed what a node reads, or something inside a box.
    fn edited(&self, clip: &Painter, r: Rect, i: usize) {
        let is_whole = matches!(self.styles.fate[i], Fate::Added | Fate::Removed);
        if self.styles.changed[i] == 0 || is_whole {
            return;
        }
        let s = (4.5 * self.camera.zoom).max(3.0);
        let c = r.right_bottom() - vec2(9.0, 9.0) * self.camera.zoom.max(0.6);
        let corners = vec![c + vec2(0.0, -s), c + vec2(s, 0.0), c + vec2(0.0, s), c + vec2(-s, 0.0)];
        clip.add(Shape::convex_polygon(corners, self.tokens.grafted, Stroke::NONE));
    }
}

/// One letter for the role of a constant.
fn role_letter(role: &str) -> &'static str {
    match role {
        "matmul-weight" | "conv-filter" => "W",
        "embedding" => "E",
        "bias" | "norm-shift" => "b",
        "norm-scale" => "γ",
        _ => "c",
    }
}

/// Diagonal lines: something that the file has and training leaves out.
fn hatch(painter: &Painter, r: Rect, color: Color32) {
    let mut x = r.left() - r.height();
    while x < r.right() {
        painter.line_segment([pos2(x, r.bottom()), pos2(x + r.height(), r.top())], Stroke::new(1.0, color));
        x += 8.0;
    }
}
