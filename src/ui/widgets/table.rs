//! Sortable headers and row geometry that all tables share.

use egui::{Align, Layout, RichText, Role, Sense, Ui, WidgetInfo};
use egui_extras::TableBuilder;

use crate::ui::theme::{self, Tokens, icons};

/// Which column orders a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    pub column: usize,
    pub is_descending: bool,
}

impl Sort {
    pub fn by(column: usize) -> Self {
        Self { column, is_descending: false }
    }

    /// A click on a header: the same column turns around, another one starts anew.
    pub fn clicked(&mut self, column: usize, descending_first: bool) {
        *self = if self.column == column {
            Self { column, is_descending: !self.is_descending }
        } else {
            Self { column, is_descending: descending_first }
        };
    }
}

/// A table's frame: rows of [`theme::ROW_HEIGHT`] without gaps, cells in the middle of their rows.
pub fn builder(ui: &mut Ui) -> TableBuilder<'_> {
    ui.spacing_mut().item_spacing.y = 0.0;
    TableBuilder::new(ui).resizable(true).auto_shrink(false).cell_layout(Layout::left_to_right(Align::Center))
}

/// A header cell; a click sorts by it.
pub fn header(ui: &mut Ui, title: &str, column: usize, sort: &mut Sort, is_number: bool) {
    let t = Tokens::of(ui.visuals());
    let layout = if is_number { Layout::right_to_left(Align::Center) } else { Layout::left_to_right(Align::Center) };
    ui.with_layout(layout, |ui| {
        let is_on = sort.column == column;
        let arrow = if sort.is_descending { icons::CARET_DOWN } else { icons::CARET_UP };
        let shown = if is_on { format!("{title} {arrow}") } else { title.to_owned() };
        let text = RichText::new(shown).size(theme::CAPTION).color(if is_on { t.text } else { t.text_secondary });
        let response = ui.add(egui::Label::new(text).sense(Sense::click()).truncate());
        let name = format!("Sort by {title}");
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
        if response.clicked() {
            sort.clicked(column, is_number);
        }
    });
}

/// A cell whose content stands at the right.
pub fn right(ui: &mut Ui, add: impl FnOnce(&mut Ui)) {
    ui.with_layout(Layout::right_to_left(Align::Center), add);
}

/// A number in a cell, with the exact value in its tooltip.
pub fn number_cell(ui: &mut Ui, shown: &str, exact: &str) {
    right(ui, |ui| {
        let r = ui.add(egui::Label::new(RichText::new(shown).monospace()).extend());
        if shown != exact {
            r.on_hover_text(exact);
        }
    });
}
