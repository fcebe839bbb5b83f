//! TensorFlow's files: frozen graphs. Rules spell its ops into ours.

pub mod rules;
