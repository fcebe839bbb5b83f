//! Folding in motion: where everything of a new layout starts from, so that boxes grow out of their closed cards and
//! nothing jumps.

use std::sync::Arc;

use super::camera::{Camera, progress};
use super::layout::{Item, Layout};

/// Corner and size.
pub type Place = ([f32; 2], [f32; 2]);

/// A fold on its way.
#[derive(Clone, Debug)]
pub struct Motion {
    /// The layout that is moving into its places.
    pub layout: Arc<Layout>,
    from: Vec<Place>,
    started: f64,
}

impl Motion {
    /// From the places of `old` to those of `new`. `anchor` is what was clicked: it stays where it is on the screen, so
    /// the camera moves along. Without it, what `camera` looks at stays.
    pub fn new(old: &Layout, new: Arc<Layout>, anchor: Option<Item>, camera: &mut Camera, now: f64) -> Self {
        let anchor = anchor
            .and_then(|item| Some((*old.by_item.get(&item)?, *new.by_item.get(&item)?)))
            .or_else(|| nearest(old, &new, camera.center));
        let shift = anchor.map_or([0.0; 2], |(a, b)| {
            let (a, b) = (&old.placed[a], &new.placed[b]);
            // The title of a box stays where its card's was.
            [b.min[0] + b.size[0] / 2.0 - a.min[0] - a.size[0] / 2.0, b.min[1] - a.min[1]]
        });
        camera.center = [camera.center[0] + shift[0], camera.center[1] + shift[1]];
        let mut from: Vec<Place> = Vec::with_capacity(new.placed.len());
        for p in &new.placed {
            let place = match old.by_item.get(&p.item) {
                Some(&o) => {
                    let o = &old.placed[o];
                    ([o.min[0] + shift[0], o.min[1] + shift[1]], o.size)
                }
                // New things start inside what held them, as small as that was.
                None => match p.parent {
                    Some(parent) => {
                        inside(from[parent], (new.placed[parent].min, new.placed[parent].size), (p.min, p.size))
                    }
                    None => (p.min, p.size),
                },
            };
            from.push(place);
        }
        Self { layout: new, from, started: now }
    }

    /// 0 to 1.
    pub fn progress(&self, now: f64) -> f32 {
        progress(now, self.started)
    }

    /// Where a thing is at a progress.
    pub fn place(&self, i: usize, t: f32) -> Place {
        let p = &self.layout.placed[i];
        let (min, size) = self.from[i];
        let mix = |a: [f32; 2], b: [f32; 2]| [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t];
        (mix(min, p.min), mix(size, p.size))
    }
}

/// `place` moved and scaled as `outer_to` is to become `outer_from`.
fn inside(outer_from: Place, outer_to: Place, place: Place) -> Place {
    let scale = [0, 1].map(|k| outer_from.1[k] / outer_to.1[k].max(1.0));
    let min = [0, 1].map(|k| outer_from.0[k] + (place.0[k] - outer_to.0[k]) * scale[k]);
    (min, [place.1[0] * scale[0], place.1[1] * scale[1]])
}

/// What both layouts show nearest to a point of the old one.
fn nearest(old: &Layout, new: &Layout, at: [f32; 2]) -> Option<(usize, usize)> {
    let distance = |i: usize| {
        let p = &old.placed[i];
        let (dx, dy) = (p.min[0] + p.size[0] / 2.0 - at[0], p.min[1] + p.size[1] / 2.0 - at[1]);
        dx * dx + dy * dy
    };
    (0..old.placed.len())
        .filter_map(|i| Some((i, *new.by_item.get(&old.placed[i].item)?)))
        .min_by(|a, b| distance(a.0).total_cmp(&distance(b.0)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::CancelToken;
    use crate::ui::canvas::fold::{View, layout};
    use crate::ui::canvas::shown::Shown;
    use crate::ui::index::Index;
    use crate::ui::sample;
    use egui::pos2;

    #[test]
    fn what_was_clicked_stays_and_its_content_grows_out_of_it() {
        let o = Arc::new(sample::overview());
        let index = Arc::new(Index::new(&o));
        let encoder = index.scopes.named("encoder").unwrap();
        let shown = Shown::plain(o, index);
        let at = |open: &[usize]| {
            let view = View { open: open.iter().copied().collect::<BTreeSet<_>>(), ..View::default() };
            layout(&shown, &view, &CancelToken::default()).unwrap()
        };
        let (closed, opened) = (at(&[0]), Arc::new(at(&[0, encoder])));
        let item = Item::Scope(encoder);
        let mut camera = Camera { center: [40.0, 70.0], zoom: 1.0 };
        let middle = pos2(0.0, 0.0);
        let top = |l: &Layout, c: Camera| {
            let p = &l.placed[l.by_item[&item]];
            c.to_screen(middle, [p.min[0] + p.size[0] / 2.0, p.min[1]])
        };
        let before = top(&closed, camera);
        let motion = Motion::new(&closed, opened.clone(), Some(item), &mut camera, 1.0);
        assert!((top(&opened, camera) - before).length() < 1e-3, "the clicked box stays");
        // At the start the box has its old size, and everything new lies inside it.
        let i = opened.by_item[&item];
        let outer = motion.place(i, 0.0);
        assert_eq!(outer.1, closed.placed[closed.by_item[&item]].size);
        for (k, p) in opened.placed.iter().enumerate().filter(|(_, p)| p.parent == Some(i)) {
            let (min, size) = motion.place(k, 0.0);
            for d in 0..2 {
                assert!(min[d] >= outer.0[d] - 0.1 && min[d] + size[d] <= outer.0[d] + outer.1[d] + 0.1);
            }
            assert_eq!(motion.place(k, 1.0), (p.min, p.size));
        }
        // Closing again: the box shrinks from its open size.
        let back = Motion::new(&opened, Arc::new(at(&[0])), Some(item), &mut camera, 2.0);
        assert_eq!(back.place(back.layout.by_item[&item], 0.0).1, opened.placed[i].size);
    }
}
