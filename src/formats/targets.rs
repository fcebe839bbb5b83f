//! What an opened model can be written as: the kinds of files, their endings, and why one of them is out of reach.

use std::path::{Path, PathBuf};

use super::folders::{google, hugging_face};
use super::tensorflow::{FROZEN, TEXT, checkpoint, saved_model};
use super::{Imported, onnx};

/// A kind of file that something can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// What the model was read from.
    Own,
    Frozen,
    Text,
    SavedModel,
    Checkpoint,
    Onnx,
    Safetensors,
    Npz,
}

impl TargetKind {
    /// In the order in which they are offered.
    pub const ALL: [Self; 8] = [
        Self::Own,
        Self::Frozen,
        Self::Text,
        Self::SavedModel,
        Self::Checkpoint,
        Self::Onnx,
        Self::Safetensors,
        Self::Npz,
    ];

    /// As `--format` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Frozen => "frozen",
            Self::Text => "text",
            Self::SavedModel => "saved-model",
            Self::Checkpoint => "checkpoint",
            Self::Onnx => "onnx",
            Self::Safetensors => "safetensors",
            Self::Npz => "npz",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Own => "As the file",
            Self::Frozen => "Frozen graph",
            Self::Text => "Graph as text",
            Self::SavedModel => "SavedModel",
            Self::Checkpoint => "Checkpoint",
            Self::Onnx => "ONNX",
            Self::Safetensors => "Weights, safetensors",
            Self::Npz => "Weights, NumPy",
        }
    }

    /// The ending of its path, with the dot; empty for folders and for what the model's own path says.
    fn ending(self) -> &'static str {
        match self {
            Self::Own | Self::SavedModel => "",
            Self::Frozen => ".pb",
            Self::Text => ".pbtxt",
            Self::Checkpoint => ".ckpt",
            Self::Onnx => ".onnx",
            Self::Safetensors => ".safetensors",
            Self::Npz => ".npz",
        }
    }
}

/// A kind of file for one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: TargetKind,
    pub label: String,
    /// With the dot; empty for a folder.
    pub ending: String,
    /// Why it cannot be written from this model; `None` where it can.
    pub why_not: Option<String>,
}

impl Target {
    /// The path with this kind's ending in the place of another's.
    pub fn path(&self, path: &Path) -> PathBuf {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let known =
            TargetKind::ALL.iter().map(|k| k.ending()).chain([".pb", ".prototxt", ".graphdef", ".meta", ".index"]);
        let stem = known.filter(|e| !e.is_empty()).find_map(|e| name.strip_suffix(e)).unwrap_or(&name);
        path.with_file_name(format!("{stem}{}", self.ending))
    }
}

/// Every kind for a model, its own first; a kind that is its own is not listed again.
pub fn all(imported: &Imported) -> Vec<Target> {
    let own = own_kind(imported);
    let mut out = Vec::new();
    for kind in TargetKind::ALL.into_iter().filter(|k| Some(*k) != own) {
        let label = match (kind, own) {
            (TargetKind::Own, Some(own)) => format!("{} (as the file)", own.label()),
            (TargetKind::Own, None) => format!("Folder of {} (as the file)", maker(imported)),
            _ => kind.label().to_owned(),
        };
        let ending = if kind == TargetKind::Own { own_ending(imported, own) } else { kind.ending().to_owned() };
        out.push(Target { kind, label, ending, why_not: why_not(imported, kind) });
    }
    out
}

/// The kind that a path asks for, by its ending; `None` where the path says nothing and the model's own kind is meant.
pub fn of_path(path: &Path) -> Option<TargetKind> {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    if ["saved_model.pb", "saved_model.pbtxt"].contains(&name.as_str()) {
        return Some(TargetKind::SavedModel);
    }
    if name.ends_with(".prototxt") {
        return Some(TargetKind::Text);
    }
    TargetKind::ALL.into_iter().find(|k| !k.ending().is_empty() && name.ends_with(k.ending()))
}

/// Why a model cannot be written as a kind of file; `None` where it can.
pub fn why_not(imported: &Imported, kind: TargetKind) -> Option<String> {
    if kind == TargetKind::Own || own_kind(imported) == Some(kind) {
        return None;
    }
    let is_tensorflow = imported.dialect().name() == "tensorflow";
    let no = |why: &str| Some(why.to_owned());
    match kind {
        TargetKind::Own | TargetKind::Safetensors | TargetKind::Npz => None,
        TargetKind::Frozen | TargetKind::Text if is_tensorflow => None,
        TargetKind::Frozen | TargetKind::Text | TargetKind::SavedModel if !is_tensorflow => {
            no("The model's ops are those of ONNX, and they are not translated into TensorFlow's.")
        }
        TargetKind::Onnx => no("The model's ops are those of TensorFlow, and they are not translated into ONNX's."),
        TargetKind::Checkpoint if imported.variables().is_some() || imported.format == google::GOOGLE.name => None,
        TargetKind::Checkpoint => no(
            "A checkpoint holds variables; this model has its weights as constants, which no variable's name belongs to.",
        ),
        _ => no(
            "A SavedModel is written from a SavedModel alone: its variables, functions and signatures are not in this file.",
        ),
    }
}

/// Which of the kinds the model was read from; `None` for folders of weights.
fn own_kind(imported: &Imported) -> Option<TargetKind> {
    let kinds = [
        (FROZEN.name, TargetKind::Frozen),
        (TEXT.name, TargetKind::Text),
        (saved_model::SAVED_MODEL.name, TargetKind::SavedModel),
        (checkpoint::CHECKPOINT.name, TargetKind::Checkpoint),
        (onnx::ONNX.name, TargetKind::Onnx),
    ];
    kinds.into_iter().find(|(name, _)| *name == imported.format).map(|(_, kind)| kind)
}

fn own_ending(imported: &Imported, own: Option<TargetKind>) -> String {
    let named = || imported.path.extension().map(|e| format!(".{}", e.to_string_lossy()));
    match own {
        // Which ending the graph had is kept (`.graphdef`), but not what names one file of several.
        Some(kind @ (TargetKind::Frozen | TargetKind::Onnx)) => named().unwrap_or_else(|| kind.ending().to_owned()),
        Some(kind) => kind.ending().to_owned(),
        None => String::new(),
    }
}

fn maker(imported: &Imported) -> &'static str {
    if imported.format == hugging_face::HUGGING_FACE.name { "Hugging Face" } else { "weights" }
}
