//! Loops of Enter, Merge, Switch, NextIteration and Exit as loop blocks.

use std::collections::HashSet;

use crate::graph::{Graph, NodeId, ValueId};
use crate::program::Value;
use crate::tensor::Fact;

use super::blocks::{Block, Located};
use super::frames::Variable;
use super::region::{Layout, LoopItem};
use super::spell::{Env, MAX_DEPTH, Speller};
use super::{Dialect, Structure};

/// One loop while it is being spelled.
struct Spelling<'a> {
    frame: usize,
    variables: &'a [Variable],
    first: Vec<Located>,
    /// Which variables change.
    is_state: Vec<bool>,
}

impl<'g> Speller<'g> {
    pub(super) fn spell_frame(&mut self, env: &mut Env<'g>, layout: &Layout<'_>, item: &LoopItem) {
        let frame = &layout.frames.frames[item.frame];
        // Inside another loop only what its iteration needs is there to be spelled.
        let here: HashSet<NodeId> = item.nodes.iter().copied().collect();
        let variables: Vec<Variable> = frame.variables.iter().filter(|v| here.contains(&v.merge)).cloned().collect();
        let first: Option<Vec<Located>> = variables.iter().map(|v| env.values[v.first.idx()]).collect();
        let ready = first.zip(frame.condition).filter(|_| self.depth + 1 < MAX_DEPTH);
        let Some((first, condition)) = ready else { return self.fail_frame(env, item) };
        let is_state = variables.iter().map(|v| !is_handed_on(env.graph, self.dialect, v)).collect();
        let spelling = Spelling { frame: item.frame, variables: &variables, first, is_state };
        let states: Vec<Located> = spelling.states().map(|i| spelling.first[i]).collect();
        let facts: Vec<Fact> = states.iter().map(|at| Fact { value: None, ..self.blocks.fact(*at).clone() }).collect();
        let next: Vec<ValueId> = spelling.states().map(|i| variables[i].next).collect();
        let (body, facts) = self.settle(facts, |s, facts| s.iteration(env, layout, &spelling, facts, &next));
        let cond = self.iteration(env, layout, &spelling, &facts, &[condition]);
        let leader = variables.first().map(|v| env.graph.node(v.merge));
        let Some(leader) = leader else { return self.fail_frame(env, item) };
        let outputs = self.push_loop_instr(&states, cond, body, facts, env.node_key(leader));
        let mut outputs = outputs.into_iter();
        for (i, variable) in variables.iter().enumerate() {
            let last = if spelling.is_state[i] { outputs.next() } else { None };
            for &exit in &variable.exits {
                let Some(&out) = env.graph.node(exit).outputs.first() else { continue };
                match last {
                    Some(v) => self.bind_here(env, out, v),
                    None => self.bind(env, out, spelling.first[i]),
                }
            }
        }
    }

    /// One iteration's part that `results` need, as a block whose first parameters are the state.
    fn iteration(
        &mut self,
        env: &mut Env<'g>,
        layout: &Layout<'_>,
        spelling: &Spelling<'_>,
        facts: &[Fact],
        results: &[ValueId],
    ) -> Block {
        let heads = |i: usize| env.graph.node(spelling.variables[i].merge).outputs.first().copied();
        let heads: Vec<Option<ValueId>> = (0..spelling.variables.len()).map(heads).collect();
        let name = |i: usize| heads[i].map(|v| env.graph.value(v).key.as_str().to_owned()).unwrap_or_default();
        let own = self.blocks.open(spelling.states().map(name).zip(facts.iter().cloned()).collect());
        let mut own = own.into_iter();
        for (i, head) in heads.iter().enumerate() {
            let at = if spelling.is_state[i] { own.next() } else { Some(spelling.first[i]) };
            if let (Some(head), Some(at)) = (*head, at) {
                self.bind(env, head, at);
            }
        }
        self.depth += 1;
        let nodes = layout.iteration(spelling.frame, results.iter().copied());
        let items = layout.divide(&nodes, Some(spelling.frame));
        self.spell_items(env, layout, &items);
        self.depth -= 1;
        let outputs: Vec<Value> = results
            .iter()
            .map(|v| match env.values[v.idx()] {
                Some(at) => self.blocks.import(at),
                None => {
                    let value = env.graph.value(*v);
                    self.missing_value(env, env.graph.node(value.producer), value.fact.clone())
                }
            })
            .collect();
        // What was spelled inside is not visible outside.
        for node in &nodes {
            env.graph.node(*node).outputs.iter().for_each(|v| env.values[v.idx()] = None);
        }
        heads.into_iter().flatten().for_each(|v| env.values[v.idx()] = None);
        self.blocks.close(outputs)
    }

    fn fail_frame(&mut self, env: &mut Env<'g>, item: &LoopItem) {
        for &exit in &item.exits {
            self.fail(env, exit, "unstructured-loop", "this loop could not be understood".into());
        }
    }
}

impl Spelling<'_> {
    fn states(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.is_state.len()).filter(|&i| self.is_state[i])
    }
}

/// Whether an iteration hands a variable on as it got it.
fn is_handed_on(graph: &Graph, dialect: &dyn Dialect, variable: &Variable) -> bool {
    let mut v = variable.next;
    for _ in 0..graph.nodes.len() {
        let value = graph.value(v);
        if value.producer == variable.merge {
            return true;
        }
        let node = graph.node(value.producer);
        let port = match dialect.structure(node) {
            Structure::Switch | Structure::SwitchN => 0,
            Structure::Alias => value.port,
            _ => return false,
        };
        match node.inputs.get(port) {
            Some(&Some(from)) => v = from,
            _ => return false,
        }
    }
    false
}
