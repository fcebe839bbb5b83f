//! How many outputs a TensorFlow op has, what they are called, and their element types.
//!
//! A GraphDef does not say: the op registry does. Ops that are not listed have one output until a reader asks for more.
//! Source: tensorflow/core/ops/*.cc.

use indexmap::IndexMap;

use crate::graph::Attr;
use crate::tensor::{DType, Fact, PartialShape};

type Attrs = IndexMap<String, Attr>;

/// Named outputs in order and how many ports each takes.
pub type Ports<'a> = Vec<(&'a str, usize)>;

/// Ops with several named outputs of one port each.
const NAMED: &[(&[&str], &[&str])] = &[
    (&["Switch", "RefSwitch"], &["output_false", "output_true"]),
    (&["Merge", "RefMerge"], &["output", "value_index"]),
    (
        &["FusedBatchNorm", "FusedBatchNormV2"],
        &["y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"],
    ),
    (
        &["FusedBatchNormV3", "_FusedBatchNormEx"],
        &["y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2", "reserve_space_3"],
    ),
    (
        &["FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3"],
        &["x_backprop", "scale_backprop", "offset_backprop", "reserve_space_3", "reserve_space_4"],
    ),
    (&["SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits"], &["loss", "backprop"]),
    (&["TopK", "TopKV2"], &["values", "indices"]),
    (&["Unique", "UniqueV2"], &["y", "idx"]),
    (&["UniqueWithCounts", "UniqueWithCountsV2"], &["y", "idx", "count"]),
    (&["ListDiff", "SetDiff1D"], &["out", "idx"]),
    (&["MaxPoolWithArgmax"], &["output", "argmax"]),
    (&["BroadcastGradientArgs"], &["r0", "r1"]),
    (&["Qr"], &["q", "r"]),
    (&["Svd"], &["s", "u", "v"]),
    (&["SelfAdjointEigV2", "Eig"], &["e", "v"]),
    (&["Lu"], &["lu", "p"]),
    (&["LogMatrixDeterminant"], &["sign", "log_abs_determinant"]),
    (&["TensorArrayV3", "TensorArrayGradV3"], &["handle", "flow"]),
    (&["TensorArrayConcatV3", "TensorArrayConcatV2", "TensorArrayConcat"], &["value", "lengths"]),
    (&["TensorListPopBack"], &["output_handle", "tensor"]),
    (&["TensorListConcat", "TensorListConcatV2"], &["tensor", "lengths"]),
    (&["LSTMBlockCell"], &["i", "cs", "f", "o", "ci", "co", "h"]),
    (&["BlockLSTM", "BlockLSTMV2"], &["i", "cs", "f", "o", "ci", "co", "h"]),
    (&["GRUBlockCell"], &["r", "u", "c", "h"]),
    (&["CudnnRNN"], &["output", "output_h", "output_c", "reserve_space"]),
    (&["CudnnRNNV2", "CudnnRNNV3"], &["output", "output_h", "output_c", "reserve_space", "host_reserved"]),
    (&["StatelessRandomGetKeyCounter"], &["key", "counter"]),
    (&["StatelessRandomGetKeyCounterAlg"], &["key", "counter", "alg"]),
    (
        &["FakeQuantWithMinMaxVarsGradient", "FakeQuantWithMinMaxVarsPerChannelGradient"],
        &["backprops_wrt_input", "backprop_wrt_min", "backprop_wrt_max"],
    ),
    (&["QuantizeAndDequantizeV4Grad"], &["input_backprop", "input_min_backprop", "input_max_backprop"]),
    (&["NonMaxSuppressionV4"], &["selected_indices", "valid_outputs"]),
    (&["NonMaxSuppressionV5"], &["selected_indices", "selected_scores", "valid_outputs"]),
    (&["CombinedNonMaxSuppression"], &["nmsed_boxes", "nmsed_scores", "nmsed_classes", "valid_detections"]),
    (&["SampleDistortedBoundingBox", "SampleDistortedBoundingBoxV2"], &["begin", "size", "bboxes"]),
    (&["SparseReshape"], &["output_indices", "output_shape"]),
    (&["SparseFillEmptyRows"], &["output_indices", "output_values", "empty_row_indicator", "reverse_index_map"]),
    (&["SparseReorder"], &["output_indices", "output_values"]),
    (&["SparseConcat", "SparseSlice"], &["output_indices", "output_values", "output_shape"]),
    (&["SparseAdd"], &["sum_indices", "sum_values", "sum_shape"]),
    (&["StringSplit", "StringSplitV2"], &["indices", "values", "shape"]),
    (&["CTCLoss", "CTCLossV2"], &["loss", "gradient"]),
    (
        &["LogUniformCandidateSampler", "UniformCandidateSampler", "LearnedUnigramCandidateSampler"],
        &["sampled_candidates", "true_expected_count", "sampled_expected_count"],
    ),
    (
        &[
            "QuantizeV2",
            "QuantizedRelu",
            "QuantizedRelu6",
            "QuantizedReluX",
            "Requantize",
            "QuantizeDownAndShrinkRange",
            "QuantizedReshape",
            "QuantizedConcat",
            "QuantizedMaxPool",
            "QuantizedAvgPool",
        ],
        &["output", "output_min", "output_max"],
    ),
    (&["QuantizedMatMul", "QuantizedBiasAdd", "QuantizedConv2D"], &["out", "min_out", "max_out"]),
    (&["RequantizationRange"], &["output_min", "output_max"]),
    (&["FractionalAvgPool", "FractionalMaxPool"], &["output", "row_pooling_sequence", "col_pooling_sequence"]),
    (&["DecodeWav"], &["audio", "sample_rate"]),
    (&["RaggedRange"], &["rt_nested_splits", "rt_dense_values"]),
    (&["ReaderReadV2"], &["key", "value"]),
    (&["LookupTableExportV2"], &["keys", "values"]),
    (&["ResourceAccumulatorTakeGradient"], &["average"]),
];

/// Ops without outputs.
const NO_OUTPUT: &[&str] = &[
    "NoOp",
    "Assert",
    "SaveV2",
    "Save",
    "SaveSlices",
    "AssignVariableOp",
    "AssignAddVariableOp",
    "AssignSubVariableOp",
    "TensorArrayCloseV3",
    "TensorArrayCloseV2",
    "TensorArrayClose",
    "ControlTrigger",
    "Abort",
    "PrintV2",
    "InitializeTableV2",
    "InitializeTable",
    "InitializeTableFromTextFileV2",
    "LookupTableImportV2",
    "LookupTableInsertV2",
    "MergeV2Checkpoints",
    "WriteFile",
    "QueueCloseV2",
    "QueueEnqueueV2",
    "QueueEnqueueManyV2",
    "MakeIterator",
    "DestroyResourceOp",
    "DeleteIterator",
    "WriteScalarSummary",
    "WriteSummary",
    "ResourceApplyGradientDescent",
    "ResourceApplyAdam",
    "ResourceApplyMomentum",
    "ResourceScatterUpdate",
    "ResourceScatterAdd",
    "_Retval",
];

/// Ops whose outputs are a list that an attribute counts.
const COUNTED: &[(&str, &str, &str)] = &[
    ("Split", "output", "num_split"),
    ("SplitV", "output", "num_split"),
    ("Unpack", "output", "num"),
    ("ShapeN", "output", "N"),
    ("ConcatOffset", "offset", "N"),
    ("DynamicPartition", "outputs", "num_partitions"),
    ("_SwitchN", "outputs", "num_outs"),
    ("Meshgrid", "output", "N"),
];

/// Ops whose outputs are a list with one element type each, given by an attribute.
const TYPED: &[(&str, &str, &str)] = &[
    ("IteratorGetNext", "components", "output_types"),
    ("IteratorGetNextSync", "components", "output_types"),
    ("QueueDequeue", "components", "component_types"),
    ("QueueDequeueV2", "components", "component_types"),
    ("QueueDequeueManyV2", "components", "component_types"),
    ("QueueDequeueUpToV2", "components", "component_types"),
    ("FIFOQueueDequeue", "components", "component_types"),
    ("InfeedDequeueTuple", "outputs", "dtypes"),
    ("PartitionedCall", "output", "Tout"),
    ("StatefulPartitionedCall", "output", "Tout"),
    ("RemoteCall", "output", "Tout"),
    ("SymbolicGradient", "output", "Tout"),
    ("If", "output", "Tout"),
    ("StatelessIf", "output", "Tout"),
    ("Case", "output", "Tout"),
    ("StatelessCase", "output", "Tout"),
    ("While", "output", "T"),
    ("StatelessWhile", "output", "T"),
    ("_While", "output", "T"),
    ("IdentityN", "output", "T"),
    ("RestoreV2", "tensors", "dtypes"),
    ("PyFunc", "output", "Tout"),
    ("PyFuncStateless", "output", "Tout"),
    ("EagerPyFunc", "output", "Tout"),
    ("DecodeCSV", "output", "OUT_TYPE"),
    ("ParseSingleExample", "dense_values", "Tdense"),
];

/// Lists longer than this are hostile: no graph has them.
const MAX_PORTS: i64 = 1 << 16;

/// The outputs of a node.
pub fn ports(op: &str, attrs: &Attrs) -> Ports<'static> {
    if NO_OUTPUT.contains(&op) {
        return Vec::new();
    }
    if let Some((_, names)) = NAMED.iter().find(|(ops, _)| ops.contains(&op)) {
        return names.iter().map(|n| (*n, 1)).collect();
    }
    if let Some((_, name, attr)) = COUNTED.iter().find(|(o, ..)| *o == op) {
        let n = attrs.get(*attr).and_then(Attr::as_int).unwrap_or(1).clamp(0, MAX_PORTS);
        return vec![(name, n as usize)];
    }
    if let Some((_, name, attr)) = TYPED.iter().find(|(o, ..)| *o == op) {
        let n = attrs.get(*attr).and_then(Attr::as_list).map_or(1, <[Attr]>::len);
        return vec![(name, n)];
    }
    if matches!(op, "ParseExample" | "ParseExampleV2") {
        return parse_example_ports(op, attrs);
    }
    if op == "RaggedGather" {
        let n = attrs.get("OUTPUT_RAGGED_RANK").and_then(Attr::as_int).unwrap_or(1).clamp(0, MAX_PORTS);
        return vec![("output_nested_splits", n as usize), ("output_dense_values", 1)];
    }
    vec![("output", 1)]
}

/// `sparse_indices, sparse_values, sparse_shapes` (one each per sparse feature), then `dense_values`.
fn parse_example_ports(op: &str, attrs: &Attrs) -> Ports<'static> {
    let list = |name: &str| attrs.get(name).and_then(Attr::as_list).map_or(0, <[Attr]>::len);
    let n_sparse = match attrs.get(if op == "ParseExample" { "Nsparse" } else { "num_sparse" }).and_then(Attr::as_int) {
        Some(n) => n.clamp(0, MAX_PORTS) as usize,
        None => list("sparse_types"),
    };
    vec![
        ("sparse_indices", n_sparse),
        ("sparse_values", n_sparse),
        ("sparse_shapes", n_sparse),
        ("dense_values", list("Tdense")),
    ]
}

/// The port that a function body calls `name:index`.
pub fn port_of(ports: &Ports<'_>, name: &str, index: usize) -> usize {
    let mut before = 0;
    for (n, count) in ports {
        if *n == name {
            return before + index;
        }
        before += count;
    }
    // One output of whatever name.
    index
}

/// What the attributes say about one output.
pub fn declared_fact(op: &str, attrs: &Attrs, port: usize) -> Fact {
    let shape = attrs
        .get("_output_shapes")
        .and_then(Attr::as_list)
        .and_then(|l| l.get(port)?.as_shape())
        .cloned()
        .unwrap_or_default();
    Fact::new(dtype(op, attrs, port), shape)
}

/// The shape that an input node declares for itself.
pub fn placeholder_shape(attrs: &Attrs, port: usize) -> Option<&PartialShape> {
    match attrs.get("shape") {
        Some(a) => a.as_shape(),
        None => attrs.get("output_shapes")?.as_list()?.get(port)?.as_shape(),
    }
}

fn dtype(op: &str, attrs: &Attrs, port: usize) -> DType {
    let typed = |name: &str| attrs.get(name).and_then(Attr::as_type);
    let or = |name: &str, default: DType| typed(name).unwrap_or(default);
    if let Some((_, _, attr)) = TYPED.iter().find(|(o, ..)| *o == op) {
        let list = attrs.get(*attr).and_then(Attr::as_list);
        return list.and_then(|l| l.get(port)?.as_type()).unwrap_or(DType::Unknown);
    }
    match op {
        "Complex" => or("Tout", DType::C64),
        "Real" | "Imag" | "ComplexAbs" | "Angle" => or("Tout", DType::F32),
        "RFFT" | "RFFT2D" | "RFFT3D" | "FFT" | "FFT2D" | "FFT3D" | "IFFT" | "IFFT2D" | "IFFT3D" => {
            or("Tcomplex", DType::C64)
        }
        "IRFFT" | "IRFFT2D" | "IRFFT3D" => or("Treal", DType::F32),
        "RaggedRange" if port == 0 => or("Tsplits", DType::I64),
        "RaggedGather" => {
            let n = attrs.get("OUTPUT_RAGGED_RANK").and_then(Attr::as_int).unwrap_or(1);
            if (port as i64) < n { or("Tsplits", DType::I64) } else { or("Tvalues", DType::Unknown) }
        }
        "RaggedTensorToTensor" => or("T", DType::Unknown),
        "QuantizeV2" | "Requantize" | "QuantizeDownAndShrinkRange" | "RequantizationRange" | "Dequantize" => DType::F32,
        "Cast" => or("DstT", DType::Unknown),
        "Bitcast" => or("type", DType::Unknown),
        "Shape" | "ShapeN" | "Size" => or("out_type", DType::I32),
        "Rank" | "ConcatOffset" | "TensorArraySizeV3" | "InvertPermutation" => or("T", DType::I32),
        "Equal" | "NotEqual" | "Less" | "LessEqual" | "Greater" | "GreaterEqual" | "LogicalAnd" | "LogicalOr"
        | "LogicalNot" | "Any" | "All" | "IsNan" | "IsInf" | "IsFinite" | "LoopCond" | "InTopKV2" | "InTopK" => {
            DType::Bool
        }
        "ArgMax" | "ArgMin" => or("output_type", DType::I64),
        "Gather" | "GatherV2" | "GatherNd" => or("Tparams", DType::Unknown),
        "Merge" | "RefMerge" if port == 1 => DType::I32,
        "TopK" | "TopKV2" if port == 1 => or("index_type", DType::I32),
        "Unique" | "UniqueV2" | "ListDiff" if port == 1 => or("out_idx", DType::I32),
        "FusedBatchNormV2" | "FusedBatchNormV3" if port > 0 => or("U", DType::F32),
        "MaxPoolWithArgmax" if port == 1 => or("Targmax", DType::I64),
        "Where" => DType::I64,
        "Range" => or("Tidx", DType::I32),
        "RandomUniformInt" => or("Tout", DType::Unknown),
        "TensorArrayV3" => [DType::Resource, DType::F32][port.min(1)],
        "TensorArrayWriteV3" | "TensorArrayScatterV3" | "TensorArraySplitV3" => DType::F32,
        "VarHandleOp" | "IteratorV2" | "OneShotIterator" | "HashTableV2" | "FIFOQueueV2" => DType::Resource,
        "StatelessRandomGetKeyCounter" => DType::U64,
        "StatelessRandomGetAlg" => DType::I32,
        "Assert" | "NoOp" => DType::Unknown,
        _ => typed("dtype").or_else(|| typed("T")).unwrap_or(DType::Unknown),
    }
}

/// Ops whose outputs somebody outside must give: placeholders and the ends of input pipelines.
pub fn is_placeholder(op: &str) -> bool {
    matches!(
        op,
        "Placeholder"
            | "PlaceholderV2"
            | "PlaceholderWithDefault"
            | "IteratorGetNext"
            | "IteratorGetNextSync"
            | "QueueDequeue"
            | "QueueDequeueV2"
            | "QueueDequeueMany"
            | "QueueDequeueManyV2"
            | "QueueDequeueUpToV2"
            | "InfeedDequeue"
            | "InfeedDequeueTuple"
            | "ParseExample"
            | "ParseExampleV2"
            | "ParseSingleExample"
    )
}
