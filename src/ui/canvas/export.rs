//! The whole graph as a picture, drawn in a job by the same code that draws the window.

use std::sync::Arc;

use egui::{Pos2, Rect, Vec2, vec2};

use crate::ui::background::Background;
use crate::ui::command::Command;
use crate::ui::ctx::Open;
use crate::ui::theme::{self, Tokens};
use crate::ui::{raster, vector};

use super::camera::Camera;
use super::draw::{Look, Scene};
use super::layout::Layout;
use super::shown::Shown;
use super::style::Styles;

/// Around the graph, in points.
const MARGIN: f32 = 24.0;
/// Pixels per point where the picture is small enough for it.
const SHARPNESS: f32 = 2.0;
/// Greatest side and number of pixels; larger graphs are drawn smaller.
const MAX_SIDE: f32 = 16_000.0;
const MAX_PIXELS: f32 = 48e6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    Png,
    Svg,
}

/// A finished picture with its suggested name.
#[derive(Clone, Debug)]
pub struct Picture {
    pub name: String,
    pub kind: PictureKind,
    pub bytes: Vec<u8>,
}

impl Picture {
    pub fn into_command(self) -> Command {
        Command::SaveFile { suggested: self.name, bytes: self.bytes }
    }
}

/// Draws the layout in a job, with the colours and marks that the window shows.
pub(super) fn start(
    kind: PictureKind,
    shown: Arc<Shown>,
    layout: Arc<Layout>,
    styles: Arc<Styles>,
    look: Arc<Look>,
    open: &Open,
    tokens: &'static Tokens,
) -> Background<Result<Picture, String>> {
    let stem = open.path.file_stem().map_or_else(|| "graph".to_owned(), |n| n.to_string_lossy().into_owned());
    Background::spawn(
        "picture",
        || {},
        move |_| {
            let drawing = Drawing { shown: &shown, layout: &layout, styles: &styles, look: &look, tokens };
            let (suffix, bytes) = match kind {
                PictureKind::Svg => ("svg", drawing.svg().into_bytes()),
                PictureKind::Png => ("png", drawing.png()?),
            };
            Ok(Picture { name: format!("{stem}-graph.{suffix}"), kind, bytes })
        },
    )
}

/// What is drawn; the graph as a whole, at its natural size.
#[derive(Clone, Copy)]
pub struct Drawing<'a> {
    pub shown: &'a Shown,
    pub layout: &'a Layout,
    pub styles: &'a Styles,
    pub look: &'a Look,
    pub tokens: &'static Tokens,
}

impl Drawing<'_> {
    fn size(&self) -> Vec2 {
        vec2(self.layout.size[0] + 2.0 * MARGIN, self.layout.size[1] + 2.0 * MARGIN)
    }

    pub fn svg(&self) -> String {
        let (_, mut output) = self.frame(1.0);
        // Words stay words, so nobody needs the glyphs' texture.
        output.textures_delta.clear();
        vector::svg(&output.shapes, self.size(), self.tokens.window)
    }

    /// Errors: a graph without extent.
    pub fn png(&self) -> Result<Vec<u8>, String> {
        let size = self.size();
        let scale = SHARPNESS.min(MAX_SIDE / size.x.max(size.y)).min((MAX_PIXELS / (size.x * size.y)).sqrt());
        let (ctx, mut output) = self.frame(scale);
        let mut textures = raster::Textures::default();
        textures.update(&mut output.textures_delta);
        let primitives = ctx.tessellate(output.shapes, scale);
        let pixels = [(size.x * scale).ceil() as usize, (size.y * scale).ceil() as usize];
        raster::png(&raster::draw(&primitives, &textures, pixels, scale, self.tokens.window))
    }

    /// One frame of a context of its own.
    fn frame(&self, scale: f32) -> (egui::Context, egui::FullOutput) {
        let ctx = egui::Context::default();
        theme::install(&ctx);
        let rect = Rect::from_min_size(Pos2::ZERO, self.size());
        let mut input = egui::RawInput { screen_rect: Some(rect), ..egui::RawInput::default() };
        if let Some(viewport) = input.viewports.get_mut(&egui::ViewportId::ROOT) {
            viewport.native_pixels_per_point = Some(scale);
        }
        let camera = Camera { center: [self.layout.size[0] / 2.0, self.layout.size[1] / 2.0], zoom: 1.0 };
        let output = ctx.run_ui(input, |ui| {
            let scene = Scene {
                tokens: self.tokens,
                shown: self.shown,
                layout: self.layout,
                styles: self.styles,
                look: self.look,
                hovered: None,
                hovered_wire: None,
                camera,
                rect,
                motion: None,
                has_labels: false,
            };
            let painter = egui::Painter::new(ui.ctx().clone(), ui.layer_id(), rect);
            scene.draw(&painter, &scene.visible());
        });
        (ctx, output)
    }
}
