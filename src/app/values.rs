//! Values of constants for the inspector, read in jobs: statistics, parts, and files of one tensor.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::{Severity, files};
use crate::data::statistics::{Described, SliceAt, describe, range, slice};
use crate::graph::Graph;
use crate::tensor::{Payload, Tensor, io::npy};

use super::App;
use super::jobs::Outcome;

impl App {
    fn graph(&self) -> Option<Arc<Graph>> {
        Some(self.session.as_ref()?.understood.base.graph.clone())
    }

    /// Reads all values of a constant.
    pub(super) fn describe(&mut self, name: String) {
        let Some(graph) = self.graph() else { return };
        self.jobs.start_quietly(&format!("Reading {name}"), move |_, _| {
            let result = describe_constant(&graph, &name);
            Outcome::Described(name, result.map(Arc::new))
        });
    }

    /// Reads least, greatest and mean of constants; while one such job runs, the next waits to be asked for again.
    pub(super) fn summarise(&mut self, names: Vec<String>) {
        let Some(graph) = self.graph() else { return };
        self.jobs.start_quietly("Reading ranges", move |cancel, _| {
            let one = |name: &String| payload(&graph, name).and_then(|p| load(&p)).ok().and_then(|t| range(&t));
            let alive = names.into_iter().take_while(|_| !cancel.is_cancelled());
            Outcome::Ranged(alive.map(|name| (name.clone(), one(&name))).collect())
        });
    }

    /// Reads a part of a constant.
    pub(super) fn slice(&mut self, at: SliceAt) {
        // A panel that waits asks in every frame.
        if self.slicing.as_ref() == Some(&at) {
            return;
        }
        let Some(graph) = self.graph() else { return };
        self.slicing = Some(at.clone());
        // The newest request counts: a drag asks for many.
        self.jobs.replace_quietly("Reading a part", move |_, _| {
            let result = payload(&graph, &at.name)
                .and_then(|p| load(&p))
                .and_then(|t| slice(&t, &at).ok_or_else(|| format!("Values of type {} are not shown.", t.dtype())));
            Outcome::Sliced(at, result.map(Arc::new))
        });
    }

    /// Writes one constant to a file, as its extension says.
    pub(super) fn save_tensor(&mut self, name: String, path: PathBuf) {
        let Some(graph) = self.graph() else { return };
        self.jobs.start("Writing a tensor", move |_, _| {
            let tensor = payload(&graph, &name).and_then(|p| load(&p));
            let written = tensor.and_then(|t| write_tensor(&path, &t));
            Outcome::Written(written.map(|()| path))
        });
    }

    pub(super) fn take_written(&mut self, result: Result<PathBuf, String>) {
        match result {
            Ok(path) => self.say(Severity::Info, format!("Written: {}", path.display())),
            Err(e) => self.say(Severity::Error, format!("Could not write: {e}")),
        }
    }
}

fn payload(graph: &Graph, name: &str) -> Result<Payload, String> {
    let node = graph.node_named(name).or_else(|| Some(graph.value(graph.value_named(name)?).producer));
    let constant = node.and_then(|n| graph.constant(n)).ok_or_else(|| format!("{name} is no constant"))?;
    Ok(constant.payload.clone())
}

fn load(payload: &Payload) -> Result<Tensor, String> {
    payload.load().map_err(|e| format!("It could not be read: {e}"))
}

/// The values of a constant.
pub(super) fn constant(graph: &Graph, name: &str) -> Result<Tensor, String> {
    load(&payload(graph, name)?)
}

fn describe_constant(graph: &Graph, name: &str) -> Result<Described, String> {
    let tensor = load(&payload(graph, name)?)?;
    describe(&tensor).ok_or_else(|| format!("Values of type {} are not shown.", tensor.dtype()))
}

/// `.npy` as NumPy reads it, else text: one line per row, the last dimension as columns.
fn write_tensor(path: &Path, tensor: &Tensor) -> Result<(), String> {
    if path.extension().is_none_or(|e| !e.eq_ignore_ascii_case("csv")) {
        return npy::write(path, tensor).map_err(|e| e.to_string());
    }
    let values = tensor.to_f64s().ok_or_else(|| format!("values of type {} have no text form", tensor.dtype()))?;
    let columns = tensor.shape().last().copied().unwrap_or(1).max(1);
    files::replace_with(path, |out| {
        use std::io::Write as _;
        for row in values.chunks(columns) {
            for (i, v) in row.iter().enumerate() {
                // Shortest digits that read back to the same number in the tensor's own precision.
                let comma = if i == 0 { "" } else { "," };
                match tensor.dtype() {
                    crate::tensor::DType::F64 => write!(out, "{comma}{v}")?,
                    _ => write!(out, "{comma}{}", *v as f32)?,
                }
            }
            writeln!(out)?;
        }
        Ok::<(), std::io::Error>(())
    })
    .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_is_written_as_text_and_as_numpy_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let t = Tensor::from_slice(&[2, 2], &[0.1f32, -2.0, 3.5e-7, f32::NAN]);
        let (csv, file) = (dir.path().join("w.csv"), dir.path().join("w.npy"));
        write_tensor(&csv, &t).unwrap();
        assert_eq!(files::read_to_string(&csv).unwrap(), "0.1,-2\n0.00000035,NaN\n");
        write_tensor(&file, &t).unwrap();
        let back = npy::read(&file).unwrap();
        assert_eq!((back.shape(), back.bytes()), (t.shape(), t.bytes()));
        let strings = Tensor::from_strings(&[1], vec![b"a".to_vec()]);
        assert!(write_tensor(&csv, &strings).is_err());
    }
}
