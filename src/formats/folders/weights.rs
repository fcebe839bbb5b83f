//! The named arrays of a folder, and how the framework that wrote them names the parts of a layer.

use indexmap::IndexMap;

use crate::tensor::{DType, Payload};

/// How names of weights are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// PyTorch: `a.b.weight`, products with the transposed matrix.
    Torch,
    /// TensorFlow: `a/b/kernel`, products with the matrix itself.
    TensorFlow,
}

/// Arrays by name, with their style.
#[derive(Debug)]
pub struct Weights {
    arrays: IndexMap<String, Payload>,
    style: Style,
    /// In front of the encoder's names: `bert.`, `generator/`, or nothing.
    pub prefix: String,
}

impl Weights {
    pub fn new(arrays: IndexMap<String, Payload>, style: Style) -> Self {
        Self { arrays, style, prefix: String::new() }
    }

    pub fn style(&self) -> Style {
        self.style
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    pub fn any_starts_with(&self, start: &str) -> bool {
        self.arrays.keys().any(|k| k.starts_with(start))
    }

    /// A path written with dots, in this style: `layer.0` is `layer_0` in TensorFlow's names.
    pub fn path(&self, dotted: &str) -> String {
        match self.style {
            Style::Torch => dotted.to_owned(),
            Style::TensorFlow => {
                let mut out = String::with_capacity(dotted.len());
                for part in dotted.split('.') {
                    let is_index = !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
                    if !out.is_empty() {
                        out.push(if is_index { '_' } else { '/' });
                    }
                    out.push_str(part);
                }
                out
            }
        }
    }

    /// `path` of the encoder, with the folder's prefix.
    pub fn inner(&self, dotted: &str) -> String {
        self.path(&format!("{}{dotted}", self.prefix))
    }

    pub fn get(&self, name: &str) -> Option<&Payload> {
        self.arrays.get(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.arrays.contains_key(name)
    }

    /// The name of a linear layer's matrix.
    pub fn kernel(&self, path: &str) -> String {
        match self.style {
            Style::Torch => format!("{path}.weight"),
            Style::TensorFlow => format!("{path}/kernel"),
        }
    }

    pub fn bias(&self, path: &str) -> String {
        match self.style {
            Style::Torch => format!("{path}.bias"),
            Style::TensorFlow => format!("{path}/bias"),
        }
    }

    /// The name of an embedding table.
    pub fn table(&self, path: &str) -> String {
        match self.style {
            Style::Torch => format!("{path}.weight"),
            Style::TensorFlow => path.to_owned(),
        }
    }

    /// Names of scale and shift of a normalisation. Old PyTorch files say gamma and beta as TensorFlow does.
    pub fn norm(&self, path: &str) -> (String, String) {
        match self.style {
            Style::Torch if self.has(&format!("{path}.gamma")) => (format!("{path}.gamma"), format!("{path}.beta")),
            Style::Torch => (format!("{path}.weight"), format!("{path}.bias")),
            Style::TensorFlow => (format!("{path}/gamma"), format!("{path}/beta")),
        }
    }

    /// The array of a name, which must have numbers of a kind that computes, and `shape` where that is known.
    pub fn find(&self, name: &str, shape: &[Option<usize>]) -> Result<&Payload, String> {
        let payload = self.get(name).ok_or_else(|| format!("there is no {name} among its weights"))?;
        let fits = payload.shape.len() == shape.len()
            && payload.shape.iter().zip(shape).all(|(have, want)| want.is_none_or(|w| w == *have));
        if !fits {
            let want: Vec<String> = shape.iter().map(|d| d.map_or("?".to_owned(), |d| d.to_string())).collect();
            return Err(format!(
                "{name} has shape {:?}, its configuration asks for [{}]",
                &payload.shape[..],
                want.join(", ")
            ));
        }
        if !matches!(payload.dtype, DType::F32 | DType::F16 | DType::BF16 | DType::F64) {
            return Err(format!("{name} holds {}, which this architecture does not use", payload.dtype));
        }
        Ok(payload)
    }
}
