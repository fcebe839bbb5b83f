//! Examples from arrays: `.npz` members (or one `.npy`, or an IDX file with its labels) that share their first axis.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::tensor::io::{self, Arrays};
use crate::tensor::{DType, Tensor, shape};

use super::feed::{Feature, FeedSpec};
use super::idx;
use super::labels::LabelVocabulary;
use super::order::{BatchOptions, Order, fill_up, no_batch};
use super::source::{Batch, BatchSource, DataError};
use super::targets::{Target, Targets};

/// What arrays of pixels become; 8-bit numbers only, others stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scaling {
    /// `value * factor + shift`.
    pub factor: f64,
    pub shift: f64,
}

impl Scaling {
    pub const NONE: Self = Self { factor: 1.0, shift: 0.0 };
}

/// Arrays with one example each along the first axis.
#[derive(Clone, Debug)]
pub struct ExampleArrays {
    arrays: Arrays,
    /// Name of the array of labels.
    label: Option<String>,
    n: usize,
}

/// Names that arrays of labels usually have.
const LABEL_NAMES: &[&str] = &["label", "labels", "y", "target", "targets", "class", "classes", "y_train", "y_test"];

impl ExampleArrays {
    /// `label` names an array of the file, or another file beside it that holds the labels.
    pub fn open(path: &Path, label: Option<&str>) -> Result<Self, DataError> {
        if idx::is_idx(path) {
            let mut arrays = Arrays::from_iter([("image".to_owned(), idx::read(path)?)]);
            let beside = label.map(|l| path.with_file_name(l)).or_else(|| idx::labels_beside(path));
            if let Some(labels) = beside {
                arrays.insert("label".to_owned(), idx::read(&labels)?);
            }
            return Self::new(arrays, None).map_err(|e| at(path, e));
        }
        let read = |p: &Path| io::read(p).map_err(|source| DataError::Arrays { path: p.to_owned(), source });
        let mut arrays = read(path)?;
        let mut label = label.map(str::to_owned);
        if let Some(name) = &label
            && io::find_key(&arrays, name).is_none()
        {
            let other = path.with_file_name(name);
            if !crate::base::files::exists(&other) {
                let names: Vec<&str> = arrays.keys().map(String::as_str).collect();
                return Err(at(
                    path,
                    DataError::Other(format!(
                        "there is no array '{name}' (the arrays are {}), nor a file of that name beside it",
                        names.join(", ")
                    )),
                ));
            }
            let (_, values) =
                read(&other)?.into_iter().next().ok_or_else(|| at(&other, DataError::Other("no arrays".to_owned())))?;
            arrays.insert("label".to_owned(), values);
            label = Some("label".to_owned());
        }
        Self::new(arrays, label.as_deref()).map_err(|e| at(path, e))
    }

    /// Errors: arrays of different lengths, or of text.
    pub fn new(arrays: Arrays, label: Option<&str>) -> Result<Self, DataError> {
        let mut n = None;
        for (name, t) in &arrays {
            let length = t.shape().first().copied().filter(|n| *n > 0).ok_or_else(|| {
                DataError::Other(format!("the array '{name}' has no examples (its first axis must be the example)"))
            })?;
            if t.dtype() == DType::String {
                return Err(DataError::Other(format!("the array '{name}' holds text, which cannot be fed")));
            }
            if *n.get_or_insert(length) != length {
                return Err(DataError::Other(format!(
                    "the array '{name}' has {length} examples, others have {}; all must have the same number",
                    n.unwrap_or(0)
                )));
            }
        }
        let bare = |k: &str| k.rsplit('/').next().unwrap_or(k).trim_end_matches(":0").to_lowercase();
        let label = match label {
            Some(l) => io::find_key(&arrays, l).map(str::to_owned),
            None => arrays.keys().find(|k| LABEL_NAMES.contains(&bare(k).as_str())).cloned(),
        };
        Ok(Self { n: n.ok_or_else(|| DataError::Other("no arrays".to_owned()))?, arrays, label })
    }

    pub fn len(&self) -> usize {
        self.n
    }

    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Names with the shape of one example, in the order of the file.
    pub fn arrays(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.arrays.iter().map(|(k, t)| (k.as_str(), t))
    }

    /// Name of the array of labels, where there is one.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// The name under which an array lies, `:0` or not.
    pub fn find(&self, name: &str) -> Option<&str> {
        io::find_key(&self.arrays, name)
    }

    /// Classes named by their number, where labels are class indices; counted.
    pub fn labels(&self, target: Target) -> Option<LabelVocabulary> {
        match self.targets(target).ok()? {
            Targets::Classes { of, n } => {
                let mut counts = vec![0; n];
                of.iter().for_each(|&c| counts[c as usize] += 1);
                Some(LabelVocabulary::with_counts((0..n).map(|i| i.to_string()).collect(), counts))
            }
            Targets::Positions { of, .. } => {
                let n = of.iter().flatten().max().map_or(0, |m| *m as usize + 1);
                let mut counts = vec![0; n];
                of.iter().flatten().for_each(|&c| counts[c as usize] += 1);
                Some(LabelVocabulary::with_counts((0..n).map(|i| i.to_string()).collect(), counts))
            }
            Targets::Marks { n, .. } => Some(LabelVocabulary::from_names((0..n).map(|i| i.to_string()).collect())),
            _ => None,
        }
    }

    /// The labels of all examples: whole numbers are classes as they stand, rows of 0 and 1 with a single 1 are classes
    /// too, and so are whole numbers at each position; otherwise what `target` says.
    pub fn targets(&self, target: Target) -> Result<Targets, DataError> {
        let Some(t) = self.label.as_ref().and_then(|l| self.arrays.get(l)) else { return Ok(Targets::None) };
        let name = self.label.as_deref().unwrap_or_default();
        let width = t.len() / self.n;
        let wrong = |what: &str| DataError::Other(format!("the labels '{name}' are {what}"));
        let values = t.to_f64s().ok_or_else(|| wrong("not numbers"))?;
        match target {
            Target::Words => Ok(Targets::None),
            Target::Values => Ok(Targets::Values { of: values.iter().map(|&v| v as f32).collect(), n: width }),
            Target::Marks => Ok(Targets::Marks { of: values.iter().map(|&v| u8::from(v > 0.5)).collect(), n: width }),
            Target::Classes if width == 1 => {
                let is_class = |v: &f64| v.fract() == 0.0 && (0.0..=(1 << 20) as f64).contains(v);
                if let Some(v) = values.iter().find(|v| !is_class(v)) {
                    return Err(wrong(&format!("no class indices: {v} is among them")));
                }
                let of: Vec<u32> = values.iter().map(|&v| v as u32).collect();
                Ok(Targets::Classes { n: of.iter().max().map_or(0, |m| *m as usize + 1), of })
            }
            Target::Classes => {
                let hot = |row: &[f64]| row.iter().position(|&v| v == 1.0).filter(|_| row.iter().sum::<f64>() == 1.0);
                let of: Option<Vec<u32>> = values.chunks_exact(width).map(|r| hot(r).map(|c| c as u32)).collect();
                match of {
                    Some(of) => Ok(Targets::Classes { of, n: width }),
                    None => positions(&values, width).ok_or_else(|| {
                        wrong("neither class indices (one per example, or one per position) nor one-hot rows")
                    }),
                }
            }
        }
    }
}

/// A class index for each position of the examples; negative ones count for nothing.
fn positions(values: &[f64], width: usize) -> Option<Targets> {
    let of_value = |v: &f64| match *v {
        v if v.fract() != 0.0 || v > (1 << 20) as f64 => None,
        v if v < 0.0 => Some(None),
        v => Some(Some(v as u32)),
    };
    Some(Targets::Positions { of: values.iter().map(of_value).collect::<Option<Vec<_>>>()?, n: width })
}

fn at(path: &Path, e: DataError) -> DataError {
    match e {
        DataError::Other(what) => DataError::File { path: path.to_owned(), what },
        other => other,
    }
}

/// Batches of [`ExampleArrays`].
pub struct ExampleBatches {
    data: Arc<ExampleArrays>,
    targets: Arc<Targets>,
    feeds: Vec<(FeedSpec, Option<Part>)>,
    order: Order,
    options: BatchOptions,
}

/// How an array becomes a feed.
struct Part {
    array: String,
    /// Dimensions of one example as the placeholder wants them.
    dims: Vec<usize>,
    scaling: Scaling,
}

impl fmt::Debug for ExampleBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} examples in arrays, {:?}", self.order.len(), self.options)
    }
}

impl ExampleBatches {
    /// Errors: a feed that no array fills, or whose shape no array has.
    pub fn new(
        data: Arc<ExampleArrays>,
        targets: Arc<Targets>,
        rows: Vec<usize>,
        feeds: Vec<FeedSpec>,
        scaling: Scaling,
        options: BatchOptions,
    ) -> Result<Self, DataError> {
        let part = |spec: &FeedSpec| match &spec.feature {
            Feature::Column(name) => part(&data, spec, name, scaling).map(Some),
            Feature::Label if targets.is_none() => Err(DataError::Other(format!(
                "'{}' is filled with labels, but the data has none (--label NAME names the array or file)",
                spec.name
            ))),
            Feature::Label => Ok(None),
            other => Err(DataError::Other(format!("'{}' wants {}, the data are arrays", spec.name, other.name()))),
        };
        let feeds = feeds.into_iter().map(|f| Ok((f.clone(), part(&f)?))).collect::<Result<Vec<_>, DataError>>()?;
        let options = BatchOptions { batch: options.batch.max(1), ..options };
        Ok(Self { order: Order::new(rows, &options), data, targets, feeds, options })
    }
}

/// The array's examples in the placeholder's shape: as they are, or with the same elements in another shape.
fn part(data: &ExampleArrays, spec: &FeedSpec, name: &str, scaling: Scaling) -> Result<Part, DataError> {
    let (key, array) = data.find(name).and_then(|k| Some((k, data.arrays.get(k)?))).ok_or_else(|| {
        let names: Vec<&str> = data.arrays.keys().map(String::as_str).collect();
        DataError::Other(format!("'{}': there is no array '{name}' (the arrays are {})", spec.name, names.join(", ")))
    })?;
    let own = &array.shape()[1..];
    let inner = spec.shape.partial().and_then(|d| d.get(1..));
    let fits = |dims: &[usize]| {
        inner.is_none_or(|i| i.len() == dims.len() && i.iter().zip(dims).all(|(a, b)| a.is_none_or(|a| a == *b)))
    };
    let n = shape::element_count(own).unwrap_or(0);
    let dims = if fits(own) {
        own.to_vec()
    } else {
        // One dimension may be unknown: it takes what is left.
        let inner = inner.unwrap_or_default();
        let known: usize = inner.iter().flatten().product();
        let filled: Vec<usize> = inner.iter().map(|d| d.unwrap_or(n / known.max(1))).collect();
        if inner.iter().filter(|d| d.is_none()).count() > 1 || shape::element_count(&filled) != Some(n) {
            return Err(DataError::Other(format!(
                "'{}' wants examples of shape {}, the array '{key}' has examples of shape {own:?}",
                spec.name, spec.shape
            )));
        }
        filled
    };
    let scaled = array.dtype() == DType::U8 && spec.dtype.is_float();
    Ok(Part { array: key.to_owned(), dims, scaling: if scaled { scaling } else { Scaling::NONE } })
}

impl BatchSource for ExampleBatches {
    fn n_batches(&mut self, _epoch: usize) -> Result<usize, DataError> {
        Ok(self.order.n_batches())
    }

    fn batch(&mut self, epoch: usize, index: usize) -> Result<Batch, DataError> {
        if self.order.stale(epoch) {
            self.order.make(epoch, &[]);
        }
        let mut rows = self.order.batch(index).ok_or_else(|| no_batch(epoch, index))?;
        let n_examples = rows.len();
        fill_up(&mut rows, &self.options);
        let feed = |(spec, part): &(FeedSpec, Option<Part>)| {
            let tensor = match part.as_ref().and_then(|p| Some((p, self.data.arrays.get(&p.array)?))) {
                Some((part, array)) => gather(array, &rows, part, spec.dtype),
                None => self.targets.feed(spec, &rows),
            };
            (spec.name.clone(), tensor)
        };
        let feeds = self.feeds.iter().map(feed).collect();
        Ok(Batch { feeds, n_examples, labels: self.targets.of_rows(&rows), rows })
    }

    fn n_examples(&self) -> Option<usize> {
        Some(self.order.len())
    }
}

/// Some rows of an array in another shape and element type.
fn gather(array: &Tensor, rows: &[usize], part: &Part, dtype: DType) -> Tensor {
    let mut dims = vec![rows.len()];
    dims.extend(&part.dims);
    let width = array.bytes().len() / array.shape()[0].max(1);
    let mut out = Tensor::zeros(array.dtype(), &dims);
    for (to, &row) in out.bytes_mut().chunks_exact_mut(width.max(1)).zip(rows) {
        to.copy_from_slice(&array.bytes()[row * width..(row + 1) * width]);
    }
    if array.dtype() == dtype && part.scaling == Scaling::NONE {
        return out;
    }
    let Scaling { factor, shift } = part.scaling;
    Tensor::from_f64s(dtype, &dims, out.to_f64s().unwrap_or_default().into_iter().map(|v| v * factor + shift))
}
