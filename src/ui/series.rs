//! One measured curve with a min/max pyramid, so that a plot of a million points costs as much as one of a thousand.

/// When something was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    pub step: f64,
    /// With its fraction: 1.5 is the middle of the second epoch.
    pub epoch: f64,
    /// Since the start, without pauses.
    pub seconds: f64,
    /// Since the start, with pauses.
    pub wall: f64,
}

impl Moment {
    pub fn x(&self, axis: XAxis) -> f64 {
        match axis {
            XAxis::Step => self.step,
            XAxis::Epoch => self.epoch,
            XAxis::Time => self.wall,
            XAxis::TimeWithoutPauses => self.seconds,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum XAxis {
    #[default]
    Step,
    Epoch,
    Time,
    TimeWithoutPauses,
}

impl XAxis {
    pub const ALL: [Self; 4] = [Self::Step, Self::Epoch, Self::Time, Self::TimeWithoutPauses];

    pub fn title(self) -> &'static str {
        match self {
            Self::Step => "Step",
            Self::Epoch => "Epoch",
            Self::Time => "Time",
            Self::TimeWithoutPauses => "Time without pauses",
        }
    }

    pub fn is_time(self) -> bool {
        matches!(self, Self::Time | Self::TimeWithoutPauses)
    }
}

/// One measured curve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    pub name: String,
    /// x positions as steps; the others run in parallel.
    pub steps: Vec<f64>,
    pub epochs: Vec<f64>,
    pub seconds: Vec<f64>,
    pub wall: Vec<f64>,
    pub values: Vec<f64>,
    pyramid: Pyramid,
    not_finite: usize,
    not_positive: usize,
}

impl Series {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The same curve under another name.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    pub fn push(&mut self, at: Moment, value: f64) {
        self.steps.push(at.step);
        self.epochs.push(at.epoch);
        self.seconds.push(at.seconds);
        self.wall.push(at.wall);
        self.values.push(value);
        self.pyramid.extend(&self.values);
        self.not_finite += usize::from(!value.is_finite());
        self.not_positive += usize::from(value.is_finite() && value <= 0.0);
    }

    /// Values that no plot has a place for: infinities, and what is no number.
    pub fn not_finite(&self) -> usize {
        self.not_finite
    }

    /// Values that a logarithmic axis has no place for.
    pub fn not_positive(&self) -> usize {
        self.not_positive
    }

    pub fn last(&self) -> Option<f64> {
        self.values.last().copied()
    }

    pub fn min(&self) -> Option<f64> {
        self.pyramid.extremes(&self.values).map(|(low, _)| low)
    }

    pub fn max(&self) -> Option<f64> {
        self.pyramid.extremes(&self.values).map(|(_, high)| high)
    }

    pub fn xs(&self, axis: XAxis) -> &[f64] {
        match axis {
            XAxis::Step => &self.steps,
            XAxis::Epoch => &self.epochs,
            XAxis::Time => &self.wall,
            XAxis::TimeWithoutPauses => &self.seconds,
        }
    }

    /// Indices of the points that a plot of `columns` pixel columns needs between two x; see [`Pyramid::thin`].
    pub fn thin(&self, axis: XAxis, from: f64, to: f64, columns: usize) -> Vec<usize> {
        self.thin_range(visible(self.xs(axis), from, to), columns)
    }

    /// As [`Self::thin`], of an index range.
    pub fn thin_range(&self, range: std::ops::Range<usize>, columns: usize) -> Vec<usize> {
        self.pyramid.thin(&self.values, range, columns)
    }
}

/// The index range of ascending x positions between two bounds, with one more point at either side.
pub fn visible(xs: &[f64], from: f64, to: f64) -> std::ops::Range<usize> {
    let first = xs.partition_point(|x| *x < from).saturating_sub(1);
    let last = xs.partition_point(|x| *x <= to);
    first..(last + 1).min(xs.len())
}

/// Points in a block, and blocks in a block of the next level.
const FAN: usize = 8;

/// For each block of 8, 64, 512, … values the indices of its lowest and highest finite one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pyramid {
    /// Whole blocks only; `None` where no value of a block is finite.
    levels: Vec<Vec<Option<(u32, u32)>>>,
}

impl Pyramid {
    /// Takes in the values that were appended since the last call.
    pub fn extend(&mut self, values: &[f64]) {
        let index = |i: usize| values[i].is_finite().then_some((i as u32, i as u32));
        let mut level = 0;
        loop {
            let below = if level == 0 { values.len() } else { self.levels[level - 1].len() };
            if self.levels.len() == level {
                if below < FAN {
                    return;
                }
                self.levels.push(Vec::new());
            }
            while (self.levels[level].len() + 1) * FAN <= below {
                let start = self.levels[level].len() * FAN;
                let block =
                    (start..start + FAN).filter_map(|i| if level == 0 { index(i) } else { self.levels[level - 1][i] });
                let merged = block.reduce(|a, b| merge(values, a, b));
                self.levels[level].push(merged);
            }
            level += 1;
        }
    }

    /// At most two points (the lowest and the highest, in their order) for each of about `columns` to 8 · `columns` equal
    /// blocks of an index range; every point where there are few. The work grows with `columns`, not with the range.
    pub fn thin(&self, values: &[f64], range: std::ops::Range<usize>, columns: usize) -> Vec<usize> {
        let per_column = range.len() / columns.max(1);
        let mut size = 1;
        let mut level = None;
        while size * FAN <= per_column && level.map_or(0, |l: usize| l + 1) < self.levels.len() {
            size *= FAN;
            level = Some(level.map_or(0, |l| l + 1));
        }
        let finite = |i: &usize| values[*i].is_finite();
        let Some(level) = level else { return range.filter(finite).collect() };
        let blocks = range.start.div_ceil(size)..(range.end / size).min(self.levels[level].len());
        if blocks.is_empty() {
            return range.filter(finite).collect();
        }
        let mut out: Vec<usize> = (range.start..blocks.start * size).filter(finite).collect();
        for (low, high) in self.levels[level][blocks.clone()].iter().flatten() {
            out.push((*low).min(*high) as usize);
            if low != high {
                out.push((*low).max(*high) as usize);
            }
        }
        out.extend((blocks.end * size..range.end).filter(finite));
        out
    }

    /// Lowest and highest finite value.
    pub fn extremes(&self, values: &[f64]) -> Option<(f64, f64)> {
        let indices = self.thin(values, 0..values.len(), 1);
        indices.into_iter().map(|i| (values[i], values[i])).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }
}

fn merge(values: &[f64], a: (u32, u32), b: (u32, u32)) -> (u32, u32) {
    let lower = if values[b.0 as usize] < values[a.0 as usize] { b.0 } else { a.0 };
    let higher = if values[b.1 as usize] > values[a.1 as usize] { b.1 } else { a.1 };
    (lower, higher)
}

/// A smoothed copy of a curve that grows with it: an exponential moving average with the start corrected (Kingma and Ba
/// 2015, section 3); values that are not finite are passed over.
#[derive(Clone, Debug, Default)]
pub struct Smoothed {
    weight: f64,
    mean: f64,
    correction: f64,
    pub values: Vec<f64>,
    pyramid: Pyramid,
}

impl Smoothed {
    /// Brings the copy up to date with `raw`; starts over where the weight (0 to 1) changed or the curve is another.
    pub fn follow(&mut self, raw: &[f64], weight: f64) {
        let weight = weight.clamp(0.0, 0.999);
        if self.weight != weight || raw.len() < self.values.len() || self.values.is_empty() {
            *self = Self { weight, correction: 1.0, ..Self::default() };
        }
        for &v in &raw[self.values.len()..] {
            if v.is_finite() {
                self.mean = weight * self.mean + (1.0 - weight) * v;
                self.correction *= weight;
            }
            self.values.push(if self.correction < 1.0 { self.mean / (1.0 - self.correction) } else { v });
        }
        self.pyramid.extend(&self.values);
    }

    pub fn thin(&self, range: std::ops::Range<usize>, columns: usize) -> Vec<usize> {
        self.pyramid.thin(&self.values, range, columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: impl Iterator<Item = f64>) -> Series {
        let mut s = Series::new("s");
        for (i, v) in values.enumerate() {
            let x = i as f64;
            s.push(Moment { step: x, epoch: x / 100.0, seconds: x * 2.0, wall: x * 3.0 }, v);
        }
        s
    }

    #[test]
    fn thinning_keeps_extremes_and_costs_little() {
        let n = 100_000;
        let mut values: Vec<f64> = (0..n).map(|i| (f64::from(i) * 0.01).sin()).collect();
        values[54_321] = 99.0;
        values[60_000] = f64::NAN;
        values[70_003] = -50.0;
        let s = series(values.into_iter());
        let t = s.thin(XAxis::Step, 0.0, f64::from(n), 200);
        assert!(t.len() <= 2 * 8 * 200 + 2 * FAN * FAN, "{}", t.len());
        assert!(t.contains(&54_321) && t.contains(&70_003) && !t.contains(&60_000));
        assert!(t.windows(2).all(|w| w[0] < w[1]));
        assert_eq!((s.min(), s.max()), (Some(-50.0), Some(99.0)));
        // A part of it, at whatever zoom, keeps what stands out there.
        let part = s.thin(XAxis::Time, 3.0 * 54_000.0, 3.0 * 55_000.0, 50);
        assert!(part.contains(&54_321) && part[0] >= 53_998 && part[part.len() - 1] <= 55_002);
        assert_eq!(s.thin(XAxis::Step, 10.0, 20.0, 200), (9..=21).collect::<Vec<_>>());
    }

    #[test]
    fn short_and_empty_series_are_whole() {
        assert!(Series::new("e").thin(XAxis::Step, 0.0, 1.0, 10).is_empty());
        assert_eq!(Series::new("e").min(), None);
        let s = series([1.0, f64::NAN, 3.0].into_iter());
        assert_eq!(s.thin(XAxis::Step, 0.0, 9.0, 10), [0, 2]);
        assert_eq!(s.xs(XAxis::TimeWithoutPauses), [0.0, 2.0, 4.0]);
        let s = series([0.0, f64::NAN, -3.0, f64::INFINITY, 2.0].into_iter());
        assert_eq!((s.not_finite(), s.not_positive()), (2, 2));
        assert_eq!((s.min(), s.max()), (Some(-3.0), Some(2.0)));
    }

    #[test]
    fn smoothing_grows_with_the_curve() {
        let raw: Vec<f64> = (0..50).map(|i| f64::from(i % 7)).collect();
        let (mut whole, mut parts) = (Smoothed::default(), Smoothed::default());
        whole.follow(&raw, 0.9);
        for end in [1, 10, 11, 50] {
            parts.follow(&raw[..end], 0.9);
        }
        assert_eq!(whole.values, parts.values);
        parts.follow(&raw, 0.5);
        let mut other = Smoothed::default();
        other.follow(&raw, 0.5);
        assert_eq!(parts.values, other.values, "another weight starts over");
        let mut flat = Smoothed::default();
        flat.follow(&[2.0, f64::NAN, 2.0], 0.9);
        assert!(flat.values.iter().all(|v| (v - 2.0).abs() < 1e-12));
    }
}
