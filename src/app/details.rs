//! What the inspector asks beyond the rows of the overview: attributes of a node, and how far runs moved a constant.

use std::path::Path;

use crate::base::files::PositionedFile;
use crate::data::statistics::moved;
use crate::graph::Attr;
use crate::session::Understood;
use crate::tensor::Tensor;
use crate::tensor::io::safetensors;
use crate::train::checkpoint;
use crate::ui::ctx::{Changed, ComputedAs, NodeDetails};

use super::App;
use super::jobs::Outcome;

/// Characters of an attribute that are shown.
const MAX_CHARS: usize = 200;
/// Elements of a list that are shown.
const MAX_ELEMENTS: usize = 16;

impl App {
    pub(super) fn describe_node(&mut self, name: String) {
        let (Some(open), Some(held)) = (&mut self.open, &self.session) else { return };
        let details = details(&held.understood, &name);
        open.details.insert(name, details);
    }

    /// Compares a constant with the newest checkpoint of every run, in a job; only its own part of each is read.
    pub(super) fn measure_changes(&mut self, name: String) {
        let (Some(open), Some(held)) = (&self.open, &self.session) else { return };
        let runs = open.runs.clone();
        let graph = held.understood.base.graph.clone();
        self.jobs.start_quietly(&format!("Comparing {name}"), move |cancel, _| {
            let original = super::values::constant(&graph, &name);
            let mut out = Vec::new();
            for run in runs.iter().filter(|r| r.can_resume).take_while(|_| !cancel.is_cancelled()) {
                let moved = match (&original, tuned(&run.folder, &name)) {
                    (_, Ok(None)) => continue,
                    (Ok(before), Ok(Some(after))) => {
                        moved(before, &after).ok_or_else(|| "its shape is another one there".to_owned())
                    }
                    (Err(e), _) => Err(e.clone()),
                    (_, Err(e)) => Err(e),
                };
                out.push(Changed { run: run.name.clone(), moved });
            }
            Outcome::Changed(name, out)
        });
    }
}

/// A parameter of the newest checkpoint; `None` where the run does not train it.
fn tuned(folder: &Path, name: &str) -> Result<Option<Tensor>, String> {
    let Some(path) = checkpoint::newest(folder).map_err(|e| e.to_string())? else { return Ok(None) };
    let say = |e: String| format!("{}: {e}", path.display());
    let file = PositionedFile::open(&path).map_err(|e| say(e.to_string()))?;
    let layout = safetensors::layout(file.len(), |buf, at| file.read_exact_at(buf, at));
    let layout = layout.map_err(|e| say(e.to_string()))?;
    let bare = name.strip_suffix(":0").unwrap_or(name);
    let Some(entry) = layout.entries.get(&checkpoint::parameter_key(bare)) else { return Ok(None) };
    let mut tensor = Tensor::zeros(entry.dtype, &entry.shape);
    file.read_exact_at(tensor.bytes_mut(), entry.offset).map_err(|e| say(e.to_string()))?;
    Ok(Some(tensor))
}

fn details(understood: &Understood, name: &str) -> NodeDetails {
    let graph = &understood.base.graph;
    let Some(id) = graph.node_named(name) else { return NodeDetails::default() };
    let node = graph.node(id);
    let attributes = node.attrs.iter().map(|(name, a)| {
        let (kind, value) = words(a);
        (name.clone(), kind.to_owned(), shortened(&value))
    });
    let mut computed_as: Vec<ComputedAs> = Vec::new();
    for instr in understood.program.instrs.iter().filter(|i| i.origin.as_ref() == Some(&node.key)) {
        if let Some(info) = instr.op().map(|op| op.info())
            && !computed_as.iter().any(|c| c.name == info.name)
        {
            computed_as.push(ComputedAs { name: info.name, summary: info.summary, formula: info.formula });
        }
    }
    NodeDetails { attributes: attributes.collect(), computed_as }
}

/// Kind and value of an attribute.
fn words(attr: &Attr) -> (&'static str, String) {
    match attr {
        Attr::Bool(v) => ("bool", v.to_string()),
        Attr::Int(v) => ("int", v.to_string()),
        Attr::Float(v) => ("float", v.to_string()),
        Attr::Bytes(b) => ("text", String::from_utf8_lossy(b.get(..MAX_CHARS).unwrap_or(b)).into_owned()),
        Attr::Type(t) => ("type", t.name().to_owned()),
        Attr::Shape(s) => ("shape", s.to_string()),
        Attr::Tensor(p) => {
            let dims: Vec<Option<usize>> = p.shape.iter().copied().map(Some).collect();
            ("tensor", format!("{} {}", p.dtype, crate::ui::text::shape(Some(&dims))))
        }
        Attr::Function(name) => ("function", name.clone()),
        Attr::Graph(g) => ("graph", format!("{} nodes", g.nodes.len())),
        Attr::List(list) => {
            // Lists in lists do not occur in any format that is read; one level is shown.
            let one = |a: &Attr| if matches!(a, Attr::List(_)) { "…".to_owned() } else { words(a).1 };
            let shown: Vec<String> = list.iter().take(MAX_ELEMENTS).map(one).collect();
            let more = if list.len() > MAX_ELEMENTS { ", …" } else { "" };
            ("list", format!("[{}{more}]", shown.join(", ")))
        }
        Attr::Opaque(b) => ("kept as it is", format!("{} bytes", b.len())),
    }
}

fn shortened(text: &str) -> String {
    let mut out: String = text.chars().take(MAX_CHARS).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_a_kind_and_a_value() {
        let ints = Attr::List((0..20).map(Attr::Int).collect());
        assert_eq!(words(&ints), ("list", "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, …]".to_owned()));
        let nested = Attr::List(vec![Attr::List(Vec::new()), Attr::Bool(true)]);
        assert_eq!(words(&nested).1, "[…, true]");
        assert_eq!(words(&Attr::Bytes(b"SAME".to_vec())), ("text", "SAME".to_owned()));
        assert_eq!(shortened(&"é".repeat(300)).chars().count(), MAX_CHARS + 1);
    }
}
