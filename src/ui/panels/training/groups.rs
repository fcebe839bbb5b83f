//! Parameters with their own learning rate and decay, and how the rate falls from the output down.

use egui::{Ui, WidgetInfo};

use crate::session::recipe::ParameterGroup;
use crate::session::{Change, Selector};
use crate::train::Preset;
use crate::ui::command::Command;
use crate::ui::ctx::{Ctx, Open};
use crate::ui::state::UiState;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets};

const LAYER_DECAY: &str = "optimizer.layer_decay";
/// What fine-tuning papers use (Sun et al. 2019; Clark et al. 2020).
const DECAYS: [&str; 4] = ["1", "0.95", "0.9", "0.8"];
const SELECTORS: &str = "Selectors separated by commas: a constant's name, glob:bert/encoder/*, re:layer_[0-5]/, \
                         role:bias, heads, bitfit, layer-norm, last-2-layers";
/// The undo step that the settings of a preset make together.
const PRESET_GESTURE: u64 = 0x9e5e;

pub fn ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, state: &mut UiState) {
    layer_decay_ui(ui, ctx, open);
    let groups = &open.recipe().groups;
    if groups.is_empty() {
        widgets::note(ui, "All parameters learn at one rate. A group gives some of them their own rate or decay.");
    }
    for i in 0..groups.len() {
        group_ui(ui, ctx, open, i, state);
    }
    ui.horizontal_wrapped(|ui| {
        let mut add = |label: &str, help: &str, group: ParameterGroup| {
            if widgets::text_button(ui, icons::PLUS, label).on_hover_text(help).clicked() {
                let mut new = groups.clone();
                new.push(group);
                ctx.change(Change::SetGroups(new));
            }
        };
        let of = |select: Selector| ParameterGroup { select: vec![select], ..ParameterGroup::default() };
        let heads = ParameterGroup { lr_factor: Some(10.0), ..of(Selector::Heads) };
        add("Heads learn faster", "New layers start from nothing: ten times the rate of the rest.", heads);
        let norms = ParameterGroup { weight_decay: Some(0.0), ..of(Selector::LayerNorm) };
        add("No decay on norms", "Gains and shifts of normalisations do not shrink.", norms);
        add("Add a group", "Of biases, to begin with; then name what you want.", of(Selector::BitFit));
    });
    if widgets::text_button(ui, icons::SLIDERS, "Use the settings of fine-tuning")
        .on_hover_text("AdamW at 5e-5, warm-up over 10 %, linear decay, clipping at 1, no decay on biases and norms.")
        .clicked()
    {
        for (key, value) in Preset::FineTune.values() {
            let change = Change::SetSetting { key: (*key).to_owned(), value: Some((*value).to_owned()) };
            ctx.send(Command::Change { change, gesture: Some(PRESET_GESTURE) });
        }
    }
}

fn layer_decay_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open) {
    let now = open.recipe().settings.get(LAYER_DECAY).map_or("1", String::as_str);
    ui.horizontal(|ui| {
        ui.label("Rate per layer");
        for decay in DECAYS {
            let words = if decay == "1" { "same" } else { decay };
            let r = widgets::choice(ui, now == decay, words);
            let name =
                if decay == "1" { "Same rate in every layer".to_owned() } else { format!("Layer decay {decay}") };
            r.widget_info(|| WidgetInfo::selected(egui::Role::RadioButton, true, now == decay, &name));
            let r = r.on_hover_text("Factor on the learning rate for each layer further from the output.");
            if r.clicked() && now != decay {
                let value = (decay != "1").then(|| decay.to_owned());
                ctx.change(Change::SetSetting { key: LAYER_DECAY.to_owned(), value });
            }
        }
    });
}

fn group_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, i: usize, state: &mut UiState) {
    let group = &open.recipe().groups[i];
    let mut new = group.clone();
    let mut is_removed = false;
    ui.horizontal(|ui| {
        let words = group.select.iter().map(Selector::to_string).collect::<Vec<_>>().join(", ");
        let width = (ui.available_width() - 34.0).max(80.0);
        let name = format!("Members of group {}", i + 1);
        if let Some(text) = field(ui, state, &format!("group-{i}-select"), &words, &name, SELECTORS, width, &|t| {
            selectors(t).map(|_| ())
        }) && let Ok(select) = selectors(&text)
        {
            new.select = select;
        }
        is_removed = widgets::icon_button(ui, icons::TRASH, &format!("Remove group {}", i + 1)).clicked();
    });
    ui.horizontal(|ui| {
        let mut optional = |label: &str, help: &str, key: &str, value: Option<f64>| {
            ui.label(label);
            let shown = value.map_or_else(String::new, |v| text::number(v, 6));
            let name = format!("{label} of group {}", i + 1);
            let text =
                field(ui, state, &format!("group-{i}-{key}"), &shown, &name, help, 58.0, &|t| number(t).map(|_| ()));
            text.and_then(|t| number(&t).ok())
        };
        let set = |to: &mut Option<f64>, value: Option<Option<f64>>| {
            if let Some(v) = value {
                *to = v;
            }
        };
        set(&mut new.lr, optional("Rate", "Its own peak learning rate; empty: that of all.", "lr", group.lr));
        set(&mut new.lr_factor, optional("×", "A factor on the rate; empty: none.", "factor", group.lr_factor));
        set(
            &mut new.weight_decay,
            optional("Decay", "Its own weight decay; empty: that of all.", "decay", group.weight_decay),
        );
    });
    match open.group_sizes.get(i) {
        Some(Ok((constants, parameters))) => {
            let n = text::plural(*constants, "constant", "constants");
            widgets::caption(ui, format!("{n}, {} parameters", text::count(*parameters)));
        }
        Some(Err(why)) => {
            ui.label(egui::RichText::new(why).color(ctx.tokens.error));
        }
        None => {}
    }
    ui.add_space(4.0);
    let mut groups = open.recipe().groups.clone();
    if is_removed {
        groups.remove(i);
        state.drafts.retain(|key, _| !key.starts_with("group-"));
    } else if new != *group {
        groups[i] = new;
    } else {
        return;
    }
    ctx.change(Change::SetGroups(groups));
}

/// A text field that gives its text once the user is done and it is valid.
#[allow(clippy::too_many_arguments)] // one control with all that it needs
fn field(
    ui: &mut Ui,
    state: &mut UiState,
    key: &str,
    value: &str,
    name: &str,
    help: &str,
    width: f32,
    check: &dyn Fn(&str) -> Result<(), String>,
) -> Option<String> {
    let mut draft = state.drafts.get(key).cloned().unwrap_or_else(|| value.to_owned());
    let error = check(&draft).err();
    let mut edit =
        egui::TextEdit::singleline(&mut draft).desired_width(width).font(theme::mono(theme::BODY)).hint_text("–");
    if error.is_some() {
        edit = edit.text_color(crate::ui::theme::Tokens::of(ui.visuals()).error);
    }
    let r = ui.add(edit);
    r.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, name));
    let r = r.on_hover_text(error.as_deref().unwrap_or(help));
    if r.changed() {
        state.drafts.insert(key.to_owned(), draft.clone());
    }
    if !r.lost_focus() {
        return None;
    }
    state.drafts.remove(key);
    (error.is_none() && draft != value).then_some(draft)
}

fn selectors(text: &str) -> Result<Vec<Selector>, String> {
    let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
    let all: Vec<Selector> = parts.map(str::parse).collect::<Result<_, _>>()?;
    if all.is_empty() { Err("Name at least one selector".to_owned()) } else { Ok(all) }
}

fn number(text: &str) -> Result<Option<f64>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let value = text.trim().parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0);
    value.map(Some).ok_or_else(|| "A number from 0, or empty".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_numbers_are_checked() {
        let two = [Selector::Heads, Selector::Role("bias".to_owned())];
        assert_eq!(selectors("heads, role:bias").unwrap(), two);
        assert!(selectors(" ,").is_err() && selectors("re:(").is_err());
        assert_eq!((number(" 1e-4 ").unwrap(), number("").unwrap()), (Some(1e-4), None));
        assert!(number("-1").is_err() && number("inf").is_err());
    }
}
