//! Functions of one element: the table, the shape rule, and who passes gradients. Values are in [`super::unary_kernel`],
//! derivatives in [`super::unary_gradient`].

use std::sync::Arc;

use crate::program::op::arity;
use crate::program::{Builder, Example, Flow, Kernel, Misfit, Op, OpInfo, Site, Value};
use crate::tensor::{DType, Fact, Tensor};

use super::{unary_gradient, unary_kernel};

/// `y = f(x)`, element by element.
#[derive(Clone, Debug)]
pub struct Unary {
    pub f: UnaryFn,
}

/// What a function does with gradients and types.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Differentiable, floats only.
    Smooth,
    /// Differentiable, also defined for integers.
    Both,
    /// Piecewise constant.
    Step,
    /// Float to boolean.
    Test,
    /// Booleans or integers, bit by bit.
    Bits,
}

macro_rules! table {
    ($($name:ident $text:literal $kind:ident ($lo:literal, $hi:literal) $formula:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum UnaryFn { $(#[doc = $formula] $name),* }


        const KINDS: &[Kind] = &[$(Kind::$kind),*];

        /// The catalogue entries.
        pub static INFOS: &[&OpInfo] = &[$(&OpInfo {
            name: $text,
            family: "elementwise",
            summary: $formula,
            formula: $formula,
            examples: || examples(UnaryFn::$name, $lo, $hi),
        }),*];
    };
}

table! {
    Neg "neg" Both (-3.0, 3.0) "-x";
    Abs "abs" Both (0.2, 3.0) "|x|; its slope at 0 is 0";
    Sign "sign" Step (-3.0, 3.0) "-1, 0 or 1";
    Square "square" Both (-3.0, 3.0) "x²";
    Sqrt "sqrt" Smooth (0.2, 3.0) "√x";
    Rsqrt "rsqrt" Smooth (0.2, 3.0) "1/√x";
    Reciprocal "reciprocal" Smooth (0.3, 3.0) "1/x";
    Exp "exp" Smooth (-3.0, 3.0) "eˣ";
    Expm1 "expm1" Smooth (-3.0, 3.0) "eˣ - 1, exact near 0";
    Log "log" Smooth (0.2, 3.0) "ln x, x > 0";
    Log1p "log1p" Smooth (-0.8, 3.0) "ln(1 + x), exact near 0";
    Sin "sin" Smooth (-3.0, 3.0) "sin x";
    Cos "cos" Smooth (-3.0, 3.0) "cos x";
    Tan "tan" Smooth (-1.2, 1.2) "tan x";
    Asin "asin" Smooth (-0.9, 0.9) "arc sine, |x| ≤ 1";
    Acos "acos" Smooth (-0.9, 0.9) "arc cosine, |x| ≤ 1";
    Atan "atan" Smooth (-3.0, 3.0) "arc tangent";
    Sinh "sinh" Smooth (-3.0, 3.0) "(eˣ - e⁻ˣ)/2";
    Cosh "cosh" Smooth (-3.0, 3.0) "(eˣ + e⁻ˣ)/2";
    Tanh "tanh" Smooth (-3.0, 3.0) "(eˣ - e⁻ˣ)/(eˣ + e⁻ˣ)";
    Asinh "asinh" Smooth (-3.0, 3.0) "ln(x + √(x² + 1))";
    Acosh "acosh" Smooth (1.2, 4.0) "ln(x + √(x² - 1)), x ≥ 1";
    Atanh "atanh" Smooth (-0.9, 0.9) "½ ln((1 + x)/(1 - x)), |x| < 1";
    Sigmoid "sigmoid" Smooth (-4.0, 4.0) "1/(1 + e⁻ˣ)";
    Erf "erf" Smooth (-2.5, 2.5) "2/√π ∫₀ˣ e^(-t²) dt";
    Erfc "erfc" Smooth (-2.5, 2.5) "1 - erf x, exact for large x";
    Erfinv "erfinv" Smooth (-0.9, 0.9) "the x with erf(x) given, |x| < 1 (rational start, then Newton steps)";
    Lgamma "lgamma" Smooth (0.3, 4.0) "ln |Γ(x)|";
    Digamma "digamma" Smooth (0.3, 4.0) "derivative of ln Γ(x)";
    BesselI0 "bessel_i0" Smooth (-3.0, 3.0) "modified Bessel function of the first kind, order 0";
    BesselI0e "bessel_i0e" Smooth (0.2, 3.0) "e^-|x| I₀(x)";
    BesselI1 "bessel_i1" Smooth (-3.0, 3.0) "modified Bessel function of the first kind, order 1";
    BesselI1e "bessel_i1e" Smooth (0.2, 3.0) "e^-|x| I₁(x)";
    BesselJ0 "bessel_j0" Smooth (-5.0, 5.0) "Bessel function of the first kind, order 0";
    BesselJ1 "bessel_j1" Smooth (-5.0, 5.0) "Bessel function of the first kind, order 1";
    BesselY0 "bessel_y0" Smooth (0.3, 5.0) "Bessel function of the second kind, order 0, x > 0";
    BesselY1 "bessel_y1" Smooth (0.3, 5.0) "Bessel function of the second kind, order 1, x > 0";
    BesselK0 "bessel_k0" Smooth (0.3, 5.0) "modified Bessel function of the second kind, order 0, x > 0";
    BesselK0e "bessel_k0e" Smooth (0.3, 5.0) "eˣ K₀(x)";
    BesselK1 "bessel_k1" Smooth (0.3, 5.0) "modified Bessel function of the second kind, order 1, x > 0";
    BesselK1e "bessel_k1e" Smooth (0.3, 5.0) "eˣ K₁(x)";
    Dawson "dawson" Smooth (-3.0, 3.0) "e^(-x²) ∫₀ˣ e^(t²) dt";
    Expint "expint" Smooth (0.3, 5.0) "Ei(x) = ∫ eᵗ/t dt from -∞ to x";
    Spence "spence" Smooth (0.2, 5.0) "-∫₁ˣ ln t/(t - 1) dt, x ≥ 0";
    FresnelSin "fresnel_sin" Smooth (-3.0, 3.0) "∫₀ˣ sin(πt²/2) dt";
    FresnelCos "fresnel_cos" Smooth (-3.0, 3.0) "∫₀ˣ cos(πt²/2) dt";
    Softplus "softplus" Smooth (-4.0, 4.0) "ln(1 + eˣ) = max(x, 0) + ln(1 + e^-|x|)";
    Softsign "softsign" Smooth (0.2, 4.0) "x/(1 + |x|)";
    Relu "relu" Both (0.2, 3.0) "max(x, 0); its slope at 0 is 0";
    Relu6 "relu6" Both (0.2, 5.0) "min(max(x, 0), 6); its slope at 0 and 6 is 0";
    Elu "elu" Smooth (-3.0, 3.0) "x where x > 0, else eˣ - 1";
    Selu "selu" Smooth (0.2, 3.0) "1.0507 x where x > 0, else 1.0507 · 1.67326 (eˣ - 1) (Klambauer et al. 2017)";
    Floor "floor" Step (-3.0, 3.0) "largest integer not above x";
    Ceil "ceil" Step (-3.0, 3.0) "smallest integer not below x";
    Trunc "trunc" Step (-3.0, 3.0) "x without its fraction";
    Round "round" Step (-3.0, 3.0) "nearest integer, halves to the even one";
    IsNan "is_nan" Test (-3.0, 3.0) "whether x is not a number";
    IsInf "is_inf" Test (-3.0, 3.0) "whether x is infinite";
    IsFinite "is_finite" Test (-3.0, 3.0) "whether x is neither infinite nor NaN";
    Not "not" Bits (0.0, 1.0) "logical not of booleans, bitwise not of integers";
}

impl UnaryFn {
    fn kind(self) -> Kind {
        KINDS[self as usize]
    }

    fn accepts(self, dtype: DType) -> bool {
        match self.kind() {
            Kind::Smooth | Kind::Test => dtype.is_float(),
            Kind::Both | Kind::Step => dtype.is_float() || dtype.is_int(),
            Kind::Bits => dtype.is_exact(),
        }
    }
}

impl Op for Unary {
    fn info(&self) -> &'static OpInfo {
        INFOS[self.f as usize]
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        arity(inputs, 1)?;
        let x = inputs[0];
        if x.dtype != DType::Unknown && !self.f.accepts(x.dtype) {
            return Err(Misfit(format!("not defined for {}", x.dtype)));
        }
        let dtype = if self.f.kind() == Kind::Test { DType::Bool } else { x.dtype };
        Ok(vec![Fact::new(dtype, x.shape.clone())])
    }

    fn kernel(&self, inputs: &[&Fact], outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        let dims = outputs[0].dims().ok_or_else(|| Misfit::new("the shape is not known"))?;
        unary_kernel::kernel(self.f, inputs[0].dtype, dims.iter().product())
    }

    fn flow(&self, _input: usize, inputs: &[&Fact]) -> Flow {
        match self.f.kind() {
            Kind::Test => Flow::Zero("a test is true or false: no gradient"),
            Kind::Bits => Flow::Zero("logic on booleans or bits has no gradient"),
            Kind::Step => Flow::Zero("rounding and sign are constant between their steps: the slope is zero"),
            Kind::Smooth | Kind::Both if inputs[0].dtype.is_exact() => Flow::Zero("integers have no gradient"),
            Kind::Smooth | Kind::Both => Flow::Flows,
        }
    }

    fn vjp(
        &self,
        b: &mut Builder,
        at: &Site<'_>,
        out_grads: &[Option<Value>],
        _wanted: &[bool],
    ) -> Result<Vec<Option<Value>>, Misfit> {
        let Some(g) = out_grads[0] else { return Ok(vec![None]) };
        unary_gradient::vjp(self.f, b, at.inputs[0], at.outputs[0], g).map(|g| vec![g])
    }
}

/// Points of `[lo, hi]` that avoid kinks, as doubles; where the range starts above 0 by a kink, also their negatives.
fn examples(f: UnaryFn, lo: f64, hi: f64) -> Vec<Example> {
    let op: Arc<dyn Op> = Arc::new(Unary { f });
    if f == UnaryFn::Not {
        let x = Tensor::from_bools(&[2], &[true, false]);
        return vec![Example { op, inputs: vec![x], outputs: Some(vec![Tensor::from_bools(&[2], &[false, true])]) }];
    }
    let mirrored = matches!(
        f,
        UnaryFn::Abs | UnaryFn::Relu | UnaryFn::Relu6 | UnaryFn::Selu | UnaryFn::Softsign | UnaryFn::Reciprocal
    );
    let n = 6;
    let points = (0..n).map(|i| {
        let x = lo + (hi - lo) * (f64::from(i) + 0.37) / f64::from(n);
        if mirrored && i % 2 == 1 { -x } else { x }
    });
    let x = Tensor::from_f64s(DType::F64, &[2, 3], points);
    vec![Example { op, inputs: vec![x], outputs: None }]
}
