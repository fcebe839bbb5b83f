//! Keeps the textures of a window without a display.

use std::cell::RefCell;
use std::rc::Rc;

use egui::TexturesDelta;
pub use regraft::ui::raster::draw;

/// The textures of a window, kept up to date by [`TextureKeeper`].
#[derive(Clone, Default)]
pub struct Textures(pub Rc<RefCell<regraft::ui::raster::Textures>>);

/// Takes texture changes from the harness.
pub struct TextureKeeper(pub Textures);

impl egui_kittest::TestRenderer for TextureKeeper {
    fn handle_delta(&mut self, delta: &mut TexturesDelta) {
        self.0.0.borrow_mut().update(delta);
    }
}
