//! Filters that resample along one axis by a scale and a translation, widened where that shrinks (antialiasing). The
//! weights and borders are those of TensorFlow's `ScaleAndTranslate` and `jax.image.scale_and_translate`.

use std::f32::consts::PI;

/// The shape of a filter over the distance from its middle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// A sinc windowed by a wider one, up to this radius (1, 3, 5).
    Lanczos(f32),
    Gaussian,
    Box,
    Triangle,
    /// Keys' cubic with a = -0.5.
    KeysCubic,
    MitchellCubic,
}

/// A filter and where it is placed: output element `o` looks at `(o + ½ - translation) / scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filter {
    pub shape: Shape,
    pub scale: f32,
    pub translation: f32,
    /// Widen the filter where the result is smaller.
    pub antialias: bool,
}

impl Shape {
    fn radius(self) -> f32 {
        match self {
            Self::Lanczos(radius) => radius,
            Self::Gaussian => 1.5,
            Self::Box => 0.5,
            Self::Triangle => 1.0,
            Self::KeysCubic | Self::MitchellCubic => 2.0,
        }
    }

    /// The weight at distance `x`, which is not negative.
    fn at(self, x: f32) -> f32 {
        match self {
            Self::Lanczos(radius) if x > radius => 0.0,
            Self::Lanczos(_) if x <= 1e-3 => 1.0,
            Self::Lanczos(radius) => radius * (PI * x).sin() * (PI * x / radius).sin() / (PI * PI * x * x),
            Self::Gaussian if x >= 1.5 => 0.0,
            // The standard deviation is a third of the radius.
            Self::Gaussian => (-x * x / 0.5).exp(),
            Self::Box if x < 0.5 => 1.0,
            Self::Box if x == 0.5 => 0.5,
            Self::Box => 0.0,
            Self::Triangle => (1.0 - x).max(0.0),
            Self::KeysCubic | Self::MitchellCubic if x >= 2.0 => 0.0,
            Self::KeysCubic if x >= 1.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::KeysCubic => (1.5 * x - 2.5) * x * x + 1.0,
            Self::MitchellCubic if x >= 1.0 => ((-7.0 / 18.0 * x + 2.0) * x - 10.0 / 3.0) * x + 16.0 / 9.0,
            Self::MitchellCubic => (7.0 / 6.0 * x - 2.0) * x * x + 8.0 / 9.0,
        }
    }
}

impl Filter {
    /// `(input element, weight)` of output element `o`; weights add up to 1, or there are none outside the input.
    pub fn weights(&self, o: usize, input: usize) -> Vec<(usize, f32)> {
        let inverse = 1.0 / self.scale;
        let middle = (o as f32 + 0.5) * inverse - inverse * self.translation;
        if !(0.0..=input as f32).contains(&middle) {
            return Vec::new();
        }
        let widen = if self.antialias { inverse.max(1.0) } else { 1.0 };
        let reach = self.shape.radius() * widen;
        let last = input as i64 - 1;
        let bound = |v: f32| (v as i64).clamp(0, last);
        let weight = |i: i64| self.shape.at(((i as f32 + 0.5 - middle) / widen).abs());
        let span = bound((middle - reach - 0.5).ceil())..=bound((middle + reach - 0.5).floor());
        let mut all: Vec<(usize, f32)> = span.map(|i| (i as usize, weight(i))).collect();
        let total: f32 = all.iter().map(|w| w.1).sum();
        if total.abs() >= 1000.0 * f32::MIN_POSITIVE {
            all.iter_mut().for_each(|w| w.1 /= total);
        }
        all
    }

    /// A filter for the examples of the resizing ops.
    pub fn example() -> Self {
        Self { shape: Shape::Triangle, scale: 0.8, translation: 0.3, antialias: true }
    }
}
