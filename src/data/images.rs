//! Image folders: one sub-folder per class, PNG or JPEG files in them, decoded when a batch asks for them.

use std::fmt;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::imageops::FilterType;
use image::{DynamicImage, ImageReader, Limits};
use rayon::prelude::*;

use crate::base::files;
use crate::tensor::Tensor;

use super::feed::{Feature, FeedSpec};
use super::labels::LabelVocabulary;
use super::order::{BatchOptions, Order, fill_up, no_batch};
use super::source::{Batch, BatchSource, DataError};
use super::targets::Targets;

/// A picture may not unfold to more than this, whatever its header says.
const MAX_PICTURE_BYTES: u64 = 1 << 29;
/// Longest side of a picture.
const MAX_SIDE: u32 = 1 << 15;

/// Pictures with their classes.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    path: PathBuf,
    files: Vec<PathBuf>,
    classes: Vec<u32>,
    labels: LabelVocabulary,
}

/// What pixels become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PixelScale {
    /// 0 to 1.
    #[default]
    Unit,
    /// −1 to 1 (MobileNet, Inception).
    Signed,
    /// 0 to 255, as they are.
    Bytes,
    /// 0 to 1, then less the mean and over the deviation of ImageNet's channels (torchvision).
    ImageNet,
}

impl PixelScale {
    pub const NAMES: &[&str] = &["unit", "signed", "bytes", "imagenet"];

    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "unit" => Some(Self::Unit),
            "signed" => Some(Self::Signed),
            "bytes" => Some(Self::Bytes),
            "imagenet" => Some(Self::ImageNet),
            _ => None,
        }
    }

    /// Factor and shift of a channel (red, green, blue, else).
    pub fn of_channel(self, channel: usize) -> (f64, f64) {
        // Mean and deviation as in torchvision's documentation.
        const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
        const DEVIATION: [f64; 3] = [0.229, 0.224, 0.225];
        match self {
            Self::Unit => (1.0 / 255.0, 0.0),
            Self::Signed => (2.0 / 255.0, -1.0),
            Self::Bytes => (1.0, 0.0),
            Self::ImageNet => match (MEAN.get(channel), DEVIATION.get(channel)) {
                (Some(m), Some(d)) => (1.0 / 255.0 / d, -m / d),
                _ => (1.0 / 255.0, 0.0),
            },
        }
    }
}

/// How pictures become arrays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageOptions {
    pub scale: PixelScale,
    /// Blue comes first.
    pub bgr: bool,
    /// Cut to the placeholder's proportions around the middle instead of stretching.
    pub crop: bool,
}

/// Whether a folder has a sub-folder with pictures; reads names alone.
pub fn is_folder_of_classes(path: &Path) -> bool {
    let list = |p: &Path| files::list(p).unwrap_or_default();
    list(path).iter().filter(|p| files::is_dir(p)).any(|p| list(p).iter().any(|f| is_picture(f)))
}

impl ImageFolder {
    /// Classes are the sub-folders in sorted order. Errors: no sub-folders, a class without a picture.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let wrong = |what: String| DataError::File { path: path.to_owned(), what };
        let list = |p: &Path| files::list(p).map_err(|source| DataError::Io { path: p.to_owned(), source });
        let hidden = |p: &Path| p.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'));
        let folders: Vec<PathBuf> = list(path)?.into_iter().filter(|p| files::is_dir(p) && !hidden(p)).collect();
        if folders.is_empty() {
            return Err(wrong(
                "no sub-folders (an image folder has one per class, with PNG or JPEG files in it)".to_owned(),
            ));
        }
        let (mut names, mut counts, mut all, mut classes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (class, folder) in folders.iter().enumerate() {
            let pictures: Vec<PathBuf> = list(folder)?.into_iter().filter(|p| is_picture(p) && !hidden(p)).collect();
            let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if pictures.is_empty() {
                return Err(wrong(format!("the class '{name}' has no PNG or JPEG files; fill or remove the folder")));
            }
            names.push(name);
            counts.push(pictures.len());
            classes.extend(std::iter::repeat_n(class as u32, pictures.len()));
            all.extend(pictures);
        }
        let labels = LabelVocabulary::with_counts(names, counts);
        Ok(Self { path: path.to_owned(), files: all, classes, labels })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub fn labels(&self) -> &LabelVocabulary {
        &self.labels
    }

    pub fn file(&self, index: usize) -> Option<&Path> {
        self.files.get(index).map(PathBuf::as_path)
    }

    /// Classes by another vocabulary's numbers. Errors: a folder that it does not know.
    pub fn targets(&self, labels: &LabelVocabulary) -> Result<Targets, DataError> {
        let number = |name: &String| {
            labels
                .index(name)
                .map(|i| i as u32)
                .ok_or_else(|| DataError::File { path: self.path.join(name), what: labels.unknown(name) })
        };
        let map = self.labels.names().iter().map(number).collect::<Result<Vec<_>, _>>()?;
        Ok(Targets::Classes { of: self.classes.iter().map(|&c| map[c as usize]).collect(), n: labels.len() })
    }
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    ["png", "jpg", "jpeg"].contains(&extension.as_str())
}

/// Reads and decodes one picture. Errors name the file: not a picture, damaged, or too large.
fn decode(path: &Path) -> Result<DynamicImage, DataError> {
    let bytes = files::read(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let wrong =
        |e: image::ImageError| DataError::File { path: path.to_owned(), what: format!("not a readable picture: {e}") };
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(io)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_PICTURE_BYTES);
    reader.limits(limits);
    reader.decode().map_err(wrong)
}

/// Size and layout that a placeholder wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    height: usize,
    width: usize,
    channels: usize,
    channels_first: bool,
}

impl Layout {
    /// From `[batch, height, width, channels]` or `[batch, channels, height, width]`: channels are 1, 3 or 4.
    fn of(spec: &FeedSpec) -> Result<Self, DataError> {
        let is_channels = |n: Option<usize>| matches!(n, Some(1 | 3 | 4));
        let found = match spec.shape.partial() {
            Some([_, Some(h), Some(w), c]) if is_channels(*c) || (c.is_none() && !is_channels(Some(*h))) => {
                Some(Self { height: *h, width: *w, channels: c.unwrap_or(3), channels_first: false })
            }
            Some([_, c, Some(h), Some(w)]) if is_channels(*c) || c.is_none() => {
                Some(Self { height: *h, width: *w, channels: c.unwrap_or(3), channels_first: true })
            }
            Some([_, Some(h), Some(w)]) => Some(Self { height: *h, width: *w, channels: 1, channels_first: false }),
            _ => None,
        };
        found.filter(|l| l.height.saturating_mul(l.width).saturating_mul(l.channels) <= 1 << 28).ok_or_else(|| {
            DataError::Other(format!(
                "'{}' has the shape {}, which says no size for pictures; pin it with --shape {}=BATCHxHEIGHTxWIDTHx3 (or \
                 BATCHx3xHEIGHTxWIDTH)",
                spec.name, spec.shape, spec.name
            ))
        })
    }

    /// The picture's pixels in this layout.
    fn pixels(&self, picture: &DynamicImage, options: ImageOptions) -> Vec<f64> {
        let (w, h) = (self.width as u32, self.height as u32);
        let exact = picture.width() == w && picture.height() == h;
        let sized = match (exact, options.crop) {
            (true, _) => picture.clone(),
            (false, true) => picture.resize_to_fill(w, h, FilterType::Triangle),
            (false, false) => picture.resize_exact(w, h, FilterType::Triangle),
        };
        let bytes = match self.channels {
            1 => sized.into_luma8().into_raw(),
            4 => sized.into_rgba8().into_raw(),
            _ => sized.into_rgb8().into_raw(),
        };
        let c = self.channels;
        let source = |channel: usize| if options.bgr && c >= 3 && channel < 3 { 2 - channel } else { channel };
        let value = |pixel: usize, channel: usize| {
            let from = source(channel);
            let (factor, shift) = options.scale.of_channel(from);
            f64::from(bytes[pixel * c + from]) * factor + shift
        };
        let n = self.height * self.width;
        if self.channels_first {
            (0..c).flat_map(|k| (0..n).map(move |p| (p, k))).map(|(p, k)| value(p, k)).collect()
        } else {
            (0..n).flat_map(|p| (0..c).map(move |k| (p, k))).map(|(p, k)| value(p, k)).collect()
        }
    }
}

/// Batches of an [`ImageFolder`].
pub struct ImageBatches {
    folder: Arc<ImageFolder>,
    targets: Arc<Targets>,
    feeds: Vec<(FeedSpec, Option<Layout>)>,
    images: ImageOptions,
    order: Order,
    options: BatchOptions,
}

impl fmt::Debug for ImageBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pictures, {:?}", self.order.len(), self.options)
    }
}

impl ImageBatches {
    /// Errors: a placeholder whose shape says no picture size, or that pictures cannot fill.
    pub fn new(
        folder: Arc<ImageFolder>,
        targets: Arc<Targets>,
        rows: Vec<usize>,
        feeds: Vec<FeedSpec>,
        images: ImageOptions,
        options: BatchOptions,
    ) -> Result<Self, DataError> {
        let layout = |spec: &FeedSpec| match &spec.feature {
            Feature::Image => Layout::of(spec).map(Some),
            Feature::Label if !targets.is_none() => Ok(None),
            other => Err(DataError::Other(format!(
                "'{}' wants {}, the data is an image folder; map it with --map {}=image or =label",
                spec.name,
                other.name(),
                spec.name
            ))),
        };
        let feeds = feeds.into_iter().map(|f| Ok((f.clone(), layout(&f)?))).collect::<Result<Vec<_>, DataError>>()?;
        let options = BatchOptions { batch: options.batch.max(1), ..options };
        Ok(Self { order: Order::new(rows, &options), folder, targets, feeds, images, options })
    }

    fn pictures(&self, rows: &[usize]) -> Result<Vec<DynamicImage>, DataError> {
        let one = |&row: &usize| match self.folder.file(row) {
            Some(path) => decode(path),
            None => Err(DataError::Other(format!("there is no picture {row}"))),
        };
        rows.par_iter().map(one).collect()
    }
}

impl BatchSource for ImageBatches {
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
        let pictures = self.pictures(&rows)?;
        let feed = |(spec, layout): &(FeedSpec, Option<Layout>)| {
            let tensor = match layout {
                Some(layout) => {
                    let values: Vec<Vec<f64>> = pictures.par_iter().map(|p| layout.pixels(p, self.images)).collect();
                    let Layout { height, width, channels, .. } = *layout;
                    let dims = match (spec.shape.rank(), layout.channels_first) {
                        (Some(3), _) => vec![rows.len(), height, width],
                        (_, true) => vec![rows.len(), channels, height, width],
                        (_, false) => vec![rows.len(), height, width, channels],
                    };
                    Tensor::from_f64s(spec.dtype, &dims, values.into_iter().flatten())
                }
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
