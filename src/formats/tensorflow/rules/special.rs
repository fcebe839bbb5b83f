//! Spellings of TensorFlow ops: Bessel functions and functions that are integrals.

use smallvec::smallvec;

use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::UnaryFn as U;
use crate::ops::make;
use crate::program::Misfit;

use super::rows;

pub const RULES: &[Spelling] = rows! {
    "BesselI0" => |r| one(r, U::BesselI0);
    "BesselI0e" => |r| one(r, U::BesselI0e);
    "BesselI1" => |r| one(r, U::BesselI1);
    "BesselI1e" => |r| one(r, U::BesselI1e);
    "BesselJ0" => |r| one(r, U::BesselJ0);
    "BesselJ1" => |r| one(r, U::BesselJ1);
    "BesselY0" => |r| one(r, U::BesselY0);
    "BesselY1" => |r| one(r, U::BesselY1);
    "BesselK0" => |r| one(r, U::BesselK0);
    "BesselK0e" => |r| one(r, U::BesselK0e);
    "BesselK1" => |r| one(r, U::BesselK1);
    "BesselK1e" => |r| one(r, U::BesselK1e);
    "Dawsn" => |r| one(r, U::Dawson);
    "Expint" => |r| one(r, U::Expint);
    "Spence" => |r| one(r, U::Spence);
    "FresnelSin" => |r| one(r, U::FresnelSin);
    "FresnelCos" => |r| one(r, U::FresnelCos);
};

fn one(r: &mut Rule<'_, '_>, f: U) -> Result<Outputs, Misfit> {
    let x = r.input(0)?;
    Ok(smallvec![make::unary(r.b, f, x)?])
}
