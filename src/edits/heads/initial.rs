//! Where new weights start. Random numbers come from a counter-based hash, so that a seed gives the same weights on every
//! machine.

use serde::{Deserialize, Serialize};

use crate::tensor::{DType, Tensor};

/// Distribution of the first weights of a dense layer `[inputs, outputs]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Initializer {
    /// Normal with σ = 0.02, drawn again beyond 2σ, as BERT's.
    #[default]
    TruncatedNormal,
    /// Uniform within ±√(6 / (inputs + outputs)) (Glorot & Bengio 2010).
    Glorot,
    /// Normal with σ = √(2 / inputs) (He et al. 2015).
    He,
    Zeros,
}

impl Initializer {
    pub const ALL: [Self; 4] = [Self::TruncatedNormal, Self::Glorot, Self::He, Self::Zeros];

    pub fn name(self) -> &'static str {
        match self {
            Self::TruncatedNormal => "truncated-normal",
            Self::Glorot => "glorot",
            Self::He => "he",
            Self::Zeros => "zeros",
        }
    }

    /// A matrix `[rows, columns]`, deterministic in `seed` and `salt` (which tells several matrices of one seed apart).
    pub fn matrix(self, dtype: DType, rows: usize, columns: usize, seed: u64, salt: &str) -> Tensor {
        let mut random = Random::new(seed, salt);
        let n = rows * columns;
        let limit = (6.0 / (rows + columns) as f64).sqrt();
        let deviation = (2.0 / rows.max(1) as f64).sqrt();
        let mut draw = || match self {
            Self::TruncatedNormal => 0.02 * random.truncated_normal(),
            Self::Glorot => limit * (2.0 * random.uniform() - 1.0),
            Self::He => deviation * random.normal(),
            Self::Zeros => 0.0,
        };
        Tensor::from_f64s(dtype, &[rows, columns], (0..n).map(|_| draw()))
    }

    /// Numbers between −`limit` and `limit`.
    pub fn uniform(dtype: DType, dims: &[usize], limit: f64, seed: u64, salt: &str) -> Tensor {
        let mut random = Random::new(seed, salt);
        let n = dims.iter().product();
        Tensor::from_f64s(dtype, dims, (0..n).map(|_: usize| limit * (2.0 * random.uniform() - 1.0)))
    }
}

impl std::str::FromStr for Initializer {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|i| i.name() == s)
            .ok_or_else(|| format!("{s:?} is no initializer: use {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// SplitMix64 (Steele, Lea & Flood 2014).
struct Random(u64);

impl Random {
    fn new(seed: u64, salt: &str) -> Self {
        let fold = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        Self(salt.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, fold))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Box and Muller's transform (1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn truncated_normal(&mut self) -> f64 {
        // 95 % of the draws stay; the bound is never met in practice.
        for _ in 0..64 {
            let v = self.normal();
            if v.abs() < 2.0 {
                return v;
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(t: &Tensor) -> (f64, f64, f64) {
        let v = t.to_f64s().unwrap();
        let n = v.len() as f64;
        let mean = v.iter().sum::<f64>() / n;
        let variance = v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt(), v.iter().fold(0.0, |m: f64, x| m.max(x.abs())))
    }

    #[test]
    fn weights_have_the_moments_of_their_distributions() {
        let at = |i: Initializer| moments(&i.matrix(DType::F64, 200, 100, 7, "kernel"));
        // σ of a normal cut at 2σ is 0.8796 of the whole one's.
        let (mean, deviation, most) = at(Initializer::TruncatedNormal);
        assert!(mean.abs() < 5e-4 && (deviation - 0.02 * 0.8796).abs() < 3e-4 && most <= 0.04);
        let (mean, deviation, most) = at(Initializer::Glorot);
        let limit = (6.0f64 / 300.0).sqrt();
        assert!(mean.abs() < 3e-3 && (deviation - limit / 3f64.sqrt()).abs() < 1e-3 && most <= limit);
        let (mean, deviation, _) = at(Initializer::He);
        assert!(mean.abs() < 3e-3 && (deviation - 0.1).abs() < 2e-3);
        assert_eq!(at(Initializer::Zeros), (0.0, 0.0, 0.0));
        let again = |seed, salt| Initializer::He.matrix(DType::F32, 3, 4, seed, salt);
        assert!(again(1, "a") == again(1, "a") && again(1, "a") != again(2, "a") && again(1, "a") != again(1, "b"));
    }
}
