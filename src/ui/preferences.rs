//! What the program remembers between starts, besides the layout.

use std::path::PathBuf;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThemeChoice {
    #[default]
    System,
    Light,
    Dark,
}

/// What the program remembers between starts, besides the layout.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Preferences {
    pub theme: ThemeChoice,
    pub has_motion: bool,
    pub zoom: f32,
    pub recent: Vec<PathBuf>,
    /// Threads of runs and proofs; 0 is all cores.
    pub threads: usize,
    /// The graph runs from left to right instead of from top to bottom.
    pub is_sideways: bool,
    /// Shapes are written on all edges of the graph.
    pub has_edge_shapes: bool,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            theme: ThemeChoice::System,
            has_motion: true,
            zoom: 1.0,
            recent: Vec::new(),
            threads: 0,
            is_sideways: false,
            has_edge_shapes: false,
        }
    }
}
