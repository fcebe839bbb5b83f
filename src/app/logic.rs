//! What happens between frames: results of jobs, file dialogs, closing.

use std::path::PathBuf;

use crate::base::{Severity, files};
use crate::ui::Command;
use crate::ui::command::DataFile;
use crate::ui::dialogs::{Dialog, PathForm, PathUse, Then};

use super::App;
use super::jobs::{Outcome, Picked};

/// Extensions of models and sessions, for the system's dialog; folders can be dropped or typed.
const MODELS: &[&str] = &["regraft", "pb", "pbtxt", "onnx", "meta", "index", "json", "safetensors"];

/// A dialog that is gone sooner was never shown.
const NO_DIALOG: std::time::Duration = std::time::Duration::from_millis(400);

/// Whether there may be a service that shows file dialogs: on Linux it is reached over the session's bus.
fn may_have_chooser() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let usual = || std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|d| files::exists(&PathBuf::from(d).join("bus")));
    !cfg!(target_os = "linux") || is_set("DBUS_SESSION_BUS_ADDRESS") || usual()
}

fn title_of(what: Picked) -> &'static str {
    match what {
        Picked::Open => "Open a model",
        Picked::OpenFolder => "Open a model folder",
        Picked::Data => "Pick a file of examples",
        Picked::DataFolder => "Pick a folder of examples",
        Picked::DataFile(DataFile::Validation) => "Pick validation data",
        Picked::DataFile(DataFile::Tokenizer) => "Pick the tokenizer: vocab.txt or tokenizer.json",
        Picked::DataFile(DataFile::Labels) => "Pick the list of classes",
        Picked::Export => "Export the model",
        Picked::SaveSession => "Save the session",
        Picked::SaveFile => "Save",
        Picked::OtherModel => "Apply the recipe to another model",
        Picked::Tensor => "Save the values",
    }
}

const ALL: &[&str] = &["*"];

impl App {
    pub(super) fn take_results(&mut self) {
        let (done, lost) = self.jobs.poll();
        for title in lost {
            self.say(Severity::Error, format!("{title} ended by a bug; nothing was changed. Please report it."));
        }
        for outcome in done {
            match outcome {
                Outcome::Derived(result) => self.take_derived(*result),
                Outcome::Described(name, result) => {
                    if let Some(open) = &mut self.open {
                        open.described.insert(name, result);
                    }
                }
                Outcome::Ranged(ranges) => {
                    if let Some(open) = &mut self.open {
                        open.ranges.extend(ranges);
                    }
                }
                Outcome::Data(result) => self.take_data(*result),
                Outcome::Example(row, result) => self.take_example(row, result),
                Outcome::Exported(result) => self.take_exported(result),
                Outcome::Changed(name, changes) => {
                    if let Some(open) = &mut self.open {
                        open.changes.insert(name, changes);
                    }
                }
                Outcome::Estimated(estimated) => self.take_estimated(estimated),
                Outcome::Started(result) => self.take_started(*result),
                Outcome::Predicted(result) => self.take_predicted(*result),
                Outcome::Timed(result) => self.take_times(*result),
                Outcome::Sliced(at, result) => {
                    self.slicing = None;
                    if let Some(open) = &mut self.open {
                        open.slice = Some((at, result));
                    }
                }
                Outcome::Proved(proved) => self.take_proved(*proved),
                Outcome::Matched(result) => self.take_matched(*result),
                Outcome::Runs(entries) => self.take_runs(entries),
                Outcome::Autosaved(result) => self.take_autosaved(result),
                Outcome::Written(result) => self.take_written(result),
                Outcome::Pictured { suggested, bytes } => self.pick(Picked::SaveFile, Some((suggested, bytes))),
                Outcome::Fonts(fonts) => self.jobs.context().set_fonts(*fonts),
                Outcome::Picked { what, path, content } => self.use_picked(what, path, content),
                Outcome::Cancelled => {}
                Outcome::NoDialog { what, content } => self.type_path_instead(what, content),
            }
        }
    }

    /// Asks for a path with the system's dialog, off this thread. `content` is a suggested name and what to write.
    pub(super) fn pick(&mut self, what: Picked, content: Option<(String, Vec<u8>)>) {
        let near = self.open.as_ref().map(|o| &o.path).or(self.preferences.recent.first());
        let folder = near.and_then(|p| p.parent()).filter(|p| files::is_dir(p)).map(std::path::Path::to_owned);
        if !self.has_chooser || !may_have_chooser() {
            return self.type_path_instead(what, content);
        }
        self.jobs.start_quietly("Choosing a file", move |_, _| {
            let began = std::time::Instant::now();
            let mut dialog = rfd::FileDialog::new().set_title(title_of(what));
            if let Some(folder) = folder {
                dialog = dialog.set_directory(folder);
            }
            let name = content.as_ref().map(|c| c.0.clone()).unwrap_or_default();
            let path = match what {
                Picked::Open => {
                    dialog.add_filter("Models and sessions", MODELS).add_filter("All files", ALL).pick_file()
                }
                Picked::OpenFolder | Picked::DataFolder => dialog.pick_folder(),
                Picked::Data => {
                    dialog.add_filter("Data", crate::data::dataset::EXTENSIONS).add_filter("All files", ALL).pick_file()
                }
                Picked::DataFile(_) => dialog.pick_file(),
                Picked::Export => {
                    let path = PathBuf::from(&name);
                    let parent = path.parent().filter(|p| files::is_dir(p));
                    let dialog = if let Some(p) = parent { dialog.set_directory(p) } else { dialog };
                    dialog.set_file_name(path.file_name().unwrap_or_default().to_string_lossy()).save_file()
                }
                Picked::SaveSession => dialog.set_file_name("session.regraft").save_file(),
                Picked::SaveFile => dialog.set_file_name(name).save_file(),
                Picked::OtherModel => dialog.add_filter("Models", MODELS).add_filter("All files", ALL).pick_file(),
                Picked::Tensor => {
                    let last = name.rsplit('/').next().unwrap_or("tensor").replace(':', "-");
                    dialog.set_file_name(format!("{last}.npy")).save_file()
                }
            };
            match path {
                Some(path) => Outcome::Picked { what, path, content },
                // Nobody cancels so fast: there was no dialog to see.
                None if began.elapsed() < NO_DIALOG => Outcome::NoDialog { what, content },
                None => Outcome::Cancelled,
            }
        });
    }

    fn use_picked(&mut self, what: Picked, path: PathBuf, content: Option<(String, Vec<u8>)>) {
        match what {
            Picked::Open | Picked::OpenFolder => self.commands.send(Command::Open(path)),
            Picked::Data | Picked::DataFolder => self.commands.send(Command::UseData(path)),
            Picked::DataFile(file) => self.commands.send(Command::UseDataFile(file, path)),
            Picked::SaveSession => self.commands.send(Command::SaveTo(path)),
            Picked::Export => self.commands.send(Command::ExportTo(path)),
            Picked::SaveFile => {
                if let Some((_, bytes)) = content {
                    self.write_file(&path, &bytes);
                }
            }
            Picked::OtherModel => self.commands.send(Command::ApplyTo(path)),
            Picked::Tensor => {
                if let Some((name, _)) = content {
                    self.commands.send(Command::SaveTensorTo(name, path));
                }
            }
        }
    }

    fn type_path_instead(&mut self, what: Picked, content: Option<(String, Vec<u8>)>) {
        self.type_path(what, content, "No file chooser of the desktop answers here; type the path.");
    }

    /// Asks for a path by a field. `content` is as for [`Self::pick`].
    pub(super) fn type_path(&mut self, what: Picked, content: Option<(String, Vec<u8>)>, note: &'static str) {
        let (name, bytes) = content.unwrap_or_default();
        let model = self.open.as_ref().map(|o| o.path.clone());
        let beside = |name: &str| match &model {
            Some(m) => m.with_file_name(name).to_string_lossy().into_owned(),
            None => name.to_owned(),
        };
        let (then, path) = match what {
            Picked::Open | Picked::OpenFolder => (PathUse::OpenModel, self.last_folder()),
            Picked::Data | Picked::DataFolder => (PathUse::Data, self.last_folder()),
            Picked::DataFile(file) => (PathUse::DataFile(file), self.last_folder()),
            Picked::OtherModel => (PathUse::OtherModel, self.last_folder()),
            Picked::SaveSession => {
                let stem = model.as_ref().and_then(|m| m.file_stem()).map(|s| s.to_string_lossy().into_owned());
                (PathUse::SaveSession, beside(&format!("{}.regraft", stem.unwrap_or_else(|| "session".to_owned()))))
            }
            Picked::Export => (PathUse::Export, name),
            Picked::SaveFile => (PathUse::File(bytes.into()), beside(&name)),
            Picked::Tensor => {
                let path = beside(&format!("{}.npy", name.replace(['/', ':'], "-")));
                (PathUse::Tensor(name), path)
            }
        };
        self.state.dialog = Some(Dialog::TypePath(PathForm::new(title_of(what), path, then, note)));
    }

    /// The folder in which the last model lies, with a slash at its end; else the home folder.
    fn last_folder(&self) -> String {
        let near = self.open.as_ref().map(|o| &o.path).or(self.preferences.recent.first());
        let folder = near.and_then(|p| p.parent()).filter(|p| !p.as_os_str().is_empty());
        let folder = folder.map_or_else(|| "~".to_owned(), |p| p.to_string_lossy().into_owned());
        format!("{}{}", folder.trim_end_matches(std::path::is_separator), std::path::MAIN_SEPARATOR)
    }

    fn has_unsaved(&self) -> bool {
        self.open.as_ref().is_some_and(|o| !o.is_saved())
    }

    /// Does something that leaves the open session behind, after asking where that would lose decisions.
    pub(super) fn leave(&mut self, then: Then) {
        if self.has_unsaved() {
            self.state.dialog = Some(Dialog::Unsaved(then));
        } else {
            self.commands.send(Command::Proceed(then));
        }
    }

    pub(super) fn proceed(&mut self, then: Then) {
        match then {
            Then::Quit => self.commands.send(Command::CloseNow),
            Then::CloseModel => self.close_model(),
            Then::Open(path) => self.open_path(path),
            Then::OpenDemo => self.open_demo(),
        }
        self.jobs.context().request_repaint();
    }

    /// Saves under the session's name, or beside the model under a free one; goes on only where that worked.
    pub(super) fn save_and_proceed(&mut self, then: Then) {
        let Some(open) = &self.open else { return };
        let beside = || {
            let free = |n: &usize| {
                let suffix = if *n == 1 { String::new() } else { format!("-{n}") };
                let stem = open.path.file_stem().map_or_else(|| "model".into(), |s| s.to_string_lossy());
                let path = open.path.with_file_name(format!("{stem}{suffix}.regraft"));
                (!files::exists(&path)).then_some(path)
            };
            (1..10_000).find_map(|n| free(&n))
        };
        let Some(path) = open.session_path.clone().or_else(beside) else { return };
        self.save_session(path);
        if !self.has_unsaved() {
            self.proceed(then);
        }
    }

    /// A request to close is granted where no run is in progress; else the user is asked.
    pub(super) fn handle_closing(&mut self, ctx: &egui::Context) {
        let is_running = self.run.as_ref().is_some_and(|r| r.state.is_active());
        if self.is_closing && !is_running {
            self.is_closing = false;
            self.commands.send(Command::CloseNow);
            ctx.request_repaint();
        }
        if ctx.input(|i| i.viewport().close_requested()) && is_running && !self.may_close {
            ctx.send_viewport_cmd(egui::ViewportCommand::CancelClose);
            self.state.dialog = Some(Dialog::CloseDuringRun);
        } else if ctx.input(|i| i.viewport().close_requested()) && !self.may_close && self.has_unsaved() {
            ctx.send_viewport_cmd(egui::ViewportCommand::CancelClose);
            self.state.dialog = Some(Dialog::Unsaved(Then::Quit));
        }
        let pasted: Option<String> = if ctx.text_edit_focused() {
            None
        } else {
            ctx.input(|i| {
                i.events.iter().find_map(|e| if let egui::Event::Paste(t) = e { Some(t.clone()) } else { None })
            })
        };
        if let Some(text) = pasted {
            self.paste(&text);
        }
    }
}
