//! Spellings of TensorFlow ops: spectrograms and the coefficients that speech recognisers read.

use std::f64::consts::PI;

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::linalg::Fourier;
use crate::ops::make;
use crate::program::{Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::rows;

pub const RULES: &[Spelling] = rows! {
    "AudioSpectrogram" => spectrogram;
    "Mfcc" => coefficients;
};

/// Windows and lengths above this are hostile.
const LONGEST: i64 = 1 << 20;
/// Elements that a table made here may have.
const LARGEST_TABLE: usize = 1 << 24;

/// Input `[samples, channels]`, output `[channels, frames, bins]`: sizes (or their squares) of the transforms of frames
/// under a periodic Hann window, each filled up to a power of two (tensorflow/core/kernels/spectrogram.cc).
fn spectrogram(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let (window, stride) = (r.int_or("window_size", 0), r.int_or("stride", 0));
    if !(2..=LONGEST).contains(&window) || !(1..=LONGEST).contains(&stride) {
        return Err(Misfit(format!("a window of {window} every {stride} samples")));
    }
    let dims = r.fact(0)?.dims().filter(|d| d.len() == 2);
    let samples =
        dims.ok_or_else(|| Misfit::new("the shape of the sound, [samples, channels], must be known"))?[0] as i64;
    let frames = if samples < window { 0 } else { 1 + (samples - window) / stride };
    let length = (window as u64).next_power_of_two() as i64;
    if (frames * window) as usize > LARGEST_TABLE {
        return Err(Misfit(format!("{frames} frames of {window} samples are too many")));
    }
    let x = r.input(0)?;
    let x = make::transpose(r.b, x, &[1, 0])?;
    let at: Vec<i64> = (0..frames).flat_map(|f| (0..window).map(move |i| f * stride + i)).collect();
    let at = r.b.literal(Tensor::from_slice(&[frames as usize, window as usize], &at));
    let cut = make::gather(r.b, x, at, 1)?;
    let dtype = r.b.fact(cut).dtype;
    let hann = (0..window).map(|i| 0.5 - 0.5 * (2.0 * PI * i as f64 / window as f64).cos());
    let hann = r.b.literal(Tensor::from_f64s(dtype, &[window as usize], hann));
    let cut = make::mul(r.b, cut, hann)?;
    let filled = make::pad(r.b, cut, &[(0, 0), (0, 0), (0, length - window)])?;
    let re = make::expand_dims(r.b, filled, -1)?;
    let im = make::zeros_like(r.b, re)?;
    let pairs = make::concat(r.b, &[re, im], -1)?;
    let y = r.b.op(Fourier { inverse: false, axis: 0 }, &[pairs])?;
    let y = make::slice(r.b, y, &[0; 4], &[-1, -1, length / 2 + 1, -1])?;
    let y = make::square(r.b, y)?;
    let y = make::reduce_sum(r.b, y, &[-1], false)?;
    Ok(smallvec![if r.bool_or("magnitude_squared", false) { y } else { make::sqrt(r.b, y)? }])
}

fn mel(hertz: f64) -> f64 {
    1127.0 * (hertz / 700.0).ln_1p()
}

/// Shares `[bins, channels]` of each frequency bin in the channels of a mel filter bank, which are triangles between
/// equally spaced centres (tensorflow/core/kernels/mfcc_mel_filterbank.cc).
fn filter_bank(bins: usize, rate: f64, channels: usize, low: f64, high: f64) -> Vec<f64> {
    let (mel_low, spacing) = (mel(low), (mel(high) - mel(low)) / (channels as f64 + 1.0));
    let centre = |c: usize| mel_low + spacing * (c as f64 + 1.0);
    let width = 0.5 * rate / (bins as f64 - 1.0);
    let (first, last) = ((1.5 + low / width) as usize, (high / width) as usize);
    let mut out = vec![0.0; bins * channels];
    let mut above = 0;
    for bin in first..=last.min(bins - 1) {
        let at = mel(bin as f64 * width);
        while above < channels && centre(above) < at {
            above += 1;
        }
        // Between the centres of channels `above - 1` and `above`.
        let (left, right) = (if above == 0 { mel_low } else { centre(above - 1) }, centre(above));
        let share = (right - at) / (right - left);
        if above > 0 {
            out[bin * channels + above - 1] = share;
        }
        if above < channels {
            out[bin * channels + above] = 1.0 - share;
        }
    }
    out
}

/// Inputs: squared spectrogram `[channels, frames, bins]`, sample rate. Mel filter bank on sizes, logarithm, cosine
/// transform (tensorflow/core/kernels/mfcc.cc, mfcc_dct.cc).
fn coefficients(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let bins = r.fact(0)?.shape.dim(2).ok_or_else(|| Misfit::new("the number of frequency bins must be known"))?;
    let rate = r.fact(1)?.scalar().ok_or_else(|| Misfit::new("the sample rate must be known"))?;
    let (low, high) = (r.float_or("lower_frequency_limit", 20.0), r.float_or("upper_frequency_limit", 4000.0));
    let (channels, kept) = (r.int_or("filterbank_channel_count", 40), r.int_or("dct_coefficient_count", 13));
    let sound = bins >= 2 && (1..=4096).contains(&channels) && (1..=channels).contains(&kept);
    if !sound || bins > 1 << 20 || rate <= 0.0 || !(low >= 0.0 && high > low) || f64::from(high) > rate / 2.0 {
        let asked = format!("{kept} coefficients of {channels} channels from {low} to {high} Hz");
        return Err(Misfit(format!("{asked} do not fit {bins} bins at a rate of {rate}")));
    }
    let (channels, kept) = (channels as usize, kept as usize);
    let x = r.input(0)?;
    let dtype = r.b.fact(x).dtype;
    let shares = filter_bank(bins, rate, channels, f64::from(low), f64::from(high));
    let shares = r.b.literal(Tensor::from_f64s(dtype, &[bins, channels], shares));
    let root = make::sqrt(r.b, x)?;
    let bank = make::matmul(r.b, root, shares)?;
    let floor = make::scalar(r.b, dtype, 1e-12);
    let bank = make::maximum(r.b, bank, floor)?;
    let logs = make::log(r.b, bank)?;
    let norm = (2.0 / channels as f64).sqrt();
    let cosine = |i: usize| norm * ((i % kept) as f64 * PI / channels as f64 * ((i / kept) as f64 + 0.5)).cos();
    let cosines = r.b.literal(Tensor::from_f64s(dtype, &[channels, kept], (0..channels * kept).map(cosine)));
    let y: Value = make::matmul(r.b, logs, cosines)?;
    Ok(smallvec![make::cast(r.b, y, DType::F32)?])
}
