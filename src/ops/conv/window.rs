//! Windows that slide over the spatial axes of channels-last tensors `[batch, spatial.., channels]`: sizes of results,
//! padding, and which input elements a window covers. Shared by convolution and pooling.

use smallvec::SmallVec;

use crate::program::Misfit;
use crate::tensor::{Dims, PartialShape};

/// Spatial axes that kernels handle; fewer are filled up with axes of size 1 in front.
pub const SPATIAL: usize = 3;

/// What surrounds the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Only windows that lie inside.
    Valid,
    /// `ceil(in / stride)` results; where the padding is odd the extra element comes after the input (TensorFlow's `SAME`).
    SameUpper,
    /// As `SameUpper` with the extra element before the input.
    SameLower,
    /// Elements before and after the input on each spatial axis; negative ones cut off.
    Explicit(SmallVec<[(i64, i64); 3]>),
}

/// How a window slides; one entry per spatial axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub strides: Dims,
    pub dilations: Dims,
    pub padding: Padding,
    /// Round the number of results up, so that the last window may end beyond the padded input (it must start inside).
    pub ceil: bool,
}

impl Window {
    pub fn new(strides: &[usize], padding: Padding) -> Self {
        Self { strides: strides.into(), dilations: SmallVec::from_elem(1, strides.len()), padding, ceil: false }
    }

    pub fn rank(&self) -> usize {
        self.strides.len()
    }

    /// Checks the attributes against the number of spatial axes.
    pub fn check(&self, spatial: usize) -> Result<(), Misfit> {
        if spatial == 0 || spatial > SPATIAL {
            return Err(Misfit(format!("windows slide over 1 to {SPATIAL} spatial axes, found {spatial}")));
        }
        let explicit = match &self.padding {
            Padding::Explicit(p) => p.len(),
            _ => spatial,
        };
        if self.strides.len() != spatial || self.dilations.len() != spatial || explicit != spatial {
            return Err(Misfit(format!(
                "strides {:?}, dilations {:?} and padding do not describe {spatial} spatial axes",
                &self.strides[..],
                &self.dilations[..]
            )));
        }
        if self.strides.iter().chain(&self.dilations).any(|&v| v == 0 || v > 1 << 20) {
            return Err(Misfit::new("strides and dilations must be at least 1"));
        }
        Ok(())
    }

    /// Result size and padding before the input along one axis.
    pub fn along(&self, axis: usize, input: usize, size: usize) -> Result<(usize, i64), Misfit> {
        let too_large = || Misfit(format!("a window of {size} on {input} elements is out of range"));
        let (n, stride) = (i64::try_from(input).map_err(|_| too_large())?, self.strides[axis] as i64);
        let size = i64::try_from(size).ok().filter(|s| (1..1 << 40).contains(s)).ok_or_else(too_large)?;
        let reach = (size - 1) * self.dilations[axis] as i64 + 1;
        let (before, after) = match &self.padding {
            Padding::Valid => (0, 0),
            Padding::Explicit(p) => p[axis],
            same => {
                let out = n.div_euclid(stride) + i64::from(n.rem_euclid(stride) != 0);
                let total = ((out - 1) * stride + reach - n).max(0);
                let less = total / 2;
                let before = if *same == Padding::SameUpper { less } else { total - less };
                return Ok((out.max(0) as usize, before));
            }
        };
        let limit = 1 << 40;
        if before.abs() > limit || after.abs() > limit || n > limit {
            return Err(too_large());
        }
        let span = n + before + after - reach;
        if span < 0 {
            return Ok((0, before));
        }
        let mut out = span / stride + 1;
        if self.ceil && span % stride != 0 && out * stride < n + before {
            out += 1;
        }
        Ok((out as usize, before))
    }

    /// The shape `[batch, spatial.., channels]` of the result for inputs of `shape` and windows of `sizes`.
    pub fn result_shape(
        &self,
        shape: &PartialShape,
        sizes: &[Option<usize>],
        channels: Option<usize>,
    ) -> Result<PartialShape, Misfit> {
        self.check(sizes.len())?;
        let Some(dims) = shape.partial() else {
            return Ok(PartialShape::of_rank(sizes.len() + 2));
        };
        if dims.len() != sizes.len() + 2 {
            return Err(Misfit(format!("the input needs {} axes, found {shape}", sizes.len() + 2)));
        }
        let mut out: SmallVec<[Option<usize>; 6]> = SmallVec::new();
        out.push(dims[0]);
        for (axis, &size) in sizes.iter().enumerate() {
            out.push(match (dims[axis + 1], size) {
                (Some(input), Some(size)) => Some(self.along(axis, input, size)?.0),
                _ => None,
            });
        }
        out.push(channels);
        Ok(PartialShape::from_partial(out))
    }
}

/// Concrete geometry over exactly [`SPATIAL`] axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub batch: usize,
    pub input: [usize; SPATIAL],
    pub output: [usize; SPATIAL],
    pub size: [usize; SPATIAL],
    pub strides: [usize; SPATIAL],
    pub dilations: [usize; SPATIAL],
    pub before: [i64; SPATIAL],
}

impl Geometry {
    /// For an input `[batch, spatial.., channels]` and a window of `sizes`.
    pub fn new(window: &Window, input: &[usize], sizes: &[usize]) -> Result<Self, Misfit> {
        window.check(sizes.len())?;
        if input.len() != sizes.len() + 2 {
            return Err(Misfit(format!("the input needs {} axes, found {input:?}", sizes.len() + 2)));
        }
        let skip = SPATIAL - sizes.len();
        let mut g = Self {
            batch: input[0],
            input: [1; SPATIAL],
            output: [1; SPATIAL],
            size: [1; SPATIAL],
            strides: [1; SPATIAL],
            dilations: [1; SPATIAL],
            before: [0; SPATIAL],
        };
        for (axis, &size) in sizes.iter().enumerate() {
            let to = axis + skip;
            let (out, before) = window.along(axis, input[axis + 1], size)?;
            g.input[to] = input[axis + 1];
            g.output[to] = out;
            g.size[to] = size;
            g.strides[to] = window.strides[axis];
            g.dilations[to] = window.dilations[axis];
            g.before[to] = before;
        }
        Ok(g)
    }

    /// Positions of one input image.
    pub fn input_positions(&self) -> usize {
        self.input.iter().product()
    }

    /// Positions of one result image.
    pub fn output_positions(&self) -> usize {
        self.output.iter().product()
    }

    /// Elements of the window.
    pub fn taps(&self) -> usize {
        self.size.iter().product()
    }

    /// A flat index over `sizes` as coordinates.
    #[inline]
    pub fn coordinates(sizes: &[usize; SPATIAL], flat: usize) -> [usize; SPATIAL] {
        [flat / (sizes[1] * sizes[2]), flat / sizes[2] % sizes[1], flat % sizes[2]]
    }

    /// The input coordinate that tap `tap` of the window at `out` reads along `axis`, where it lies inside.
    #[inline]
    pub fn source(&self, axis: usize, out: usize, tap: usize) -> Option<usize> {
        let at = (out * self.strides[axis] + tap * self.dilations[axis]) as i64 - self.before[axis];
        usize::try_from(at).ok().filter(|&at| at < self.input[axis])
    }

    /// The window along `axis` whose tap `tap` reads the input coordinate `at`.
    #[inline]
    pub fn reader(&self, axis: usize, at: usize, tap: usize) -> Option<usize> {
        let from = at as i64 + self.before[axis] - (tap * self.dilations[axis]) as i64;
        let from = usize::try_from(from).ok()?;
        let out = from / self.strides[axis];
        (from % self.strides[axis] == 0 && out < self.output[axis]).then_some(out)
    }

    /// Calls `f(tap, input position)` for every tap of the window at `out` that lies inside, in row-major order of taps.
    #[inline]
    pub fn for_taps(&self, out: usize, mut f: impl FnMut(usize, usize)) {
        let o = Self::coordinates(&self.output, out);
        let mut tap = 0;
        for t0 in 0..self.size[0] {
            let s0 = self.source(0, o[0], t0);
            for t1 in 0..self.size[1] {
                let s1 = self.source(1, o[1], t1);
                for t2 in 0..self.size[2] {
                    if let (Some(s0), Some(s1), Some(s2)) = (s0, s1, self.source(2, o[2], t2)) {
                        f(tap, (s0 * self.input[1] + s1) * self.input[2] + s2);
                    }
                    tap += 1;
                }
            }
        }
    }

    /// Calls `f(tap, result position)` for every window that reads the input position `at`.
    #[inline]
    pub fn for_readers(&self, at: usize, mut f: impl FnMut(usize, usize)) {
        let a = Self::coordinates(&self.input, at);
        let mut tap = 0;
        for t0 in 0..self.size[0] {
            let r0 = self.reader(0, a[0], t0);
            for t1 in 0..self.size[1] {
                let r1 = self.reader(1, a[1], t1);
                for t2 in 0..self.size[2] {
                    if let (Some(r0), Some(r1), Some(r2)) = (r0, r1, self.reader(2, a[2], t2)) {
                        f(tap, (r0 * self.output[1] + r1) * self.output[2] + r2);
                    }
                    tap += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_puts_the_odd_element_after() {
        let w = Window::new(&[2], Padding::SameUpper);
        assert_eq!(w.along(0, 5, 2).unwrap(), (3, 0));
        let w = Window::new(&[2], Padding::SameLower);
        assert_eq!(w.along(0, 5, 2).unwrap(), (3, 1));
        let w = Window::new(&[1], Padding::SameUpper);
        assert_eq!(w.along(0, 5, 4).unwrap(), (5, 1));
    }

    #[test]
    fn ceil_adds_a_window_that_starts_inside() {
        let mut w = Window::new(&[2], Padding::Valid);
        assert_eq!(w.along(0, 6, 3).unwrap().0, 2);
        w.ceil = true;
        assert_eq!(w.along(0, 6, 3).unwrap().0, 3);
        assert_eq!(w.along(0, 5, 3).unwrap().0, 2);
    }
}
