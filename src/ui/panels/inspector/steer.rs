//! What may be decided about a node: the sizes of a placeholder that the file leaves open, a number that it is pinned to,
//! and what stands in for its gradient.

use egui::{RichText, Ui};

use crate::session::overview::{NodeRow, ValueRow};
use crate::session::{Change, StandIn};
use crate::ui::ctx::{Ctx, Open};
use crate::ui::state::UiState;
use crate::ui::{text, theme, widgets};

/// The decisions that make sense for this node.
pub(super) fn ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, node: &NodeRow, state: &mut UiState) {
    let placeholder = open.overview.placeholders.iter().find(|p| node.outputs.iter().any(|o| o.name == p.name));
    if let Some(p) = placeholder {
        widgets::section(ui, "WHAT IS FED", |ui| {
            shape_ui(ui, ctx, open, p, state);
            pin_ui(ui, ctx, open, p, state);
        });
        return;
    }
    let is_float = node.outputs.iter().any(|o| o.dtype.contains("float"));
    if is_float && open.index.constant(&node.name).is_none() {
        stand_in_ui(ui, ctx, open, &node.name);
    }
}

/// A field whose text is a draft until Enter or leaving it; the text then.
fn field(ui: &mut Ui, state: &mut UiState, key: String, label: &str, now: &str, hint: &str) -> Option<String> {
    let mut draft = state.drafts.get(&key).cloned().unwrap_or_else(|| now.to_owned());
    let r = ui
        .horizontal(|ui| {
            ui.label(RichText::new(label).color(ui.visuals().weak_text_color()));
            let edit = egui::TextEdit::singleline(&mut draft).font(theme::mono(theme::BODY)).hint_text(hint);
            ui.add(edit.desired_width((ui.available_width() - 8.0).clamp(60.0, 180.0)))
                .accessible_name(format!("{label} of what is fed"))
        })
        .inner;
    if r.changed() {
        state.drafts.insert(key.clone(), draft.clone());
    }
    if !r.lost_focus() {
        return None;
    }
    state.drafts.remove(&key);
    Some(draft.trim().to_owned()).filter(|t| t != now)
}

fn shape_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, p: &ValueRow, state: &mut UiState) {
    let pinned = pinned(&open.recipe().shapes, &p.name);
    let is_open = p.shape.as_ref().is_none_or(|s| s.iter().any(Option::is_none));
    if pinned.is_none() && !is_open {
        return;
    }
    let now = pinned.map_or_else(String::new, |(_, dims)| joined(dims));
    let hint = p.shape.as_deref().map_or_else(|| "for example 8×128".to_owned(), |s| text::shape(Some(s)));
    let said = field(ui, state, format!("shape-of-{}", p.name), "Shape", &now, &hint);
    let name = pinned.map_or_else(|| p.name.clone(), |(name, _)| name.clone());
    match said {
        None => {}
        Some(t) if t.is_empty() => ctx.change(Change::SetShape { name, dims: None }),
        Some(t) => match dims(&t, pinned.map_or(p.shape.as_deref(), |_| None)) {
            Ok(dims) => ctx.change(Change::SetShape { name, dims: Some(dims) }),
            Err(why) => ctx.send(crate::ui::Command::Say(why)),
        },
    }
    widgets::note(
        ui,
        "Sizes that the file leaves open; with all of them known, more shapes follow. Empty: from the data.",
    );
}

fn pin_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, p: &ValueRow, state: &mut UiState) {
    let pinned = pinned(&open.recipe().pins, &p.name);
    let is_scalar = p.shape.as_ref().is_some_and(Vec::is_empty);
    if pinned.is_none() && !is_scalar {
        return;
    }
    let now = pinned.map_or_else(String::new, |(_, v)| v.to_string());
    let Some(t) = field(ui, state, format!("pin-of-{}", p.name), "Pinned to", &now, "not pinned") else { return };
    let name = pinned.map_or_else(|| p.name.clone(), |(name, _)| name.clone());
    match (t.as_str(), number(&t)) {
        ("", _) => ctx.change(Change::SetPin { name, value: None }),
        (_, Some(v)) => ctx.change(Change::SetPin { name, value: Some(v) }),
        _ => ctx.send(crate::ui::Command::Say(format!("{t} is no number; true and false are taken as 1 and 0."))),
    }
}

/// What stands in for a gradient, with what it means.
const STAND_INS: [(Option<StandIn>, &str, &str); 4] = [
    (None, "its own", "The gradient that the op has by its nature"),
    (Some(StandIn::StraightThrough), "straight through", "Unchanged to the first input of the output's shape"),
    (Some(StandIn::Identity), "identity", "Unchanged to every input of the output's shape"),
    (Some(StandIn::Stop), "stopped", "Nothing passes: what lies before this node does not train through it"),
];

fn stand_in_ui(ui: &mut Ui, ctx: &Ctx<'_>, open: &Open, node: &str) {
    let now = open.recipe().stand_ins.get(node).copied();
    let word = STAND_INS.iter().find(|s| s.0 == now).map_or("its own", |s| s.1);
    ui.horizontal(|ui| {
        ui.label(RichText::new("Backwards").color(ui.visuals().weak_text_color()));
        let r = egui::ComboBox::from_id_salt("stand-in").selected_text(word).show_ui(ui, |ui| {
            for (stand_in, word, help) in STAND_INS {
                let r = widgets::choice(ui, stand_in == now, word).on_hover_text(help);
                if r.clicked() && stand_in != now {
                    ctx.change(Change::SetStandIn { node: node.to_owned(), stand_in });
                }
            }
        });
        r.response.accessible_name("Gradient of this node");
    });
}

/// What a recipe says about a value, under its name with or without `:0`.
fn pinned<'a, V>(all: &'a indexmap::IndexMap<String, V>, value: &str) -> Option<(&'a String, &'a V)> {
    let bare = value.strip_suffix(":0").unwrap_or(value);
    all.get_key_value(value).or_else(|| all.get_key_value(bare))
}

fn joined(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

fn number(t: &str) -> Option<f64> {
    match t.to_lowercase().as_str() {
        "true" => Some(1.0),
        "false" => Some(0.0),
        t => t.parse::<f64>().ok().filter(|v| v.is_finite()),
    }
}

/// `8×128`, `8x128`, `8, 128`. Errors: words for what is no shape, or not one that the file's (`?` where open) admits.
fn dims(t: &str, file: Option<&[Option<usize>]>) -> Result<Vec<usize>, String> {
    let parts = t.split(['×', 'x', 'X', ',', ' ', '*']).map(str::trim).filter(|p| !p.is_empty());
    let dims: Option<Vec<usize>> = parts.map(|p| p.parse::<usize>().ok().filter(|n| *n > 0)).collect();
    let dims = dims.ok_or_else(|| format!("{t} is no shape; write whole numbers, as in 8×128."))?;
    let fits =
        |f: &[Option<usize>]| f.len() == dims.len() && f.iter().zip(&dims).all(|(f, d)| f.is_none_or(|f| f == *d));
    match file {
        Some(f) if !fits(f) => Err(format!("{t} does not fit {}, which the file says.", text::shape(Some(f)))),
        _ => Ok(dims),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_numbers_are_read_as_people_write_them() {
        assert_eq!(dims("8×128", None), Ok(vec![8, 128]));
        assert_eq!(dims("8x128", Some(&[None, None])), Ok(vec![8, 128]));
        assert_eq!(dims(" 8, 128 ", Some(&[None, Some(128)])), Ok(vec![8, 128]));
        assert!(dims("8×64", Some(&[None, Some(128)])).is_err_and(|e| e.contains("?×128")));
        assert!(dims("8", Some(&[None, None])).is_err());
        assert!(dims("8×zero", None).is_err() && dims("0", None).is_err() && dims("-1", None).is_err());
        assert_eq!((number("True"), number("0.5"), number("inf"), number("x")), (Some(1.0), Some(0.5), None, None));
    }

    #[test]
    fn a_recipe_may_name_the_node_or_its_value() {
        let all: indexmap::IndexMap<String, i32> = [("a".to_owned(), 1), ("b:0".to_owned(), 2)].into_iter().collect();
        assert_eq!(pinned(&all, "a:0").map(|p| *p.1), Some(1));
        assert_eq!(pinned(&all, "b:0").map(|p| *p.1), Some(2));
        assert!(pinned(&all, "c:0").is_none());
    }
}
