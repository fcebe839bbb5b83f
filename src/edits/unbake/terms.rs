//! Dimensions as products of the free sizes, and how a reshape spreads them over its target.

/// A size as the file has it, and the prime that stands for it on the walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) now: usize,
    pub(super) prime: usize,
}

/// Primes that no dimension of a real model is a multiple of.
const BATCH_PRIME: usize = 10_007;
const LENGTH_PRIME: usize = 10_009;

/// Stands for a size that the file leaves open.
pub(super) const OPEN_PRIME: usize = 10_037;
/// The smaller one.
pub(super) const LEAST_PRIME: usize = BATCH_PRIME;

/// The sizes that become free.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) batch: Option<Size>,
    pub(super) length: Option<Size>,
}

impl Sizes {
    pub(super) fn new(batch: Option<usize>, length: Option<usize>) -> Self {
        Self {
            batch: batch.map(|now| Size { now, prime: BATCH_PRIME }),
            length: length.map(|now| Size { now, prime: LENGTH_PRIME }),
        }
    }

    /// The product that a dimension of the walk is.
    pub(super) fn term(&self, mut dim: usize) -> Term {
        let mut powers = [0, 0];
        for (power, size) in powers.iter_mut().zip([self.batch, self.length]) {
            if let Some(Size { prime, .. }) = size {
                while dim > 0 && dim.is_multiple_of(prime) {
                    dim /= prime;
                    *power += 1;
                }
            }
        }
        Term { factor: dim, batch: powers[0], length: powers[1] }
    }

    pub(super) fn terms(&self, dims: &[usize]) -> Vec<Term> {
        dims.iter().map(|&d| self.term(d)).collect()
    }

    /// The dimension on the walk.
    pub(super) fn dim(&self, term: Term) -> Option<usize> {
        let power = |size: Option<Size>, n: u32| match size {
            Some(s) => s.prime.checked_pow(n),
            None => (n == 0).then_some(1),
        };
        term.factor.checked_mul(power(self.batch, term.batch)?)?.checked_mul(power(self.length, term.length)?)
    }
}

/// factor · batch^… · length^….
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Term {
    pub(super) factor: usize,
    pub(super) batch: u32,
    pub(super) length: u32,
}

impl Term {
    pub(super) fn fixed(factor: usize) -> Self {
        Self { factor, batch: 0, length: 0 }
    }

    pub(super) fn is_free(&self) -> bool {
        self.batch + self.length > 0
    }

    fn times(self, other: Self) -> Option<Self> {
        let factor = self.factor.checked_mul(other.factor)?;
        Some(Self { factor, batch: self.batch + other.batch, length: self.length + other.length })
    }
}

/// The target of a reshape in terms: `from` are the dimensions in the file, `terms` what they stand for, `to` the target in
/// the file. Both sides are cut into the shortest groups with equal products (elements keep their order, so sizes stay
/// within their group); within a group a size goes where its number stands, else to the first dimension that it divides.
pub(super) fn align(sizes: &Sizes, from: &[usize], terms: &[Term], to: &[usize]) -> Option<Vec<Term>> {
    let mut out = Vec::with_capacity(to.len());
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        let (begin, target) = (i, j);
        let (mut left, mut right) = (1usize, 1usize);
        let take = |at: &mut usize, dims: &[usize], product: &mut usize| -> Option<()> {
            *product = product.checked_mul(*dims.get(*at)?)?;
            *at += 1;
            Some(())
        };
        if i < from.len() {
            take(&mut i, from, &mut left)?;
        }
        if j < to.len() {
            take(&mut j, to, &mut right)?;
        }
        while left != right {
            if left < right { take(&mut i, from, &mut left)? } else { take(&mut j, to, &mut right)? }
        }
        let whole = terms[begin..i].iter().try_fold(Term::fixed(1), |a, t| a.times(*t))?;
        out.extend(spread(sizes, whole, &to[target..j])?);
    }
    Some(out)
}

fn spread(sizes: &Sizes, whole: Term, to: &[usize]) -> Option<Vec<Term>> {
    let mut out: Vec<Term> = to.iter().map(|&d| Term::fixed(d)).collect();
    for (size, power, is_batch) in [(sizes.batch, whole.batch, true), (sizes.length, whole.length, false)] {
        for _ in 0..power {
            let now = size?.now;
            let exact = out.iter().position(|t| t.factor == now && !t.is_free());
            let at = exact.or_else(|| out.iter().position(|t| t.factor.is_multiple_of(now)))?;
            out[at].factor /= now;
            if is_batch {
                out[at].batch += 1;
            } else {
                out[at].length += 1;
            }
        }
    }
    let left = out.iter().try_fold(1usize, |n, t| n.checked_mul(t.factor))?;
    (left == whole.factor).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshapes_carry_sizes_to_where_they_belong() {
        let sizes = Sizes::new(Some(4), Some(32));
        let t = |factor, batch, length| Term { factor, batch, length };
        let go = |from: &[usize], terms: &[Term], to: &[usize]| align(&sizes, from, terms, to);
        let (b, s, bs, h) = (t(1, 1, 0), t(1, 0, 1), t(1, 1, 1), t(128, 0, 0));
        // The hidden size equals batch times length here.
        assert_eq!(go(&[4, 32, 128], &[b, s, h], &[128, 128]), Some(vec![bs, h]));
        assert_eq!(go(&[128, 128], &[bs, h], &[4, 32, 2, 64]), Some(vec![b, s, t(2, 0, 0), t(64, 0, 0)]));
        assert_eq!(go(&[4, 32], &[b, s], &[4, 1, 32]), Some(vec![b, t(1, 0, 0), s]));
        assert_eq!(go(&[4, 32], &[b, s], &[128]), Some(vec![bs]));
        assert_eq!(go(&[4, 32], &[b, s], &[8, 16]), None);
        let one = Sizes::new(Some(1), Some(32));
        assert_eq!(align(&one, &[1, 32, 64], &[b, s, t(64, 0, 0)], &[32, 64]), Some(vec![bs, t(64, 0, 0)]));
        assert_eq!(align(&one, &[32, 64], &[bs, t(64, 0, 0)], &[1, 32, 64]), Some(vec![b, s, t(64, 0, 0)]));
        assert_eq!(sizes.term(10_007 * 10_009 * 12), t(12, 1, 1));
    }
}
