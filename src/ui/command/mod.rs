//! What a person asked for in the window. Drawing code only sends commands; `app` carries them out, once per frame.
//!
//! [`Action`] has no payload: it is what menus, the palette and shortcuts offer, each with its row in [`Action::info`].
//! [`Command`] wraps it and everything that carries something.

mod action;

use std::cell::RefCell;
use std::path::PathBuf;

use super::selection::{How, Target};
use crate::session::Change;

pub use action::{Action, ActionInfo};

/// One thing asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Do(Action),
    /// A model or session file.
    Open(PathBuf),
    /// A change of the recipe; equal gestures in a row make one undo step.
    Change {
        change: Change,
        gesture: Option<u64>,
    },
    /// Goes to an entry of the history.
    Jump(usize),
    Select(Target, How),
    SelectMany {
        nodes: Vec<String>,
        focus: Option<String>,
    },
    /// Brings a panel to the front, adding it where it is not in the layout.
    ShowPanel(&'static str),
    /// Reads all values of a constant and describes them.
    Describe(String),
    /// Reads least, greatest and mean of constants that are in sight.
    Summarise(Vec<String>),
    /// Reads the attributes of a node.
    DescribeNode(String),
    /// How far the session's runs moved a constant.
    MeasureChanges(String),
    Export(crate::ui::ctx::ExportRequest),
    /// Runs a few steps to say what the run would take.
    EstimateRun,
    /// Asks for the file of training examples.
    PickData,
    PickDataFolder,
    UseData(PathBuf),
    PickDataFile(DataFile),
    UseDataFile(DataFile, PathBuf),
    /// Shows what this example of the data becomes.
    ShowExample(usize),
    /// Asks where the export goes.
    PickExport,
    /// The optimizer's rate of the run in progress.
    SetLearningRate(f64),
    /// Lets a job know that it should end.
    CancelJob(u64),
    CopyText(String),
    /// Writes a file under a name that the user confirms.
    SaveFile {
        suggested: String,
        bytes: Vec<u8>,
    },
    /// Something that went wrong, in words.
    Say(String),
    /// Writes one constant's values to a `.npy` or `.csv` file.
    SaveTensor(String),
    SaveTensorTo(String, PathBuf),
    /// Reads a part of a constant for the inspector.
    Slice(crate::data::statistics::SliceAt),
    /// Draws all plots of the run into one picture.
    SavePlots,
    /// Where the export goes.
    ExportTo(PathBuf),
    /// Writes these bytes.
    WriteFile(PathBuf, std::sync::Arc<[u8]>),
    /// Draws the compared runs into a picture.
    SaveComparison,
    /// Whether adjustments keep the outputs.
    Prove(crate::session::prove::What),
    /// Asks which other model should take the recipe.
    PickOtherModel,
    ApplyTo(PathBuf),
    /// Opens the model that the recipe was matched with.
    OpenTransferred,
    /// Reads the runs on disk anew.
    RefreshRuns,
    /// Goes on with a run, `more` epochs (or steps, where its length is given in steps) beyond its end.
    ResumeRun {
        folder: PathBuf,
        more: usize,
    },
    /// Shows the curves of an earlier run.
    ShowRun(PathBuf),
    RenameRun {
        folder: PathBuf,
        name: String,
    },
    DeleteRun(PathBuf),
    ShowDialog(super::dialogs::Dialog),
    ClosePanel(&'static str),
    /// Takes a panel out of its tabs: to the right of them, or below.
    SplitPanel(&'static str, bool),
    Recover(PathBuf),
    DiscardRecovery(PathBuf),
    SetPreferences(super::ctx::Preferences),
    /// What was asked about unsaved decisions is answered: goes on with what waited for it.
    Proceed(super::dialogs::Then),
    /// Saves beside the model (or where the session lies), then goes on.
    SaveAndProceed(super::dialogs::Then),
    SaveTo(PathBuf),
    ForgetRecent(PathBuf),
    CloseDialog,
    /// Ends the run and forgets it; that was asked.
    DiscardRun,
    /// Ends the program as soon as no run is in progress.
    CloseWhenDone,
    /// Ends the program; the question about a run in progress was answered.
    CloseNow,
}

impl Command {
    pub fn change(change: Change) -> Self {
        Self::Change { change, gesture: None }
    }
}

/// A file beside the training data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFile {
    Validation,
    Tokenizer,
    Labels,
}

impl DataFile {
    pub fn title(self) -> &'static str {
        match self {
            Self::Validation => "Validation file",
            Self::Tokenizer => "Tokenizer",
            Self::Labels => "List of classes",
        }
    }
}

/// Commands of one frame, in order.
#[derive(Debug, Default)]
pub struct Sender(RefCell<Vec<Command>>);

impl Sender {
    pub fn send(&self, command: Command) {
        self.0.borrow_mut().push(command);
    }

    pub fn take(&self) -> Vec<Command> {
        std::mem::take(&mut *self.0.borrow_mut())
    }
}
