//! Examples and how they become feeds: columns, mapping, classes, lengths, the arrays of one example.

use egui::{RichText, Sense, Ui, vec2};
use egui_extras::Column;

use crate::session::Change;
use crate::session::recipe::DataChoice;
use crate::ui::command::{Command, DataFile};
use crate::ui::ctx::{Ctx, DataView, Open};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets, words};

/// Title of the job that reads what was picked.
pub const READING: &str = "Reading the data";

#[derive(Debug, Default)]
pub struct DataState {
    /// The example that was asked for and is not there yet.
    wanted: Option<usize>,
}

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    let Some(open) = ctx.open else { return super::no_model(ui) };
    source_ui(ui, ctx, state);
    if let Some(job) = ctx.jobs.iter().find(|j| j.title == READING).filter(|_| open.data.is_none()) {
        return widgets::working_state(ui, ctx, job);
    }
    let Some(d) = &open.data else {
        return widgets::empty_state(
            ui,
            icons::DATA,
            "No data yet",
            "Pick a table with a column of texts or numbers and one of labels (.tsv, .csv, .jsonl), labelled sentences (.conll), arrays (.npz, .npy, IDX) or a folder of image folders. It can also be dropped on the window.",
        );
    };
    if let Some(why) = &d.problem {
        widgets::message(ui, crate::base::Severity::Error, &words::sentence(why, |_| false));
    }
    for n in &d.notes {
        widgets::message(ui, crate::base::Severity::Info, &words::sentence(n, |_| false));
    }
    if d.problem.is_some() && d.rows.is_empty() {
        let how = "There is nothing to show or to choose until it can be. The file itself is left as it is.";
        return widgets::empty_state(ui, icons::DATA, "Nothing could be read", how);
    }
    columns_ui(ui, ctx, open, d);
    sources_ui(ui, ctx, open, d, state);
    let side = (ui.available_width() * 0.4).clamp(190.0, 300.0);
    ui.horizontal_top(|ui| {
        let left = (ui.available_width() - side - theme::GROUPS).max(160.0);
        let height = ui.available_height();
        ui.allocate_ui(vec2(left, height), |ui| ui.vertical(|ui| preview_ui(ui, ctx, d, &mut state.data)));
        ui.separator();
        ui.vertical(|ui| {
            egui::ScrollArea::vertical()
                .id_salt("data-side")
                .auto_shrink(false)
                .show(ui, |ui| summary_ui(ui, ctx, open, d, &mut state.data));
        });
    });
}

fn source_ui(ui: &mut Ui, ctx: &Ctx<'_>, state: &mut UiState) {
    ui.horizontal(|ui| {
        if widgets::text_button(ui, icons::OPEN, "Pick a file…").clicked() {
            ctx.send(crate::ui::Command::PickData);
        }
        let folder = widgets::icon_button(ui, icons::FOLDER, "Pick a folder of pictures");
        if folder.clicked() {
            ctx.send(crate::ui::Command::PickDataFolder);
        }
        let key = "data-path".to_owned();
        let current = ctx.open.and_then(|o| o.recipe().data.as_ref()).map(|d| d.train.clone()).unwrap_or_default();
        let mut draft = state.drafts.get(&key).cloned().unwrap_or(current);
        let edit = egui::TextEdit::singleline(&mut draft)
            .hint_text("or type its path")
            .font(theme::mono(theme::BODY))
            .desired_width((ui.available_width() - 16.0).min(420.0));
        let r = ui.add(edit).accessible_name("Path of the data");
        if r.changed() {
            state.drafts.insert(key.clone(), draft.clone());
        }
        if r.lost_focus() && state.drafts.remove(&key).is_some() && !draft.trim().is_empty() {
            ctx.send(crate::ui::Command::UseData(draft.trim().into()));
        }
    });
}

/// Which columns hold what.
fn columns_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, d: &DataView) {
    let Some(choice) = &open.recipe().data else { return };
    if d.columns.is_empty() {
        return;
    }
    ui.horizontal_wrapped(|ui| {
        let first = d.text.first().cloned();
        if let Some(new) = column_choice(ui, "Text column", first.as_deref(), &d.columns) {
            let mut text: Vec<String> = new.into_iter().collect();
            text.extend(d.text.get(1).cloned());
            set(ctx, DataChoice { text, ..choice.clone() });
        }
        let second = d.text.get(1).cloned();
        if let Some(new) = column_choice(ui, "Second text", second.as_deref(), &d.columns) {
            let text = first.into_iter().chain(new).collect();
            set(ctx, DataChoice { text, ..choice.clone() });
        }
        if let Some(label) = column_choice(ui, "Label column", d.label.as_deref(), &d.columns) {
            set(ctx, DataChoice { label, ..choice.clone() });
        }
    });
}

/// Settings of how rows are split and cut.
const SPLIT: [&str; 5] = ["data.split", "data.split_column", "data.split_value", "training.seed", "data.max_length"];

/// Other files, and how one file is split: folded away, because guesses fit most data.
fn sources_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, d: &DataView, state: &mut UiState) {
    let Some(choice) = &open.recipe().data else { return };
    egui::CollapsingHeader::new("Validation, split and tokenizer").id_salt("data-sources").show(ui, |ui| {
        let validation = choice.validation.as_deref();
        let hint = "none: a part of the training rows is kept out";
        if let Some(validation) = path_ui(ui, ctx, state, DataFile::Validation, validation, hint) {
            set(ctx, DataChoice { validation, ..choice.clone() });
        }
        let tokenizer = choice.tokenizer.as_deref().or(d.tokenizer.as_deref());
        let hint = "vocab.txt or tokenizer.json";
        // Pictures and arrays have no words.
        let has_words = tokenizer.is_some() || matches!(d.kind.as_str(), "rows" | "sentences" | "");
        if has_words && let Some(tokenizer) = path_ui(ui, ctx, state, DataFile::Tokenizer, tokenizer, hint) {
            set(ctx, DataChoice { tokenizer, ..choice.clone() });
        }
        if has_words && let Some(lower) = letters_ui(ui, choice.lower) {
            set(ctx, DataChoice { lower, ..choice.clone() });
        }
        let labels = choice.labels.as_deref();
        if let Some(labels) = path_ui(ui, ctx, state, DataFile::Labels, labels, "none: as in the data") {
            set(ctx, DataChoice { labels, ..choice.clone() });
        }
        let settings = open.form.iter().flat_map(|g| &g.settings);
        for s in settings.filter(|s| SPLIT.contains(&s.key.as_str())) {
            super::training::setting_ui(ui, ctx, open, s, state);
        }
    });
}

/// Whether texts are lowered before they are cut into tokens; the new choice where it changed.
fn letters_ui(ui: &mut Ui, now: Option<bool>) -> Option<Option<bool>> {
    const CHOICES: [(Option<bool>, &str); 3] =
        [(None, "as the tokenizer says"), (Some(true), "lowered"), (Some(false), "as they are")];
    let mut new = None;
    widgets::form_row(ui, "Letters", |ui| {
        let shown = CHOICES.iter().find(|c| c.0 == now).map_or("", |c| c.1);
        let r = egui::ComboBox::from_id_salt("letters").width(150.0).selected_text(shown).show_ui(ui, |ui| {
            for (choice, words) in CHOICES {
                if widgets::choice(ui, choice == now, words).clicked() && choice != now {
                    new = Some(choice);
                }
            }
        });
        r.response.accessible_name("Letters");
    });
    new
}

/// A path that may be left empty; the new one where it changed.
fn path_ui(
    ui: &mut Ui,
    ctx: &Ctx<'_>,
    state: &mut UiState,
    file: DataFile,
    now: Option<&str>,
    hint: &str,
) -> Option<Option<String>> {
    let name = file.title();
    let key = format!("data-path-{name}");
    let mut draft = state.drafts.get(&key).cloned().unwrap_or_else(|| now.unwrap_or_default().to_owned());
    let mut is_done = false;
    widgets::form_row(ui, name, |ui| {
        let width = (ui.available_width() - 44.0).clamp(80.0, 420.0);
        let edit =
            egui::TextEdit::singleline(&mut draft).font(theme::mono(theme::BODY)).hint_text(hint).desired_width(width);
        let r = ui.add(edit).accessible_name(name);
        if r.changed() {
            state.drafts.insert(key.clone(), draft.clone());
        }
        is_done = r.lost_focus();
        if widgets::icon_button(ui, icons::OPEN, &format!("Choose: {}", name.to_lowercase())).clicked() {
            ctx.send(Command::PickDataFile(file));
        }
    });
    if !is_done {
        return None;
    }
    state.drafts.remove(&key);
    let new = Some(draft.trim().to_owned()).filter(|p| !p.is_empty());
    (new.as_deref() != now).then_some(new)
}

/// What a placeholder may be fed with.
const FEATURES: [&str; 9] = [
    "input_ids",
    "input_mask",
    "segment_ids",
    "image",
    "label",
    "masked_labels",
    "masked_positions",
    "masked_ids",
    "masked_weights",
];

/// While the examples cannot become feeds: every placeholder with what was chosen for it, if anything was.
fn as_chosen(open: &Open) -> Vec<(String, String, String)> {
    let recipe = open.recipe();
    let chosen = |name: &str| {
        let bare = name.strip_suffix(":0").unwrap_or(name);
        let map = &recipe.data.as_ref()?.map;
        map.get(bare).or_else(|| map.get(name)).cloned()
    };
    let row = |p: &crate::session::overview::ValueRow| {
        let kind = format!("{} {}", p.dtype, text::shape(p.shape.as_deref()));
        (p.name.clone(), chosen(&p.name).unwrap_or_default(), kind)
    };
    open.overview.placeholders.iter().map(row).collect()
}

/// What the choice of a feed says where none was made.
const NOT_CHOSEN: &str = "choose…";

/// A placeholder with what fills it, which can be corrected.
fn feed_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, d: &DataView, (placeholder, feature, example): (&str, &str, &str)) {
    let bare = placeholder.strip_suffix(":0").unwrap_or(placeholder);
    widgets::name_label(ui, bare).on_hover_text(placeholder);
    let pins = &open.recipe().pins;
    let pinned = pins.get(placeholder).or_else(|| pins.get(bare)).map(|v| format!("always {}", text::number(*v, 6)));
    ui.horizontal(|ui| {
        let combo = egui::ComboBox::from_id_salt(("feed", placeholder)).width(92.0).selected_text(
            pinned
                .clone()
                .unwrap_or_else(|| if feature.is_empty() { NOT_CHOSEN.to_owned() } else { feature.to_owned() }),
        );
        let r = combo.show_ui(ui, |ui| {
            let columns = d.columns.iter().map(String::as_str).filter(|c| !FEATURES.contains(c));
            for f in FEATURES.into_iter().chain(columns) {
                if widgets::choice(ui, f == feature, f).clicked()
                    && f != feature
                    && let Some(choice) = &open.recipe().data
                {
                    let mut new = choice.clone();
                    new.map.insert(bare.to_owned(), f.to_owned());
                    set(ctx, new);
                }
            }
            // A switch or a rate is no part of the examples: it has one value for all of them.
            for value in [0.0, 1.0] {
                if widgets::choice(ui, false, format!("always {value}")).clicked() {
                    ctx.change(Change::SetPin { name: placeholder.to_owned(), value: Some(value) });
                }
            }
            if pinned.is_some() && widgets::choice(ui, false, "no longer always the same").clicked() {
                for name in [placeholder, bare].into_iter().filter(|n| pins.contains_key(*n)) {
                    ctx.change(Change::SetPin { name: name.to_owned(), value: None });
                }
            }
        });
        r.response.accessible_name(format!("What feeds {placeholder}"));
        if !example.is_empty() {
            let array = RichText::new(example).monospace().size(theme::CAPTION).color(ctx.tokens.text_secondary);
            ui.add(egui::Label::new(array).truncate().show_tooltip_when_elided(false)).on_hover_text(example);
        }
    });
    ui.add_space(4.0);
}

fn set(ctx: &Ctx<'_>, choice: DataChoice) {
    ctx.change(Change::SetData(Some(choice)));
}

/// A choice among columns or none; the new one where it changed.
fn column_choice(ui: &mut Ui, name: &str, now: Option<&str>, columns: &[String]) -> Option<Option<String>> {
    let mut new = None;
    widgets::together(ui, 220.0, |ui| {
        ui.label(name);
        let combo = egui::ComboBox::from_id_salt(name).width(96.0).selected_text(now.unwrap_or("none"));
        let r = combo.show_ui(ui, |ui| {
            if widgets::choice(ui, now.is_none(), "none").clicked() {
                new = Some(None);
            }
            for c in columns {
                if widgets::choice(ui, now == Some(c), c).clicked() {
                    new = Some(Some(c.clone()));
                }
            }
        });
        r.response.accessible_name(name);
    });
    new.filter(|n| n.as_deref() != now)
}

fn preview_ui(ui: &mut Ui, ctx: &Ctx<'_>, d: &DataView, state: &mut DataState) {
    egui::ScrollArea::horizontal().id_salt("data-preview").show(ui, |ui| rows_ui(ui, ctx, d, state));
}

/// Asks for another example; a newer wish replaces one that is under way.
fn show_example(ctx: &Ctx<'_>, d: &DataView, row: usize, state: &mut DataState) {
    if row < d.n_examples && row != state.wanted.unwrap_or(d.example) {
        state.wanted = Some(row);
        ctx.send(crate::ui::Command::ShowExample(row));
    }
}

/// Which example's arrays are listed.
fn example_ui(ui: &mut Ui, ctx: &Ctx<'_>, d: &DataView, state: &mut DataState) {
    if state.wanted == Some(d.example) {
        state.wanted = None;
    }
    let now = state.wanted.unwrap_or(d.example);
    ui.horizontal(|ui| {
        let mut number = now + 1;
        let back = widgets::icon_button_enabled(ui, now > 0, icons::BACK, "The example before");
        if ui.available_width() > 190.0 {
            ui.label("Example");
        }
        let drag = egui::DragValue::new(&mut number).range(1..=d.n_examples.max(1));
        ui.add(drag).accessible_name("Example").on_hover_text("A row of the preview can be clicked as well.");
        ui.label(format!("of {}", text::exact(d.n_examples)));
        let next = widgets::icon_button_enabled(ui, now + 1 < d.n_examples, icons::FORWARD, "The next example");
        let to = match (back.clicked(), next.clicked()) {
            (true, _) => now.saturating_sub(1),
            (_, true) => now + 1,
            _ => number.saturating_sub(1),
        };
        show_example(ctx, d, to, state);
    });
    if let Some(why) = &d.example_problem {
        widgets::note(ui, format!("It cannot be used: {why}"));
    }
}

fn rows_ui(ui: &mut Ui, ctx: &Ctx<'_>, d: &DataView, state: &mut DataState) {
    let single = [d.preview_title.clone()];
    let columns: &[String] = if d.columns.is_empty() { &single } else { &d.columns };
    let n = columns.len();
    // The last column takes what is left; texts stand first in most tables and get the most.
    let gaps = (n + 1) as f32 * ui.spacing().item_spacing.x + SCROLL_BAR;
    let widths = column_widths(&d.rows, n, ui.available_width() - 40.0 - gaps);
    let mut table = widgets::table::builder(ui).id_salt("data-rows").sense(Sense::CLICK).column(Column::exact(40.0));
    for (i, width) in widths.into_iter().enumerate() {
        let column =
            if i + 1 == n { Column::remainder().at_least(width) } else { Column::initial(width).at_least(50.0) };
        table = table.column(column.clip(true));
    }
    table
        .header(theme::ROW_HEIGHT, |mut row| {
            row.col(|_| {});
            for c in columns {
                row.col(|ui| {
                    widgets::caption(ui, c.clone());
                });
            }
        })
        .body(|body| {
            body.rows(theme::ROW_HEIGHT, d.rows.len(), |mut row| {
                let i = row.index();
                row.set_selected(d.n_examples > 0 && i == state.wanted.unwrap_or(d.example));
                row.col(|ui| {
                    ui.label(RichText::new((i + 1).to_string()).monospace().color(ctx.tokens.text_secondary));
                });
                for cell in &d.rows[i] {
                    row.col(|ui| {
                        ui.add(egui::Label::new(cell).truncate().show_tooltip_when_elided(false).selectable(false))
                            .on_hover_text(cell);
                    });
                }
                if row.response().clicked() {
                    show_example(ctx, d, i, state);
                }
            });
        });
}

/// What the bar of a table that scrolls takes.
const SCROLL_BAR: f32 = 12.0;
/// A column is never narrower.
const LEAST_COLUMN: f32 = 60.0;

/// Widths that share `room` as the texts of the columns need it: long texts get most, none vanishes. Where the least of all
/// do not fit, they are wider than the room.
fn column_widths(rows: &[Vec<String>], n: usize, room: f32) -> Vec<f32> {
    let need = |i: usize| {
        let longest = rows.iter().filter_map(|r| r.get(i)).map(|t| t.chars().count()).max().unwrap_or(0);
        longest.clamp(1, 60) as f32
    };
    let needs: Vec<f32> = (0..n).map(need).collect();
    let total: f32 = needs.iter().sum();
    let spare = (room - LEAST_COLUMN * n as f32).max(0.0);
    needs.iter().map(|w| LEAST_COLUMN + (spare * w / total.max(1.0)).floor()).collect()
}

fn summary_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, d: &DataView, state: &mut DataState) {
    widgets::section(ui, "EXAMPLES", |ui| {
        widgets::fact(ui, "Training", &text::exact(d.n_train));
        widgets::fact(ui, "Validation", &text::exact(d.n_validation));
        if let Some(how) = held_out(&open.recipe().settings, open.recipe().data.as_ref(), d.n_validation) {
            widgets::caption(ui, how);
        }
    });
    let unmapped = if d.mapping.is_empty() && d.problem.is_some() { as_chosen(open) } else { Vec::new() };
    if !d.mapping.is_empty() || !unmapped.is_empty() {
        widgets::section(ui, "WHAT FEEDS WHAT", |ui| {
            if d.n_examples > 0 {
                example_ui(ui, ctx, d, state);
            }
            for (placeholder, feature, example) in d.mapping.iter().chain(&unmapped) {
                feed_ui(ui, ctx, open, d, (placeholder, feature, example));
            }
        });
    }
    if !d.classes.is_empty() {
        widgets::section(ui, "CLASSES", |ui| {
            let total: usize = d.classes.iter().map(|c| c.1).sum();
            for (name, n) in &d.classes {
                let share = *n as f32 / total.max(1) as f32;
                let shown = format!("{}  {:>6}", text::count(*n), text::percent(f64::from(share)));
                widgets::fact_with_exact(ui, name, &shown, Some(&text::exact(*n)));
                widgets::share_bar(ui, share, ctx.tokens.series[0], vec2(ui.available_width(), 4.0));
            }
        });
    }
    if let Some(tokenizer) = &d.tokenizer {
        widgets::section(ui, "TOKENIZER", |ui| widgets::name_label(ui, tokenizer));
    }
    if !d.lengths.is_empty() {
        widgets::section(ui, "TOKENS PER TEXT", |ui| lengths_ui(ui, ctx, d));
    }
}

/// How the validation examples were chosen, in words.
fn held_out(settings: &indexmap::IndexMap<String, String>, data: Option<&DataChoice>, n: usize) -> Option<String> {
    let set = |key: &str| settings.get(key).map(|v| v.trim()).filter(|v| !v.is_empty());
    if data.is_some_and(|d| d.validation.is_some()) {
        return Some("From the validation file".to_owned());
    }
    if let Some(column) = set("data.split_column") {
        return Some(format!("As the column {column} says"));
    }
    match set("data.split").and_then(|s| s.parse::<f64>().ok()).filter(|s| *s > 0.0) {
        Some(share) => {
            let seed = set("training.seed").unwrap_or("0");
            Some(format!("{} of every class, drawn with seed {seed}", text::percent(share)))
        }
        None => (n == 0).then(|| "None are held out: see “Validation, split and tokenizer”".to_owned()),
    }
}

fn lengths_ui(ui: &mut Ui, ctx: &Ctx<'_>, d: &DataView) {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 56.0), Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, "Distribution of lengths"));
    let top = d.lengths.iter().copied().max().unwrap_or(1).max(1) as f32;
    let w = rect.width() / d.lengths.len() as f32;
    for (i, &n) in d.lengths.iter().enumerate() {
        let is_cut = (i + 1) * d.length_bin > d.max_length;
        let color = if is_cut { ctx.tokens.warning } else { ctx.tokens.series[0] };
        let min = egui::pos2(rect.left() + i as f32 * w, rect.bottom() - n as f32 / top * rect.height());
        let bar = egui::Rect::from_min_max(min, egui::pos2(min.x + w - 1.0, rect.bottom()));
        ui.painter().rect_filled(bar, 0.0, color);
    }
    if let Some(p) = response.hover_pos() {
        let i = (((p.x - rect.left()) / w) as usize).min(d.lengths.len() - 1);
        let (from, to) = (i * d.length_bin, (i + 1) * d.length_bin - 1);
        response.on_hover_text_at_pointer(format!(
            "{from} to {to} tokens: {}",
            text::plural(d.lengths[i], "text", "texts")
        ));
    }
    let mut words = format!("longest kept: {} tokens", d.max_length);
    if d.n_cut > 0 {
        words.push_str(&format!("; {} are cut", text::plural(d.n_cut, "text", "texts")));
    }
    widgets::caption(ui, words);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_examples_are_held_out_is_said() {
        let settings = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let plain = DataChoice::default();
        let held_out = |settings: &_, data| held_out(settings, Some(data), 0).unwrap_or_default();
        assert!(held_out(&settings(&[]), &plain).starts_with("None are held out"));
        let ratio = settings(&[("data.split", "0.2"), ("training.seed", "7")]);
        assert_eq!(held_out(&ratio, &plain), "20.0 % of every class, drawn with seed 7");
        let column = settings(&[("data.split", "0.2"), ("data.split_column", "part")]);
        assert_eq!(held_out(&column, &plain), "As the column part says");
        let own = DataChoice { validation: Some("b.tsv".to_owned()), ..plain.clone() };
        assert_eq!(held_out(&ratio, &own), "From the validation file");
    }

    #[test]
    fn long_texts_get_most_of_the_room() {
        let row = vec!["ok".to_owned(), "a much longer text than the label beside it".to_owned()];
        let w = column_widths(&[row], 2, 500.0);
        assert!(w[1] > 3.0 * w[0] && w[0] >= 60.0 && w.iter().sum::<f32>() <= 500.0);
        assert_eq!(column_widths(&[], 0, 500.0), Vec::<f32>::new());
    }
}
