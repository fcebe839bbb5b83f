//! Functions of two elements with NumPy broadcasting: the table, the shape rule, and who passes gradients. Values are in
//! [`super::binary_kernel`], derivatives in [`super::binary_gradient`].

use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, Tensor, shape};

use super::{binary_gradient, binary_kernel};

/// `y = f(a, b)`, element by element; shapes broadcast.
#[derive(Clone, Debug)]
pub struct Binary {
    pub f: BinaryFn,
}

/// What a function does with gradients and types.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Differentiable in both; floats only.
    Smooth,
    /// Differentiable in both; also defined for integers.
    Both,
    /// Differentiable in the second only; floats only.
    Second,
    /// A derivative whose own derivatives have no rule; floats only.
    Slope,
    /// Piecewise constant; numbers.
    Step,
    /// To boolean, from numbers.
    Compare,
    /// Boolean to boolean.
    Logic,
    /// Integers, bit by bit.
    Bits,
}

macro_rules! table {
    ($($name:ident $text:literal $kind:ident $a:expr, $b:expr; $formula:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum BinaryFn { $(#[doc = $formula] $name),* }


        const KINDS: &[Kind] = &[$(Kind::$kind),*];

        /// The catalogue entries.
        pub static INFOS: &[&OpInfo] = &[$(&OpInfo {
            name: $text,
            family: "elementwise",
            summary: $formula,
            formula: $formula,
            examples: || examples(BinaryFn::$name, &$a, &$b),
        }),*];
    };
}

/// Example operands: of both signs, positive, and apart from each other.
const ANY: [f64; 4] = [0.7, -1.3, 2.4, -0.4];
const OTHER: [f64; 4] = [-1.1, 0.6, 1.7, 2.9];
const POSITIVE: [f64; 4] = [0.7, 1.3, 2.4, 0.4];

table! {
    Add "add" Both ANY, OTHER; "a + b";
    Sub "sub" Both ANY, OTHER; "a - b";
    Mul "mul" Both ANY, OTHER; "a · b";
    Div "div" Both ANY, OTHER; "a / b; integers round towards zero, and x / 0 is 0 for them";
    FloorDiv "floor_div" Step ANY, OTHER; "⌊a / b⌋";
    TruncDiv "trunc_div" Step ANY, OTHER; "a / b without its fraction";
    FloorMod "floor_mod" Both ANY, OTHER; "a - b ⌊a / b⌋: the remainder with the sign of b";
    TruncMod "trunc_mod" Both ANY, OTHER; "the remainder with the sign of a";
    Pow "pow" Both POSITIVE, OTHER; "aᵇ";
    Maximum "maximum" Both ANY, OTHER; "the larger one; NaN where either is NaN; where equal the gradient goes to a";
    Minimum "minimum" Both ANY, OTHER; "the smaller one; NaN where either is NaN; where equal the gradient goes to a";
    SquaredDifference "squared_difference" Both ANY, OTHER; "(a - b)²";
    DivNoNan "div_no_nan" Smooth ANY, OTHER; "a / b, and 0 where b = 0";
    MulNoNan "mul_no_nan" Smooth ANY, OTHER; "a · b, and 0 where b = 0, even for infinite a";
    Xlogy "xlogy" Smooth ANY, POSITIVE; "a ln b, and 0 where a = 0";
    Xlog1py "xlog1py" Smooth ANY, POSITIVE; "a ln(1 + b), and 0 where a = 0";
    Xdivy "xdivy" Smooth ANY, OTHER; "a / b, and 0 where a = 0";
    Atan2 "atan2" Smooth ANY, OTHER; "the angle of the point (b, a)";
    Less "less" Compare ANY, OTHER; "a < b";
    LessEqual "less_equal" Compare ANY, OTHER; "a ≤ b";
    Greater "greater" Compare ANY, OTHER; "a > b";
    GreaterEqual "greater_equal" Compare ANY, OTHER; "a ≥ b";
    Equal "equal" Compare ANY, OTHER; "a = b";
    NotEqual "not_equal" Compare ANY, OTHER; "a ≠ b";
    And "and" Logic ANY, OTHER; "both are true";
    Or "or" Logic ANY, OTHER; "at least one is true";
    Xor "xor" Logic ANY, OTHER; "exactly one is true";
    BitAnd "bit_and" Bits ANY, OTHER; "bits that are set in both";
    BitOr "bit_or" Bits ANY, OTHER; "bits that are set in either";
    BitXor "bit_xor" Bits ANY, OTHER; "bits that are set in one only";
    ShiftLeft "shift_left" Bits ANY, OTHER; "a · 2ᵇ, high bits lost";
    ShiftRight "shift_right" Bits ANY, OTHER; "⌊a / 2ᵇ⌋";
    SqrtGradient "sqrt_gradient" Smooth POSITIVE, OTHER; "g/(2y): gradient of y = √x";
    RsqrtGradient "rsqrt_gradient" Smooth POSITIVE, OTHER; "-½ g y³: gradient of y = 1/√x";
    ReciprocalGradient "reciprocal_gradient" Smooth ANY, OTHER; "-g y²: gradient of y = 1/x";
    TanhGradient "tanh_gradient" Smooth ANY, OTHER; "g (1 - y²): gradient of y = tanh x";
    SigmoidGradient "sigmoid_gradient" Smooth ANY, OTHER; "g y (1 - y): gradient of the sigmoid y";
    ErfGradient "erf_gradient" Smooth ANY, OTHER; "2/√π e^(-x²) g: gradient of erf at x";
    ReluGradient "relu_gradient" Second ANY, OTHER; "g where y > 0, else 0: gradient of y = max(x, 0)";
    Relu6Gradient "relu6_gradient" Second ANY, OTHER; "g where 0 < y < 6, else 0";
    EluGradient "elu_gradient" Smooth ANY, OTHER; "g where y ≥ 0, else g (y + 1): gradient of the ELU y";
    SeluGradient "selu_gradient" Smooth ANY, OTHER; "gradient of the SELU y";
    Polygamma "polygamma" Second [1.0, 2.0, 1.0, 3.0], POSITIVE; "derivative of order a of digamma at b";
    Zeta "zeta" Second [2.0, 3.5, 1.5, 4.0], POSITIVE; "Hurwitz zeta: Σ (b + k)^-a";
    Igamma "igamma" Smooth POSITIVE, POSITIVE; "regularised lower incomplete gamma function P(a, b)";
    Igammac "igammac" Smooth POSITIVE, POSITIVE; "1 - P(a, b)";
    IgammaSlope "igamma_slope" Slope POSITIVE, POSITIVE; "the derivative of P(a, b) by a";
    NextAfter "next_after" Smooth ANY, OTHER; "the next float after a towards b";
}

impl BinaryFn {
    pub(super) fn kind(self) -> Kind {
        KINDS[self as usize]
    }

    fn accepts(self, dtype: DType) -> bool {
        match self.kind() {
            _ if self == Self::NextAfter => matches!(dtype, DType::F32 | DType::F64),
            Kind::Smooth | Kind::Second | Kind::Slope => dtype.is_float(),
            Kind::Both | Kind::Step => dtype.is_float() || dtype.is_int(),
            Kind::Compare => dtype.is_float() || dtype.is_exact(),
            Kind::Logic => dtype == DType::Bool,
            Kind::Bits => dtype.is_int(),
        }
    }
}

impl Op for Binary {
    fn info(&self) -> &'static OpInfo {
        INFOS[self.f as usize]
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 2)?;
        let (a, b) = (inputs[0], inputs[1]);
        let dtype = match (a.dtype, b.dtype) {
            (DType::Unknown, d) | (d, DType::Unknown) => d,
            (x, y) if x == y => x,
            (x, y) => return Err(Misfit(format!("element types differ: {x} and {y}"))),
        };
        if dtype != DType::Unknown && !self.f.accepts(dtype) {
            return Err(Misfit(format!("not defined for {dtype}")));
        }
        let Some(shape) = shape::broadcast(&a.shape, &b.shape) else {
            return Err(Misfit(format!("shapes {} and {} do not broadcast", a.shape, b.shape)));
        };
        let out = if matches!(self.f.kind(), Kind::Compare | Kind::Logic) { DType::Bool } else { dtype };
        Ok(vec![Fact::new(out, shape)])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let dims = |f: &Fact| f.dims().ok_or_else(|| Misfit::new("the shape is not known"));
        let (a, b, out) = (dims(inputs[0])?, dims(inputs[1])?, dims(outputs[0])?);
        binary_kernel::kernel(self.f, inputs[0].dtype, &a, &b, &out)
    }

    fn flow(&self, input: usize, inputs: &[&Fact]) -> Flow {
        match self.f.kind() {
            Kind::Compare => Flow::Zero("a comparison is true or false: no gradient"),
            Kind::Logic | Kind::Bits => Flow::Zero("logic on booleans or bits has no gradient"),
            Kind::Step => Flow::Zero("division that rounds is constant between its steps: the slope is zero"),
            _ if inputs[0].dtype.is_exact() => Flow::Zero("integers have no gradient"),
            Kind::Slope => {
                Flow::Blocked("the second derivative of igamma by its first argument has no rule here".into())
            }
            _ if self.f == BinaryFn::NextAfter && input == 1 => {
                Flow::Zero("it only says in which direction the next number is")
            }
            Kind::Second if input == 0 => match self.f {
                BinaryFn::ReluGradient | BinaryFn::Relu6Gradient => {
                    Flow::Zero("the slope of a piecewise linear function is constant between its kinks")
                }
                BinaryFn::Polygamma => Flow::Zero("the order of a polygamma function is an integer"),
                f => Flow::Blocked(format!(
                    "the derivative of {} by its first argument has no closed form here",
                    INFOS[f as usize].name
                )),
            },
            Kind::Smooth | Kind::Both | Kind::Second => Flow::Flows,
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None, None]) };
        binary_gradient::vjp(self.f, b, at, g, [wanted[0], wanted[1]])
    }
}

/// Equal shapes, a row, a column and a scalar against a matrix; integers and comparisons with their values.
fn examples(f: BinaryFn, a: &[f64], b: &[f64]) -> Vec<Example> {
    let op: Arc<dyn Op> = Arc::new(Binary { f });
    let example = |inputs: Vec<Tensor>| Example { op: op.clone(), inputs, outputs: None };
    match f.kind() {
        Kind::Logic => {
            let a = Tensor::from_bools(&[4], &[false, false, true, true]);
            let b = Tensor::from_bools(&[4], &[false, true, false, true]);
            vec![example(vec![a, b])]
        }
        Kind::Bits => {
            let a = Tensor::from_slice(&[4], &[12i32, -7, 255, 3]);
            let b = Tensor::from_slice(&[4], &[3i32, 1, 4, 2]);
            vec![example(vec![a, b])]
        }
        _ => {
            let make = |dims: &[usize], v: &[f64], shift: f64| {
                let n: usize = dims.iter().product();
                let step = if v.iter().all(|x| x.fract() == 0.0) { 0.0 } else { shift };
                Tensor::from_f64s(DType::F64, dims, (0..n).map(|i| v[i % v.len()] + step * (i / v.len()) as f64))
            };
            vec![
                example(vec![make(&[2, 4], a, 0.13), make(&[2, 4], b, 0.07)]),
                example(vec![make(&[2, 4], a, 0.13), make(&[4], b, 0.07)]),
                example(vec![make(&[2, 1], a, 0.13), make(&[2, 4], b, 0.07)]),
                example(vec![make(&[], a, 0.13), make(&[3, 2], b, 0.07)]),
            ]
        }
    }
}
