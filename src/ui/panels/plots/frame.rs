//! What every plot of curves has: axes with round marks, and the newest value at the right end of each line.

use egui::{Color32, Ui, Vec2, vec2};
use egui_plot::{GridInput, GridMark, Plot, PlotTransform};

use crate::ui::run_view::XAxis;
use crate::ui::text;
use crate::ui::theme::{self, Tokens};

use super::curves;

/// Width of the numbers beside the y axis.
pub const AXIS_WIDTH: f32 = 52.0;
/// Width kept free at the right for the newest values.
const END_WIDTH: f32 = 66.0;
/// Width kept free at the left, so that a point on the axis is whole.
const HALF_POINT: f32 = 4.0;
/// Height of a newest value.
const END_HEIGHT: f32 = 13.0;

/// How numbers stand on the axes.
#[derive(Clone, Copy, Debug)]
pub struct Axes {
    pub x: XAxis,
    pub is_log_x: bool,
    pub is_log_y: bool,
    /// Values are numbers of bytes.
    pub is_bytes: bool,
}

/// An empty plot of a size: faint horizontal lines, no box, captions along both axes.
pub fn plot(id: impl std::hash::Hash + std::fmt::Debug, size: Vec2, t: &Tokens, axes: Axes) -> Plot<'static> {
    let Axes { x, is_log_x, is_log_y, is_bytes } = axes;
    let columns = ((size.x - AXIS_WIDTH) / 70.0) as usize;
    let rows = (size.y / 34.0) as usize;
    Plot::new(id)
        .width(size.x)
        .height(size.y)
        .show_background(false)
        .show_grid([false, true])
        .show_x(false)
        .show_y(false)
        .grid_color(t.stroke_subtle)
        .allow_scroll(false)
        .y_axis_min_width(AXIS_WIDTH)
        .y_grid_spacer(move |input| marks(input, rows, if is_log_y { curves::log_ticks } else { curves::ticks }))
        .x_grid_spacer(move |input| marks(input, columns, x_ticks(x, is_log_x)))
        .set_margin_fraction(vec2(0.0, 0.0))
        .y_axis_formatter(move |m, _| {
            let v = curves::at_place(m.value, is_log_y);
            let digits = if is_log_y { 3 } else { curves::digits(v, m.step_size) };
            if is_bytes { text::bytes(v.max(0.0) as u64) } else { text::number(v, digits) }
        })
        .x_axis_formatter(move |m, _| axis_label(curves::at_place(m.value, is_log_x), x))
}

/// Bounds, how many marks at most, and the step with the marks.
pub type Ticks = fn(f64, f64, usize) -> (f64, Vec<f64>);

/// Which marks an x axis gets.
pub fn x_ticks(axis: XAxis, is_log: bool) -> Ticks {
    match axis {
        _ if is_log => curves::log_ticks,
        XAxis::Step => curves::whole_ticks,
        XAxis::Epoch => curves::ticks,
        XAxis::Time | XAxis::TimeWithoutPauses => curves::time_ticks,
    }
}

fn marks(input: GridInput, n: usize, ticks: Ticks) -> Vec<GridMark> {
    let (step_size, values) = ticks(input.bounds.0, input.bounds.1, n.max(2));
    values.into_iter().map(|value| GridMark { value, step_size }).collect()
}

/// A number on the x axis.
pub fn axis_label(v: f64, axis: XAxis) -> String {
    match axis {
        XAxis::Time | XAxis::TimeWithoutPauses if v > 0.0 && v < 10.0 && v.fract() != 0.0 => {
            format!("{} s", text::number(v, 2))
        }
        XAxis::Time | XAxis::TimeWithoutPauses => text::duration(v),
        XAxis::Step if v >= 1e6 && v % 1e6 == 0.0 => format!("{} M", text::number(v / 1e6, 9)),
        XAxis::Step if v >= 1e4 && v % 1e3 == 0.0 => format!("{} k", text::number(v / 1e3, 9)),
        XAxis::Step => text::number(v, 9),
        XAxis::Epoch => text::number(v, 3),
    }
}

/// The bounds of an x axis over a span with room for the newest values at its right, and for half a point at its left.
pub fn with_room_for_ends((from, to): (f64, f64), width: f32) -> (f64, f64) {
    let each = (to - from) / f64::from((width - AXIS_WIDTH - HALF_POINT - END_WIDTH).max(END_WIDTH));
    (from - f64::from(HALF_POINT) * each, to + f64::from(END_WIDTH) * each)
}

/// Captions on the axes: the numbers there are in the body style otherwise.
pub fn with_captions<R>(ui: &mut Ui, add: impl FnOnce(&mut Ui) -> R) -> R {
    let caption = egui::FontId::proportional(theme::CAPTION);
    let body = ui.style_mut().text_styles.insert(egui::TextStyle::Body, caption);
    let out = add(ui);
    if let Some(body) = body {
        ui.style_mut().text_styles.insert(egui::TextStyle::Body, body);
    }
    out
}

/// Where a line ends, and the value there in words.
pub struct End {
    pub at: [f64; 2],
    pub words: String,
    pub color: Color32,
}

/// The newest value at the right end of each line that is in sight.
pub fn paint_ends(ui: &Ui, transform: &PlotTransform, ends: &[End]) {
    let frame = *transform.frame();
    let place = |e: &End| transform.position_from_point(&egui_plot::PlotPoint::new(e.at[0], e.at[1]));
    let mut shown: Vec<(egui::Pos2, &End)> =
        ends.iter().map(|e| (place(e), e)).filter(|(p, _)| frame.expand(1.0).contains(*p)).collect();
    shown.sort_by(|a, b| a.0.y.total_cmp(&b.0.y));
    let mut ys: Vec<f32> = shown.iter().map(|(p, _)| p.y).collect();
    spread(&mut ys, END_HEIGHT, frame.top() + END_HEIGHT / 2.0, frame.bottom() - END_HEIGHT / 2.0);
    let painter = ui.painter().with_clip_rect(frame);
    // In one column right of the longest line, so that none stands on another line.
    let x = shown.iter().map(|(p, _)| p.x + 9.0).fold(f32::NEG_INFINITY, f32::max);
    let x = x.min(frame.right() - END_WIDTH + 9.0);
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
    fn the_newest_values_have_room_whatever_the_width() {
        for width in [200.0f32, 300.0, 900.0] {
            let (from, to) = with_room_for_ends((10.0, 110.0), width);
            let room = (to - 110.0) / (to - from) * f64::from(width - AXIS_WIDTH);
            assert!(
                from < 10.0 && room >= f64::from(END_WIDTH).min(f64::from(width - AXIS_WIDTH) / 2.1) - 1e-3,
                "{room}"
            );
        }
    }

    #[test]
    fn many_steps_are_readable() {
        let said = [0.0, 150.0, 9000.0, 200_000.0, 1e6, 123_457.0].map(|v| axis_label(v, XAxis::Step));
        assert_eq!(said, ["0", "150", "9000", "200 k", "1 M", "123457"]);
    }

    #[test]
    fn times_below_seconds_are_told_apart() {
        let said = [0.0, 0.2, 1.0, 2.5, 90.0].map(|v| axis_label(v, XAxis::Time));
        assert_eq!(said, ["0:00", "0.2 s", "0:01", "2.5 s", "1:30"]);
    }
}
