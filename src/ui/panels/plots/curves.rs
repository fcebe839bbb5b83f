//! From measured series to what a plot draws: smoothing, outliers, at most two points a pixel column. No egui here.

/// Exponential moving average with the start corrected (Kingma and Ba 2015, section 3), `weight` from 0 to 1; values that
/// are not finite are passed over.
pub fn smooth(values: &[f64], weight: f64) -> Vec<f64> {
    let weight = weight.clamp(0.0, 0.999);
    let mut mean = 0.0;
    let mut correction = 1.0;
    values
        .iter()
        .map(|&v| {
            if v.is_finite() {
                mean = weight * mean + (1.0 - weight) * v;
                correction *= weight;
            }
            if correction < 1.0 { mean / (1.0 - correction) } else { v }
        })
        .collect()
}

/// At most two points for each of `columns` equal x intervals: the lowest and the highest, in their order. Points that
/// are not finite go.
pub fn thin(xs: &[f64], ys: &[f64], columns: usize) -> Vec<[f64; 2]> {
    let points: Vec<[f64; 2]> =
        xs.iter().zip(ys).map(|(&x, &y)| [x, y]).filter(|p| p[0].is_finite() && p[1].is_finite()).collect();
    let columns = columns.max(1);
    if points.len() <= columns * 2 {
        return points;
    }
    let (first, last) = (points[0][0], points[points.len() - 1][0]);
    let scale = columns as f64 / (last - first).max(f64::MIN_POSITIVE);
    let mut out = Vec::with_capacity(columns * 2);
    let mut i = 0;
    while i < points.len() {
        let column = ((points[i][0] - first) * scale) as usize;
        let mut end = i;
        let (mut low, mut high) = (i, i);
        while end < points.len() && ((points[end][0] - first) * scale) as usize == column {
            if points[end][1] < points[low][1] {
                low = end;
            }
            if points[end][1] > points[high][1] {
                high = end;
            }
            end += 1;
        }
        out.push(points[low.min(high)]);
        if low != high {
            out.push(points[low.max(high)]);
        }
        i = end;
    }
    out
}

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
    let mut out = "series,step,epoch,seconds,value\n".to_owned();
    for (name, s) in series {
        for i in 0..s.values.len() {
            out.push_str(&format!("{name},{},{},{},{}\n", s.steps[i], s.epochs[i], s.seconds[i], s.values[i]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_constants_and_starts_at_the_first_value() {
        assert!(smooth(&[2.0; 5], 0.9).iter().all(|v| (v - 2.0).abs() < 1e-12));
        let s = smooth(&[1.0, 0.0, 0.0], 0.5);
        assert_eq!(s[0], 1.0);
        assert!(s[1] < s[0] && s[2] < s[1]);
        assert!(smooth(&[1.0, f64::NAN, 1.0], 0.5).iter().all(|v| (v - 1.0).abs() < 1e-12));
        assert_eq!(smooth(&[3.0, 4.0], 0.0), [3.0, 4.0]);
    }

    #[test]
    fn thinning_keeps_extremes() {
        let xs: Vec<f64> = (0..10_000).map(f64::from).collect();
        let mut ys: Vec<f64> = xs.iter().map(|x| (x * 0.01).sin()).collect();
        ys[5000] = 99.0;
        ys[6000] = f64::NAN;
        let t = thin(&xs, &ys, 200);
        assert!(t.len() <= 402);
        assert!(t.iter().any(|p| p[1] == 99.0));
        assert!(t.windows(2).all(|w| w[0][0] <= w[1][0]));
        assert_eq!(thin(&xs[..10], &ys[..10], 200).len(), 10);
    }

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
