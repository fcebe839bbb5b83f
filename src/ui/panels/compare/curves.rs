//! One curve of several runs on one plot: choosing it, drawing it, what it was where the pointer is, saving it.

use egui::{RichText, Role, Ui, Vec2, WidgetInfo, vec2};
use egui_plot::{Line, PlotPoints};

use crate::ui::command::Command;
use crate::ui::ctx::{Ctx, RunEntry};
use crate::ui::panels::curves;
use crate::ui::panels::plots::{frame, nearest, svg};
use crate::ui::run_view::{Series, XAxis};
use crate::ui::theme::{self, Tokens, icons};
use crate::ui::{text, widgets};

use super::{CompareState, View, color};

type Shown<'a> = [(usize, &'a RunEntry)];

/// The names of all curves, in the order of the runs.
fn names(shown: &Shown<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for c in shown.iter().flat_map(|(_, r)| &r.curves) {
        if !names.contains(&c.name) {
            names.push(c.name.clone());
        }
    }
    names
}

/// The curve that is looked at: the chosen one, else the validation loss, else the first; `None` without any.
fn chosen(shown: &Shown<'_>, s: &CompareState) -> Option<String> {
    let names = names(shown);
    let by_itself = || names.iter().find(|n| *n == "validation/loss").or(names.first()).cloned();
    s.curve.clone().filter(|c| names.contains(c)).or_else(by_itself)
}

pub(super) fn ui(ui: &mut Ui, ctx: &Ctx<'_>, shown: &Shown<'_>, s: &mut CompareState) {
    let Some(chosen) = chosen(shown, s) else { return };
    ui.add_space(theme::RELATED);
    let width = ui.available_width();
    controls_ui(ui, ctx, shown, &chosen, s);
    let height = (ui.available_height() * 0.5).clamp(150.0, 320.0);
    plot_ui(ui, ctx.tokens, shown, &chosen, vec2(width, height), s);
    extremes_ui(ui, ctx.tokens, shown, &chosen);
}

pub(super) fn picture_ui(ui: &mut Ui, t: &'static Tokens, shown: &Shown<'_>, s: &mut CompareState) {
    let Some(chosen) = chosen(shown, s) else { return };
    let title = crate::train::metrics::title(&chosen);
    ui.label(RichText::new(title).size(theme::TITLE).family(theme::strong_family()).color(t.text));
    s.view = None;
    let table = 40.0 + 22.0 * shown.len() as f32;
    let size = vec2(ui.available_width(), (ui.available_height() - table).max(150.0));
    plot_ui(ui, t, shown, &chosen, size, s);
    extremes_ui(ui, t, shown, &chosen);
}

fn controls_ui(ui: &mut Ui, ctx: &Ctx<'_>, shown: &Shown<'_>, chosen: &str, s: &mut CompareState) {
    ui.horizontal_wrapped(|ui| {
        let combo = egui::ComboBox::from_id_salt("compared-curve")
            .width(160.0)
            .selected_text(crate::train::metrics::title(chosen));
        let r = combo.show_ui(ui, |ui| {
            for n in names(shown) {
                if widgets::choice(ui, n == chosen, crate::train::metrics::title(&n)).clicked() {
                    s.curve = Some(n);
                }
            }
        });
        r.response.accessible_name("Curve");
        for axis in XAxis::ALL {
            let r = ui.selectable_label(s.x == axis, axis.title());
            r.widget_info(|| {
                WidgetInfo::selected(Role::RadioButton, true, s.x == axis, format!("Compare by {}", axis.title()))
            });
            if r.clicked() {
                s.x = axis;
            }
        }
        ui.toggle_value(&mut s.is_log, "Log y");
        ui.toggle_value(&mut s.is_log_x, "Log x");
        ui.toggle_value(&mut s.keeps_outliers, "Outliers").on_hover_text("Show them even where they flatten the rest.");
        ui.menu_button(format!("{}  Save", icons::EXPORT), |ui| save_ui(ui, ctx, shown, chosen, s))
            .response
            .accessible_name("Save the comparison");
    });
}

fn save_ui(ui: &mut Ui, ctx: &Ctx<'_>, shown: &Shown<'_>, chosen: &str, s: &CompareState) {
    let save = |ui: &mut Ui, icon, words: &str, command: &dyn Fn() -> Command| {
        if widgets::text_button(ui, icon, words).clicked() {
            ctx.send(command());
            ui.close();
        }
    };
    let file = |ending: &str, bytes: String| Command::SaveFile {
        suggested: format!("runs{ending}"),
        bytes: bytes.into_bytes(),
    };
    save(ui, icons::TABLE, "All curves of these runs as CSV", &|| file(".csv", csv(shown)));
    save(ui, icons::PLOT, "This plot as PNG", &|| Command::SaveComparison);
    save(ui, icons::PLOT, "This plot as SVG", &|| {
        file(&format!("-{}.svg", chosen.replace('/', "-")), picture(ctx.tokens, shown, chosen, s))
    });
}

/// The points of a curve that a plot of some width needs, on its axes.
fn points(c: &Series, s: &CompareState, width: usize) -> Vec<[f64; 2]> {
    let xs = c.xs(s.x);
    let points = c.thin(s.x, f64::NEG_INFINITY, f64::INFINITY, width).into_iter();
    points.filter_map(|j| Some([curves::place(xs[j], s.is_log_x)?, curves::place(c.values[j], s.is_log)?])).collect()
}

/// What all curves together span: x from and to, y from and to; `None` where there is nothing to look at.
fn bounds(shown: &Shown<'_>, chosen: &str, s: &CompareState) -> Option<[f64; 4]> {
    let all = || shown.iter().filter_map(|(_, r)| r.curve(chosen));
    let (from, to) = curves::span(all(), s.x, s.is_log_x)?;
    let values = all().flat_map(|c| points(c, s, svg::WIDTH as usize)).map(|p| p[1]);
    let (low, high) = curves::range(values, !s.keeps_outliers)?;
    Some([from, to, low, high])
}

fn plot_ui(ui: &mut Ui, t: &'static Tokens, shown: &Shown<'_>, chosen: &str, size: Vec2, s: &mut CompareState) {
    let (axis, is_log) = (s.x, s.is_log);
    let axes = frame::Axes { x: axis, is_log_x: s.is_log_x, is_log_y: is_log, is_bytes: false };
    let plot = frame::plot("compare-plot", size, t, axes);
    // Another axis or curve, and runs that went on, are looked at as a whole.
    let n_points = shown.iter().filter_map(|(_, r)| r.curve(chosen)).map(|c| c.values.len()).collect();
    let view = View {
        curve: chosen.to_owned(),
        axis,
        flags: [is_log, s.is_log_x, s.keeps_outliers],
        runs: shown.iter().map(|(i, _)| *i).collect(),
        n_points,
    };
    let is_new = s.view.as_ref() != Some(&view);
    s.view = Some(view);
    let lines: Vec<_> = shown
        .iter()
        .filter_map(|(i, r)| Some((color(t, *i), r, points(r.curve(chosen)?, s, size.x.max(100.0) as usize))))
        .collect();
    let end = |(color, _, points): &(egui::Color32, &&RunEntry, Vec<[f64; 2]>)| {
        let at = *points.last()?;
        Some(frame::End { at, words: text::number(curves::at_place(at[1], is_log), 4), color: *color })
    };
    let ends: Vec<frame::End> = lines.iter().filter_map(end).collect();
    let whole = bounds(shown, chosen, s);
    let response = frame::with_captions(ui, |ui| {
        plot.show(ui, |p| {
            if is_new {
                let [from, to, low, high] = whole.unwrap_or([0.0, 1.0, 0.0, 1.0]);
                let (from, to) = frame::with_room_for_ends((from, to), size.x);
                p.set_plot_bounds(egui_plot::PlotBounds::from_min_max([from, low], [to, high]));
            }
            for (color, r, points) in lines {
                if points.len() == 1 {
                    let point = egui_plot::Points::new(&r.name, PlotPoints::from(points.clone()));
                    p.points(point.color(color).radius(3.5).allow_hover(false));
                }
                p.line(Line::new(&r.name, PlotPoints::from(points)).color(color).width(2.0).allow_hover(false));
            }
        })
    });
    frame::paint_ends(ui, &response.transform, &ends);
    let hovered = response.response;
    hovered.widget_info(|| WidgetInfo::labeled(Role::Image, true, format!("Plot of {chosen} of all runs")));
    if hovered.double_clicked() {
        s.view = None;
    }
    if let Some(at) = hovered.hover_pos() {
        let x = curves::at_place(response.transform.value_from_position(at).x, s.is_log_x);
        hovered.on_hover_ui_at_pointer(|ui| tooltip_ui(ui, t, shown, chosen, axis, x));
    }
}

/// What every run had at a place of the axis.
fn tooltip_ui(ui: &mut Ui, t: &Tokens, shown: &Shown<'_>, curve: &str, axis: XAxis, x: f64) {
    widgets::caption(ui, format!("{} {}", axis.title(), frame::axis_label(x, axis)));
    egui::Grid::new("compare-tooltip").num_columns(2).spacing(vec2(12.0, 2.0)).show(ui, |ui| {
        for (i, r) in shown {
            let value = r.curve(curve).and_then(|c| Some(c.values[nearest(c.xs(axis), x)?]));
            let Some(v) = value else { continue };
            ui.label(RichText::new(&r.name).color(color(t, *i)));
            widgets::table::right(ui, |ui| {
                ui.label(RichText::new(text::number(v, 8)).monospace());
            });
            ui.end_row();
        }
    });
}

/// Last, lowest and highest value of the chosen curve, run by run.
fn extremes_ui(ui: &mut Ui, t: &Tokens, shown: &Shown<'_>, curve: &str) {
    egui::Grid::new("compare-extremes").spacing(vec2(24.0, 2.0)).show(ui, |ui| {
        widgets::column_title(ui, "Run");
        for title in ["Last", "Lowest", "Highest", "Points"] {
            widgets::number_title(ui, title);
        }
        ui.end_row();
        for (i, r) in shown {
            let Some(c) = r.curve(curve).filter(|c| !c.values.is_empty()) else { continue };
            ui.label(RichText::new(&r.name).color(color(t, *i)));
            for v in [c.last(), c.min(), c.max()] {
                let words = v.map_or_else(|| "–".to_owned(), |v| text::number(v, 4));
                let exact = v.map_or_else(|| words.clone(), |v| v.to_string());
                widgets::table::number_cell(ui, &words, &exact);
            }
            let n = text::exact(c.values.len());
            widgets::table::number_cell(ui, &n, &n);
            ui.end_row();
        }
    });
}

/// Every curve of the compared runs as one table.
fn csv(shown: &Shown<'_>) -> String {
    let named: Vec<(String, &Series)> =
        shown.iter().flat_map(|(_, r)| r.curves.iter().map(|c| (format!("{}/{}", r.name, c.name), c))).collect();
    curves::csv(&named)
}

/// The plot as an SVG picture, all of it in sight.
fn picture(t: &Tokens, shown: &Shown<'_>, chosen: &str, s: &CompareState) -> String {
    let line = |(i, r): &(usize, &RunEntry)| {
        let points = points(r.curve(chosen)?, s, svg::WIDTH as usize);
        Some(svg::Line { name: r.name.clone(), color: color(t, *i), faint: Vec::new(), points })
    };
    let [x0, x1, y0, y1] = bounds(shown, chosen, s).unwrap_or([0.0, 1.0, 0.0, 1.0]);
    svg::draw(
        t,
        &svg::Sheet {
            title: crate::train::metrics::title(chosen),
            x: (x0, x1),
            y: (y0, y1),
            axis: s.x,
            is_log_x: s.is_log_x,
            is_log_y: s.is_log,
            is_bytes: false,
            lines: shown.iter().filter_map(line).collect(),
            marks: Vec::new(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::run_view::Moment;
    use crate::ui::theme::tokens;

    fn run(name: &str, values: &[f64]) -> RunEntry {
        let mut c = Series::new("train/loss");
        for (i, v) in values.iter().enumerate() {
            let step = 3.0 + i as f64;
            c.push(Moment { step, epoch: 0.5, seconds: 1.0, wall: 2.0 }, *v);
        }
        RunEntry { name: name.to_owned(), curves: vec![c], ..RunEntry::default() }
    }

    #[test]
    fn curves_of_all_runs_are_one_table() {
        let (a, b) = (run("run-1", &[0.25]), run("run-2", &[0.25]));
        let text = csv(&[(0, &a), (1, &b)]);
        assert_eq!(text.lines().nth(2), Some("run-2/train/loss,3,0.5,1,2,0.25"));
    }

    #[test]
    fn the_comparison_is_a_picture_with_a_line_for_each_run() {
        let (a, b) = (run("run-1", &[0.5, 0.25, 0.2]), run("run<2", &[0.9, 0.0, 0.6]));
        let shown = [(0, &a), (1, &b)];
        let s = CompareState { keeps_outliers: true, ..CompareState::default() };
        assert_eq!(chosen(&shown, &s).as_deref(), Some("train/loss"), "what there is, where nothing was validated");
        let [x0, x1, y0, y1] = bounds(&shown, "train/loss", &s).unwrap();
        assert!((x0, x1) == (3.0, 5.0) && y0 < 0.0 && y1 > 0.9);
        let svg = picture(&tokens::DARK, &shown, "train/loss", &s);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("run&lt;2") && !svg.contains("NaN"));
        // A value of zero has no place on a logarithmic axis.
        let log = CompareState { is_log: true, ..s };
        assert_eq!(points(&b.curves[0], &log, 100).len(), 2);
    }
}
