//! What fills a placeholder.

use crate::tensor::{DType, PartialShape};

/// What a placeholder is filled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feature {
    InputIds,
    InputMask,
    SegmentIds,
    /// Pictures of an image folder.
    Image,
    Label,
    /// The hidden words ([`super::masking`]) at their places in the text, ignored labels elsewhere: `[examples, length]`.
    MaskedLabels,
    /// Where words are hidden, one after the other and filled up with zeros: `[examples, places]`.
    MaskedPositions,
    /// The hidden words in that order.
    MaskedIds,
    /// 1 for each hidden word, 0 for places that are left.
    MaskedWeights,
    /// A column of numbers, or an array.
    Column(String),
}

impl Feature {
    /// As `--map` writes them; anything else is a column or an array.
    pub fn parse(text: &str) -> Self {
        match text {
            "input_ids" => Self::InputIds,
            "input_mask" => Self::InputMask,
            "segment_ids" => Self::SegmentIds,
            "image" => Self::Image,
            "label" => Self::Label,
            "masked_labels" => Self::MaskedLabels,
            "masked_positions" => Self::MaskedPositions,
            "masked_ids" => Self::MaskedIds,
            "masked_weights" => Self::MaskedWeights,
            column => Self::Column(column.to_owned()),
        }
    }

    /// As [`Feature::parse`] reads it.
    pub fn name(&self) -> &str {
        match self {
            Self::InputIds => "input_ids",
            Self::InputMask => "input_mask",
            Self::SegmentIds => "segment_ids",
            Self::Image => "image",
            Self::Label => "label",
            Self::MaskedLabels => "masked_labels",
            Self::MaskedPositions => "masked_positions",
            Self::MaskedIds => "masked_ids",
            Self::MaskedWeights => "masked_weights",
            Self::Column(c) => c,
        }
    }

    pub fn is_text(&self) -> bool {
        matches!(self, Self::InputIds | Self::InputMask | Self::SegmentIds) || self.is_masked()
    }

    /// Whether it tells of hidden words.
    pub fn is_masked(&self) -> bool {
        matches!(self, Self::MaskedLabels | Self::MaskedPositions | Self::MaskedIds | Self::MaskedWeights)
    }
}

/// One placeholder and what fills it.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedSpec {
    pub name: String,
    pub feature: Feature,
    pub dtype: DType,
    /// As the graph states it; decides whether a label is an index, a column or one-hot, and the size of pictures.
    pub shape: PartialShape,
    /// What the labels of ignored positions become (labelled sequences).
    pub ignored: i64,
}

/// Positions with this label do not count: special tokens, padding, and all but a word's first piece.
pub const IGNORED: i64 = -100;

impl FeedSpec {
    pub fn new(name: impl Into<String>, feature: Feature, dtype: DType, shape: PartialShape) -> Self {
        Self { name: name.into(), feature, dtype, shape, ignored: IGNORED }
    }

    /// Any labels of a rank.
    pub(super) fn plain(dtype: DType, rank: usize) -> Self {
        Self::new("", Feature::Label, dtype, PartialShape::of_rank(rank))
    }

    /// Dimensions of one example behind the leading axis, where all are known.
    pub fn example_dims(&self) -> Option<Vec<usize>> {
        self.shape.partial()?.get(1..)?.iter().copied().collect()
    }
}
