//! `regraft screenshot`: opens the real window, waits until jobs have settled, saves the picture, ends.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use crate::base::files;
use crate::ui::ctx::ThemeChoice;

use super::{App, Options, native};

/// What the picture shows.
#[derive(Clone, Debug)]
pub struct Request {
    pub open: Option<PathBuf>,
    pub to: PathBuf,
    /// Of the window, in points.
    pub size: [f32; 2],
    pub theme: ThemeChoice,
    pub panel: Option<String>,
    pub select: Vec<String>,
    pub scale: f32,
}

impl Request {
    /// Errors name the option that cannot be understood.
    pub fn from_args(args: &crate::cli::ScreenshotArgs) -> Result<Self> {
        let size = args.size.split_once('x').and_then(|(w, h)| Some([w.parse().ok()?, h.parse().ok()?]));
        let size: [f32; 2] = size.ok_or_else(|| anyhow!("--size {} must look like 1440x900", args.size))?;
        let theme = match args.theme.as_str() {
            "dark" => ThemeChoice::Dark,
            "light" => ThemeChoice::Light,
            other => return Err(anyhow!("--theme {other} must be dark or light")),
        };
        Ok(Self {
            open: args.file.clone(),
            to: args.to.clone(),
            size: size.map(|v| v.clamp(200.0, 8000.0)),
            theme,
            panel: args.panel.clone(),
            select: args.select.clone(),
            scale: args.scale.clamp(0.5, 4.0),
        })
    }
}

/// Frames that must pass without anything under way before the picture counts as settled.
const SETTLED_FRAMES: u32 = 4;
const TIMEOUT: Duration = Duration::from_secs(120);

type Shot = Arc<Mutex<Option<Arc<egui::ColorImage>>>>;

/// Takes the picture. Errors: no display, an unknown panel, a picture that never settled, a file that cannot be written.
pub fn take(request: Request) -> Result<()> {
    if let Some(panel) = &request.panel
        && crate::ui::panels::named(panel).is_none()
    {
        let known: Vec<&str> = crate::ui::panels::ALL.iter().map(|p| p.id).collect();
        return Err(anyhow!("there is no panel {panel:?}; panels: {}", known.join(", ")));
    }
    let shot: Shot = Arc::default();
    let options = Options {
        open: request.open.clone(),
        theme: Some(request.theme),
        panel: request.panel.clone(),
        select: request.select.clone(),
        ..Options::default()
    };
    let [w, h] = request.size;
    let viewport = native::viewport([w * request.scale, h * request.scale]);
    let (taken, scale) = (shot.clone(), request.scale);
    native::run_with(options, viewport, move |mut app| {
        app.preferences.zoom = scale;
        app.preferences.has_motion = false;
        Photographer { app, shot: taken, settled: 0, is_asked: false, started: Instant::now() }
    })?;
    let image = shot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let image = image.ok_or_else(|| anyhow!("the window did not settle within {} s", TIMEOUT.as_secs()))?;
    save_png(&image, &request.to)
}

/// Writes a picture as PNG.
pub fn save_png(image: &egui::ColorImage, path: &Path) -> Result<()> {
    let bytes = crate::ui::raster::png(image).map_err(anyhow::Error::msg)?;
    files::replace(path, &bytes).with_context(|| format!("the picture could not be written to {}", path.display()))
}

/// The app, and what waits for it to come to rest.
struct Photographer {
    app: App,
    shot: Shot,
    settled: u32,
    is_asked: bool,
    started: Instant,
}

impl eframe::App for Photographer {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        if self.started.elapsed() < Duration::from_millis(50) {
            self.app.apply_preferences(ctx);
        }
        self.app.logic(ctx);
        let is_done = self.shot.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if is_done || self.started.elapsed() > TIMEOUT {
            ctx.send_viewport_cmd(egui::ViewportCommand::Close);
        }
        self.settled = if self.app.is_settled() { self.settled + 1 } else { 0 };
        if self.settled >= SETTLED_FRAMES && !self.is_asked && self.started.elapsed() > Duration::from_millis(400) {
            self.is_asked = true;
            let (shot, waker) = (self.shot.clone(), ctx.clone());
            let callback = egui::ScreenshotCallback::new(move |image| {
                *shot.lock().unwrap_or_else(PoisonError::into_inner) = Some(image);
                waker.request_repaint();
            });
            ctx.send_viewport_cmd(egui::ViewportCommand::Screenshot(callback));
        }
        ctx.request_repaint_after(Duration::from_millis(16));
    }

    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.app.ui(ui);
    }
}
