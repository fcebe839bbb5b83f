//! The spelling driver: walks a graph in order, asks the dialect for each node, and appends instructions.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::base::{Diagnostic, Severity};
use crate::graph::{Constant, Graph, Node, NodeId, NodeKey, NodeKind, ValueId, ValueKey};
use crate::ops::opaque::Opaque;
use crate::ops::with_default::WithDefault;
use crate::program::{Builder, Def, Misfit, Value};
use crate::tensor::{DType, Fact, PartialShape, Payload, Tensor, shape};

use super::blocks::{Block, Blocks, Located, Mark, rename, site};
use super::branches::Branches;
use super::deferred::Deferred;
use super::frames::Frames;
use super::order::order;
use super::region::{Cond, Item, Layout};
use super::{Dialect, Read, Rule, Spelled, Structure, results};

/// Integer constants up to this many elements are known while spelling.
const KNOWN_INTS: usize = 1 << 16;
/// Floating-point constants up to this many are (rates, epsilons, factors).
const KNOWN_FLOATS: usize = 16;
/// Nested blocks and calls beyond this are hostile.
pub(super) const MAX_DEPTH: usize = 48;
/// Nodes that may be spelled beyond those of the file, where functions are called many times.
const MAX_REPEATED: usize = 1 << 20;

/// Shapes that placeholders are taken to have, instead of what the file leaves open.
pub type PinnedShapes = HashMap<ValueKey, PartialShape>;

/// Spells a whole graph; never fails: what has no spelling becomes an opaque instruction with a diagnostic.
pub fn spell(graph: &Graph, dialect: &dyn Dialect) -> Spelled {
    spell_pinned(graph, dialect, &PinnedShapes::new())
}

/// [`spell`] with chosen shapes of placeholders; every shape that follows from them is known, too.
pub fn spell_pinned(graph: &Graph, dialect: &dyn Dialect, pinned: &PinnedShapes) -> Spelled {
    let _span = tracing::info_span!("spell", nodes = graph.nodes.len()).entered();
    let empty = Graph::default();
    let mut speller = Speller {
        main: graph,
        dialect,
        pinned,
        blocks: Blocks::new(),
        constants: HashMap::new(),
        values: HashMap::new(),
        diagnostics: Vec::new(),
        calls: super::calls::count_calls(graph, dialect),
        left: graph.nodes.len() + MAX_REPEATED,
        depth: 0,
        empty: &empty,
    };
    let mut env = Env::new(graph, "", None);
    speller.spell_graph(&mut env);
    let outputs = outputs(graph, dialect).into_iter().filter_map(|v| env.values[v.idx()]).filter(|l| l.level == 0);
    let outputs: Vec<Value> = outputs.map(|l| l.value).collect();
    let mut program = std::mem::take(speller.blocks.program_mut(0));
    program.outputs = outputs;
    Spelled { program, values: speller.values, diagnostics: speller.diagnostics }
}

/// Declared outputs, else those of the first signature, else what nothing reads.
fn outputs(graph: &Graph, dialect: &dyn Dialect) -> Vec<ValueId> {
    if !graph.outputs.is_empty() {
        return graph.outputs.clone();
    }
    let signature = graph.signatures.first().map(|s| &s.outputs[..]).unwrap_or_default();
    let declared: Vec<ValueId> = signature.iter().filter_map(|(_, key)| graph.value_named(key.as_str())).collect();
    if !declared.is_empty() {
        return declared;
    }
    let nodes = results(graph, dialect).into_iter().map(|n| graph.node(n));
    nodes.filter(|n| n.kind == NodeKind::Op).filter_map(|n| n.outputs.first().copied()).collect()
}

/// One graph (the main one, or a body for one call) and what its values have become.
#[derive(Debug)]
pub(super) struct Env<'g> {
    pub graph: &'g Graph,
    /// What the names of the body start with.
    pub prefix: String,
    /// What they start with instead inside this call, where the body is called several times.
    pub path: Option<String>,
    pub values: Vec<Option<Located>>,
    /// Which values some node reads as data.
    is_read: Vec<bool>,
    /// Which nodes another node waits for.
    is_awaited: Vec<bool>,
}

impl<'g> Env<'g> {
    pub fn new(graph: &'g Graph, prefix: &str, path: Option<String>) -> Self {
        let mut is_read = vec![false; graph.values.len()];
        let mut is_awaited = vec![false; graph.nodes.len()];
        for node in &graph.nodes {
            node.present_inputs().for_each(|v| is_read[v.idx()] = true);
            node.control_inputs.iter().for_each(|n| is_awaited[n.idx()] = true);
        }
        graph.outputs.iter().for_each(|v| is_read[v.idx()] = true);
        let values = vec![None; graph.values.len()];
        Self { graph, prefix: prefix.to_owned(), path, values, is_read, is_awaited }
    }

    pub fn node_key(&self, node: &Node) -> NodeKey {
        match self.path {
            None => node.key.clone(),
            Some(_) => NodeKey::new(rename(node.key.as_str(), &self.prefix, self.path.as_deref())),
        }
    }

    fn value_key(&self, v: ValueId) -> ValueKey {
        let key = &self.graph.value(v).key;
        match self.path {
            None => key.clone(),
            Some(_) => ValueKey::new(rename(key.as_str(), &self.prefix, self.path.as_deref())),
        }
    }
}

/// A conditional that is being spelled.
struct Choice<'a> {
    cond: &'a Cond,
    predicate: Located,
    wanted: &'a [(NodeId, usize)],
    within: Option<usize>,
}

pub(super) struct Speller<'g> {
    pub main: &'g Graph,
    pub dialect: &'g dyn Dialect,
    pinned: &'g PinnedShapes,
    pub blocks: Blocks,
    /// Constants of the file live in the main program, once, however often their body is called.
    constants: HashMap<NodeKey, Value>,
    values: HashMap<ValueKey, Value>,
    pub diagnostics: Vec<Diagnostic>,
    /// How often each library function is called.
    pub calls: HashMap<String, usize>,
    left: usize,
    pub depth: usize,
    pub empty: &'g Graph,
}

impl<'g> Speller<'g> {
    /// Spells all nodes of a graph at this place.
    pub fn spell_graph(&mut self, env: &mut Env<'g>) {
        let graph = env.graph;
        let mut order = order(graph, self.dialect);
        let is_of_model = |n: &NodeId| graph.node(*n).leftover.is_none();
        order.nodes.retain(is_of_model);
        order.cyclic.retain(is_of_model);
        for &id in &order.cyclic {
            self.report(Severity::Error, "cycle", "it depends on its own result".into(), env, graph.node(id));
        }
        let branches = Branches::find(graph, self.dialect, &order);
        let frames = Frames::find(graph, self.dialect, &order);
        let layout = Layout { graph, dialect: self.dialect, order: &order, branches: &branches, frames: &frames };
        let items = if branches.is_empty() && frames.is_empty() {
            order.nodes.iter().map(|&n| Item::Node(n)).collect()
        } else {
            layout.divide(&order.nodes, None)
        };
        self.spell_items(env, &layout, &items);
    }

    pub fn spell_items(&mut self, env: &mut Env<'g>, layout: &Layout<'_>, items: &[Item]) {
        for item in items {
            match item {
                Item::Node(id) => self.spell_node(env, *id),
                Item::Cond(cond) => self.spell_cond(env, layout, cond),
                Item::Loop(item) => self.spell_frame(env, layout, item),
            }
        }
    }

    fn spell_node(&mut self, env: &mut Env<'g>, id: NodeId) {
        let node = env.graph.node(id);
        if self.left == 0 {
            return self.opaque(env, id, "the calls of functions multiply beyond any use".into());
        }
        self.left -= 1;
        match node.kind {
            NodeKind::Argument => {}
            NodeKind::Constant => match &node.constant {
                Some(constant) => self.constant(env, id, constant),
                None => self.opaque(env, id, "its value cannot be read".into()),
            },
            NodeKind::Placeholder if self.dialect.structure(node) != Structure::Default => self.placeholder(env, id),
            _ => self.spell_op(env, id),
        }
    }

    fn spell_op(&mut self, env: &mut Env<'g>, id: NodeId) {
        let node = env.graph.node(id);
        match self.dialect.structure(node) {
            Structure::Op => match self.dialect.spelling(node) {
                Some(spelling) => {
                    if let Err(m) = self.apply_rule(env, id, spelling.rule) {
                        self.defer_or_fail(env, id, spelling.rule, m.0);
                    }
                }
                // Old graphs call a function by using its name as an op.
                None if self.main.functions.contains_key(&node.op) => self.spell_call(env, id, &node.op.clone()),
                None => self.fail(env, id, "unknown-op", format!("there is no rule for the op {}", node.op)),
            },
            Structure::Alias => self.alias(env, id, false),
            Structure::Switch | Structure::SwitchN => self.alias(env, id, true),
            Structure::Default => self.default(env, id),
            Structure::Effect => {}
            Structure::Merge => self.fail(env, id, "unmatched-merge", "no conditional ends here".into()),
            // Inside a loop that is being spelled, what enters is the value from outside.
            Structure::Enter { .. } => self.alias(env, id, true),
            Structure::Exit | Structure::NextIteration | Structure::LoopCond => {
                self.fail(env, id, "unstructured-loop", "this loop could not be understood".into());
            }
            Structure::Call { function } => self.spell_call(env, id, &function),
            Structure::If { then_function, else_function } => self.spell_if(env, id, &then_function, &else_function),
            Structure::Case { functions } => self.spell_case(env, id, &functions),
            Structure::While { cond, body } => self.spell_while(env, id, &cond, &body),
            Structure::Repeat(repeat) => self.spell_repeat(env, id, &repeat),
        }
    }

    /// A constant of the file, once in the main program.
    fn constant(&mut self, env: &mut Env<'g>, id: NodeId, constant: &Constant) {
        let node = env.graph.node(id);
        let value = match self.constants.get(&node.key) {
            Some(&v) => v,
            None => {
                let known = self.known_value(env, node, &constant.payload);
                let mut b = Builder::new(self.blocks.program_mut(0));
                let v = b.constant(Some(node.key.clone()), constant.payload.clone(), known);
                if let Some(&out) = node.outputs.first() {
                    b.set_key(v, env.graph.value(out).key.clone());
                }
                self.constants.insert(node.key.clone(), v);
                v
            }
        };
        for &out in node.outputs.first().iter().copied() {
            self.bind(env, out, Located { level: 0, value });
        }
    }

    fn known_value(&mut self, env: &Env<'g>, node: &Node, payload: &Payload) -> Option<Tensor> {
        let limit = match payload.dtype {
            d if d.is_exact() => KNOWN_INTS,
            d if d.is_float() => KNOWN_FLOATS,
            _ => 0,
        };
        if payload.element_count() > limit {
            return None;
        }
        match payload.load() {
            Ok(t) => Some(t),
            Err(e) => {
                self.report(Severity::Error, "bad-constant", e.0, env, node);
                None
            }
        }
    }

    fn placeholder(&mut self, env: &mut Env<'g>, id: NodeId) {
        for &out in &env.graph.node(id).outputs {
            let key = env.value_key(out);
            let mut fact = env.graph.value(out).fact.clone();
            if let Some(shape) = self.pinned.get(&key) {
                fact.shape = shape.clone();
            }
            let mut b = Builder::new(self.blocks.program_mut(0));
            let value = b.feed(key.as_str(), fact);
            b.set_key(value, key);
            self.bind(env, out, Located { level: 0, value });
        }
    }

    /// Output `i` is input `i`, or all outputs are input 0.
    fn alias(&mut self, env: &mut Env<'g>, id: NodeId, first_only: bool) {
        let node = env.graph.node(id);
        for (i, &out) in node.outputs.iter().enumerate() {
            let input = node.inputs.get(if first_only { 0 } else { i }).copied().flatten();
            match input.and_then(|v| env.values[v.idx()]) {
                Some(at) => self.bind(env, out, at),
                None => return self.opaque(env, id, "what it passes on is not known".into()),
            }
        }
    }

    fn default(&mut self, env: &mut Env<'g>, id: NodeId) {
        let node = env.graph.node(id);
        let Some(&out) = node.outputs.first() else { return };
        let Some(input) = self.input(env, node, 0) else { return self.placeholder(env, id) };
        let declared = env.graph.value(out).fact.shape.clone();
        let mut b = self.builder(env, node);
        match b.op(WithDefault { shape: declared }, &[input]) {
            Ok(v) => self.bind_here(env, out, v),
            Err(m) => self.fail(env, id, "not-spelled", m.0),
        }
    }

    fn builder(&mut self, env: &Env<'g>, node: &Node) -> Builder<'_> {
        let key = env.node_key(node);
        let mut b = Builder::new(self.blocks.current());
        b.set_origin(Some(key));
        b
    }

    /// Data input `i` as the innermost program sees it.
    pub fn input(&mut self, env: &Env<'g>, node: &Node, i: usize) -> Option<Value> {
        let at = node.inputs.get(i).copied().flatten().and_then(|v| env.values[v.idx()])?;
        Some(self.blocks.import(at))
    }

    fn apply_rule(&mut self, env: &mut Env<'g>, id: NodeId, rule: super::RuleFn) -> Result<(), Misfit> {
        let node = env.graph.node(id);
        let mut inputs: SmallVec<[Option<Value>; 4]> = SmallVec::new();
        for (i, v) in node.inputs.iter().enumerate() {
            let value = self.input(env, node, i);
            if v.is_some() && value.is_none() {
                return Err(Misfit(format!("its input {i} has no value here")));
            }
            inputs.push(value);
        }
        let (opset, site) = (self.dialect.opset(self.main, node), site(&env.node_key(node)));
        let mark = Mark::of(self.blocks.current());
        let mut b = self.builder(env, node);
        let outputs = rule(&mut Rule { b: &mut b, node, inputs: &inputs, opset, site, read: Read::default() });
        let is_untyped = mark.is_untyped(self.blocks.current());
        let outputs = if is_untyped { Err(Misfit::new("the element type of an input is not known")) } else { outputs };
        let outputs = outputs.inspect_err(|_| mark.restore(self.blocks.current()))?;
        for (&out, value) in node.outputs.iter().zip(outputs) {
            self.bind_here(env, out, value);
        }
        self.opaque(env, id, "this output has no spelling".into());
        Ok(())
    }

    /// A rule that failed may succeed once shapes and contents of all inputs are known: then its place is kept.
    fn defer_or_fail(&mut self, env: &mut Env<'g>, id: NodeId, rule: super::RuleFn, reason: String) {
        let node = env.graph.node(id);
        let inputs: Vec<Option<Value>> = (0..node.inputs.len()).map(|i| self.input(env, node, i)).collect();
        let is_missing = |(i, v): (usize, &Option<Value>)| v.is_none() && node.inputs[i].is_some();
        let present: Vec<Value> = inputs.iter().flatten().copied().collect();
        let program = self.blocks.current();
        let is_open = |v: &Value| {
            let fact = program.fact(*v);
            let is_small = fact.dims().and_then(|d| shape::element_count(&d)).is_some_and(|n| n <= KNOWN_FLOATS);
            let may_decide = fact.value.is_none() && (fact.dtype.is_exact() || is_small);
            may_decide || !fact.shape.is_known() || fact.dtype == DType::Unknown
        };
        if inputs.iter().enumerate().any(is_missing) || !present.iter().any(is_open) {
            return self.fail(env, id, "not-spelled", reason);
        }
        let op = Deferred {
            rule,
            node: Arc::new(node.clone()),
            origin: env.node_key(node),
            is_present: inputs.iter().map(Option::is_some).collect(),
            opset: self.dialect.opset(self.main, node),
            site: site(&env.node_key(node)),
            outputs: node.outputs.iter().map(|&v| env.graph.value(v).fact.clone()).collect(),
            reason: reason.clone(),
        };
        self.report(Severity::Info, "decided-later", format!("{reason}; decided when running"), env, node);
        let outputs = self.builder(env, node).op_n(Arc::new(op), &present).unwrap_or_default();
        for (&out, value) in node.outputs.iter().zip(outputs) {
            self.bind_here(env, out, value);
        }
        self.opaque(env, id, reason);
    }

    /// Notes that a graph value is `value` of the innermost program.
    pub fn bind_here(&mut self, env: &mut Env<'g>, out: ValueId, value: Value) {
        let key = env.value_key(out);
        let program = self.blocks.current();
        let info = &mut program.values[value.idx()];
        if matches!(info.def, Def::Output { .. }) {
            let node = env.graph.node(env.graph.value(out).producer);
            let declared =
                if self.dialect.declares_shapes(node) { env.graph.value(out).fact.clone() } else { Fact::unknown() };
            match info.fact.shape.merge(&declared.shape) {
                Some(shape) => info.fact.shape = shape,
                None => {
                    let what = format!("the file declares the shape {}, it is {}", declared.shape, info.fact.shape);
                    self.report(Severity::Warning, "declared-shape", what, env, node);
                }
            }
        }
        let info = &mut self.blocks.current().values[value.idx()];
        if info.key.is_none() {
            info.key = Some(key);
        }
        let at = self.blocks.here(value);
        self.bind(env, out, at);
    }

    /// Notes what a graph value has become.
    pub fn bind(&mut self, env: &mut Env<'g>, out: ValueId, at: Located) {
        env.values[out.idx()] = Some(at);
        if at.level == 0 {
            self.values.insert(env.value_key(out), at.value);
        }
    }

    /// An opaque instruction for all outputs that have no value, with a diagnostic.
    pub fn fail(&mut self, env: &mut Env<'g>, id: NodeId, code: &str, reason: String) {
        self.report(Severity::Warning, code, reason.clone(), env, env.graph.node(id));
        self.opaque(env, id, reason);
    }

    /// An opaque instruction for all outputs that have no value.
    pub fn opaque(&mut self, env: &mut Env<'g>, id: NodeId, reason: String) {
        let node = env.graph.node(id);
        let missing: Vec<ValueId> = node.outputs.iter().copied().filter(|v| env.values[v.idx()].is_none()).collect();
        if missing.is_empty() {
            return;
        }
        let inputs: Vec<Value> = (0..node.inputs.len()).filter_map(|i| self.input(env, node, i)).collect();
        let facts: Vec<Fact> = missing.iter().map(|v| env.graph.value(*v).fact.clone()).collect();
        let op = Opaque { op: node.op.clone(), reason, outputs: facts };
        let outputs = self.builder(env, node).op_n(std::sync::Arc::new(op), &inputs).unwrap_or_default();
        for (out, value) in missing.into_iter().zip(outputs) {
            self.bind_here(env, out, value);
        }
    }

    pub fn report(&mut self, severity: Severity, code: &str, message: String, env: &Env<'g>, node: &Node) {
        let place = Some(env.node_key(node).as_str().to_owned());
        self.diagnostics.push(Diagnostic { severity, code: code.to_owned(), message, place });
    }

    /// A conditional of Switch and Merge.
    fn spell_cond(&mut self, env: &mut Env<'g>, layout: &Layout<'_>, cond: &Cond) {
        let leader = cond.merges[0];
        let predicate = env.values[cond.predicate.idx()];
        let (Some(predicate), true) = (predicate, self.depth < MAX_DEPTH) else {
            for &merge in &cond.merges {
                self.fail(env, merge, "unmatched-merge", "its predicate is not known, or it is nested too deep".into());
            }
            return;
        };
        let wanted: Vec<(NodeId, usize)> = self.wanted_outputs(env, cond);
        let within = layout.frames.innermost_of(leader);
        if wanted.is_empty() {
            return;
        }
        let choice = Choice { cond, predicate, wanted: &wanted, within };
        let is_index = self.blocks.fact(predicate).dtype.is_int();
        let outputs = match cond.sides.len() {
            2 if !is_index => {
                let then_block = self.side_block(env, layout, &choice, 1);
                let else_block = self.side_block(env, layout, &choice, 0);
                self.push_if(predicate, then_block, else_block, env.node_key(env.graph.node(leader)))
            }
            _ => self.sides_from(env, layout, &choice, 0),
        };
        for (&(merge, port), value) in wanted.iter().zip(outputs) {
            let out = env.graph.node(merge).outputs[port];
            self.bind_here(env, out, value);
        }
    }

    fn side_block(&mut self, env: &mut Env<'g>, layout: &Layout<'_>, choice: &Choice<'_>, side: usize) -> Block {
        self.blocks.open(Vec::new());
        let outputs = self.side_outputs(env, layout, choice, side);
        self.blocks.close(outputs)
    }

    fn side_outputs(&mut self, env: &mut Env<'g>, layout: &Layout<'_>, choice: &Choice<'_>, side: usize) -> Vec<Value> {
        self.depth += 1;
        let nodes = &choice.cond.sides[side];
        let items = layout.divide(nodes, choice.within);
        self.spell_items(env, layout, &items);
        let input = |merge: NodeId| layout.branches.joins[&merge].inputs.get(side).copied().unwrap_or(side);
        let outputs = choice.wanted.iter().map(|&(merge, port)| self.merge_output(env, merge, input(merge), port));
        let outputs = outputs.collect();
        // What was spelled inside is not visible outside.
        for node in nodes {
            env.graph.node(*node).outputs.iter().for_each(|v| env.values[v.idx()] = None);
        }
        self.depth -= 1;
        outputs
    }

    /// The sides of a choice by index from `side` on, as nested conditionals; the last one where none other is meant.
    fn sides_from(&mut self, env: &mut Env<'g>, layout: &Layout<'_>, choice: &Choice<'_>, side: usize) -> Vec<Value> {
        if side + 1 >= choice.cond.sides.len() {
            return self.side_outputs(env, layout, choice, side);
        }
        let leader = env.graph.node(choice.cond.merges[0]);
        let key = env.node_key(leader);
        let is_it = self.is_index(env, leader, choice.predicate, side);
        let then_block = self.side_block(env, layout, choice, side);
        self.blocks.open(Vec::new());
        let rest = self.sides_from(env, layout, choice, side + 1);
        let else_block = self.blocks.close(rest);
        self.push_if(is_it, then_block, else_block, key)
    }

    /// Outputs of the Merges that the conditional must give: all values, and the index where somebody reads it.
    fn wanted_outputs(&self, env: &Env<'g>, cond: &Cond) -> Vec<(NodeId, usize)> {
        let mut out = Vec::new();
        for &merge in &cond.merges {
            let node = env.graph.node(merge);
            let is_read = |port: usize| node.outputs.get(port).is_some_and(|v| env.is_read[v.idx()]);
            // A Merge that others only wait for says that the conditional is over; its value is nobody's.
            if is_read(0) || !env.is_awaited[merge.idx()] {
                out.push((merge, 0));
            }
            if is_read(1) {
                out.push((merge, 1));
            }
        }
        out
    }

    /// What one side gives for output `port` of a Merge.
    fn merge_output(&mut self, env: &Env<'g>, merge: NodeId, input: usize, port: usize) -> Value {
        if port == 1 {
            return Builder::new(self.blocks.current()).literal(Tensor::scalar(input as i32));
        }
        let node = env.graph.node(merge);
        match self.input(env, node, input) {
            Some(v) => v,
            None => {
                let fact = node.outputs.first().map_or(Fact::unknown(), |v| env.graph.value(*v).fact.clone());
                self.missing_value(env, node, fact)
            }
        }
    }

    /// A value that should be there and is not.
    pub fn missing_value(&mut self, env: &Env<'g>, node: &Node, fact: Fact) -> Value {
        let reason = "what it needs has no value here".to_owned();
        let op = Opaque { op: node.op.clone(), reason, outputs: vec![fact.clone()] };
        match self.builder(env, node).op(op, &[]) {
            Ok(v) => v,
            // Opaque ops take anything; a feed stands in should that ever change.
            Err(_) => Builder::new(self.blocks.current()).feed("missing", fact),
        }
    }
}
