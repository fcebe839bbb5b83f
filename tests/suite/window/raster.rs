//! Draws what egui tessellated on the CPU, so that pictures need neither a display nor a graphics driver.

#![allow(clippy::disallowed_methods)] // blending makes colours from channels

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use egui::epaint::{ClippedPrimitive, ImageDelta, Mesh, Primitive, Vertex};
use egui::{Color32, ColorImage, ImageData, TextureId, TexturesDelta};

/// The textures of a window, kept up to date by [`TextureKeeper`].
#[derive(Clone, Default)]
pub struct Textures(Rc<RefCell<HashMap<TextureId, ColorImage>>>);

/// Takes texture changes from the harness.
pub struct TextureKeeper(pub Textures);

impl egui_kittest::TestRenderer for TextureKeeper {
    fn handle_delta(&mut self, delta: &mut TexturesDelta) {
        let mut textures = self.0.0.borrow_mut();
        for (id, changes) in delta.set.drain() {
            changes.iter().for_each(|change| apply(&mut textures, id, change));
        }
        for id in delta.free.drain() {
            textures.remove(&id);
        }
    }
}

fn apply(textures: &mut HashMap<TextureId, ColorImage>, id: TextureId, change: &ImageDelta) {
    let ImageData::Color(image) = &change.image;
    match change.pos {
        None => {
            textures.insert(id, ColorImage::clone(image));
        }
        Some([x, y]) => {
            let Some(whole) = textures.get_mut(&id) else { return };
            let [w, h] = image.size;
            for row in 0..h {
                let to = (y + row) * whole.size[0] + x;
                whole.pixels[to..to + w].copy_from_slice(&image.pixels[row * w..(row + 1) * w]);
            }
        }
    }
}

/// Draws primitives on a ground of one colour.
pub fn draw(
    primitives: &[ClippedPrimitive],
    textures: &Textures,
    size: [usize; 2],
    scale: f32,
    ground: Color32,
) -> ColorImage {
    let mut out = ColorImage::filled(size, ground);
    let textures = textures.0.borrow();
    for p in primitives {
        let Primitive::Mesh(mesh) = &p.primitive else { continue };
        let Some(texture) = textures.get(&mesh.texture_id) else { continue };
        let clip = [
            (p.clip_rect.min.x * scale).round().max(0.0) as usize,
            (p.clip_rect.min.y * scale).round().max(0.0) as usize,
            ((p.clip_rect.max.x * scale).round().max(0.0) as usize).min(size[0]),
            ((p.clip_rect.max.y * scale).round().max(0.0) as usize).min(size[1]),
        ];
        draw_mesh(mesh, texture, clip, scale, &mut out);
    }
    out
}

fn draw_mesh(mesh: &Mesh, texture: &ColorImage, clip: [usize; 4], scale: f32, out: &mut ColorImage) {
    for t in mesh.indices.chunks_exact(3) {
        let v = [t[0], t[1], t[2]].map(|i| &mesh.vertices[i as usize]);
        triangle(v, texture, clip, scale, out);
    }
}

fn triangle(v: [&Vertex; 3], texture: &ColorImage, clip: [usize; 4], scale: f32, out: &mut ColorImage) {
    let p = v.map(|v| [v.pos.x * scale, v.pos.y * scale]);
    let area = cross(p[0], p[1], p[2]);
    if area.abs() < 1e-9 {
        return;
    }
    let low = |k: usize| p.iter().map(|q| q[k]).fold(f32::INFINITY, f32::min).floor().max(0.0) as usize;
    let high = |k: usize| p.iter().map(|q| q[k]).fold(f32::NEG_INFINITY, f32::max).ceil().max(0.0) as usize;
    let (x0, x1) = (low(0).max(clip[0]), high(0).min(clip[2]));
    let (y0, y1) = (low(1).max(clip[1]), high(1).min(clip[3]));
    let is_flat = v[0].uv == v[1].uv && v[1].uv == v[2].uv && v[0].color == v[1].color && v[1].color == v[2].color;
    let flat = is_flat.then(|| multiply(sample(texture, v[0].uv.x, v[0].uv.y), channels(v[0].color)));
    for y in y0..y1 {
        for x in x0..x1 {
            let at = [x as f32 + 0.5, y as f32 + 0.5];
            let w = [cross(p[1], p[2], at) / area, cross(p[2], p[0], at) / area, cross(p[0], p[1], at) / area];
            // The left and top edges count, so that neighbours neither overlap nor leave a gap.
            if w.iter()
                .enumerate()
                .any(|(k, &w)| w < 0.0 || (w == 0.0 && !is_top_left(p[(k + 1) % 3], p[(k + 2) % 3], area)))
            {
                continue;
            }
            let color = flat.unwrap_or_else(|| {
                let mix = |f: fn(&Vertex) -> f32| w[0] * f(v[0]) + w[1] * f(v[1]) + w[2] * f(v[2]);
                let tint = [0, 1, 2, 3].map(|k| (0..3).map(|i| w[i] * channels(v[i].color)[k]).sum());
                multiply(sample(texture, mix(|v| v.uv.x), mix(|v| v.uv.y)), tint)
            });
            blend(&mut out.pixels[y * out.size[0] + x], color);
        }
    }
}

fn is_top_left(a: [f32; 2], b: [f32; 2], area: f32) -> bool {
    let (dx, dy) = if area > 0.0 { (b[0] - a[0], b[1] - a[1]) } else { (a[0] - b[0], a[1] - b[1]) };
    dy < 0.0 || (dy == 0.0 && dx > 0.0)
}

fn cross(a: [f32; 2], b: [f32; 2], c: [f32; 2]) -> f32 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

fn channels(c: Color32) -> [f32; 4] {
    c.to_array().map(|v| f32::from(v) / 255.0)
}

fn multiply(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
    [a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]]
}

/// Bilinear, clamped at the edges.
fn sample(texture: &ColorImage, u: f32, v: f32) -> [f32; 4] {
    let [w, h] = texture.size;
    let (x, y) = (u * w as f32 - 0.5, v * h as f32 - 0.5);
    let (fx, fy) = (x - x.floor(), y - y.floor());
    let at = |i: f32, j: f32| {
        let (i, j) = (i.clamp(0.0, (w - 1) as f32) as usize, j.clamp(0.0, (h - 1) as f32) as usize);
        channels(texture.pixels[j * w + i])
    };
    let (x0, y0) = (x.floor(), y.floor());
    let (a, b, c, d) = (at(x0, y0), at(x0 + 1.0, y0), at(x0, y0 + 1.0), at(x0 + 1.0, y0 + 1.0));
    [0, 1, 2, 3].map(|k| (a[k] * (1.0 - fx) + b[k] * fx) * (1.0 - fy) + (c[k] * (1.0 - fx) + d[k] * fx) * fy)
}

/// Premultiplied source over, in gamma space as egui asks for.
fn blend(pixel: &mut Color32, s: [f32; 4]) {
    let d = channels(*pixel);
    let mix = |k: usize| ((s[k] + d[k] * (1.0 - s[3])) * 255.0).round().clamp(0.0, 255.0) as u8;
    *pixel = Color32::from_rgba_premultiplied(mix(0), mix(1), mix(2), mix(3));
}
