//! Everything about whatever is selected: node, edge, constant, dropout site, scope, or several.

mod edge;
mod node;
mod several;
mod steer;

use egui::{Color32, ColorImage, RichText, Sense, TextureHandle, TextureOptions, Ui, vec2};

use crate::data::statistics::{Described, SliceAt, Sliced};
use crate::session::overview::ConstantRow;
use crate::session::{Change, Selector, TrainableChoice};
use crate::ui::command::Command;
use crate::ui::ctx::{Ctx, Open};
use crate::ui::selection::{How, Target};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons, tokens};
use crate::ui::{bulk, text, widgets};

/// The picture of the constant that is shown, made once.
#[derive(Default)]
pub struct InspectorState {
    picture: Option<(SliceAt, bool, TextureHandle)>,
    /// The part that is asked for.
    at: SliceAt,
    several: several::Cache,
    /// Diverging colours centred at zero instead of viridis.
    is_diverging: bool,
}

impl std::fmt::Debug for InspectorState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InspectorState").field("is_diverging", &self.is_diverging).finish_non_exhaustive()
    }
}

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let Some(open) = ctx.open else { return super::no_model(ui) };
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        if state.selection.nodes().len() > 1 {
            return several::ui(ui, ctx, open, &state.selection, &mut state.inspector.several);
        }
        match state.selection.focus().cloned() {
            None => model_ui(ui, open),
            Some(Target::Node(name)) => match open.index.constant(&name) {
                Some(c) => constant_ui(ui, ctx, open, c, &mut state.inspector),
                None => node::ui(ui, ctx, open, &name, state),
            },
            Some(Target::Value(name)) => edge::ui(ui, ctx, open, &name),
            Some(Target::Values(names)) => edge::several_ui(ui, ctx, open, &names),
            Some(Target::Site(output)) => {
                if let Some(site) = open.overview.dropout.iter().find(|s| s.output == output) {
                    title(ui, "Dropout site", &site.output);
                    super::dropout::site_ui(ui, ctx, open, site);
                }
            }
            Some(Target::Scope(name)) => scope_ui(ui, ctx, open, &name),
        }
    });
}

fn title(ui: &mut Ui, kind: &str, name: &str) {
    widgets::caption(ui, kind);
    ui.horizontal(|ui| {
        let wide = ui.available_width() - 34.0;
        let shown = widgets::fit_name(name, wide);
        ui.label(RichText::new(shown).monospace().strong()).on_hover_text(name);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if widgets::icon_button(ui, icons::COPY, "Copy the name").clicked() {
                ui.ctx().copy_text(name.to_owned());
            }
        });
    });
}

fn model_ui(ui: &mut Ui, open: &Open) {
    let o = &open.overview;
    title(ui, "Model", &open.title());
    widgets::fact(ui, "Format", text::format_label(&o.format));
    if !o.producer.is_empty() {
        widgets::fact(ui, "Producer", &o.producer);
    }
    widgets::fact_with_exact(ui, "Size", &text::bytes(o.bytes), Some(&text::exact(o.bytes as usize)));
    widgets::fact(ui, "Nodes", &text::exact(o.nodes.len()));
    widgets::fact(ui, "Constants", &text::exact(o.constants.len()));
    widgets::fact(ui, "Dropout sites", &text::exact(o.dropout.len()));
    widgets::section(ui, "INPUTS", |ui| {
        for p in &o.placeholders {
            widgets::fact(ui, &p.name, &format!("{} {}", p.dtype, text::shape(p.shape.as_deref())));
        }
    });
    for s in &o.signatures {
        widgets::section(ui, "OUTPUTS", |ui| {
            for out in &s.outputs {
                widgets::name_label(ui, out);
            }
        });
    }
    widgets::note(ui, "Select a node, a constant or a scope to see everything about it.");
}

fn constant_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, c: usize, state: &mut InspectorState) {
    let row = &open.overview.constants[c];
    title(ui, "Constant", &row.name);
    widgets::fact(ui, "Type", &row.dtype);
    widgets::fact(ui, "Shape", &text::shape(row.shape.as_deref()));
    widgets::fact_with_exact(ui, "Elements", &text::count(row.elements), Some(&text::exact(row.elements)));
    widgets::fact_with_exact(ui, "Size", &text::bytes(row.bytes as u64), Some(&text::exact(row.bytes)));
    widgets::fact(ui, "Role", &row.role);
    ui.horizontal(|ui| {
        ui.label(RichText::new("Gradient").color(ctx.tokens.text_secondary));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            widgets::verdict_badge(ui, &row.gradient);
        });
    });
    trainable_ui(ui, ctx, row);
    let report = open.gradients.as_ref().filter(|_| row.gradient != "flows");
    let path = report.and_then(|g| g.constants.iter().find(|g| g.name == row.name));
    if let Some(g) = path.filter(|g| g.why.is_some()) {
        widgets::section(ui, "WHY NO GRADIENT ARRIVES", |ui| {
            widgets::note(ui, g.why.clone().unwrap_or_default());
            for name in g.path.iter().take(node::MAX_LINKS) {
                if widgets::name_link(ui, name).clicked() {
                    ctx.send(Command::Select(Target::Node(name.clone()), How::Replace));
                }
            }
        });
    }
    changes_ui(ui, ctx, open, row);
    values_ui(ui, ctx, open, row, state);
    if let Some(n) = open.index.node_of_constant[c] {
        node::links(ui, ctx, open, "READ BY", &open.index.readers[n]);
    }
}

fn trainable_ui(ui: &mut Ui, ctx: &Ctx<'_>, row: &ConstantRow) {
    ui.add_space(theme::RELATED);
    let can = row.dtype.contains("float") || row.dtype == "half";
    let mut on = row.trainable;
    ui.add_enabled_ui(can, |ui| {
        if ui.checkbox(&mut on, "Trainable").changed() {
            ctx.change(Change::Train { names: vec![row.name.clone()], on });
        }
    });
    if !row.reason.is_empty() {
        let word = if row.suggest == "train" { "Suggested" } else { "Not suggested" };
        widgets::note(ui, format!("{word}: {}.", row.reason.trim_end_matches('.')));
    }
}

/// How far the runs of this session moved it.
fn changes_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, row: &ConstantRow) {
    let has_float = row.dtype.contains("float") || row.dtype == "half";
    if !has_float || !open.runs.iter().any(|r| r.can_resume) {
        return;
    }
    widgets::section(ui, "CHANGED BY", |ui| match open.changes.get(&row.name) {
        None => {
            ctx.send(Command::MeasureChanges(row.name.clone()));
            ui.horizontal(|ui| {
                ui.spinner();
                ui.label("Comparing with its checkpoints");
            });
        }
        Some(changes) if changes.is_empty() => {
            widgets::note(ui, "No run; none of them trained it.");
        }
        Some(changes) => {
            for c in changes {
                match &c.moved {
                    Ok(m) => {
                        let share = m.relative.map(|r| format!("  ({})", text::percent(r))).unwrap_or_default();
                        let words = format!("Δ norm {}{share}", text::number(m.norm, 4));
                        let exact = format!(
                            "Euclidean norm of the change {}, largest change of an element {}",
                            m.norm, m.largest
                        );
                        widgets::fact_with_exact(ui, &c.run, &words, Some(&exact));
                    }
                    Err(e) => {
                        ui.label(RichText::new(format!("{}: {e}", c.run)).color(ctx.tokens.error));
                    }
                }
            }
        }
    });
}

fn values_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, row: &ConstantRow, state: &mut InspectorState) {
    widgets::section(ui, "VALUES", |ui| match open.described.get(&row.name) {
        None => {
            ctx.send(Command::Describe(row.name.clone()));
            ui.horizontal(|ui| {
                ui.spinner();
                ui.label("Reading every element");
            });
        }
        Some(Err(e)) => {
            ui.add(egui::Label::new(RichText::new(e).color(ctx.tokens.error)).wrap());
        }
        Some(Ok(d)) => described_ui(ui, ctx, row, d, state),
    });
}

fn described_ui(ui: &mut Ui, ctx: &Ctx<'_>, row: &ConstantRow, d: &Described, state: &mut InspectorState) {
    let show = |v: f64| text::number(v, 5);
    if d.elements > 1 {
        widgets::fact_with_exact(ui, "Mean", &show(d.mean), Some(&d.mean.to_string()));
        widgets::fact_with_exact(ui, "Deviation", &show(d.deviation), Some(&d.deviation.to_string()));
    }
    widgets::fact_with_exact(ui, "Minimum", &show(d.min), Some(&d.min.to_string()));
    widgets::fact_with_exact(ui, "Maximum", &show(d.max), Some(&d.max.to_string()));
    if d.zeros > 0 && d.elements > 1 {
        let share = d.zeros as f64 / d.elements as f64;
        widgets::fact_with_exact(ui, "Zeros", &text::percent(share), Some(&text::exact(d.zeros)));
    }
    if d.nan + d.infinite > 0 {
        let words = format!("{} NaN, {} infinite", text::exact(d.nan), text::exact(d.infinite));
        ui.label(RichText::new(words).color(ctx.tokens.error));
    } else if row.dtype.contains("float") || row.dtype == "half" {
        widgets::fact(ui, "NaN or infinite", "none");
    }
    if d.histogram.len() > 1 {
        histogram_ui(ui, ctx, d);
    }
    slice_ui(ui, ctx, row, state);
    if widgets::text_button(ui, icons::SAVE, "Save as .npy or .csv…").clicked() {
        ctx.send(Command::SaveTensor(row.name.clone()));
    }
}

/// Heat map and values of one matrix, with controls for which one and from where on.
fn slice_ui(ui: &mut Ui, ctx: &Ctx<'_>, row: &ConstantRow, state: &mut InspectorState) {
    let dims: Vec<usize> = row.shape.iter().flatten().map(|d| d.unwrap_or(1)).collect();
    if row.elements == 0 {
        return;
    }
    if state.at.name != row.name {
        let leading = vec![0; dims.len().saturating_sub(2)];
        state.at = SliceAt { name: row.name.clone(), leading, row: 0, column: 0 };
    }
    let Some(open) = ctx.open else { return };
    let sliced = match &open.slice {
        Some((at, Ok(s))) if at.name == row.name => s.clone(),
        Some((at, Err(e))) if at.name == row.name => {
            widgets::note(ui, e);
            return;
        }
        _ => {
            ctx.send(Command::Slice(state.at.clone()));
            ui.spinner();
            return;
        }
    };
    let before = state.at.clone();
    if sliced.rows * sliced.columns > 1 {
        slice_controls_ui(ui, &dims, &sliced, &mut state.at);
    }
    if state.at != before {
        ctx.send(Command::Slice(state.at.clone()));
    }
    if sliced.picture_size[0] > 1 && sliced.picture_size[1] > 1 {
        picture_ui(ui, &sliced, state);
    }
    grid_ui(ui, ctx, &sliced);
    if widgets::text_button(ui, icons::COPY, "Copy these values")
        .on_hover_text("As a table with tabs between columns.")
        .clicked()
    {
        ctx.send(Command::CopyText(as_table(&sliced)));
    }
}

/// The window of values as lines of columns with all their digits.
fn as_table(s: &Sliced) -> String {
    let line = |row: &[f64]| row.iter().map(f64::to_string).collect::<Vec<_>>().join("\t");
    s.grid.chunks(s.grid_columns.max(1)).map(line).collect::<Vec<_>>().join("\n")
}

fn slice_controls_ui(ui: &mut Ui, dims: &[usize], s: &Sliced, at: &mut SliceAt) {
    ui.horizontal_wrapped(|ui| {
        let drag = |ui: &mut Ui, value: &mut usize, most: usize, name: &str| {
            ui.add_enabled_ui(most > 0, |ui| {
                let drag = egui::DragValue::new(value).range(0..=most).prefix(format!("{name} "));
                ui.add(drag).accessible_name(name).on_hover_text(format!("{name}, 0 to {most}"));
            });
        };
        for (i, value) in at.leading.iter_mut().enumerate() {
            drag(ui, value, dims.get(i).map_or(0, |d| d.saturating_sub(1)), &format!("axis {i}"));
        }
        drag(ui, &mut at.row, s.rows - 1, "row");
        drag(ui, &mut at.column, s.columns - 1, "column");
    });
}

fn histogram_ui(ui: &mut Ui, ctx: &Ctx<'_>, d: &Described) {
    ui.add_space(4.0);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 64.0), Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, "Histogram of all values"));
    let top = d.histogram.iter().copied().max().unwrap_or(1).max(1) as f32;
    let w = rect.width() / d.histogram.len() as f32;
    for (i, &n) in d.histogram.iter().enumerate() {
        // A bin that holds anything stays visible.
        let h = if n == 0 { 0.0 } else { (n as f32 / top * rect.height()).max(1.0) };
        let x = rect.left() + i as f32 * w;
        let bar = egui::Rect::from_min_max(egui::pos2(x, rect.bottom() - h), egui::pos2(x + w - 0.5, rect.bottom()));
        ui.painter().rect_filled(bar, 0.0, ctx.tokens.series[0]);
    }
    ui.painter().hline(rect.x_range(), rect.bottom(), egui::Stroke::new(1.0, ctx.tokens.stroke_strong));
    if let Some(p) = response.hover_pos() {
        let i = (((p.x - rect.left()) / w) as usize).min(d.histogram.len() - 1);
        let width = (d.max - d.min) / d.histogram.len() as f64;
        let low = d.min + width * i as f64;
        let words =
            format!("{} to {}: {}", text::number(low, 4), text::number(low + width, 4), text::exact(d.histogram[i]));
        response.on_hover_text_at_pointer(words);
    }
    ui.horizontal(|ui| {
        widgets::caption(ui, text::number(d.min, 3));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            widgets::caption(ui, text::number(d.max, 3))
        });
    });
}

fn picture_ui(ui: &mut Ui, d: &Sliced, state: &mut InspectorState) {
    let is_diverging = state.is_diverging;
    // The window of values moves over the same picture.
    let key = SliceAt { row: 0, column: 0, ..d.at.clone() };
    if state.picture.as_ref().is_none_or(|(k, m, _)| *k != key || *m != is_diverging) {
        let image = picture(d, is_diverging);
        let texture = ui.ctx().load_texture("constant-picture", image, TextureOptions::NEAREST);
        state.picture = Some((key, is_diverging, texture));
    }
    let Some((_, _, texture)) = &state.picture else { return };
    let [h, w] = d.picture_size;
    let width = ui.available_width();
    let height = (width * h as f32 / w as f32).clamp(24.0, 180.0);
    ui.add_space(4.0);
    let r = ui.add(egui::Image::new((texture.id(), vec2(width, height))).fit_to_exact_size(vec2(width, height)));
    r.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, "Heat map of the values"));
    if let Some(p) = r.hover_pos() {
        let at = |p: f32, low: f32, size: f32, n: usize| (((p - low) / size * n as f32) as usize).min(n - 1);
        let (i, j) = (at(p.y, r.rect.top(), r.rect.height(), h), at(p.x, r.rect.left(), r.rect.width(), w));
        r.on_hover_text_at_pointer(text::number(f64::from(d.picture[i * w + j]), 5));
    }
    ui.checkbox(&mut state.is_diverging, "Centre the colours at zero");
}

fn picture(d: &Sliced, is_diverging: bool) -> ColorImage {
    let bound = d.picture.iter().filter(|v| v.is_finite()).fold(0.0f32, |m, v| m.max(v.abs())).max(f32::MIN_POSITIVE);
    let (low, high) =
        d.picture.iter().filter(|v| v.is_finite()).fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
    let color = |v: f32| match (v.is_finite(), is_diverging) {
        (false, _) => tokens::DARK.error,
        (true, true) => tokens::diverging(v / bound),
        (true, false) => tokens::viridis((v - low) / (high - low).max(f32::MIN_POSITIVE)),
    };
    let pixels: Vec<Color32> = d.picture.iter().map(|&v| color(v)).collect();
    ColorImage::new([d.picture_size[1], d.picture_size[0]], pixels)
}

/// Width of one character of the table font at the caption size.
const CAPTION_CHAR: f32 = 6.65;

fn grid_ui(ui: &mut Ui, ctx: &Ctx<'_>, s: &Sliced) {
    // Numbers stand at the right of their columns.
    let shown: Vec<String> = s.grid.iter().map(|v| text::number(*v, 3)).collect();
    let wide = shown.iter().map(|v| v.chars().count()).max().unwrap_or(1);
    let fits = ((ui.available_width() - 48.0) / (wide as f32 * CAPTION_CHAR + 8.0)).max(1.0) as usize;
    let columns = s.grid_columns.min(fits);
    let index = |ui: &mut Ui, i: usize, wide: usize| {
        ui.label(
            RichText::new(format!("{i:>wide$}")).monospace().size(theme::CAPTION).color(ctx.tokens.text_secondary),
        );
    };
    ui.add_space(4.0);
    let last = (s.at.row + s.grid.len() / s.grid_columns.max(1)).to_string();
    egui::Grid::new("values").spacing(vec2(8.0, 2.0)).min_row_height(16.0).show(ui, |ui| {
        ui.label("");
        for c in 0..columns {
            index(ui, s.at.column + c, wide);
        }
        ui.end_row();
        for (r, values) in s.grid.chunks(s.grid_columns.max(1)).enumerate() {
            index(ui, s.at.row + r, last.len());
            for (c, v) in values.iter().enumerate().take(columns) {
                let words = &shown[r * s.grid_columns.max(1) + c];
                let label = RichText::new(format!("{words:>wide$}")).monospace().size(theme::CAPTION);
                let place: Vec<String> = s.at.leading.iter().map(ToString::to_string).collect();
                let place =
                    [place, vec![(s.at.row + r).to_string(), (s.at.column + c).to_string()]].concat().join(", ");
                ui.label(label).on_hover_text(format!("[{place}] = {v}"));
            }
            ui.end_row();
        }
    });
}

fn scope_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, name: &str) {
    let Some(s) = open.index.scopes.named(name) else { return model_ui(ui, open) };
    let t = open.index.scopes.all[s].totals;
    title(ui, "Scope", if name.is_empty() { "(all)" } else { name });
    widgets::fact(ui, "Nodes", &text::exact(t.nodes));
    widgets::fact(ui, "Constants", &text::exact(t.constants));
    widgets::fact_with_exact(ui, "Parameters", &text::count(t.parameters), Some(&text::exact(t.parameters)));
    widgets::fact_with_exact(ui, "Size", &text::bytes(t.bytes as u64), Some(&text::exact(t.bytes)));
    let words = format!("{} of {} constants", t.trainable, t.constants);
    widgets::fact(ui, "Trains", &words);
    let share = t.trainable_parameters as f32 / t.parameters.max(1) as f32;
    let size = vec2(ui.available_width(), 4.0);
    widgets::share_bar(ui, share, ctx.tokens.trainable, size);
    ui.add_space(theme::RELATED);
    ui.horizontal(|ui| {
        if widgets::text_button(ui, icons::CHECK, "Train what is suggested inside").clicked() {
            let inside = constants_inside(open, s);
            let names = inside.iter().filter(|&&c| open.overview.constants[c].suggest == "train");
            let names = names.map(|&c| open.overview.constants[c].name.clone()).collect();
            ctx.change(Change::Train { names, on: true });
        }
    });
    ui.horizontal(|ui| {
        if widgets::text_button(ui, icons::MINUS, "Freeze everything inside").clicked() {
            // The root has no name that a pattern could begin with.
            ctx.change(match name {
                "" => Change::SetTrainable(TrainableChoice { include: vec![Selector::None], exclude: Vec::new() }),
                scope => bulk::whole_scope(open, scope, false),
            });
        }
    });
}

/// Constants whose names lie inside a scope.
fn constants_inside(open: &Open, scope: usize) -> Vec<usize> {
    let prefix = &open.index.scopes.all[scope].name;
    let is_inside =
        |name: &str| prefix.is_empty() || name.strip_prefix(prefix.as_str()).is_some_and(|r| r.starts_with('/'));
    (0..open.overview.constants.len()).filter(|&c| is_inside(&open.overview.constants[c].name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_copied_with_all_their_digits() {
        let s = Sliced { grid: vec![0.1, -2.0, 1e-7, f64::NAN], grid_columns: 2, ..Sliced::default() };
        assert_eq!(as_table(&s), "0.1\t-2\n0.0000001\tNaN");
    }
}
