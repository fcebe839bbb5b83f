//! What parts of a spelled program mean: dropout sites, roles of constants, normalisation, masks.
//!
//! By structure only, never by a name; dialect-free; works where parts could not be spelled.

pub mod dropout;
pub mod layers;
mod masks;
mod normalisation;
mod reading;
pub mod roles;
mod uses;

pub use dropout::{DropoutSite, Predicate, RateSource};
pub use layers::Layers;
pub use roles::{ConstantRole, Role};
