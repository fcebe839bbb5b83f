//! Layouts: a BERT folded as it opens, folded and unfolded as a whole, and graphs without scopes.

use std::sync::Arc;
use std::time::Instant;

use regraft::base::CancelToken;
use regraft::session::Overview;
use regraft::ui::canvas::fold::{self, View};
use regraft::ui::canvas::shown::Shown;
use regraft::ui::index::Index;

use super::{Row, Target, graphs};

fn shown(overview: Overview) -> Shown {
    let overview = Arc::new(overview);
    let index = Arc::new(Index::new(&overview));
    Shown::plain(overview, index)
}

fn times(shown: &Shown, view: &View, n: usize) -> Vec<f64> {
    let cancel = CancelToken::default();
    let one = || {
        let started = Instant::now();
        let layout = fold::layout(shown, view, &cancel);
        std::hint::black_box(layout.map(|l| l.placed.len()));
        started.elapsed().as_secs_f64() * 1e3
    };
    (0..n).map(|_| one()).collect()
}

pub fn run() -> Vec<Row> {
    let bert = shown(graphs::bert(2000));
    let nodes = |s: &Shown| s.overview.nodes.len();
    let folded = fold::default_view(&bert.overview, &bert.index);
    let all = View { open: (0..bert.index.scopes.all.len()).collect(), ..View::default() };
    let (flat, large) = (shown(graphs::flat(10_000)), shown(graphs::bert(20_000)));
    let root = View { open: std::iter::once(0).collect(), ..View::default() };
    let large_view = fold::default_view(&large.overview, &large.index);
    let row = |what: &str, s: &Shown, view: &View, n: usize, target: f64| {
        Row::new(format!("layout: {what}, {} nodes", nodes(s)), "ms", times(s, view, n), Target::AtMost(target))
    };
    vec![
        row("BERT folded", &bert, &folded, 20, 100.0),
        row("BERT all unfolded", &bert, &all, 5, 2000.0),
        row("BERT folded", &large, &large_view, 5, 100.0),
        row("flat", &flat, &root, 3, 2000.0),
    ]
}
