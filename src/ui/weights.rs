//! How each weight does while a run goes on: measured gradient norms, how far updates move it, and what is wrong with it.

use std::collections::HashMap;

use crate::train::WeightRow;

/// Measurements that are kept of each weight, for its usual size.
const KEPT: usize = 24;
/// Measurements before a weight is judged.
const JUDGED_AFTER: usize = 3;
/// A gradient this many times its usual size explodes.
const EXPLODES: f64 = 100.0;
/// An update that moves more than this share of a weight is fast (good ones lie around 1e-3).
const FAST: f64 = 0.1;
/// Measurements in a row before it counts: what starts at zero moves fast at first.
const FAST_AFTER: usize = 8;

/// What the measurements say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Its gradient is not finite, or far above its usual size.
    Exploding,
    /// Its gradient was exactly zero in the last measurements.
    Dead,
    /// Updates move a large share of it.
    Fast,
    Fine,
}

impl Health {
    pub fn word(self) -> &'static str {
        match self {
            Self::Exploding => "exploding",
            Self::Dead => "dead",
            Self::Fast => "fast",
            Self::Fine => "",
        }
    }

    pub fn help(self) -> &'static str {
        match self {
            Self::Exploding => {
                "Its gradient is more than 100 times its usual size, or not finite: a smaller learning rate or clipping helps."
            }
            Self::Dead => {
                "Its gradient was exactly zero several times in a row: what reads it is saturated, masked or not reached by these data."
            }
            Self::Fast => {
                "One update moves more than a tenth of it: a smaller learning rate keeps more of what was learned before."
            }
            Self::Fine => "",
        }
    }
}

/// One weight's measurements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weight {
    /// Newest gradient norm; `None` where no gradient arrives.
    pub gradient: Option<f64>,
    /// Norm of the newest update over norm of the weight; `None` for a weight of zeros.
    pub update_ratio: Option<f64>,
    zero_in_a_row: u32,
    /// Measurements in a row in which an update moved a large share of it.
    fast_in_a_row: usize,
    norms: Vec<f64>,
}

impl Weight {
    fn take(&mut self, row: &WeightRow) {
        self.gradient = row.gradient_norm;
        self.update_ratio = row.update_ratio;
        self.zero_in_a_row = row.zero_in_a_row;
        self.fast_in_a_row = if row.update_ratio.is_some_and(|r| r > FAST) { self.fast_in_a_row + 1 } else { 0 };
        if let Some(g) = row.gradient_norm {
            if self.norms.len() == KEPT {
                self.norms.remove(0);
            }
            self.norms.push(g);
        }
    }

    pub fn health(&self) -> Health {
        let Some(now) = self.gradient else { return Health::Fine };
        if !now.is_finite() {
            return Health::Exploding;
        }
        if self.norms.len() < JUDGED_AFTER {
            return Health::Fine;
        }
        if self.zero_in_a_row as usize >= JUDGED_AFTER {
            return Health::Dead;
        }
        let mut earlier: Vec<f64> = self.norms[..self.norms.len() - 1].iter().copied().filter(|g| *g > 0.0).collect();
        earlier.sort_by(f64::total_cmp);
        let usual = earlier.get(earlier.len() / 2).copied();
        if usual.is_some_and(|u| now > EXPLODES * u) {
            Health::Exploding
        } else if self.fast_in_a_row >= FAST_AFTER {
            Health::Fast
        } else {
            Health::Fine
        }
    }
}

/// All weights of a run.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Step of the newest measurement.
    pub step: Option<u64>,
    pub weights: HashMap<String, Weight>,
    /// The node that first produced a value that is not finite, where the run ended by one.
    pub nan_origin: Option<String>,
}

impl Watch {
    pub fn take(&mut self, step: u64, rows: &[WeightRow]) {
        self.step = Some(step);
        for row in rows {
            self.weights.entry(row.name.to_string()).or_default().take(row);
        }
    }

    pub fn of(&self, name: &str) -> Option<&Weight> {
        self.weights.get(name.strip_suffix(":0").unwrap_or(name))
    }

    /// How many weights are not fine.
    pub fn n_ill(&self) -> usize {
        self.weights.values().filter(|w| w.health() != Health::Fine).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(norms: &[f64], update_ratio: f64) -> Weight {
        let mut w = Weight::default();
        let mut zero_in_a_row = 0;
        for &g in norms {
            zero_in_a_row = if g == 0.0 { zero_in_a_row + 1 } else { 0 };
            let update_ratio = Some(update_ratio);
            w.take(&WeightRow { name: "w".into(), gradient_norm: Some(g), update_ratio, zero_in_a_row });
        }
        w
    }

    #[test]
    fn dead_exploding_and_fast_weights_are_told_apart() {
        assert_eq!(weight(&[0.0, 0.0], 0.0).health(), Health::Fine, "too early to judge");
        assert_eq!(weight(&[0.0; 4], 0.0).health(), Health::Dead);
        assert_eq!(weight(&[0.0, 0.0, 1e-9, 0.0], 0.0).health(), Health::Fine, "it moved once");
        assert_eq!(weight(&[1.0, 1.2, 0.9, 130.0], 1e-3).health(), Health::Exploding);
        assert_eq!(weight(&[1.0, 1.2, 0.9, 30.0], 1e-3).health(), Health::Fine);
        assert_eq!(weight(&[f64::INFINITY], 0.0).health(), Health::Exploding);
        assert_eq!(weight(&[1.0; 5], 0.3).health(), Health::Fine, "a bias that starts at zero");
        assert_eq!(weight(&[1.0; 9], 0.3).health(), Health::Fast);
        assert_eq!(Weight::default().health(), Health::Fine);
    }

    #[test]
    fn measurements_are_found_by_the_constants_name() {
        let mut watch = Watch::default();
        for step in 0..40u32 {
            let row =
                WeightRow { name: "w".into(), gradient_norm: Some(0.0), update_ratio: None, zero_in_a_row: step + 1 };
            watch.take(u64::from(step), &[row]);
        }
        assert_eq!(watch.step, Some(39));
        assert_eq!(watch.of("w:0").unwrap().norms.len(), KEPT);
        assert_eq!(watch.n_ill(), 1);
        assert!(watch.of("v").is_none());
    }
}
