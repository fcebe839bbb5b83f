//! Ops of the family `random`; one file per op. All draw from a counter-based generator, so that a run gives the same
//! numbers at any thread count and a mask can be drawn again instead of being stored.

pub mod dropout;
pub mod gamma;
pub mod normal;
pub mod philox;
pub mod uniform;

pub use dropout::Dropout;
pub use gamma::{RandomGamma, RandomPoisson, gamma_slope};
pub use normal::RandomNormal;
pub use uniform::{RandomUniform, RandomUniformInt};

use crate::program::op::arity;
use crate::program::{Misfit, OpInfo, View};
use crate::tensor::{DType, Fact, PartialShape};

/// The catalogue entries of this family.
pub const ALL: &[&OpInfo] =
    &[&uniform::INFO, &uniform::INT_INFO, &normal::INFO, &gamma::GAMMA, &gamma::POISSON, &dropout::INFO];

/// Spreads an iteration number over a site number (Stafford's mix 13 of the sum; turn 0 keeps the number).
pub fn site_at(site: u64, turn: u64) -> u64 {
    if turn == 0 {
        return site;
    }
    let mut z = site.wrapping_add(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The site after the turns that stand behind an op's own inputs.
fn site_after(site: u64, turns: &[View<'_>]) -> u64 {
    turns.iter().fold(site, |site, turn| site_at(site, turn.slice::<i64>().first().map_or(0, |t| *t as u64)))
}

/// Checks `n` own inputs and the turns behind them.
fn with_turns(inputs: &[&Fact], n: usize) -> Result<(), Misfit> {
    arity(inputs.get(..n).unwrap_or(inputs), n)?;
    match inputs[n..].iter().find(|t| t.dtype != DType::I64 || t.rank().is_some_and(|r| r != 0)) {
        Some(t) => Err(Misfit(format!("an iteration number must be an int64 scalar, found {}", t.describe()))),
        None => Ok(()),
    }
}

/// The fact of a tensor whose shape is the value of `shape` (a vector of integers).
fn shape_fact(dtype: DType, shape: &Fact) -> Result<Fact, Misfit> {
    if shape.dtype != DType::Unknown && !shape.dtype.is_int() {
        return Err(Misfit(format!("a shape must be integers, found {}", shape.dtype)));
    }
    if shape.rank().is_some_and(|r| r > 1) {
        return Err(Misfit(format!("a shape must be a vector, found shape {}", shape.shape)));
    }
    let Some(ints) = shape.ints() else {
        let known_rank = if shape.rank() == Some(1) { shape.shape.dim(0) } else { None };
        return Ok(Fact::new(dtype, known_rank.map_or_else(PartialShape::unknown, PartialShape::of_rank)));
    };
    let dims: Option<Vec<usize>> = ints.iter().map(|&d| usize::try_from(d).ok()).collect();
    let dims = dims.ok_or_else(|| Misfit(format!("a shape must not be negative, found {ints:?}")))?;
    Ok(Fact::of_dims(dtype, &dims))
}
