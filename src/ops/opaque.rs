//! An op of the file that we cannot compute: keeps its place in the program, so that only what needs it is harmed.

use crate::program::{Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::Fact;

pub static INFO: OpInfo = OpInfo {
    name: "opaque",
    family: "control",
    summary: "an op that has no spelling",
    formula: "not known: it can be neither computed nor differentiated; what does not depend on it is not harmed",
    examples: Vec::new,
};

/// See the file's header.
#[derive(Clone, Debug)]
pub struct Opaque {
    /// The op in the file's own words.
    pub op: String,
    /// Why it is not spelled, for people.
    pub reason: String,
    /// What the file says about its outputs.
    pub outputs: Vec<Fact>,
}

impl Op for Opaque {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, _inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        Ok(self.outputs.clone())
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        Err(Misfit(format!("{} cannot be computed: {}", self.op, self.reason)))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Blocked(format!("{} has no gradient here: {}", self.op, self.reason))
    }

    /// Nobody knows what it does: it is never merged or folded.
    fn is_random(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    #[test]
    fn it_blocks_with_its_reason() {
        let op = Opaque { op: "Foo".into(), reason: "no rule".into(), outputs: vec![Fact::of_dims(DType::F32, &[2])] };
        assert_eq!(op.infer(&[]).unwrap()[0].describe(), "float32 [2]");
        assert!(op.kernel(&[], &[]).unwrap_err().0.contains("no rule"));
        assert!(matches!(op.flow(0, &[]), Flow::Blocked(why) if why.contains("Foo")));
    }
}
