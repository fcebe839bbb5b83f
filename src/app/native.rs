//! Opens the real window.

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};

use super::{App, Options, preferences};

/// Name under which desktops group the window; also that of the `.desktop` file.
pub const APP_ID: &str = "regraft";

const ICON: &[u8] = include_bytes!("../../assets/icons/regraft-256.png");

/// Runs the window until it is closed, with a model or session if one is named.
///
/// Errors where no window can be opened (no display): the message says what to do instead.
pub fn run(path: Option<PathBuf>) -> Result<()> {
    let config_dir = preferences::config_dir();
    let preferences = preferences::load(config_dir.as_deref());
    let options = Options { open: path, preferences, config_dir, has_chooser: true, ..Options::default() };
    run_with(options, viewport([1360.0, 840.0]), |app| app)
}

/// The window's title, icon, class and least size.
pub(super) fn viewport(size: [f32; 2]) -> egui::ViewportBuilder {
    let mut viewport = egui::ViewportBuilder::default()
        .with_title("Regraft")
        .with_app_id(APP_ID)
        .with_inner_size(size)
        .with_min_inner_size([760.0, 480.0]);
    if let Ok(icon) = eframe::icon_data::from_png_bytes(ICON) {
        viewport = viewport.with_icon(icon);
    }
    viewport.with_drag_and_drop(true)
}

/// Runs an app made from [`App`] by `wrap`.
pub(super) fn run_with<A: eframe::App + 'static>(
    options: Options,
    viewport: egui::ViewportBuilder,
    wrap: impl FnOnce(App) -> A + 'static,
) -> Result<()> {
    if !has_display() {
        return Err(anyhow!(
            "there is no display to open a window on; set DISPLAY or WAYLAND_DISPLAY, or work without a window: \
             `regraft demo --train` trains the demo, `regraft --help` lists everything"
        ));
    }
    let native = eframe::NativeOptions {
        viewport,
        persist_window: options.config_dir.is_some(),
        persistence_path: options.config_dir.as_ref().map(|d| d.join("window.ron")),
        ..eframe::NativeOptions::default()
    };
    let create = Box::new(move |cc: &eframe::CreationContext<'_>| {
        let mut app = App::new(&cc.egui_ctx, options);
        app.load_system_fonts();
        Ok(Box::new(wrap(app)) as Box<dyn eframe::App>)
    });
    eframe::run_native("Regraft", native, create).map_err(|e| anyhow!("{e}")).context("the window could not be opened")
}

/// Whether there is anything to open a window on.
pub fn has_display() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    !cfg!(target_os = "linux") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        let before = self.title();
        App::logic(self, ctx);
        if self.title() != before {
            ctx.send_viewport_cmd(egui::ViewportCommand::Title(self.title()));
        }
    }

    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        App::ui(self, ui);
    }

    fn save(&mut self, _storage: &mut dyn eframe::Storage) {
        self.save_layout();
        self.save_preferences();
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        crate::ui::theme::Tokens::of(visuals).window.to_normalized_gamma_f32()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESKTOP: &str = include_str!("../../assets/desktop/regraft.desktop");
    const TYPES: &str = include_str!("../../assets/desktop/regraft-mime.xml");

    fn entry(key: &str) -> &'static str {
        let line = DESKTOP.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("the desktop entry has no {key}"))
    }

    #[test]
    fn the_desktop_entry_belongs_to_this_window_and_opens_its_files() {
        assert_eq!((entry("StartupWMClass"), entry("Icon")), (APP_ID, APP_ID));
        assert!(entry("Exec").ends_with(" %f"), "a double click passes the file");
        let types: Vec<&str> = entry("MimeType").split_terminator(';').collect();
        assert!(types.contains(&"application/x-regraft-session"));
        for t in types {
            assert!(TYPES.contains(&format!("<mime-type type=\"{t}\">")), "{t} is defined");
        }
        assert!(TYPES.contains(&format!("*.{}", crate::session::file::EXTENSION)));
    }

    #[test]
    fn the_icon_is_a_picture_of_its_size() {
        let icon = eframe::icon_data::from_png_bytes(ICON).unwrap();
        assert_eq!((icon.width, icon.height), (256, 256));
        assert!(icon.rgba.chunks(4).any(|p| p[3] == 255) && icon.rgba.chunks(4).any(|p| p[3] == 0));
    }
}
