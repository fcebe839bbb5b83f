//! What parts of a spelled program mean: dropout sites, roles of constants, normalisation, masks.
//!
//! By structure only, never by a name; dialect-free; works where parts could not be spelled.

pub mod dropout;

pub use dropout::DropoutSite;
