//! `bit_cast`: the same bits read as another element type of the same size.

use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Example, Flow, Kernel, Misfit, Op, OpInfo};
use crate::tensor::{DType, Fact, Tensor};

pub static INFO: OpInfo = OpInfo {
    name: "bit_cast",
    family: "elementwise",
    summary: "The same bits as another element type of the same size",
    formula: "y has the bytes of x",
    examples,
};

/// Booleans have one byte, 0 or 1; other bytes become 1.
#[derive(Clone, Debug)]
pub struct BitCast {
    pub to: DType,
}

impl Op for BitCast {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        let from = inputs[0].dtype;
        if from != DType::Unknown && (from.size() != self.to.size() || from.size() == 0) {
            return Err(Misfit(format!("{from} and {} differ in size", self.to)));
        }
        Ok(vec![Fact::new(self.to, inputs[0].shape.clone())])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let is_bool = self.to == DType::Bool;
        Ok(Kernel::compute(move |call| {
            let from = call.inputs[0].bytes();
            let to = call.outputs[0].bytes();
            if is_bool {
                to.iter_mut().zip(from).for_each(|(y, &x)| *y = u8::from(x != 0));
            } else {
                to.copy_from_slice(from);
            }
        }))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Zero("bits are read as something else: there is no derivative")
    }
}

fn examples() -> Vec<Example> {
    let x = Tensor::from_slice(&[2], &[1.0f32, -2.0]);
    let y = Tensor::from_slice(&[2], &[0x3f80_0000u32, 0xc000_0000]);
    vec![Example { op: Arc::new(BitCast { to: DType::U32 }), inputs: vec![x], outputs: Some(vec![y]) }]
}
