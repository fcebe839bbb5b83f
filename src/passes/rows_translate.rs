//! Which instructions fused rows can take, and how they become steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ops::fused::rows::{Arg, Lie, Output, Rows, Step, pair_up};
use crate::ops::fused::{RowBinary, RowFold, RowUnary};
use crate::ops::norm::{LogSoftmax, LogSoftmaxGradient, Softmax, SoftmaxGradient};
use crate::ops::random::Dropout;
use crate::program::{Instr, Op, Program, Value};
use crate::tensor::{DType, Dims, Fact, shape::element_count};

/// The matrix that a group works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) rows: usize,
    pub(super) cols: usize,
}

/// What a value inside a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Full,
    Column,
    /// A sum over rows: leaves the group, no step reads it.
    Sum,
}

/// Values inside a group so far.
pub(super) type Classes = BTreeMap<Value, Class>;

/// What an instruction is to fused rows.
#[derive(Clone, Debug)]
enum Role {
    Unary(RowUnary),
    Binary(RowBinary),
    Select,
    Dropout(u64),
    Reshape,
    Fold(RowFold),
    ColumnSum,
    Softmax { log: bool },
    SoftmaxGradient { log: bool },
}

/// Longest row, and fewest rows of long ones, that are worth fusing: blocks should stay in cache and there should be tasks.
const LONG_ROW: usize = 64 * 1024;

fn last_axis(axis: i64, rank: usize) -> bool {
    rank > 0 && (axis == -1 || axis == rank as i64 - 1)
}

fn role(program: &Program, instr: &Instr) -> Option<Role> {
    let op = instr.op()?;
    let first = program.fact(*instr.inputs.first()?);
    let rank = first.rank()?;
    if instr.outputs.len() != 1 {
        return None;
    }
    if let Some(d) = instr.op_as::<Dropout>() {
        return (d.shared_axes.is_empty() && instr.inputs.len() == 2).then_some(Role::Dropout(d.site));
    }
    if op.is_random() {
        return None;
    }
    if let Some(s) = instr.op_as::<Softmax>() {
        return last_axis(s.axis, rank).then_some(Role::Softmax { log: false });
    }
    if let Some(s) = instr.op_as::<LogSoftmax>() {
        return last_axis(s.axis, rank).then_some(Role::Softmax { log: true });
    }
    if let Some(s) = instr.op_as::<SoftmaxGradient>() {
        return last_axis(s.axis, rank).then_some(Role::SoftmaxGradient { log: false });
    }
    if let Some(s) = instr.op_as::<LogSoftmaxGradient>() {
        return last_axis(s.axis, rank).then_some(Role::SoftmaxGradient { log: true });
    }
    match instr.name() {
        "select" => Some(Role::Select),
        "reshape" => Some(Role::Reshape),
        // Truth values are 0 and 1 inside a group.
        "cast" => (first.dtype == DType::Bool).then_some(Role::Unary(RowUnary::Copy)),
        "not" => (first.dtype == DType::Bool).then_some(Role::Unary(RowUnary::Not)),
        "reduce_sum" | "reduce_mean" | "reduce_max" | "reduce_min" => reduction(program, instr),
        name => RowBinary::of_op(name)
            .filter(|_| instr.inputs.len() == 2)
            .map(Role::Binary)
            .or_else(|| RowUnary::of_op(name).map(Role::Unary)),
    }
}

fn reduction(program: &Program, instr: &Instr) -> Option<Role> {
    let dims = program.fact(instr.inputs[0]).dims()?;
    let mut reduced = vec![false; dims.len()];
    for axis in program.fact(*instr.inputs.get(1)?).ints()? {
        reduced[crate::tensor::shape::normalize_axis(axis, dims.len())?] = true;
    }
    let (last, lead) = reduced.split_last()?;
    let lead_dims = &dims[..dims.len() - 1];
    // Axes that are 1 long may be reduced or not: it is the same.
    if *last && lead.iter().zip(lead_dims).all(|(&r, &d)| !r || d == 1) {
        return Some(Role::Fold(match instr.name() {
            "reduce_sum" => RowFold::Sum,
            "reduce_mean" => RowFold::Mean,
            "reduce_max" => RowFold::Max,
            _ => RowFold::Min,
        }));
    }
    let all_lead = lead.iter().zip(lead_dims).all(|(&r, &d)| r || d == 1);
    (!*last && all_lead && instr.name() == "reduce_sum").then_some(Role::ColumnSum)
}

fn space_of(dims: &[usize]) -> Option<Space> {
    let (&cols, lead) = dims.split_last()?;
    let rows = element_count(lead)?;
    let fits = cols > 1 && rows > 0 && cols <= LONG_ROW && (rows >= 8 || cols <= 4096);
    fits.then_some(Space { rows, cols })
}

/// The matrix that an instruction alone would work on; `None` where it can only join others or not be fused.
pub(super) fn own_space(program: &Program, instr: &Instr) -> Option<Space> {
    let dims = match role(program, instr)? {
        Role::Reshape => return None,
        Role::Fold(_) | Role::ColumnSum => program.fact(instr.inputs[0]).dims()?,
        _ => program.fact(instr.outputs[0]).dims()?,
    };
    let space = space_of(&dims)?;
    fit(program, instr, space, &Classes::new()).map(|_| space)
}

fn without_leading_ones(dims: &[usize]) -> &[usize] {
    let ones = dims.iter().take_while(|&&d| d == 1).count();
    &dims[ones..]
}

/// How an outside value lies against a result of shape `to` (rows are its leading dimensions).
fn lie(dims: &[usize], to: &[usize]) -> Option<Lie> {
    if element_count(dims)? == 1 {
        return Some(Lie::Scalar);
    }
    let lead = to.len().checked_sub(dims.len())?;
    let at = |i: usize| if i < lead { 1 } else { dims[i - lead] };
    let own = crate::tensor::shape::strides(dims);
    let (&cols, outer) = to.split_last()?;
    let vector = at(to.len() - 1) == cols;
    if !vector && at(to.len() - 1) != 1 {
        return None;
    }
    if (0..outer.len()).any(|i| at(i) != outer[i] && at(i) != 1) {
        return None;
    }
    let same = (0..outer.len()).all(|i| at(i) == outer[i]);
    let repeated = (0..outer.len()).all(|i| at(i) == 1);
    Some(match (vector, same, repeated) {
        (true, true, _) => Lie::Full,
        (true, _, true) => Lie::Row,
        (false, true, _) => Lie::Column,
        _ => {
            let strides = (0..outer.len()).map(|i| if at(i) == 1 { 0 } else { own[i - lead] }).collect();
            Lie::Spread { dims: outer.into(), strides, vector }
        }
    })
}

/// Whether the operand of a full result is what a step may read, inside or outside of the group.
fn full_operand(fact: &Fact, inside: Option<Class>, to: &[usize]) -> Option<()> {
    let dims = fact.dims()?;
    match (inside, lie(&dims, to)?) {
        (Some(Class::Full), Lie::Full) | (Some(Class::Column), Lie::Column) => Some(()),
        (None, _) => (fact.dtype == DType::F32).then_some(()),
        _ => None,
    }
}

/// As [`full_operand`] for a result that is a column.
fn column_operand(fact: &Fact, inside: Option<Class>, to: &[usize]) -> Option<()> {
    let dims = fact.dims()?;
    let same = without_leading_ones(&dims) == without_leading_ones(to);
    match inside {
        Some(Class::Column) => same.then_some(()),
        Some(_) => None,
        None => (fact.dtype == DType::F32 && (same || element_count(&dims) == Some(1))).then_some(()),
    }
}

/// What the instruction's result would be inside a group on `space` that has `inside`; `None` where it does not fit.
pub(super) fn fit(program: &Program, instr: &Instr, space: Space, inside: &Classes) -> Option<Class> {
    let role = role(program, instr)?;
    let out = program.fact(instr.outputs[0]);
    let to = out.dims()?;
    let count = element_count(&to)?;
    let class = |i: usize| inside.get(&instr.inputs[i]).copied();
    let fact = |i: usize| program.fact(instr.inputs[i]);
    let truth = matches!(out.dtype, DType::F32 | DType::Bool);
    let full = space.rows * space.cols;
    match role {
        Role::Fold(_) | Role::ColumnSum => {
            let dims = fact(0).dims()?;
            let sound = out.dtype == DType::F32 && space_of(&dims)? == space;
            let reads = matches!(class(0), None | Some(Class::Full)) && fact(0).dtype == DType::F32;
            let result = if matches!(role, Role::Fold(_)) { Class::Column } else { Class::Sum };
            (sound && reads).then_some(result)
        }
        Role::Reshape => match class(0)? {
            Class::Full => (to.last() == Some(&space.cols) && count == full).then_some(Class::Full),
            Class::Column => Some(Class::Column),
            Class::Sum => None,
        },
        _ if !truth => None,
        _ if to.last() == Some(&space.cols) && count == full => {
            let data = match role {
                Role::Dropout(_) | Role::Softmax { .. } => 1,
                _ => instr.inputs.len(),
            };
            // `broadcast_to` has its shape as second operand.
            let data = if instr.name() == "broadcast_to" || instr.name() == "cast" { 1 } else { data };
            for i in 0..data {
                full_operand(fact(i), class(i), &to)?;
            }
            if let Role::Dropout(_) = role {
                let rate = fact(1);
                let number = rate.dtype == DType::F32 && element_count(&rate.dims()?) == Some(1);
                (number && class(1).is_none()).then_some(())?;
            }
            Some(Class::Full)
        }
        Role::Dropout(_) | Role::Softmax { .. } | Role::SoftmaxGradient { .. } => None,
        _ if count == space.rows => {
            let data = if matches!(role, Role::Unary(_)) { 1 } else { instr.inputs.len() };
            // Without an operand from inside, nothing says that these numbers are one per row.
            (0..data).any(|i| class(i) == Some(Class::Column)).then_some(())?;
            for i in 0..data {
                column_operand(fact(i), class(i), &to)?;
            }
            Some(Class::Column)
        }
        _ => None,
    }
}

/// Builds the fused op of a group.
pub(super) struct Translator<'a> {
    program: &'a Program,
    space: Space,
    classes: &'a Classes,
    inputs: Vec<(Value, Lie)>,
    steps: Vec<Step>,
    step_of: BTreeMap<Value, usize>,
}

impl<'a> Translator<'a> {
    pub(super) fn new(program: &'a Program, space: Space, classes: &'a Classes) -> Self {
        Self { program, space, classes, inputs: Vec::new(), steps: Vec::new(), step_of: BTreeMap::new() }
    }

    fn push(&mut self, step: Step) -> Arg {
        self.steps.push(step);
        Arg::Step(self.steps.len() - 1)
    }

    fn input(&mut self, v: Value, lie: Lie) -> Arg {
        let known = self.inputs.iter().position(|(w, l)| *w == v && *l == lie);
        Arg::Input(known.unwrap_or_else(|| {
            self.inputs.push((v, lie));
            self.inputs.len() - 1
        }))
    }

    fn arg(&mut self, v: Value, to: &[usize], column: bool) -> Option<Arg> {
        if let Some(&s) = self.step_of.get(&v) {
            return Some(Arg::Step(s));
        }
        let dims = self.program.fact(v).dims()?;
        let lie = match column {
            false => lie(&dims, to)?,
            true if element_count(&dims)? == 1 => Lie::Scalar,
            true => Lie::Column,
        };
        Some(self.input(v, lie))
    }

    /// Appends the steps of one member; members come in program order.
    pub(super) fn add(&mut self, instr: &Instr) -> Option<()> {
        let role = role(self.program, instr)?;
        let out = instr.outputs[0];
        let to = self.program.fact(out).dims()?;
        let column = self.classes.get(&out) == Some(&Class::Column);
        let result = match role {
            Role::Reshape => {
                let s = *self.step_of.get(&instr.inputs[0])?;
                self.step_of.insert(out, s);
                return Some(());
            }
            Role::Fold(f) => {
                let x = self.whole(instr.inputs[0])?;
                self.push(Step::Fold { f, x })
            }
            Role::ColumnSum => {
                let x = self.whole(instr.inputs[0])?;
                self.push(Step::ColumnSum { x })
            }
            Role::Unary(f) => {
                let x = self.arg(instr.inputs[0], &to, column)?;
                self.push(Step::Unary { f, x, column })
            }
            Role::Binary(f) => {
                let (a, b) = (self.arg(instr.inputs[0], &to, column)?, self.arg(instr.inputs[1], &to, column)?);
                self.push(Step::Binary { f, a, b, column })
            }
            Role::Select => {
                let cond = self.arg(instr.inputs[0], &to, column)?;
                let (a, b) = (self.arg(instr.inputs[1], &to, column)?, self.arg(instr.inputs[2], &to, column)?);
                self.push(Step::Select { cond, a, b, column })
            }
            Role::Dropout(site) => {
                let x = self.arg(instr.inputs[0], &to, false)?;
                let Arg::Input(rate) = self.input(instr.inputs[1], Lie::Scalar) else { return None };
                self.push(Step::Dropout { site, x, rate })
            }
            Role::Softmax { log } => {
                let x = self.arg(instr.inputs[0], &to, false)?;
                self.softmax(x, log)
            }
            Role::SoftmaxGradient { log } => {
                let (y, g) = (self.arg(instr.inputs[0], &to, false)?, self.arg(instr.inputs[1], &to, false)?);
                self.softmax_gradient(y, g, log)
            }
        };
        let Arg::Step(s) = result else { return None };
        self.step_of.insert(out, s);
        Some(())
    }

    /// The operand of a reduction: a whole matrix.
    fn whole(&mut self, v: Value) -> Option<Arg> {
        let dims = self.program.fact(v).dims()?;
        self.arg(v, &dims, false)
    }

    fn binary(&mut self, f: RowBinary, a: Arg, b: Arg) -> Arg {
        self.push(Step::Binary { f, a, b, column: false })
    }

    /// `exp(x - max) / Σ`, or `x - max - log Σ`.
    fn softmax(&mut self, x: Arg, log: bool) -> Arg {
        let top = self.push(Step::Fold { f: RowFold::Max, x });
        let low = self.binary(RowBinary::Sub, x, top);
        let e = self.push(Step::Unary { f: RowUnary::Exp, x: low, column: false });
        let sum = self.push(Step::Fold { f: RowFold::Sum, x: e });
        if log {
            let l = self.push(Step::Unary { f: RowUnary::Log, x: sum, column: true });
            return self.binary(RowBinary::Sub, low, l);
        }
        let inverse = self.push(Step::Unary { f: RowUnary::Reciprocal, x: sum, column: true });
        self.binary(RowBinary::Mul, e, inverse)
    }

    /// `y (g - Σ g y)`, or of the logarithm `g - exp(y) Σ g`.
    fn softmax_gradient(&mut self, y: Arg, g: Arg, log: bool) -> Arg {
        if log {
            let sum = self.push(Step::Fold { f: RowFold::Sum, x: g });
            let e = self.push(Step::Unary { f: RowUnary::Exp, x: y, column: false });
            let scaled = self.binary(RowBinary::Mul, e, sum);
            return self.binary(RowBinary::Sub, g, scaled);
        }
        let both = self.binary(RowBinary::Mul, g, y);
        let sum = self.push(Step::Fold { f: RowFold::Sum, x: both });
        let low = self.binary(RowBinary::Sub, g, sum);
        self.binary(RowBinary::Mul, y, low)
    }

    /// The fused op with its operands; outputs are one value per step, and which step each wanted value is.
    pub(super) fn finish(self, wanted: &[Value]) -> Option<Translated> {
        let mut outputs: Vec<Output> = Vec::new();
        let mut first: Vec<Value> = Vec::new();
        let mut again: Vec<(Value, usize)> = Vec::new();
        for &v in wanted {
            let step = *self.step_of.get(&v)?;
            match outputs.iter().position(|o| o.step == step) {
                Some(k) => again.push((v, k)),
                None => {
                    let dims: Dims = self.program.fact(v).dims()?;
                    outputs.push(Output { step, dims });
                    first.push(v);
                }
            }
        }
        let (values, lies) = self.inputs.into_iter().unzip();
        let (steps, outputs) = pair_up(&self.steps, &outputs);
        let op = Rows { rows: self.space.rows, cols: self.space.cols, inputs: lies, steps, outputs };
        Some(Translated { op: Arc::new(op), inputs: values, outputs: first, again })
    }
}

/// A group as an op: its operands, the values of its outputs, and values that are an output under another shape.
pub(super) struct Translated {
    pub(super) op: Arc<dyn Op>,
    pub(super) inputs: Vec<Value>,
    pub(super) outputs: Vec<Value>,
    pub(super) again: Vec<(Value, usize)>,
}
