//! Shapes as SVG: what is drawn in the window, for papers and slides. Curves stay curves and text stays text.

use std::fmt::Write as _;

use egui::emath::TSTransform;
use egui::epaint::{ClippedShape, ColorMode, PathStroke, RectShape, Shape, TextShape};
use egui::{Color32, FontFamily, Pos2, Rect, Stroke, StrokeKind, Vec2};

/// Fonts that readers of the picture may have instead of ours.
const SANS: &str = "Inter, Helvetica, Arial, sans-serif";
const MONO: &str = "'JetBrains Mono', Menlo, Consolas, monospace";

/// An SVG document of a size in points, on a ground of one colour. Meshes are drawn as their triangles; what only a
/// graphics card can draw is left out.
pub fn svg(shapes: &[ClippedShape], size: Vec2, ground: Color32) -> String {
    let mut w = Writer::default();
    let _ = writeln!(
        w.out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}">"#,
        w = number(size.x),
        h = number(size.y)
    );
    let all = Rect::from_min_size(Pos2::ZERO, size);
    let _ = writeln!(w.out, r#"<rect width="100%" height="100%" fill="{}"/>"#, paint(ground).0);
    for s in shapes {
        w.clipped(s, all);
    }
    w.end_clip();
    w.out.push_str("</svg>\n");
    w.out
}

#[derive(Default)]
struct Writer {
    out: String,
    /// The clip rectangle of the group that is open.
    clip: Option<Rect>,
    n_clips: usize,
}

impl Writer {
    fn clipped(&mut self, s: &ClippedShape, all: Rect) {
        if s.transform_after_tessellation != TSTransform::IDENTITY {
            let mut shape = s.shape.clone();
            shape.transform(s.transform_after_tessellation);
            return self.clipped(&ClippedShape::new(s.clip_rect, shape), all);
        }
        let bounds = s.shape.visual_bounding_rect();
        if !bounds.intersects(s.clip_rect) || !bounds.intersects(all) {
            return;
        }
        // Clip only what would stick out.
        let clip = (!s.clip_rect.contains_rect(bounds)).then_some(s.clip_rect);
        if clip != self.clip {
            self.end_clip();
            if let Some(r) = clip {
                self.n_clips += 1;
                let n = self.n_clips;
                let _ =
                    writeln!(self.out, r#"<clipPath id="c{n}"><rect {}/></clipPath><g clip-path="url(#c{n})">"#, at(r));
            }
            self.clip = clip;
        }
        self.shape(&s.shape);
    }

    fn end_clip(&mut self) {
        if self.clip.take().is_some() {
            self.out.push_str("</g>\n");
        }
    }

    fn shape(&mut self, shape: &Shape) {
        match shape {
            Shape::Noop | Shape::Callback(_) => {}
            Shape::Vec(all) => all.iter().for_each(|s| self.shape(s)),
            Shape::Circle(c) => {
                let style = style(c.fill, c.stroke);
                let (x, y, r) = (number(c.center.x), number(c.center.y), number(c.radius));
                let _ = writeln!(self.out, r#"<circle cx="{x}" cy="{y}" r="{r}" {style}/>"#);
            }
            Shape::Ellipse(e) => {
                let style = style(e.fill, e.stroke);
                let (x, y) = (number(e.center.x), number(e.center.y));
                let (rx, ry) = (number(e.radius.x), number(e.radius.y));
                let _ = writeln!(self.out, r#"<ellipse cx="{x}" cy="{y}" rx="{rx}" ry="{ry}" {style}/>"#);
            }
            Shape::LineSegment { points, stroke } => {
                self.path(&points_of(points, false), Color32::TRANSPARENT, *stroke);
            }
            Shape::Path(p) => self.path(&points_of(&p.points, p.closed), p.fill, solid(&p.stroke)),
            Shape::Band(b) => {
                let upper = b.points.iter().map(|p| Pos2::new(p.x, p.y.min));
                let lower = b.points.iter().rev().map(|p| Pos2::new(p.x, p.y.max));
                let outline: Vec<Pos2> = upper.chain(lower).collect();
                self.path(&points_of(&outline, true), b.fill, b.stroke);
            }
            Shape::Rect(r) => self.rect(r),
            Shape::Text(t) => self.text(t),
            Shape::Mesh(m) => {
                for t in m.triangles() {
                    let corners: Vec<_> = t.iter().filter_map(|&i| m.vertices.get(i as usize)).collect();
                    if let [a, b, c] = corners[..] {
                        self.path(&points_of(&[a.pos, b.pos, c.pos], true), a.color, Stroke::NONE);
                    }
                }
            }
            Shape::QuadraticBezier(b) => {
                let [p, q, r] = b.points.map(point);
                self.path(&format!("M{p}Q{q} {r}"), b.fill, solid(&b.stroke));
            }
            Shape::CubicBezier(b) => {
                let [p, q, r, s] = b.points.map(point);
                self.path(&format!("M{p}C{q} {r} {s}"), b.fill, solid(&b.stroke));
            }
        }
    }

    fn path(&mut self, d: &str, fill: Color32, stroke: Stroke) {
        if fill != Color32::TRANSPARENT || !stroke.is_empty() {
            let _ = writeln!(self.out, r#"<path d="{d}" {}/>"#, style(fill, stroke));
        }
    }

    fn rect(&mut self, r: &RectShape) {
        if r.fill == Color32::TRANSPARENT && r.stroke.is_empty() {
            return;
        }
        // SVG strokes straddle the edge.
        let grow = match r.stroke_kind {
            StrokeKind::Inside => -r.stroke.width / 2.0,
            StrokeKind::Middle => 0.0,
            StrokeKind::Outside => r.stroke.width / 2.0,
        };
        let rounding = f32::from(r.corner_radius.nw);
        let round = if rounding > 0.0 { format!(r#" rx="{}""#, number(rounding)) } else { String::new() };
        let grow = if r.stroke.is_empty() { 0.0 } else { grow };
        let _ = writeln!(self.out, "<rect {}{round} {}/>", at(r.rect.expand(grow)), style(r.fill, r.stroke));
    }

    /// One `text` element per row and format. Glyphs follow the job's text; where a row was cut, its last glyph is a sign
    /// that the text does not hold.
    fn text(&mut self, t: &TextShape) {
        let job = &t.galley.job;
        let (mut byte, mut section) = (0, 0);
        for row in &t.galley.rows {
            let mut run: Option<(usize, f32, f32, String)> = None;
            for g in &row.glyphs {
                if job.text.get(byte..).is_some_and(|rest| rest.starts_with(g.chr)) {
                    let holds =
                        |s: &egui::text::LayoutSection| (s.byte_range.start.0..s.byte_range.end.0).contains(&byte);
                    section = job.sections.iter().position(holds).unwrap_or(section);
                    byte += g.chr.len_utf8();
                }
                match &mut run {
                    Some((s, _, _, words)) if *s == section => words.push(g.chr),
                    _ => {
                        if let Some(done) = run.take() {
                            self.run(t, job, done);
                        }
                        let at = t.pos + row.pos.to_vec2() + g.pos.to_vec2();
                        run = Some((section, at.x, at.y, g.chr.to_string()));
                    }
                }
            }
            byte += usize::from(row.ends_with_newline);
            if let Some(done) = run {
                self.run(t, job, done);
            }
        }
    }

    fn run(&mut self, t: &TextShape, job: &egui::text::LayoutJob, run: (usize, f32, f32, String)) {
        let (section, x, y, words) = run;
        let Some(format) = job.sections.get(section).map(|s| &s.format) else { return };
        let color = t.override_text_color.unwrap_or(format.color);
        let color = if color == Color32::PLACEHOLDER { t.fallback_color } else { color };
        let (fill, opacity) = paint(color.gamma_multiply(t.opacity_factor));
        let (family, weight) = match &format.font_id.family {
            FontFamily::Monospace => (MONO, ""),
            FontFamily::Proportional => (SANS, ""),
            FontFamily::Name(_) => (SANS, r#" font-weight="600""#),
        };
        let (x, y, size) = (number(x), number(y), number(format.font_id.size));
        let words = escape(&words);
        let _ = writeln!(
            self.out,
            r#"<text x="{x}" y="{y}" font-family="{family}" font-size="{size}"{weight} fill="{fill}"{opacity} xml:space="preserve">{words}</text>"#
        );
    }
}

fn solid(stroke: &PathStroke) -> Stroke {
    match &stroke.color {
        ColorMode::Solid(color) => Stroke::new(stroke.width, *color),
        ColorMode::UV(_) => Stroke::NONE,
    }
}

fn at(r: Rect) -> String {
    let (x, y) = (number(r.min.x), number(r.min.y));
    format!(r#"x="{x}" y="{y}" width="{}" height="{}""#, number(r.width().max(0.0)), number(r.height().max(0.0)))
}

fn point(p: Pos2) -> String {
    format!("{} {}", number(p.x), number(p.y))
}

fn points_of(points: &[Pos2], is_closed: bool) -> String {
    let mut d = String::new();
    for (i, &p) in points.iter().enumerate() {
        d.push(if i == 0 { 'M' } else { 'L' });
        d.push_str(&point(p));
    }
    if is_closed {
        d.push('Z');
    }
    d
}

/// At most two decimals; nothing that is not finite reaches the document.
fn number(v: f32) -> String {
    let v = if v.is_finite() { v } else { 0.0 };
    let mut s = format!("{v:.2}");
    while s.ends_with('0') {
        s.pop();
    }
    if s.ends_with('.') {
        s.pop();
    }
    if s == "-0" { "0".to_owned() } else { s }
}

fn style(fill: Color32, stroke: Stroke) -> String {
    let mut out = match paint(fill) {
        _ if fill.a() == 0 => r#"fill="none""#.to_owned(),
        (color, opacity) => format!(r#"fill="{color}"{}"#, opacity.replace("opacity", "fill-opacity")),
    };
    if !stroke.is_empty() {
        let (color, opacity) = paint(stroke.color);
        let opacity = opacity.replace("opacity", "stroke-opacity");
        let _ = write!(out, r#" stroke="{color}"{opacity} stroke-width="{}""#, number(stroke.width));
    }
    out
}

/// A colour as SVG writes it, and its opacity as an attribute where it is not whole.
fn paint(c: Color32) -> (String, String) {
    let [r, g, b, a] = c.to_srgba_unmultiplied();
    let opacity = if a == 255 { String::new() } else { format!(r#" opacity="{}""#, number(f32::from(a) / 255.0)) };
    (format!("#{r:02x}{g:02x}{b:02x}"), opacity)
}

fn escape(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML allows no control characters.
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui::{pos2, vec2};

    const ALL: Rect = Rect { min: Pos2::ZERO, max: Pos2 { x: 100.0, y: 80.0 } };

    fn document(shape: Shape, clip_rect: Rect) -> String {
        svg(&[ClippedShape::new(clip_rect, shape)], vec2(100.0, 80.0), Color32::WHITE)
    }

    #[test]
    fn shapes_become_their_elements() {
        let r = Rect::from_min_size(pos2(10.0, 20.0), vec2(30.0, 10.5));
        let s = document(Shape::rect_filled(r, 4.0, Color32::RED), ALL);
        assert!(s.contains(r##"<rect x="10" y="20" width="30" height="10.5" rx="4" fill="#ff0000"/>"##), "{s}");
        let line = Shape::line_segment([pos2(0.0, 1.0), pos2(2.0, 3.25)], Stroke::new(1.5, Color32::BLUE));
        let s = document(line, ALL);
        assert!(s.contains(r##"d="M0 1L2 3.25" fill="none" stroke="#0000ff" stroke-width="1.5""##), "{s}");
        assert!(s.starts_with("<svg ") && s.ends_with("</svg>\n"));
    }

    #[test]
    fn what_sticks_out_is_clipped_and_what_is_outside_is_left_out() {
        let r = Rect::from_min_size(pos2(10.0, 20.0), vec2(30.0, 10.0));
        let s =
            document(Shape::rect_filled(r, 0.0, Color32::RED), Rect::from_min_size(pos2(0.0, 0.0), vec2(20.0, 80.0)));
        assert!(s.contains(r#"<clipPath id="c1"><rect x="0" y="0" width="20" height="80"/>"#), "{s}");
        assert_eq!(s.matches("<g ").count(), s.matches("</g>").count());
        let s = document(Shape::rect_filled(r.translate(vec2(500.0, 0.0)), 0.0, Color32::RED), ALL);
        assert!(!s.contains("#ff0000"));
    }

    #[test]
    fn words_stay_words_and_are_escaped() {
        let ctx = egui::Context::default();
        let mut found = String::new();
        let mut output = ctx.run_ui(egui::RawInput::default(), |ui| {
            let font = egui::FontId::monospace(12.0);
            let at = pos2(5.0, 5.0);
            ui.painter().text(at, egui::Align2::LEFT_TOP, "a<b & c", font, Color32::GREEN);
        });
        output.textures_delta.clear();
        found.push_str(&svg(&std::mem::take(&mut output.shapes), vec2(100.0, 80.0), Color32::BLACK));
        assert!(found.contains(">a&lt;b &amp; c</text>"), "{found}");
        assert!(found.contains(r##"font-size="12" fill="#00ff00""##), "{found}");
    }
}
