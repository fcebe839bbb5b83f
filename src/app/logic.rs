//! What happens between frames: results of jobs, file dialogs, closing.

use std::path::PathBuf;

use crate::base::Severity;
use crate::ui::Command;
use crate::ui::dialogs::{Dialog, PathUse, Then};

use super::App;
use super::jobs::{Outcome, Picked};

/// Extensions of models and sessions, for the system's dialog; folders can be dropped or typed.
const MODELS: &[&str] = &["regraft", "pb", "pbtxt", "onnx", "meta", "index", "json", "safetensors"];

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
                Outcome::Picked { what, path: Some(path), content } => self.use_picked(what, path, content),
                Outcome::Picked { .. } => {}
                Outcome::NoDialog(what) => self.type_path_instead(what, None),
            }
        }
    }

    /// Asks for a path with the system's dialog, off this thread. `content` is a suggested name and what to write.
    pub(super) fn pick(&mut self, what: Picked, content: Option<(String, Vec<u8>)>) {
        let folder = self.open.as_ref().and_then(|o| o.path.parent()).map(std::path::Path::to_owned);
        let has_display_server = std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some() || !cfg!(target_os = "linux");
        if !has_display_server {
            // Without a session bus there is no portal that could show a dialog.
            match content {
                Some((name, bytes)) if what == Picked::SaveFile => {
                    self.write_file(&folder.unwrap_or_default().join(name), &bytes);
                }
                content => self.type_path_instead(what, content.map(|c| c.0)),
            }
            return;
        }
        self.jobs.start_quietly("Choosing a file", move |_, _| {
            let mut dialog = rfd::FileDialog::new();
            if let Some(folder) = folder {
                dialog = dialog.set_directory(folder);
            }
            let name = content.as_ref().map(|c| c.0.clone()).unwrap_or_default();
            let path = match what {
                Picked::Open => dialog.add_filter("Models and sessions", MODELS).pick_file(),
                Picked::OpenFolder | Picked::DataFolder => dialog.pick_folder(),
                Picked::Data => dialog.add_filter("Data", crate::data::dataset::EXTENSIONS).pick_file(),
                Picked::Export => dialog.set_file_name("tuned.pb").save_file(),
                Picked::SaveSession => dialog.set_file_name("session.regraft").save_file(),
                Picked::SaveFile => dialog.set_file_name(name).save_file(),
                Picked::OtherModel => dialog.add_filter("Models", MODELS).pick_file(),
                Picked::Tensor => {
                    let last = name.rsplit('/').next().unwrap_or("tensor").replace(':', "-");
                    dialog.set_file_name(format!("{last}.npy")).save_file()
                }
            };
            Outcome::Picked { what, path, content }
        });
    }

    fn use_picked(&mut self, what: Picked, path: PathBuf, content: Option<(String, Vec<u8>)>) {
        match what {
            Picked::Open | Picked::OpenFolder => self.commands.send(Command::Open(path)),
            Picked::Data | Picked::DataFolder => self.commands.send(Command::UseData(path)),
            Picked::SaveSession => self.commands.send(Command::SaveTo(path)),
            Picked::Export => {
                self.state.drafts.insert("export-path".to_owned(), path.to_string_lossy().into_owned());
            }
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

    fn type_path_instead(&mut self, what: Picked, about: Option<String>) {
        let tensor = format!("Save the values of {}", about.clone().unwrap_or_default());
        let (title, then) = match what {
            Picked::OtherModel => ("Apply the recipe to another model", PathUse::OtherModel),
            Picked::Tensor => (tensor.as_str(), PathUse::Tensor),
            Picked::Open => ("Open a model", PathUse::OpenModel),
            Picked::OpenFolder => ("Open a model folder", PathUse::OpenModel),
            Picked::Data | Picked::DataFolder => ("Pick data", PathUse::Data),
            Picked::SaveSession => ("Save the session", PathUse::SaveSession),
            // The export panel has a field for its path.
            Picked::Export | Picked::SaveFile => return,
        };
        let path = match (&self.open, what) {
            (Some(o), Picked::SaveSession) => o.path.with_extension("regraft").to_string_lossy().into_owned(),
            (Some(o), Picked::Tensor) => {
                let name = about.unwrap_or_default().replace(['/', ':'], "-");
                o.path.with_file_name(format!("{name}.npy")).to_string_lossy().into_owned()
            }
            _ => String::new(),
        };
        self.state.dialog = Some(Dialog::TypePath { title: title.to_owned(), path, then });
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
                (!crate::base::files::exists(&path)).then_some(path)
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
