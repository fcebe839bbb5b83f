//! Where a gradient arrives and where it ends, decided from the rules of ops alone: works on the spelled program, with
//! unknown shapes and both branches of every conditional.
//!
//! The walk goes from the objective backwards once and keeps, for every value, the best news of all its readers:
//! a gradient arrives; or it was lost, and where; or the value does not lead to the objective at all.

use indexmap::{IndexMap, IndexSet};

use crate::graph::NodeKey;
use crate::ops::opaque::Opaque;
use crate::program::verify::needed_for;
use crate::program::{Def, Flow, IfBlocks, Instr, InstrKind, LoopBlocks, Program, Value};
use crate::tensor::{DType, Fact};

use super::cure::{self, Cure};
use super::node::Nodes;
use super::walk::place;

/// What becomes of the gradient of a constant or node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives.
    Flows,
    /// Zero by rule: comparison, rounding, integer index.
    Zero,
    /// Lost for want of a derivative rule. Also where only a part of it is lost: the rest would be a wrong sum.
    Blocked,
    /// Stopped on purpose; `benign` where mathematics makes it zero anyway.
    Stopped { benign: bool },
    /// The value does not lead to the objective.
    OffPath,
    /// Integers, booleans and strings carry no gradient.
    NotFloat,
    /// Leads to the objective only through a branch that is never taken.
    DeadBranch,
}

impl Verdict {
    /// The word that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flows => "flows",
            Self::Zero => "zero",
            Self::Blocked => "blocked",
            Self::Stopped { .. } => "stopped",
            Self::OffPath => "off-path",
            Self::NotFloat => "not-float",
            Self::DeadBranch => "dead-branch",
        }
    }

    /// Which of several ways decides: a loss outweighs an arrival, an arrival everything else.
    fn rank(self) -> u8 {
        match self {
            Self::Blocked => 6,
            Self::Flows => 5,
            Self::Stopped { .. } => 4,
            Self::Zero => 3,
            Self::DeadBranch => 2,
            Self::NotFloat => 1,
            Self::OffPath => 0,
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The verdict about one constant.
#[derive(Clone, Debug)]
pub struct ConstantVerdict {
    pub value: Value,
    /// The graph's constant; `None` for a literal or an intermediate value that was asked for.
    pub node: Option<NodeKey>,
    pub name: String,
    pub verdict: Verdict,
    pub why: Option<String>,
    /// First node on the way; [`GradReport::path`] walks it.
    step: Option<u32>,
    pub cures: Vec<Cure>,
}

/// The verdict about one graph node.
#[derive(Clone, Debug)]
pub struct NodeVerdict {
    pub node: NodeKey,
    pub op: &'static str,
    pub verdict: Verdict,
    pub why: Option<String>,
    /// Constants whose gradient ends here.
    pub blocks: Vec<String>,
    pub cures: Vec<Cure>,
}

/// A node without whose value the objective cannot be computed, and whose value nobody can compute.
#[derive(Clone, Debug)]
pub struct Uncomputable {
    pub node: NodeKey,
    /// In the file's own words.
    pub op: String,
    pub why: String,
    pub cures: Vec<Cure>,
}

/// See the module doc. `nodes` are in program order and hold every node that has instructions, blocks included; an
/// alias (Identity) has the verdict of its value, which `value_verdict` gives.
#[derive(Clone, Debug, Default)]
pub struct GradReport {
    pub objective: Vec<String>,
    pub constants: Vec<ConstantVerdict>,
    pub nodes: IndexMap<NodeKey, NodeVerdict>,
    /// What must be fed, bypassed or replaced before anything can be computed at all; in program order.
    pub uncomputable: Vec<Uncomputable>,
    values: Vec<(Verdict, Option<String>)>,
    /// The ways of all constants share their ends, so they are kept as steps: written out, a deep graph with many
    /// constants would need the square of its size.
    steps: Vec<Step>,
}

impl GradReport {
    /// How many of the constants asked for a gradient reaches.
    pub fn reached(&self) -> usize {
        self.constants.iter().filter(|c| c.verdict == Verdict::Flows).count()
    }

    /// The verdict about a value of the program itself (not of its blocks), with the reason.
    pub fn value_verdict(&self, v: Value) -> (Verdict, Option<&str>) {
        self.values.get(v.idx()).map_or((Verdict::OffPath, None), |(verdict, why)| (*verdict, why.as_deref()))
    }

    /// Graph nodes from a constant of this report to the objective, or to the node where its gradient ends.
    pub fn path(&self, constant: &ConstantVerdict) -> Vec<NodeKey> {
        let mut path: Vec<NodeKey> = Vec::new();
        for node in walk_steps(&self.steps, constant.step) {
            if path.last() != Some(node) {
                path.push(node.clone());
            }
        }
        path
    }

    /// Nodes at which the gradient of some constant ends.
    pub fn blockers(&self) -> impl Iterator<Item = &NodeVerdict> {
        self.nodes.values().filter(|n| !n.blocks.is_empty())
    }
}

/// Explains the gradient of the (sum of the) objective with respect to `wrt`. Where `wrt` is empty the report is about no
/// constant, but still about every node.
pub fn report(program: &Program, objective: &[Value], wrt: &[Value]) -> GradReport {
    let mut walk = Walk::default();
    let initial: Vec<(Value, News)> = objective.iter().map(|&v| (v, News::arrived())).collect();
    let news = walk.block(program, &initial, true);
    let mut report = GradReport {
        objective: objective.iter().map(|&v| program.describe(v)).collect(),
        values: news.iter().map(|n| (n.verdict, walk.reason(n))).collect(),
        uncomputable: uncomputable(program, objective),
        ..GradReport::default()
    };
    for &v in wrt {
        report.constants.push(walk.constant(program, v, &news[v.idx()]));
    }
    report.nodes = std::mem::take(&mut walk.nodes);
    report.steps = std::mem::take(&mut walk.steps);
    for constant in report.constants.iter().filter(|c| !matches!(c.verdict, Verdict::Flows | Verdict::OffPath)) {
        let end = walk_steps(&report.steps, constant.step).last();
        if let Some(node) = end.and_then(|n| report.nodes.get_mut(n)) {
            node.blocks.push(constant.name.clone());
            for cure in constant.cures.iter().filter(|c| !node.cures.contains(c)).collect::<Vec<_>>() {
                node.cures.push(cure.clone());
            }
        }
    }
    report
}

/// Opaque nodes among what the objective is computed from, blocks included.
pub fn uncomputable(program: &Program, objective: &[Value]) -> Vec<Uncomputable> {
    let mut found: IndexMap<NodeKey, Uncomputable> = IndexMap::new();
    collect_uncomputable(program, objective, false, &mut found);
    found.into_values().collect()
}

fn collect_uncomputable(
    program: &Program,
    wanted: &[Value],
    is_inner: bool,
    found: &mut IndexMap<NodeKey, Uncomputable>,
) {
    let live = needed_for(program, wanted);
    for instr in program.instrs.iter().filter(|i| i.outputs.iter().any(|v| live[v.idx()])) {
        match &instr.kind {
            InstrKind::Op(_) => {
                let (Some(op), Some(node)) = (instr.op_as::<Opaque>(), &instr.origin) else { continue };
                found.entry(node.clone()).or_insert_with(|| Uncomputable {
                    node: node.clone(),
                    op: op.op.clone(),
                    why: op.reason.clone(),
                    cures: cure::cures_of_opaque(program, instr, is_inner),
                });
            }
            InstrKind::If(b) => {
                collect_uncomputable(&b.then_block, &b.then_block.outputs, true, found);
                collect_uncomputable(&b.else_block, &b.else_block.outputs, true, found);
            }
            InstrKind::Loop(b) => {
                collect_uncomputable(&b.cond, &b.cond.outputs, true, found);
                collect_uncomputable(&b.body, &b.body.outputs, true, found);
            }
        }
    }
}

/// An unknown element type may be a floating-point one.
fn may_be_float(fact: &Fact) -> bool {
    fact.dtype.is_float() || fact.dtype == DType::Unknown
}

/// What is known about the gradient at a value.
#[derive(Clone, Debug)]
struct News {
    verdict: Verdict,
    /// A gradient arrives, though part of it may have been lost on another way.
    arrives: bool,
    /// First node on the way to the objective or to the end.
    step: Option<u32>,
    end: Option<u32>,
}

impl News {
    fn arrived() -> Self {
        Self { verdict: Verdict::Flows, arrives: true, step: None, end: None }
    }

    fn off_path() -> Self {
        Self { verdict: Verdict::OffPath, arrives: false, step: None, end: None }
    }

    fn join(&mut self, other: &Self) {
        let arrives = self.arrives || other.arrives;
        if other.verdict.rank() > self.verdict.rank() {
            *self = other.clone();
        }
        self.arrives = arrives;
    }
}

/// Where a gradient ends.
#[derive(Debug)]
struct End {
    place: String,
    op: &'static str,
    why: String,
    cures: Vec<Cure>,
}

#[derive(Clone, Debug)]
struct Step {
    node: Option<NodeKey>,
    next: Option<u32>,
}

/// The graph nodes of a way, from its first step on.
fn walk_steps(steps: &[Step], first: Option<u32>) -> impl Iterator<Item = &NodeKey> {
    std::iter::successors(first, |&i| steps.get(i as usize)?.next).filter_map(|i| steps.get(i as usize)?.node.as_ref())
}

#[derive(Debug, Default)]
struct Walk {
    steps: Vec<Step>,
    ends: Vec<End>,
    nodes: IndexMap<NodeKey, NodeVerdict>,
    /// In how many blocks the walk is.
    depth: usize,
}

impl Walk {
    /// News for every value of a program whose listed values have the given news. `record` fills `self.nodes`.
    fn block(&mut self, program: &Program, initial: &[(Value, News)], record: bool) -> Vec<News> {
        let mut news = vec![News::off_path(); program.values.len()];
        for (v, n) in initial {
            let n = if may_be_float(program.fact(*v)) || n.verdict == Verdict::OffPath {
                n.clone()
            } else {
                News { verdict: Verdict::NotFloat, arrives: false, ..n.clone() }
            };
            news[v.idx()].join(&n);
        }
        let mut nodes = Nodes::new(program);
        nodes.is_inner = self.depth > 0;
        self.depth += 1;
        for idx in (0..program.instrs.len()).rev() {
            let instr = &program.instrs[idx];
            let mut out = News::off_path();
            instr.outputs.iter().for_each(|v| out.join(&news[v.idx()]));
            if out.verdict == Verdict::OffPath {
                continue;
            }
            let ways = match &instr.kind {
                InstrKind::Op(_) => self.op(&nodes, instr, &out),
                InstrKind::If(blocks) => self.conditional(&nodes, instr, blocks, &news, record),
                InstrKind::Loop(blocks) => self.repeated(instr, blocks, &news, record),
            };
            for (v, way) in instr.inputs.iter().zip(&ways) {
                news[v.idx()].join(way);
            }
        }
        self.depth -= 1;
        if record {
            self.record_nodes(&nodes, &news);
        }
        news
    }

    /// The news that each input of an op gets from this reader.
    fn op(&mut self, nodes: &Nodes<'_>, instr: &Instr, out: &News) -> Vec<News> {
        let program = nodes.program;
        let Some(op) = instr.op() else { return Vec::new() };
        let facts = program.input_facts(instr);
        let through = self.step(instr, out.step);
        let mut ways = Vec::with_capacity(facts.len());
        for (i, fact) in facts.iter().enumerate() {
            let passed = News { step: through, ..out.clone() };
            let way = if !may_be_float(fact) {
                News { verdict: Verdict::NotFloat, arrives: false, step: through, end: None }
            } else if out.arrives || out.verdict == Verdict::NotFloat {
                match op.flow(i, &facts) {
                    Flow::Flows if out.verdict == Verdict::NotFloat => {
                        let why = "only integers of its results (positions, counts) lead on: they have no gradient";
                        self.ended(nodes, instr, i, Verdict::Zero, why)
                    }
                    Flow::Flows => passed,
                    Flow::Zero(why) => self.ended(nodes, instr, i, Verdict::Zero, why),
                    Flow::Stopped { exact, why } => {
                        self.ended(nodes, instr, i, Verdict::Stopped { benign: exact }, why)
                    }
                    Flow::Blocked(why) => self.ended(nodes, instr, i, Verdict::Blocked, &why),
                }
            } else {
                passed
            };
            ways.push(way);
        }
        ways
    }

    fn conditional(
        &mut self,
        nodes: &Nodes<'_>,
        instr: &Instr,
        blocks: &IfBlocks,
        news: &[News],
        record: bool,
    ) -> Vec<News> {
        let program = nodes.program;
        let decided = program.fact(instr.inputs[0]).scalar().map(|p| p != 0.0);
        let mut ways = vec![News::off_path(); instr.inputs.len()];
        ways[0] = self.ended(nodes, instr, 0, Verdict::NotFloat, "it decides which branch runs");
        for (block, is_then) in [(&blocks.then_block, true), (&blocks.else_block, false)] {
            let mut initial: Vec<(Value, News)> =
                block.outputs.iter().zip(&instr.outputs).map(|(&b, o)| (b, news[o.idx()].clone())).collect();
            if decided.is_some_and(|d| d != is_then) {
                let why = format!("it is only read where {} is {is_then}", program.describe(instr.inputs[0]));
                let dead = self.ended(nodes, instr, 0, Verdict::DeadBranch, &why);
                initial.iter_mut().filter(|(_, n)| n.verdict != Verdict::OffPath).for_each(|(_, n)| *n = dead.clone());
            }
            let inner = self.block(block, &initial, record);
            for (way, feed) in ways[1..].iter_mut().zip(&block.feeds) {
                way.join(&inner[feed.value.idx()]);
            }
        }
        ways
    }

    fn repeated(&mut self, instr: &Instr, blocks: &LoopBlocks, news: &[News], record: bool) -> Vec<News> {
        let mut outs: Vec<News> = instr.outputs.iter().map(|o| news[o.idx()].clone()).collect();
        let seeds = |outs: &[News]| -> Vec<(Value, News)> {
            blocks.body.outputs.iter().zip(outs).map(|(&v, n)| (v, n.clone())).collect()
        };
        loop {
            let inner = self.block(&blocks.body, &seeds(&outs), false);
            let mut grew = false;
            for (out, feed) in outs.iter_mut().zip(&blocks.body.feeds) {
                let before = (out.verdict.rank(), out.arrives);
                out.join(&inner[feed.value.idx()]);
                grew |= before != (out.verdict.rank(), out.arrives);
            }
            if !grew {
                break;
            }
        }
        let inner = self.block(&blocks.body, &seeds(&outs), record);
        let mut ways: Vec<News> = blocks.body.feeds.iter().map(|f| inner[f.value.idx()].clone()).collect();
        // Without a single iteration the final state is the initial one.
        ways.iter_mut().zip(&outs).for_each(|(way, out)| way.join(out));
        ways
    }

    fn step(&mut self, instr: &Instr, next: Option<u32>) -> Option<u32> {
        self.steps.push(Step { node: instr.origin.clone(), next });
        Some((self.steps.len() - 1) as u32)
    }

    fn ended(&mut self, nodes: &Nodes<'_>, instr: &Instr, input: usize, verdict: Verdict, why: &str) -> News {
        let cures = cure::cures(nodes, instr, input, verdict);
        self.ends.push(End { place: place(instr), op: instr.name(), why: why.to_owned(), cures });
        let end = Some((self.ends.len() - 1) as u32);
        News { verdict, arrives: false, step: self.step(instr, None), end }
    }

    fn reason(&self, news: &News) -> Option<String> {
        match news.verdict {
            Verdict::Flows => None,
            Verdict::OffPath => Some("it does not lead to the objective".to_owned()),
            _ => Some(match news.end.map(|e| &self.ends[e as usize]) {
                Some(e) => format!("the gradient ends at {} ({}): {}", e.place, e.op, e.why),
                None => "integers, booleans and strings carry no gradient".to_owned(),
            }),
        }
    }

    fn cures(&self, news: &News) -> Vec<Cure> {
        news.end.map(|e| self.ends[e as usize].cures.clone()).unwrap_or_default()
    }

    fn constant(&self, program: &Program, v: Value, news: &News) -> ConstantVerdict {
        let node = match program.def(v) {
            Def::Constant(i) => program.constants[i].node.clone(),
            _ => None,
        };
        let name = node.as_ref().map_or_else(|| program.describe(v), NodeKey::to_string);
        let (mut verdict, mut why) = (news.verdict, self.reason(news));
        if !program.fact(v).dtype.is_float() && verdict != Verdict::OffPath {
            (verdict, why) = (Verdict::NotFloat, Some(format!("it is {}", program.fact(v).describe())));
        }
        ConstantVerdict { value: v, node, name, verdict, why, step: news.step, cures: self.cures(news) }
    }

    /// Verdicts of the nodes that a program's instructions come from.
    fn record_nodes(&mut self, nodes: &Nodes<'_>, news: &[News]) {
        let mut origins: IndexSet<&NodeKey> = IndexSet::new();
        origins.extend(nodes.program.instrs.iter().filter_map(|i| i.origin.as_ref()));
        for node in origins {
            let found = self.node(nodes, node, news);
            match self.nodes.get_mut(node) {
                // A function that is called twice, or a block of a loop: the weightier verdict counts.
                Some(old) if old.verdict.rank() >= found.verdict.rank() => {}
                _ => {
                    self.nodes.insert(node.clone(), found);
                }
            }
        }
    }

    fn node(&mut self, nodes: &Nodes<'_>, node: &NodeKey, news: &[News]) -> NodeVerdict {
        let (program, members) = (nodes.program, nodes.members(node));
        let outside = |v: Value| program.producer(v).is_none_or(|(_, p)| p.origin.as_ref() != Some(node));
        let mut best = News::off_path();
        let mut arrived = News::off_path();
        for &i in members {
            let instr = &program.instrs[i];
            let mut out = News::off_path();
            instr.outputs.iter().for_each(|v| out.join(&news[v.idx()]));
            arrived.join(&out);
            if out.verdict == Verdict::OffPath {
                continue;
            }
            if instr.op().is_some() {
                for (v, way) in instr.inputs.iter().zip(self.op(nodes, instr, &out)) {
                    if outside(*v) && may_be_float(program.fact(*v)) {
                        best.join(&way);
                    }
                }
            } else {
                best.join(&out);
            }
        }
        // A node without float inputs is a source: what arrives at its output counts.
        let decisive = if best.verdict == Verdict::OffPath { &arrived } else { &best };
        let verdict = decisive.verdict;
        NodeVerdict {
            node: node.clone(),
            op: program.instrs[members[0]].name(),
            verdict,
            why: self.reason(decisive),
            blocks: Vec::new(),
            cures: self.cures(decisive),
        }
    }
}
