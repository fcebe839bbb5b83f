//! A chart as an SVG picture: axes with round marks, lines, markers, a legend. Text stays text.

use std::fmt::Write as _;

use egui::Color32;

use crate::ui::run_view::RunView;
use crate::ui::text;
use crate::ui::theme::Tokens;

use super::{Chart, PlotsState, chart, curves};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 440.0;
/// Left, top, right, bottom of the area with lines.
const AREA: [f64; 4] = [64.0, 44.0, 784.0, 396.0];

/// The whole chart as it is set, on the theme's own ground.
pub(super) fn chart(t: &Tokens, run: &RunView, chart: &Chart<'_>, s: &PlotsState) -> String {
    let mut view = s.view();
    let shown: Vec<_> =
        chart.curves.iter().filter(|c| !s.hidden.contains(&format!("{}/{}", chart.title, c.name))).collect();
    let lines: Vec<_> = shown.iter().map(|c| chart::drawn(run, chart, c, &mut view, WIDTH as f32)).collect();
    let points = || lines.iter().flat_map(|l| l.raw.iter().copied());
    let (y0, y1) = curves::range(points().map(|p| p[1]), s.ignores_outliers).unwrap_or((0.0, 1.0));
    let x0 = points().map(|p| p[0]).fold(f64::INFINITY, f64::min);
    let x1 = points().map(|p| p[0]).fold(f64::NEG_INFINITY, f64::max);
    let (x0, x1) = if x1 > x0 { (x0, x1) } else { (0.0, 1.0) };
    let [left, top, right, bottom] = AREA;
    let x = |v: f64| left + (v - x0) / (x1 - x0) * (right - left);
    let y = |v: f64| bottom - (v - y0) / (y1 - y0) * (bottom - top);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"Inter, sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n\
         <clipPath id=\"area\"><rect x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\"/></clipPath>\n",
        hex(t.panel),
        right - left,
        bottom - top
    );
    let mut put = |line: String| {
        // Writing to a text cannot fail.
        let _ = writeln!(out, "{line}");
    };
    let title = format!("{} · {}", chart.title, run.name);
    put(format!("<text x=\"{left}\" y=\"22\" fill=\"{}\" font-weight=\"600\">{}</text>", hex(t.text), escape(&title)));
    for v in curves::ticks(y0, y1, 6).1 {
        let label = text::number(if chart.is_log { 10f64.powf(v) } else { v }, 3);
        let at = y(v);
        put(format!(
            "<line x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"{}\"/>",
            hex(t.stroke_subtle)
        ));
        put(format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{}\">{label}</text>",
            left - 8.0,
            at + 4.0,
            hex(t.text_secondary)
        ));
    }
    for v in curves::ticks(x0, x1, 7).1 {
        let label = chart::axis_label(if s.is_log_x { 10f64.powf(v) } else { v }, s.x);
        put(format!(
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"{}\">{label}</text>",
            x(v),
            bottom + 18.0,
            hex(t.text_secondary)
        ));
    }
    put(format!(
        "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\" fill=\"{}\">{}</text>",
        bottom + 36.0,
        hex(t.text_secondary),
        s.x.title()
    ));
    for m in &run.marks {
        let at = m.at.x(s.x);
        let at = x(if s.is_log_x { curves::log10(at.max(1e-9)) } else { at });
        if (left..=right).contains(&at) {
            let color = hex(chart::mark_color(t, m.kind));
            put(format!(
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom}\" stroke=\"{color}\"><title>{}</title></line>",
                escape(&m.text)
            ));
        }
    }
    let path = |points: &[[f64; 2]]| {
        points.iter().map(|p| format!("{:.1},{:.1}", x(p[0]), y(p[1]))).collect::<Vec<_>>().join(" ")
    };
    for (i, (c, line)) in shown.iter().zip(&lines).enumerate() {
        let color = hex(c.color);
        let mut stroke = |points: &[[f64; 2]], style: &str| {
            put(format!(
                "<polyline clip-path=\"url(#area)\" fill=\"none\" stroke=\"{color}\" {style} points=\"{}\"/>",
                path(points)
            ));
        };
        if c.is_smoothed {
            stroke(&line.raw, "stroke-opacity=\"0.3\"");
        }
        stroke(&line.main, "stroke-width=\"2\"");
        let at = right - 90.0 * (shown.len() - i) as f64;
        put(format!(
            "<line x1=\"{}\" x2=\"{}\" y1=\"18\" y2=\"18\" stroke=\"{color}\" stroke-width=\"3\"/>",
            at,
            at + 12.0
        ));
        put(format!("<text x=\"{}\" y=\"22\" fill=\"{}\">{}</text>", at + 18.0, hex(t.text), escape(&c.name)));
    }
    out.push_str("</svg>\n");
    out
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
        let svg = chart(&tokens::LIGHT, &run, &charts[0], &PlotsState::default());
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<polyline").count(), 2, "raw and smoothed");
        assert!(svg.contains("Loss · a&lt;b") && svg.contains(">0.4<"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
