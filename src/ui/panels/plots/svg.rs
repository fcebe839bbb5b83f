//! A chart as an SVG picture: axes with round marks, lines, markers, a legend. Text stays text.

use std::fmt::Write as _;

use egui::Color32;

use crate::ui::run_view::{Mark, RunView, XAxis};
use crate::ui::text;
use crate::ui::theme::Tokens;

use super::{Chart, PlotsState, chart, curves, frame};

pub(in crate::ui::panels) const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 440.0;
/// Left, top, right, bottom of the area with lines.
const AREA: [f64; 4] = [64.0, 44.0, 724.0, 396.0];

/// A line of a picture, in the coordinates of its axes.
pub(in crate::ui::panels) struct Line {
    pub name: String,
    pub color: Color32,
    /// Drawn thin behind the line; empty where there is nothing of the kind.
    pub faint: Vec<[f64; 2]>,
    pub points: Vec<[f64; 2]>,
}

/// Everything that a picture shows. Coordinates of logarithmic axes are logarithms.
pub(in crate::ui::panels) struct Sheet {
    pub title: String,
    pub x: (f64, f64),
    pub y: (f64, f64),
    pub axis: XAxis,
    pub is_log_x: bool,
    pub is_log_y: bool,
    /// Values are numbers of bytes.
    pub is_bytes: bool,
    pub lines: Vec<Line>,
    /// Places on the x axis with their colours and words.
    pub marks: Vec<(f64, Color32, String)>,
}

/// The whole chart as it is set, on the theme's own ground, from and to what all charts of the run span on the x axis.
pub(super) fn chart(t: &Tokens, run: &RunView, chart: &Chart<'_>, x: (f64, f64), s: &PlotsState) -> String {
    let mut view = s.view();
    let shown: Vec<_> =
        chart.curves.iter().filter(|c| !s.hidden.contains(&format!("{}/{}", chart.title, c.name))).collect();
    let lines: Vec<_> = shown.iter().map(|c| chart::drawn(run, chart, c, &mut view, WIDTH as f32)).collect();
    let values = lines.iter().flat_map(|l| l.raw.iter().map(|p| p[1]));
    let y = curves::range(values, s.ignores_outliers).unwrap_or((0.0, 1.0));
    let place = |m: &Mark| curves::place(m.at.x(s.x), s.is_log_x);
    let marks =
        run.marks.iter().filter_map(|m| Some((place(m)?, chart::mark_color(t, m.kind), text::capitalised(&m.text))));
    let lines = shown.iter().zip(lines).map(|(c, line)| Line {
        name: c.name.clone(),
        color: c.color,
        faint: if c.is_smoothed { line.raw } else { Vec::new() },
        points: line.main,
    });
    let sheet = Sheet {
        title: format!("{} · {}", chart.title, run.name),
        x,
        y,
        axis: s.x,
        is_log_x: s.is_log_x,
        is_log_y: chart.is_log,
        is_bytes: chart.is_bytes,
        lines: lines.collect(),
        marks: marks.collect(),
    };
    draw(t, &sheet)
}

/// From the axes to the picture.
struct Frame {
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn x(&self, v: f64) -> f64 {
        AREA[0] + (v - self.x.0) / (self.x.1 - self.x.0) * (AREA[2] - AREA[0])
    }

    fn y(&self, v: f64) -> f64 {
        AREA[3] - (v - self.y.0) / (self.y.1 - self.y.0) * (AREA[3] - AREA[1])
    }
}

pub(in crate::ui::panels) fn draw(t: &Tokens, sheet: &Sheet) -> String {
    let [left, top, right, bottom] = AREA;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"Inter, sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n\
         <clipPath id=\"area\"><rect x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\"/></clipPath>\n",
        hex(t.panel),
        right - left,
        bottom - top
    );
    let frame = Frame { x: sheet.x, y: sheet.y };
    axes(t, sheet, &frame, &mut out);
    for (at, color, words) in &sheet.marks {
        let at = frame.x(*at);
        if (left..=right).contains(&at) {
            put(
                &mut out,
                format_args!(
                    "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom}\" stroke=\"{}\"><title>{}</title></line>",
                    hex(*color),
                    escape(words)
                ),
            );
        }
    }
    for (i, line) in sheet.lines.iter().enumerate() {
        put_line(t, sheet, &frame, i, line, &mut out);
    }
    out.push_str("</svg>\n");
    out
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a text cannot fail.
    let _ = writeln!(out, "{line}");
}

/// Title, horizontal lines and the words along both axes.
fn axes(t: &Tokens, sheet: &Sheet, frame: &Frame, out: &mut String) {
    let [left, _, right, bottom] = AREA;
    let (strong, weak) = (hex(t.text), hex(t.text_secondary));
    put(
        out,
        format_args!(
            "<text x=\"{left}\" y=\"22\" fill=\"{strong}\" font-weight=\"600\">{}</text>",
            escape(&sheet.title)
        ),
    );
    let y_ticks = if sheet.is_log_y { curves::log_ticks } else { curves::ticks };
    for v in y_ticks(sheet.y.0, sheet.y.1, 6).1 {
        let v_shown = curves::at_place(v, sheet.is_log_y);
        let label = if sheet.is_bytes { text::bytes(v_shown.max(0.0) as u64) } else { text::number(v_shown, 3) };
        let at = frame.y(v);
        put(
            out,
            format_args!(
                "<line x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"{}\"/>",
                hex(t.stroke_subtle)
            ),
        );
        put(
            out,
            format_args!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{weak}\">{label}</text>",
                left - 8.0,
                at + 4.0
            ),
        );
    }
    for v in frame::x_ticks(sheet.axis, sheet.is_log_x)(sheet.x.0, sheet.x.1, 7).1 {
        let label = frame::axis_label(curves::at_place(v, sheet.is_log_x), sheet.axis);
        put(
            out,
            format_args!(
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"{weak}\">{label}</text>",
                frame.x(v),
                bottom + 18.0
            ),
        );
    }
    put(
        out,
        format_args!(
            "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\" fill=\"{weak}\">{}</text>",
            bottom + 36.0,
            sheet.axis.title()
        ),
    );
}

/// A line and its entry in the legend.
fn put_line(t: &Tokens, sheet: &Sheet, frame: &Frame, i: usize, line: &Line, out: &mut String) {
    let color = hex(line.color);
    for (points, style) in [(&line.faint, "stroke-opacity=\"0.3\""), (&line.points, "stroke-width=\"2\"")] {
        if points.is_empty() {
            continue;
        }
        let path: Vec<String> = points.iter().map(|p| format!("{:.1},{:.1}", frame.x(p[0]), frame.y(p[1]))).collect();
        put(
            out,
            format_args!(
                "<polyline clip-path=\"url(#area)\" fill=\"none\" stroke=\"{color}\" {style} points=\"{}\"/>",
                path.join(" ")
            ),
        );
    }
    if let Some(&[x, y]) = line.points.last() {
        let (x, y) = (frame.x(x), frame.y(y));
        let is_seen = (AREA[0]..=AREA[2]).contains(&x) && (AREA[1]..=AREA[3]).contains(&y);
        if is_seen {
            let v = curves::at_place(line.points[line.points.len() - 1][1], sheet.is_log_y);
            let words = if sheet.is_bytes { text::bytes(v.max(0.0) as u64) } else { text::number(v, 4) };
            put(out, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\"/>"));
            put(out, format_args!("<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{color}\">{words}</text>", x + 6.0, y + 4.0));
        }
    }
    let at = AREA[2] + 60.0 - 90.0 * (sheet.lines.len() - i) as f64;
    put(
        out,
        format_args!(
            "<line x1=\"{at}\" x2=\"{}\" y1=\"18\" y2=\"18\" stroke=\"{color}\" stroke-width=\"3\"/>",
            at + 12.0
        ),
    );
    let (x, name) = (at + 18.0, escape(&text::elide_middle(&line.name, 10)));
    put(out, format_args!("<text x=\"{x}\" y=\"22\" fill=\"{}\">{name}</text>", hex(t.text)));
}

fn hex(c: Color32) -> String {
    let [r, g, b, _] = c.to_srgba_unmultiplied();
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::series::Moment;
    use crate::ui::theme::tokens;

    #[test]
    fn a_chart_is_lines_and_words() {
        let mut run = RunView { name: "a<b".to_owned(), ..RunView::default() };
        for i in 0..50 {
            run.loss.push(Moment { step: f64::from(i), ..Moment::default() }, 1.0 / f64::from(i + 1));
        }
        let charts = super::super::charts(&tokens::LIGHT, &run, false);
        let s = PlotsState::default();
        let svg = chart(&tokens::LIGHT, &run, &charts[0], super::super::span(&charts, &s), &s);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<polyline").count(), 2, "raw and smoothed");
        assert!(svg.contains("Loss · a&lt;b") && svg.contains(">0.4<"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
