//! Draws what egui tessellated on the processor, so that pictures need neither a display nor a graphics driver.

#![allow(clippy::disallowed_methods)] // blending makes colours from channels

use std::collections::HashMap;

use egui::epaint::{ClippedPrimitive, ImageDelta, Mesh, Primitive, Vertex};
use egui::{Color32, ColorImage, ImageData, TextureId, TexturesDelta};

/// The textures of a window or picture, kept up to date by what each frame changes.
#[derive(Clone, Debug, Default)]
pub struct Textures(HashMap<TextureId, ColorImage>);

impl Textures {
    pub fn update(&mut self, delta: &mut TexturesDelta) {
        for (id, changes) in delta.set.drain() {
            changes.iter().for_each(|change| self.apply(id, change));
        }
        for id in delta.free.drain() {
            self.0.remove(&id);
        }
    }

    fn apply(&mut self, id: TextureId, change: &ImageDelta) {
        let ImageData::Color(image) = &change.image;
        match change.pos {
            None => {
                self.0.insert(id, ColorImage::clone(image));
            }
            Some([x, y]) => {
                let Some(whole) = self.0.get_mut(&id) else { return };
                let [w, h] = image.size;
                for row in 0..h {
                    let to = (y + row) * whole.size[0] + x;
                    whole.pixels[to..to + w].copy_from_slice(&image.pixels[row * w..(row + 1) * w]);
                }
            }
        }
    }
}

/// Draws primitives on a ground of one colour. `scale` is pixels per point.
pub fn draw(
    primitives: &[ClippedPrimitive],
    textures: &Textures,
    size: [usize; 2],
    scale: f32,
    ground: Color32,
) -> ColorImage {
    let mut out = ColorImage::filled(size, ground);
    for p in primitives {
        let Primitive::Mesh(mesh) = &p.primitive else { continue };
        let Some(texture) = textures.0.get(&mesh.texture_id) else { continue };
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
        if let [Some(a), Some(b), Some(c)] = [t[0], t[1], t[2]].map(|i| mesh.vertices.get(i as usize)) {
            triangle([a, b, c], texture, clip, scale, out);
        }
    }
}

fn triangle(v: [&Vertex; 3], texture: &ColorImage, clip: [usize; 4], scale: f32, out: &mut ColorImage) {
    let p = v.map(|v| [v.pos.x * scale, v.pos.y * scale]);
    let area = cross(p[0], p[1], p[2]);
    if area.abs() < 1e-9 || !area.is_finite() {
        return;
    }
    let low = p.iter().map(|q| q[1]).fold(f32::INFINITY, f32::min).floor().max(0.0) as usize;
    let high = p.iter().map(|q| q[1]).fold(f32::NEG_INFINITY, f32::max).ceil().max(0.0) as usize;
    let is_flat = v[0].uv == v[1].uv && v[1].uv == v[2].uv && v[0].color == v[1].color && v[1].color == v[2].color;
    let flat = is_flat.then(|| multiply(sample(texture, v[0].uv.x, v[0].uv.y), channels(v[0].color)));
    for y in low.max(clip[1])..high.min(clip[3]) {
        let Some((x0, x1)) = span(p, y as f32 + 0.5) else { continue };
        // One pixel more at each side; the exact test below decides.
        let first = (x0.floor() - 1.0).max(clip[0] as f32) as usize;
        let last = ((x1.ceil() + 1.0).max(0.0) as usize).min(clip[2]);
        for x in first..last {
            let at = [x as f32 + 0.5, y as f32 + 0.5];
            let w = [cross(p[1], p[2], at) / area, cross(p[2], p[0], at) / area, cross(p[0], p[1], at) / area];
            // The left and top edges count, so that neighbours neither overlap nor leave a gap.
            let is_out =
                |(k, &w): (usize, &f32)| w < 0.0 || (w == 0.0 && !is_top_left(p[(k + 1) % 3], p[(k + 2) % 3], area));
            if w.iter().enumerate().any(is_out) {
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

/// Where a horizontal line crosses a triangle: least and greatest x.
fn span(p: [[f32; 2]; 3], y: f32) -> Option<(f32, f32)> {
    let mut out: Option<(f32, f32)> = None;
    for k in 0..3 {
        let (a, b) = (p[k], p[(k + 1) % 3]);
        if (a[1] - y) * (b[1] - y) > 0.0 {
            continue;
        }
        let xs = if a[1] == b[1] {
            [a[0], b[0]]
        } else {
            let x = a[0] + (b[0] - a[0]) * ((y - a[1]) / (b[1] - a[1])).clamp(0.0, 1.0);
            [x, x]
        };
        for x in xs {
            out = Some(out.map_or((x, x), |(low, high)| (low.min(x), high.max(x))));
        }
    }
    out
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

/// A picture as PNG, without its alpha.
///
/// Errors: a picture of another size than its pixels, or too large for the format.
pub fn png(picture: &ColorImage) -> Result<Vec<u8>, String> {
    let pixels: Vec<u8> = picture.pixels.iter().flat_map(|p| [p.r(), p.g(), p.b()]).collect();
    let [w, h] = picture.size;
    let rgb = image::RgbImage::from_raw(w as u32, h as u32, pixels).ok_or("the picture has an odd size")?;
    let mut bytes = std::io::Cursor::new(Vec::new());
    rgb.write_to(&mut bytes, image::ImageFormat::Png).map_err(|e| e.to_string())?;
    Ok(bytes.into_inner())
}
