//! Fields of a SavedModel's messages around its graphs, for the text form: tensorflow/core/protobuf/{saved_model, meta_graph,
//! saver, saved_object_graph, struct}.proto and tensorflow/core/framework/{op_def, full_type}.proto.

use super::text::Kind::{Boolean, Bytes, Double, Float, Message, Number, Type, Word, ZigZag};
use super::text::{ATTR, Field, GRAPH, SHAPE, TENSOR, TEXT_ENTRY, VERSIONS};

pub(super) const SAVED_MODEL: &[Field] =
    &[("saved_model_schema_version", 1, Number), ("meta_graphs", 2, Message(|| META_GRAPH_DEF))];
const META_GRAPH_DEF: &[Field] = &[
    ("meta_info_def", 1, Message(|| META_INFO_DEF)),
    ("graph_def", 2, Message(|| GRAPH)),
    ("saver_def", 3, Message(|| SAVER_DEF)),
    ("collection_def", 4, Message(|| COLLECTION_ENTRY)),
    ("signature_def", 5, Message(|| SIGNATURE_ENTRY)),
    ("asset_file_def", 6, Message(|| ASSET_FILE_DEF)),
    ("object_graph_def", 7, Message(|| SAVED_OBJECT_GRAPH)),
];
const META_INFO_DEF: &[Field] = &[
    ("meta_graph_version", 1, Bytes),
    ("stripped_op_list", 2, Message(|| OP_LIST)),
    ("any_info", 3, Message(|| ANY)),
    ("tags", 4, Bytes),
    ("tensorflow_version", 5, Bytes),
    ("tensorflow_git_version", 6, Bytes),
    ("stripped_default_attrs", 7, Boolean),
    ("function_aliases", 8, Message(|| TEXT_ENTRY)),
];
const OP_LIST: &[Field] = &[("op", 1, Message(|| OP_DEF))];
pub(super) const OP_DEF: &[Field] = &[
    ("name", 1, Bytes),
    ("input_arg", 2, Message(|| ARG)),
    ("output_arg", 3, Message(|| ARG)),
    ("attr", 4, Message(|| ATTR_DEF)),
    ("summary", 5, Bytes),
    ("description", 6, Bytes),
    ("deprecation", 8, Message(|| OP_DEPRECATION)),
    ("is_aggregate", 16, Boolean),
    ("is_stateful", 17, Boolean),
    ("is_commutative", 18, Boolean),
    ("allows_uninitialized_input", 19, Boolean),
    ("control_output", 20, Bytes),
    ("is_distributed_communication", 21, Boolean),
];
const ARG: &[Field] = &[
    ("name", 1, Bytes),
    ("description", 2, Bytes),
    ("type", 3, Type),
    ("type_attr", 4, Bytes),
    ("number_attr", 5, Bytes),
    ("type_list_attr", 6, Bytes),
    ("handle_data", 7, Message(|| DTYPE_AND_SHAPE)),
    ("is_ref", 16, Boolean),
    ("experimental_full_type", 17, Message(|| FULL_TYPE_DEF)),
];
const DTYPE_AND_SHAPE: &[Field] = &[("dtype", 1, Type), ("shape", 2, Message(|| SHAPE))];
const FULL_TYPE_DEF: &[Field] = &[
    ("type_id", 1, Word(FULL_TYPE_ID_WORDS)),
    ("args", 2, Message(|| FULL_TYPE_DEF)),
    ("s", 3, Bytes),
    ("i", 4, Number),
];
const ATTR_DEF: &[Field] = &[
    ("name", 1, Bytes),
    ("type", 2, Bytes),
    ("default_value", 3, Message(|| ATTR)),
    ("description", 4, Bytes),
    ("has_minimum", 5, Boolean),
    ("minimum", 6, Number),
    ("allowed_values", 7, Message(|| ATTR)),
];
const OP_DEPRECATION: &[Field] = &[("version", 1, Number), ("explanation", 2, Bytes)];
const ANY: &[Field] = &[("type_url", 1, Bytes), ("value", 2, Bytes)];
const SAVER_DEF: &[Field] = &[
    ("filename_tensor_name", 1, Bytes),
    ("save_tensor_name", 2, Bytes),
    ("restore_op_name", 3, Bytes),
    ("max_to_keep", 4, Number),
    ("sharded", 5, Boolean),
    ("keep_checkpoint_every_n_hours", 6, Float),
    ("version", 7, Word(CHECKPOINT_FORMAT_VERSION_WORDS)),
];
const COLLECTION_ENTRY: &[Field] = &[("key", 1, Bytes), ("value", 2, Message(|| COLLECTION_DEF))];
const COLLECTION_DEF: &[Field] = &[
    ("node_list", 1, Message(|| NODE_LIST)),
    ("bytes_list", 2, Message(|| BYTES_LIST)),
    ("int64_list", 3, Message(|| INT64_LIST)),
    ("float_list", 4, Message(|| FLOAT_LIST)),
    ("any_list", 5, Message(|| ANY_LIST)),
];
const NODE_LIST: &[Field] = &[("value", 1, Bytes)];
const BYTES_LIST: &[Field] = &[("value", 1, Bytes)];
const INT64_LIST: &[Field] = &[("value", 1, Number)];
const FLOAT_LIST: &[Field] = &[("value", 1, Float)];
const ANY_LIST: &[Field] = &[("value", 1, Message(|| ANY))];
const SIGNATURE_ENTRY: &[Field] = &[("key", 1, Bytes), ("value", 2, Message(|| SIGNATURE_DEF))];
const SIGNATURE_DEF: &[Field] = &[
    ("inputs", 1, Message(|| TENSOR_INFO_ENTRY)),
    ("outputs", 2, Message(|| TENSOR_INFO_ENTRY)),
    ("method_name", 3, Bytes),
    ("defaults", 4, Message(|| TENSOR_ENTRY)),
];
const TENSOR_INFO_ENTRY: &[Field] = &[("key", 1, Bytes), ("value", 2, Message(|| TENSOR_INFO))];
const TENSOR_INFO: &[Field] = &[
    ("name", 1, Bytes),
    ("dtype", 2, Type),
    ("tensor_shape", 3, Message(|| SHAPE)),
    ("coo_sparse", 4, Message(|| COO_SPARSE)),
    ("composite_tensor", 5, Message(|| COMPOSITE_TENSOR)),
];
const COO_SPARSE: &[Field] =
    &[("values_tensor_name", 1, Bytes), ("indices_tensor_name", 2, Bytes), ("dense_shape_tensor_name", 3, Bytes)];
const COMPOSITE_TENSOR: &[Field] =
    &[("type_spec", 1, Message(|| TYPE_SPEC_PROTO)), ("components", 2, Message(|| TENSOR_INFO))];
const TYPE_SPEC_PROTO: &[Field] = &[
    ("type_spec_class", 1, Word(TYPE_SPEC_CLASS_WORDS)),
    ("type_state", 2, Message(|| STRUCTURED_VALUE)),
    ("type_spec_class_name", 3, Bytes),
    ("num_flat_components", 4, Number),
];
const STRUCTURED_VALUE: &[Field] = &[
    ("none_value", 1, Message(|| NONE_VALUE)),
    ("float64_value", 11, Double),
    ("int64_value", 12, ZigZag),
    ("string_value", 13, Bytes),
    ("bool_value", 14, Boolean),
    ("tensor_shape_value", 31, Message(|| SHAPE)),
    ("tensor_dtype_value", 32, Type),
    ("tensor_spec_value", 33, Message(|| TENSOR_SPEC_PROTO)),
    ("type_spec_value", 34, Message(|| TYPE_SPEC_PROTO)),
    ("bounded_tensor_spec_value", 35, Message(|| BOUNDED_TENSOR_SPEC_PROTO)),
    ("list_value", 51, Message(|| LIST_VALUE)),
    ("tuple_value", 52, Message(|| TUPLE_VALUE)),
    ("dict_value", 53, Message(|| DICT_VALUE)),
    ("named_tuple_value", 54, Message(|| NAMED_TUPLE_VALUE)),
    ("tensor_value", 55, Message(|| TENSOR)),
    ("numpy_value", 56, Message(|| TENSOR)),
];
const NONE_VALUE: &[Field] = &[];
const TENSOR_SPEC_PROTO: &[Field] = &[("name", 1, Bytes), ("shape", 2, Message(|| SHAPE)), ("dtype", 3, Type)];
const BOUNDED_TENSOR_SPEC_PROTO: &[Field] = &[
    ("name", 1, Bytes),
    ("shape", 2, Message(|| SHAPE)),
    ("dtype", 3, Type),
    ("minimum", 4, Message(|| TENSOR)),
    ("maximum", 5, Message(|| TENSOR)),
];
const LIST_VALUE: &[Field] = &[("values", 1, Message(|| STRUCTURED_VALUE))];
const TUPLE_VALUE: &[Field] = &[("values", 1, Message(|| STRUCTURED_VALUE))];
const DICT_VALUE: &[Field] = &[("fields", 1, Message(|| DICT_ENTRY))];
const DICT_ENTRY: &[Field] = &[("key", 1, Bytes), ("value", 2, Message(|| STRUCTURED_VALUE))];
const NAMED_TUPLE_VALUE: &[Field] = &[("name", 1, Bytes), ("values", 2, Message(|| PAIR_VALUE))];
const PAIR_VALUE: &[Field] = &[("key", 1, Bytes), ("value", 2, Message(|| STRUCTURED_VALUE))];
const TENSOR_ENTRY: &[Field] = &[("key", 1, Bytes), ("value", 2, Message(|| TENSOR))];
const ASSET_FILE_DEF: &[Field] = &[("tensor_info", 1, Message(|| TENSOR_INFO)), ("filename", 2, Bytes)];
const SAVED_OBJECT_GRAPH: &[Field] =
    &[("nodes", 1, Message(|| SAVED_OBJECT)), ("concrete_functions", 2, Message(|| CONCRETE_FUNCTION_ENTRY))];
const SAVED_OBJECT: &[Field] = &[
    ("children", 1, Message(|| OBJECT_REFERENCE)),
    ("slot_variables", 3, Message(|| SLOT_VARIABLE_REFERENCE)),
    ("user_object", 4, Message(|| SAVED_USER_OBJECT)),
    ("asset", 5, Message(|| SAVED_ASSET)),
    ("function", 6, Message(|| SAVED_FUNCTION)),
    ("variable", 7, Message(|| SAVED_VARIABLE)),
    ("bare_concrete_function", 8, Message(|| SAVED_BARE_CONCRETE_FUNCTION)),
    ("constant", 9, Message(|| SAVED_CONSTANT)),
    ("resource", 10, Message(|| SAVED_RESOURCE)),
    ("saveable_objects", 11, Message(|| SAVEABLE_ENTRY)),
    ("captured_tensor", 12, Message(|| CAPTURED_TENSOR)),
    ("registered_name", 13, Bytes),
    ("serialized_user_proto", 14, Message(|| ANY)),
    ("dependencies", 15, Message(|| OBJECT_REFERENCE)),
    ("registered_saver", 16, Bytes),
];
const OBJECT_REFERENCE: &[Field] = &[("node_id", 1, Number), ("local_name", 2, Bytes)];
const SLOT_VARIABLE_REFERENCE: &[Field] =
    &[("original_variable_node_id", 1, Number), ("slot_name", 2, Bytes), ("slot_variable_node_id", 3, Number)];
const SAVED_USER_OBJECT: &[Field] =
    &[("identifier", 1, Bytes), ("version", 2, Message(|| VERSIONS)), ("metadata", 3, Bytes)];
const SAVED_ASSET: &[Field] = &[("asset_file_def_index", 1, Number)];
const SAVED_FUNCTION: &[Field] = &[("concrete_functions", 1, Bytes), ("function_spec", 2, Message(|| FUNCTION_SPEC))];
const FUNCTION_SPEC: &[Field] = &[
    ("fullargspec", 1, Message(|| STRUCTURED_VALUE)),
    ("is_method", 2, Boolean),
    ("input_signature", 5, Message(|| STRUCTURED_VALUE)),
    ("jit_compile", 6, Word(JIT_COMPILE_WORDS)),
];
const SAVED_VARIABLE: &[Field] = &[
    ("dtype", 1, Type),
    ("shape", 2, Message(|| SHAPE)),
    ("trainable", 3, Boolean),
    ("synchronization", 4, Word(VARIABLE_SYNCHRONIZATION_WORDS)),
    ("aggregation", 5, Word(VARIABLE_AGGREGATION_WORDS)),
    ("name", 6, Bytes),
    ("device", 7, Bytes),
    ("experimental_distributed_variable_components", 8, Message(|| SAVED_VARIABLE)),
];
const SAVED_BARE_CONCRETE_FUNCTION: &[Field] = &[
    ("concrete_function_name", 1, Bytes),
    ("argument_keywords", 2, Bytes),
    ("allowed_positional_arguments", 3, Number),
    ("function_spec", 4, Message(|| FUNCTION_SPEC)),
];
const SAVED_CONSTANT: &[Field] = &[("operation", 1, Bytes)];
const SAVED_RESOURCE: &[Field] = &[("device", 1, Bytes)];
const CAPTURED_TENSOR: &[Field] = &[("name", 1, Bytes), ("concrete_function", 2, Bytes)];
const SAVEABLE_ENTRY: &[Field] = &[("key", 1, Bytes), ("value", 2, Message(|| SAVEABLE_OBJECT))];
const SAVEABLE_OBJECT: &[Field] = &[("save_function", 2, Number), ("restore_function", 3, Number)];
const CONCRETE_FUNCTION_ENTRY: &[Field] = &[("key", 1, Bytes), ("value", 2, Message(|| SAVED_CONCRETE_FUNCTION))];
const SAVED_CONCRETE_FUNCTION: &[Field] = &[
    ("bound_inputs", 2, Number),
    ("canonicalized_input_signature", 3, Message(|| STRUCTURED_VALUE)),
    ("output_signature", 4, Message(|| STRUCTURED_VALUE)),
];
const FULL_TYPE_ID_WORDS: &[(&str, u64)] = &[
    ("TFT_UNSET", 0),
    ("TFT_VAR", 1),
    ("TFT_ANY", 2),
    ("TFT_PRODUCT", 3),
    ("TFT_NAMED", 4),
    ("TFT_FOR_EACH", 20),
    ("TFT_CALLABLE", 100),
    ("TFT_TENSOR", 1000),
    ("TFT_ARRAY", 1001),
    ("TFT_OPTIONAL", 1002),
    ("TFT_LITERAL", 1003),
    ("TFT_ENCODED", 1004),
    ("TFT_SHAPE_TENSOR", 1005),
    ("TFT_BOOL", 200),
    ("TFT_UINT8", 201),
    ("TFT_UINT16", 202),
    ("TFT_UINT32", 203),
    ("TFT_UINT64", 204),
    ("TFT_INT8", 205),
    ("TFT_INT16", 206),
    ("TFT_INT32", 207),
    ("TFT_INT64", 208),
    ("TFT_HALF", 209),
    ("TFT_FLOAT", 210),
    ("TFT_DOUBLE", 211),
    ("TFT_BFLOAT16", 215),
    ("TFT_COMPLEX64", 212),
    ("TFT_COMPLEX128", 213),
    ("TFT_STRING", 214),
    ("TFT_DATASET", 10102),
    ("TFT_RAGGED", 10103),
    ("TFT_ITERATOR", 10104),
    ("TFT_MUTEX_LOCK", 10202),
    ("TFT_LEGACY_VARIANT", 10203),
];
const CHECKPOINT_FORMAT_VERSION_WORDS: &[(&str, u64)] = &[("LEGACY", 0), ("V1", 1), ("V2", 2)];
const TYPE_SPEC_CLASS_WORDS: &[(&str, u64)] = &[
    ("UNKNOWN", 0),
    ("SPARSE_TENSOR_SPEC", 1),
    ("INDEXED_SLICES_SPEC", 2),
    ("RAGGED_TENSOR_SPEC", 3),
    ("TENSOR_ARRAY_SPEC", 4),
    ("DATA_DATASET_SPEC", 5),
    ("DATA_ITERATOR_SPEC", 6),
    ("OPTIONAL_SPEC", 7),
    ("PER_REPLICA_SPEC", 8),
    ("VARIABLE_SPEC", 9),
    ("ROW_PARTITION_SPEC", 10),
    ("REGISTERED_TYPE_SPEC", 12),
    ("EXTENSION_TYPE_SPEC", 13),
];
const JIT_COMPILE_WORDS: &[(&str, u64)] = &[("DEFAULT", 0), ("ON", 1), ("OFF", 2)];
const VARIABLE_SYNCHRONIZATION_WORDS: &[(&str, u64)] = &[
    ("VARIABLE_SYNCHRONIZATION_AUTO", 0),
    ("VARIABLE_SYNCHRONIZATION_NONE", 1),
    ("VARIABLE_SYNCHRONIZATION_ON_WRITE", 2),
    ("VARIABLE_SYNCHRONIZATION_ON_READ", 3),
];
const VARIABLE_AGGREGATION_WORDS: &[(&str, u64)] = &[
    ("VARIABLE_AGGREGATION_NONE", 0),
    ("VARIABLE_AGGREGATION_SUM", 1),
    ("VARIABLE_AGGREGATION_MEAN", 2),
    ("VARIABLE_AGGREGATION_ONLY_FIRST_REPLICA", 3),
];
