//! From measured series to what a plot draws: places on axes, ranges without outliers, round marks, which markers have room,
//! tables. No egui here.

use std::collections::BTreeSet;

use crate::ui::series::{self, Series, XAxis};
use crate::ui::text;

/// Values from which percentiles tell what is ordinary.
const MANY: usize = 50;

/// The y range that the visible data deserve, so that the first outlier does not flatten the rest: of many values from the
/// 2nd to the 98th percentile, widened to the extremes where these are not far off; of few values without a single one that
/// stands further off than three times what the others span. `None` without finite values.
pub fn range(values: impl Iterator<Item = f64>, ignores_outliers: bool) -> Option<(f64, f64)> {
    let mut v: Vec<f64> = values.filter(|v| v.is_finite()).collect();
    if v.is_empty() {
        return None;
    }
    v.sort_by(f64::total_cmp);
    let n = v.len();
    let at = |q: f64| v[((n - 1) as f64 * q).round() as usize];
    let (mut low, mut high) = (v[0], v[n - 1]);
    if ignores_outliers && n >= MANY {
        let (a, b) = (at(0.02), at(0.98));
        let spread = (b - a).max(f64::MIN_POSITIVE);
        low = low.max(a - spread);
        high = high.min(b + spread);
    } else if ignores_outliers && n >= 5 {
        let (above, below) = (v[n - 2] - v[0], v[n - 1] - v[1]);
        if above > 0.0 && v[n - 1] - v[n - 2] > 3.0 * above {
            high = v[n - 2];
        } else if below > 0.0 && v[1] - v[0] > 3.0 * below {
            low = v[1];
        }
    }
    // What is all equal stands in the middle.
    let least = if high > low {
        0.0
    } else if high == 0.0 {
        0.1
    } else {
        high.abs() * 0.1
    };
    let pad = ((high - low) * 0.06).max(least).max(high.abs() * 1e-6);
    Some((low - pad, high + pad))
}

/// From the first to the last point of all curves together, so that the plots of a run agree; `None` without points that
/// the axis has a place for. On a logarithmic axis both ends are logarithms.
pub fn span<'a>(all: impl Iterator<Item = &'a Series>, axis: XAxis, is_log: bool) -> Option<(f64, f64)> {
    let ends = |s: &'a Series| {
        let xs = s.xs(axis);
        let first = if is_log { xs.partition_point(|x| *x <= 0.0) } else { 0 };
        Some((place(*xs.get(first)?, is_log)?, place(*xs.last()?, is_log)?))
    };
    let (from, to) = all.filter_map(ends).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
    // A single point stands at the left of an axis that has room for the next.
    Some((from, if to > from { to } else { from + 1.0 }))
}

/// The points that a plot needs of ascending x positions between two bounds: on a logarithmic axis factor by factor of two,
/// since the early points take as much room as all the later ones.
pub fn thinned(
    xs: &[f64],
    (from, to): (f64, f64),
    is_log: bool,
    thin: impl Fn(std::ops::Range<usize>) -> Vec<usize>,
) -> Vec<usize> {
    let all = series::visible(xs, from, to);
    if !is_log {
        return thin(all);
    }
    let mut out = Vec::new();
    let mut start = all.start.max(xs.partition_point(|x| *x <= 0.0));
    while start < all.end {
        let end = (start + 1).max(xs.partition_point(|x| *x < 2.0 * xs[start])).min(all.end);
        out.extend(thin(start..end));
        start = end;
    }
    out
}

/// Position on an axis; `None` where it has none: a logarithmic axis knows only what is above zero.
pub fn place(v: f64, is_log: bool) -> Option<f64> {
    let at = if is_log && v > 0.0 { v.log10() } else { v };
    (at.is_finite() && (!is_log || v > 0.0)).then_some(at)
}

/// The number at a position of an axis.
pub fn at_place(at: f64, is_log: bool) -> f64 {
    if is_log { 10f64.powf(at) } else { at }
}

/// What of some curves a plot does not show, in words.
pub fn left_out<'a>(all: impl Iterator<Item = &'a Series>, is_log: bool) -> Option<String> {
    let (mut odd, mut low) = (0, 0);
    for s in all {
        odd += s.not_finite();
        low += if is_log { s.not_positive() } else { 0 };
    }
    let values = |n: usize| text::plural(n, "value", "values");
    let words = [
        (odd > 0).then(|| format!("{} not finite", values(odd))),
        (low > 0).then(|| format!("{} without a logarithm", values(low))),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    (!words.is_empty()).then(|| format!("{} left out", words.join(" and ")))
}

/// Marks between two bounds at a step of 1, 2 or 5 times a power of ten, at most `n` of them, and the step.
pub fn ticks(low: f64, high: f64, n: usize) -> (f64, Vec<f64>) {
    let rough = (high - low) / n.max(1) as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return (1.0, Vec::new());
    }
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough * 0.999).unwrap_or(10.0 * power);
    (step, multiples(low, high, step))
}

fn multiples(low: f64, high: f64, step: f64) -> Vec<f64> {
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last.min(first.saturating_add(200))).map(|i| i as f64 * step).collect()
}

/// As [`ticks`], at whole numbers.
pub fn whole_ticks(low: f64, high: f64, n: usize) -> (f64, Vec<f64>) {
    let (step, all) = ticks(low, high, n);
    if step >= 1.0 || all.is_empty() { (step, all) } else { (1.0, multiples(low, high, 1.0)) }
}

/// Significant digits that tell neighbours on an axis with this step apart.
pub fn digits(v: f64, step: f64) -> usize {
    let power = |v: f64| v.abs().log10().floor();
    let n = power(v) - power(step) + 1.0;
    if n.is_finite() { n.clamp(1.0, 9.0) as usize } else { 1 }
}

/// As [`ticks`], at steps that clocks have: seconds, halves of minutes, quarters of hours.
pub fn time_ticks(low: f64, high: f64, n: usize) -> (f64, Vec<f64>) {
    const STEPS: [f64; 16] =
        [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 21_600.0];
    let rough = (high - low) / n.max(1) as f64;
    match STEPS.into_iter().find(|s| *s >= rough * 0.999) {
        // Below a second and above a quarter of a day decimal steps do.
        Some(step) if rough > 0.5 => (step, multiples(low, high, step)),
        _ => ticks(low, high, n),
    }
}

/// Marks of an axis of logarithms: powers of ten, and between them 1, 2, 5 or all digits where there is room for them; where
/// not even that gives two, plain round numbers at their places.
pub fn log_ticks(low: f64, high: f64, n: usize) -> (f64, Vec<f64>) {
    if !(high - low > 0.0 && (high - low).is_finite()) {
        return (1.0, Vec::new());
    }
    const DIGITS: [&[f64]; 4] = [&[1.0], &[1.0, 3.0], &[1.0, 2.0, 5.0], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]];
    let (first, last) = (low.floor().max(-320.0) as i32, high.ceil().min(320.0) as i32);
    let of = |digits: &[f64]| -> Vec<f64> {
        let all = (first..=last).flat_map(|p| digits.iter().map(move |d| d.log10() + f64::from(p)));
        all.filter(|v| (low..=high).contains(v)).collect()
    };
    let all = DIGITS.map(of);
    let fitting = all.iter().rev().find(|t| t.len() <= n.max(2));
    let step = |t: &[f64]| t.windows(2).map(|w| w[1] - w[0]).fold(high - low, f64::min);
    match fitting {
        Some(t) if t.len() >= 2 => (step(t), t.clone()),
        // Too many powers of ten: some of them.
        None => ticks(low, high, n.min((high - low).floor().max(1.0) as usize)),
        Some(_) => {
            let plain = ticks(10f64.powf(low), 10f64.powf(high), n).1;
            let t: Vec<f64> = plain.into_iter().filter_map(|v| place(v, true)).collect();
            (step(&t), t)
        }
    }
}

/// Which of several markers are drawn, given their places in points and ranks: of those nearer to each other than `gap` the
/// highest rank stays, and among equals the later one.
pub fn with_room(markers: &[(f64, u8)], gap: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..markers.len()).filter(|&i| markers[i].0.is_finite()).collect();
    order.sort_by(|&a, &b| markers[b].1.cmp(&markers[a].1).then(b.cmp(&a)));
    let mut kept = vec![false; markers.len()];
    // Places in hundredths of a point, so that they can be looked up in order.
    let key = |v: f64| (v * 100.0).clamp(-1e15, 1e15) as i64;
    let mut taken: BTreeSet<i64> = BTreeSet::new();
    for i in order {
        let at = key(markers[i].0);
        let room = key(gap).max(1);
        if taken.range(at - room + 1..at + room).next().is_none() {
            taken.insert(at);
            kept[i] = true;
        }
    }
    kept
}

/// One table of curves: a header, then a line per point and series.
pub fn csv(series: &[(String, &Series)]) -> String {
    let mut out = "series,step,epoch,seconds,seconds with pauses,value\n".to_owned();
    for (name, s) in series {
        let name =
            if name.contains([',', '"', '\n']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.clone() };
        for i in 0..s.values.len() {
            out.push_str(&format!(
                "{name},{},{},{},{},{}\n",
                s.steps[i], s.epochs[i], s.seconds[i], s.wall[i], s.values[i]
            ));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::series::Moment;

    #[test]
    fn ticks_are_round() {
        let (step, t) = ticks(0.07, 0.83, 5);
        assert_eq!(step, 0.2);
        assert_eq!(t.len(), 4);
        assert_eq!(ticks(0.0, 5e-5, 5).0, 1e-5);
        assert!(ticks(1.0, 1.0, 5).1.is_empty());
        assert_eq!(whole_ticks(0.0, 3.2, 8), (1.0, vec![0.0, 1.0, 2.0, 3.0]), "there is no half step");
        assert_eq!(whole_ticks(0.0, 300.0, 6).0, 50.0);
        assert_eq!([(0.0625, 5e-5), (0.25, 0.1), (0.0, 0.1), (1200.0, 200.0)].map(|(v, s)| digits(v, s)), [4, 1, 1, 2]);
        assert_eq!(time_ticks(0.0, 130.0, 5), (30.0, vec![0.0, 30.0, 60.0, 90.0, 120.0]));
        assert_eq!(time_ticks(0.0, 1.0, 5).0, 0.2);
        assert_eq!(time_ticks(0.0, 9000.0, 3).1, [0.0, 3600.0, 7200.0]);
    }

    #[test]
    fn ticks_of_a_logarithmic_axis_are_round_numbers() {
        let shown = |low: f64, high: f64, n| {
            let t = log_ticks(low, high, n).1;
            t.iter().map(|v| crate::ui::text::number(at_place(*v, true), 3)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(-1.0, 2.0, 5), "0.1 1 10 100");
        assert_eq!(shown(-1.0, 0.0, 5), "0.1 0.2 0.5 1");
        assert_eq!(shown(-0.1, 0.4, 9), "0.8 0.9 1 2");
        assert_eq!(shown(-9.0, 1.0, 5), "1e-8 1e-6 1e-4 0.01 1");
        // Less than between two digits: plain steps of the numbers themselves, from 2.0 to 2.009.
        assert_eq!(log_ticks(0.3012, 0.303, 6).1.len(), 4);
        assert!(log_ticks(1.0, 1.0, 5).1.is_empty());
    }

    #[test]
    fn one_outlier_does_not_flatten_the_rest() {
        let mut v = vec![1.0; 50];
        v.extend(vec![2.0; 50]);
        v.push(1e6);
        let (low, high) = range(v.iter().copied(), true).unwrap();
        assert!(low < 1.0 && high < 10.0);
        assert!(range(v.iter().copied(), false).unwrap().1 > 1e6);
        assert_eq!(range([f64::NAN].into_iter(), true), None);
        let (a, b) = range([0.0].into_iter(), true).unwrap();
        assert!(a < b);
        // All equal: neighbours on the axis are told apart by few digits.
        assert_eq!(range([0.25].into_iter(), true), Some((0.225, 0.275)));
        // Of few values the first one alone, and nothing where the values fall evenly or stand in two groups.
        let high = |v: &[f64]| range(v.iter().copied(), true).unwrap().1;
        assert!(high(&[8.0, 0.6, 0.5, 0.45, 0.4]) < 1.0);
        assert!(high(&[2.0, 1.5, 1.0, 0.8, 0.7]) > 2.0);
        assert!(high(&[0.0, 0.0, 0.0, 0.0, 1.0, 1.0]) > 1.0);
        assert!(high(&[0.0, 0.0, 0.0, 0.0, 1.0]) > 1.0, "others that are all equal say nothing about what is far");
    }

    fn series(points: &[(f64, f64)]) -> Series {
        let mut s = Series::new("s");
        for &(step, value) in points {
            s.push(Moment { step, epoch: step / 10.0, seconds: step, wall: step }, value);
        }
        s
    }

    #[test]
    fn all_plots_of_a_run_have_one_x_range() {
        let (a, b) = (series(&[(0.0, 1.0), (99.0, 1.0)]), series(&[(36.0, 1.0), (100.0, 1.0)]));
        assert_eq!(span([&a, &b].into_iter(), XAxis::Step, false), Some((0.0, 100.0)));
        assert_eq!(span([&a, &b].into_iter(), XAxis::Epoch, false), Some((0.0, 10.0)));
        // Step 0 has no logarithm.
        assert_eq!(span([&a, &b].into_iter(), XAxis::Step, true), Some((36f64.log10(), 2.0)));
        assert_eq!(span([&series(&[(5.0, 1.0)])].into_iter(), XAxis::Step, false), Some((5.0, 6.0)));
        assert_eq!(span([&Series::new("e")].into_iter(), XAxis::Step, false), None);
    }

    #[test]
    fn early_points_keep_their_room_on_a_logarithmic_axis() {
        let mut s = Series::new("s");
        for i in 0..100_000u32 {
            s.push(Moment { step: f64::from(i), ..Moment::default() }, f64::from(i % 7));
        }
        let thin = |r: std::ops::Range<usize>| s.thin_range(r, 100);
        let all = (f64::NEG_INFINITY, f64::INFINITY);
        let t = thinned(&s.steps, all, true, thin);
        assert_eq!(t[..60], (1..=60).collect::<Vec<usize>>()[..], "without step 0");
        assert!(t.windows(2).all(|w| w[0] < w[1]) && t.last() == Some(&99_999));
        assert!(thinned(&s.steps, all, false, thin).len() < 2000);
        assert!(thinned(&[], all, true, thin).is_empty());
    }

    #[test]
    fn what_is_not_shown_is_said() {
        let s = series(&[(0.0, f64::NAN), (1.0, 0.0), (2.0, -1.0), (3.0, 2.0)]);
        assert_eq!(left_out([&s].into_iter(), false).as_deref(), Some("1 value not finite left out"));
        assert_eq!(
            left_out([&s].into_iter(), true).as_deref(),
            Some("1 value not finite and 2 values without a logarithm left out")
        );
        assert_eq!(left_out([&series(&[(0.0, 1.0)])].into_iter(), true), None);
        assert_eq!([place(0.0, true), place(-1.0, true), place(f64::NAN, false)], [None; 3]);
        assert_eq!((place(100.0, true), place(-1.0, false)), (Some(2.0), Some(-1.0)));
    }

    #[test]
    fn markers_keep_apart_and_the_best_stays() {
        let kept = with_room(&[(0.0, 0), (3.0, 2), (5.0, 1), (30.0, 0), (30.0, 0), (f64::NAN, 9)], 6.0);
        assert_eq!(kept, [false, true, false, false, true, false]);
        // A thousand epochs on two hundred points.
        let many: Vec<(f64, u8)> = (0..1000).map(|i| (f64::from(i) * 0.2, 0)).collect();
        assert!(with_room(&many, 4.0).iter().filter(|k| **k).count() <= 51);
    }

    #[test]
    fn names_with_commas_are_quoted() {
        let s = series(&[(1.0, 0.5)]);
        assert_eq!(csv(&[("a,\"b\"/loss".to_owned(), &s)]).lines().nth(1), Some("\"a,\"\"b\"\"/loss\",1,0.1,1,1,0.5"));
    }
}
