//! From the recipe's edits to an edited graph.

use std::sync::Arc;

use crate::base::Reporter;
use crate::edits as kinds;
use crate::edits::heads::HeadChoice;
use crate::graph::{Fact, Graph, GraphPatch, NodeKey, ValueId, ValueKey};
use crate::lower::{self, Spelled};
use crate::recognize::{self, DropoutSite};

use super::heads;
use super::model::Model;
use super::recipe::{EditStep, UnbakeChoice};
use super::shapes;
use super::weights::{self, WeightsChoice};

/// A head that the recipe's edits grafted.
#[derive(Clone, Debug)]
pub struct GraftedHead {
    pub choice: HeadChoice,
    /// The value that it reads.
    pub at: ValueKey,
    pub logits: ValueKey,
    pub constants: Vec<NodeKey>,
}

/// What the edits of a recipe make of the file.
#[derive(Clone, Debug, Default)]
pub struct Edited {
    pub patch: GraphPatch,
    pub heads: Vec<GraftedHead>,
    /// The longest length that the tables of positions allow, where a fixed length was freed.
    pub longest: Option<usize>,
}

impl Edited {
    /// The imported graph with the edits applied.
    pub fn graph(&self, model: &Model) -> Arc<Graph> {
        if self.patch.is_empty() { model.graph().clone() } else { Arc::new(self.patch.apply(model.graph())) }
    }
}

/// Carries out `edits` in order, each on what those before it made; a step that does not apply is reported and left out.
pub fn edit(model: &Model, edits: &[EditStep], reporter: &mut Reporter) -> Edited {
    let mut maker = Maker { model, out: Edited::default(), reporter };
    let mut rest = edits;
    while let Some(first) = rest.first() {
        // Bypasses beside each other are one change, so that what only they kept alive goes as a whole.
        let is_bypass = |s: &EditStep| matches!(s, EditStep::BypassDropout { .. });
        let n = rest.iter().take_while(|s| is_bypass(s)).count().max(1);
        let (now, later) = rest.split_at(n);
        rest = later;
        let graph = maker.out.graph(model);
        match first {
            EditStep::BypassDropout { .. } => maker.bypass(&graph, now),
            EditStep::Bypass { node } => maker.bypass_node(&graph, node),
            EditStep::GraftHead(choice) => maker.graft(&graph, choice),
            EditStep::LoadWeights(choice) => maker.load_weights(&graph, choice),
            EditStep::Unbake(choice) => maker.unbake(&graph, *choice),
            // Adapters stand in the program, not in the file.
            EditStep::Lora(_) => {}
        }
    }
    maker.out
}

struct Maker<'a> {
    model: &'a Model,
    out: Edited,
    reporter: &'a mut Reporter,
}

impl Maker<'_> {
    fn spell(&self, graph: &Graph) -> Spelled {
        let mut spelled = lower::spell(graph, self.model.imported.dialect());
        shapes::settle(&mut spelled.program);
        spelled
    }

    fn left_out(&mut self, what: String, place: &str) {
        self.reporter.warning("edit-not-applied", what, Some(place.to_owned()));
    }

    fn unbake(&mut self, graph: &Graph, choice: UnbakeChoice) {
        let free = kinds::unbake::Free { batch: choice.batch, length: choice.length };
        match kinds::unbake::unbake(graph, self.model.imported.dialect(), free) {
            Ok(freed) => {
                let size = |name: &str, n: Option<usize>| n.map(|n| format!("{name} {n}"));
                let sizes: Vec<String> =
                    [size("batch", freed.batch), size("length", freed.length)].into_iter().flatten().collect();
                let longest = freed.longest.map(|n| format!("; positions go up to {n}")).unwrap_or_default();
                let what = format!("free now: {} (as exported){longest}", sizes.join(", "));
                self.reporter.info("unbaked", what, None);
                self.out.longest = freed.longest;
                self.out.patch.then(freed.patch);
            }
            Err(e) => self.left_out(format!("sizes stay fixed: {e}"), "placeholders"),
        }
    }

    fn bypass(&mut self, graph: &Graph, steps: &[EditStep]) {
        let sites = recognize::dropout::find(&self.spell(graph).program);
        let mut bypassed: Vec<&DropoutSite> = Vec::new();
        for step in steps {
            let EditStep::BypassDropout { output } = step else { continue };
            match sites.iter().find(|s| same(s.output_key.as_str(), output)) {
                Some(site) => bypassed.push(site),
                None => self.left_out(
                    format!("there is no dropout site with the output {output} in this model; the step is left out"),
                    output,
                ),
            }
        }
        let mut patch = GraphPatch::default();
        let dialect = self.model.imported.dialect();
        for site in kinds::bypass_dropout::extend(&mut patch, graph, dialect, &bypassed) {
            let what =
                "this dropout lies in a function that is called several times and cannot be taken out of the file";
            self.left_out(what.to_owned(), site.output_key.as_str());
        }
        self.out.patch.then(patch);
    }

    fn bypass_node(&mut self, graph: &Graph, node: &str) {
        let spelled = self.spell(graph);
        match kinds::bypass::pairs(graph, node, |g, v| known(&spelled, g, v)) {
            Ok(pairs) => {
                let mut patch = GraphPatch::default();
                kinds::bypass_dropout::bypass(&mut patch, graph, self.model.imported.dialect(), &pairs);
                self.out.patch.then(patch);
            }
            Err(why) => self.left_out(format!("{why}; the step is left out"), node),
        }
    }

    fn load_weights(&mut self, graph: &Graph, choice: &WeightsChoice) {
        match weights::load(graph, choice) {
            Ok((values, report)) => {
                weights::tell(choice, &report, self.reporter);
                values.into_iter().for_each(|(key, value)| self.out.patch.set_constant(key, value));
            }
            Err(why) => self.left_out(format!("no weights are loaded: {why}"), &choice.file),
        }
    }

    fn graft(&mut self, graph: &Graph, choice: &HeadChoice) {
        let spelled = self.spell(graph);
        let dialect = self.model.imported.dialect();
        let grafted = heads::place(graph, &spelled, choice).and_then(|(at, fact)| {
            let grafted = kinds::heads::graft(graph, dialect, choice, &at, &fact).map_err(|e| e.0)?;
            Ok((at, grafted))
        });
        match grafted {
            Ok((at, grafted)) => {
                let (logits, constants) = (grafted.logits, grafted.constants);
                self.out.heads.push(GraftedHead { choice: choice.clone(), at, logits, constants });
                self.out.patch.then(grafted.patch);
            }
            Err(why) => self.left_out(format!("the head {} is left out: {why}", choice.name), &choice.name),
        }
    }
}

/// What the file and the shape rules know of a value.
fn known(spelled: &Spelled, graph: &Graph, v: ValueId) -> Fact {
    let value = graph.value(v);
    match spelled.values.get(&value.key) {
        Some(&p) => spelled.program.fact(p).clone(),
        None => value.fact.clone(),
    }
}

fn same(a: &str, b: &str) -> bool {
    a.strip_suffix(":0").unwrap_or(a) == b.strip_suffix(":0").unwrap_or(b)
}
