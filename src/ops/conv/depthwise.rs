//! Kernels of depthwise convolution: each input channel has its own `cout / cin` filters, so channels run side by side.
#![allow(unsafe_code)]

use super::kernel::Shape;
use super::window::Geometry;
use crate::dispatch;
use crate::ops::simd::{GRAIN, Real, Shared, parallel};
use crate::program::Kernel;

dispatch! {
    /// `to += a · b`, element by element.
    fn add_products[T: Real](a: &[T], b: &[T], to: &mut [T]) {
        for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
            *to += a * b;
        }
    }
}

/// `(x, w) → y`.
pub fn forward<T: Real>(shape: Shape) -> Kernel {
    Kernel::compute(move |call| {
        let (x, w) = (call.input::<T>(0), call.input::<T>(1));
        let (g, cin, cout) = (&shape.geometry, shape.cin, shape.cout);
        let (per_image, image, times) = (g.output_positions(), g.input_positions() * cin, cout / cin);
        let y = Shared::new(call.outputs[0].ptr::<T>());
        parallel(shape.positions(), g.taps() * cout, |range| {
            for p in range {
                let x = &x[p / per_image * image..][..image];
                // SAFETY: each position belongs to one task and lies within the output.
                let to = unsafe { y.at(p * cout..(p + 1) * cout) };
                to.fill(T::ZERO);
                g.for_taps(p % per_image, |tap, s| {
                    let (x, w) = (&x[s * cin..(s + 1) * cin], &w[tap * cout..(tap + 1) * cout]);
                    if times == 1 {
                        add_products(x, w, to);
                    } else {
                        to.iter_mut().zip(w).enumerate().for_each(|(c, (t, &w))| *t += x[c / times] * w);
                    }
                });
            }
        });
    })
}

/// `(sizes, w, y) → x`.
pub fn input<T: Real>(shape: Shape) -> Kernel {
    Kernel::compute(move |call| {
        let (w, y) = (call.input::<T>(1), call.input::<T>(2));
        let (g, cin, cout) = (&shape.geometry, shape.cin, shape.cout);
        let (per_input, image, times) = (g.input_positions(), g.output_positions() * cout, cout / cin);
        let x = Shared::new(call.outputs[0].ptr::<T>());
        parallel(g.batch * per_input, g.taps() * cout, |range| {
            for p in range {
                let y = &y[p / per_input * image..][..image];
                // SAFETY: each position belongs to one task and lies within the output.
                let to = unsafe { x.at(p * cin..(p + 1) * cin) };
                to.fill(T::ZERO);
                g.for_readers(p % per_input, |tap, o| {
                    let (y, w) = (&y[o * cout..(o + 1) * cout], &w[tap * cout..(tap + 1) * cout]);
                    if times == 1 {
                        add_products(y, w, to);
                    } else {
                        y.iter().zip(w).enumerate().for_each(|(c, (&y, &w))| to[c / times] += y * w);
                    }
                });
            }
        });
    })
}

/// `(x, sizes, y) → w`.
pub fn filter<T: Real>(shape: Shape) -> Kernel {
    Kernel::compute(move |call| {
        let (x, y) = (call.input::<T>(0), call.input::<T>(2));
        let (g, cin, cout) = (&shape.geometry, shape.cin, shape.cout);
        let (per_image, per_input, times) = (g.output_positions(), g.input_positions(), cout / cin);
        let w = Shared::new(call.outputs[0].ptr::<T>());
        parallel(g.taps(), GRAIN, |range| {
            for tap in range {
                let t = Geometry::coordinates(&g.size, tap);
                // SAFETY: each tap belongs to one task and lies within the output.
                let to = unsafe { w.at(tap * cout..(tap + 1) * cout) };
                to.fill(T::ZERO);
                for p in 0..shape.positions() {
                    let (b, o) = (p / per_image, Geometry::coordinates(&g.output, p % per_image));
                    let (Some(s0), Some(s1), Some(s2)) =
                        (g.source(0, o[0], t[0]), g.source(1, o[1], t[1]), g.source(2, o[2], t[2]))
                    else {
                        continue;
                    };
                    let s = (s0 * g.input[1] + s1) * g.input[2] + s2;
                    let (x, y) = (&x[(b * per_input + s) * cin..][..cin], &y[p * cout..(p + 1) * cout]);
                    if times == 1 {
                        add_products(x, y, to);
                    } else {
                        to.iter_mut().zip(y).enumerate().for_each(|(c, (t, &y))| *t += x[c / times] * y);
                    }
                }
            }
        });
    })
}
