//! Pictures of what the window shows, drawn aside by the processor at twice the size.

use egui::{Vec2, vec2};

use crate::ui::panels::{PlotsState, compare_picture_ui, plots_picture_ui};
use crate::ui::raster::{self, Textures};
use crate::ui::run_view::RunView;
use crate::ui::theme::{self, Tokens};

use super::App;
use super::jobs::Outcome;

/// Size of a picture of plots in points, and pixels per point.
const SIZE: Vec2 = vec2(960.0, 720.0);
const SCALE: f32 = 2.0;

impl App {
    /// Draws all plots of the run as they are set, in a job; then asks where the picture goes.
    pub(super) fn save_plots(&mut self, ctx: &egui::Context) {
        let Some(run) = self.run.clone() else { return };
        let is_dark = ctx.global_style().visuals.dark_mode;
        let view = self.state.plots.view();
        self.jobs.start("Drawing the plots", move |_, _| {
            let name = format!("{}-plots.png", run.name);
            match raster::png(&plots(&run, view, is_dark)) {
                Ok(bytes) => Outcome::Pictured { suggested: name, bytes },
                Err(e) => Outcome::Written(Err(e)),
            }
        });
    }
}

impl App {
    /// Draws the compared runs as they are set, in a job; then asks where the picture goes.
    pub(super) fn save_comparison(&mut self, ctx: &egui::Context) {
        let Some(runs) = self.open.as_ref().map(|o| o.runs.clone()) else { return };
        let is_dark = ctx.global_style().visuals.dark_mode;
        let mut view = self.state.compare.clone();
        self.jobs.start("Drawing the comparison", move |_, _| {
            match raster::png(&draw(is_dark, |ui| compare_picture_ui(ui, &runs, &mut view))) {
                Ok(bytes) => Outcome::Pictured { suggested: "runs.png".to_owned(), bytes },
                Err(e) => Outcome::Written(Err(e)),
            }
        });
    }
}

/// All plots of a run on one sheet.
pub(super) fn plots(run: &RunView, view: PlotsState, is_dark: bool) -> egui::ColorImage {
    let mut state = view;
    draw(is_dark, |ui| plots_picture_ui(ui, run, &mut state))
}

/// Draws with a context of its own: twice, since the first frame only measures.
fn draw(is_dark: bool, mut add: impl FnMut(&mut egui::Ui)) -> egui::ColorImage {
    let ctx = egui::Context::default();
    theme::install(&ctx);
    ctx.set_theme(if is_dark { egui::Theme::Dark } else { egui::Theme::Light });
    ctx.set_pixels_per_point(SCALE);
    let mut textures = Textures::default();
    let mut primitives = Vec::new();
    let input = || egui::RawInput {
        screen_rect: Some(egui::Rect::from_min_size(egui::Pos2::ZERO, SIZE)),
        ..egui::RawInput::default()
    };
    for _ in 0..3 {
        let mut output = ctx.run_ui(input(), |ui| {
            egui::Frame::new().inner_margin(16).show(ui, |ui| add(ui));
        });
        textures.update(&mut output.textures_delta);
        primitives = ctx.tessellate(output.shapes, output.pixels_per_point);
    }
    let ground = Tokens::of(&ctx.global_style().visuals).panel;
    let size = [(SIZE.x * SCALE) as usize, (SIZE.y * SCALE) as usize];
    raster::draw(&primitives, &textures, size, SCALE, ground)
}
