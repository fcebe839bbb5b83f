//! The window driven by its accessible names, without a display; and a few pictures.

mod canvas;
mod curves;
mod dialogs;
mod flows;
mod guide;
mod keyboard;
mod kinds;
mod manners;
mod model;
mod offers;
mod panels;
mod pictures;
mod raster;
mod scenes;
mod shell;
mod states;

use egui::Vec2;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use regraft::app::{App, Options};
use regraft::ui::ctx::{Preferences, ThemeChoice};

use raster::{TextureKeeper, Textures};

/// A window without a display.
pub struct Window {
    pub harness: Harness<'static, Option<App>>,
    textures: Textures,
    size: Vec2,
    scale: f32,
}

impl Window {
    pub fn new(size: [f32; 2], scale: f32, theme: ThemeChoice, options: Options) -> Self {
        let textures = Textures::default();
        let preferences = Preferences { theme, has_motion: false, ..options.preferences.clone() };
        let options = Options { preferences, theme: Some(theme), ..options };
        let mut options = Some(options);
        let harness = Harness::builder()
            .with_size(Vec2::from(size))
            .with_pixels_per_point(scale)
            .with_max_steps(64)
            .renderer(TextureKeeper(textures.clone()))
            .build_ui_state(
                move |ui: &mut egui::Ui, app: &mut Option<App>| {
                    let app = app.get_or_insert_with(|| App::new(ui.ctx(), options.take().unwrap_or_default()));
                    app.logic(ui.ctx());
                    app.ui(ui);
                },
                None,
            );
        let mut window = Self { harness, textures, size: Vec2::from(size), scale };
        window.settle();
        window
    }

    /// A window with the made-up model open.
    pub fn with_model(size: [f32; 2], theme: ThemeChoice) -> Self {
        let mut window = Self::new(size, 1.0, theme, Options::default());
        window.app().open = Some(model::open());
        window.settle();
        window
    }

    pub fn app(&mut self) -> &mut App {
        self.harness.state_mut().as_mut().expect("the first frame made the app")
    }

    /// Runs frames until no job is under way and nothing asks for another frame.
    pub fn settle(&mut self) {
        // What is asked for in one frame is begun in the next ones.
        let mut n_calm = 0;
        for _ in 0..400 {
            self.harness.step();
            if self.harness.state().as_ref().is_some_and(App::is_settled) {
                n_calm += 1;
            } else {
                n_calm = 0;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            if n_calm == 5 {
                break;
            }
        }
        self.harness.check_accessibility();
    }

    pub fn click(&mut self, label: &str) {
        self.harness.get_by_label(label).click();
        self.settle();
    }

    /// Clicks the first of several that bear the name.
    pub fn click_first(&mut self, label: &str) {
        let node = self.harness.query_all_by_label(label).next();
        node.unwrap_or_else(|| panic!("nothing is called {label:?}")).click();
        self.settle();
    }

    pub fn has(&self, label: &str) -> bool {
        self.harness.query_all_by_label(label).next().is_some()
    }

    pub fn has_containing(&self, text: &str) -> bool {
        self.harness.query_all_by_label_contains(text).next().is_some()
    }

    /// What the window shows now.
    pub fn picture(&mut self) -> egui::ColorImage {
        self.harness.step();
        let output = self.harness.output();
        let primitives = self.harness.ctx.tessellate(output.shapes.clone(), output.pixels_per_point);
        let size = [(self.size.x * self.scale) as usize, (self.size.y * self.scale) as usize];
        let ground = regraft::ui::theme::Tokens::of(&self.harness.ctx.global_style().visuals).window;
        raster::draw(&primitives, &self.textures.0.borrow(), size, self.scale, ground)
    }
}
