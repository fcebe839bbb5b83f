//! Spellings of ONNX ops: Fourier transforms as products with matrices, windows, mel filters.

use std::f64::consts::PI;

use crate::lower::{Rule, Spelling};
use crate::ops::make;
use crate::program::{Builder, Misfit, Value};
use crate::tensor::{DType, Tensor};

use super::arrays::{pick, stack};
use super::common::{Spelled, axis_in, ints_input, known, one, rank, rows, type_of};

pub const RULES: &[Spelling] = rows! {
    "DFT" => dft;
    "STFT" => stft;
    "HannWindow" => |r| window(r, &[0.5, -0.5]);
    "HammingWindow" => |r| window(r, &[25.0 / 46.0, -21.0 / 46.0]);
    "BlackmanWindow" => |r| window(r, &[0.42, -0.5, 0.08]);
    "MelWeightMatrix" => mel_weights;
};

/// Larger transforms would need a fast algorithm.
const MAX_LENGTH: usize = 1 << 12;

fn one_int(r: &Rule<'_, '_>, i: usize) -> Result<Option<i64>, Misfit> {
    Ok(ints_input(r, i)?.and_then(|v| v.first().copied()))
}

/// `Σ c_k cos(2π k n / N)`, N the size (periodic) or one less.
fn window(r: &mut Rule<'_, '_>, coefficients: &[f64]) -> Spelled {
    let size = one_int(r, 0)?.and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= 1 << 24);
    let size = size.ok_or_else(|| Misfit::new("the size of the window must be known"))?;
    let dtype = type_of(r, "output_datatype")?.unwrap_or(DType::F32);
    let n = if r.int_or("periodic", 1) != 0 { size } else { size.saturating_sub(1) } as f64;
    let value = |i: usize| -> f64 {
        let angle = if n == 0.0 { 0.0 } else { 2.0 * PI * i as f64 / n };
        coefficients.iter().enumerate().map(|(k, c)| c * (k as f64 * angle).cos()).sum()
    };
    one(r.b.literal(Tensor::from_f64s(dtype, &[size], (0..size).map(value))))
}

/// `[input, output]` matrices of cosines and sines: `e^(-2πi j k / n)`.
fn waves(b: &mut Builder, dtype: DType, input: usize, output: usize, n: usize) -> (Value, Value) {
    let wave = |f: fn(f64) -> f64| {
        let value = move |i: usize| {
            let (j, k) = (i / output.max(1), i % output.max(1));
            // Whole turns are taken out in integers, which keeps the angles exact.
            f(2.0 * PI * ((j * k) % n.max(1)) as f64 / n.max(1) as f64)
        };
        Tensor::from_f64s(dtype, &[input, output], (0..input * output).map(value))
    };
    (b.literal(wave(f64::cos)), b.literal(wave(f64::sin)))
}

/// Real and imaginary part of a transform along the last axis. `im` is left out for real signals.
fn transformed(
    b: &mut Builder,
    (re, im): (Value, Option<Value>),
    n: usize,
    output: usize,
    inverse: bool,
) -> Result<(Value, Value), Misfit> {
    let dtype = b.fact(re).dtype;
    let axis = rank(b, re)? - 1;
    let have = b.fact(re).shape.dim(axis).ok_or_else(|| Misfit::new("the length of the signal must be known"))?;
    if n == 0 || n > MAX_LENGTH {
        return Err(Misfit(format!("a transform of {n} elements")));
    }
    // Longer signals are cut off; shorter ones are as if zeros followed.
    let used = have.min(n);
    let cut = |b: &mut Builder, v: Value| {
        let mut size = vec![-1; axis + 1];
        size[axis] = used as i64;
        if used == have { Ok(v) } else { make::slice(b, v, &vec![0; axis + 1], &size) }
    };
    let (cos, sin) = waves(b, dtype, used, output, n);
    let sin = if inverse { make::neg(b, sin)? } else { sin };
    let re = cut(b, re)?;
    let (mut y_re, mut y_im) = (make::matmul(b, re, cos)?, make::matmul(b, re, sin)?);
    y_im = make::neg(b, y_im)?;
    if let Some(im) = im {
        let im = cut(b, im)?;
        let (c, s) = (make::matmul(b, im, cos)?, make::matmul(b, im, sin)?);
        y_re = make::add(b, y_re, s)?;
        y_im = make::add(b, y_im, c)?;
    }
    if inverse {
        (y_re, y_im) = (make::mul_scalar(b, y_re, 1.0 / n as f64)?, make::mul_scalar(b, y_im, 1.0 / n as f64)?);
    }
    Ok((y_re, y_im))
}

/// Inputs: signal `[…, 1 or 2]`, length, axis (opset 20; before an attribute).
fn dft(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let count = rank(r.b, x)?;
    let axis = match r.opset {
        20.. => one_int(r, 2)?.unwrap_or(-2),
        _ => r.int_or("axis", 1),
    };
    let axis = axis_in(axis, count)?;
    let parts = r.b.fact(x).shape.dim(count - 1).ok_or_else(|| Misfit::new("the last axis must be known"))?;
    if count < 2 || axis == count - 1 {
        return Err(Misfit(format!("axis {axis} of a signal of {count} axes")));
    }
    let (inverse, onesided) = (r.int_or("inverse", 0) != 0, r.int_or("onesided", 0) != 0);
    let have = r.b.fact(x).shape.dim(axis).ok_or_else(|| Misfit::new("the length of the signal must be known"))?;
    let wanted = one_int(r, 1)?.and_then(|n| usize::try_from(n).ok());
    // The axis of the transform goes last, the parts are taken apart.
    let (mut re, mut im) = (pick(r.b, x, count - 1, 0)?, None);
    if parts > 1 {
        im = Some(pick(r.b, x, count - 1, 1)?);
    }
    let mut perm: Vec<i64> = (0..count as i64 - 1).collect();
    perm.swap(axis, count - 2);
    let swap = |b: &mut Builder, v: Value| if axis == count - 2 { Ok(v) } else { make::transpose(b, v, &perm) };
    re = swap(r.b, re)?;
    im = im.map(|v| swap(r.b, v)).transpose()?;
    let y = if inverse && onesided {
        let n = wanted.unwrap_or(2 * have.saturating_sub(1));
        let y = from_half(r.b, re, im, n)?;
        let y = swap(r.b, y)?;
        make::expand_dims(r.b, y, -1)?
    } else {
        let n = wanted.unwrap_or(have);
        let output = if onesided { n / 2 + 1 } else { n };
        let (a, c) = transformed(r.b, (re, im), n, output, inverse)?;
        let (a, c) = (swap(r.b, a)?, swap(r.b, c)?);
        stack(r.b, &[a, c], -1)?
    };
    one(y)
}

/// The real signal of `n` elements whose spectrum begins with the given half: each inner frequency counts twice.
fn from_half(b: &mut Builder, re: Value, im: Option<Value>, n: usize) -> Result<Value, Misfit> {
    let dtype = b.fact(re).dtype;
    let axis = rank(b, re)? - 1;
    let have = b.fact(re).shape.dim(axis).ok_or_else(|| Misfit::new("the length of the signal must be known"))?;
    if n == 0 || n > MAX_LENGTH {
        return Err(Misfit(format!("a transform of {n} elements")));
    }
    let used = have.min(n / 2 + 1);
    let cut = |b: &mut Builder, v: Value| {
        let mut size = vec![-1; axis + 1];
        size[axis] = used as i64;
        make::slice(b, v, &vec![0; axis + 1], &size)
    };
    let (cos, sin) = waves(b, dtype, used, n, n);
    let weights = (0..used).map(|k| if k == 0 || 2 * k == n { 1.0 / n as f64 } else { 2.0 / n as f64 });
    let weights = b.literal(Tensor::from_f64s(dtype, &[used, 1], weights));
    let re = cut(b, re)?;
    let cos = make::mul(b, cos, weights)?;
    let mut y = make::matmul(b, re, cos)?;
    if let Some(im) = im {
        let im = cut(b, im)?;
        let sin = make::mul(b, sin, weights)?;
        let less = make::matmul(b, im, sin)?;
        y = make::sub(b, y, less)?;
    }
    Ok(y)
}

/// Inputs: signal `[batch, length, 1 or 2]`, step, window, length of a frame; output `[batch, frames, frequencies, 2]`.
fn stft(r: &mut Rule<'_, '_>) -> Spelled {
    let x = r.input(0)?;
    let dims = r.b.fact(x).dims().ok_or_else(|| Misfit::new("the shape must be known"))?;
    let [_, length, parts] = dims[..] else { return Err(Misfit::new("three axes were expected")) };
    let step = one_int(r, 1)?.and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
    let step = step.ok_or_else(|| Misfit::new("the step must be known"))?;
    let window = if r.has_input(2) { Some(r.input(2)?) } else { None };
    let of_window = window.and_then(|w| r.b.fact(w).shape.dim(0));
    let frame = one_int(r, 3)?.and_then(|n| usize::try_from(n).ok()).or(of_window).unwrap_or(length);
    if frame == 0 || frame > length {
        return Err(Misfit(format!("frames of {frame} in a signal of {length}")));
    }
    let n_frames = 1 + (length - frame) / step;
    let positions: Vec<i64> = (0..n_frames * frame).map(|i| (i / frame * step + i % frame) as i64).collect();
    let positions = r.b.literal(Tensor::from_slice(&[n_frames, frame], &positions));
    let mut part = |i: i64| -> Result<Value, Misfit> {
        let signal = pick(r.b, x, 2, i)?;
        let frames = make::gather(r.b, signal, positions, 1)?;
        match window {
            Some(w) => make::mul(r.b, frames, w),
            None => Ok(frames),
        }
    };
    let re = part(0)?;
    let im = if parts > 1 { Some(part(1)?) } else { None };
    let output = if r.int_or("onesided", 1) != 0 { frame / 2 + 1 } else { frame };
    let (a, c) = transformed(r.b, (re, im), frame, output, false)?;
    one(stack(r.b, &[a, c], -1)?)
}

/// Triangular filters evenly spaced on the mel scale.
fn mel_weights(r: &mut Rule<'_, '_>) -> Spelled {
    let number = |i: usize| -> Result<f64, Misfit> {
        let v = r.input(i)?;
        let t = known(r.b, v).or_else(|| r.b.fact(v).value.clone());
        let first = t.and_then(|t| t.to_f64s()?.first().copied());
        first.ok_or_else(|| Misfit(format!("input {i} must be constant")))
    };
    let (bins, length, rate, low, high) = (number(0)?, number(1)?, number(2)?, number(3)?, number(4)?);
    let dtype = type_of(r, "output_datatype")?.unwrap_or(DType::F32);
    let (bins, spectrum) = (bins.max(0.0) as usize, (length / 2.0).floor() as usize + 1);
    if bins.saturating_mul(spectrum) > 1 << 26 || rate <= 0.0 {
        return Err(Misfit(format!("{bins} filters over {spectrum} frequencies")));
    }
    let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
    let step = (mel(high) - mel(low)) / (bins + 2) as f64;
    let edge = |i: usize| {
        let hertz = 700.0 * (10f64.powf((mel(low) + i as f64 * step) / 2595.0) - 1.0);
        ((length + 1.0) * hertz / rate).floor().max(0.0) as usize
    };
    let mut out = vec![0.0; spectrum * bins];
    for i in 0..bins {
        let (left, centre, right) = (edge(i), edge(i + 1), edge(i + 2));
        let mut set = |j: usize, v: f64| {
            if let Some(cell) = out.get_mut(j * bins + i) {
                *cell = v;
            }
        };
        if centre == left {
            set(centre, 1.0);
        } else {
            (left..=centre).for_each(|j| set(j, (j - left) as f64 / (centre - left) as f64));
        }
        (centre..right).for_each(|j| set(j, (right - j) as f64 / (right - centre) as f64));
    }
    one(r.b.literal(Tensor::from_f64s(dtype, &[spectrum, bins], out)))
}
