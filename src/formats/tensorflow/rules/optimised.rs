//! Spellings of TensorFlow ops: what TensorFlow's graph optimiser leaves in files that were saved after it ran, a product or
//! convolution with bias and activation in one node.

use smallvec::smallvec;

use crate::graph::Attr;
use crate::lower::{Outputs, Rule, Spelling};
use crate::ops::elementwise::UnaryFn;
use crate::ops::linalg::MatMul;
use crate::ops::make;
use crate::program::{Misfit, Value};

use super::conv::convolve;
use super::nn::{normalise, per_channel};

pub const RULES: &[Spelling] = &[
    Spelling { op: "_FusedMatMul", rule: fused_matmul },
    Spelling { op: "_FusedConv2D", rule: fused_conv },
    Spelling { op: "_FusedDepthwiseConv2dNative", rule: fused_conv },
];

fn fused_matmul(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let op = MatMul { transpose_a: r.bool_or("transpose_a", false), transpose_b: r.bool_or("transpose_b", false) };
    let inputs = [r.input(0)?, r.input(1)?];
    let y = r.b.op(op, &inputs)?;
    finish(r, y, 2)
}

fn fused_conv(r: &mut Rule<'_, '_>) -> Result<Outputs, Misfit> {
    let y = convolve(r)?;
    finish(r, y, 4)
}

/// What follows the product, in the order of `fused_ops`; its operands start at input 2.
fn finish(r: &mut Rule<'_, '_>, mut y: Value, rank: usize) -> Result<Outputs, Misfit> {
    let names: Vec<String> = r
        .attr("fused_ops")
        .and_then(Attr::as_list)
        .map(|l| l.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    let mut next = 2;
    for name in &names {
        y = match name.as_str() {
            "BiasAdd" => {
                let bias = r.input(next)?;
                next += 1;
                let bias = per_channel(r, bias, rank)?;
                make::add(r.b, y, bias)?
            }
            "FusedBatchNorm" => {
                let operands = [r.input(next)?, r.input(next + 1)?, r.input(next + 2)?, r.input(next + 3)?];
                next += 4;
                let epsilon = f64::from(r.float_or("epsilon", 1e-4));
                normalise(r, y, operands, rank, epsilon)?
            }
            "Relu" => make::relu(r.b, y)?,
            "Relu6" => {
                let y = make::relu(r.b, y)?;
                let six = make::scalar_like(r.b, y, 6.0);
                make::minimum(r.b, y, six)?
            }
            "Elu" => make::unary(r.b, UnaryFn::Elu, y)?,
            "Tanh" => make::tanh(r.b, y)?,
            "Sigmoid" => make::sigmoid(r.b, y)?,
            "LeakyRelu" => {
                let slope = f64::from(r.float_or("leakyrelu_alpha", 0.2));
                let scaled = make::mul_scalar(r.b, y, slope)?;
                make::maximum(r.b, y, scaled)?
            }
            other => return Err(Misfit(format!("the fused operation {other:?} is not known"))),
        };
    }
    Ok(smallvec![y])
}
