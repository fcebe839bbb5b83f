//! Which rows a table shows and in what order: pure functions of the overview, the query and the sorting.

use std::collections::{HashMap, HashSet};

use crate::data::statistics::ValueRange;
use crate::session::overview::{ConstantRow, ShapeRow};
use crate::session::query::{Query, Row};
use crate::ui::canvas::shown::Shown;
use crate::ui::widgets::table::Sort;

/// Columns of the nodes table, in order.
pub const NODE_COLUMNS: [&str; 5] = ["Name", "Op", "Type", "Shape", "Gradient"];
/// Columns of the constants table, in order; the first is the check box.
pub const CONSTANT_COLUMNS: [&str; 12] =
    ["Train", "Name", "Shape", "Elements", "Role", "Gradient", "Type", "Bytes", "Min", "Max", "Mean", "Suggestion"];
/// Those that need the values.
pub const RANGE_COLUMNS: std::ops::RangeInclusive<usize> = 8..=10;

/// What the tables list: the rows, and constants that runs tuned.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    pub shown: &'a Shown,
    pub tuned: &'a HashSet<String>,
}

impl Listed<'_> {
    /// Whether it is not what it is in the file: by an edit, or by training.
    fn is_changed(self, node: Option<usize>, name: &str) -> bool {
        node.is_some_and(|n| self.shown.is_changed(n)) || self.tuned.contains(name.strip_suffix(":0").unwrap_or(name))
    }
}

fn node_row(listed: Listed<'_>, at: usize) -> Row<'_> {
    let shown = listed.shown;
    let (overview, index) = (&*shown.overview, &*shown.index);
    let n = &overview.nodes[at];
    let constant = index.constant_of_node.get(&at).map(|&c| &overview.constants[c]);
    let out = n.outputs.first();
    Row {
        name: &n.name,
        op: &n.op,
        dtype: out.map_or("", |o| &o.dtype),
        shape: out.and_then(|o| o.shape.as_deref()),
        elements: constant.map(|c| c.elements).or_else(|| elements(out.and_then(|o| o.shape.as_ref()))),
        role: constant.map_or("", |c| &c.role),
        trainable: constant.is_some_and(|c| c.trainable),
        gradient: &n.gradient,
        changed: listed.is_changed(Some(at), &n.name),
    }
}

fn elements(shape: Option<&Vec<Option<usize>>>) -> Option<usize> {
    shape?.iter().try_fold(1usize, |n, d| n.checked_mul((*d)?))
}

fn constant_row<'a>(listed: Listed<'_>, c: &'a ConstantRow) -> Row<'a> {
    Row {
        name: &c.name,
        op: "Const",
        dtype: &c.dtype,
        shape: c.shape.as_deref(),
        elements: Some(c.elements),
        role: &c.role,
        trainable: c.trainable,
        gradient: &c.gradient,
        changed: listed.is_changed(listed.shown.index.node(&c.name), &c.name),
    }
}

/// Indices of the nodes that match, sorted.
pub fn nodes(listed: Listed<'_>, query: &Query, sort: Sort) -> Vec<usize> {
    let overview = &*listed.shown.overview;
    let mut rows: Vec<usize> =
        (0..overview.nodes.len()).filter(|&i| query.is_empty() || query.matches(&node_row(listed, i))).collect();
    let key = |i: &usize| {
        let n = &overview.nodes[*i];
        let out = n.outputs.first();
        match sort.column {
            1 => n.op.clone(),
            2 => out.map_or_else(String::new, |o| o.dtype.clone()),
            4 => n.gradient.clone(),
            _ => n.name.clone(),
        }
    };
    match sort.column {
        // The file's own order is the first column's own order: readers expect neighbours to stay neighbours.
        0 if !sort.is_descending => {}
        0 => rows.reverse(),
        3 => rows.sort_by_cached_key(|&i| shape_key(overview.nodes[i].outputs.first().and_then(|o| o.shape.as_ref()))),
        _ => rows.sort_by_cached_key(key),
    }
    if sort.column != 0 && sort.is_descending {
        rows.reverse();
    }
    rows
}

/// Indices of the constants that match, sorted.
pub fn constants(listed: Listed<'_>, ranges: &Ranges, query: &Query, sort: Sort) -> Vec<usize> {
    let all = &listed.shown.overview.constants;
    let mut rows: Vec<usize> =
        (0..all.len()).filter(|&i| query.is_empty() || query.matches(&constant_row(listed, &all[i]))).collect();
    match sort.column {
        0 => rows.sort_by_key(|&i| !all[i].trainable),
        2 => rows.sort_by_cached_key(|&i| shape_key(all[i].shape.as_ref())),
        3 => rows.sort_by_key(|&i| all[i].elements),
        4 => rows.sort_by(|&a, &b| all[a].role.cmp(&all[b].role)),
        5 => rows.sort_by(|&a, &b| all[a].gradient.cmp(&all[b].gradient)),
        6 => rows.sort_by(|&a, &b| all[a].dtype.cmp(&all[b].dtype)),
        7 => rows.sort_by_key(|&i| all[i].bytes),
        8..=10 => {
            let value = |i: usize| {
                let r = ranges.get(&all[i].name).copied().flatten()?;
                Some([r.min, r.max, r.mean][sort.column - RANGE_COLUMNS.start()])
            };
            // What is not known yet stands last in both directions.
            let known = |i: &usize| value(*i).is_some();
            let (mut known, unknown): (Vec<usize>, Vec<usize>) = rows.into_iter().partition(known);
            known.sort_by(|&a, &b| value(a).unwrap_or(0.0).total_cmp(&value(b).unwrap_or(0.0)));
            if sort.is_descending {
                known.reverse();
            }
            known.extend(unknown);
            return known;
        }
        11 => rows.sort_by(|&a, &b| (&all[b].suggest, &all[b].reason).cmp(&(&all[a].suggest, &all[a].reason))),
        _ => {}
    }
    if sort.is_descending {
        rows.reverse();
    }
    rows
}

/// Ranges of constants that are known.
pub type Ranges = HashMap<String, Option<ValueRange>>;

fn shape_key(shape: Option<&Vec<Option<usize>>>) -> (usize, Vec<usize>) {
    let dims: ShapeRow = shape.cloned();
    dims.map_or((0, Vec::new()), |d| (d.len() + 1, d.into_iter().map(|d| d.unwrap_or(0)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::ui::index::Index;
    use crate::ui::sample;

    #[test]
    fn rows_are_filtered_and_sorted() {
        let o = Arc::new(sample::overview());
        let shown = Shown::plain(o.clone(), Arc::new(Index::new(&o)));
        let tuned = HashSet::from(["encoder/dense/bias".to_owned()]);
        let listed = Listed { shown: &shown, tuned: &tuned };
        let names = |query: &str, sort| {
            let q = Query::parse(query).unwrap();
            nodes(listed, &q, sort).into_iter().map(|i| o.nodes[i].name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(names("", Sort::by(0)).len(), o.nodes.len());
        assert_eq!(names("op:MatMul", Sort::by(0)), ["encoder/dense/MatMul"]);
        assert_eq!(names("trainable:yes", Sort::by(1)), ["encoder/dense/kernel", "encoder/dense/bias"]);
        assert_eq!(names("changed:yes", Sort::by(0)), ["encoder/dense/bias"], "a run tuned it");
        let down = Sort { column: 0, is_descending: true };
        assert_eq!(names("", down)[0], "loss/Mean");
        let q = Query::default();
        let by_elements = constants(listed, &Ranges::new(), &q, Sort { column: 3, is_descending: true });
        assert_eq!(o.constants[by_elements[0]].name, "encoder/dense/kernel");
        let range = |min| Some(ValueRange { min, max: 1.0, mean: 0.0 });
        let ranges = Ranges::from([
            ("encoder/dense/bias".to_owned(), range(-3.0)),
            ("encoder/dense/kernel".to_owned(), range(-1.0)),
        ]);
        for (is_descending, first) in [(false, "encoder/dense/bias"), (true, "encoder/dense/kernel")] {
            let rows = constants(listed, &ranges, &q, Sort { column: 8, is_descending });
            assert_eq!(o.constants[rows[0]].name, first, "what is not known stands last");
        }
    }
}
