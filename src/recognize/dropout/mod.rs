//! Dropout sites, found by structure: a random keep-or-drop mask multiplies (or selects) a value that is scaled by the
//! inverse of the share that is kept.
//!
//! The anchor is the mask: a uniform sampler compared with a threshold, or added to one and rounded down. From there the
//! product with the value, then the scale, which may stand on the value, on the mask or on the product. A mask whose
//! scale does not match is something else (noise, sampling, a gate) and not taken; so is one whose probability comes from
//! data. Conditionals with dropout in one branch and nothing in the other are sites as a whole.

mod conditional;
mod mask;
mod members;
mod scalar;
mod scale;

use std::collections::HashMap;

use crate::graph::{NodeKey, ValueKey};
use crate::ops::random::Dropout;
use crate::ops::shape::Concat;
use crate::program::{InstrKind, Program, Value};

use mask::Mask;
use scalar::{Scalar, Scalars};

/// Where in a program something lies: for each block entered, the instruction's index and which block of it
/// (0: then or body, 1: else or condition). Empty for the program itself.
pub type BlockPath = Vec<(usize, u8)>;

/// A place where the file drops random elements while training.
#[derive(Clone, Debug)]
pub struct DropoutSite {
    /// The block that `input` and `output` belong to.
    pub block: BlockPath,
    /// What is dropped from; bypassing means that every reader of `output` reads `input`.
    pub input: Value,
    pub output: Value,
    pub input_key: ValueKey,
    pub output_key: ValueKey,
    /// The share that is dropped, as the file says it (a default counts); `None` where it is fed or computed.
    pub rate: Option<f64>,
    /// Where the rate is read from, when it is not a constant.
    pub rate_source: Option<RateSource>,
    /// Stable over re-import, unique to the site.
    pub site: u64,
    /// Axes, counted from the end, along which all positions share one random number (a noise shape with ones).
    pub shared_axes: Vec<i64>,
    pub variant: &'static str,
    pub predicate: Option<Predicate>,
    /// The nodes that only serve the site.
    pub nodes: Vec<NodeKey>,
}

/// `rate = offset + scale · value`, with a value of the site's program (or block).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateSource {
    pub value: Value,
    pub scale: f64,
    pub offset: f64,
}

/// The condition under which the file drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicate {
    pub value: Value,
    /// The placeholder that it comes from, else the value itself.
    pub key: Option<ValueKey>,
    /// Drops where the predicate has this value.
    pub when: bool,
}

/// All sites of a spelled program and its blocks, in program order.
pub fn find(program: &Program) -> Vec<DropoutSite> {
    let found = find_in(program, &Vec::new(), &HashMap::new());
    found.into_iter().filter_map(Candidate::finish).collect()
}

/// A site while its surroundings are still being looked at.
#[derive(Clone, Debug)]
struct Candidate {
    block: BlockPath,
    input: Value,
    output: Value,
    keep: Scalar,
    shared_axes: Vec<i64>,
    variant: &'static str,
    predicate: Option<(Value, bool)>,
    input_key: Option<ValueKey>,
    output_key: Option<ValueKey>,
    predicate_key: Option<ValueKey>,
    nodes: Vec<NodeKey>,
}

impl Candidate {
    fn finish(self) -> Option<DropoutSite> {
        let (input_key, output_key) = (self.input_key?, self.output_key?);
        let site = output_key
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let rate_source =
            self.keep.source.map(|value| RateSource { value, scale: -self.keep.scale, offset: 1.0 - self.keep.offset });
        Some(DropoutSite {
            block: self.block,
            input: self.input,
            output: self.output,
            rate: self.keep.number().map(|keep| tidy(1.0 - keep)),
            rate_source,
            site,
            shared_axes: self.shared_axes,
            variant: self.variant,
            predicate: self.predicate.map(|(value, when)| Predicate { value, key: self.predicate_key, when }),
            nodes: self.nodes,
            input_key,
            output_key,
        })
    }
}

/// A rate read from float32 numbers, without their rounding noise: 1 − 0.9 is 0.1.
fn tidy(rate: f64) -> f64 {
    let short = (rate * 1e6).round() / 1e6;
    if (short - rate).abs() < 2e-7 { short } else { rate }
}

/// What is known about a block's feeds from outside.
type Given = HashMap<Value, Scalar>;

fn find_in(program: &Program, path: &BlockPath, given: &Given) -> Vec<Candidate> {
    let scalars = Scalars::new(program, given);
    let mut found: Vec<Candidate> = Vec::new();
    for (idx, instr) in program.instrs.iter().enumerate() {
        match &instr.kind {
            InstrKind::Op(op) if op.is_random() => {
                let site = match instr.op_as::<Dropout>() {
                    Some(op) => explicit(program, &scalars, idx, op),
                    None => mask::masks_from(program, &scalars, idx).iter().find_map(|m| site_of(program, &scalars, m)),
                };
                found.extend(site.map(|s| Candidate { block: path.clone(), ..s }));
            }
            InstrKind::Op(_) => {}
            InstrKind::If(blocks) => found.extend(conditional::sites(program, &scalars, idx, blocks, path)),
            InstrKind::Loop(blocks) => {
                let mut inner = path.clone();
                inner.push((idx, 0));
                let known = conditional::given(&scalars, &blocks.body, &instr.inputs[blocks.n_state..], blocks.n_state);
                found.extend(find_in(&blocks.body, &inner, &known));
            }
        }
    }
    // Samplers may stand anywhere; sites are listed where their outputs are. One output is one site.
    let position = |c: &Candidate| match c.block.get(path.len()) {
        Some(&(idx, _)) => idx,
        None => program.producer(c.output).map_or(0, |(idx, _)| idx),
    };
    found.sort_by_key(position);
    found.dedup_by(|a, b| a.block == b.block && a.output == b.output);
    found
}

/// A dropout instruction that the file itself has.
fn explicit(program: &Program, scalars: &Scalars<'_>, idx: usize, op: &Dropout) -> Option<Candidate> {
    let instr = &program.instrs[idx];
    let rate = scalars.read(instr.inputs[1])?;
    let keep = rate.affine(-1.0, 1.0);
    let mut site = candidate(scalars, program, instr.inputs[0], instr.outputs[0], keep, "dropout node");
    site.shared_axes = op.shared_axes.to_vec();
    Some(site)
}

fn candidate(
    scalars: &Scalars<'_>,
    program: &Program,
    input: Value,
    output: Value,
    keep: Scalar,
    variant: &'static str,
) -> Candidate {
    Candidate {
        block: Vec::new(),
        input,
        output,
        keep,
        shared_axes: Vec::new(),
        variant,
        predicate: None,
        input_key: program.value(input).key.clone(),
        output_key: program.value(output).key.clone(),
        predicate_key: None,
        nodes: members::of(program, &scalars.readers, input, output),
    }
}

/// The site that a mask belongs to, if its product is scaled as dropout is.
fn site_of(program: &Program, scalars: &Scalars<'_>, mask: &Mask) -> Option<Candidate> {
    let product = scale::product(program, scalars, mask)?;
    if program.value(product.input).key.is_none() || program.value(product.output).key.is_none() {
        return None;
    }
    let mut site = candidate(scalars, program, product.input, product.output, product.keep, variant(mask, &product));
    site.shared_axes = shared_axes(program, mask, product.input);
    Some(site)
}

/// Names after what the file computes; the ids of the pattern catalogue in the comments.
fn variant(mask: &Mask, product: &scale::Product) -> &'static str {
    use scale::ScaleForm::{Divided, Multiplied};
    if product.is_select {
        return if mask.keep.source.is_some() { "tensor-rate/select" } else { "select" }; // D5, D6
    }
    match (mask.is_floor, mask.keep.source.is_some(), product.form, mask.is_computed) {
        (true, true, ..) => "fed-keep-prob/floor",            // D7
        (true, false, Divided, false) => "keep-prob/floor",   // D1, D8
        (true, false, Divided, true) => "rate/floor",         // D2
        (true, false, Multiplied, _) => "folded-scale/floor", // D1 after constant folding
        (false, true, ..) => "tensor-rate/compare",           // D6
        (false, false, Divided, _) => "divided/compare",
        (false, false, Multiplied, _) if product.is_computed => "rate/compare", // D3
        (false, false, Multiplied, _) => "const-scale/compare",                 // D4
    }
}

/// Whether the sampler's shape is put together from single numbers, of which the one for `axis` is the constant 1.
fn is_stated_one(program: &Program, sampler: Value, axis: usize, rank: usize) -> bool {
    let shape = program.producer(sampler).and_then(|(_, s)| s.inputs.first().copied());
    let parts = shape.and_then(|v| program.producer(super::uses::behind(program, v))).map(|(_, instr)| instr);
    let Some(parts) = parts.filter(|p| p.op_as::<Concat>().is_some() && p.inputs.len() == rank) else { return false };
    program.fact(super::uses::behind(program, parts.inputs[axis])).scalar() == Some(1.0)
}

/// Axes from the end where the sampler has one number and the value has (or may have) more.
fn shared_axes(program: &Program, mask: &Mask, input: Value) -> Vec<i64> {
    let sampler = &program.fact(mask.sampler).shape;
    let (Some(rank), Some(value_rank)) = (sampler.rank(), program.fact(input).rank()) else { return Vec::new() };
    let mut axes = Vec::new();
    for from_end in 1..=value_rank {
        let is_one = match rank.checked_sub(from_end) {
            Some(axis) => sampler.dim(axis) == Some(1) || is_stated_one(program, mask.sampler, axis, rank),
            None => true,
        };
        if is_one && program.fact(input).shape.dim(value_rank - from_end) != Some(1) {
            axes.push(-(from_end as i64));
        }
    }
    axes
}
