//! The stages between a file and a plan: differentiation, recognition, specialisation.

mod differentiation;
mod recognition;
mod specialisation;
mod support;
