//! Layers of transformer encoders as TensorFlow nodes over the folder's weights: dense, normalisation, dropout,
//! activations, attention. Forms are those that TensorFlow's own exports have, so that dropout, roles and fusion are
//! recognised as in any other graph.

use std::collections::BTreeSet;

use crate::graph::{Attr, ValueId};
use crate::tensor::{DType, PartialShape, Tensor};

use super::build::Build;
use super::config::Config;
use super::weights::{Style, Weights};

/// A value, or why it cannot be built.
pub type Made = Result<ValueId, String>;

/// A graph under construction over a folder's weights.
#[derive(Debug)]
pub struct Net<'a> {
    pub b: Build,
    pub w: &'a Weights,
    /// Names of arrays that the graph reads.
    pub used: BTreeSet<String>,
    /// Batch size and length of the fed ids, as int32 scalars.
    pub batch: ValueId,
    pub length: ValueId,
    pub input_ids: ValueId,
}

/// A function between layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    GeluErf,
    GeluTanh,
    Relu,
    Silu,
    Tanh,
}

impl Activation {
    /// The word of a configuration. `gelu` is `plain_gelu`: frameworks differ about it.
    pub fn of(word: &str, plain_gelu: Self) -> Result<Self, String> {
        Ok(match word {
            "gelu" => plain_gelu,
            "gelu_python" => Self::GeluErf,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_accurate" => Self::GeluTanh,
            "relu" => Self::Relu,
            "silu" | "swish" => Self::Silu,
            "tanh" => Self::Tanh,
            other => {
                return Err(format!("the activation {other:?} is not known (gelu, gelu_new, relu, silu and tanh are)"));
            }
        })
    }
}

/// What all layers of an encoder share.
#[derive(Clone, Debug)]
pub struct LayerSpec {
    pub hidden: usize,
    pub heads: usize,
    pub inner: usize,
    pub activation: Activation,
    pub epsilon: f32,
    pub attention_dropout: f64,
    /// After the projection behind attention.
    pub projection_dropout: f64,
    /// After the feed-forward block.
    pub output_dropout: f64,
}

impl LayerSpec {
    /// The usual keys of a configuration.
    pub fn read(c: &Config, plain_gelu: Activation) -> Result<Self, String> {
        let hidden = c.size("hidden_size")?;
        let rate = c.rate("hidden_dropout_prob", 0.1);
        Self {
            hidden,
            heads: c.size("num_attention_heads")?,
            inner: c.size("intermediate_size")?,
            activation: Activation::of(c.text("hidden_act").unwrap_or("gelu"), plain_gelu)?,
            epsilon: c.float("layer_norm_eps", 1e-12) as f32,
            attention_dropout: c.rate("attention_probs_dropout_prob", 0.1),
            projection_dropout: rate,
            output_dropout: rate,
        }
        .checked()
    }

    pub fn checked(self) -> Result<Self, String> {
        if self.hidden.is_multiple_of(self.heads) {
            return Ok(self);
        }
        Err(format!("a hidden size of {} cannot be split into {} attention heads", self.hidden, self.heads))
    }
}

/// Paths of the parts of one layer.
#[derive(Clone, Debug)]
pub struct LayerPaths {
    pub query: String,
    pub key: String,
    pub value: String,
    pub projection: String,
    pub attention_norm: String,
    pub intermediate: String,
    pub output: String,
    pub output_norm: String,
}

/// The nodes' scope of a path of weights.
fn scope(path: &str) -> String {
    path.replace('.', "/")
}

impl<'a> Net<'a> {
    /// Begins with the ids of the tokens, `[batch, length]`.
    pub fn new(w: &'a Weights) -> Self {
        let mut b = Build::default();
        let input_ids = b.placeholder("input_ids", DType::I32, PartialShape::of_rank(2));
        let batch = b.axis_len("batch", input_ids, 0);
        let length = b.axis_len("length", input_ids, 1);
        Self { b, w, used: BTreeSet::new(), batch, length, input_ids }
    }

    /// Another fed matrix of integers with the shape of the ids.
    pub fn feed(&mut self, name: &str) -> ValueId {
        self.b.placeholder(name, DType::I32, PartialShape::of_rank(2))
    }

    /// A weight under its name in the folder.
    pub fn weight(&mut self, name: &str, shape: &[usize]) -> Made {
        let shape: Vec<Option<usize>> = shape.iter().copied().map(Some).collect();
        let payload = self.w.find(name, &shape)?.clone();
        self.used.insert(name.to_owned());
        Ok(self.b.weight(name, payload))
    }

    /// `x · W + b` for rows `x`.
    pub fn dense(&mut self, path: &str, x: ValueId, n_in: usize, n_out: usize) -> Made {
        let is_torch = self.w.style() == Style::Torch;
        let dims = if is_torch { [n_out, n_in] } else { [n_in, n_out] };
        let kernel = self.weight(&self.w.kernel(path), &dims)?;
        let bias = self.weight(&self.w.bias(path), &[n_out])?;
        Ok(self.b.scoped(&scope(path), |b| {
            let product = b.matmul("MatMul", x, kernel, is_torch);
            b.bias_add("BiasAdd", product, bias)
        }))
    }

    /// Normalisation of rows. Not in the form of `tf.nn.moments` and `batch_normalization`: with oneDNN, TensorFlow 2.15
    /// rewrites that in frozen graphs into a kernel whose results are off in the third digit.
    pub fn norm(&mut self, path: &str, x: ValueId, size: usize, epsilon: f32) -> Made {
        let (gamma, beta) = self.w.norm(path);
        let gamma = self.weight(&gamma, &[size])?;
        let beta = self.weight(&beta, &[size])?;
        Ok(self.b.scoped(&scope(path), |b| {
            let mean = b.row_mean("moments/mean", x);
            let centred = b.typed("moments/sub", "Sub", &[x, mean]);
            let squares = b.typed("moments/Square", "Square", &[centred]);
            let variance = b.row_mean("moments/variance", squares);
            let y = b.float("batchnorm/add/y", epsilon);
            let sum = b.typed("batchnorm/add", "AddV2", &[variance, y]);
            let rsqrt = b.typed("batchnorm/Rsqrt", "Rsqrt", &[sum]);
            let normal = b.typed("batchnorm/mul", "Mul", &[centred, rsqrt]);
            let scaled = b.typed("batchnorm/mul_1", "Mul", &[normal, gamma]);
            b.typed("batchnorm/add_1", "AddV2", &[scaled, beta])
        }))
    }

    /// A dropout site in the form of TensorFlow 2.15, or `x` itself where nothing is dropped.
    pub fn dropout(&mut self, name: &str, x: ValueId, rate: f64) -> ValueId {
        if rate <= 0.0 {
            return x;
        }
        self.b.scoped(name, |b| {
            let scale = b.float("dropout/Const", (1.0 / (1.0 - rate)) as f32);
            let scaled = b.typed("dropout/Mul", "Mul", &[x, scale]);
            let attrs = vec![("T", Attr::Type(DType::F32)), ("out_type", Attr::Type(DType::I32))];
            let shape = b.op("dropout/Shape", "Shape", &[x], attrs);
            let attrs = vec![
                ("T", Attr::Type(DType::I32)),
                ("dtype", Attr::Type(DType::F32)),
                ("seed", Attr::Int(0)),
                ("seed2", Attr::Int(0)),
            ];
            let random = b.op("dropout/random_uniform/RandomUniform", "RandomUniform", &[shape], attrs);
            let y = b.float("dropout/GreaterEqual/y", rate as f32);
            let keep = b.typed("dropout/GreaterEqual", "GreaterEqual", &[random, y]);
            let zero = b.float("dropout/Const_1", 0.0);
            b.op("dropout/SelectV2", "SelectV2", &[keep, scaled, zero], vec![("T", Attr::Type(DType::F32))])
        })
    }

    pub fn activation(&mut self, path: &str, kind: Activation, x: ValueId) -> ValueId {
        self.b.scoped(&scope(path), |b| match kind {
            Activation::Relu => b.typed("Relu", "Relu", &[x]),
            Activation::Tanh => b.typed("Tanh", "Tanh", &[x]),
            Activation::Silu => {
                let gate = b.typed("Sigmoid", "Sigmoid", &[x]);
                b.typed("mul", "Mul", &[x, gate])
            }
            // 0.5 · x · (1 + erf(x / √2))
            Activation::GeluErf => {
                let root = b.float("Sqrt", std::f32::consts::SQRT_2);
                let part = b.typed("truediv", "RealDiv", &[x, root]);
                let erf = b.typed("Erf", "Erf", &[part]);
                let one = b.float("add/x", 1.0);
                let sum = b.typed("add", "AddV2", &[one, erf]);
                let half = b.float("mul/x", 0.5);
                let half = b.typed("mul", "Mul", &[half, sum]);
                b.typed("mul_1", "Mul", &[x, half])
            }
            // 0.5 · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))
            Activation::GeluTanh => {
                let three = b.float("Pow/y", 3.0);
                let cube = b.typed("Pow", "Pow", &[x, three]);
                let c = b.float("mul/x", 0.044_715);
                let cube = b.typed("mul", "Mul", &[c, cube]);
                let sum = b.typed("add", "AddV2", &[x, cube]);
                let root = b.float("mul_1/x", (2.0 / std::f64::consts::PI).sqrt() as f32);
                let inner = b.typed("mul_1", "Mul", &[root, sum]);
                let tanh = b.typed("Tanh", "Tanh", &[inner]);
                let one = b.float("add_1/x", 1.0);
                let sum = b.typed("add_1", "AddV2", &[one, tanh]);
                let half = b.float("mul_2/x", 0.5);
                let half = b.typed("mul_2", "Mul", &[half, sum]);
                b.typed("mul_3", "Mul", &[x, half])
            }
        })
    }

    /// What is added to attention scores, `[batch, 1, 1, length]`: 0 where `mask` is 1, `hidden` where it is 0.
    pub fn mask_bias(&mut self, mask: ValueId, hidden: f32) -> ValueId {
        self.b.scoped("attention_mask_bias", |b| {
            let mask = b.cast("Cast", mask, DType::F32);
            let mask = b.expand_dims("ExpandDims", mask, 1);
            let mask = b.expand_dims("ExpandDims_1", mask, 2);
            let one = b.float("sub/x", 1.0);
            let closed = b.typed("sub", "Sub", &[one, mask]);
            let far = b.float("mul/y", hidden);
            b.typed("mul", "Mul", &[closed, far])
        })
    }

    /// One encoder layer over rows `x` (`[batch · length, hidden]`), normalised after each half as in BERT.
    pub fn layer(&mut self, spec: &LayerSpec, at: &LayerPaths, x: ValueId, mask_bias: ValueId) -> Made {
        let h = spec.hidden;
        let context = self.attention(spec, at, x, mask_bias)?;
        let projected = self.dense(&at.projection, context, h, h)?;
        let projected = self.dropout(&scope(&at.projection), projected, spec.projection_dropout);
        let sum = self.b.scoped(&scope(&at.projection), |b| b.typed("add", "AddV2", &[projected, x]));
        let attended = self.norm(&at.attention_norm, sum, h, spec.epsilon)?;
        let inner = self.dense(&at.intermediate, attended, h, spec.inner)?;
        let inner = self.activation(&at.intermediate, spec.activation, inner);
        let output = self.dense(&at.output, inner, spec.inner, h)?;
        let output = self.dropout(&scope(&at.output), output, spec.output_dropout);
        let sum = self.b.scoped(&scope(&at.output), |b| b.typed("add", "AddV2", &[output, attended]));
        self.norm(&at.output_norm, sum, h, spec.epsilon)
    }

    fn attention(&mut self, spec: &LayerSpec, at: &LayerPaths, x: ValueId, mask_bias: ValueId) -> Made {
        let h = spec.hidden;
        let head = h / spec.heads;
        let parts = [&at.query, &at.key, &at.value].map(|path| self.dense(path, x, h, h));
        let [query, key, value] = parts;
        let (batch, length) = (self.batch, self.length);
        let (query, key, value) = (query?, key?, value?);
        let name = scope(&at.query);
        let self_scope = name.rsplit_once('/').map_or("attention", |(s, _)| s).to_owned();
        let probabilities = self.b.scoped(&self_scope, |b| {
            let (heads, size) = (b.int("heads", spec.heads as i32), b.int("head_size", head as i32));
            let shape = b.pack("shape", &[batch, length, heads, size]);
            let split = |b: &mut Build, v: ValueId| {
                let v = b.reshape("Reshape", v, shape);
                b.transpose("transpose", v, &[0, 2, 1, 3])
            };
            let (q, k, v) = (split(b, query), split(b, key), split(b, value));
            let scores = b.batch_matmul("MatMul", q, k, true);
            let scale = b.float("Mul/y", (1.0 / (head as f64).sqrt()) as f32);
            let scores = b.typed("Mul", "Mul", &[scores, scale]);
            let scores = b.typed("add", "AddV2", &[scores, mask_bias]);
            (b.typed("Softmax", "Softmax", &[scores]), v)
        });
        let (probabilities, value) = probabilities;
        let kept = self.dropout(&self_scope, probabilities, spec.attention_dropout);
        Ok(self.b.scoped(&self_scope, |b| {
            let context = b.batch_matmul("MatMul_1", kept, value, false);
            let context = b.transpose("transpose_out", context, &[0, 2, 1, 3]);
            let shape = b.ints("Reshape_out/shape", &[-1, h as i32]);
            b.reshape("Reshape_out", context, shape)
        }))
    }

    /// `[batch, length]` or `[batch, length, n]` as rows `[batch · length, n]`.
    pub fn rows(&mut self, name: &str, x: ValueId, n: usize) -> ValueId {
        self.b.scoped(name, |b| {
            let shape = b.ints("Reshape/shape", &[-1, n as i32]);
            b.reshape("Reshape", x, shape)
        })
    }

    /// Rows back to `[batch, length, n]`.
    pub fn sequence(&mut self, name: &str, rows: ValueId, n: usize) -> ValueId {
        let (batch, length) = (self.batch, self.length);
        self.b.scoped(name, |b| {
            let n = b.int("size", n as i32);
            let shape = b.pack("Reshape/shape", &[batch, length, n]);
            b.reshape("Reshape", rows, shape)
        })
    }

    /// Rows of each text's first token, `[batch, n]`, from `[batch, length, n]`.
    pub fn first_token(&mut self, name: &str, sequence: ValueId) -> ValueId {
        self.b.scoped(name, |b| {
            let begin = b.ints("strided_slice/stack", &[0, 0]);
            let end = b.ints("strided_slice/stack_1", &[0, 1]);
            let strides = b.ints("strided_slice/stack_2", &[1, 1]);
            b.strided_slice("strided_slice", sequence, [begin, end, strides], 1, 2)
        })
    }

    /// The first `length` rows of a table of positions.
    pub fn positions(&mut self, name: &str, table: ValueId) -> ValueId {
        let length = self.length;
        self.b.scoped(name, |b| {
            let begin = b.ints("Slice/begin", &[0, 0]);
            let all = b.int("Slice/all", -1);
            let size = b.pack("Slice/size", &[length, all]);
            let attrs = vec![("T", Attr::Type(DType::F32)), ("Index", Attr::Type(DType::I32))];
            b.op("Slice", "Slice", &[table, begin, size], attrs)
        })
    }

    /// Rows times the transposed table of word embeddings, plus a bias of the vocabulary: `[rows, vocabulary]`.
    pub fn tied_logits(&mut self, name: &str, rows: ValueId, table: ValueId, bias: ValueId) -> ValueId {
        self.b.scoped(name, |b| {
            let product = b.matmul("MatMul", rows, table, true);
            b.bias_add("BiasAdd", product, bias)
        })
    }

    /// 1, 2, 3, … at tokens that are not padding, shifted by the id of padding, which stands at padding.
    pub fn positions_after_padding(&mut self, name: &str, pad: i32) -> ValueId {
        let ids = self.input_ids;
        self.b.scoped(name, |b| {
            let pad = b.constant("padding", Tensor::scalar(pad));
            let attrs = vec![("T", Attr::Type(DType::I32)), ("incompatible_shape_error", Attr::Bool(true))];
            let is_token = b.op("NotEqual", "NotEqual", &[ids, pad], attrs);
            let is_token = b.cast("Cast", is_token, DType::I32);
            let axis = b.int("Cumsum/axis", 1);
            let attrs = vec![
                ("T", Attr::Type(DType::I32)),
                ("Tidx", Attr::Type(DType::I32)),
                ("exclusive", Attr::Bool(false)),
                ("reverse", Attr::Bool(false)),
            ];
            let count = b.op("Cumsum", "Cumsum", &[is_token, axis], attrs);
            let count = b.typed("mul", "Mul", &[count, is_token]);
            b.typed("add", "AddV2", &[count, pad])
        })
    }
}
