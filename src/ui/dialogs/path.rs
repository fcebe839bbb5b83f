//! A path that is typed: completed from what lies in its folder, so that neither a file chooser nor a mouse is needed.

use std::path::{Path, PathBuf};

use egui::{Key, RichText, Role, Ui, WidgetInfo};

use super::{cancel, heading};
use crate::base::files;
use crate::ui::command::{Command, DataFile};
use crate::ui::ctx::Ctx;
use crate::ui::theme::{self, icons};
use crate::ui::{text, widgets};

/// What a typed path is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathUse {
    OpenModel,
    Data,
    DataFile(DataFile),
    SaveSession,
    OtherModel,
    /// Where the export goes; the export panel writes it.
    Export,
    /// The values of the constant of this name.
    Tensor(String),
    /// These bytes.
    File(std::sync::Arc<[u8]>),
}

impl PathUse {
    fn writes(&self) -> bool {
        matches!(self, Self::SaveSession | Self::Export | Self::Tensor(_) | Self::File(_))
    }

    fn command(&self, path: PathBuf) -> Command {
        match self {
            Self::OpenModel => Command::Open(path),
            Self::Data => Command::UseData(path),
            Self::DataFile(file) => Command::UseDataFile(*file, path),
            Self::SaveSession => Command::SaveTo(path),
            Self::OtherModel => Command::ApplyTo(path),
            Self::Export => Command::ExportTo(path),
            Self::Tensor(name) => Command::SaveTensorTo(name.clone(), path),
            Self::File(bytes) => Command::WriteFile(path, bytes.clone()),
        }
    }
}

/// What the form shows.
#[derive(Clone, Debug, PartialEq)]
pub struct PathForm {
    title: String,
    path: String,
    then: PathUse,
    /// Why the path is typed.
    note: &'static str,
    /// The folder whose entries were read, and they: names, folders with a slash at their end.
    listed: (PathBuf, Vec<String>),
    at: Option<usize>,
    /// A file of this name is there; asked for once more, it is replaced.
    replaces: Option<PathBuf>,
    /// Not drawn yet: what stands there is marked, so that typing replaces it and the arrows go on from it.
    is_new: bool,
}

/// So many entries are shown.
const MAX_ROWS: usize = 8;
/// So many entries of a folder are looked at.
const MAX_ENTRIES: usize = 5000;

impl PathForm {
    pub fn new(title: impl Into<String>, path: impl Into<String>, then: PathUse, note: &'static str) -> Self {
        let (title, path) = (title.into(), path.into());
        let listed = (PathBuf::new(), Vec::new());
        Self { title, path, then, note, listed, at: None, replaces: None, is_new: true }
    }

    /// The folder that is typed so far, and what follows it.
    fn parts(&self) -> (PathBuf, &str) {
        let typed = self.path.trim_start();
        match typed.rfind(std::path::is_separator) {
            Some(i) => (expanded(&typed[..=i]), &typed[i + 1..]),
            None => (PathBuf::from("."), typed),
        }
    }

    /// Entries of the folder that begin like what is typed; hidden ones only where a dot is typed.
    fn matches(&mut self) -> Vec<String> {
        let (folder, start) = self.parts();
        let start = start.to_lowercase();
        if self.listed.0 != folder {
            self.listed = (folder.clone(), entries(&folder));
        }
        let fits = |n: &&String| n.to_lowercase().starts_with(&start) && n.starts_with('.') == start.starts_with('.');
        self.listed.1.iter().filter(fits).take(MAX_ROWS + 1).cloned().collect()
    }

    /// Takes an entry into the field.
    fn take(&mut self, name: &str) {
        let typed = self.path.trim_start();
        let keep = typed.rfind(std::path::is_separator).map_or(0, |i| i + 1);
        self.path = format!("{}{name}", &typed[..keep]);
        (self.at, self.replaces) = (None, None);
    }
}

/// A path with the home folder in the place of a leading `~`.
fn expanded(typed: &str) -> PathBuf {
    let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE"));
    match (typed.strip_prefix('~'), home) {
        (Some(""), Some(home)) => PathBuf::from(home),
        (Some(rest), Some(home)) if rest.starts_with(std::path::is_separator) => {
            PathBuf::from(home).join(rest.trim_start_matches(std::path::is_separator))
        }
        _ => PathBuf::from(typed),
    }
}

/// Names in a folder, folders first and with a slash at their end; nothing where it cannot be read.
fn entries(folder: &Path) -> Vec<String> {
    let paths = files::list(folder).unwrap_or_default();
    let name = |p: &PathBuf| {
        let name = p.file_name()?.to_string_lossy().into_owned();
        Some(if files::is_dir(p) { format!("{name}{}", std::path::MAIN_SEPARATOR) } else { name })
    };
    let mut names: Vec<String> = paths.iter().take(MAX_ENTRIES).filter_map(name).collect();
    names.sort_by_key(|n| (!n.ends_with(std::path::is_separator), n.to_lowercase()));
    names
}

pub(super) fn ui(ui: &mut Ui, ctx: &Ctx<'_>, form: &mut PathForm) {
    heading(ui, &form.title);
    if !form.note.is_empty() {
        widgets::note(ui, form.note);
        ui.add_space(theme::RELATED);
    }
    ui.set_width(440.0);
    let matches = form.matches();
    let is_entered = field_ui(ui, form, &matches);
    if let Some(name) = rows_ui(ui, ctx, form, &matches) {
        form.take(&name);
    }
    let path = expanded(form.path.trim());
    let word = match &form.replaces {
        Some(p) if *p == path => "Replace",
        _ if form.then.writes() => "Save",
        _ => "Open",
    };
    if word == "Replace" {
        let words = format!("{} There is a file of this name.", icons::WARNING);
        ui.label(RichText::new(words).color(ctx.tokens.warning));
    }
    ui.add_space(theme::GROUPS);
    ui.horizontal(|ui| {
        let can = !form.path.trim().is_empty();
        let is_clicked = widgets::primary_button(ui, "", word, can).clicked();
        if (is_clicked || is_entered) && can {
            let is_there = form.then.writes() && form.then != PathUse::Export && files::exists(&path);
            if is_there && form.replaces.as_ref() != Some(&path) {
                form.replaces = Some(path);
            } else {
                ctx.send(form.then.command(path));
                ctx.send(Command::CloseDialog);
            }
        }
        cancel(ui, ctx);
    });
}

/// The field; true where Enter was pressed on a whole path.
fn field_ui(ui: &mut Ui, form: &mut PathForm, matches: &[String]) -> bool {
    let label = ui.label("Path");
    let rows = matches.len().min(MAX_ROWS);
    let id = egui::Id::unique("typed-path");
    let has = ui.memory(|m| m.has_focus(id));
    let (down, up, tab) = ui.input_mut(|i| {
        let none = egui::Modifiers::NONE;
        // Tab completes where there is one way on; else it leads to the next control.
        let completes = has && form.at.map_or(rows == 1, |_| true);
        let typed_whole = rows == 1 && form.at.is_none() && form.path.ends_with(matches[0].as_str());
        let tab = completes && !typed_whole && i.consume_key(none, Key::Tab);
        (has && i.consume_key(none, Key::ArrowDown), has && i.consume_key(none, Key::ArrowUp), tab)
    });
    if down && rows > 0 {
        form.at = Some(form.at.map_or(0, |at| (at + 1).min(rows - 1)));
    }
    if up {
        form.at = form.at.and_then(|at| at.checked_sub(1));
    }
    let mut is_taken = false;
    let mark = form.at.or((rows == 1).then_some(0));
    if tab {
        // The key has done its work: it moves the keyboard no more.
        ui.memory_mut(|m| m.move_focus(egui::FocusDirection::None));
    }
    if tab && let Some(name) = mark.and_then(|at| matches.get(at)) {
        form.take(name);
        is_taken = true;
    }
    if has && std::mem::take(&mut form.is_new) {
        mark_text(ui, id, 0..form.path.chars().count());
    }
    let edit = egui::TextEdit::singleline(&mut form.path)
        .id(id)
        .lock_focus(false)
        .hint_text("/folder/model.onnx")
        .font(theme::mono(theme::BODY))
        .desired_width(f32::INFINITY);
    let r = ui.add(edit).labelled_by(label.id);
    if r.changed() {
        (form.at, form.replaces) = (None, None);
    }
    let mut is_entered = r.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
    if is_entered && let Some(name) = form.at.and_then(|at| matches.get(at)) {
        let is_folder = name.ends_with(std::path::is_separator);
        form.take(name);
        (is_taken, is_entered) = (true, !is_folder);
    }
    if is_taken {
        let end = form.path.chars().count();
        mark_text(ui, id, end..end);
    }
    // A field that has the keyboard again has not lost it.
    if !is_entered && (is_taken || ui.memory(|m| m.focused().is_none())) {
        r.request_focus();
    }
    is_entered
}

/// Marks a part of the field's text; the cursor stands at its end.
fn mark_text(ui: &Ui, id: egui::Id, part: std::ops::Range<usize>) {
    let mut state = egui::TextEdit::load_state(ui.ctx(), id).unwrap_or_default();
    let at = egui::text::CCursor::new;
    state.cursor.set_char_range(Some(egui::text::CCursorRange::two(at(part.start), at(part.end))));
    state.store(ui.ctx(), id);
}

/// What can follow; a click takes it.
fn rows_ui(ui: &mut Ui, ctx: &Ctx<'_>, form: &PathForm, matches: &[String]) -> Option<String> {
    ui.add_space(4.0);
    let mut taken = None;
    for (i, name) in matches.iter().take(MAX_ROWS).enumerate() {
        let is_folder = name.ends_with(std::path::is_separator);
        let icon = if is_folder { icons::FOLDER } else { icons::FILE };
        let is_on = form.at == Some(i);
        let row = egui::Button::selectable(is_on, format!("{icon}  {}", text::elide_middle(name, 52)));
        let r = widgets::list_row(ui, row);
        r.widget_info(|| WidgetInfo::selected(Role::Button, true, is_on, name));
        if r.clicked() {
            taken = Some(name.clone());
        }
    }
    if matches.len() > MAX_ROWS {
        widgets::caption(ui, "and more; type on");
    } else if matches.is_empty() && !form.path.trim().is_empty() && !form.then.writes() {
        let words = "Nothing there begins like this.";
        ui.label(RichText::new(words).size(theme::CAPTION).color(ctx.tokens.text_secondary));
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(path: &str) -> PathForm {
        PathForm::new("Open a model", path, PathUse::OpenModel, "")
    }

    #[test]
    fn entries_complete_what_is_typed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["Model.onnx", "model.pb", "other.pb", ".hidden"] {
            files::replace(&folder.path().join(name), b"").unwrap();
        }
        files::create_dir_all(&folder.path().join("models")).unwrap();
        let base = folder.path().to_string_lossy().into_owned();
        let mut f = form(&format!("{base}/mod"));
        let slash = format!("models{}", std::path::MAIN_SEPARATOR);
        assert_eq!(f.matches(), [slash.as_str(), "Model.onnx", "model.pb"]);
        f.take("model.pb");
        assert_eq!(f.path, format!("{base}/model.pb"));
        assert_eq!(form(&format!("{base}/.")).matches(), [".hidden"]);
        assert!(form(&format!("{base}/nowhere/x")).matches().is_empty());
    }

    #[test]
    fn a_tilde_is_the_home_folder() {
        let Some(home) = std::env::var_os("HOME") else { return };
        assert_eq!(expanded("~/a/b"), PathBuf::from(&home).join("a/b"));
        assert_eq!(expanded("~"), PathBuf::from(&home));
        assert_eq!(expanded("~a/b"), PathBuf::from("~a/b"));
    }
}
