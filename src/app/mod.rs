//! The program with its window: owns the session, runs jobs and the trainer, carries out commands, and draws through
//! `ui`. [`App::logic`] runs every frame, also when hidden, and draws nothing; [`App::ui`] only draws.

mod arriving;
mod cancel;
pub mod commands;
pub mod data;
mod details;
mod estimates;
mod exporting;
mod follow;
pub mod jobs;
mod keyboard;
pub mod layout;
mod logic;
pub mod native;
mod pace;
mod pictures;
pub mod predictions;
mod preferences;
pub mod recipes;
mod recovery;
pub mod screenshot;
pub mod shell;
mod times;
pub mod training;
mod values;
pub mod welcome;
pub mod work;

use std::path::PathBuf;

use crate::base::Severity;
use crate::ui::ctx::{Ctx, LogLine, Open, Preferences, ThemeChoice};
use crate::ui::run_view::RunView;
use crate::ui::theme::{self, Tokens, icons};
use crate::ui::{Sender, UiState};

/// What a start brings along.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A model or session to open at once.
    pub open: Option<PathBuf>,
    pub preferences: Preferences,
    /// Where preferences and layout are kept; `None` keeps nothing (tests, screenshots).
    pub config_dir: Option<PathBuf>,
    pub theme: Option<ThemeChoice>,
    /// A panel to bring to the front.
    pub panel: Option<String>,
    pub select: Vec<String>,
    /// The desktop's file dialogs may be shown; else paths are typed.
    pub has_chooser: bool,
}

/// See the module doc.
pub struct App {
    pub open: Option<Open>,
    pub run: Option<RunView>,
    pub state: UiState,
    pub preferences: Preferences,
    pub(crate) session: Option<work::Held>,
    pub(crate) training: Option<training::Training>,
    pub(crate) commands: Sender,
    pub(crate) jobs: jobs::Jobs,
    pub log: Vec<LogLine>,
    pub(crate) toasts: egui_notify::Toasts,
    pub(crate) layout: layout::DockTree,
    pub(crate) config_dir: Option<PathBuf>,
    /// What the data that are shown were made from.
    pub(crate) data_key: Option<crate::session::Recipe>,
    examples: Option<std::sync::Arc<data::Examples>>,
    pub(crate) select_when_open: Vec<String>,
    recovery: recovery::Recovery,
    /// A recipe that was matched with another model and waits to be opened.
    pub(crate) matched: Option<recipes::Matched>,
    /// Why nothing is open, for the welcome page.
    pub(crate) opening_failed: Option<String>,
    /// The part of a constant that is being read.
    pub(crate) slicing: Option<crate::data::statistics::SliceAt>,
    /// Close as soon as no run is in progress.
    pub(crate) is_closing: bool,
    pub(crate) may_close: bool,
    pub(crate) has_chooser: bool,
    before: keyboard::Before,
    started: std::time::Instant,
    /// How often a run asks for frames.
    pace: pace::Pace,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("open", &self.open.as_ref().map(Open::title)).finish_non_exhaustive()
    }
}

impl App {
    /// Installs fonts and styles into `ctx` and starts opening what `options` name.
    pub fn new(ctx: &egui::Context, options: Options) -> Self {
        theme::install(ctx);
        let mut app = Self {
            open: None,
            run: None,
            state: UiState::default(),
            preferences: options.preferences,
            session: None,
            training: None,
            commands: Sender::default(),
            jobs: jobs::Jobs::new(ctx.clone()),
            log: Vec::new(),
            toasts: egui_notify::Toasts::default().with_anchor(egui_notify::Anchor::BottomRight),
            layout: layout::default_tree(),
            recovery: recovery::Recovery::start(options.config_dir.as_deref()),
            matched: None,
            opening_failed: None,
            slicing: None,
            config_dir: options.config_dir,
            data_key: None,
            examples: None,
            select_when_open: options.select,
            is_closing: false,
            may_close: false,
            has_chooser: options.has_chooser,
            before: keyboard::Before::default(),
            started: std::time::Instant::now(),
            pace: pace::Pace::default(),
        };
        if let Some(theme) = options.theme {
            app.preferences.theme = theme;
        }
        app.restore_layout();
        app.apply_preferences(ctx);
        if let Some(panel) = options.panel.as_deref().and_then(crate::ui::panels::named) {
            layout::show(&mut app.layout, panel.id);
        }
        if let Some(path) = options.open {
            app.commands.send(crate::ui::Command::Open(path));
        }
        app
    }

    /// Everything that is not drawing: results of jobs, events of the trainer, commands of the last frame.
    pub fn logic(&mut self, ctx: &egui::Context) {
        self.take_results();
        self.take_training_events();
        for command in self.commands.take() {
            self.carry_out(command, ctx);
        }
        self.autosave();
        self.handle_closing(ctx);
    }

    /// Whether nothing is under way, so that a picture is complete.
    pub fn is_settled(&self) -> bool {
        self.jobs.is_idle() && !self.state.canvas.is_busy()
    }

    /// The docking layout, for tests and the command line to bring panels to the front.
    pub fn dock(&mut self) -> &mut layout::DockTree {
        &mut self.layout
    }

    /// What panels may read this frame.
    pub(crate) fn ctx_parts<'a>(&'a self, jobs: &'a [crate::ui::ctx::JobView], visuals: &egui::Visuals) -> Ctx<'a> {
        Ctx {
            open: self.open.as_ref(),
            run: self.run.as_ref(),
            jobs,
            settings: &self.preferences,
            log: &self.log,
            recoverable: &self.recovery.found,
            opening_failed: self.opening_failed.as_deref(),
            tokens: Tokens::of(visuals),
            commands: &self.commands,
        }
    }

    /// Into the log; warnings and errors also as a toast.
    pub(crate) fn say(&mut self, severity: Severity, text: impl Into<String>) {
        let text = crate::ui::words::in_window(&text.into());
        let tokens = Tokens::of(&self.jobs.context().global_style().visuals);
        let (icon, color) = match severity {
            Severity::Info => (icons::INFO, tokens.info),
            Severity::Warning => (icons::WARNING, tokens.warning),
            Severity::Error => (icons::ERROR, tokens.error),
        };
        // Toasts do not break lines themselves; the smallest window has room for so many characters.
        let caption = crate::ui::text::wrapped(&text, 90);
        let toast = self.toasts.custom(caption, icon.to_owned(), color);
        let secs = if severity == Severity::Error { 12 } else { 5 };
        // Its close mark is a glyph that our fonts lack; it goes by itself, and the log keeps the words.
        toast.closable(false).duration(Some(std::time::Duration::from_secs(secs)));
        self.note(severity, text);
    }

    /// Into the log alone.
    pub(crate) fn note(&mut self, severity: Severity, text: impl Into<String>) {
        let time = crate::ui::text::duration(self.started.elapsed().as_secs_f64());
        self.log.push(LogLine { time, severity, text: crate::ui::words::in_window(&text.into()) });
    }

    /// Theme, zoom and motion as chosen.
    pub(crate) fn apply_preferences(&self, ctx: &egui::Context) {
        ctx.set_theme(match self.preferences.theme {
            ThemeChoice::System => egui::ThemePreference::System,
            ThemeChoice::Light => egui::ThemePreference::Light,
            ThemeChoice::Dark => egui::ThemePreference::Dark,
        });
        ctx.set_zoom_factor(self.preferences.zoom.clamp(0.5, 3.0));
        let time = if self.preferences.has_motion { 0.14 } else { 0.0 };
        ctx.all_styles_mut(|s| s.animation_time = time);
    }

    /// The window's title: the session, whether it is saved, the program.
    pub fn title(&self) -> String {
        match &self.open {
            Some(o) if o.is_saved() => format!("{} – Regraft", o.title()),
            Some(o) => format!("{} • – Regraft", o.title()),
            None => "Regraft".to_owned(),
        }
    }
}

/// `regraft screenshot`: a picture of the real window.
pub fn screenshot(args: &crate::cli::ScreenshotArgs) -> anyhow::Result<()> {
    screenshot::take(screenshot::Request::from_args(args)?)
}

/// Runs the window until it is closed, with a model or session if one is named.
pub fn run(path: Option<&std::path::Path>) -> anyhow::Result<()> {
    native::run(path.map(std::path::Path::to_owned))
}
