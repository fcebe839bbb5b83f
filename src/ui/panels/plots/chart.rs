//! One chart: raw and smoothed lines, markers, a tooltip with all its series.

use std::collections::BTreeSet;

use egui::{Color32, RichText, Ui, Vec2, vec2};
use egui_plot::{Line, Plot, PlotBounds, PlotPoints, Points, VLine};

use crate::ui::run_view::{MarkKind, RunView, XAxis};
use crate::ui::text;
use crate::ui::theme::{self, Tokens, icons, tokens};

use super::{Chart, Curve, PlotsState, curves};

/// A curve as points on the axes.
pub(super) struct Drawn {
    pub raw: Vec<[f64; 2]>,
    pub main: Vec<[f64; 2]>,
}

/// What a chart of some width needs of its curves; `from` and `to` are bounds of the axis before any logarithm.
pub(super) fn drawn(run: &RunView, chart: &Chart<'_>, c: &Curve<'_>, s: &mut PlotsState, width: f32) -> Drawn {
    let seen = if s.is_following { None } else { s.seen.get(&chart.title).copied() };
    let (from, to) = match seen {
        Some((a, b)) if s.is_log_x => (10f64.powf(a), 10f64.powf(b)),
        Some(bounds) => bounds,
        None => (f64::NEG_INFINITY, f64::INFINITY),
    };
    let columns = width.max(50.0) as usize;
    let xs = c.series.xs(s.x);
    let is_log_x = s.is_log_x;
    let point = |i: usize, y: f64| {
        let x = if is_log_x { curves::log10(xs[i].max(1e-9)) } else { xs[i] };
        [x, if chart.is_log { curves::log10(y) } else { y }]
    };
    let finite = |p: &[f64; 2]| p[0].is_finite() && p[1].is_finite();
    let thin = c.series.thin(s.x, from, to, columns);
    let raw: Vec<[f64; 2]> = thin.into_iter().map(|i| point(i, c.series.values[i])).filter(finite).collect();
    if !c.is_smoothed {
        return Drawn { main: raw.clone(), raw };
    }
    let smoothed = s.smoothed.entry(format!("{}/{}/{}", run.name, chart.title, c.name)).or_default();
    smoothed.follow(&c.series.values, s.smoothing);
    let range = crate::ui::series::visible(xs, from, to);
    let main = smoothed.thin(range, columns).into_iter().map(|i| point(i, smoothed.values[i])).filter(finite);
    Drawn { raw, main: main.collect() }
}

pub(super) fn ui(ui: &mut Ui, t: &'static Tokens, run: &RunView, chart: &Chart<'_>, size: Vec2, s: &mut PlotsState) {
    head_ui(ui, t, chart, s);
    let shown: Vec<&Curve<'_>> =
        chart.curves.iter().filter(|c| !s.hidden.contains(&key(&chart.title, &c.name))).collect();
    let lines: Vec<Drawn> = shown.iter().map(|c| drawn(run, chart, c, s, size.x)).collect();
    let points = || lines.iter().flat_map(|l| l.raw.iter().copied());
    let y_range = curves::range(points().map(|p| p[1]), s.ignores_outliers);
    let x_max = points().map(|p| p[0]).fold(f64::NEG_INFINITY, f64::max);
    let x_min = points().map(|p| p[0]).fold(f64::INFINITY, f64::min);
    let ends: Vec<End> = shown.iter().zip(&lines).filter_map(|(c, l)| End::of(chart, c, l)).collect();
    // A single point stands at the left of an axis that has room for the next.
    let x_max = if x_max > x_min { x_max } else { x_min + 1.0 };
    let x_room = (x_max - x_min) * f64::from(END_WIDTH / (size.x - AXIS_WIDTH - END_WIDTH).max(END_WIDTH));
    let (is_log, is_log_x, axis, is_bytes) = (chart.is_log, s.is_log_x, s.x, chart.is_bytes);
    let plot = Plot::new(("plot", &chart.title))
        .width(size.x)
        .height(size.y)
        .show_background(false)
        .show_grid([false, true])
        .show_x(false)
        .show_y(false)
        .grid_color(t.stroke_subtle)
        .allow_scroll(false)
        .allow_boxed_zoom(true)
        .y_axis_min_width(AXIS_WIDTH)
        .y_grid_spacer(move |input| marks(input, (size.y / 34.0) as usize))
        .x_grid_spacer(move |input| marks(input, (size.x / 110.0) as usize))
        .set_margin_fraction(vec2(0.0, 0.0))
        .y_axis_formatter(move |m, _| match (is_bytes, is_log) {
            (true, _) => text::bytes(m.value.max(0.0) as u64),
            (false, true) => text::number(10f64.powf(m.value), 3),
            (false, false) => text::number(m.value, 3),
        })
        .x_axis_formatter(move |m, _| axis_label(if is_log_x { 10f64.powf(m.value) } else { m.value }, axis));
    let is_following = s.is_following;
    let x_of = |v: f64| if is_log_x { curves::log10(v.max(1e-9)) } else { v };
    // Numbers on the axes are captions; the head and what follows are not.
    let body = ui.style().text_styles.get(&egui::TextStyle::Body).cloned();
    ui.style_mut().text_styles.insert(egui::TextStyle::Body, egui::FontId::proportional(theme::CAPTION));
    let response = plot.show(ui, |p| {
        if is_following
            && let Some((low, high)) = y_range
            && x_max.is_finite()
        {
            p.set_plot_bounds(PlotBounds::from_min_max([x_min, low], [x_max + x_room, high]));
        }
        for m in &run.marks {
            let line = VLine::new(&m.text, x_of(m.at.x(axis))).color(mark_color(t, m.kind)).width(1.0);
            p.vline(line.allow_hover(false));
            // Told apart by shape as well; epochs are hairlines and nothing else.
            if let Some(icon) = mark_icon(m.kind) {
                let at = egui_plot::PlotPoint::new(x_of(m.at.x(axis)), p.plot_bounds().max()[1]);
                let text = RichText::new(icon).size(theme::CAPTION).color(mark_color(t, m.kind));
                p.text(egui_plot::Text::new(&m.text, at, text).anchor(egui::Align2::CENTER_TOP).allow_hover(false));
            }
        }
        for (c, line) in shown.iter().zip(lines) {
            if c.is_smoothed {
                let raw = Line::new(format!("{} (raw)", c.name), PlotPoints::from(line.raw));
                p.line(raw.color(tokens::faded(c.color, 0.3)).width(1.0).allow_hover(false));
            }
            if c.has_points {
                let points = Points::new(&c.name, PlotPoints::from(line.main.clone()));
                p.points(points.color(c.color).radius(3.0).allow_hover(false));
            }
            p.line(Line::new(&c.name, PlotPoints::from(line.main)).color(c.color).width(2.0).allow_hover(false));
        }
    });
    if let Some(body) = body {
        ui.style_mut().text_styles.insert(egui::TextStyle::Body, body);
    }
    paint_ends(ui, &response.transform, &ends);
    let bounds = response.transform.bounds();
    s.seen.insert(chart.title.clone(), (bounds.min()[0], bounds.max()[0]));
    let r = response.response;
    r.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, format!("Plot of {}", chart.title)));
    if r.dragged() || (r.hovered() && ui.input(|i| (i.zoom_delta() - 1.0).abs() > 1e-3)) {
        s.is_following = false;
    }
    if r.double_clicked() {
        s.is_following = true;
    }
    if let Some(pos) = r.hover_pos() {
        let x = response.transform.value_from_position(pos).x;
        let x = if is_log_x { 10f64.powf(x) } else { x };
        let near: Vec<(&Curve<'_>, usize)> =
            shown.iter().filter_map(|c| Some((*c, nearest(c.series.xs(axis), x)?))).collect();
        let marks: Vec<&str> = near.first().map_or_else(Vec::new, |(c, i)| {
            let step = c.series.steps[*i];
            run.marks.iter().filter(|m| (m.at.step - step).abs() < 0.5).map(|m| m.text.as_str()).collect()
        });
        r.on_hover_ui_at_pointer(|ui| tooltip_ui(ui, t, &near, &marks));
    }
}

/// Width of the numbers beside the y axis.
const AXIS_WIDTH: f32 = 52.0;
/// Width kept free at the right for the newest values.
const END_WIDTH: f32 = 62.0;
/// Height of a newest value.
const END_HEIGHT: f32 = 13.0;

/// Where a line ends, and the value there in words.
struct End {
    at: [f64; 2],
    words: String,
    color: Color32,
}

impl End {
    fn of(chart: &Chart<'_>, c: &Curve<'_>, line: &Drawn) -> Option<Self> {
        let at = *line.main.last()?;
        let value = if chart.is_log { 10f64.powf(at[1]) } else { at[1] };
        Some(Self { at, words: chart.words(value, 4), color: c.color })
    }
}

/// The newest value at the right end of each line that is in sight.
fn paint_ends(ui: &Ui, transform: &egui_plot::PlotTransform, ends: &[End]) {
    let frame = *transform.frame();
    let place = |e: &End| transform.position_from_point(&egui_plot::PlotPoint::new(e.at[0], e.at[1]));
    let mut shown: Vec<(egui::Pos2, &End)> =
        ends.iter().map(|e| (place(e), e)).filter(|(p, _)| frame.expand(1.0).contains(*p)).collect();
    shown.sort_by(|a, b| a.0.y.total_cmp(&b.0.y));
    let mut ys: Vec<f32> = shown.iter().map(|(p, _)| p.y).collect();
    spread(&mut ys, END_HEIGHT, frame.top() + END_HEIGHT / 2.0, frame.bottom() - END_HEIGHT / 2.0);
    let painter = ui.painter().with_clip_rect(frame);
    // In one column right of the longest line, so that none stands on another line.
    let x = shown.iter().map(|(p, _)| p.x + 5.0).fold(f32::NEG_INFINITY, f32::max);
    let x = x.min(frame.right() - END_WIDTH + 5.0);
    for ((_, end), y) in shown.into_iter().zip(ys) {
        let at = egui::pos2(x, y);
        let font = theme::mono(theme::CAPTION);
        painter.text(at, egui::Align2::LEFT_CENTER, &end.words, font, end.color);
    }
}

/// Moves ascending heights apart so that none is nearer than `gap` to the next, between `low` and `high`.
fn spread(ys: &mut [f32], gap: f32, low: f32, high: f32) {
    let mut least = low;
    for y in ys.iter_mut() {
        *y = y.max(least);
        least = *y + gap;
    }
    let mut most = high;
    for y in ys.iter_mut().rev() {
        *y = y.min(most);
        most = *y - gap;
    }
}

/// Title and legend above a chart.
fn head_ui(ui: &mut Ui, t: &Tokens, chart: &Chart<'_>, s: &mut PlotsState) {
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = theme::RELATED;
        ui.label(RichText::new(&chart.title).family(theme::strong_family()).color(t.text));
        if chart.curves.len() > 1 {
            for c in &chart.curves {
                legend_chip(ui, t, &chart.title, c, &mut s.hidden);
            }
        }
    });
}

/// The point nearest to an x among ascending ones.
pub(in crate::ui::panels) fn nearest(xs: &[f64], x: f64) -> Option<usize> {
    let after = xs.partition_point(|v| *v < x);
    let candidates = [after.checked_sub(1), (after < xs.len()).then_some(after)];
    candidates.into_iter().flatten().min_by(|a, b| (xs[*a] - x).abs().total_cmp(&(xs[*b] - x).abs()))
}

/// Every series near the pointer with all its digits.
fn tooltip_ui(ui: &mut Ui, t: &Tokens, near: &[(&Curve<'_>, usize)], marks: &[&str]) {
    if let Some((c, i)) = near.first() {
        let s = c.series;
        let place = format!(
            "step {} · epoch {} · {}",
            text::number(s.steps[*i], 9),
            text::number(s.epochs[*i], 4),
            text::duration(s.seconds[*i])
        );
        ui.add(egui::Label::new(RichText::new(place).size(theme::CAPTION).color(t.text_secondary)).extend());
    }
    egui::Grid::new("plot-tooltip").num_columns(2).spacing([12.0, 2.0]).show(ui, |ui| {
        for (c, i) in near {
            ui.label(RichText::new(&c.name).color(c.color));
            ui.label(RichText::new(text::number(c.series.values[*i], 8)).monospace());
            ui.end_row();
        }
    });
    for words in marks {
        ui.label(RichText::new(*words).size(theme::CAPTION).color(t.text_secondary));
    }
}

/// About `n` round marks on an axis.
pub(in crate::ui::panels) fn marks(input: egui_plot::GridInput, n: usize) -> Vec<egui_plot::GridMark> {
    let (step_size, values) = curves::ticks(input.bounds.0, input.bounds.1, n.max(2));
    values.into_iter().map(|value| egui_plot::GridMark { value, step_size }).collect()
}

fn mark_icon(kind: MarkKind) -> Option<&'static str> {
    match kind {
        MarkKind::Epoch => None,
        MarkKind::Checkpoint => Some(icons::SAVE),
        MarkKind::BestCheckpoint => Some(icons::STAR),
        MarkKind::RateChange => Some(icons::SLIDERS),
        MarkKind::Pause => Some(icons::PAUSE),
    }
}

pub(super) fn mark_color(t: &Tokens, kind: MarkKind) -> Color32 {
    match kind {
        MarkKind::Epoch => t.stroke_subtle,
        MarkKind::Checkpoint => tokens::faded(t.info, 0.5),
        MarkKind::BestCheckpoint => t.flows,
        MarkKind::RateChange => t.warning,
        MarkKind::Pause => t.frozen,
    }
}

pub(in crate::ui::panels) fn axis_label(v: f64, axis: XAxis) -> String {
    match axis {
        XAxis::Time | XAxis::TimeWithoutPauses => text::duration(v),
        XAxis::Step => text::number(v, 6),
        XAxis::Epoch => text::number(v, 3),
    }
}

fn key(chart: &str, curve: &str) -> String {
    format!("{chart}/{curve}")
}

/// A curve's name beside its colour; a click hides the curve, which strikes the name through.
fn legend_chip(ui: &mut Ui, t: &Tokens, chart: &str, c: &Curve<'_>, hidden: &mut BTreeSet<String>) {
    let key = key(chart, &c.name);
    let is_on = !hidden.contains(&key);
    let mut words = RichText::new(format!("      {}", c.name)).size(theme::CAPTION);
    words = if is_on { words.color(t.text) } else { words.color(t.text_secondary).strikethrough() };
    let chip = ui.add(egui::Button::new(words).small().fill(t.raised));
    let dash = egui::Rect::from_center_size(chip.rect.left_center() + vec2(14.0, 0.0), vec2(12.0, 2.0));
    let color = if is_on { c.color } else { tokens::faded(c.color, 0.3) };
    ui.painter().rect_filled(dash, 1.0, color);
    chip.widget_info(|| egui::WidgetInfo::selected(egui::Role::CheckBox, true, is_on, format!("{chart}: {}", c.name)));
    if chip.clicked() && !hidden.remove(&key) {
        hidden.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_values_do_not_overlap() {
        let mut ys = [10.0, 12.0, 50.0];
        spread(&mut ys, 13.0, 0.0, 100.0);
        assert_eq!(ys, [10.0, 23.0, 50.0]);
        let mut ys = [95.0, 96.0, 97.0];
        spread(&mut ys, 13.0, 0.0, 90.0);
        assert_eq!(ys, [64.0, 77.0, 90.0], "what ends at the bottom moves up");
    }

    #[test]
    fn the_nearest_point_is_found() {
        let xs = [0.0, 10.0, 20.0];
        assert_eq!([-5.0, 4.0, 6.0, 99.0].map(|x| nearest(&xs, x)), [Some(0), Some(0), Some(1), Some(2)]);
        assert_eq!(nearest(&[], 1.0), None);
    }
}
