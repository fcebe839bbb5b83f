//! What menus, the palette and shortcuts offer: each action with its title, icon, help and keys.

use egui::{Key, KeyboardShortcut, Modifiers};

use super::Command;
use crate::ui::menu::Menu;
use crate::ui::theme::icons;

/// What a user can ask for without saying more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    OpenFile,
    OpenFolder,
    OpenPath,
    OpenDemo,
    Save,
    SaveAs,
    Export,
    ApplyRecipe,
    ChooseEntry,
    Preferences,
    CloseModel,
    Quit,
    Undo,
    Redo,
    Find,
    SelectAll,
    CopyNames,
    CopyRecipe,
    PasteRecipe,
    SelectBack,
    SelectForward,
    Palette,
    ThemeSystem,
    ThemeLight,
    ThemeDark,
    ZoomIn,
    ZoomOut,
    ZoomReset,
    ResetLayout,
    FitGraph,
    ZoomToSelection,
    RevealSelection,
    SaveGraphPng,
    SaveGraphSvg,
    ToggleDirection,
    ToggleEdgeShapes,
    ToggleMotion,
    TrainSuggested,
    TrainAllFloat,
    FreezeAll,
    TrainSelection,
    FreezeSelection,
    FreezeBelow,
    OnlySelection,
    OnlyBiases,
    OnlyNorms,
    OnlyHeads,
    LastLayers,
    GraftHead,
    AddLora,
    LoadWeights,
    DropoutOff,
    DropoutTrain,
    BypassAllDropout,
    Prove,
    PickData,
    ChooseLoss,
    Train,
    ResumeRun,
    Pause,
    Resume,
    StopAndKeep,
    StopAndDiscard,
    SaveCheckpoint,
    MeasureTimes,
    About,
    Shortcuts,
}

/// What menus and palette show about an action.
#[derive(Clone, Copy, Debug)]
pub struct ActionInfo {
    pub title: &'static str,
    pub help: &'static str,
    pub icon: &'static str,
    pub menu: Menu,
    pub shortcut: Option<KeyboardShortcut>,
    /// A line above it in the menu.
    pub starts_group: bool,
}

const CTRL: Modifiers = Modifiers::COMMAND;
const CTRL_SHIFT: Modifiers = Modifiers { shift: true, ..Modifiers::COMMAND };

impl Action {
    pub const ALL: &'static [Self] = &[
        Self::OpenFile,
        Self::OpenFolder,
        Self::OpenPath,
        Self::OpenDemo,
        Self::Save,
        Self::SaveAs,
        Self::Export,
        Self::ApplyRecipe,
        Self::ChooseEntry,
        Self::Preferences,
        Self::CloseModel,
        Self::Quit,
        Self::Undo,
        Self::Redo,
        Self::Find,
        Self::SelectAll,
        Self::CopyNames,
        Self::CopyRecipe,
        Self::PasteRecipe,
        Self::SelectBack,
        Self::SelectForward,
        Self::Palette,
        Self::ThemeSystem,
        Self::ThemeLight,
        Self::ThemeDark,
        Self::ZoomIn,
        Self::ZoomOut,
        Self::ZoomReset,
        Self::ResetLayout,
        Self::FitGraph,
        Self::ZoomToSelection,
        Self::RevealSelection,
        Self::SaveGraphPng,
        Self::SaveGraphSvg,
        Self::ToggleDirection,
        Self::ToggleEdgeShapes,
        Self::ToggleMotion,
        Self::TrainSuggested,
        Self::TrainAllFloat,
        Self::FreezeAll,
        Self::TrainSelection,
        Self::FreezeSelection,
        Self::FreezeBelow,
        Self::OnlySelection,
        Self::OnlyBiases,
        Self::OnlyNorms,
        Self::OnlyHeads,
        Self::LastLayers,
        Self::GraftHead,
        Self::AddLora,
        Self::LoadWeights,
        Self::DropoutOff,
        Self::DropoutTrain,
        Self::BypassAllDropout,
        Self::Prove,
        Self::PickData,
        Self::ChooseLoss,
        Self::Train,
        Self::ResumeRun,
        Self::Pause,
        Self::Resume,
        Self::StopAndKeep,
        Self::StopAndDiscard,
        Self::SaveCheckpoint,
        Self::MeasureTimes,
        Self::About,
        Self::Shortcuts,
    ];

    pub fn info(self) -> ActionInfo {
        use Menu::{Edit, File, Help, Model, Train, View};
        let row = |menu, icon, title, help, shortcut: Option<(Modifiers, Key)>| ActionInfo {
            title,
            help,
            icon,
            menu,
            shortcut: shortcut.map(|(m, k)| KeyboardShortcut::new(m, k)),
            starts_group: self.starts_group(),
        };
        match self {
            Self::OpenFile => {
                row(File, icons::OPEN, "Open a model…", "A model or a session file", Some((CTRL, Key::O)))
            }
            Self::OpenFolder => row(
                File,
                icons::FOLDER,
                "Open a model folder…",
                "A SavedModel, a checkpoint or a Hugging Face folder",
                Some((CTRL_SHIFT, Key::O)),
            ),
            Self::OpenPath => row(
                File,
                icons::FILE,
                "Open by path…",
                "Type where it lies; the folder's entries complete what is typed",
                Some((CTRL, Key::L)),
            ),
            Self::OpenDemo => row(
                File,
                icons::DEMO,
                "Try the demo",
                "A small BERT with hard-coded dropout, and texts to tune it on",
                None,
            ),
            Self::Save => {
                row(File, icons::SAVE, "Save the session", "Writes every decision to its file", Some((CTRL, Key::S)))
            }
            Self::SaveAs => row(
                File,
                icons::SAVE,
                "Save the session as…",
                "Writes every decision to a new file",
                Some((CTRL_SHIFT, Key::S)),
            ),
            Self::Export => {
                row(File, icons::EXPORT, "Export…", "Writes the model with its tuned values", Some((CTRL, Key::E)))
            }
            Self::ApplyRecipe => row(
                File,
                icons::RECIPE,
                "Apply to another model…",
                "Looks every decision up in another model and opens it with them",
                None,
            ),
            Self::ChooseEntry => row(
                File,
                icons::TARGET,
                "Choose a signature…",
                "Which meta graph and signature of the file is open",
                None,
            ),
            Self::Preferences => {
                row(File, icons::SETTINGS, "Preferences…", "Theme, size, motion, threads", Some((CTRL, Key::Comma)))
            }
            Self::CloseModel => {
                row(File, icons::CLOSE, "Close the model", "Back to the welcome page", Some((CTRL, Key::W)))
            }
            Self::Quit => row(File, icons::CLOSE, "Quit", "Ends the program", Some((CTRL, Key::Q))),
            Self::Undo => row(Edit, icons::UNDO, "Undo", "Takes the last decision back", Some((CTRL, Key::Z))),
            Self::Redo => row(Edit, icons::REDO, "Redo", "Makes it again", Some((CTRL_SHIFT, Key::Z))),
            Self::Find => row(Edit, icons::SEARCH, "Find", "Puts the cursor into the filter", Some((CTRL, Key::F))),
            Self::SelectAll => {
                row(Edit, icons::LIST, "Select all shown", "Everything that the filter shows", Some((CTRL, Key::A)))
            }
            Self::CopyNames => {
                row(Edit, icons::COPY, "Copy names", "The full names of the selection", Some((CTRL_SHIFT, Key::C)))
            }
            Self::CopyRecipe => row(Edit, icons::COPY, "Copy the recipe as JSON", "All decisions, as text", None),
            Self::PasteRecipe => row(
                Edit,
                icons::RECIPE,
                "Paste a recipe",
                "Takes the decisions that were copied from another session",
                None,
            ),
            Self::SelectBack => {
                row(Edit, icons::BACK, "Back", "To what was selected before", Some((Modifiers::ALT, Key::ArrowLeft)))
            }
            Self::SelectForward => row(
                Edit,
                icons::FORWARD,
                "Forward",
                "To what was selected after",
                Some((Modifiers::ALT, Key::ArrowRight)),
            ),
            Self::Palette => row(
                View,
                icons::COMMAND,
                "Command palette",
                "Finds commands, nodes and constants",
                Some((CTRL, Key::P)),
            ),
            Self::ThemeSystem => row(View, icons::SYSTEM, "Theme of the system", "Follows the desktop", None),
            Self::ThemeLight => row(View, icons::SUN, "Light theme", "", None),
            Self::ThemeDark => row(View, icons::MOON, "Dark theme", "", None),
            Self::ZoomIn => row(View, icons::PLUS, "Larger", "Everything in the window", Some((CTRL, Key::Plus))),
            Self::ZoomOut => row(View, icons::MINUS, "Smaller", "Everything in the window", Some((CTRL, Key::Minus))),
            Self::ZoomReset => row(View, icons::SEARCH, "Normal size", "", Some((CTRL, Key::Num0))),
            Self::ResetLayout => {
                row(View, icons::LAYOUT, "Reset the layout", "Puts every panel back to its place", None)
            }
            Self::FitGraph => {
                row(View, icons::FIT, "Fit the graph", "Shows all of it", Some((Modifiers::NONE, Key::F)))
            }
            Self::ZoomToSelection => {
                row(View, icons::FOCUS, "Zoom to the selection", "On the graph", Some((Modifiers::NONE, Key::Z)))
            }
            Self::RevealSelection => row(
                View,
                icons::EYE,
                "Unfold what hides the selection",
                "Opens the scopes around it on the graph, and goes there",
                Some((Modifiers::SHIFT, Key::Z)),
            ),
            Self::SaveGraphPng => row(View, icons::GRAPH, "Graph as PNG…", "All that is unfolded, as a picture", None),
            Self::SaveGraphSvg => row(View, icons::GRAPH, "Graph as SVG…", "All that is unfolded, as a drawing", None),
            Self::ToggleDirection => {
                row(View, icons::GRAPH, "Graph left to right", "Switches between top to bottom and left to right", None)
            }
            Self::ToggleEdgeShapes => {
                row(View, icons::TAG, "Shapes on all edges", "Else they show where the pointer is", None)
            }
            Self::ToggleMotion => row(View, icons::PLAY, "Animations", "Switches motion on or off", None),
            Self::TrainSuggested => row(
                Model,
                icons::STAR,
                "Train all suggested",
                "Weights, biases and norms by their role in the graph",
                None,
            ),
            Self::TrainAllFloat => row(
                Model,
                icons::STACK,
                "Train all float non-scalars",
                "Every float constant with more than one element",
                None,
            ),
            Self::FreezeAll => row(Model, icons::PROHIBIT, "Freeze all", "Nothing trains", None),
            Self::TrainSelection => {
                row(Model, icons::CHECK, "Train the selection", "Adds the selected constants", Some((CTRL, Key::T)))
            }
            Self::FreezeSelection => row(
                Model,
                icons::MINUS,
                "Freeze the selection",
                "Takes the selected constants out",
                Some((CTRL_SHIFT, Key::T)),
            ),
            Self::FreezeBelow => row(
                Model,
                icons::CARET_DOWN,
                "Freeze below here",
                "Freezes every constant from which the inputs of the selection are computed",
                None,
            ),
            Self::OnlySelection => {
                row(Model, icons::TARGET, "Train only the selection", "Freezes everything else", None)
            }
            Self::OnlyBiases => {
                row(Model, icons::TARGET, "Only biases (BitFit)", "Trains biases and norm shifts alone", None)
            }
            Self::OnlyNorms => {
                row(Model, icons::TARGET, "Only norms (LayerNorm)", "Trains the scales and shifts of norms alone", None)
            }
            Self::OnlyHeads => row(
                Model,
                icons::TARGET,
                "Only heads",
                "Trains grafted heads; without one, what stands after the last layer",
                None,
            ),
            Self::LastLayers => row(
                Model,
                icons::STACK,
                "Train the last layers…",
                "So many layers as asked, by structure, with everything after them",
                None,
            ),
            Self::GraftHead => {
                row(Model, icons::PLUS, "Graft a head…", "New predictions from a value, with their loss", None)
            }
            Self::AddLora => row(
                Model,
                icons::STACK,
                "Low-rank adapters (LoRA)…",
                "Thin matrices that train beside frozen weights",
                None,
            ),
            Self::LoadWeights => row(
                Model,
                icons::DATA,
                "Load weights by name…",
                "Values of another file for the constants of this model",
                None,
            ),
            Self::DropoutTrain => {
                row(Model, icons::DROP, "Dropout at the file's rate", "Active in training, absent in evaluation", None)
            }
            Self::DropoutOff => row(Model, icons::DROP, "Dropout off", "Absent in training and in evaluation", None),
            Self::BypassAllDropout => {
                row(Model, icons::PROHIBIT, "Remove all dropout from the graph", "An edit of what is exported", None)
            }
            Self::PickData => {
                row(Train, icons::DATA, "Pick data…", "A table, arrays or a folder of images", Some((CTRL, Key::D)))
            }
            Self::ChooseLoss => row(Train, icons::TARGET, "Choose the loss…", "What training minimises", None),
            Self::Train => {
                row(Train, icons::PLAY, "Train", "Starts with the settings of the form", Some((CTRL, Key::Enter)))
            }
            Self::Prove => row(
                Model,
                icons::PROVE,
                "Prove the adjustments",
                "Runs the model with and without them on the same inputs",
                None,
            ),
            Self::ResumeRun => {
                row(Train, icons::HISTORY, "Resume the last run", "From its newest checkpoint to its end", None)
            }
            Self::Pause => {
                row(Train, icons::PAUSE, "Pause", "After the step in progress", Some((Modifiers::NONE, Key::F8)))
            }
            Self::Resume => {
                row(Train, icons::PLAY, "Resume", "Goes on where it paused", Some((Modifiers::NONE, Key::F8)))
            }
            Self::StopAndKeep => {
                row(Train, icons::STOP, "Stop and keep", "Ends with what was learned so far", Some((CTRL, Key::Period)))
            }
            Self::StopAndDiscard => {
                row(Train, icons::TRASH, "Stop and discard…", "Ends the run and forgets what it learned", None)
            }
            Self::SaveCheckpoint => row(Train, icons::SAVE, "Checkpoint now", "After the step in progress", None),
            Self::MeasureTimes => row(
                Train,
                icons::GAUGE,
                "Measure time per node",
                "Runs two training steps on the data, changes nothing, and colours the graph by time",
                None,
            ),
            Self::Shortcuts => row(Help, icons::COMMAND, "Keyboard shortcuts", "", Some((Modifiers::NONE, Key::F1))),
            Self::About => row(Help, icons::INFO, "About Regraft", "", None),
        }
    }

    fn starts_group(self) -> bool {
        matches!(
            self,
            Self::Save
                | Self::Export
                | Self::Preferences
                | Self::Quit
                | Self::Prove
                | Self::Find
                | Self::CopyNames
                | Self::SelectBack
                | Self::ThemeSystem
                | Self::ZoomIn
                | Self::ResetLayout
                | Self::SaveGraphPng
                | Self::ToggleMotion
                | Self::MeasureTimes
                | Self::TrainSelection
                | Self::OnlyBiases
                | Self::GraftHead
                | Self::DropoutOff
                | Self::Train
                | Self::StopAndKeep
                | Self::SaveCheckpoint
        )
    }

    pub fn command(self) -> Command {
        Command::Do(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortcuts_and_titles_do_not_clash() {
        for (i, a) in Action::ALL.iter().enumerate() {
            for b in &Action::ALL[..i] {
                assert_ne!(a.info().title, b.info().title);
                let is_pair = matches!((a, b), (Action::Resume, Action::Pause)); // never do both make sense
                if let (Some(x), Some(y), false) = (a.info().shortcut, b.info().shortcut, is_pair) {
                    assert_ne!(x, y, "{a:?} and {b:?}");
                }
            }
        }
    }

    #[test]
    fn every_menu_has_entries() {
        for menu in Menu::ALL {
            assert!(Action::ALL.iter().any(|a| a.info().menu == menu), "{menu:?}");
        }
    }
}
