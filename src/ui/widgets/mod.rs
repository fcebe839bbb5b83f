//! Small drawn parts that panels share. Every control has an accessible name.

pub mod table;

use egui::{Align, Button, Color32, Layout, Response, RichText, Role, Sense, Stroke, Ui, WidgetInfo, vec2};

use super::ctx::{Ctx, JobView};
use super::text;
use super::theme::{self, Tokens, icons, tokens};

/// Width of one character of the table font at its normal size.
const MONO_CHAR: f32 = 7.85;

/// A button that shows only an icon; `name` is its accessible name and tooltip.
pub fn icon_button(ui: &mut Ui, icon: &str, name: &str) -> Response {
    icon_button_enabled(ui, true, icon, name)
}

/// As [`icon_button`], greyed out where it makes no sense now.
pub fn icon_button_enabled(ui: &mut Ui, enabled: bool, icon: &str, name: &str) -> Response {
    let button = Button::new(RichText::new(icon).size(16.0)).frame_when_inactive(false);
    // Not in a scope: that would stand lower than its neighbours in a row.
    let usual = std::mem::replace(&mut ui.spacing_mut().button_padding, vec2(5.0, 2.0));
    let response = ui.add_enabled(enabled, button.min_size(vec2(26.0, 24.0)));
    ui.spacing_mut().button_padding = usual;
    named(response, name)
}

/// Gives a button its accessible name and tooltip.
pub fn named(response: Response, name: &str) -> Response {
    let enabled = response.enabled();
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, name));
    response.on_hover_text(name)
}

/// The one primary action of a place.
pub fn primary_button(ui: &mut Ui, icon: &str, label: &str, enabled: bool) -> Response {
    let t = Tokens::of(ui.visuals());
    let text = RichText::new(with_icon(icon, label)).color(t.on_accent);
    let button = Button::new(text).fill(t.accent).stroke(Stroke::NONE).min_size(vec2(0.0, theme::BUTTON_HEIGHT));
    let response = ui.add_enabled(enabled, button);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, label));
    if response.has_focus() {
        // Its fill is the accent already: a ring around it shows the keyboard.
        let ring = Stroke::new(1.5, t.text);
        ui.painter().rect_stroke(response.rect.expand(2.0), 6.0, ring, egui::StrokeKind::Outside);
    }
    response
}

/// The primary answer of a question: it has the keyboard until somebody moves it.
pub fn answer_button(ui: &mut Ui, icon: &str, label: &str, enabled: bool) -> Response {
    let response = primary_button(ui, icon, label, enabled);
    if enabled && ui.memory(|m| m.focused().is_none()) {
        response.request_focus();
    }
    response
}

/// A normal button with an icon before its words; the words are its name.
pub fn text_button(ui: &mut Ui, icon: &str, label: &str) -> Response {
    text_button_enabled(ui, true, icon, label)
}

fn with_icon(icon: &str, label: &str) -> String {
    if icon.is_empty() { label.to_owned() } else { format!("{icon}  {label}") }
}

/// As [`text_button`], greyed out where it makes no sense now.
pub fn text_button_enabled(ui: &mut Ui, enabled: bool, icon: &str, label: &str) -> Response {
    let button = Button::new(with_icon(icon, label))
        .wrap_mode(egui::TextWrapMode::Extend)
        .min_size(vec2(0.0, theme::BUTTON_HEIGHT));
    let response = ui.add_enabled(enabled, button);
    let enabled = response.enabled();
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, label));
    response
}

/// A path-like name in the table font, elided in its middle to the width at hand, whole in the tooltip.
pub fn name_label(ui: &mut Ui, name: &str) -> Response {
    let color = ui.visuals().text_color();
    name_label_colored(ui, name, color)
}

pub fn name_label_colored(ui: &mut Ui, name: &str, color: Color32) -> Response {
    let shown = fit_name(name, ui.available_width());
    let is_cut = shown != name;
    let label = egui::Label::new(RichText::new(shown).monospace().color(color)).extend();
    let response = ui.add(label);
    if is_cut { response.on_hover_text(name) } else { response }
}

/// As [`name_label`], elided so that names which share most of their path stay apart.
pub fn told_apart(ui: &mut Ui, name: &str, index: &super::index::Index) -> Response {
    let shown = fit_apart(name, ui.available_width(), index);
    let is_cut = shown != name;
    let response = ui.add(egui::Label::new(RichText::new(shown).monospace()).extend());
    if is_cut { response.on_hover_text(name) } else { response }
}

/// A name elided to a width in the table font.
pub fn fit_name(name: &str, width: f32) -> String {
    text::elide_middle(name, ((width / MONO_CHAR).floor() as usize).max(4))
}

/// As [`fit_name`], so that names which share most of their path stay apart.
pub fn fit_apart(name: &str, width: f32, index: &super::index::Index) -> String {
    let max = ((width / MONO_CHAR).floor() as usize).max(4);
    text::elide_common(name, max, |part| index.parts.get(part).copied().unwrap_or(0))
}

/// A button over the whole width, its words at the left: one row of a list.
pub fn list_row(ui: &mut Ui, button: Button<'_>) -> Response {
    let size = vec2(ui.available_width(), theme::LIST_ROW_HEIGHT);
    let row = Layout::left_to_right(Align::Center).with_main_justify(true).with_main_align(Align::Min);
    ui.allocate_ui_with_layout(size, row, |ui| ui.add(button.min_size(size))).inner
}

/// Controls that stay side by side in a row that wraps: they go to the next line as a whole where less than `width` is
/// left on this one.
pub fn together<R>(ui: &mut Ui, width: f32, add: impl FnOnce(&mut Ui) -> R) -> R {
    if ui.available_size_before_wrap().x < width {
        ui.end_row();
    }
    ui.horizontal(add).inner
}

/// A field of a form: its name in a column of its own, and the control.
pub fn form_row<R>(ui: &mut Ui, name: &str, add: impl FnOnce(&mut Ui) -> R) -> R {
    ui.horizontal(|ui| {
        ui.allocate_ui_with_layout(vec2(112.0, 20.0), Layout::left_to_right(Align::Center), |ui| {
            ui.set_min_width(112.0);
            ui.label(name);
        });
        add(ui)
    })
    .inner
}

/// One of the choices of a list that folds out: taking it folds the list in, by mouse and by keyboard.
pub fn choice(ui: &mut Ui, is_on: bool, words: impl Into<egui::WidgetText>) -> Response {
    let response = ui.selectable_label(is_on, words.into());
    if response.clicked() {
        ui.close();
    }
    response
}

/// As [`choice`], and takes the value.
pub fn choose<V: PartialEq>(ui: &mut Ui, now: &mut V, value: V, words: impl Into<egui::WidgetText>) -> Response {
    let response = choice(ui, *now == value, words);
    if response.clicked() {
        *now = value;
    }
    response
}

/// Sets groups in a row that wraps apart; unlike a line, it leaves nothing behind at the end of one.
pub fn group_gap(ui: &mut Ui) {
    ui.add_space(theme::RELATED);
}

/// A name that selects when clicked.
pub fn name_link(ui: &mut Ui, name: &str) -> Response {
    let t = Tokens::of(ui.visuals());
    let shown = fit_name(name, ui.available_width());
    let response = ui.add(egui::Link::new(RichText::new(shown).monospace().color(t.accent)));
    response.widget_info(|| WidgetInfo::labeled(Role::Link, true, name));
    response.on_hover_text(name)
}

/// Text in the caption size and secondary colour.
pub fn caption(ui: &mut Ui, text: impl Into<String>) -> Response {
    let t = Tokens::of(ui.visuals());
    ui.add(egui::Label::new(RichText::new(text).size(theme::CAPTION).color(t.text_secondary)).wrap())
}

/// As [`caption`], on one line: what stands above a column.
pub fn column_title(ui: &mut Ui, text: impl Into<String>) -> Response {
    let t = Tokens::of(ui.visuals());
    ui.add(egui::Label::new(RichText::new(text).size(theme::CAPTION).color(t.text_secondary)).extend())
}

/// As [`column_title`], above numbers.
pub fn number_title(ui: &mut Ui, text: &str) {
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| column_title(ui, text));
}

/// Text in the secondary colour, wrapped.
pub fn note(ui: &mut Ui, text: impl Into<String>) -> Response {
    let t = Tokens::of(ui.visuals());
    ui.add(egui::Label::new(RichText::new(text).color(t.text_secondary)).wrap())
}

/// A titled group with its rows below.
pub fn section<R>(ui: &mut Ui, title: &str, add: impl FnOnce(&mut Ui) -> R) -> R {
    let t = Tokens::of(ui.visuals());
    ui.add_space(theme::RELATED);
    ui.label(RichText::new(title).size(theme::CAPTION).family(theme::strong_family()).color(t.text_secondary));
    ui.add_space(2.0);
    add(ui)
}

/// A label at the left and its value in the table font at the right.
pub fn fact(ui: &mut Ui, label: &str, value: &str) -> Response {
    fact_with_exact(ui, label, value, None)
}

/// As [`fact`], with the exact value in the tooltip.
pub fn fact_with_exact(ui: &mut Ui, label: &str, value: &str, exact: Option<&str>) -> Response {
    let t = Tokens::of(ui.visuals());
    let row = ui.horizontal(|ui| {
        ui.label(RichText::new(label).color(t.text_secondary));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let shown = fit_name(value, ui.available_width());
            let is_cut = shown != value;
            let r = ui.add(egui::Label::new(RichText::new(shown).monospace()).extend());
            match exact {
                Some(e) => r.on_hover_text(e),
                None if is_cut => r.on_hover_text(value),
                None => r,
            }
        })
        .inner
    });
    row.inner
}

/// As [`fact`], with the type of the value behind its name, and all of it in the tooltip.
pub fn typed_fact(ui: &mut Ui, label: &str, kind: &str, value: &str) {
    let t = Tokens::of(ui.visuals());
    ui.horizontal(|ui| {
        ui.label(RichText::new(label).color(t.text_secondary));
        ui.label(RichText::new(kind).size(theme::CAPTION).color(t.text_secondary));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let shown = fit_name(value, ui.available_width());
            let r = ui.add(egui::Label::new(RichText::new(shown).monospace()).extend());
            r.on_hover_text(format!("{label} ({kind}) = {value}"));
        });
    });
}

/// What an empty panel shows: what will be here, and how it gets here.
pub fn empty_state(ui: &mut Ui, icon: &str, title: &str, how: &str) {
    let t = Tokens::of(ui.visuals());
    let height = ui.available_height();
    ui.vertical_centered(|ui| {
        ui.add_space((height * 0.3 - 40.0).max(8.0));
        ui.label(RichText::new(icon).size(28.0).color(t.text_disabled));
        ui.add_space(4.0);
        ui.label(RichText::new(title).family(theme::strong_family()));
        ui.set_max_width(ui.available_width().min(360.0));
        ui.label(RichText::new(how).color(t.text_secondary));
        ui.add_space(8.0);
    });
}

/// What a panel shows while a job makes what belongs there.
pub fn working_state(ui: &mut Ui, ctx: &Ctx<'_>, job: &JobView) {
    let height = ui.available_height();
    ui.vertical_centered(|ui| {
        ui.add_space((height * 0.3 - 40.0).max(8.0));
        ui.spinner();
        ui.add_space(4.0);
        let share = job.fraction.map(|f| format!(": {}", super::text::percent(f64::from(f)))).unwrap_or_default();
        ui.label(format!("{}{share}", job.title));
        ui.add_space(theme::RELATED);
        if text_button(ui, theme::icons::CLOSE, "Cancel").clicked() {
            ctx.send(super::Command::CancelJob(job.id));
        }
    });
}

/// A small filled label: tinted ground, text in the meaning's colour.
pub fn badge(ui: &mut Ui, text: &str, color: Color32) -> Response {
    let t = Tokens::of(ui.visuals());
    let ink = t.ink(color, t.tint(color));
    let galley = ui.painter().layout_no_wrap(text.to_owned(), egui::FontId::proportional(theme::CAPTION), ink);
    let (rect, response) = ui.allocate_exact_size(galley.size() + vec2(10.0, 4.0), Sense::hover());
    if ui.is_rect_visible(rect) {
        ui.painter().rect_filled(rect, 4.0, t.tint(color));
        ui.painter().galley(rect.center() - galley.size() / 2.0, galley, ink);
    }
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, text));
    response
}

/// The gradient verdict with a word and a colour; an unknown one is a dash.
pub fn verdict_badge(ui: &mut Ui, verdict: &str) -> Response {
    let t = Tokens::of(ui.visuals());
    if verdict.is_empty() {
        return ui.label(RichText::new("–").color(t.text_secondary));
    }
    badge(ui, verdict, verdict_color(t, verdict))
}

pub fn verdict_color(t: &Tokens, verdict: &str) -> Color32 {
    match verdict {
        "flows" => t.flows,
        "blocked" => t.blocked,
        "zero" | "stopped" => t.zero,
        _ => t.text_secondary,
    }
}

/// The state of a constant: a filled dot trains, a hollow one is frozen.
pub fn state_dot(ui: &mut Ui, is_trainable: bool) -> Response {
    let t = Tokens::of(ui.visuals());
    let (rect, response) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
    paint_dot(ui.painter(), rect.center(), 4.0, is_trainable, t);
    response.on_hover_text(if is_trainable { "Trains" } else { "Frozen" })
}

pub fn paint_dot(painter: &egui::Painter, center: egui::Pos2, radius: f32, is_trainable: bool, t: &Tokens) {
    if is_trainable {
        painter.circle_filled(center, radius, t.trainable);
    } else {
        painter.circle_stroke(center, radius - 0.5, Stroke::new(1.25, t.frozen));
    }
}

/// Words with the mark of their severity before them; further lines begin below the words.
pub fn message(ui: &mut Ui, severity: crate::base::Severity, words: &str) {
    ui.horizontal_top(|ui| {
        severity_mark(ui, severity);
        ui.vertical(|ui| {
            // The mark is taller than a line.
            ui.add_space(1.0);
            ui.add(egui::Label::new(words).wrap());
        });
    });
}

/// Symbol and colour of a severity.
pub fn severity_mark(ui: &mut Ui, severity: crate::base::Severity) -> Response {
    use crate::base::Severity as S;
    let t = Tokens::of(ui.visuals());
    let (icon, color, word) = match severity {
        S::Error => (icons::ERROR, t.error, "Error"),
        S::Warning => (icons::WARNING, t.warning, "Warning"),
        S::Info => (icons::INFO, t.info, "Note"),
    };
    let r = ui.label(RichText::new(icon).size(16.0).color(color));
    r.widget_info(|| WidgetInfo::labeled(Role::Label, true, word));
    r.on_hover_text(word)
}

/// One line of text to filter by; `error` is shown below it.
pub fn filter_field(ui: &mut Ui, id: egui::Id, text: &mut String, name: &str, hint: &str) -> Response {
    let t = Tokens::of(ui.visuals());
    let edit = egui::TextEdit::singleline(text)
        .id(id)
        .hint_text(RichText::new(hint).color(t.text_secondary))
        .prefix(RichText::new(icons::SEARCH).color(t.text_secondary))
        .desired_width(f32::INFINITY);
    let response = ui.add(edit);
    response.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, name));
    response.on_hover_ui(|ui| {
        ui.label("Words are ANDed, - negates, quotes are exact.");
        ui.label(
            RichText::new("op:MatMul  dtype:float32  shape:768x*  elements:>1000\nscope:bert/encoder  name:/layer_[0-5]/  role:bias\ntrainable:yes  grad:blocked")
                .monospace(),
        );
    })
}

/// How many threads a run may use; 0 is all of them.
pub fn threads(ui: &mut Ui, n: &mut usize) -> Response {
    let most = std::thread::available_parallelism().map_or(64, |n| n.get() * 2);
    let shown = |n: f64, _: std::ops::RangeInclusive<usize>| if n < 1.0 { "all".to_owned() } else { n.to_string() };
    let drag = egui::DragValue::new(n).range(0..=most).custom_formatter(shown);
    ui.add(drag).accessible_name("Threads of runs")
}

/// A thin bar, filled from the left.
pub fn share_bar(ui: &mut Ui, fraction: f32, color: Color32, size: egui::Vec2) -> Response {
    let t = Tokens::of(ui.visuals());
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    ui.painter().rect_filled(rect, 2.0, tokens::mix(t.panel, t.text, 0.10));
    let mut filled = rect;
    filled.set_width(rect.width() * fraction.clamp(0.0, 1.0));
    ui.painter().rect_filled(filled, 2.0, color);
    response
}
