//! Files that belong to the training data, besides the data themselves.

/// A file beside the training data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFile {
    Validation,
    Tokenizer,
    Labels,
}

impl DataFile {
    pub fn title(self) -> &'static str {
        match self {
            Self::Validation => "Validation file",
            Self::Tokenizer => "Tokenizer",
            Self::Labels => "List of classes",
        }
    }
}
