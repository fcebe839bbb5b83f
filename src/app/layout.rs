//! The docking layout: where panels stand by default, how one is brought to the front, how it is remembered.

use egui_tiles::{Container, Linear, LinearDir, Tile, TileId, Tiles, Tree};
use serde::{Deserialize, Serialize};

use crate::ui::panels::{self, Dock};

/// A pane names a panel of the registry; a panel that a newer version no longer has is dropped when loading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pane(pub String);

pub type DockTree = Tree<Pane>;

/// Browser at the left, picture in the middle, inspector and decisions at the right, problems below.
pub fn default_tree() -> DockTree {
    let mut tiles = Tiles::default();
    let tabs = |tiles: &mut Tiles<Pane>, ids: &[&str]| {
        let panes: Vec<TileId> = ids.iter().map(|id| tiles.insert_pane(Pane((*id).to_owned()))).collect();
        tiles.insert_tab_tile(panes)
    };
    let in_dock = |dock: Dock| panels::ALL.iter().filter(move |p| p.dock == dock).map(|p| p.id).collect::<Vec<_>>();
    let left = tabs(&mut tiles, &in_dock(Dock::Left));
    let center = tabs(&mut tiles, &in_dock(Dock::Center));
    let right_all = in_dock(Dock::Right);
    let upper: Vec<&str> = right_all.iter().copied().filter(|id| matches!(*id, "inspector" | "dropout")).collect();
    let lower: Vec<&str> = right_all.iter().copied().filter(|id| !upper.contains(id)).collect();
    let right_top = tabs(&mut tiles, &upper);
    let right_bottom = tabs(&mut tiles, &lower);
    let right = linear(&mut tiles, LinearDir::Vertical, &[(right_top, 0.55), (right_bottom, 0.45)]);
    let bottom = tabs(&mut tiles, &in_dock(Dock::Bottom));
    let top = linear(&mut tiles, LinearDir::Horizontal, &[(left, 0.29), (center, 0.46), (right, 0.25)]);
    let root = linear(&mut tiles, LinearDir::Vertical, &[(top, 0.78), (bottom, 0.22)]);
    Tree::new(egui::Id::unique("dock"), root, tiles)
}

fn linear(tiles: &mut Tiles<Pane>, dir: LinearDir, parts: &[(TileId, f32)]) -> TileId {
    let mut linear = Linear::new(dir, parts.iter().map(|p| p.0).collect());
    for (id, share) in parts {
        linear.shares.set_share(*id, *share);
    }
    tiles.insert_container(Container::Linear(linear))
}

/// Brings a panel to the front; one that was closed comes back into the largest group of tabs of its dock's neighbours.
pub fn show(tree: &mut DockTree, id: &str) {
    let pane = Pane(id.to_owned());
    if tree.tiles.find_pane(&pane).is_none() {
        let dock = panels::named(id).map(|p| p.dock);
        let neighbour = panels::ALL
            .iter()
            .filter(|p| Some(p.dock) == dock && p.id != id)
            .find_map(|p| tree.tiles.find_pane(&Pane(p.id.to_owned())))
            .and_then(|t| tree.tiles.parent_of(t));
        let new = tree.tiles.insert_pane(pane.clone());
        match neighbour.or(tree.root) {
            Some(parent) => tree.move_tile_to_container(new, parent, usize::MAX, false),
            None => *tree = default_tree(),
        }
    }
    tree.make_active(|_, tile| matches!(tile, Tile::Pane(p) if *p == pane));
}

/// The tabs that stand in front of others.
pub fn fronts(tree: &DockTree) -> Vec<TileId> {
    let front = |t: &Tile<Pane>| match t {
        Tile::Container(Container::Tabs(tabs)) if tabs.children.len() > 1 => tabs.active,
        _ => None,
    };
    tree.tiles.tiles().filter_map(front).collect()
}

/// Whether a panel is in the layout.
pub fn has(tree: &DockTree, id: &str) -> bool {
    tree.tiles.find_pane(&Pane(id.to_owned())).is_some()
}

/// Takes a panel out of the layout.
pub fn hide(tree: &mut DockTree, id: &str) {
    if let Some(tile) = tree.tiles.find_pane(&Pane(id.to_owned())) {
        tree.remove_recursively(tile);
    }
}

/// The layout as text.
pub fn to_text(tree: &DockTree) -> Option<String> {
    serde_json::to_string(tree).ok()
}

/// A layout from text; `None` where it does not fit this version.
pub fn from_text(text: &str) -> Option<DockTree> {
    let tree: DockTree = serde_json::from_str(text).ok()?;
    let is_known = |t: &Tile<Pane>| !matches!(t, Tile::Pane(p) if panels::named(&p.0).is_none());
    (tree.root.is_some() && tree.tiles.tiles().all(is_known)).then_some(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_panel_is_in_the_default_layout_and_comes_back() {
        let mut tree = default_tree();
        for p in panels::ALL {
            assert!(has(&tree, p.id), "{}", p.id);
            hide(&mut tree, p.id);
            assert!(!has(&tree, p.id));
            show(&mut tree, p.id);
            assert!(has(&tree, p.id), "{} comes back", p.id);
        }
    }

    #[test]
    fn layouts_survive_saving() {
        let tree = default_tree();
        let text = to_text(&tree).unwrap();
        assert!(from_text(&text).is_some());
        assert!(from_text(&text.replace("browser", "no-such-panel")).is_none());
        assert!(from_text("{").is_none());
    }
}
