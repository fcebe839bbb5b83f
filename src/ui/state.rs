//! Scratch of the panels that lives from frame to frame and is never saved with a session.

use std::collections::HashMap;

use super::canvas::CanvasState;
use super::dialogs::Dialog;
use super::panels::{
    BrowserState, CompareState, DataState, GradientsState, InspectorState, PlotsState, PredictionsState,
};
use super::selection::Selection;

#[derive(Debug, Default)]
pub struct UiState {
    pub selection: Selection,
    pub browser: BrowserState,
    pub canvas: CanvasState,
    pub inspector: InspectorState,
    pub gradients: GradientsState,
    pub plots: PlotsState,
    pub compare: CompareState,
    pub predictions: PredictionsState,
    pub data: DataState,
    pub palette: Option<super::dialogs::PaletteState>,
    pub dialog: Option<Dialog>,
    /// Text being typed into setting fields, by key, until it is a valid value.
    pub drafts: HashMap<String, String>,
    /// What came of the last export.
    pub exported: Option<Result<super::ctx::Exported, String>>,
    /// It was not in sight yet.
    pub is_export_new: bool,
    pub show_advanced: bool,
    /// The last thing that a person touched was a key.
    pub is_by_keyboard: bool,
    /// A panel that takes the keyboard as soon as it is drawn.
    pub wants_panel: Option<&'static str>,
    pub stops: super::focus::Stops,
}
