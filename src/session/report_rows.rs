//! Fills the plain-data overview from what is understood.

use std::collections::HashMap;

use crate::base::Severity;
use crate::graph::{Fact, Graph, Node, NodeId, NodeKind};
use crate::recognize::ConstantRole;

use super::error::SessionError;
use super::overview::{ConstantRow, Counts, FunctionRow, NodeRow, Overview, ShapeRow, SignatureRow, SiteRow, ValueRow};
use super::session::Session;
use super::understand::{self, Understood};

impl Understood {
    /// Everything that `inspect` prints and the browser shows.
    pub fn overview(&self, session: &Session) -> Result<Overview, SessionError> {
        let imported = &session.model.imported;
        let graph = &self.base.graph;
        let constants = self.constant_rows();
        let mut diagnostics = imported.diagnostics.clone();
        diagnostics.extend(self.base.diagnostics.iter().cloned());
        diagnostics.extend(self.diagnostics.iter().cloned());
        Ok(Overview {
            file: imported.path.to_string_lossy().into_owned(),
            format: imported.format.to_owned(),
            producer: imported.producer.clone(),
            bytes: imported.bytes,
            signatures: signatures(graph),
            entry_points: imported.entry_points.clone(),
            nodes: self.node_rows(),
            counts: self.counts(&constants),
            constants,
            placeholders: graph.placeholders().map(|v| self.value_row(graph, v)).collect(),
            dropout: self.site_rows(),
            functions: graph.functions.iter().map(|(name, f)| function_row(name, f)).collect(),
            diagnostics,
        })
    }

    fn counts(&self, constants: &[ConstantRow]) -> Counts {
        let suggested: Vec<&ConstantRow> = constants.iter().filter(|c| c.suggest == "train").collect();
        let graph = &self.base.graph;
        Counts {
            nodes: graph.nodes.len(),
            constants: constants.len(),
            float_constants: graph.constants().filter(|(_, c)| c.payload.dtype.is_float()).count(),
            suggested_trainable: suggested.len(),
            suggested_parameters: suggested.iter().map(|c| c.elements).sum(),
            trainable: self.trainable.len(),
            trainable_parameters: self.trainable_parameters(),
            leftovers: graph.nodes.iter().filter(|n| n.leftover.is_some()).count(),
        }
    }

    /// What is known of a value: the file's words and what was inferred.
    fn value_row(&self, graph: &Graph, v: crate::graph::ValueId) -> ValueRow {
        let value = graph.value(v);
        let inferred = self.base.spelled.values.get(&value.key).map(|&p| self.program.fact(p));
        let fact = match inferred {
            Some(f) => Fact::new(f.dtype, f.shape.merge(&value.fact.shape).unwrap_or_else(|| f.shape.clone())),
            None => value.fact.clone(),
        };
        ValueRow { name: value.key.as_str().to_owned(), dtype: fact.dtype.name().to_owned(), shape: shape_row(&fact) }
    }

    fn node_rows(&self) -> Vec<NodeRow> {
        let graph = &self.base.graph;
        let report = self.report();
        let verdicts: HashMap<&str, &str> = report.nodes.iter().map(|(n, v)| (n.as_str(), v.verdict.name())).collect();
        let mut unsupported: HashMap<&str, &str> = HashMap::new();
        for d in self.base.spelled.diagnostics.iter().filter(|d| d.severity != Severity::Info) {
            if let Some(place) = &d.place {
                unsupported.entry(place).or_insert(&d.message);
            }
        }
        let dialect = self.base.model.imported.dialect();
        let row = |node: &Node| {
            // What is fed or held needs no rule.
            let needs_rule = node.kind == NodeKind::Op && node.leftover.is_none();
            let supported = (!needs_rule || dialect.supports(node)) && !unsupported.contains_key(node.key.as_str());
            NodeRow {
                name: node.key.as_str().to_owned(),
                op: node.op.clone(),
                inputs: node.present_inputs().map(|v| graph.value(v).key.as_str().to_owned()).collect(),
                outputs: node.outputs.iter().map(|&v| self.value_row(graph, v)).collect(),
                supported,
                unsupported_reason: (!supported).then(|| {
                    unsupported
                        .get(node.key.as_str())
                        .map_or_else(|| format!("no rule for {}", node.op), |s| (*s).to_owned())
                }),
                gradient: verdicts
                    .get(node.key.as_str())
                    .copied()
                    .unwrap_or_else(|| {
                        graph.node_named(node.key.as_str()).map_or("off-path", |id| self.output_verdict(id))
                    })
                    .to_owned(),
                leftover: node.leftover.map(crate::graph::Leftover::name),
            }
        };
        graph.nodes.iter().map(row).collect()
    }

    /// The verdict about a node's first output: of constants and of aliases, which have no instruction of their own.
    fn output_verdict(&self, node: NodeId) -> &'static str {
        let graph = &self.base.graph;
        let key = graph.node(node).outputs.first().map(|&v| &graph.value(v).key);
        match key.and_then(|k| self.base.spelled.values.get(k)) {
            // Stand-ins renumber the program that was reported on.
            Some(&v) if self.recipe.stand_ins.is_empty() => self.report().value_verdict(v).0.name(),
            _ => "off-path",
        }
    }

    fn constant_rows(&self) -> Vec<ConstantRow> {
        let roles: HashMap<&str, &ConstantRole> = self.base.roles.iter().map(|r| (r.node.as_str(), r)).collect();
        let trainable: HashMap<&str, ()> = self.trainable.iter().map(|t| (t.node.as_str(), ())).collect();
        let report = self.report();
        let verdicts: HashMap<&str, &str> =
            report.constants.iter().filter_map(|c| Some((c.node.as_ref()?.as_str(), c.verdict.name()))).collect();
        let graph = &self.base.graph;
        let named = understand::named_constants(&self.base.spelled.program);
        let candidates = understand::candidates(&self.base, &named, &self.base.spelled.program);
        let layers: HashMap<&str, (Option<usize>, bool)> =
            candidates.iter().map(|c| (c.name, (c.from_top, c.is_head))).collect();
        graph
            .constants()
            .map(|(id, _)| {
                let mut row = plain_constant_row(graph, id);
                (row.from_top, row.is_head) = layers.get(row.name.as_str()).copied().unwrap_or_default();
                if let Some(role) = roles.get(row.name.as_str()) {
                    row.role = role.role.name().to_owned();
                    row.suggest = if role.suggest { "train" } else { "keep" }.to_owned();
                    row.reason.clone_from(&role.reason);
                }
                row.trainable = trainable.contains_key(row.name.as_str());
                row.gradient = match graph.constant(id) {
                    Some(c) if !c.payload.dtype.is_float() => "not-float".to_owned(),
                    _ => verdicts.get(row.name.as_str()).copied().unwrap_or_else(|| self.output_verdict(id)).to_owned(),
                };
                row
            })
            .collect()
    }

    fn site_rows(&self) -> Vec<SiteRow> {
        self.base.sites.iter().map(super::diff::site_row).collect()
    }
}

fn shape_row(fact: &Fact) -> ShapeRow {
    fact.shape.partial().map(<[_]>::to_vec)
}

fn signatures(graph: &Graph) -> Vec<SignatureRow> {
    let names = |pairs: &[(String, crate::graph::ValueKey)]| pairs.iter().map(|(_, k)| k.as_str().to_owned()).collect();
    let mut rows: Vec<SignatureRow> = graph
        .signatures
        .iter()
        .map(|s| SignatureRow { name: s.name.clone(), inputs: names(&s.inputs), outputs: names(&s.outputs) })
        .collect();
    if rows.is_empty() {
        let readers = graph.readers();
        let sink = |n: &Node| {
            n.kind == NodeKind::Op && n.leftover.is_none() && n.outputs.iter().all(|v| readers[v.idx()].is_empty())
        };
        let outputs = graph.nodes.iter().filter(|n| sink(n)).flat_map(|n| n.outputs.first());
        rows.push(SignatureRow {
            name: "default".to_owned(),
            inputs: graph.placeholders().map(|v| graph.value(v).key.as_str().to_owned()).collect(),
            outputs: outputs.map(|&v| graph.value(v).key.as_str().to_owned()).collect(),
        });
    }
    rows
}

/// What the graph alone says of a constant.
fn plain_constant_row(graph: &Graph, id: NodeId) -> ConstantRow {
    let node = graph.node(id);
    let mut row = ConstantRow { name: node.key.as_str().to_owned(), suggest: "keep".to_owned(), ..Default::default() };
    if let Some(c) = graph.constant(id) {
        row.dtype = c.payload.dtype.name().to_owned();
        row.shape = Some(c.payload.shape.iter().map(|&d| Some(d)).collect());
        row.elements = c.payload.element_count();
        row.bytes = c.payload.byte_len();
        row.role = if c.payload.dtype.is_float() { "other" } else { "shape" }.to_owned();
        row.reason = if c.payload.dtype.is_float() { "" } else { "it is not floating-point" }.to_owned();
    }
    row
}

fn function_row(name: &str, graph: &Graph) -> FunctionRow {
    let constants = graph.constants().map(|(id, _)| {
        let mut row = plain_constant_row(graph, id);
        row.name = format!("{name}/{}", row.name);
        row
    });
    FunctionRow { name: name.to_owned(), nodes: graph.nodes.len(), constants: constants.collect() }
}
