//! Layered drawing of a directed graph, after Sugiyama, Tagawa and Toda 1981: layers by longest path, long edges through
//! dummy nodes, fewer crossings by barycentre sweeps, x positions by isotonic regression within a layer.
//!
//! Works on plain sizes and edges, so that tests need no window. Deterministic; polls its cancel token between sweeps.

use crate::base::CancelToken;

/// Space between neighbours in a layer, and between layers.
pub const GAP_X: f32 = 24.0;
pub const GAP_Y: f32 = 40.0;
/// Longer edges get no dummy nodes: they are drawn as stubs, and dummies would make the work quadratic.
const MAX_SPAN: usize = 12;
const N_SWEEPS: usize = 12;

/// Where nodes and edge bends ended up; y grows along the edges.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Drawing {
    /// Centre of each node.
    pub centers: Vec<[f32; 2]>,
    /// For each edge the bends between its ends, in the edge's own direction.
    pub bends: Vec<Vec<[f32; 2]>>,
    pub size: [f32; 2],
}

/// A node or a dummy on the way of a long edge.
struct Layered {
    layer: Vec<usize>,
    width: Vec<f32>,
    up: Vec<Vec<usize>>,
    down: Vec<Vec<usize>>,
    layers: Vec<Vec<usize>>,
}

/// Lays out `sizes` (width, height) with `edges`; edges that close a cycle are drawn, but do not order.
pub fn layered(sizes: &[[f32; 2]], edges: &[(usize, usize)], cancel: &CancelToken) -> Option<Drawing> {
    let n = sizes.len();
    if n == 0 {
        return Some(Drawing { bends: vec![Vec::new(); edges.len()], ..Drawing::default() });
    }
    let forward = without_cycles(n, edges);
    let layer = layers_of(n, &forward);
    let (mut g, chains) = with_dummies(sizes, edges, &layer);
    order(&mut g, cancel)?;
    let x = positions(&g, cancel)?;
    Some(finish(sizes, &g, &x, &chains))
}

/// The edges, turned around where they close a cycle; self loops are dropped.
fn without_cycles(n: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut out = vec![Vec::new(); n];
    for &(a, b) in edges.iter().filter(|(a, b)| a != b) {
        out[a].push(b);
    }
    // Depth-first with an own stack; an edge to a node that is still open goes back.
    let mut state = vec![0u8; n];
    let mut forward = Vec::with_capacity(edges.len());
    for root in 0..n {
        if state[root] != 0 {
            continue;
        }
        state[root] = 1;
        let mut stack = vec![(root, 0)];
        while let Some((v, next)) = stack.last_mut() {
            let v = *v;
            let Some(&w) = out[v].get(*next) else {
                state[v] = 2;
                stack.pop();
                continue;
            };
            *next += 1;
            if state[w] == 1 {
                forward.push((w, v));
            } else {
                forward.push((v, w));
                if state[w] == 0 {
                    state[w] = 1;
                    stack.push((w, 0));
                }
            }
        }
    }
    forward
}

/// Longest path from the sources; then sources move down to just above their first reader.
fn layers_of(n: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut incoming = vec![0usize; n];
    let mut out = vec![Vec::new(); n];
    for &(a, b) in edges {
        incoming[b] += 1;
        out[a].push(b);
    }
    let is_source: Vec<bool> = incoming.iter().map(|&i| i == 0).collect();
    let mut todo: Vec<usize> = (0..n).filter(|&v| incoming[v] == 0).collect();
    let mut layer = vec![0usize; n];
    while let Some(v) = todo.pop() {
        for &w in &out[v] {
            layer[w] = layer[w].max(layer[v] + 1);
            incoming[w] -= 1;
            if incoming[w] == 0 {
                todo.push(w);
            }
        }
    }
    for v in (0..n).filter(|&v| is_source[v]) {
        if let Some(first) = out[v].iter().map(|&w| layer[w]).min() {
            layer[v] = first.saturating_sub(1);
        }
    }
    layer
}

/// Splits edges over several layers; the chains list each edge's dummies in its own direction.
fn with_dummies(sizes: &[[f32; 2]], edges: &[(usize, usize)], layer: &[usize]) -> (Layered, Vec<Vec<usize>>) {
    let n = sizes.len();
    let mut g = Layered {
        layer: layer.to_vec(),
        width: sizes.iter().map(|s| s[0]).collect(),
        up: vec![Vec::new(); n],
        down: vec![Vec::new(); n],
        layers: Vec::new(),
    };
    let mut chains = Vec::with_capacity(edges.len());
    for &(a, b) in edges {
        let mut chain = Vec::new();
        let (top, bottom) = if layer[a] <= layer[b] { (a, b) } else { (b, a) };
        let span = layer[bottom] - layer[top];
        if span > 0 && span <= MAX_SPAN {
            let mut previous = top;
            for l in layer[top] + 1..layer[bottom] {
                let d = g.layer.len();
                g.layer.push(l);
                g.width.push(8.0);
                g.up.push(vec![previous]);
                g.down.push(Vec::new());
                g.down[previous].push(d);
                chain.push(d);
                previous = d;
            }
            g.down[previous].push(bottom);
            g.up[bottom].push(previous);
        }
        if top != a {
            chain.reverse();
        }
        chains.push(chain);
    }
    let n_layers = g.layer.iter().max().map_or(0, |m| m + 1);
    g.layers = vec![Vec::new(); n_layers];
    for v in 0..g.layer.len() {
        g.layers[g.layer[v]].push(v);
    }
    (g, chains)
}

/// Barycentre sweeps down and up; the order with the fewest crossings wins.
fn order(g: &mut Layered, cancel: &CancelToken) -> Option<()> {
    let mut at = vec![0.0f32; g.layer.len()];
    let place = |layers: &[Vec<usize>], at: &mut [f32]| {
        for l in layers {
            for (i, &v) in l.iter().enumerate() {
                at[v] = i as f32;
            }
        }
    };
    place(&g.layers, &mut at);
    let mut best = (crossings(g, &at), g.layers.clone());
    for sweep in 0..N_SWEEPS {
        if cancel.is_cancelled() {
            return None;
        }
        if best.0 == 0 {
            break;
        }
        let is_down = sweep % 2 == 0;
        let n = g.layers.len();
        for k in 0..n {
            let l = if is_down { k } else { n - 1 - k };
            let near = if is_down { &g.up } else { &g.down };
            let mut keyed: Vec<(f32, usize)> = g.layers[l]
                .iter()
                .map(|&v| {
                    let ns = &near[v];
                    let mean = ns.iter().map(|&w| at[w]).sum::<f32>() / ns.len().max(1) as f32;
                    (if ns.is_empty() { at[v] } else { mean }, v)
                })
                .collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            g.layers[l] = keyed.into_iter().map(|(_, v)| v).collect();
            for (i, &v) in g.layers[l].iter().enumerate() {
                at[v] = i as f32;
            }
        }
        let count = crossings(g, &at);
        if count < best.0 {
            best = (count, g.layers.clone());
        }
    }
    g.layers = best.1;
    Some(())
}

/// Pairs of crossing edges between neighbouring layers, counted with a Fenwick tree.
fn crossings(g: &Layered, at: &[f32]) -> u64 {
    let mut total = 0;
    for l in g.layers.windows(2) {
        let width = l[1].len();
        let mut tree = vec![0u64; width + 1];
        let mut seen = 0;
        for &v in &l[0] {
            let mut ends: Vec<usize> = g.down[v].iter().map(|&w| at[w] as usize).collect();
            ends.sort_unstable();
            for &e in &ends {
                let mut below = 0;
                let mut i = (e + 1).min(width);
                while i > 0 {
                    below += tree[i];
                    i -= i & i.wrapping_neg();
                }
                total += seen - below;
            }
            for &e in &ends {
                seen += 1;
                let mut i = (e + 1).min(width);
                while i <= width && i > 0 {
                    tree[i] += 1;
                    i += i & i.wrapping_neg();
                }
            }
        }
    }
    total
}

/// x of each node: alternately pulled to its upper and lower neighbours, keeping order and distances.
fn positions(g: &Layered, cancel: &CancelToken) -> Option<Vec<f32>> {
    let mut x = vec![0.0f32; g.layer.len()];
    for l in &g.layers {
        let mut at = 0.0;
        for &v in l {
            x[v] = at + g.width[v] / 2.0;
            at += g.width[v] + GAP_X;
        }
    }
    for sweep in 0..8 {
        if cancel.is_cancelled() {
            return None;
        }
        let n = g.layers.len();
        for k in 0..n {
            let l = if sweep % 2 == 0 { k } else { n - 1 - k };
            let wish: Vec<f32> = g.layers[l]
                .iter()
                .map(|&v| {
                    let near = if sweep % 2 == 0 { &g.up[v] } else { &g.down[v] };
                    let near = if near.is_empty() { if sweep % 2 == 0 { &g.down[v] } else { &g.up[v] } } else { near };
                    if near.is_empty() { x[v] } else { near.iter().map(|&w| x[w]).sum::<f32>() / near.len() as f32 }
                })
                .collect();
            separate(&g.layers[l], &wish, &g.width, &mut x);
        }
    }
    Some(x)
}

/// The positions nearest to `wish` (least squares) that keep order and distances: pool adjacent violators.
fn separate(layer: &[usize], wish: &[f32], width: &[f32], x: &mut [f32]) {
    // Subtracting the offsets that touching neighbours would have leaves a plain isotonic regression.
    let mut offset = 0.0;
    let mut offsets = Vec::with_capacity(layer.len());
    for (i, &v) in layer.iter().enumerate() {
        if i > 0 {
            offset += (width[layer[i - 1]] + width[v]) / 2.0 + GAP_X;
        }
        offsets.push(offset);
    }
    let mut blocks: Vec<(f32, usize)> = Vec::new();
    for (w, o) in wish.iter().zip(&offsets) {
        blocks.push((w - o, 1));
        while let [.., a, b] = blocks[..] {
            if a.0 <= b.0 {
                break;
            }
            blocks.pop();
            blocks.pop();
            let n = a.1 + b.1;
            blocks.push(((a.0 * a.1 as f32 + b.0 * b.1 as f32) / n as f32, n));
        }
    }
    let mut i = 0;
    for (mean, n) in blocks {
        for _ in 0..n {
            x[layer[i]] = mean + offsets[i];
            i += 1;
        }
    }
}

fn finish(sizes: &[[f32; 2]], g: &Layered, x: &[f32], chains: &[Vec<usize>]) -> Drawing {
    let n = sizes.len();
    let mut layer_y = Vec::with_capacity(g.layers.len());
    let mut y = 0.0;
    for l in &g.layers {
        let height = l.iter().filter(|&&v| v < n).map(|&v| sizes[v][1]).fold(8.0, f32::max);
        layer_y.push(y + height / 2.0);
        y += height + GAP_Y;
    }
    let left = (0..x.len()).map(|v| x[v] - g.width[v] / 2.0).fold(f32::INFINITY, f32::min);
    let right = (0..x.len()).map(|v| x[v] + g.width[v] / 2.0).fold(f32::NEG_INFINITY, f32::max);
    let at = |v: usize| [x[v] - left, layer_y[g.layer[v]]];
    Drawing {
        centers: (0..n).map(at).collect(),
        bends: chains.iter().map(|c| c.iter().map(|&v| at(v)).collect()).collect(),
        size: [right - left, (y - GAP_Y).max(0.0)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(n: usize, edges: &[(usize, usize)]) -> Drawing {
        layered(&vec![[100.0, 40.0]; n], edges, &CancelToken::default()).unwrap()
    }

    /// No two nodes overlap.
    fn is_apart(d: &Drawing, size: [f32; 2]) -> bool {
        let c = &d.centers;
        (0..c.len()).all(|i| {
            (0..i).all(|j| (c[i][0] - c[j][0]).abs() >= size[0] - 0.1 || (c[i][1] - c[j][1]).abs() >= size[1] - 0.1)
        })
    }

    #[test]
    fn edges_go_down_and_nodes_do_not_overlap() {
        let edges = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3), (4, 3)];
        let d = draw(5, &edges);
        for &(a, b) in &edges {
            assert!(d.centers[a][1] < d.centers[b][1]);
        }
        assert!(is_apart(&d, [100.0, 40.0]));
        assert_eq!(d.bends[4].len(), 1, "a long edge bends around");
        // The source stands just above its only reader.
        assert_eq!(d.centers[4][1], d.centers[1][1]);
    }

    #[test]
    fn a_planar_graph_has_no_crossings() {
        let edges = [(0, 4), (1, 3), (2, 5)];
        let d = draw(6, &edges);
        let x = |v: usize| d.centers[v][0];
        for &(a, b) in &edges {
            for &(c, e) in &edges {
                assert!((x(a) - x(c)) * (x(b) - x(e)) >= 0.0);
            }
        }
    }

    #[test]
    fn cycles_self_loops_and_strays_are_drawn() {
        let d = draw(4, &[(0, 1), (1, 0), (2, 2)]);
        assert_eq!(d.centers.len(), 4);
        assert!(is_apart(&d, [100.0, 40.0]));
        assert_eq!(draw(0, &[]).centers.len(), 0);
    }

    #[test]
    fn a_large_graph_is_laid_out_and_can_be_cancelled() {
        let n = 4000;
        let edges: Vec<_> = (1..n).map(|i| (i - 1, i)).chain((7..n).map(|i| (i - 7, i))).collect();
        assert!(is_apart(&draw(200, &edges.iter().copied().filter(|e| e.1 < 200).collect::<Vec<_>>()), [100.0, 40.0]));
        assert_eq!(draw(n, &edges).centers.len(), n);
        let cancel = CancelToken::default();
        cancel.cancel();
        assert!(layered(&vec![[1.0, 1.0]; n], &edges, &cancel).is_none());
    }
}
