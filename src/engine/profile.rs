//! Where the time and the memory of runs go, by kind of step and by instruction.

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
    /// Per instruction of the program that ran, for painting on the graph.
    by_instr: Vec<Cost>,
}

/// What one instruction cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub seconds: f64,
    /// Of its results and its scratch.
    pub bytes: u64,
}

impl Profile {
    /// One run of an instruction; times add up over runs, bytes are those of the largest.
    pub fn add(&mut self, kind: &'static str, instr: usize, cost: Cost, flops: u64) {
        let e = self.kinds.entry(kind).or_default();
        e.seconds += cost.seconds;
        e.calls += 1;
        e.flops += flops;
        if self.by_instr.len() <= instr {
            self.by_instr.resize(instr + 1, Cost::default());
        }
        let own = &mut self.by_instr[instr];
        own.seconds += cost.seconds;
        own.bytes = own.bytes.max(cost.bytes);
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

    /// What each instruction of the program that was prepared took.
    pub fn by_instr(&self) -> &[Cost] {
        &self.by_instr
    }
}
