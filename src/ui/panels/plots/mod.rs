//! Curves of the run, live: loss, metrics, learning rate, gradient norm, throughput.

mod chart;
pub mod curves;
pub(super) mod frame;
pub(super) mod svg;

use std::collections::{BTreeSet, HashMap};

use egui::{Color32, RichText, Ui, vec2};

use crate::ui::command::Command;
use crate::ui::ctx::Ctx;
use crate::ui::run_view::{RunView, Series, XAxis};
use crate::ui::series::Smoothed;
use crate::ui::state::UiState;
use crate::ui::theme::{self, Tokens, icons};
use crate::ui::{text, widgets};

pub(super) use chart::nearest;

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
    hidden: BTreeSet<String>,
    pub shows_table: bool,
    /// Smoothed copies that grow with their curves, by run, chart and curve.
    smoothed: HashMap<String, Smoothed>,
    /// The x range that each chart showed last, as drawn.
    seen: HashMap<String, (f64, f64)>,
    /// The x range that was zoomed to, for all charts; `None` while they follow.
    window: Option<(f64, f64)>,
}

impl PlotsState {
    /// The same choices without the scratch.
    pub fn view(&self) -> Self {
        Self {
            x: self.x,
            smoothing: self.smoothing,
            is_log_y: self.is_log_y,
            is_log_x: self.is_log_x,
            ignores_outliers: self.ignores_outliers,
            hidden: self.hidden.clone(),
            ..Self::default()
        }
    }
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
            hidden: BTreeSet::new(),
            shows_table: true,
            smoothed: HashMap::new(),
            seen: HashMap::new(),
            window: None,
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
    /// Values are numbers of bytes.
    is_bytes: bool,
}

impl Chart<'_> {
    /// A value in the words of its kind.
    fn words(&self, v: f64, digits: usize) -> String {
        if self.is_bytes { text::bytes(v.max(0.0) as u64) } else { text::number(v, digits) }
    }
}

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let Some(run) = ctx.run else { return empty_ui(ui, ctx) };
    // Before anything is drawn: what is wider than the panel must not widen the charts.
    let width = ui.available_width();
    controls_ui(ui, ctx, run, &mut state.plots);
    ui.set_max_width(width);
    let s = &mut state.plots;
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        sheet_ui(ui, ctx.tokens, run, s);
        if s.shows_table {
            table_ui(ui, ctx, run);
        }
    });
}

/// Nothing was trained since the model was opened: what will come, and what earlier runs there are.
fn empty_ui(ui: &mut Ui, ctx: &Ctx<'_>) {
    let how = "Loss, metrics and learning rate appear here as soon as training starts.";
    widgets::empty_state(ui, icons::PLOT, "No run yet", how);
    if let Some(last) = ctx.open.and_then(|o| o.runs.last()) {
        ui.vertical_centered(|ui| {
            if widgets::text_button(ui, icons::PLOT, &format!("Show {}", last.name)).clicked() {
                ctx.send(Command::ShowRun(last.folder.clone()));
            }
        });
    }
}

/// Which run is looked at, where there are several and none is in progress.
fn run_ui(ui: &mut Ui, ctx: &Ctx<'_>, run: &RunView) {
    let Some(open) = ctx.open.filter(|o| !run.state.is_active() && o.runs.len() > 1) else { return };
    let combo = egui::ComboBox::from_id_salt("shown-run").width(84.0).selected_text(text::elide_middle(&run.name, 12));
    let r = combo.show_ui(ui, |ui| {
        for r in open.runs.iter().rev() {
            let is_on = run.folder.as_ref() == Some(&r.folder);
            if widgets::choice(ui, is_on, &r.name).clicked() && !is_on {
                ctx.send(Command::ShowRun(r.folder.clone()));
            }
        }
    });
    r.response.accessible_name("Run that is shown");
}

/// All charts of a run and nothing else, for a picture.
pub fn picture_ui(ui: &mut Ui, run: &RunView, s: &mut PlotsState) {
    let t = Tokens::of(ui.visuals());
    ui.label(RichText::new(&run.name).size(theme::TITLE).family(theme::strong_family()).color(t.text));
    s.shows_table = false;
    s.is_following = true;
    sheet_ui(ui, t, run, s);
}

fn sheet_ui(ui: &mut Ui, t: &'static Tokens, run: &RunView, s: &mut PlotsState) {
    let charts = charts(t, run, s.is_log_y);
    let span = span(&charts, s);
    let width = ui.available_width();
    let columns = if width > 560.0 { 2 } else { 1 };
    let rest = charts.len().saturating_sub(1).div_ceil(columns).max(1) as f32;
    let table =
        if s.shows_table { 40.0 + 26.0 * charts.iter().map(|c| c.curves.len()).sum::<usize>() as f32 } else { 0.0 };
    let room = (ui.available_height() - table - 30.0 * (rest + 1.0)).max(0.0);
    let main = (room * 0.52).max(170.0);
    let small = ((room - main) / rest).clamp(110.0, 260.0);
    let mut charts = charts.into_iter();
    if let Some(first) = charts.next() {
        chart::ui(ui, t, run, &first, span, vec2(width, main), s);
    }
    let rest: Vec<Chart<'_>> = charts.collect();
    let mut rest = rest.iter().peekable();
    while rest.peek().is_some() {
        ui.horizontal_top(|ui| {
            ui.spacing_mut().item_spacing.x = theme::GROUPS;
            let each = (width - theme::GROUPS * (columns - 1) as f32) / columns as f32;
            for chart in rest.by_ref().take(columns) {
                ui.allocate_ui(vec2(each, small + 26.0), |ui| {
                    ui.vertical(|ui| chart::ui(ui, t, run, chart, span, vec2(each, small), s));
                });
            }
        });
    }
}

/// What all charts of a run span on the x axis together.
fn span(charts: &[Chart<'_>], s: &PlotsState) -> (f64, f64) {
    let all = charts.iter().flat_map(|c| c.curves.iter().map(|c| c.series));
    curves::span(all, s.x, s.is_log_x).unwrap_or((0.0, 1.0))
}

fn controls_ui(ui: &mut Ui, ctx: &Ctx<'_>, run: &RunView, s: &mut PlotsState) {
    ui.horizontal_wrapped(|ui| {
        run_ui(ui, ctx, run);
        for axis in XAxis::ALL {
            if ui.selectable_label(s.x == axis, axis.title()).clicked() {
                s.x = axis;
                s.is_following = true;
                s.window = None;
            }
        }
        widgets::group_gap(ui);
        widgets::together(ui, 230.0, |ui| {
            let label = ui.label("Smoothing");
            ui.spacing_mut().slider_width = 90.0;
            ui.add(egui::Slider::new(&mut s.smoothing, 0.0..=0.99).fixed_decimals(2)).labelled_by(label.id);
        });
        widgets::group_gap(ui);
        ui.toggle_value(&mut s.is_log_y, "Log y");
        if ui.toggle_value(&mut s.is_log_x, "Log x").changed() {
            // A window on one axis means nothing on the other.
            s.is_following = true;
            s.window = None;
        }
        ui.toggle_value(&mut s.ignores_outliers, "Ignore outliers");
        let follow = ui.toggle_value(&mut s.is_following, "Follow");
        let help =
            "New points stay in sight. Drag or zoom a plot to look at a part of the run; a double click follows again.";
        if follow.on_hover_text(help).changed() {
            s.window = None;
        }
        ui.toggle_value(&mut s.shows_table, "Table");
        ui.menu_button(format!("{}  Save", icons::EXPORT), |ui| {
            save_ui(ui, ctx, run, s);
        })
        .response
        .accessible_name("Save curves and plots");
    });
}

fn save_ui(ui: &mut Ui, ctx: &Ctx<'_>, run: &RunView, s: &PlotsState) {
    if widgets::text_button(ui, icons::TABLE, "All curves as CSV").clicked() {
        let text = curves::csv(&all_series(run));
        ctx.send(Command::SaveFile { suggested: format!("{}-curves.csv", run.name), bytes: text.into_bytes() });
        ui.close();
    }
    if widgets::text_button(ui, icons::PLOT, "All plots as PNG").clicked() {
        ctx.send(Command::SavePlots);
        ui.close();
    }
    let charts = charts(ctx.tokens, run, s.is_log_y);
    let span = span(&charts, s);
    for chart in charts {
        if widgets::text_button(ui, icons::PLOT, &format!("{} as SVG", chart.title)).clicked() {
            let suggested = format!("{}-{}.svg", run.name, chart.title.to_lowercase().replace(' ', "-"));
            ctx.send(Command::SaveFile { suggested, bytes: svg::chart(ctx.tokens, run, &chart, span, s).into_bytes() });
            ui.close();
        }
    }
}

/// Every series under the name that it has in the run's log.
fn all_series(run: &RunView) -> Vec<(String, &Series)> {
    let named = |name: &str| name.to_owned();
    let mut out = vec![(named("train/loss"), &run.loss), (named("validation/loss"), &run.validation_loss)];
    for (train, validation) in &run.metrics {
        out.push((format!("train/{}", train.name), train));
        out.push((format!("validation/{}", validation.name), validation));
    }
    out.extend([
        (named("train/lr"), &run.rate),
        (named("train/grad_norm"), &run.norm),
        (named("train/examples_per_sec"), &run.speed),
        (named("memory_bytes"), &run.memory),
    ]);
    out.retain(|(_, s)| !s.values.is_empty());
    out
}

fn charts<'a>(t: &Tokens, run: &'a RunView, is_log: bool) -> Vec<Chart<'a>> {
    let pair = |train: &'a Series, validation: &'a Series| {
        let mut curves = Vec::new();
        if !train.values.is_empty() {
            curves.push(Curve {
                name: "Train".to_owned(),
                series: train,
                color: t.series[0],
                is_smoothed: true,
                has_points: false,
            });
        }
        if !validation.values.is_empty() {
            curves.push(Curve {
                name: "Validation".to_owned(),
                series: validation,
                color: t.series[1],
                is_smoothed: false,
                has_points: true,
            });
        }
        curves
    };
    let mut out = vec![Chart {
        title: "Loss".to_owned(),
        curves: pair(&run.loss, &run.validation_loss),
        is_log,
        is_bytes: false,
    }];
    for (train, validation) in &run.metrics {
        let title = crate::train::metrics::title(&train.name);
        out.push(Chart { title, curves: pair(train, validation), is_log: false, is_bytes: false });
    }
    let one = |title: &str, series: &'a Series, color: Color32, is_smoothed: bool, is_log: bool| Chart {
        title: title.to_owned(),
        curves: vec![Curve { name: title.to_owned(), series, color, is_smoothed, has_points: false }],
        is_log,
        is_bytes: false,
    };
    out.push(one("Learning rate", &run.rate, t.series[2], false, false));
    out.push(one("Gradient norm", &run.norm, t.series[3], true, is_log));
    out.push(one("Examples per second", &run.speed, t.series[5], true, false));
    out.push(Chart { is_bytes: true, ..one("Memory", &run.memory, t.series[6], false, false) });
    out.retain(|c| c.curves.iter().any(|c| !c.series.values.is_empty()) || c.title == "Loss");
    out
}

fn table_ui(ui: &mut Ui, ctx: &Ctx<'_>, run: &RunView) {
    if all_series(run).is_empty() {
        return;
    }
    ui.add_space(theme::RELATED);
    egui::Grid::new("series-table").spacing(vec2(24.0, 2.0)).show(ui, |ui| {
        widgets::column_title(ui, "Series");
        for h in ["Last", "Lowest", "Highest", "Points"] {
            widgets::number_title(ui, h);
        }
        ui.end_row();
        let mut rows: Vec<(String, &Series)> =
            vec![("Loss, train".to_owned(), &run.loss), ("Loss, validation".to_owned(), &run.validation_loss)];
        for (a, b) in &run.metrics {
            let title = crate::train::metrics::title(&a.name);
            rows.push((format!("{title}, train"), a));
            rows.push((format!("{title}, validation"), b));
        }
        rows.extend([
            ("Learning rate".to_owned(), &run.rate),
            ("Gradient norm".to_owned(), &run.norm),
            ("Examples per second".to_owned(), &run.speed),
            ("Memory, bytes".to_owned(), &run.memory),
        ]);
        for (name, s) in rows.iter().filter(|(_, s)| !s.values.is_empty()) {
            ui.label(RichText::new(name).color(ctx.tokens.text_secondary));
            for v in [s.last(), s.min(), s.max()] {
                let shown = v.map_or_else(|| "–".to_owned(), |v| text::number(v, 4));
                widgets::table::number_cell(ui, &shown, &v.map_or_else(|| shown.clone(), |v| v.to_string()));
            }
            let n = text::exact(s.values.len());
            widgets::table::number_cell(ui, &n, &n);
            ui.end_row();
        }
    });
}
