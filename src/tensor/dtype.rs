//! Element types of tensors.

use half::{bf16, f16};

/// The element types that files contain. `String`, `Resource` and `Variant` have no fixed byte size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    F16,
    BF16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    /// One byte an element, 0 or 1.
    Bool,
    C64,
    C128,
    String,
    /// A handle to a variable, table or iterator; never computed with.
    Resource,
    /// A TensorList or another opaque value.
    Variant,
    /// Not known, or a type that is kept but not computed with (quantised and packed types).
    Unknown,
}

impl DType {
    /// Bytes of one element; 0 where an element has no fixed size.
    pub fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 | Self::C64 => 8,
            Self::C128 => 16,
            Self::String | Self::Resource | Self::Variant | Self::Unknown => 0,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    pub fn is_half(self) -> bool {
        matches!(self, Self::F16 | Self::BF16)
    }

    pub fn is_signed_int(self) -> bool {
        matches!(self, Self::I8 | Self::I16 | Self::I32 | Self::I64)
    }

    pub fn is_int(self) -> bool {
        self.is_signed_int() || matches!(self, Self::U8 | Self::U16 | Self::U32 | Self::U64)
    }

    /// Integer or boolean: arithmetic that may be folded before the trainable set is known.
    pub fn is_exact(self) -> bool {
        self.is_int() || self == Self::Bool
    }

    /// The name that NumPy, TensorFlow and the command line use.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::Bool => "bool",
            Self::C64 => "complex64",
            Self::C128 => "complex128",
            Self::String => "string",
            Self::Resource => "resource",
            Self::Variant => "variant",
            Self::Unknown => "unknown",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|d| d.name() == name)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

pub const ALL: [DType; 19] = [
    DType::F16,
    DType::BF16,
    DType::F32,
    DType::F64,
    DType::I8,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::U8,
    DType::U16,
    DType::U32,
    DType::U64,
    DType::Bool,
    DType::C64,
    DType::C128,
    DType::String,
    DType::Resource,
    DType::Variant,
    DType::Unknown,
];

/// A Rust type that is the storage of a [`DType`]. Booleans are stored as `u8`.
pub trait Element: bytemuck::Pod + Send + Sync + PartialEq + std::fmt::Debug + 'static {
    const DTYPE: DType;

    /// Whether a tensor of `dtype` may be viewed as a slice of this type.
    fn stores(dtype: DType) -> bool {
        dtype == Self::DTYPE
    }
}

macro_rules! elements {
    ($($t:ty => $d:ident),*) => { $(impl Element for $t { const DTYPE: DType = DType::$d; })* };
}
elements!(f16 => F16, bf16 => BF16, f32 => F32, f64 => F64, i8 => I8, i16 => I16, i32 => I32, i64 => I64, u16 => U16, u32 => U32, u64 => U64);

impl Element for u8 {
    const DTYPE: DType = DType::U8;

    fn stores(dtype: DType) -> bool {
        matches!(dtype, DType::U8 | DType::Bool)
    }
}
