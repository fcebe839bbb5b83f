//! Every panel in every state that it can be in, in both themes, at the sizes that it has in small and large windows:
//! no words may be cut or lie on others. With `UPDATE=1` each panel's states are drawn on a sheet in `screenshots/states/`.

use egui::epaint::{ClippedShape, Shape};
use egui::{Pos2, Rect, UiBuilder, Vec2, vec2};
use egui_kittest::Harness;
use regraft::app::screenshot::save_png;
use regraft::ui::ctx::{Ctx, Preferences};
use regraft::ui::panels::{self, Dock, Panel};
use regraft::ui::theme::{self, Tokens};
use regraft::ui::{Sender, raster};

use super::pictures::is_asked_for;
use super::raster::{TextureKeeper, Textures};
use super::scenes::{self, Scene, State};

/// Between the cells of a sheet.
const GAP: f32 = 12.0;

/// The room that a panel has in a window of this size with the first layout.
fn room(panel: &Panel, window: [f32; 2]) -> Vec2 {
    const TABS: f32 = 24.0;
    let body = vec2(window[0], window[1] - 92.0);
    let top = body.y * 0.78;
    match panel.dock {
        Dock::Left => vec2(body.x * 0.29, top - TABS),
        Dock::Center => vec2(body.x * 0.46, top - TABS),
        Dock::Right if matches!(panel.id, "inspector" | "dropout") => vec2(body.x * 0.25, top * 0.55 - TABS),
        Dock::Right => vec2(body.x * 0.25, top * 0.45 - TABS),
        Dock::Bottom => vec2(body.x, body.y * 0.22 - TABS),
    }
    .floor()
}

struct Cell {
    name: String,
    rect: Rect,
    theme: egui::Theme,
    scene: Scene,
}

/// All states of one panel, a row of them for each theme.
fn cells(states: &[State], size: Vec2, per_row: usize) -> (Vec<Cell>, Vec2) {
    let rows = states.len().div_ceil(per_row);
    let mut out = Vec::new();
    for (t, theme) in [egui::Theme::Dark, egui::Theme::Light].into_iter().enumerate() {
        for (i, (name, make)) in states.iter().enumerate() {
            let at = vec2((i % per_row) as f32, (t * rows + i / per_row) as f32);
            let min = Pos2::ZERO + Vec2::splat(GAP) + at * (size + Vec2::splat(GAP));
            out.push(Cell { name: (*name).to_owned(), rect: Rect::from_min_size(min, size), theme, scene: make() });
        }
    }
    let columns = states.len().min(per_row) as f32;
    (out, vec2(columns, 2.0 * rows as f32) * (size + Vec2::splat(GAP)) + Vec2::splat(GAP))
}

/// One sheet with a panel's states.
struct Sheet {
    harness: Harness<'static, Vec<Cell>>,
    textures: Textures,
    size: Vec2,
    scale: f32,
}

fn sheet(panel: &'static Panel, states: &[State], room: Vec2, scale: f32) -> Sheet {
    let per_row = ((1900.0 / (room.x + GAP)).floor() as usize).max(1);
    let (cells, size) = cells(states, room, per_row);
    let textures = Textures::default();
    let mut is_new = true;
    let harness = Harness::builder()
        .with_size(size)
        .with_pixels_per_point(scale)
        .with_max_steps(64)
        .renderer(TextureKeeper(textures.clone()))
        .build_ui_state(
            move |ui: &mut egui::Ui, cells: &mut Vec<Cell>| {
                if std::mem::take(&mut is_new) {
                    theme::install(ui.ctx());
                    ui.ctx().all_styles_mut(|s| s.animation_time = 0.0);
                    // The same panel stands here many times.
                    ui.ctx().options_mut(|o| o.warn_on_id_clash = false);
                    return;
                }
                for cell in cells {
                    cell_ui(ui, panel, cell);
                }
            },
            cells,
        );
    Sheet { harness, textures, size, scale }
}

fn cell_ui(ui: &mut egui::Ui, panel: &Panel, cell: &mut Cell) {
    let style = ui.ctx().style_of(cell.theme);
    let salt = (panel.id, &cell.name, cell.theme == egui::Theme::Dark);
    let mut child = ui.new_child(UiBuilder::new().max_rect(cell.rect).id_salt(salt).style(style));
    child.set_clip_rect(cell.rect);
    let tokens = Tokens::of(child.visuals());
    let settings = Preferences { has_motion: false, ..Preferences::default() };
    let commands = Sender::default();
    let ctx = Ctx {
        open: cell.scene.open.as_ref(),
        run: cell.scene.run.as_ref(),
        jobs: &cell.scene.jobs,
        settings: &settings,
        log: &cell.scene.log,
        recoverable: &[],
        opening_failed: None,
        tokens,
        commands: &commands,
    };
    egui::Frame::new().fill(tokens.panel).inner_margin(8).show(&mut child, |ui| {
        ui.set_min_size(ui.available_size());
        (panel.ui)(ui, &ctx, &mut cell.scene.ui);
    });
}

impl Sheet {
    fn settle(&mut self) {
        for _ in 0..400 {
            self.harness.step();
            if self.harness.state().iter().all(|c| !c.scene.ui.canvas.is_busy()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        for _ in 0..4 {
            self.harness.step();
        }
    }

    fn picture(&mut self) -> egui::ColorImage {
        self.harness.step();
        let output = self.harness.output();
        let primitives = self.harness.ctx.tessellate(output.shapes.clone(), output.pixels_per_point);
        let size = [(self.size.x * self.scale) as usize, (self.size.y * self.scale) as usize];
        raster::draw(&primitives, &self.textures.0.borrow(), size, self.scale, egui::Color32::GRAY)
    }

    /// What is wrong with the words of each cell: those that an edge cuts, and those that lie on others.
    fn flaws(&self, panel: &Panel) -> Vec<String> {
        let shapes = &self.harness.output().shapes;
        let mut out = Vec::new();
        for cell in self.harness.state() {
            let words = words_in(shapes, cell.rect);
            let dark = if cell.theme == egui::Theme::Dark { "dark" } else { "light" };
            for (i, a) in words.iter().enumerate() {
                // A panel that scrolls sideways ends where it ends.
                let may_end = SCROLLS_SIDEWAYS.contains(&panel.id) && a.clip.right() > cell.rect.right() - 24.0;
                let is_cut = a.rect.right() > a.clip.right() + 1.0 && !may_end;
                if is_cut || a.rect.left() < a.clip.left() - 1.0 {
                    out.push(format!("{} ({dark}): {:?} is cut", cell.name, a.text));
                }
                if panel.id == "graph" {
                    // Legend and map lie on the picture.
                    continue;
                }
                for b in &words[i + 1..] {
                    let both = a.visible().intersect(b.visible());
                    if both.width() > 2.0 && both.height() > 3.0 {
                        out.push(format!("{} ({dark}): {:?} lies on {:?}", cell.name, a.text, b.text));
                    }
                }
            }
        }
        out
    }
}

/// Panels with wide tables, which scroll.
const SCROLLS_SIDEWAYS: [&str; 4] = ["browser", "compare", "gradients", "predictions"];

/// Words as they were drawn.
pub struct Words {
    pub text: String,
    pub rect: Rect,
    pub clip: Rect,
}

impl Words {
    fn visible(&self) -> Rect {
        self.rect.intersect(self.clip)
    }
}

/// The words that are to be seen within a rectangle, line by line.
pub fn words_in(shapes: &[ClippedShape], cell: Rect) -> Vec<Words> {
    fn add(shape: &Shape, clip: Rect, out: &mut Vec<Words>) {
        match shape {
            Shape::Text(t) => {
                // Line by line: the first line of a text that goes on in a row starts where the row has come to.
                for row in t.galley.rows.iter().filter(|_| t.angle == 0.0) {
                    let rect = row.visuals.mesh_bounds.translate(t.pos.to_vec2() + row.pos.to_vec2());
                    let words = Words { text: row.text(), rect, clip };
                    if words.visible().is_positive() && !words.text.trim().is_empty() {
                        out.push(words);
                    }
                }
            }
            Shape::Vec(all) => all.iter().for_each(|s| add(s, clip, out)),
            _ => {}
        }
    }
    let mut out = Vec::new();
    for s in shapes.iter().filter(|s| cell.contains(s.clip_rect.center()) || cell.contains_rect(s.clip_rect)) {
        add(&s.shape, s.clip_rect.intersect(cell), &mut out);
    }
    out
}

const SMALL: [f32; 2] = [1100.0, 700.0];
const LARGE: [f32; 2] = [1440.0, 900.0];

#[test]
fn every_panel_has_its_states_here() {
    let known: Vec<&str> = scenes::ALL.iter().map(|(id, _)| *id).collect();
    let panels: Vec<&str> = panels::ALL.iter().map(|p| p.id).collect();
    assert_eq!(known, panels);
}

fn every_state(window: [f32; 2], scale: f32, folder: &str) {
    let mut flaws = Vec::new();
    for (id, states) in scenes::ALL {
        let panel = panels::named(id).expect("the list is that of the panels");
        let mut sheet = sheet(panel, states, room(panel, window), scale);
        sheet.settle();
        flaws.extend(sheet.flaws(panel).into_iter().map(|f| format!("{id}, {f}")));
        if is_asked_for() {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("screenshots/states").join(folder);
            std::fs::create_dir_all(&folder).expect("the folder of sheets can be made");
            save_png(&sheet.picture(), &folder.join(format!("{id}.png"))).expect("the sheet can be written");
        }
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
}

#[test]
fn no_words_are_cut_or_covered_in_a_small_window() {
    every_state(SMALL, 1.0, "small");
}

#[test]
fn no_words_are_cut_or_covered_in_a_large_window() {
    every_state(LARGE, 1.0, "large");
}

#[test]
fn no_words_are_cut_or_covered_at_twice_the_scale() {
    every_state(LARGE, 2.0, "double");
}
