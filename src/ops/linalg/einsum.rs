//! Einstein summation, spelled in transpositions, reshapes and matrix products; so it is differentiable as they are.
//!
//! An equation such as `BNFT,BTNH->BFNH` names the axes of each operand and of the result. Axes that the result leaves
//! out are summed. `...` stands for leading axes that broadcast. Case matters; spaces do not.

use smallvec::SmallVec;

use super::MatMul;
use crate::ops::make;
use crate::ops::sizes::{self, Size};
use crate::program::{Builder, Misfit, Value};
use crate::tensor::Tensor;

/// Axis names; those of an ellipsis are numbers from the private-use area, counted from the last.
type Labels = SmallVec<[char; 8]>;

fn ellipsis_label(from_last: usize) -> char {
    char::from_u32(0xE000 + from_last as u32).unwrap_or('\u{E000}')
}

/// One side of a comma or arrow, for an operand of `rank` axes (`n_ellipsis` for the result).
fn parse_term(term: &str, n_ellipsis: impl Fn(usize) -> Result<usize, Misfit>) -> Result<Labels, Misfit> {
    let named = term.chars().filter(|c| c.is_alphabetic()).count();
    let mut out = Labels::new();
    let mut rest = term;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            let n = n_ellipsis(named)?;
            out.extend((0..n).rev().map(ellipsis_label));
            rest = after;
        } else if c.is_alphabetic() {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            return Err(Misfit(format!("unexpected {c:?} in the equation term {term:?}")));
        }
    }
    Ok(out)
}

struct Operand {
    value: Value,
    labels: Labels,
}

/// The operands' and the result's labels.
fn parse(b: &Builder, equation: &str, operands: &[Value]) -> Result<(Vec<Operand>, Labels), Misfit> {
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((l, r)) => (l, Some(r)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != operands.len() {
        return Err(Misfit(format!(
            "the equation {equation:?} has {} terms for {} operands",
            terms.len(),
            operands.len()
        )));
    }
    let mut widest = 0;
    let mut parsed = Vec::new();
    for (term, &value) in terms.iter().zip(operands) {
        let rank = b.fact(value).rank().ok_or_else(|| Misfit::new("the number of axes must be known"))?;
        let labels = parse_term(term, |named| {
            rank.checked_sub(named).ok_or_else(|| Misfit(format!("{term:?} names more axes than the operand's {rank}")))
        })?;
        if labels.len() != rank {
            return Err(Misfit(format!("{term:?} does not name all {rank} axes of its operand")));
        }
        widest = widest.max(labels.iter().filter(|&&l| l >= '\u{E000}').count());
        parsed.push(Operand { value, labels });
    }
    let result = match right {
        Some(r) => parse_term(r, |_| Ok(widest))?,
        None => implicit_result(&parsed, widest),
    };
    for (i, l) in result.iter().enumerate() {
        if result[..i].contains(l) || !parsed.iter().any(|o| o.labels.contains(l)) {
            return Err(Misfit(format!("the result of {equation:?} names axis {l:?} twice or out of nowhere")));
        }
    }
    Ok((parsed, result))
}

/// Without an arrow: the ellipsis, then the names that occur once, in alphabetical order.
fn implicit_result(operands: &[Operand], widest: usize) -> Labels {
    let all: Vec<char> = operands.iter().flat_map(|o| o.labels.iter().copied()).collect();
    let mut once: Vec<char> =
        all.iter().copied().filter(|l| *l < '\u{E000}' && all.iter().filter(|m| *m == l).count() == 1).collect();
    once.sort_unstable();
    (0..widest).rev().map(ellipsis_label).chain(once).collect()
}

/// See the module doc. Operands must have known ranks; sizes may be unknown.
pub fn einsum(b: &mut Builder, equation: &str, operands: &[Value]) -> Result<Value, Misfit> {
    let (mut rest, result) = parse(b, equation, operands)?;
    for operand in &mut rest {
        take_diagonals(b, operand)?;
    }
    rest.reverse();
    let mut left = rest.pop().ok_or_else(|| Misfit::new("einsum needs an operand"))?;
    while let Some(right) = rest.pop() {
        let kept = |l: char| result.contains(&l) || rest.iter().any(|o| o.labels.contains(&l));
        left = contract(b, left, right, kept)?;
    }
    let summed = sum_out(b, left, |l| result.contains(&l))?;
    arrange(b, &summed, &result)
}

/// An axis that one operand names twice: what is off the diagonal is masked and one of the two axes summed.
fn take_diagonals(b: &mut Builder, o: &mut Operand) -> Result<(), Misfit> {
    while let Some((i, j)) =
        (0..o.labels.len()).find_map(|i| (i + 1..o.labels.len()).find(|&j| o.labels[i] == o.labels[j]).map(|j| (i, j)))
    {
        let fact = b.fact(o.value);
        let (dtype, n) = (fact.dtype, fact.shape.dim(i).or(fact.shape.dim(j)));
        let n = n.filter(|&n| n <= 1 << 12).ok_or_else(|| Misfit::new("the size of a diagonal must be known"))?;
        let mut shape = vec![1i64; o.labels.len()];
        (shape[i], shape[j]) = (n as i64, n as i64);
        let eye = b.literal(Tensor::from_f64s(dtype, &[n, n], (0..n * n).map(|k| f64::from(u8::from(k / n == k % n)))));
        let eye = make::reshape(b, eye, &shape)?;
        let masked = make::mul(b, o.value, eye)?;
        o.value = make::reduce_sum(b, masked, &[j as i64], false)?;
        o.labels.remove(j);
    }
    Ok(())
}

/// Sums the axes that are not kept.
fn sum_out(b: &mut Builder, o: Operand, kept: impl Fn(char) -> bool) -> Result<Operand, Misfit> {
    let axes: Vec<i64> = (0..o.labels.len()).filter(|&i| !kept(o.labels[i])).map(|i| i as i64).collect();
    if axes.is_empty() {
        return Ok(o);
    }
    let value = make::reduce_sum(b, o.value, &axes, false)?;
    Ok(Operand { value, labels: o.labels.into_iter().filter(|&l| kept(l)).collect() })
}

/// The value with its axes in the order of `labels`, which it all has; axes it lacks become size 1.
fn arrange(b: &mut Builder, o: &Operand, labels: &[char]) -> Result<Value, Misfit> {
    let present: Labels = labels.iter().copied().filter(|l| o.labels.contains(l)).collect();
    let perm: Vec<i64> =
        present.iter().filter_map(|l| o.labels.iter().position(|m| m == l)).map(|p| p as i64).collect();
    let mut v = o.value;
    if perm.iter().enumerate().any(|(i, &p)| i as i64 != p) {
        v = make::transpose(b, v, &perm)?;
    }
    for (axis, l) in labels.iter().enumerate() {
        if !present.contains(l) {
            v = make::expand_dims(b, v, axis as i64)?;
        }
    }
    Ok(v)
}

/// The product of two operands, summed over the axes that are not kept.
fn contract(b: &mut Builder, x: Operand, y: Operand, kept: impl Fn(char) -> bool) -> Result<Operand, Misfit> {
    let x = sum_out(b, x, |l| kept(l) || y.labels.contains(&l))?;
    let y = sum_out(b, y, |l| kept(l) || x.labels.contains(&l))?;
    let pick = |of: &Labels, f: &dyn Fn(char) -> bool| of.iter().copied().filter(|&l| f(l)).collect::<Labels>();
    // Axes of an ellipsis broadcast, so they stay apart from those that are merged.
    let is_batch = |l: char| kept(l) && (l >= '\u{E000}' || (x.labels.contains(&l) && y.labels.contains(&l)));
    let mut batch = pick(&x.labels, &is_batch);
    batch.extend(y.labels.iter().copied().filter(|&l| is_batch(l) && !x.labels.contains(&l)));
    batch.sort_by_key(|&l| std::cmp::Reverse(if l >= '\u{E000}' { l as u32 } else { 0 }));
    let rows = pick(&x.labels, &|l| !batch.contains(&l) && !y.labels.contains(&l));
    let columns = pick(&y.labels, &|l| !batch.contains(&l) && !x.labels.contains(&l));
    let inner = pick(&x.labels, &|l| y.labels.contains(&l) && !batch.contains(&l));
    let labels: Labels = batch.iter().chain(&rows).chain(&columns).copied().collect();
    if rows.is_empty() && columns.is_empty() && inner.is_empty() {
        let (x, y) = (arrange(b, &x, &batch)?, arrange(b, &y, &batch)?);
        return Ok(Operand { value: make::mul(b, x, y)?, labels });
    }
    let ends_in = |o: &Operand, set: &Labels| o.labels.last().is_some_and(|l| set.contains(l));
    let transpose_a = ends_in(&x, &rows);
    let transpose_b = ends_in(&y, &inner);
    let (a, a_sizes) =
        if transpose_a { merged(b, &x, &batch, &inner, &rows)? } else { merged(b, &x, &batch, &rows, &inner)? };
    let (c, c_sizes) =
        if transpose_b { merged(b, &y, &batch, &columns, &inner)? } else { merged(b, &y, &batch, &inner, &columns)? };
    let value = b.op(MatMul { transpose_a, transpose_b }, &[a, c])?;
    if rows.len() == 1 && columns.len() == 1 {
        return Ok(Operand { value, labels });
    }
    let mut shape = sizes::sizes_of(b, value)?;
    shape.truncate(batch.len());
    shape.extend(if transpose_a { a_sizes.1 } else { a_sizes.0 });
    shape.extend(if transpose_b { c_sizes.0 } else { c_sizes.1 });
    Ok(Operand { value: sizes::reshape(b, value, &shape)?, labels })
}

/// The operand as `[batch.., first, second]` with both groups merged to one axis, and the sizes of both groups.
fn merged(
    b: &mut Builder,
    o: &Operand,
    batch: &Labels,
    first: &Labels,
    second: &Labels,
) -> Result<(Value, (Vec<Size>, Vec<Size>)), Misfit> {
    let order: Labels = batch.iter().chain(first).chain(second).copied().collect();
    let v = arrange(b, o, &order)?;
    let all = sizes::sizes_of(b, v)?;
    let (lead, rest) = all.split_at(batch.len());
    let (one, two) = rest.split_at(first.len());
    let groups = (one.to_vec(), two.to_vec());
    if one.len() == 1 && two.len() == 1 {
        return Ok((v, groups));
    }
    let mut shape = lead.to_vec();
    shape.push(sizes::product(b, one)?);
    shape.push(sizes::product(b, two)?);
    Ok((sizes::reshape(b, v, &shape)?, groups))
}
