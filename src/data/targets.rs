//! What the labels of a data set mean, and how they become feeds: class indices, marks of several labels, or numbers.

use crate::tensor::{DType, Tensor};

use super::feed::FeedSpec;
use super::labels::{LabelVocabulary, UNKNOWN};
use super::source::DataError;
use super::table::Table;

/// How labels are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// One of several classes.
    #[default]
    Classes,
    /// Any number of labels at once: several columns of 0 and 1, or one column with labels separated by `|`.
    Marks,
    /// Numbers: one column or several.
    Values,
    /// The words that were hidden in a text ([`super::masking`]).
    Words,
}

/// Separates the labels of one row where a row may have several.
pub const SEPARATOR: char = '|';

/// The labels of all rows of a data set.
#[derive(Clone, Debug, Default)]
pub enum Targets {
    #[default]
    None,
    Classes {
        /// Class of every row.
        of: Vec<u32>,
        n: usize,
    },
    /// `[rows, n]` of classes, one for each position; `None` where none counts.
    Positions { of: Vec<Option<u32>>, n: usize },
    /// `[rows, n]` of 0 and 1.
    Marks { of: Vec<u8>, n: usize },
    /// `[rows, n]`.
    Values { of: Vec<f32>, n: usize },
}

impl Targets {
    /// Labels of a table. Errors name the line: a label that the vocabulary has not (unless `skip` leaves such rows out), a
    /// text that is no number.
    pub fn of_table(
        table: &Table,
        columns: &[String],
        target: Target,
        labels: Option<&LabelVocabulary>,
        skip: bool,
    ) -> Result<Self, DataError> {
        let indices = columns.iter().map(|c| table.column(c)).collect::<Result<Vec<_>, _>>()?;
        match (target, indices.as_slice(), labels) {
            (_, [], _) | (Target::Words, ..) => Ok(Self::None),
            (Target::Classes, [column], Some(labels)) => {
                Ok(Self::Classes { of: labels.indices(table, *column, skip)?, n: labels.len() })
            }
            (Target::Classes, [_], None) => Ok(Self::None),
            (Target::Classes, ..) => {
                Err(DataError::Other("classes come from one label column, several are named".to_owned()))
            }
            (Target::Marks, [column], Some(labels)) => {
                let mut of = Vec::with_capacity(table.len() * labels.len());
                table.for_each(*column, |row, text| {
                    let start = of.len();
                    of.resize(start + labels.len(), 0);
                    for part in text.split(SEPARATOR).map(str::trim).filter(|p| !p.is_empty()) {
                        let i = labels.index(part).ok_or_else(|| table.row_error(row, labels.unknown(part)))?;
                        of[start + i] = 1;
                    }
                    Ok(())
                })?;
                Ok(Self::Marks { of, n: labels.len() })
            }
            (Target::Marks, [_], None) => Ok(Self::None),
            (Target::Marks, many, _) => {
                let of = numbers(table, many, columns)?.into_iter().map(|v| u8::from(v > 0.5)).collect();
                Ok(Self::Marks { of, n: many.len() })
            }
            (Target::Values, many, _) => Ok(Self::Values { of: numbers(table, many, columns)?, n: many.len() }),
        }
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether a row has a label that is known.
    pub fn is_usable(&self, row: usize) -> bool {
        match self {
            Self::Classes { of, .. } => of.get(row).is_some_and(|&c| c != UNKNOWN),
            _ => true,
        }
    }

    /// Classes of all rows, where there are classes: what a stratified split keeps in proportion.
    pub fn classes(&self) -> Option<&[u32]> {
        match self {
            Self::Classes { of, .. } => Some(of),
            _ => None,
        }
    }

    /// The feed of some rows: class indices `[n]` or `[n, 1]`, or one-hot rows `[n, classes]`, as the placeholder's shape
    /// says; marks and numbers `[n, width]`, or `[n]` where the placeholder has one axis.
    pub fn feed(&self, spec: &FeedSpec, rows: &[usize]) -> Tensor {
        let n = rows.len();
        let flat = spec.shape.rank() == Some(1);
        let wide = |width: usize| if flat && width == 1 { vec![n] } else { vec![n, width] };
        match self {
            Self::None => Tensor::zeros(spec.dtype, &[n]),
            Self::Classes { of, n: classes } => {
                class_feed(spec, &rows.iter().map(|&r| of[r]).collect::<Vec<_>>(), *classes)
            }
            Self::Positions { of, n: width } => {
                let values = rows.iter().flat_map(|&r| &of[r * width..(r + 1) * width]);
                Tensor::from_f64s(spec.dtype, &[n, *width], values.map(|c| c.map_or(spec.ignored as f64, f64::from)))
            }
            Self::Marks { of, n: width } => {
                let values = rows.iter().flat_map(|&r| &of[r * width..(r + 1) * width]).map(|&v| f64::from(v));
                Tensor::from_f64s(spec.dtype, &wide(*width), values)
            }
            Self::Values { of, n: width } => {
                let values = rows.iter().flat_map(|&r| &of[r * width..(r + 1) * width]).map(|&v| f64::from(v));
                Tensor::from_f64s(spec.dtype, &wide(*width), values)
            }
        }
    }

    /// What metrics compare with.
    pub fn of_rows(&self, rows: &[usize]) -> Option<Tensor> {
        match self {
            Self::None => None,
            Self::Classes { of, .. } => {
                let values: Vec<i64> = rows.iter().map(|&r| i64::from(of[r])).collect();
                Some(Tensor::from_slice(&[values.len()], &values))
            }
            Self::Positions { .. } => Some(self.feed(&FeedSpec::plain(DType::I64, 2), rows)),
            Self::Marks { n, .. } | Self::Values { n, .. } => {
                let spec = FeedSpec::plain(DType::F64, 2);
                Some(self.feed(&spec, rows).reshaped(&[rows.len(), *n]))
            }
        }
    }
}

/// Class indices as a placeholder wants them.
fn class_feed(spec: &FeedSpec, classes: &[u32], n_classes: usize) -> Tensor {
    let n = classes.len();
    match (spec.shape.rank(), spec.shape.dim(1)) {
        (Some(2), Some(1)) => Tensor::from_f64s(spec.dtype, &[n, 1], classes.iter().map(|&c| f64::from(c))),
        (Some(2), width) => {
            let width = width.unwrap_or(n_classes).max(1);
            let hot = classes.iter().flat_map(|&hit| (0..width).map(move |c| f64::from(u8::from(c == hit as usize))));
            Tensor::from_f64s(spec.dtype, &[n, width], hot)
        }
        _ => Tensor::from_f64s(spec.dtype, &[n], classes.iter().map(|&c| f64::from(c))),
    }
}

/// Columns of numbers, row by row.
fn numbers(table: &Table, columns: &[usize], names: &[String]) -> Result<Vec<f32>, DataError> {
    let width = columns.len();
    let mut out = vec![0.0; table.len() * width];
    for (k, &column) in columns.iter().enumerate() {
        table.for_each(column, |row, text| {
            let text = text.trim();
            let value: f32 = text
                .parse()
                .map_err(|_| table.row_error(row, format!("'{text}' in column '{}' is not a number", names[k])))?;
            if !value.is_finite() {
                return Err(table.row_error(row, format!("'{text}' in column '{}' is not finite", names[k])));
            }
            out[row * width + k] = value;
            Ok(())
        })?;
    }
    Ok(out)
}
