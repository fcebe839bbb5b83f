//! Single numbers that a graph computes from constants and fed scalars: exact where all is constant, else linear in one
//! source, which is enough to see that `1 − rate` here and `keep` there are the same.

use smallvec::SmallVec;

use crate::ops::elementwise::{Binary, BinaryFn, Cast, Unary, UnaryFn};
use crate::ops::shape::{BroadcastTo, Reshape};
use crate::ops::with_default::WithDefault;
use crate::program::{Def, Program, Value};
use crate::tensor::shape::element_count;

use super::Given;

/// How far apart two numbers that mean the same may be (constants were rounded to float16 or folded in float32).
const TOLERANCE: f64 = 1e-3;
/// How deep an expression of scalars may be.
const MAX_DEPTH: usize = 64;

/// `scale · source + offset`; without a source just `offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scalar {
    pub(super) source: Option<Value>,
    pub(super) scale: f64,
    pub(super) offset: f64,
    /// The source's value where nobody feeds it.
    pub(super) default: Option<f64>,
}

impl Scalar {
    pub(super) fn constant(x: f64) -> Self {
        Self { source: None, scale: 0.0, offset: x, default: None }
    }

    fn source(v: Value, default: Option<f64>) -> Self {
        Self { source: Some(v), scale: 1.0, offset: 0.0, default }
    }

    /// The number, if there is no source.
    pub(super) fn exact(&self) -> Option<f64> {
        self.source.is_none().then_some(self.offset)
    }

    /// The number, with the source at its default.
    pub(super) fn number(&self) -> Option<f64> {
        self.exact().or_else(|| Some(self.scale * self.default? + self.offset))
    }

    /// `a · self + b`.
    pub(super) fn affine(&self, a: f64, b: f64) -> Self {
        Self { scale: self.scale * a, offset: self.offset * a + b, ..*self }
    }

    fn plus(&self, other: &Self, sign: f64) -> Option<Self> {
        match (self.source, other.source) {
            (_, None) => Some(self.affine(1.0, sign * other.offset)),
            (None, _) => Some(other.affine(sign, self.offset)),
            (Some(a), Some(b)) if a == b => {
                let scale = self.scale + sign * other.scale;
                Some(Self { scale, offset: self.offset + sign * other.offset, ..*self })
            }
            _ => None,
        }
    }

    /// Equal for every value of the source.
    pub(super) fn same(&self, other: &Self) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() <= TOLERANCE * b.abs().max(1e-3);
        match (self.source, other.source) {
            (None, None) => near(self.offset, other.offset),
            (Some(a), Some(b)) => {
                a == b && near(self.scale, other.scale) && (self.offset - other.offset).abs() <= TOLERANCE
            }
            _ => false,
        }
    }
}

/// A factor of a product: a number to multiply by, or one to divide by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Factor {
    Times(Scalar),
    Over(Scalar),
}

impl Factor {
    /// Whether the factor is one over `x`.
    pub(super) fn is_inverse_of(&self, x: &Scalar) -> bool {
        match self {
            Self::Over(k) => k.same(x),
            Self::Times(c) => match (c.exact(), x.exact()) {
                (Some(c), Some(x)) => (c * x - 1.0).abs() <= TOLERANCE,
                _ => false,
            },
        }
    }

    pub(super) fn is_one(&self) -> bool {
        let (Self::Times(s) | Self::Over(s)) = self;
        s.exact() == Some(1.0)
    }
}

/// Reads scalars of one program.
#[derive(Debug)]
pub(super) struct Scalars<'a> {
    program: &'a Program,
    given: &'a Given,
    /// For each value the instructions that read it.
    pub(super) readers: Vec<SmallVec<[usize; 4]>>,
}

impl<'a> Scalars<'a> {
    pub(super) fn new(program: &'a Program, given: &'a Given) -> Self {
        Self { program, given, readers: program.readers() }
    }

    /// A value as a scalar; `None` where it is not a single number or depends on data.
    pub(super) fn read(&self, v: Value) -> Option<Scalar> {
        self.read_at(v, 0)
    }

    fn read_at(&self, v: Value, depth: usize) -> Option<Scalar> {
        if depth > MAX_DEPTH || !self.may_be_single(v) {
            return None;
        }
        match self.program.def(v) {
            Def::Constant(i) => {
                let payload = &self.program.constants[i].payload;
                let is_single = payload.element_count() == 1;
                let number = is_single.then(|| payload.load().ok()?.to_f64s()?.first().copied()).flatten();
                number.map(Scalar::constant)
            }
            Def::Feed(_) => match self.given.get(&v) {
                Some(s) if s.source.is_none() => Some(*s),
                Some(s) => Some(Scalar::source(v, s.number())),
                None => self.is_scalar(v).then(|| Scalar::source(v, None)),
            },
            Def::Output { .. } => {
                self.computed(v, depth).or_else(|| self.is_free_of_data(v, 0).then(|| Scalar::source(v, None)))
            }
        }
    }

    fn computed(&self, v: Value, depth: usize) -> Option<Scalar> {
        let (_, instr) = self.program.producer(v)?;
        let read = |i: usize| self.read_at(*instr.inputs.get(i)?, depth + 1);
        if instr.op_as::<WithDefault>().is_some() {
            return Some(Scalar::source(v, read(0).and_then(|s| s.number())));
        }
        let passes = instr.op_as::<Cast>().is_some()
            || instr.op_as::<Reshape>().is_some()
            || instr.op_as::<BroadcastTo>().is_some();
        if passes {
            return read(0).filter(|_| self.program.fact(v).dtype.is_float());
        }
        if let Some(op) = instr.op_as::<Unary>() {
            let x = read(0)?;
            return match op.f {
                UnaryFn::Neg => Some(x.affine(-1.0, 0.0)),
                UnaryFn::Reciprocal => x.exact().map(|x| Scalar::constant(1.0 / x)),
                _ => None,
            };
        }
        let (x, y) = (read(0)?, read(1)?);
        match instr.op_as::<Binary>()?.f {
            BinaryFn::Add => x.plus(&y, 1.0),
            BinaryFn::Sub => x.plus(&y, -1.0),
            BinaryFn::Mul => match (x.exact(), y.exact()) {
                (Some(c), _) => Some(y.affine(c, 0.0)),
                (_, Some(c)) => Some(x.affine(c, 0.0)),
                _ => None,
            },
            BinaryFn::Div => y.exact().map(|c| x.affine(1.0 / c, 0.0)),
            _ => None,
        }
    }

    /// A value as a factor: a scalar, or one divided by a scalar.
    pub(super) fn factor(&self, v: Value) -> Option<Factor> {
        if let Some((_, instr)) = self.program.producer(v) {
            if let Some(Binary { f: BinaryFn::Div }) = instr.op_as::<Binary>()
                && let (Some(one), Some(k)) = (self.read(instr.inputs[0]), self.read(instr.inputs[1]))
                && one.exact() == Some(1.0)
                && k.source.is_some()
            {
                return Some(Factor::Over(k));
            }
            if let Some(Unary { f: UnaryFn::Reciprocal }) = instr.op_as::<Unary>()
                && let Some(k) = self.read(instr.inputs[0])
            {
                return Some(Factor::Over(k));
            }
        }
        self.read(v).map(Factor::Times)
    }

    /// Whether a value is zero everywhere.
    pub(super) fn is_zero(&self, v: Value) -> bool {
        if self.read(v).and_then(|s| s.exact()) == Some(0.0) {
            return true;
        }
        match self.program.def(v) {
            Def::Constant(i) => {
                let payload = &self.program.constants[i].payload;
                let zero = || payload.load().ok().is_some_and(|t| t.bytes().iter().all(|b| *b == 0));
                payload.element_count() <= 1 << 20 && zero()
            }
            Def::Output { instr, .. } => {
                let instr = &self.program.instrs[instr];
                let passes = instr.op_as::<BroadcastTo>().is_some() || instr.op_as::<Reshape>().is_some();
                passes && self.is_zero(instr.inputs[0])
            }
            Def::Feed(_) => false,
        }
    }

    /// Nothing says that it has more than one element.
    fn may_be_single(&self, v: Value) -> bool {
        match self.program.fact(v).shape.partial() {
            None => true,
            Some(dims) => dims.iter().all(|d| d.is_none_or(|d| d == 1)),
        }
    }

    fn is_scalar(&self, v: Value) -> bool {
        let fact = self.program.fact(v);
        fact.dtype.is_float() && fact.dims().is_some_and(|d| element_count(&d) == Some(1))
    }

    /// A single number that is computed from single numbers alone: a schedule, not a statistic of data.
    fn is_free_of_data(&self, v: Value, depth: usize) -> bool {
        if depth > MAX_DEPTH || !self.is_scalar(v) && depth == 0 || !self.may_be_single(v) {
            return false;
        }
        match self.program.def(v) {
            Def::Constant(i) => self.program.constants[i].payload.element_count() == 1,
            Def::Feed(_) => self.program.fact(v).dims().is_some_and(|d| element_count(&d) == Some(1)),
            Def::Output { instr, .. } => {
                let instr = &self.program.instrs[instr];
                instr.op().is_some_and(|op| !op.is_random())
                    && instr.inputs.iter().all(|&i| self.is_free_of_data(i, depth + 1))
            }
        }
    }
}
