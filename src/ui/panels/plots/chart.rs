//! One chart: raw and smoothed lines, markers, a tooltip with all its series.

use std::collections::BTreeSet;

use egui::{Align2, Color32, RichText, Ui, Vec2, vec2};
use egui_plot::{Line, PlotBounds, PlotPoints, PlotUi, Points, VLine};

use crate::ui::run_view::{Mark, MarkKind, RunView, XAxis};
use crate::ui::theme::{self, Tokens, icons, tokens};
use crate::ui::{text, widgets};

use super::{Chart, Curve, PlotsState, curves, frame};

/// A curve as points on the axes.
pub(super) struct Drawn {
    pub raw: Vec<[f64; 2]>,
    pub main: Vec<[f64; 2]>,
}

/// What a chart of some width needs of its curves; `from` and `to` are bounds of the axis before any logarithm.
pub(super) fn drawn(run: &RunView, chart: &Chart<'_>, c: &Curve<'_>, s: &mut PlotsState, width: f32) -> Drawn {
    let seen = if s.is_following { None } else { s.seen.get(&chart.title).copied() };
    let (from, to) = seen.map_or((f64::NEG_INFINITY, f64::INFINITY), |(a, b)| {
        (curves::at_place(a, s.is_log_x), curves::at_place(b, s.is_log_x))
    });
    let columns = width.max(50.0) as usize;
    let xs = c.series.xs(s.x);
    let is_log_x = s.is_log_x;
    let point = |i: usize, y: f64| Some([curves::place(xs[i], is_log_x)?, curves::place(y, chart.is_log)?]);
    let thin = curves::thinned(xs, (from, to), is_log_x, |range| c.series.thin_range(range, columns));
    let raw: Vec<[f64; 2]> = thin.into_iter().filter_map(|i| point(i, c.series.values[i])).collect();
    if !c.is_smoothed {
        return Drawn { main: raw.clone(), raw };
    }
    let smoothed = s.smoothed.entry(format!("{}/{}/{}", run.name, chart.title, c.name)).or_default();
    smoothed.follow(&c.series.values, s.smoothing);
    let thin = curves::thinned(xs, (from, to), is_log_x, |range| smoothed.thin(range, columns));
    let main = thin.into_iter().filter_map(|i| point(i, smoothed.values[i]));
    Drawn { raw, main: main.collect() }
}

/// `span` is what all charts of the run span on the x axis together.
pub(super) fn ui(
    ui: &mut Ui,
    t: &'static Tokens,
    run: &RunView,
    chart: &Chart<'_>,
    span: (f64, f64),
    size: Vec2,
    s: &mut PlotsState,
) {
    head_ui(ui, t, chart, s);
    let shown: Vec<&Curve<'_>> =
        chart.curves.iter().filter(|c| !s.hidden.contains(&key(&chart.title, &c.name))).collect();
    let lines: Vec<Drawn> = shown.iter().map(|c| drawn(run, chart, c, s, size.x)).collect();
    let values = || lines.iter().flat_map(|l| l.raw.iter().map(|p| p[1]));
    let y_range = curves::range(values(), s.ignores_outliers);
    let is_empty = y_range.is_none();
    let (low, high) = y_range.unwrap_or((0.0, 1.0));
    let (from, to) = frame::with_room_for_ends(span, size.x);
    let ends: Vec<frame::End> = shown.iter().zip(&lines).filter_map(|(c, l)| end_of(chart, c, l)).collect();
    let (is_log_x, axis) = (s.is_log_x, s.x);
    let axes = frame::Axes { x: axis, is_log_x, is_log_y: chart.is_log, is_bytes: chart.is_bytes };
    let plot = frame::plot(("plot", &chart.title), size, t, axes).allow_boxed_zoom(true);
    let (is_following, window) = (s.is_following, s.window);
    let response = frame::with_captions(ui, |ui| {
        plot.show(ui, |p| {
            if is_following {
                p.set_plot_bounds(PlotBounds::from_min_max([from, low], [to, high]));
            } else if let Some((a, b)) = window {
                // What was zoomed to in one chart is looked at in all of them.
                p.set_plot_bounds_x(a..=b);
            }
            marks_ui(p, t, run, axis, is_log_x);
            for (c, line) in shown.iter().zip(lines) {
                line_ui(p, c, line);
            }
        })
    });
    frame::paint_ends(ui, &response.transform, &ends);
    if is_empty {
        let words =
            if chart.curves.iter().all(|c| c.series.values.is_empty()) { "No values yet" } else { "Nothing to draw" };
        let font = egui::FontId::proportional(theme::BODY);
        ui.painter().text(response.transform.frame().center(), Align2::CENTER_CENTER, words, font, t.text_secondary);
    }
    let bounds = response.transform.bounds();
    let seen = (bounds.min()[0], bounds.max()[0]);
    s.seen.insert(chart.title.clone(), seen);
    let r = response.response;
    r.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, format!("Plot of {}", chart.title)));
    let is_zoomed = r.hovered() && ui.input(|i| (i.zoom_delta() - 1.0).abs() > 1e-3);
    if r.double_clicked() {
        s.is_following = true;
        s.window = None;
    } else if r.dragged() || r.drag_stopped() || is_zoomed {
        s.is_following = false;
        s.window = Some(seen);
    }
    if let Some(pos) = r.hover_pos() {
        let x = curves::at_place(response.transform.value_from_position(pos).x, is_log_x);
        let near: Vec<(&Curve<'_>, usize)> =
            shown.iter().filter_map(|c| Some((*c, nearest(c.series.xs(axis), x)?))).collect();
        let marks: Vec<&str> = near.first().map_or_else(Vec::new, |(c, i)| {
            let step = c.series.steps[*i];
            run.marks.iter().filter(|m| (m.at.step - step).abs() < 0.5).map(|m| m.text.as_str()).collect()
        });
        r.on_hover_ui_at_pointer(|ui| tooltip_ui(ui, t, chart, &near, &marks));
    }
}

/// Raw thin, smoothed thick; a point where there is only one.
fn line_ui(p: &mut PlotUi<'_>, c: &Curve<'_>, line: Drawn) {
    if c.is_smoothed {
        let raw = Line::new(format!("{} (raw)", c.name), PlotPoints::from(line.raw));
        p.line(raw.color(tokens::faded(c.color, 0.3)).width(1.0).allow_hover(false));
    }
    if c.has_points || line.main.len() == 1 {
        let points = Points::new(&c.name, PlotPoints::from(line.main.clone()));
        p.points(points.color(c.color).radius(3.0).allow_hover(false));
    }
    p.line(Line::new(&c.name, PlotPoints::from(line.main)).color(c.color).width(2.0).allow_hover(false));
}

/// Room that a hairline and an icon above it need, in points.
const LINE_ROOM: f64 = 5.0;
const ICON_ROOM: f64 = 14.0;

/// Epochs, checkpoints, changed rates and pauses: hairlines, told apart by icons above them.
fn marks_ui(p: &mut PlotUi<'_>, t: &Tokens, run: &RunView, axis: XAxis, is_log_x: bool) {
    let (bounds, transform) = (p.plot_bounds(), *p.transform());
    let in_sight = |m: &&Mark| {
        let at = curves::place(m.at.x(axis), is_log_x);
        at.is_some_and(|x| x >= bounds.min()[0] && x <= bounds.max()[0])
    };
    let all: Vec<&Mark> = run.marks.iter().filter(in_sight).collect();
    let at = |m: &Mark| curves::place(m.at.x(axis), is_log_x).unwrap_or(f64::NAN);
    let place = |m: &Mark| f64::from(transform.position_from_point_x(at(m)));
    let lines: Vec<(f64, u8)> = all.iter().map(|m| (place(m), m.kind as u8)).collect();
    for (m, _) in all.iter().zip(curves::with_room(&lines, LINE_ROOM)).filter(|(_, kept)| *kept) {
        let line = VLine::new(&m.text, at(m)).color(mark_color(t, m.kind)).width(1.0);
        p.vline(line.allow_hover(false));
    }
    // Told apart by shape as well; epochs are hairlines and nothing else.
    let with_icons: Vec<(&Mark, &str)> = all.iter().filter_map(|m| Some((*m, mark_icon(m.kind)?))).collect();
    let icons: Vec<(f64, u8)> = with_icons.iter().map(|(m, _)| (place(m), m.kind as u8)).collect();
    for ((m, icon), _) in with_icons.iter().zip(curves::with_room(&icons, ICON_ROOM)).filter(|(_, kept)| *kept) {
        let top = egui_plot::PlotPoint::new(at(m), bounds.max()[1]);
        let text = RichText::new(*icon).size(theme::CAPTION).color(mark_color(t, m.kind));
        p.text(egui_plot::Text::new(&m.text, top, text).anchor(Align2::CENTER_TOP).allow_hover(false));
    }
}

fn end_of(chart: &Chart<'_>, c: &Curve<'_>, line: &Drawn) -> Option<frame::End> {
    let at = *line.main.last()?;
    Some(frame::End { at, words: chart.words(curves::at_place(at[1], chart.is_log), 4), color: c.color })
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
        let shown = chart.curves.iter().map(|c| c.series);
        if let Some(words) = curves::left_out(shown, chart.is_log) {
            let note = RichText::new(words).size(theme::CAPTION).color(t.warning);
            ui.add(egui::Label::new(note).truncate());
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
fn tooltip_ui(ui: &mut Ui, t: &Tokens, chart: &Chart<'_>, near: &[(&Curve<'_>, usize)], marks: &[&str]) {
    if let Some((c, i)) = near.first() {
        let s = c.series;
        let place = format!(
            "Step {} · epoch {} · {}",
            text::number(s.steps[*i], 9),
            text::number(s.epochs[*i], 4),
            text::duration(s.seconds[*i])
        );
        ui.add(egui::Label::new(RichText::new(place).size(theme::CAPTION).color(t.text_secondary)).extend());
    }
    egui::Grid::new("plot-tooltip").num_columns(2).spacing([12.0, 2.0]).show(ui, |ui| {
        for (c, i) in near {
            ui.label(RichText::new(&c.name).color(c.color));
            widgets::table::right(ui, |ui| {
                ui.label(RichText::new(chart.words(c.series.values[*i], 8)).monospace());
            });
            ui.end_row();
        }
    });
    for words in marks {
        ui.label(RichText::new(text::capitalised(words)).size(theme::CAPTION).color(t.text_secondary));
    }
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
    fn a_million_points_cost_as_much_as_the_plot_is_wide() {
        let mut run = RunView { name: "run-1".to_owned(), ..RunView::default() };
        for i in 0..1_000_000u32 {
            let v = if i == 123_456 { 50.0 } else { f64::from(i % 97) };
            run.loss.push(crate::ui::series::Moment { step: f64::from(i), ..Default::default() }, v);
        }
        let charts = super::super::charts(&tokens::DARK, &run, false);
        let mut s = PlotsState::default();
        let line = drawn(&run, &charts[0], &charts[0].curves[0], &mut s, 800.0);
        assert!(line.raw.len() < 20_000 && line.main.len() < 20_000, "{} {}", line.raw.len(), line.main.len());
        assert_eq!((line.raw[0][0], line.raw[line.raw.len() - 1][0]), (0.0, 999_999.0));
    }

    #[test]
    fn what_has_no_place_on_an_axis_is_not_drawn() {
        let mut run = RunView { name: "run-1".to_owned(), ..RunView::default() };
        for (i, v) in [f64::INFINITY, 0.0, -1.0, f64::NAN, 10.0, 100.0].into_iter().enumerate() {
            run.loss.push(crate::ui::series::Moment { step: i as f64, ..Default::default() }, v);
        }
        let mut s = PlotsState { smoothing: 0.0, is_log_x: true, ..PlotsState::default() };
        let charts = super::super::charts(&tokens::DARK, &run, true);
        let line = drawn(&run, &charts[0], &charts[0].curves[0], &mut s, 800.0);
        assert_eq!(line.raw, [[4f64.log10(), 1.0], [5f64.log10(), 2.0]]);
        s.is_log_x = false;
        let charts = super::super::charts(&tokens::DARK, &run, false);
        let line = drawn(&run, &charts[0], &charts[0].curves[0], &mut s, 800.0);
        assert_eq!(line.raw, [[1.0, 0.0], [2.0, -1.0], [4.0, 10.0], [5.0, 100.0]]);
        assert!(line.main.iter().flatten().all(|v| v.is_finite()));
    }

    #[test]
    fn the_nearest_point_is_found() {
        let xs = [0.0, 10.0, 20.0];
        assert_eq!([-5.0, 4.0, 6.0, 99.0].map(|x| nearest(&xs, x)), [Some(0), Some(0), Some(1), Some(2)]);
        assert_eq!(nearest(&[], 1.0), None);
    }
}
