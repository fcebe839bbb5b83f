//! Which rows a table shows and in what order: pure functions of the overview, the query and the sorting.

use crate::session::overview::{ConstantRow, NodeRow, ShapeRow};
use crate::session::query::{Query, Row};
use crate::session::{Overview, Recipe};
use crate::ui::index::Index;
use crate::ui::widgets::table::Sort;

/// Columns of the nodes table, in order.
pub const NODE_COLUMNS: [&str; 5] = ["Name", "Op", "Type", "Shape", "Gradient"];
/// Columns of the constants table, in order; the first is the check box.
pub const CONSTANT_COLUMNS: [&str; 9] =
    ["Train", "Name", "Shape", "Elements", "Role", "Gradient", "Type", "Bytes", "Suggestion"];

fn node_row<'a>(n: &'a NodeRow, index: &Index, at: usize, overview: &'a Overview) -> Row<'a> {
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
        changed: false,
    }
}

fn elements(shape: Option<&Vec<Option<usize>>>) -> Option<usize> {
    shape?.iter().try_fold(1usize, |n, d| n.checked_mul((*d)?))
}

fn constant_row<'a>(c: &'a ConstantRow, recipe: &Recipe) -> Row<'a> {
    let _ = recipe;
    Row {
        name: &c.name,
        op: "Const",
        dtype: &c.dtype,
        shape: c.shape.as_deref(),
        elements: Some(c.elements),
        role: &c.role,
        trainable: c.trainable,
        gradient: &c.gradient,
        changed: false,
    }
}

/// Indices of the nodes that match, sorted.
pub fn nodes(overview: &Overview, index: &Index, query: &Query, sort: Sort) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..overview.nodes.len())
        .filter(|&i| query.is_empty() || query.matches(&node_row(&overview.nodes[i], index, i, overview)))
        .collect();
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
pub fn constants(overview: &Overview, recipe: &Recipe, query: &Query, sort: Sort) -> Vec<usize> {
    let all = &overview.constants;
    let mut rows: Vec<usize> =
        (0..all.len()).filter(|&i| query.is_empty() || query.matches(&constant_row(&all[i], recipe))).collect();
    match sort.column {
        0 => rows.sort_by_key(|&i| !all[i].trainable),
        2 => rows.sort_by_cached_key(|&i| shape_key(all[i].shape.as_ref())),
        3 => rows.sort_by_key(|&i| all[i].elements),
        4 => rows.sort_by(|&a, &b| all[a].role.cmp(&all[b].role)),
        5 => rows.sort_by(|&a, &b| all[a].gradient.cmp(&all[b].gradient)),
        6 => rows.sort_by(|&a, &b| all[a].dtype.cmp(&all[b].dtype)),
        7 => rows.sort_by_key(|&i| all[i].bytes),
        8 => rows.sort_by(|&a, &b| (&all[b].suggest, &all[b].reason).cmp(&(&all[a].suggest, &all[a].reason))),
        _ => {}
    }
    if sort.is_descending {
        rows.reverse();
    }
    rows
}

fn shape_key(shape: Option<&Vec<Option<usize>>>) -> (usize, Vec<usize>) {
    let dims: ShapeRow = shape.cloned();
    dims.map_or((0, Vec::new()), |d| (d.len() + 1, d.into_iter().map(|d| d.unwrap_or(0)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::sample;

    #[test]
    fn rows_are_filtered_and_sorted() {
        let o = sample::overview();
        let index = Index::new(&o);
        let names = |query: &str, sort| {
            let q = Query::parse(query).unwrap();
            nodes(&o, &index, &q, sort).into_iter().map(|i| o.nodes[i].name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(names("", Sort::by(0)).len(), o.nodes.len());
        assert_eq!(names("op:MatMul", Sort::by(0)), ["encoder/dense/MatMul"]);
        assert_eq!(names("trainable:yes", Sort::by(1)), ["encoder/dense/kernel", "encoder/dense/bias"]);
        let down = Sort { column: 0, is_descending: true };
        assert_eq!(names("", down)[0], "loss/Mean");
        let q = Query::default();
        let by_elements = constants(&o, &Recipe::default(), &q, Sort { column: 3, is_descending: true });
        assert_eq!(o.constants[by_elements[0]].name, "encoder/dense/kernel");
    }
}
