//! The small messages of a checkpoint's index (tensorflow/core/protobuf/tensor_bundle.proto, tensor_shape.proto,
//! tensor_slice.proto), and of the format before it
//! (tensorflow/core/util/saved_tensor_slice.proto).

/// Under the empty key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Header {
    #[prost(int32, tag = "1")]
    pub num_shards: i32,
    /// 0 little, 1 big.
    #[prost(int32, tag = "2")]
    pub endianness: i32,
}

/// Under each tensor's name.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    #[prost(int32, tag = "1")]
    pub dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
    #[prost(int32, tag = "3")]
    pub shard_id: i32,
    #[prost(int64, tag = "4")]
    pub offset: i64,
    #[prost(int64, tag = "5")]
    pub size: i64,
    /// Masked CRC-32C of the tensor's bytes.
    #[prost(fixed32, tag = "6")]
    pub crc32c: u32,
    /// Where the tensor is stored in pieces, each under a key of its own.
    #[prost(message, repeated, tag = "7")]
    pub slices: Vec<Slice>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Shape {
    #[prost(message, repeated, tag = "2")]
    pub dim: Vec<Dim>,
    #[prost(bool, tag = "3")]
    pub unknown_rank: bool,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Dim {
    #[prost(int64, tag = "1")]
    pub size: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Slice {
    #[prost(message, repeated, tag = "1")]
    pub extent: Vec<Extent>,
}

/// One dimension of a slice; without a length it is the whole dimension.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Extent {
    #[prost(int64, tag = "1")]
    pub start: i64,
    #[prost(int64, optional, tag = "2")]
    pub length: Option<i64>,
}

/// A row of a checkpoint in the first format: the list of its tensors under the empty key, else the values of a slice.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SavedSlices {
    #[prost(message, optional, tag = "1")]
    pub meta: Option<SlicesMeta>,
    #[prost(message, optional, tag = "2")]
    pub data: Option<SavedSlice>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SlicesMeta {
    #[prost(message, repeated, tag = "1")]
    pub tensor: Vec<SliceMeta>,
}

/// A tensor of the first format and which slices of it are stored.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SliceMeta {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
    #[prost(int32, tag = "3")]
    pub dtype: i32,
    #[prost(message, repeated, tag = "4")]
    pub slice: Vec<Slice>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SavedSlice {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub slice: Option<Slice>,
    /// A TensorProto without type and shape.
    #[prost(bytes = "vec", tag = "3")]
    pub data: Vec<u8>,
}
