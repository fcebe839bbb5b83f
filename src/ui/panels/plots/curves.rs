//! From measured series to what a plot draws: ranges without outliers, round marks, tables. No egui here.

/// The y range that the visible data deserve: from the 2nd to the 98th percentile, widened to the extremes where these
/// are not far off, so that the first outlier does not flatten the rest. `None` without finite values.
pub fn range(values: impl Iterator<Item = f64>, ignores_outliers: bool) -> Option<(f64, f64)> {
    let mut v: Vec<f64> = values.filter(|v| v.is_finite()).collect();
    if v.is_empty() {
        return None;
    }
    v.sort_by(f64::total_cmp);
    let at = |q: f64| v[((v.len() - 1) as f64 * q).round() as usize];
    let (mut low, mut high) = (v[0], v[v.len() - 1]);
    if ignores_outliers && v.len() >= 20 {
        let (a, b) = (at(0.02), at(0.98));
        let spread = (b - a).max(f64::MIN_POSITIVE);
        low = low.max(a - spread);
        high = high.min(b + spread);
    }
    let pad = ((high - low) * 0.06).max(high.abs() * 1e-3).max(1e-9);
    Some((low - pad, high + pad))
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
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (step, (first..=last.min(first + 200)).map(|i| i as f64 * step).collect())
}

/// Position on a logarithmic axis; values that have none are left out by the caller.
pub fn log10(v: f64) -> f64 {
    if v > 0.0 { v.log10() } else { f64::NAN }
}

/// One table of curves: a header, then a line per point and series.
pub fn csv(series: &[(&str, &super::Series)]) -> String {
    let mut out = "series,step,epoch,seconds,seconds with pauses,value\n".to_owned();
    for (name, s) in series {
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

    #[test]
    fn ticks_are_round() {
        let (step, t) = ticks(0.07, 0.83, 5);
        assert_eq!(step, 0.2);
        assert_eq!(t.len(), 4);
        assert_eq!(ticks(0.0, 5e-5, 5).0, 1e-5);
        assert!(ticks(1.0, 1.0, 5).1.is_empty());
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
    }
}
