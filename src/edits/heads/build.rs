//! What the kinds of heads are built from: values of the graph, dense layers, activations.

use crate::graph::{Graph, GraphPatch, NodeKey, ValueKey};
use crate::lower::Dialect;
use crate::lower::compose::{NewNode, NewOp, opset};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

use super::{Grafted, HeadChoice, HeadError};

/// A head under construction.
pub(super) struct Nodes<'a> {
    dialect: &'a dyn Dialect,
    choice: &'a HeadChoice,
    classes: usize,
    dtype: DType,
    opset: i64,
    patch: GraphPatch,
    logits: Option<ValueKey>,
    constants: Vec<NodeKey>,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(
        graph: &Graph,
        dialect: &'a dyn Dialect,
        choice: &'a HeadChoice,
        classes: usize,
        dtype: DType,
    ) -> Self {
        let opset = opset(graph, dialect);
        let patch = GraphPatch::default();
        Self { dialect, choice, classes, dtype, opset, patch, logits: None, constants: Vec::new() }
    }

    pub(super) fn classes(&self) -> usize {
        self.classes
    }

    pub(super) fn finish(self) -> Result<Grafted, HeadError> {
        let logits = self.logits.ok_or_else(|| HeadError("this head gives no scores".to_owned()))?;
        Ok(Grafted { patch: self.patch, logits, constants: self.constants })
    }

    /// One value per example: `[batch, hidden]`, or the first position of `[batch, length, hidden]`; and the width.
    pub(super) fn pooled(&mut self, at: ValueKey, fact: &Fact) -> Result<(ValueKey, usize), HeadError> {
        let hidden = self.width(&at, fact)?;
        match fact.rank() {
            Some(2) => Ok((at, hidden)),
            Some(3) => {
                let shape = PartialShape::from_partial([fact.shape.dim(0), Some(hidden)]);
                Ok((self.node("first", NewOp::First, &[at], Fact::new(self.dtype, shape))?, hidden))
            }
            _ => Err(HeadError(format!(
                "this head reads [batch, hidden] or [batch, length, hidden]; {at} is {}",
                fact.describe()
            ))),
        }
    }

    /// A value per position, `[batch, length, hidden]`, and its width.
    pub(super) fn sequence(&mut self, at: ValueKey, fact: &Fact) -> Result<(ValueKey, usize), HeadError> {
        let hidden = self.width(&at, fact)?;
        match fact.rank() {
            Some(3) => Ok((at, hidden)),
            _ => Err(HeadError(format!("this head reads [batch, length, hidden]; {at} is {}", fact.describe()))),
        }
    }

    fn width(&self, at: &ValueKey, fact: &Fact) -> Result<usize, HeadError> {
        let last = fact.rank().and_then(|r| fact.shape.dim(r.checked_sub(1)?));
        last.filter(|n| (1..=1 << 20).contains(n)).ok_or_else(|| {
            HeadError(format!(
                "the width of {at} ({}) is not known; choose a value whose last dimension is",
                fact.describe()
            ))
        })
    }

    /// The scores: dropout where it is chosen, then x·W + b. Their shape is that of `x` with the classes last.
    pub(super) fn dense(&mut self, x: ValueKey, hidden: usize, rank: usize) -> Result<ValueKey, HeadError> {
        let free = |last: usize| {
            let dims = (0..rank).map(|i| (i + 1 == rank).then_some(last));
            Fact::new(self.dtype, PartialShape::from_partial(dims))
        };
        let (wide, narrow) = (free(hidden), free(self.classes));
        let x = if self.choice.dropout > 0.0 {
            let op = NewOp::Dropout { rate: self.choice.dropout, seed: self.choice.seed };
            self.node("dropout", op, &[x], wide)?
        } else {
            x
        };
        let (dtype, classes, seed) = (self.dtype, self.classes, self.choice.seed);
        let kernel = self.choice.initializer.matrix(dtype, hidden, classes, seed, &self.choice.name);
        let kernel = self.weight("kernel", kernel)?;
        let bias = self.weight("bias", Tensor::zeros(dtype, &[classes]))?;
        let op = NewOp::Dense { rank, rows: hidden, columns: classes };
        let logits = self.node("logits", op, &[x, kernel, bias], narrow)?;
        self.logits = Some(logits.clone());
        self.patch.outputs.push(logits.clone());
        Ok(logits)
    }

    pub(super) fn softmax(&mut self, logits: &ValueKey, rank: usize) -> Result<(), HeadError> {
        self.probabilities(logits, NewOp::Softmax { rank }, rank)
    }

    pub(super) fn sigmoid(&mut self, logits: &ValueKey) -> Result<(), HeadError> {
        self.probabilities(logits, NewOp::Sigmoid, 2)
    }

    fn probabilities(&mut self, logits: &ValueKey, op: NewOp, rank: usize) -> Result<(), HeadError> {
        let dims = (0..rank).map(|i| (i + 1 == rank).then_some(self.classes));
        let fact = Fact::new(self.dtype, PartialShape::from_partial(dims));
        let value = self.node("probabilities", op, std::slice::from_ref(logits), fact)?;
        self.patch.outputs.push(value);
        Ok(())
    }

    fn weight(&mut self, name: &str, tensor: Tensor) -> Result<ValueKey, HeadError> {
        self.constants.push(NodeKey::new(format!("{}/{name}", self.choice.name)));
        self.node(name, NewOp::Constant(tensor), &[], Fact::unknown())
    }

    fn node(&mut self, name: &str, op: NewOp, inputs: &[ValueKey], fact: Fact) -> Result<ValueKey, HeadError> {
        let key = format!("{}/{name}", self.choice.name);
        let new = NewNode { key: &key, op, inputs, fact, opset: self.opset, is_early: false };
        let composed = self.dialect.compose(&new).unwrap_or_default();
        let output = composed
            .output
            .ok_or_else(|| HeadError(format!("files of the kind {} cannot take new nodes", self.dialect.name())))?;
        self.patch.added.extend(composed.nodes);
        Ok(output)
    }
}
