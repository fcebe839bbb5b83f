//! Special functions of one real number: Bessel functions, Dawson's integral, exponential and Fresnel integrals, Spence's
//! function. Methods: power and asymptotic series (Abramowitz & Stegun, "A&S"), and the trapezoidal rule on integrals over
//! the whole line, which converges exponentially (Trefethen & Weideman 2014).

use std::f64::consts::PI;

const EULER: f64 = 0.577_215_664_901_532_9;

/// e^-|x| I_n(x) for n = 0 or 1: A&S 9.6.10 and 9.7.1.
fn scaled_i(n: i32, x: f64) -> f64 {
    let a = x.abs();
    let sign = if n == 1 && x < 0.0 { -1.0 } else { 1.0 };
    if a.is_nan() {
        return a;
    }
    if a <= 30.0 {
        let (q, nf) = (a * a / 4.0, f64::from(n));
        let mut term = if n == 1 { a / 2.0 } else { 1.0 };
        let (mut sum, mut k) = (term, 0.0);
        while term > sum * 1e-17 {
            k += 1.0;
            term *= q / (k * (k + nf));
            sum += term;
        }
        return sign * sum * (-a).exp();
    }
    let mu = 4.0 * f64::from(n * n);
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..60 {
        let odd = f64::from(2 * k - 1);
        let next = -term * (mu - odd * odd) / (f64::from(8 * k) * a);
        if next.abs() >= term.abs() || next == 0.0 {
            break;
        }
        term = next;
        sum += term;
    }
    sign * sum / (2.0 * PI * a).sqrt()
}

pub fn i0e(x: f64) -> f64 {
    scaled_i(0, x)
}

pub fn i1e(x: f64) -> f64 {
    scaled_i(1, x)
}

pub fn i0(x: f64) -> f64 {
    scaled_i(0, x) * x.abs().exp()
}

pub fn i1(x: f64) -> f64 {
    scaled_i(1, x) * x.abs().exp()
}

/// e^x K_n(x) = ∫_0^∞ e^(-x (cosh t - 1)) cosh(nt) dt, A&S 9.6.24.
fn scaled_k(n: i32, x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::INFINITY;
    }
    if x.is_infinite() {
        return 0.0;
    }
    // The integrand is as wide as 1/√x where x is large.
    let step = 0.125f64.min(0.35 / x.sqrt());
    let at = |t: f64| {
        let half = (t / 2.0).sinh();
        (-2.0 * x * half * half).exp() * (f64::from(n) * t).cosh()
    };
    let (mut sum, mut t) = (0.5, step);
    loop {
        let term = at(t);
        sum += term;
        t += step;
        // Beyond its maximum the integrand only falls.
        if term < sum * 1e-18 && x * t.sinh() > f64::from(n) || t > 800.0 {
            return sum * step;
        }
    }
}

pub fn k0e(x: f64) -> f64 {
    scaled_k(0, x)
}

pub fn k1e(x: f64) -> f64 {
    scaled_k(1, x)
}

pub fn k0(x: f64) -> f64 {
    scaled_k(0, x) * (-x).exp()
}

pub fn k1(x: f64) -> f64 {
    scaled_k(1, x) * (-x).exp()
}

/// e^(-x²) ∫_0^x e^(t²) dt: A&S 7.1.17-like series near 0, else Rybicki's sum over odd n (1989).
pub fn dawson(x: f64) -> f64 {
    if x.abs() < 0.2 {
        let (mut term, mut sum, mut k) = (x, x, 0.0);
        while term.abs() > sum.abs() * 1e-17 {
            k += 1.0;
            term *= -2.0 * x * x / (2.0 * k + 1.0);
            sum += term;
        }
        return sum;
    }
    if x.abs() > 1e4 || x.is_nan() {
        let s = 0.5 / (x * x);
        return (1.0 + s * (1.0 + 3.0 * s)) / (2.0 * x);
    }
    let h = 0.2;
    let middle = 2.0 * (x / (2.0 * h)).round() + 1.0;
    let term = |k: i32| {
        let n = middle + 2.0 * f64::from(k);
        let d = x - n * h;
        (-d * d).exp() / n
    };
    (-20..=20).map(term).sum::<f64>() / PI.sqrt()
}

/// Ei(x): A&S 5.1.10, its asymptotic series, and for x < 0 the continued fraction of E1 (5.1.22).
pub fn expint(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x < -1.0 {
        let z = -x;
        let mut tail = 0.0;
        for k in (1..=(20.0 + 400.0 / z) as u32).rev() {
            let k = f64::from(k);
            tail = k / (1.0 + k / (z + tail));
        }
        return -(-z).exp() / (z + tail);
    }
    if x > 40.0 {
        let (mut term, mut sum, mut k) = (1.0, 1.0, 0.0);
        loop {
            k += 1.0;
            let next = term * k / x;
            if next >= term || next < sum * 1e-17 {
                return x.exp() / x * sum;
            }
            term = next;
            sum += term;
        }
    }
    let (mut power, mut sum, mut k) = (1.0, 0.0f64, 0.0);
    loop {
        k += 1.0;
        power *= x / k;
        let term: f64 = power / k;
        sum += term;
        if term.abs() <= sum.abs() * 1e-17 || k > 500.0 {
            return EULER + x.abs().ln() + sum;
        }
    }
}

/// -∫_1^x ln t / (t - 1) dt for x ≥ 0: the series of the dilogarithm after A&S 27.7.3 to 27.7.5.
pub fn spence(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return PI * PI / 6.0;
    }
    if x > 1.5 {
        let l = x.ln();
        return -0.5 * l * l - spence(1.0 / x);
    }
    if x < 0.5 {
        return PI * PI / 6.0 - x.ln() * (-x).ln_1p() - spence(1.0 - x);
    }
    let w = 1.0 - x;
    let (mut power, mut sum) = (1.0, 0.0);
    for k in 1..60 {
        power *= w;
        sum += power / f64::from(k * k);
    }
    sum
}

/// Sine and cosine integral of πt²/2 from 0 to x: A&S 7.3.11 and 7.3.13 for small x, else the auxiliary functions (DLMF
/// 7.5.3, 7.5.4) by their integrals 7.7.10, 7.7.11.
fn fresnel(x: f64) -> (f64, f64) {
    let a = x.abs();
    if a.is_nan() {
        return (a, a);
    }
    if a < 1.0 {
        let t = PI / 2.0 * a * a;
        let (mut sin, mut cos, mut power) = (0.0, 0.0, 1.0);
        for k in 0..30 {
            // power = t^k / k!
            let sign = if k % 4 < 2 { 1.0 } else { -1.0 };
            let term = sign * power / f64::from(2 * k + 1);
            if k % 2 == 0 {
                cos += term
            } else {
                sin += term
            }
            power *= t / f64::from(k + 1);
        }
        return (sin * x, cos * x);
    }
    let half = PI / 2.0 * a * a;
    let step = 0.1f64.min(0.35 / a);
    let (mut f, mut g, mut u) = (0.5, 0.0, 0.0);
    loop {
        u += step;
        let e = (-half * u * u).exp();
        let d = e / (1.0 + u.powi(4));
        f += d;
        g += u * u * d;
        if e < 1e-18 {
            break;
        }
    }
    let scale = 2.0f64.sqrt() / PI * step;
    let (f, g) = (f * scale, g * scale);
    let (sin, cos) = half.sin_cos();
    let (s, c) = (0.5 - f * cos - g * sin, 0.5 + f * sin - g * cos);
    (s.copysign(x), c.copysign(x))
}

pub fn fresnel_sin(x: f64) -> f64 {
    fresnel(x).0
}

pub fn fresnel_cos(x: f64) -> f64 {
    fresnel(x).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of A&S tables 9.8, 9.4, 7.5, 5.1, 27.7, 7.7.
    #[test]
    fn tabulated_values() {
        let near = |got: f64, want: f64| assert!((got - want).abs() < 2e-9 * want.abs().max(1.0), "{got} {want}");
        near(i0e(1.0), 0.465_759_607_6);
        near(i1e(-1.0), -0.207_910_415_4);
        near(i0e(40.0), 0.063_278_279_9);
        near(k0(1.0), 0.421_024_438_2);
        near(k1(1.0), 0.601_907_230_2);
        near(k0(0.1), 2.427_069_024_7);
        near(dawson(1.0), 0.538_079_506_9);
        near(dawson(-0.1), -0.099_335_992_4);
        near(expint(1.0), 1.895_117_816_4);
        near(expint(-1.5), -0.100_019_582_4);
        near(spence(0.5), 0.582_240_526_5);
        near(spence(2.0), -PI * PI / 12.0);
        near(fresnel_sin(1.0), 0.438_259_147_4);
        near(fresnel_cos(2.0), 0.488_253_406_1);
        near(fresnel_cos(-0.5), -0.492_344_225_9);
    }

    /// Series and integrals meet.
    #[test]
    fn no_step_where_the_method_changes() {
        let pairs: [(fn(f64) -> f64, f64); 6] =
            [(i0e, 30.0), (i1e, 30.0), (dawson, 0.2), (expint, 40.0), (fresnel_sin, 1.0), (fresnel_cos, 1.0)];
        for (f, at) in pairs {
            let (below, above) = (f(at * (1.0 - 1e-13)), f(at * (1.0 + 1e-13)));
            assert!((below - above).abs() < 1e-10 * above.abs(), "{below} {above}");
        }
    }
}
