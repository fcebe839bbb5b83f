//! How each card looks, worked out once per layout and choice of colours rather than every frame: its colour, its mark,
//! what edits did to it, and the number that it stands for.

use std::collections::HashMap;
use std::sync::Arc;

use egui::Color32;

use crate::session::Recipe;
use crate::session::overview::{NodeRow, ValueRow};
use crate::ui::ctx::{Gradients, NodeTimes, Open};
use crate::ui::run_view::RunView;
use crate::ui::theme::{Tokens, tokens};
use crate::ui::{panels, widgets};

use super::color::{self, ColorMode, FAMILIES, Quantity, ROLES, family};
use super::layout::{Item, Layout};
use super::shown::{Fate, Shown};

/// A sign in a card's corner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    #[default]
    None,
    /// It cannot be computed.
    Unsupported,
    /// The gradient of some weight ends here.
    Blocker,
    /// No gradient arrives.
    Blocked,
    /// Its gradient is zero, or stopped on purpose.
    Zero,
}

/// What the colours mean.
#[derive(Clone, Debug, PartialEq)]
pub enum Legend {
    Words(Vec<(&'static str, Color32)>),
    /// Viridis on a logarithmic scale from the least to the greatest number shown.
    Scale {
        quantity: Quantity,
        low: f64,
        high: f64,
        /// Smaller numbers than `low` have its colour.
        is_cut: bool,
    },
    /// Nothing was measured; the text says how to.
    Missing(&'static str),
}

/// See the module doc. All lists go by placed thing.
#[derive(Clone, Debug)]
pub struct Styles {
    pub color: Vec<Color32>,
    pub mark: Vec<Mark>,
    pub fate: Vec<Fate>,
    /// Nodes inside (or the node itself) that edits touched.
    pub changed: Vec<u32>,
    /// A dropout site that training leaves out.
    pub is_off: Vec<bool>,
    pub value: Vec<Option<f64>>,
    pub legend: Legend,
}

/// What styles depend on; held, so that equal addresses mean equal content.
#[derive(Clone, Debug)]
pub struct StyleKey {
    layout: Arc<Layout>,
    shown: Arc<Shown>,
    gradients: Option<Arc<Gradients>>,
    recipe: Arc<Recipe>,
    weights: Option<Arc<Vec<crate::train::WeightRow>>>,
    times: Option<Arc<NodeTimes>>,
    mode: ColorMode,
    is_dark: bool,
}

impl StyleKey {
    pub fn new(
        open: &Open,
        run: Option<&RunView>,
        shown: &Arc<Shown>,
        layout: &Arc<Layout>,
        mode: ColorMode,
        t: &Tokens,
    ) -> Self {
        // Colours that are not measured need not be made again with every measurement.
        let is_measured = matches!(mode, ColorMode::Norm | ColorMode::Ratio);
        Self {
            layout: layout.clone(),
            shown: shown.clone(),
            gradients: open.gradients.clone(),
            recipe: open.history.recipe().clone(),
            weights: run.filter(|_| is_measured).map(|r| r.weights.clone()),
            times: open.times.clone(),
            mode,
            is_dark: t.dark,
        }
    }
}

impl PartialEq for StyleKey {
    fn eq(&self, o: &Self) -> bool {
        fn same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
            match (a, b) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                (None, None) => true,
                _ => false,
            }
        }
        Arc::ptr_eq(&self.layout, &o.layout)
            && Arc::ptr_eq(&self.shown, &o.shown)
            && same(self.gradients.as_ref(), o.gradients.as_ref())
            && Arc::ptr_eq(&self.recipe, &o.recipe)
            && same(self.weights.as_ref(), o.weights.as_ref())
            && same(self.times.as_ref(), o.times.as_ref())
            && (self.mode, self.is_dark) == (o.mode, o.is_dark)
    }
}

impl Styles {
    pub fn new(
        open: &Open,
        run: Option<&RunView>,
        shown: &Shown,
        layout: &Layout,
        mode: ColorMode,
        t: &Tokens,
    ) -> Self {
        let n = layout.placed.len();
        let (fate, changed) = fates(shown, layout);
        let value = match mode.missing(open, run) {
            None => values(open, run, shown, layout, mode),
            Some(_) => vec![None; n],
        };
        let (color, legend) = match mode.quantity(open) {
            Some(quantity) => scaled(&value, quantity, mode.missing(open, run), t),
            None => worded(shown, layout, &fate, mode, t),
        };
        let is_off = layout.placed.iter().map(|p| match p.item {
            Item::Site(s) => {
                let output = &shown.overview.dropout[s].output;
                shown.is_removed_site(s) || panels::is_bypassed(open, output) || is_off(open, output)
            }
            _ => false,
        });
        Self { mark: marks(open, shown, layout), is_off: is_off.collect(), color, fate, changed, value, legend }
    }
}

/// Whether the policy of a site leaves it out of training.
fn is_off(open: &Open, output: &str) -> bool {
    let choice = &open.recipe().dropout;
    *choice.sites.get(output).unwrap_or(&choice.default) == crate::session::SitePolicy::Off
}

/// What became of each placed thing, and how many nodes in it were touched.
fn fates(shown: &Shown, layout: &Layout) -> (Vec<Fate>, Vec<u32>) {
    let n = layout.placed.len();
    let (mut of_fate, mut all) = (vec![[0u32; 4]; n], vec![0u32; n]);
    for (node, at) in layout.shown_by.iter().enumerate() {
        let Some(at) = *at else { continue };
        let fate = shown.fate(node);
        for i in layout.holders(at) {
            of_fate[i][fate as usize] += 1;
            all[i] += 1;
        }
    }
    let fate = |i: usize| match layout.placed[i].item {
        Item::Node(n) => shown.fate(n),
        Item::Site(s) if shown.is_removed_site(s) => Fate::Removed,
        // A box takes its content's fate where all of it shares one.
        _ => [Fate::Added, Fate::Removed]
            .into_iter()
            .find(|&f| all[i] > 0 && of_fate[i][f as usize] == all[i])
            .unwrap_or_default(),
    };
    let changed = of_fate.iter().map(|c| c[1..].iter().sum()).collect();
    ((0..n).map(fate).collect(), changed)
}

fn marks(open: &Open, shown: &Shown, layout: &Layout) -> Vec<Mark> {
    let blockers: std::collections::HashSet<&str> =
        open.gradients.iter().flat_map(|g| &g.blockers).map(|b| b.node.as_str()).collect();
    let mark = |node: &NodeRow| match node.gradient.as_str() {
        _ if !node.supported => Mark::Unsupported,
        _ if blockers.contains(node.name.as_str()) => Mark::Blocker,
        "blocked" => Mark::Blocked,
        "zero" | "stopped" => Mark::Zero,
        _ => Mark::None,
    };
    let of = |item: Item| match item {
        Item::Node(n) => mark(&shown.overview.nodes[n]),
        // A closed box shows that something inside stops gradients.
        Item::Scope(_) | Item::Site(_) => Mark::None,
    };
    let mut marks: Vec<Mark> = layout.placed.iter().map(|p| of(p.item)).collect();
    for name in blockers {
        if let Some(at) = shown.index.node_of_value(name).and_then(|n| layout.shown_by.get(n).copied().flatten()) {
            marks[at] = Mark::Blocker;
        }
    }
    marks
}

/// Colours with a word each.
fn worded(shown: &Shown, layout: &Layout, fates: &[Fate], mode: ColorMode, t: &Tokens) -> (Vec<Color32>, Legend) {
    let mut families: HashMap<&str, usize> = HashMap::new();
    let o = &shown.overview;
    let color = layout.placed.iter().zip(fates).map(|(p, fate)| match mode {
        ColorMode::Trainable if *fate == Fate::Added => t.grafted,
        ColorMode::Trainable => {
            let trains = match p.item {
                Item::Scope(s) => shown.index.scopes.all[s].totals.trainable > 0,
                _ => p.chips.iter().any(|&c| o.constants[c].trainable),
            };
            if trains { t.trainable } else { t.frozen }
        }
        ColorMode::Gradient => match p.item {
            Item::Node(n) => match o.nodes[n].gradient.as_str() {
                "off-path" | "not-float" | "dead-branch" | "" => t.frozen,
                verdict => widgets::verdict_color(t, verdict),
            },
            Item::Scope(_) | Item::Site(_) => t.stroke_strong,
        },
        ColorMode::Role => {
            let largest = p.chips.iter().map(|&c| &o.constants[c]).max_by_key(|c| c.elements);
            largest.map_or(t.stroke_strong, |c| color::role(&c.role).map_or(t.frozen, |r| t.series[r]))
        }
        _ => match p.item {
            Item::Node(n) => {
                let op = o.nodes[n].op.as_str();
                t.families[*families.entry(op).or_insert_with(|| family(op))]
            }
            Item::Site(_) => t.families[7],
            Item::Scope(_) => t.stroke_strong,
        },
    });
    let words = match mode {
        ColorMode::Trainable => vec![("Trains", t.trainable), ("Frozen", t.frozen), ("Added by an edit", t.grafted)],
        ColorMode::Gradient => {
            vec![("Flows", t.flows), ("Zero or stopped", t.zero), ("Blocked", t.blocked), ("Off path", t.frozen)]
        }
        ColorMode::Role => ROLES.iter().enumerate().map(|(i, r)| (*r, t.series[i])).collect(),
        _ => FAMILIES.iter().enumerate().map(|(i, f)| (*f, t.families[i])).collect(),
    };
    let color: Vec<Color32> = color.collect();
    // Of long lists only what the picture shows.
    let words = match mode {
        ColorMode::Trainable | ColorMode::Gradient => words,
        _ if words.iter().any(|(_, c)| color.contains(c)) => {
            words.into_iter().filter(|(_, c)| color.contains(c)).collect()
        }
        _ => words,
    };
    (color, Legend::Words(words))
}

/// Colours of numbers on a logarithmic scale; zeros are the least.
fn scaled(
    values: &[Option<f64>],
    quantity: Quantity,
    missing: Option<&'static str>,
    t: &Tokens,
) -> (Vec<Color32>, Legend) {
    if let Some(why) = missing {
        return (vec![t.stroke_strong; values.len()], Legend::Missing(why));
    }
    let positive = || values.iter().flatten().copied().filter(|v| *v > 0.0 && v.is_finite());
    let (low, high) = (positive().fold(f64::INFINITY, f64::min), positive().fold(0.0, f64::max));
    if high <= 0.0 {
        return (vec![t.stroke_strong; values.len()], Legend::Missing("All of it is zero"));
    }
    // More than six decades would leave no contrast where it matters.
    let (least, low) = (low, low.max(high * 1e-6));
    let span = (high / low).ln().max(1e-9);
    let color = |v: &Option<f64>| match *v {
        None => t.stroke_strong,
        Some(v) if v.is_nan() || v.is_infinite() => t.error,
        Some(v) => tokens::viridis(((v.max(low) / low).ln() / span) as f32),
    };
    (values.iter().map(color).collect(), Legend::Scale { quantity, low, high, is_cut: least < low })
}

/// The number that each placed thing stands for; boxes stand for all of their content.
fn values(open: &Open, run: Option<&RunView>, shown: &Shown, layout: &Layout, mode: ColorMode) -> Vec<Option<f64>> {
    let mut out = vec![None; layout.placed.len()];
    let mut add = |node: Option<usize>, v: f64, join: fn(f64, f64) -> f64| {
        let Some(at) = node.and_then(|n| layout.shown_by.get(n).copied().flatten()) else { return };
        for i in layout.holders(at) {
            out[i] = Some(out[i].map_or(v, |old| join(old, v)));
        }
    };
    let index = &shown.index;
    let weights = run.iter().flat_map(|r| r.weights.iter());
    match mode {
        ColorMode::Norm => {
            for w in weights {
                if let Some(norm) = w.gradient_norm {
                    add(index.node_of_value(&w.name), norm, f64::hypot);
                }
            }
        }
        ColorMode::Ratio => {
            for w in weights {
                if let Some(ratio) = w.update_ratio {
                    add(index.node_of_value(&w.name), ratio, f64::max);
                }
            }
        }
        ColorMode::Time => {
            let Some(times) = &open.times else { return out };
            for (name, cost) in &times.nodes {
                add(index.node(name), cost.seconds / times.total.max(f64::MIN_POSITIVE), |a, b| a + b);
            }
        }
        ColorMode::Memory if open.times.is_some() => {
            for (name, cost) in open.times.iter().flat_map(|t| &t.nodes) {
                add(index.node(name), cost.bytes as f64, |a, b| a + b);
            }
        }
        ColorMode::Memory => {
            for (n, node) in shown.overview.nodes.iter().enumerate() {
                if let Some(bytes) = node.outputs.iter().map(bytes_of).sum::<Option<f64>>() {
                    add(Some(n), bytes, |a, b| a + b);
                }
            }
        }
        _ => {}
    }
    out
}

/// Bytes of a value; unknown dimensions count as one.
fn bytes_of(v: &ValueRow) -> Option<f64> {
    let n: f64 = v.shape.as_ref()?.iter().map(|d| d.unwrap_or(1) as f64).product();
    let size = crate::tensor::DType::from_name(&v.dtype)?.size();
    Some(n * size as f64)
}
