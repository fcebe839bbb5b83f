//! Element types of ONNX that are narrower than any of ours: 4- and 2-bit integers, 8- and 4-bit floats.

use crate::tensor::{DType, Tensor};

/// How a narrow type is stored and what its bits mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrow {
    Int {
        bits: u32,
        is_signed: bool,
    },
    /// Sign, exponent and mantissa; `bits` in all.
    Float {
        bits: u32,
        mantissa: u32,
        bias: i32,
        special: Special,
    },
    /// An exponent alone: a power of two.
    Exponent,
}

/// Which bit patterns are no numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    None,
    /// All ones are NaN; there are no infinities.
    OnesAreNan,
    /// Minus zero is NaN; there are no infinities.
    MinusZeroIsNan,
    /// As IEEE 754.
    Ieee,
}

impl Narrow {
    /// By TensorProto.DataType; `None` for types that we keep as they are.
    pub fn from_code(code: u64) -> Option<Self> {
        let float = |bits, mantissa, bias, special| Some(Self::Float { bits, mantissa, bias, special });
        match code {
            17 => float(8, 3, 7, Special::OnesAreNan),
            18 => float(8, 3, 8, Special::MinusZeroIsNan),
            19 => float(8, 2, 15, Special::Ieee),
            20 => float(8, 2, 16, Special::MinusZeroIsNan),
            21 => Some(Self::Int { bits: 4, is_signed: false }),
            22 => Some(Self::Int { bits: 4, is_signed: true }),
            23 => float(4, 1, 1, Special::None),
            24 => Some(Self::Exponent),
            25 => Some(Self::Int { bits: 2, is_signed: false }),
            26 => Some(Self::Int { bits: 2, is_signed: true }),
            _ => None,
        }
    }

    /// The type that holds its values exactly.
    pub fn dtype(self) -> DType {
        match self {
            Self::Int { is_signed: true, .. } => DType::I8,
            Self::Int { is_signed: false, .. } => DType::U8,
            Self::Float { .. } | Self::Exponent => DType::F32,
        }
    }

    pub fn bits(self) -> u32 {
        match self {
            Self::Int { bits, .. } | Self::Float { bits, .. } => bits,
            Self::Exponent => 8,
        }
    }

    /// Bytes that `count` elements take; several share a byte, the first in its low bits.
    pub fn bytes(self, count: usize) -> usize {
        count.div_ceil((8 / self.bits()) as usize)
    }

    /// The values; `None` where there are not as many bytes as needed.
    pub fn unpack(self, packed: &[u8], dims: &[usize], count: usize) -> Option<Tensor> {
        if packed.len() < self.bytes(count) {
            return None;
        }
        let per_byte = (8 / self.bits()) as usize;
        let value = |i: usize| {
            let shift = (i % per_byte) as u32 * self.bits();
            self.value(u32::from(packed[i / per_byte]) >> shift & ((1 << self.bits()) - 1))
        };
        Some(Tensor::from_f64s(self.dtype(), dims, (0..count).map(value)))
    }

    fn value(self, code: u32) -> f64 {
        match self {
            Self::Int { bits, is_signed } => {
                let v = f64::from(code);
                if is_signed && code >> (bits - 1) != 0 { v - f64::from(1u32 << bits) } else { v }
            }
            Self::Exponent if code == 0xff => f64::NAN,
            Self::Exponent => (f64::from(code) - 127.0).exp2(),
            Self::Float { bits, mantissa, bias, special } => {
                let sign = if code >> (bits - 1) != 0 { -1.0 } else { 1.0 };
                let magnitude = code & ((1 << (bits - 1)) - 1);
                let (exponent, fraction) = (magnitude >> mantissa, magnitude & ((1 << mantissa) - 1));
                let all_ones = (1u32 << (bits - 1 - mantissa)) - 1;
                match special {
                    Special::OnesAreNan if magnitude == (1 << (bits - 1)) - 1 => return f64::NAN,
                    Special::MinusZeroIsNan if magnitude == 0 && sign < 0.0 => return f64::NAN,
                    Special::Ieee if exponent == all_ones && fraction != 0 => return f64::NAN,
                    Special::Ieee if exponent == all_ones => return sign * f64::INFINITY,
                    _ => {}
                }
                let fraction = f64::from(fraction) / f64::from(1u32 << mantissa);
                let exponent = exponent as i32;
                let size = if exponent == 0 {
                    fraction * f64::from(1 - bias).exp2()
                } else {
                    (1.0 + fraction) * f64::from(exponent - bias).exp2()
                };
                sign * size
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_mean_what_the_standard_says() {
        let t =
            |code, bytes: &[u8], n| Narrow::from_code(code).unwrap().unpack(bytes, &[n], n).unwrap().to_f64s().unwrap();
        assert_eq!(t(22, &[0x8f, 0x07], 3), [-1.0, -8.0, 7.0]);
        assert_eq!(t(21, &[0x8f], 2), [15.0, 8.0]);
        assert_eq!(t(17, &[0x38, 0x7e, 0xb8, 0x01], 4), [1.0, 448.0, -1.0, 2f64.powi(-9)]);
        assert_eq!(t(19, &[0x3c, 0x7b], 2), [1.0, 57344.0]);
        assert!(t(19, &[0x7c], 1)[0].is_infinite() && t(18, &[0x80], 1)[0].is_nan());
        assert_eq!(t(23, &[0x72], 2), [1.0, 6.0]);
    }
}
