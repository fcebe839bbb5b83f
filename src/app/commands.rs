//! Carries commands out: the only place that changes what the window holds.

use std::path::PathBuf;

use crate::base::{Severity, files};
use crate::session::prove::What;
use crate::session::recipe::DataChoice;
use crate::session::{Change, EditStep, Recipe, Selector, SitePolicy, TrainableChoice};
use crate::ui::bulk;
use crate::ui::canvas::Wants;
use crate::ui::canvas::export::PictureKind;
use crate::ui::command::{Action, Command, DataFile};
use crate::ui::ctx::ThemeChoice;
use crate::ui::dialogs::{Dialog, HeadForm, LoraForm, LossForm, Then, WeightsForm};
use crate::ui::panels;
use crate::ui::selection::{How, Target};

use super::jobs::Picked;
use super::{App, layout};

/// Choosing a file and the guess about its columns are one undo step.
pub(super) const DATA_GESTURE: u64 = 0xda7a;

impl App {
    pub(super) fn carry_out(&mut self, command: Command, ctx: &egui::Context) {
        match command {
            Command::Do(action) => self.act(action, ctx),
            Command::Open(path) => self.open_asked(path),
            Command::Change { change, gesture } => self.change(&change, gesture),
            Command::Jump(index) => {
                if self.open.as_mut().is_some_and(|o| o.history.jump(index)) {
                    self.refresh();
                }
            }
            Command::Select(target, How::Toggle) => self.state.selection.toggle(target.name()),
            Command::Select(target, _) => self.state.selection.set(target),
            Command::SelectMany { nodes, focus } => self.state.selection.set_many(nodes, focus),
            Command::ShowPanel(id) => self.show_panel(id),
            Command::Describe(name) => self.describe(name),
            Command::Summarise(names) => self.summarise(names),
            Command::Export(request) => self.export(request),
            Command::DescribeNode(name) => self.describe_node(name),
            Command::MeasureChanges(name) => self.measure_changes(name),
            Command::EstimateRun => self.estimate_run(),
            Command::PickData => self.pick(Picked::Data, None),
            Command::PickDataFolder => self.pick(Picked::DataFolder, None),
            Command::UseData(path) => self.use_data(path),
            Command::PickDataFile(file) => self.pick(Picked::DataFile(file), None),
            Command::UseDataFile(file, path) => self.use_data_file(file, &path),
            Command::ShowExample(row) => self.show_example(row),
            Command::PickExport => {
                let suggested = self.open.as_ref().map(panels::suggested_export);
                let typed = self.state.drafts.get("export-path").filter(|p| !p.trim().is_empty());
                let path = typed.cloned().or(suggested).unwrap_or_default();
                self.pick(Picked::Export, Some((path, Vec::new())));
            }
            Command::SetLearningRate(rate) => self.set_learning_rate(rate),
            Command::CancelJob(id) => self.cancel_job(id),
            Command::CopyText(text) => ctx.copy_text(text),
            Command::SaveFile { suggested, bytes } => self.pick(Picked::SaveFile, Some((suggested, bytes))),
            Command::Say(text) => self.say(Severity::Error, text),
            Command::SaveTensor(name) => self.pick(Picked::Tensor, Some((name, Vec::new()))),
            Command::SaveTensorTo(name, path) => self.save_tensor(name, path),
            Command::Slice(at) => self.slice(at),
            Command::ExportTo(path) => {
                self.state.drafts.insert("export-path".to_owned(), path.to_string_lossy().into_owned());
            }
            Command::WriteFile(path, bytes) => self.write_file(&path, &bytes),
            Command::DiscardRun => self.tell_trainer(Action::StopAndDiscard),
            Command::SavePlots => self.save_plots(ctx),
            Command::SaveComparison => self.save_comparison(ctx),
            Command::Prove(what) => self.prove(what),
            Command::PickOtherModel => self.pick(Picked::OtherModel, None),
            Command::ApplyTo(path) => self.apply_to(path),
            Command::OpenTransferred => self.open_transferred(),
            Command::RefreshRuns => self.refresh_runs(),
            Command::ResumeRun { folder, more } => self.resume_run(folder, more),
            Command::ShowRun(folder) => self.show_run(&folder),
            Command::RenameRun { folder, name } => self.rename_run(&folder, &name),
            Command::DeleteRun(folder) => self.delete_run(&folder),
            Command::ShowDialog(dialog) => self.state.dialog = Some(dialog),
            Command::ClosePanel(id) => {
                layout::hide(&mut self.layout, id);
                self.save_layout();
            }
            Command::SplitPanel(id, is_right) => {
                layout::split(&mut self.layout, id, is_right);
                self.save_layout();
            }
            Command::Recover(path) => self.recover(path),
            Command::DiscardRecovery(path) => self.discard_recovery(&path),
            Command::SetPreferences(p) => {
                self.preferences = p;
                self.apply_preferences(ctx);
                self.save_preferences();
            }
            Command::Proceed(then) => self.proceed(then),
            Command::SaveAndProceed(then) => self.save_and_proceed(then),
            Command::SaveTo(path) => self.save_session(path),
            Command::ForgetRecent(path) => {
                self.preferences.recent.retain(|p| *p != path);
                self.save_preferences();
            }
            Command::CloseDialog => self.state.dialog = None,
            Command::CloseWhenDone => {
                self.is_closing = true;
                self.state.dialog = None;
            }
            Command::CloseNow => {
                self.may_close = true;
                ctx.send_viewport_cmd(egui::ViewportCommand::Close);
            }
        }
    }

    fn act(&mut self, action: Action, ctx: &egui::Context) {
        if !self.is_enabled(action, ctx) {
            return;
        }
        match action {
            Action::OpenFile => self.pick(Picked::Open, None),
            Action::OpenFolder => self.pick(Picked::OpenFolder, None),
            Action::OpenPath => self.type_path(Picked::Open, None, ""),
            Action::OpenDemo => self.leave(Then::OpenDemo),
            Action::Save => match self.open.as_ref().and_then(|o| o.session_path.clone()) {
                Some(path) => self.save_session(path),
                None => self.pick(Picked::SaveSession, None),
            },
            Action::SaveAs => self.pick(Picked::SaveSession, None),
            Action::Export => self.show_panel("export"),
            Action::PickData => self.pick(Picked::Data, None),
            Action::ApplyRecipe => self.pick(Picked::OtherModel, None),
            Action::GraftHead | Action::AddLora | Action::LoadWeights | Action::ChooseLoss => {
                self.ask_what_to_add(action)
            }
            Action::ChooseEntry => self.choose_entry(),
            Action::Preferences => self.state.dialog = Some(Dialog::Preferences),
            Action::CloseModel => self.leave(Then::CloseModel),
            Action::Quit => ctx.send_viewport_cmd(egui::ViewportCommand::Close),
            Action::Undo | Action::Redo => self.travel(action == Action::Undo),
            Action::Find => {
                layout::show(&mut self.layout, "browser");
                self.state.browser.wants_focus = true;
            }
            Action::SelectAll => self.select_all(),
            Action::CopyNames => {
                let names: Vec<String> = self.state.selection.nodes().iter().cloned().collect();
                ctx.copy_text(names.join("\n"));
            }
            Action::CopyRecipe => self.copy_recipe(ctx),
            Action::PasteRecipe => ctx.send_viewport_cmd(egui::ViewportCommand::RequestPaste),
            Action::SelectBack => self.state.selection.go_back(),
            Action::SelectForward => self.state.selection.go_forward(),
            Action::Palette => self.state.palette = Some(crate::ui::dialogs::PaletteState::default()),
            Action::ThemeSystem => self.set_theme(ThemeChoice::System, ctx),
            Action::ThemeLight => self.set_theme(ThemeChoice::Light, ctx),
            Action::ThemeDark => self.set_theme(ThemeChoice::Dark, ctx),
            Action::ZoomIn => self.zoom(1.1, ctx),
            Action::ZoomOut => self.zoom(1.0 / 1.1, ctx),
            Action::ZoomReset => self.zoom(1.0 / self.preferences.zoom, ctx),
            Action::ResetLayout => {
                self.layout = layout::default_tree();
                self.save_layout();
            }
            Action::FitGraph => self.graph_wants(Wants::Fit),
            Action::ZoomToSelection => self.graph_wants(Wants::ZoomToSelection),
            Action::RevealSelection => self.graph_wants(Wants::Reveal),
            Action::SaveGraphPng => self.graph_wants(Wants::Picture(PictureKind::Png)),
            Action::SaveGraphSvg => self.graph_wants(Wants::Picture(PictureKind::Svg)),
            Action::MeasureTimes => self.measure_times(),
            Action::ToggleMotion | Action::ToggleDirection | Action::ToggleEdgeShapes => {
                let p = &mut self.preferences;
                let flag = match action {
                    Action::ToggleDirection => &mut p.is_sideways,
                    Action::ToggleEdgeShapes => &mut p.has_edge_shapes,
                    _ => &mut p.has_motion,
                };
                *flag = !*flag;
                self.apply_preferences(ctx);
                self.save_preferences();
            }
            Action::LastLayers => self.state.dialog = Some(Dialog::LastLayers(2)),
            Action::About => self.state.dialog = Some(Dialog::About),
            Action::Shortcuts => self.state.dialog = Some(Dialog::Shortcuts),
            Action::Prove => self.prove(What::All),
            Action::Train => self.start_training(),
            Action::ResumeRun => self.resume_last(),
            Action::StopAndDiscard => self.state.dialog = Some(Dialog::DiscardRun),
            Action::Pause | Action::Resume | Action::StopAndKeep | Action::SaveCheckpoint => {
                self.tell_trainer(action);
            }
            choice => self.choose(choice),
        }
    }

    /// Brings a panel to the front; where that was asked for by keyboard, the panel takes it.
    pub(super) fn show_panel(&mut self, id: &'static str) {
        layout::show(&mut self.layout, id);
        if self.state.is_by_keyboard {
            self.state.wants_panel = Some(id);
        }
    }

    pub(super) fn is_enabled(&self, action: Action, ctx: &egui::Context) -> bool {
        self.ctx_parts(&[], &ctx.global_style().visuals).is_enabled(action)
    }

    /// The form of something that is added to the model, filled in from the selection.
    fn ask_what_to_add(&mut self, action: Action) {
        let selected = self.state.selection.focus().and_then(|t| match t {
            Target::Node(n) if !self.is_constant(n) => Some(n.as_str()),
            _ => None,
        });
        let weights = || {
            let names = self.state.selection.nodes().iter();
            let row = |n: &String| self.open.as_ref().and_then(|o| Some(&o.overview.constants[o.index.constant(n)?]));
            names.filter(|n| row(n).is_some_and(|c| c.role == "matmul-weight")).cloned().collect::<Vec<String>>()
        };
        let dialog = match action {
            Action::GraftHead => Dialog::GraftHead(HeadForm::new(self.open.as_ref(), selected)),
            Action::ChooseLoss => Dialog::ChooseLoss(LossForm::new(self.open.as_ref(), selected)),
            Action::AddLora => Dialog::Lora(LoraForm::new(weights())),
            _ => Dialog::LoadWeights(WeightsForm::default()),
        };
        self.state.dialog = Some(dialog);
    }

    /// Bulk choices of what trains and of dropout; each is one undo step and stored as a selector.
    fn choose(&mut self, action: Action) {
        let selectors = |s: Vec<Selector>| Change::SetTrainable(TrainableChoice { include: s, exclude: Vec::new() });
        let selected =
            || self.state.selection.nodes().iter().filter(|n| self.is_constant(n)).cloned().collect::<Vec<String>>();
        let change = match action {
            Action::FreezeBelow => match (&self.open, self.state.selection.focus()) {
                (Some(open), Some(target)) => bulk::freeze_below(open, target),
                _ => return self.say(Severity::Info, "Select the node, constant or scope below which to freeze."),
            },
            Action::OnlySelection => selectors(selected().into_iter().map(Selector::Name).collect()),
            Action::TrainSelection => Change::Train { names: selected(), on: true },
            Action::FreezeSelection => Change::Train { names: selected(), on: false },
            Action::DropoutOff => Change::SetDropout(SitePolicy::Off),
            Action::DropoutTrain => Change::SetDropout(SitePolicy::Train),
            Action::BypassAllDropout => {
                let sites = self.open.iter().flat_map(|o| &o.overview.dropout);
                Change::AddEdits(sites.map(|s| EditStep::BypassDropout { output: s.output.clone() }).collect())
            }
            other => match bulk::selectors(other) {
                Some(s) => selectors(s),
                None => return,
            },
        };
        let is_empty = matches!(&change, Change::Train { names, .. } if names.is_empty())
            || matches!(&change, Change::SetTrainable(c) if c.include.is_empty());
        if is_empty {
            self.say(Severity::Info, "No constant is selected.");
            return;
        }
        self.change(&change, None);
    }

    fn is_constant(&self, name: &str) -> bool {
        self.open.as_ref().is_some_and(|o| o.index.constant(name).is_some())
    }

    /// The one way the recipe changes in the window.
    pub(super) fn change(&mut self, change: &Change, gesture: Option<u64>) {
        let Some(open) = &mut self.open else { return };
        if open.history.apply(change, gesture) {
            self.note(Severity::Info, change.label());
            self.refresh();
        }
    }

    fn travel(&mut self, is_undo: bool) {
        let Some(open) = &mut self.open else { return };
        if if is_undo { open.history.undo() } else { open.history.redo() } {
            self.refresh();
        }
    }

    fn select_all(&mut self) {
        if let Some(open) = &self.open {
            let names = panels::shown_names(open, &mut self.state.browser);
            self.state.selection.set_many(names, None);
        }
    }

    fn copy_recipe(&mut self, ctx: &egui::Context) {
        let text = self.open.as_ref().and_then(|o| serde_json::to_string_pretty(o.recipe()).ok());
        if let Some(text) = text {
            ctx.copy_text(text);
            self.say(Severity::Info, "The recipe is on the clipboard.");
        }
    }

    /// A recipe that was pasted outside of any text field.
    pub(super) fn paste(&mut self, text: &str) {
        if self.open.is_none() || !text.trim_start().starts_with('{') {
            return;
        }
        match serde_json::from_str::<Recipe>(text) {
            Ok(recipe) => {
                self.change(&Change::Replace(Box::new(recipe)), None);
                self.say(Severity::Info, "The recipe was taken from the clipboard.");
            }
            Err(e) => self.say(Severity::Warning, format!("What is on the clipboard is no recipe: {e}")),
        }
    }

    fn set_theme(&mut self, theme: ThemeChoice, ctx: &egui::Context) {
        self.preferences.theme = theme;
        self.apply_preferences(ctx);
        self.save_preferences();
    }

    fn zoom(&mut self, factor: f32, ctx: &egui::Context) {
        self.preferences.zoom = (self.preferences.zoom * factor).clamp(0.5, 3.0);
        self.apply_preferences(ctx);
        self.save_preferences();
    }

    fn graph_wants(&mut self, wants: Wants) {
        layout::show(&mut self.layout, "graph");
        self.state.canvas.wants = wants;
    }

    pub(super) fn close_model(&mut self) {
        self.jobs.cancel_all();
        self.slicing = None;
        self.open = None;
        self.run = None;
        self.session = None;
        self.state.selection.clear();
        self.state.drafts.clear();
        self.state.canvas = crate::ui::canvas::CanvasState::default();
    }

    fn use_data(&mut self, path: PathBuf) {
        if self.open.is_none() {
            self.say(Severity::Warning, "Open a model before its data.");
            return;
        }
        let train = path.to_string_lossy().into_owned();
        let old = self.open.as_ref().and_then(|o| o.recipe().data.clone());
        // What was chosen for other data (columns, mapping) stays where it can still mean something.
        let choice = DataChoice { train, validation: None, ..old.unwrap_or_default() };
        // The same file again is read again: it may have changed.
        self.data_key = None;
        let has_split = self.open.as_ref().is_some_and(|o| o.recipe().settings.contains_key("data.split"));
        let is_first = self.open.as_ref().is_some_and(|o| o.recipe().data.is_none());
        self.change(&Change::SetData(Some(choice)), Some(DATA_GESTURE));
        if is_first && !has_split {
            // Without held-out examples nobody sees whether a model learns or learns by heart.
            let split = Change::SetSetting { key: "data.split".to_owned(), value: Some("0.1".to_owned()) };
            self.change(&split, Some(DATA_GESTURE));
        }
        self.refresh_data();
        self.show_panel("data");
    }

    fn use_data_file(&mut self, file: DataFile, path: &std::path::Path) {
        let Some(mut choice) = self.open.as_ref().and_then(|o| o.recipe().data.clone()) else { return };
        let field = match file {
            DataFile::Validation => &mut choice.validation,
            DataFile::Tokenizer => &mut choice.tokenizer,
            DataFile::Labels => &mut choice.labels,
        };
        *field = Some(path.to_string_lossy().into_owned());
        self.change(&Change::SetData(Some(choice)), None);
    }

    /// Writes a file that the user asked for.
    pub(super) fn write_file(&mut self, path: &std::path::Path, bytes: &[u8]) {
        match files::replace(path, bytes) {
            Ok(()) => self.say(Severity::Info, format!("Written: {}", path.display())),
            Err(e) => self.say(Severity::Error, format!("Could not write: {e}; {}", path.display())),
        }
    }

    /// Selects what the command line asked for, once a model is there.
    pub(super) fn select_asked(&mut self) {
        let names = std::mem::take(&mut self.select_when_open);
        match names.as_slice() {
            [] => {}
            [one] => self.state.selection.set(self.target_named(one)),
            _ => self.state.selection.set_many(names, None),
        }
    }

    /// A dropout site, a scope, or a node of this name.
    fn target_named(&self, name: &str) -> Target {
        let Some(open) = &self.open else { return Target::Node(name.to_owned()) };
        if open.overview.dropout.iter().any(|s| s.output == name) {
            Target::Site(name.to_owned())
        } else if open.index.node_of_value(name).is_none() && open.index.scopes.named(name).is_some() {
            Target::Scope(name.to_owned())
        } else {
            Target::Node(name.to_owned())
        }
    }
}
