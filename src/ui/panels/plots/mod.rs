//! Curves of the run, live: loss, metrics, learning rate, gradient norm, throughput.

pub mod curves;

use egui::{Color32, RichText, Sense, Ui, vec2};
use egui_plot::{Line, Plot, PlotBounds, PlotPoints, Points, VLine};

use crate::ui::command::Command;
use crate::ui::ctx::Ctx;
use crate::ui::run_view::{MarkKind, RunView, Series, XAxis};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons, tokens};
use crate::ui::{text, widgets};

/// How curves are shown; the same for all plots.
#[derive(Debug)]
pub struct PlotsState {
    pub x: XAxis,
    pub smoothing: f64,
    pub is_log_y: bool,
    pub is_log_x: bool,
    pub ignores_outliers: bool,
    /// The view follows new points.
    pub is_following: bool,
    hidden: std::collections::BTreeSet<String>,
    pub shows_table: bool,
}

impl Default for PlotsState {
    fn default() -> Self {
        Self {
            x: XAxis::Step,
            smoothing: 0.8,
            is_log_y: false,
            is_log_x: false,
            ignores_outliers: true,
            is_following: true,
            hidden: std::collections::BTreeSet::new(),
            shows_table: true,
        }
    }
}

/// One curve of one plot.
struct Curve<'a> {
    name: String,
    series: &'a Series,
    color: Color32,
    /// Draws the raw line thin behind a smoothed one.
    is_smoothed: bool,
    has_points: bool,
}

struct Chart<'a> {
    title: String,
    curves: Vec<Curve<'a>>,
    is_log: bool,
}

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let Some(run) = ctx.run else {
        return widgets::empty_state(
            ui,
            icons::PLOT,
            "No run yet",
            "Loss, metrics and learning rate appear here as soon as training starts.",
        );
    };
    controls_ui(ui, ctx, run, &mut state.plots);
    let s = &mut state.plots;
    let charts = charts(ctx, run, s.is_log_y);
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        let width = ui.available_width();
        let columns = if width > 560.0 { 2 } else { 1 };
        let rest = charts.len().saturating_sub(1).div_ceil(columns).max(1) as f32;
        let table =
            if s.shows_table { 24.0 + 20.0 * charts.iter().map(|c| c.curves.len()).sum::<usize>() as f32 } else { 0.0 };
        let room = (ui.available_height() - table - 30.0 * (rest + 1.0)).max(0.0);
        let main = (room * 0.52).max(170.0);
        let small = ((room - main) / rest).clamp(110.0, 260.0);
        let mut charts = charts.into_iter();
        if let Some(first) = charts.next() {
            chart_ui(ui, ctx, run, first, vec2(width, main), s);
        }
        let rest: Vec<Chart<'_>> = charts.collect();
        let mut rest = rest.into_iter().peekable();
        while rest.peek().is_some() {
            ui.horizontal_top(|ui| {
                ui.spacing_mut().item_spacing.x = theme::GROUPS;
                let each = (width - theme::GROUPS * (columns - 1) as f32) / columns as f32;
                for chart in rest.by_ref().take(columns) {
                    ui.allocate_ui(vec2(each, small + 26.0), |ui| {
                        ui.vertical(|ui| chart_ui(ui, ctx, run, chart, vec2(each, small), s));
                    });
                }
            });
        }
        if s.shows_table {
            table_ui(ui, ctx, run);
        }
    });
}

fn controls_ui(ui: &mut Ui, ctx: &Ctx<'_>, run: &RunView, s: &mut PlotsState) {
    ui.horizontal_wrapped(|ui| {
        for axis in XAxis::ALL {
            if ui.selectable_label(s.x == axis, axis.title()).clicked() {
                s.x = axis;
                s.is_following = true;
            }
        }
        ui.separator();
        let label = ui.label("Smoothing");
        ui.spacing_mut().slider_width = 90.0;
        ui.add(egui::Slider::new(&mut s.smoothing, 0.0..=0.99).fixed_decimals(2)).labelled_by(label.id);
        ui.separator();
        ui.toggle_value(&mut s.is_log_y, "Log y");
        ui.toggle_value(&mut s.is_log_x, "Log x");
        ui.toggle_value(&mut s.ignores_outliers, "Ignore outliers");
        ui.toggle_value(&mut s.is_following, "Follow");
        ui.toggle_value(&mut s.shows_table, "Table");
        if widgets::icon_button(ui, icons::EXPORT, "Save all curves as CSV").clicked() {
            let text = curves::csv(&all_series(run));
            ctx.send(Command::SaveText { suggested: format!("{}-curves.csv", run.name), text });
        }
    });
}

/// Every series with its name in the CSV file.
fn all_series(run: &RunView) -> Vec<(&str, &Series)> {
    let mut out: Vec<(&str, &Series)> = vec![("loss", &run.loss), ("validation loss", &run.validation_loss)];
    for (train, validation) in &run.metrics {
        out.push((&train.name, train));
        out.push((&validation.name, validation));
    }
    out.extend([("learning rate", &run.rate), ("gradient norm", &run.norm), ("examples per second", &run.speed)]);
    out.retain(|(_, s)| !s.values.is_empty());
    out
}

fn charts<'a>(ctx: &Ctx<'_>, run: &'a RunView, is_log: bool) -> Vec<Chart<'a>> {
    let t = ctx.tokens;
    let pair = |train: &'a Series, validation: &'a Series| {
        let mut curves = Vec::new();
        if !train.values.is_empty() {
            curves.push(Curve {
                name: "train".to_owned(),
                series: train,
                color: t.series[0],
                is_smoothed: true,
                has_points: false,
            });
        }
        if !validation.values.is_empty() {
            curves.push(Curve {
                name: "validation".to_owned(),
                series: validation,
                color: t.series[1],
                is_smoothed: false,
                has_points: true,
            });
        }
        curves
    };
    let mut out = vec![Chart { title: "Loss".to_owned(), curves: pair(&run.loss, &run.validation_loss), is_log }];
    for (train, validation) in &run.metrics {
        let mut title = train.name.clone();
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        out.push(Chart { title, curves: pair(train, validation), is_log: false });
    }
    let one = |title: &str, series: &'a Series, color: Color32, is_smoothed: bool, is_log: bool| Chart {
        title: title.to_owned(),
        curves: vec![Curve { name: title.to_lowercase(), series, color, is_smoothed, has_points: false }],
        is_log,
    };
    out.push(one("Learning rate", &run.rate, t.series[2], false, false));
    out.push(one("Gradient norm", &run.norm, t.series[3], true, is_log));
    out.push(one("Examples per second", &run.speed, t.series[5], true, false));
    out.retain(|c| c.curves.iter().any(|c| !c.series.values.is_empty()) || c.title == "Loss");
    out
}

fn chart_ui(ui: &mut Ui, ctx: &Ctx<'_>, run: &RunView, chart: Chart<'_>, size: egui::Vec2, s: &mut PlotsState) {
    let t = ctx.tokens;
    ui.horizontal(|ui| {
        ui.label(RichText::new(&chart.title).family(theme::strong_family()));
        // In a narrow chart the values at the right need the room; the first chart explains the colours.
        if chart.curves.len() > 1 && size.x > 340.0 {
            for c in &chart.curves {
                legend_chip(ui, &chart.title, c, &mut s.hidden);
            }
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            for c in chart.curves.iter().rev() {
                if let Some(v) = c.series.last() {
                    let value = RichText::new(text::number(v, 4)).monospace().color(c.color);
                    ui.label(value).on_hover_text(format!("{}: {v}", c.name));
                }
            }
        });
    });
    let shown: Vec<&Curve<'_>> =
        chart.curves.iter().filter(|c| !s.hidden.contains(&key(&chart.title, &c.name))).collect();
    let y_of = |v: f64| if chart.is_log { curves::log10(v) } else { v };
    let x_of = |v: f64| if s.is_log_x { curves::log10(v.max(1e-9)) } else { v };
    let width = size.x.max(50.0) as usize;
    let lines: Vec<(&Curve<'_>, Vec<[f64; 2]>, Vec<[f64; 2]>)> = shown
        .iter()
        .map(|c| {
            let xs: Vec<f64> = c.series.xs(s.x).iter().map(|&v| x_of(v)).collect();
            let raw: Vec<f64> = c.series.values.iter().map(|&v| y_of(v)).collect();
            let main: Vec<f64> = if c.is_smoothed {
                curves::smooth(&c.series.values, s.smoothing).into_iter().map(y_of).collect()
            } else {
                raw.clone()
            };
            (*c, curves::thin(&xs, &raw, width), curves::thin(&xs, &main, width))
        })
        .collect();
    let y_range = curves::range(lines.iter().flat_map(|(_, raw, _)| raw.iter().map(|p| p[1])), s.ignores_outliers);
    let x_max = lines.iter().flat_map(|(_, raw, _)| raw.iter().map(|p| p[0])).fold(f64::NEG_INFINITY, f64::max);
    let x_min = lines.iter().flat_map(|(_, raw, _)| raw.iter().map(|p| p[0])).fold(f64::INFINITY, f64::min);
    let (is_log, is_log_x, axis) = (chart.is_log, s.is_log_x, s.x);
    let plot = Plot::new(("plot", &chart.title))
        .width(size.x)
        .height(size.y)
        .show_background(false)
        .show_grid([false, true])
        .grid_color(t.stroke_subtle)
        .allow_scroll(false)
        .allow_boxed_zoom(true)
        .y_axis_min_width(52.0)
        .y_grid_spacer(move |input| marks(input, (size.y / 34.0) as usize))
        .x_grid_spacer(move |input| marks(input, (size.x / 110.0) as usize))
        .set_margin_fraction(vec2(0.0, 0.0))
        .y_axis_formatter(move |m, _| text::number(if is_log { 10f64.powf(m.value) } else { m.value }, 3))
        .x_axis_formatter(move |m, _| axis_label(if is_log_x { 10f64.powf(m.value) } else { m.value }, axis));
    let marks: Vec<(f64, MarkKind, String)> =
        run.marks.iter().map(|m| (x_of(m.at.x(axis)), m.kind, m.text.clone())).collect();
    let is_following = s.is_following;
    let response = plot.show(ui, |p| {
        if is_following
            && let Some((low, high)) = y_range
            && x_max > x_min
        {
            p.set_plot_bounds(PlotBounds::from_min_max([x_min, low], [x_max, high]));
        }
        for (x, kind, words) in &marks {
            p.vline(VLine::new(words, *x).color(mark_color(t, *kind)).width(1.0).allow_hover(false));
        }
        for (c, raw, main) in lines {
            if c.is_smoothed {
                p.line(
                    Line::new(format!("{} (raw)", c.name), PlotPoints::from(raw))
                        .color(tokens::faded(c.color, 0.3))
                        .width(1.0)
                        .allow_hover(false),
                );
            }
            if c.has_points {
                p.points(Points::new(&c.name, PlotPoints::from(main.clone())).color(c.color).radius(3.0));
            }
            p.line(Line::new(&c.name, PlotPoints::from(main)).color(c.color).width(2.0));
        }
    });
    let r = response.response;
    r.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, format!("Plot of {}", chart.title)));
    if r.dragged() || (r.hovered() && ui.input(|i| (i.zoom_delta() - 1.0).abs() > 1e-3)) {
        s.is_following = false;
    }
    if r.double_clicked() {
        s.is_following = true;
    }
}

/// About `n` round marks on an axis.
fn marks(input: egui_plot::GridInput, n: usize) -> Vec<egui_plot::GridMark> {
    let (step_size, values) = curves::ticks(input.bounds.0, input.bounds.1, n.max(2));
    values.into_iter().map(|value| egui_plot::GridMark { value, step_size }).collect()
}

fn mark_color(t: &theme::Tokens, kind: MarkKind) -> Color32 {
    match kind {
        MarkKind::Epoch => t.stroke_subtle,
        MarkKind::Checkpoint => tokens::faded(t.info, 0.5),
        MarkKind::BestCheckpoint => t.flows,
        MarkKind::RateChange => t.warning,
        MarkKind::Pause => t.text_disabled,
    }
}

fn axis_label(v: f64, axis: XAxis) -> String {
    match axis {
        XAxis::Time | XAxis::TimeWithoutPauses => text::duration(v),
        XAxis::Step => text::number(v, 6),
        XAxis::Epoch => text::number(v, 3),
    }
}

fn key(chart: &str, curve: &str) -> String {
    format!("{chart}/{curve}")
}

fn legend_chip(ui: &mut Ui, chart: &str, c: &Curve<'_>, hidden: &mut std::collections::BTreeSet<String>) {
    let key = key(chart, &c.name);
    let is_on = !hidden.contains(&key);
    let (rect, r) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
    let color = if is_on { c.color } else { tokens::faded(c.color, 0.3) };
    ui.painter().rect_filled(rect.shrink2(vec2(0.0, 3.5)), 1.0, color);
    drop(r);
    let label = ui.add(egui::Button::selectable(false, RichText::new(&c.name).size(theme::CAPTION)).small());
    label.widget_info(|| egui::WidgetInfo::selected(egui::Role::CheckBox, true, is_on, format!("{chart}: {}", c.name)));
    if label.clicked() && !hidden.remove(&key) {
        hidden.insert(key);
    }
}

fn table_ui(ui: &mut Ui, ctx: &Ctx<'_>, run: &RunView) {
    ui.add_space(theme::RELATED);
    egui::Grid::new("series-table").num_columns(5).spacing(vec2(24.0, 2.0)).show(ui, |ui| {
        for h in ["Series", "Last", "Lowest", "Highest", "Points"] {
            widgets::caption(ui, h);
        }
        ui.end_row();
        let mut rows: Vec<(String, &Series)> =
            vec![("loss, train".to_owned(), &run.loss), ("loss, validation".to_owned(), &run.validation_loss)];
        for (a, b) in &run.metrics {
            rows.push((format!("{}, train", a.name), a));
            rows.push((format!("{}, validation", b.name), b));
        }
        rows.extend([
            ("learning rate".to_owned(), &run.rate),
            ("gradient norm".to_owned(), &run.norm),
            ("examples per second".to_owned(), &run.speed),
        ]);
        for (name, s) in rows.iter().filter(|(_, s)| !s.values.is_empty()) {
            ui.label(RichText::new(name).color(ctx.tokens.text_secondary));
            for v in [s.last(), s.min(), s.max()] {
                let shown = v.map_or_else(|| "–".to_owned(), |v| text::number(v, 4));
                ui.label(RichText::new(shown).monospace()).on_hover_text(v.map_or_else(String::new, |v| v.to_string()));
            }
            ui.label(RichText::new(text::exact(s.values.len())).monospace());
            ui.end_row();
        }
    });
}
