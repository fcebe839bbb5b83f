//! What happens between frames: results of jobs, file dialogs, closing.

use std::path::PathBuf;

use crate::base::Severity;
use crate::ui::Command;
use crate::ui::dialogs::{Dialog, PathUse};

use super::App;
use super::jobs::{Outcome, Picked};

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
                Outcome::Data(result) => self.take_data(*result),
                Outcome::Exported(result) => self.take_exported(result),
                Outcome::Started(result) => self.take_started(*result),
                Outcome::Predicted(result) => self.take_predicted(*result),
                Outcome::Timed(result) => self.take_times(*result),
                Outcome::Picked { what, path: Some(path), bytes } => self.use_picked(what, path, bytes),
                Outcome::Picked { .. } => {}
                Outcome::NoDialog(what) => self.type_path_instead(what),
            }
        }
    }

    /// Asks for a path with the system's dialog, off this thread. `file` is a suggested name and what to write.
    pub(super) fn pick(&mut self, what: Picked, file: Option<(String, Vec<u8>)>) {
        let folder = self.open.as_ref().and_then(|o| o.path.parent()).map(std::path::Path::to_owned);
        let has_display_server = std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some() || !cfg!(target_os = "linux");
        if !has_display_server {
            // Without a session bus there is no portal that could show a dialog.
            match file {
                Some((name, bytes)) => self.write_file(&folder.unwrap_or_default().join(name), &bytes),
                None => self.type_path_instead(what),
            }
            return;
        }
        self.jobs.start_quietly("Choosing a file", move |_, _| {
            let mut dialog = rfd::FileDialog::new();
            if let Some(folder) = folder {
                dialog = dialog.set_directory(folder);
            }
            let (name, bytes) = file.unzip();
            let path = match what {
                Picked::Open => dialog.add_filter("Models and sessions", &["pb", "onnx", "regraft"]).pick_file(),
                Picked::Data => dialog.add_filter("Tables and arrays", &["tsv", "csv", "jsonl", "npz"]).pick_file(),
                Picked::Export => dialog.set_file_name("tuned.pb").save_file(),
                Picked::SaveSession => dialog.set_file_name("session.regraft").save_file(),
                Picked::SaveFile => dialog.set_file_name(name.unwrap_or_default()).save_file(),
            };
            Outcome::Picked { what, path, bytes }
        });
    }

    fn use_picked(&mut self, what: Picked, path: PathBuf, bytes: Option<Vec<u8>>) {
        match what {
            Picked::Open => self.commands.send(Command::Open(path)),
            Picked::Data => self.commands.send(Command::UseData(path)),
            Picked::SaveSession => self.commands.send(Command::SaveTo(path)),
            Picked::Export => {
                self.state.drafts.insert("export-path".to_owned(), path.to_string_lossy().into_owned());
            }
            Picked::SaveFile => {
                if let Some(bytes) = bytes {
                    self.write_file(&path, &bytes);
                }
            }
        }
    }

    fn type_path_instead(&mut self, what: Picked) {
        let (title, then) = match what {
            Picked::Open => ("Open a model", PathUse::OpenModel),
            Picked::Data => ("Pick data", PathUse::Data),
            Picked::SaveSession => ("Save the session", PathUse::SaveSession),
            // The export panel has a field for its path.
            Picked::Export | Picked::SaveFile => return,
        };
        let path = match (&self.open, what) {
            (Some(o), Picked::SaveSession) => o.path.with_extension("regraft").to_string_lossy().into_owned(),
            _ => String::new(),
        };
        self.state.dialog = Some(Dialog::TypePath { title: title.to_owned(), path, then });
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
        }
        let pasted: Option<String> = if ctx.egui_wants_keyboard_input() {
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
