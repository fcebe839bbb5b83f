//! Where the time of runs goes, by kind of step.

use std::collections::BTreeMap;

/// Time, calls and operations of one kind of step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Entry {
    pub seconds: f64,
    pub calls: u64,
    pub flops: u64,
}

/// Sums over all profiled runs.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    kinds: BTreeMap<&'static str, Entry>,
    /// Time per instruction of the program that ran, for painting on the graph.
    by_instr: Vec<f64>,
}

impl Profile {
    pub fn add(&mut self, kind: &'static str, instr: usize, seconds: f64, flops: u64) {
        let e = self.kinds.entry(kind).or_default();
        e.seconds += seconds;
        e.calls += 1;
        e.flops += flops;
        if self.by_instr.len() <= instr {
            self.by_instr.resize(instr + 1, 0.0);
        }
        self.by_instr[instr] += seconds;
    }

    pub fn total_seconds(&self) -> f64 {
        self.kinds.values().map(|e| e.seconds).sum()
    }

    /// Kinds with their share of the whole time, largest first.
    pub fn shares(&self) -> Vec<(&'static str, Entry, f64)> {
        let total = self.total_seconds().max(f64::MIN_POSITIVE);
        let mut out: Vec<_> = self.kinds.iter().map(|(&k, &e)| (k, e, e.seconds / total)).collect();
        out.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(b.0)));
        out
    }

    /// Seconds spent in each instruction of the program that was prepared.
    pub fn seconds_by_instr(&self) -> &[f64] {
        &self.by_instr
    }
}
