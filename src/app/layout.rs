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

/// Takes a panel out of its tabs and puts it beside them: to the right, or below.
pub fn split(tree: &mut DockTree, id: &str, is_right: bool) {
    show(tree, id);
    let Some(tile) = tree.tiles.find_pane(&Pane(id.to_owned())) else { return };
    let Some(tabs) = tree.tiles.parent_of(tile) else { return };
    let is_alone = matches!(tree.tiles.get_container(tabs), Some(c) if c.num_children() < 2);
    if is_alone {
        return;
    }
    let above = tree.tiles.parent_of(tabs);
    if let Some(Tile::Container(container)) = tree.tiles.get_mut(tabs) {
        container.remove_child(tile);
    }
    let own = tree.tiles.insert_tab_tile(vec![tile]);
    let dir = if is_right { LinearDir::Horizontal } else { LinearDir::Vertical };
    let share = match above.and_then(|a| tree.tiles.get_container(a)) {
        Some(Container::Linear(l)) => Some(l.shares[tabs]),
        _ => None,
    };
    let pair = linear(&mut tree.tiles, dir, &[(tabs, 0.5), (own, 0.5)]);
    match above {
        None => tree.root = Some(pair),
        Some(above) => {
            // It takes the place, and the share, of the tabs.
            let at = tree.tiles.get_container(above).and_then(|c| c.children().position(|c| *c == tabs));
            if let Some(Tile::Container(Container::Linear(l))) = tree.tiles.get_mut(above) {
                l.children.retain(|c| *c != tabs);
                l.children.insert(at.unwrap_or(0).min(l.children.len()), pair);
                l.shares.set_share(pair, share.unwrap_or(1.0));
            } else if let Some(Tile::Container(c)) = tree.tiles.get_mut(above) {
                c.remove_child(tabs);
                c.add_child(pair);
            }
        }
    }
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

/// A layout with the panels that its program had, so that those of a newer one can be told from closed ones.
#[derive(Serialize, Deserialize)]
struct Kept {
    tree: DockTree,
    known: Vec<String>,
}

/// The layout as text.
pub fn to_text(tree: &DockTree) -> Option<String> {
    let known = panels::ALL.iter().map(|p| p.id.to_owned()).collect();
    serde_json::to_string(&Kept { tree: tree.clone(), known }).ok()
}

/// A layout from text: panels that are no longer there are left out, those that are new come in. `None` where the text is
/// no layout, or one without panels.
pub fn from_text(text: &str) -> Option<DockTree> {
    let Kept { mut tree, known } = serde_json::from_str(text).ok()?;
    let mut seen = std::collections::HashSet::new();
    let panes = tree.tiles.iter().filter_map(|(id, t)| match t {
        Tile::Pane(p) => Some((*id, p.0.clone())),
        Tile::Container(_) => None,
    });
    let mut stale: Vec<TileId> = Vec::new();
    for (id, name) in panes {
        let is_reached = tree.root.is_some_and(|root| holds(&tree, root, id));
        if panels::named(&name).is_none() || !is_reached || !seen.insert(name) {
            stale.push(id);
        }
    }
    for id in stale {
        tree.remove_recursively(id);
    }
    if !tree.tiles.tiles().any(|t| matches!(t, Tile::Pane(_))) {
        return None;
    }
    for p in panels::ALL.iter().filter(|p| !known.iter().any(|k| k == p.id)) {
        let front = fronts(&tree);
        show(&mut tree, p.id);
        // It waits behind what the user had in front.
        tree.make_active(|id, _| front.contains(&id));
    }
    Some(tree)
}

/// Whether a tile hangs below another.
fn holds(tree: &DockTree, root: TileId, mut tile: TileId) -> bool {
    // A file may claim anything, so the way up is bounded.
    for _ in 0..64 {
        if tile == root {
            return true;
        }
        match tree.tiles.parent_of(tile) {
            Some(parent) => tile = parent,
            None => return false,
        }
    }
    false
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
        assert!(from_text("{").is_none());
        // A panel that this version does not have goes, the others stay.
        let other = from_text(&text.replace("\"browser\"", "\"no-such-panel\"")).unwrap();
        assert!(has(&other, "graph") && other.tiles.find_pane(&Pane("no-such-panel".to_owned())).is_none());
        // The browser is new to that layout, so it comes in; a closed one stays closed.
        assert!(has(&other, "browser"));
        let mut closed = default_tree();
        hide(&mut closed, "plots");
        assert!(!has(&from_text(&to_text(&closed).unwrap()).unwrap(), "plots"));
    }

    #[test]
    fn a_panel_is_split_off_its_tabs() {
        let mut tree = default_tree();
        let parent =
            |tree: &DockTree, id: &str| tree.tiles.parent_of(tree.tiles.find_pane(&Pane(id.to_owned())).unwrap());
        assert_eq!(parent(&tree, "plots"), parent(&tree, "graph"));
        for is_right in [true, false] {
            split(&mut tree, "plots", is_right);
            assert_ne!(parent(&tree, "plots"), parent(&tree, "graph"));
            assert!(panels::ALL.iter().all(|p| has(&tree, p.id)));
        }
        assert!(from_text(&to_text(&tree).unwrap()).is_some());
    }
}
