//! Concrete and partly known shapes, and the arithmetic on them.

use smallvec::SmallVec;

/// A concrete shape; rarely more than six dimensions.
pub type Dims = SmallVec<[usize; 6]>;

/// What is known of a shape: nothing, the rank with some dimensions, or all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct PartialShape(Option<SmallVec<[Option<usize>; 6]>>);

impl PartialShape {
    pub fn unknown() -> Self {
        Self(None)
    }

    pub fn scalar() -> Self {
        Self::from_dims(&[])
    }

    pub fn of_rank(rank: usize) -> Self {
        Self(Some(SmallVec::from_elem(None, rank)))
    }

    pub fn from_dims(dims: &[usize]) -> Self {
        Self(Some(dims.iter().map(|&d| Some(d)).collect()))
    }

    pub fn from_partial(dims: impl IntoIterator<Item = Option<usize>>) -> Self {
        Self(Some(dims.into_iter().collect()))
    }

    pub fn rank(&self) -> Option<usize> {
        self.0.as_ref().map(|d| d.len())
    }

    /// The dimensions where the rank is known.
    pub fn partial(&self) -> Option<&[Option<usize>]> {
        self.0.as_deref()
    }

    pub fn dim(&self, axis: usize) -> Option<usize> {
        self.0.as_ref()?.get(axis).copied().flatten()
    }

    /// The whole shape where every dimension is known.
    pub fn known(&self) -> Option<Dims> {
        self.0.as_ref()?.iter().copied().collect()
    }

    pub fn is_known(&self) -> bool {
        self.0.as_ref().is_some_and(|d| d.iter().all(Option::is_some))
    }

    /// Whether a concrete shape fits what is known.
    pub fn admits(&self, dims: &[usize]) -> bool {
        match &self.0 {
            None => true,
            Some(p) => p.len() == dims.len() && p.iter().zip(dims).all(|(p, d)| p.is_none_or(|p| p == *d)),
        }
    }

    /// What both say together; `None` where they contradict each other.
    pub fn merge(&self, other: &Self) -> Option<Self> {
        match (&self.0, &other.0) {
            (None, _) => Some(other.clone()),
            (_, None) => Some(self.clone()),
            (Some(a), Some(b)) if a.len() == b.len() => {
                let mut out = SmallVec::with_capacity(a.len());
                for (a, b) in a.iter().zip(b) {
                    match (a, b) {
                        (Some(x), Some(y)) if x != y => return None,
                        (Some(x), _) => out.push(Some(*x)),
                        (None, y) => out.push(*y),
                    }
                }
                Some(Self(Some(out)))
            }
            _ => None,
        }
    }

    /// What holds for a value that is one of two: equal dimensions stay, others become unknown.
    pub fn join(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                Self(Some(a.iter().zip(b).map(|(a, b)| if a == b { *a } else { None }).collect()))
            }
            _ => Self(None),
        }
    }
}

impl std::fmt::Display for PartialShape {
    /// `[4, ?, 128]`, or `?` where not even the rank is known.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(dims) = &self.0 else { return f.write_str("?") };
        f.write_str("[")?;
        for (i, d) in dims.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            match d {
                Some(d) => write!(f, "{d}")?,
                None => f.write_str("?")?,
            }
        }
        f.write_str("]")
    }
}

/// Product of the dimensions; `None` where it overflows.
pub fn element_count(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

/// Row-major strides in elements.
pub fn strides(dims: &[usize]) -> Dims {
    let mut out: Dims = SmallVec::from_elem(1, dims.len());
    for i in (0..dims.len().saturating_sub(1)).rev() {
        out[i] = out[i + 1] * dims[i + 1];
    }
    out
}

/// The NumPy broadcast of two partly known shapes; `None` where they do not fit.
/// A dimension that is unknown on one side and 1 or unknown on the other stays unknown.
pub fn broadcast(a: &PartialShape, b: &PartialShape) -> Option<PartialShape> {
    let (Some(a), Some(b)) = (a.partial(), b.partial()) else { return Some(PartialShape::unknown()) };
    let rank = a.len().max(b.len());
    let at = |s: &[Option<usize>], i: usize| if i + s.len() < rank { Some(1) } else { s[i + s.len() - rank] };
    let mut out = SmallVec::with_capacity(rank);
    for i in 0..rank {
        out.push(match (at(a, i), at(b, i)) {
            (Some(x), Some(y)) if x == y => Some(x),
            (Some(1), y) => y,
            (x, Some(1)) => x,
            (Some(_), Some(_)) => return None,
            (Some(x), None) | (None, Some(x)) => Some(x),
            (None, None) => None,
        });
    }
    Some(PartialShape(Some(out)))
}

/// As [`broadcast`] for concrete shapes.
pub fn broadcast_dims(a: &[usize], b: &[usize]) -> Option<Dims> {
    broadcast(&PartialShape::from_dims(a), &PartialShape::from_dims(b))?.known()
}

/// A possibly negative axis as an index below `rank`.
pub fn normalize_axis(axis: i64, rank: usize) -> Option<usize> {
    let a = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(a).ok().filter(|&a| a < rank)
}
