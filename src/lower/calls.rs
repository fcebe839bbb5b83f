//! Calls of library functions: inlined, or spelled into the blocks of a conditional or a loop.

use std::collections::HashMap;

use crate::graph::{Graph, Node, NodeId, NodeKey};
use crate::ops::make;
use crate::program::{Builder, IfBlocks, InstrKind, LoopBlocks, Value};
use crate::tensor::{DType, Fact, PartialShape, Tensor};

use super::blocks::{Block, Located, align};
use super::spell::{Env, MAX_DEPTH, Speller};
use super::{Dialect, Structure};

/// After so many attempts the shapes of a loop's state count as unknown.
pub(super) const MAX_STATE_ATTEMPTS: usize = 8;

/// How often each library function is named by a node.
pub(super) fn count_calls(graph: &Graph, dialect: &dyn Dialect) -> HashMap<String, usize> {
    let mut out: HashMap<String, usize> = HashMap::new();
    let bodies = graph.functions.values().map(|f| &**f);
    let nodes = std::iter::once(graph).chain(bodies).flat_map(|g| &g.nodes);
    for node in nodes.filter(|n| n.leftover.is_none()) {
        let names = match dialect.structure(node) {
            Structure::Call { function } => vec![function],
            Structure::If { then_function, else_function } => vec![then_function, else_function],
            Structure::Case { functions } => functions,
            Structure::While { cond, body } => vec![cond, body],
            Structure::Repeat(repeat) => vec![repeat.body],
            Structure::Op if graph.functions.contains_key(&node.op) => vec![node.op.clone()],
            _ => continue,
        };
        for name in names {
            *out.entry(name).or_default() += 1;
        }
    }
    out
}

impl<'g> Speller<'g> {
    /// Whether functions can be spelled here; a diagnostic and an opaque instruction where they cannot.
    pub(super) fn can_call(&mut self, env: &mut Env<'g>, id: NodeId, names: &[&str]) -> bool {
        let main: &'g Graph = self.main;
        if let Some(name) = names.iter().find(|n| !main.functions.contains_key(**n)) {
            self.fail(env, id, "missing-function", format!("the file has no function {name:?}"));
            return false;
        }
        if self.depth + names.len() >= MAX_DEPTH {
            let what = format!("calls are nested more than {MAX_DEPTH} deep, or {} calls itself", names.join(" or "));
            self.fail(env, id, "deep-calls", what);
            return false;
        }
        true
    }

    /// The body of a function, ready to be spelled for one call; empty where there is none.
    pub(super) fn body(&mut self, env: &Env<'g>, id: NodeId, name: &str) -> Env<'g> {
        let main: &'g Graph = self.main;
        let many = self.calls.get(name).is_some_and(|&n| n > 1) || env.path.is_some();
        let path = many.then(|| env.node_key(env.graph.node(id)).as_str().to_owned());
        Env::new(main.functions.get(name).map_or(self.empty, |f| f), &format!("{name}/"), path)
    }

    /// Inlines a call: the body's instructions stand at this place.
    pub(super) fn spell_call(&mut self, env: &mut Env<'g>, id: NodeId, name: &str) {
        if !self.can_call(env, id, &[name]) {
            return;
        }
        let mut body = self.body(env, id, name);
        let node = env.graph.node(id);
        self.bind_arguments(env, node, &mut body, 0);
        self.depth += 1;
        self.spell_graph(&mut body);
        self.depth -= 1;
        for (i, &out) in node.outputs.iter().enumerate() {
            if let Some(at) = body.graph.outputs.get(i).and_then(|v| body.values[v.idx()]) {
                self.bind(env, out, at);
            }
        }
        self.opaque(env, id, format!("the function {name} has no such result"));
    }

    /// Gives a body's arguments the node's inputs from `first` on.
    fn bind_arguments(&mut self, env: &Env<'g>, node: &Node, body: &mut Env<'g>, first: usize) {
        for (i, &argument) in body.graph.inputs.iter().enumerate() {
            let given = node.inputs.get(first + i).copied().flatten().and_then(|v| env.values[v.idx()]);
            if let Some(at) = given {
                self.bind(body, argument, at);
            }
        }
    }

    /// The values of a body's results in the innermost program; missing ones become opaque.
    pub(super) fn results(&mut self, env: &Env<'g>, node: &Node, body: &Env<'g>, n: usize) -> Vec<Value> {
        (0..n)
            .map(|i| {
                let result = body.graph.outputs.get(i).copied();
                match result.and_then(|v| body.values[v.idx()]) {
                    Some(at) => self.blocks.import(at),
                    None => {
                        let fact = node.outputs.get(i).map_or(Fact::unknown(), |v| env.graph.value(*v).fact.clone());
                        self.missing_value(env, node, fact)
                    }
                }
            })
            .collect()
    }

    pub(super) fn spell_if(&mut self, env: &mut Env<'g>, id: NodeId, then_function: &str, else_function: &str) {
        let node = env.graph.node(id);
        let predicate = node.inputs.first().copied().flatten().and_then(|v| env.values[v.idx()]);
        let Some(predicate) = predicate else {
            return self.fail(env, id, "not-spelled", "its predicate has no value".into());
        };
        if !self.can_call(env, id, &[then_function, else_function]) {
            return;
        }
        let then_block = self.branch(env, id, then_function);
        let else_block = self.branch(env, id, else_function);
        let outputs = self.push_if(predicate, then_block, else_block, env.node_key(node));
        for (&out, value) in node.outputs.iter().zip(outputs) {
            self.bind_here(env, out, value);
        }
    }

    /// A function as a block of a conditional; its arguments are the node's inputs after the first.
    fn branch(&mut self, env: &Env<'g>, id: NodeId, name: &str) -> Block {
        self.blocks.open(Vec::new());
        let outputs = self.choice(env, id, name);
        self.blocks.close(outputs)
    }

    /// A function that was chosen, spelled here.
    fn choice(&mut self, env: &Env<'g>, id: NodeId, name: &str) -> Vec<Value> {
        let node = env.graph.node(id);
        let mut body = self.body(env, id, name);
        self.bind_arguments(env, node, &mut body, 1);
        self.depth += 1;
        self.spell_graph(&mut body);
        self.depth -= 1;
        self.results(env, node, &body, node.outputs.len())
    }

    /// Appends a conditional to the innermost program.
    pub(super) fn push_if(
        &mut self,
        predicate: Located,
        then_block: Block,
        else_block: Block,
        origin: NodeKey,
    ) -> Vec<Value> {
        let mut blocks = [then_block, else_block];
        let captured = align(&mut blocks, 0, self.blocks.current());
        let [then_block, else_block] = blocks;
        let facts = then_block.program.outputs.iter().zip(&else_block.program.outputs);
        let facts = facts.map(|(&t, &e)| joined(then_block.program.fact(t), else_block.program.fact(e))).collect();
        let mut inputs = vec![self.blocks.import(predicate)];
        inputs.extend(captured);
        let mut b = Builder::new(self.blocks.current());
        b.set_origin(Some(origin));
        let blocks = IfBlocks { then_block: then_block.program, else_block: else_block.program };
        b.push(InstrKind::If(Box::new(blocks)), &inputs, facts).into_vec()
    }

    /// A choice among functions by index: nested conditionals, the last function where none other is meant.
    pub(super) fn spell_case(&mut self, env: &mut Env<'g>, id: NodeId, functions: &[String]) {
        let node = env.graph.node(id);
        let names: Vec<&str> = functions.iter().map(String::as_str).collect();
        let index = node.inputs.first().copied().flatten().and_then(|v| env.values[v.idx()]);
        let Some(index) = index.filter(|i| !names.is_empty() && self.blocks.fact(*i).dtype.is_int()) else {
            return self.fail(env, id, "not-spelled", "its index is no integer, or it has no functions".into());
        };
        if !self.can_call(env, id, &names) {
            return;
        }
        let outputs = self.case_from(env, id, index, &names, 0);
        for (&out, value) in node.outputs.iter().zip(outputs) {
            self.bind_here(env, out, value);
        }
    }

    fn case_from(&mut self, env: &Env<'g>, id: NodeId, index: Located, names: &[&str], i: usize) -> Vec<Value> {
        if i + 1 >= names.len() {
            return self.choice(env, id, names[i]);
        }
        let key = env.node_key(env.graph.node(id));
        let is_it = self.is_index(env, env.graph.node(id), index, i);
        let then_block = self.branch(env, id, names[i]);
        self.blocks.open(Vec::new());
        let rest = self.case_from(env, id, index, names, i + 1);
        let else_block = self.blocks.close(rest);
        self.push_if(is_it, then_block, else_block, key)
    }

    /// Whether an index is `i`, for the node that chooses by it.
    pub(super) fn is_index(&mut self, env: &Env<'g>, node: &Node, index: Located, i: usize) -> Located {
        let here = self.blocks.import(index);
        let mut b = Builder::new(self.blocks.current());
        b.set_origin(Some(env.node_key(node)));
        let number = b.literal(Tensor::filled(b.fact(here).dtype, &[], i as f64));
        let value = match make::equal(&mut b, here, number) {
            Ok(v) => v,
            Err(_) => self.missing_value(env, node, Fact::of_dims(DType::Bool, &[])),
        };
        self.blocks.here(value)
    }

    /// A functional loop. State that the body hands on unchanged is no state: weights stay constants that way.
    pub(super) fn spell_while(&mut self, env: &mut Env<'g>, id: NodeId, cond: &str, body: &str) {
        if !self.can_call(env, id, &[cond, body]) {
            return;
        }
        let node = env.graph.node(id);
        let first: Option<Vec<Located>> = node.inputs.iter().map(|v| env.values[(*v)?.idx()]).collect();
        let Some(first) = first else {
            return self.fail(env, id, "not-spelled", "a value of its first state is not known".into());
        };
        let is_state: Vec<bool> = (0..first.len()).map(|i| !self.is_handed_on(body, i)).collect();
        let states: Vec<usize> = (0..first.len()).filter(|&i| is_state[i]).collect();
        let start = |i: usize| Fact { value: None, ..self.blocks.fact(first[i]).clone() };
        let facts: Vec<Fact> = states.iter().map(|&i| start(i)).collect();
        let shapes = LoopShape { id, first: &first, states: &states };
        let (body_block, facts) = self.settle(facts, |s, facts| s.loop_block(env, &shapes, body, facts, None));
        let cond_block = self.loop_block(env, &shapes, cond, &facts, Some(1));
        self.push_loop(env, &shapes, cond_block, body_block, facts);
    }

    /// The body of a loop, spelled with ever weaker shapes of the state until they hold in every iteration.
    pub(super) fn settle(
        &mut self,
        mut facts: Vec<Fact>,
        mut body: impl FnMut(&mut Self, &[Fact]) -> Block,
    ) -> (Block, Vec<Fact>) {
        let n_diagnostics = self.diagnostics.len();
        for attempt in 1.. {
            let block = body(self, &facts);
            let found = block.program.outputs.iter().map(|&v| block.program.fact(v));
            let next: Vec<Fact> = facts.iter().zip(found).map(|(a, b)| joined(a, b)).collect();
            if next.iter().zip(&facts).all(|(a, b)| a.shape == b.shape) {
                return (block, facts);
            }
            facts = next;
            if attempt >= MAX_STATE_ATTEMPTS {
                facts.iter_mut().for_each(|f| f.shape = PartialShape::unknown());
            }
            // The next attempt says it again.
            self.diagnostics.truncate(n_diagnostics);
        }
        (Block::default(), facts)
    }

    /// `cond` or `body` as a block whose first parameters are the state.
    fn loop_block(
        &mut self,
        env: &Env<'g>,
        shape: &LoopShape<'_>,
        name: &str,
        facts: &[Fact],
        n_results: Option<usize>,
    ) -> Block {
        let node = env.graph.node(shape.id);
        let mut body = self.body(env, shape.id, name);
        let names = shape.states.iter().map(|i| format!("{}:{i}", node.key));
        let own = self.blocks.open(names.zip(facts.iter().cloned()).collect());
        for (i, &argument) in body.graph.inputs.iter().enumerate().take(shape.first.len()) {
            let at = match shape.states.iter().position(|&s| s == i) {
                Some(s) => own[s],
                None => shape.first[i],
            };
            self.bind(&mut body, argument, at);
        }
        self.depth += 1;
        self.spell_graph(&mut body);
        self.depth -= 1;
        let results = self.results(env, node, &body, n_results.unwrap_or(shape.first.len()));
        let outputs = match n_results {
            Some(_) => results,
            None => shape.states.iter().map(|&i| results[i]).collect(),
        };
        self.blocks.close(outputs)
    }

    fn push_loop(&mut self, env: &mut Env<'g>, shape: &LoopShape<'_>, cond: Block, body: Block, facts: Vec<Fact>) {
        let node = env.graph.node(shape.id);
        let states: Vec<Located> = shape.states.iter().map(|&i| shape.first[i]).collect();
        let outputs = self.push_loop_instr(&states, cond, body, facts, env.node_key(node));
        for (i, &out) in node.outputs.iter().enumerate().take(shape.first.len()) {
            match shape.states.iter().position(|&s| s == i) {
                Some(s) => self.bind_here(env, out, outputs[s]),
                None => self.bind(env, out, shape.first[i]),
            }
        }
    }

    /// Appends a loop to the innermost program; gives the last state.
    pub(super) fn push_loop_instr(
        &mut self,
        first: &[Located],
        cond: Block,
        body: Block,
        facts: Vec<Fact>,
        origin: NodeKey,
    ) -> Vec<Value> {
        let n_state = first.len();
        let mut blocks = [cond, body];
        let captured = align(&mut blocks, n_state, self.blocks.current());
        let [cond, body] = blocks;
        let mut inputs: Vec<Value> = first.iter().map(|&at| self.blocks.import(at)).collect();
        inputs.extend(captured);
        let mut b = Builder::new(self.blocks.current());
        b.set_origin(Some(origin));
        let blocks = LoopBlocks { cond: cond.program, body: body.program, n_state };
        b.push(InstrKind::Loop(Box::new(blocks)), &inputs, facts).into_vec()
    }

    /// Whether result `i` of a body is its argument `i`.
    fn is_handed_on(&self, body: &str, i: usize) -> bool {
        let Some(graph) = self.main.functions.get(body) else { return false };
        let (Some(&argument), Some(&result)) = (graph.inputs.get(i), graph.outputs.get(i)) else { return false };
        let mut v = result;
        for _ in 0..graph.nodes.len() {
            if v == argument {
                return true;
            }
            let value = graph.value(v);
            let node = graph.node(value.producer);
            match node.inputs.get(value.port) {
                Some(&Some(from)) if self.dialect.structure(node) == Structure::Alias => v = from,
                _ => return false,
            }
        }
        false
    }
}

/// What both blocks of a loop share.
struct LoopShape<'a> {
    id: NodeId,
    /// The values before the first iteration.
    first: &'a [Located],
    /// Which of them the body changes.
    states: &'a [usize],
}

/// What holds for a value that is one of two.
pub(super) fn joined(a: &Fact, b: &Fact) -> Fact {
    let dtype = if a.dtype == DType::Unknown { b.dtype } else { a.dtype };
    Fact::new(dtype, a.shape.join(&b.shape))
}
