//! A TensorFlow-dialect graph put together node by node, for folders that hold weights and a configuration but no
//! graph. Every attribute that TensorFlow's own importer asks for is set, so that the graph can be written as a `.pb`.

use indexmap::IndexMap;

use crate::formats::tensorflow::outputs;
use crate::graph::{
    Attr, Constant, ConstantOrigin, Fact, Graph, Node, NodeId, NodeKey, NodeKind, Signature, ValueId, ValueKey,
};
use crate::tensor::{DType, PartialShape, Payload, Tensor};

/// Attributes of a node in the order of writing.
pub type Attrs = Vec<(&'static str, Attr)>;

/// The graph so far. Names are made unique by a suffix, as TensorFlow does.
#[derive(Debug, Default)]
pub struct Build {
    graph: Graph,
    scope: Vec<String>,
}

impl Build {
    /// Runs `body` with `name` in front of every node that it adds.
    pub fn scoped<T>(&mut self, name: &str, body: impl FnOnce(&mut Self) -> T) -> T {
        self.scope.push(name.to_owned());
        let out = body(self);
        self.scope.pop();
        out
    }

    fn unique(&self, name: &str) -> String {
        let full = self.scope.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("/");
        if self.graph.node_named(&full).is_none() {
            return full;
        }
        let free = |i: &usize| self.graph.node_named(&format!("{full}_{i}")).is_none();
        format!("{full}_{}", (1..).find(free).unwrap_or_default())
    }

    fn push(&mut self, mut node: Node, attrs: Attrs, fact: Option<Fact>) -> ValueId {
        node.attrs = attrs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<IndexMap<_, _>>();
        let fact = fact.unwrap_or_else(|| outputs::declared_fact(&node.op, &node.attrs, 0));
        let key = ValueKey::new(format!("{}:0", node.key));
        let id = self.graph.push_node(node, vec![(key, fact)]);
        self.graph.node(id).outputs[0]
    }

    /// A node with one output.
    pub fn op(&mut self, name: &str, op: &str, inputs: &[ValueId], attrs: Attrs) -> ValueId {
        let mut node = Node::new(NodeKey::new(self.unique(name)), op, NodeKind::Op);
        node.inputs = inputs.iter().copied().map(Some).collect();
        self.push(node, attrs, None)
    }

    /// As [`Self::op`], for the many whose one attribute is the element type `T` of the first input.
    pub fn typed(&mut self, name: &str, op: &str, inputs: &[ValueId]) -> ValueId {
        let dtype = inputs.first().map_or(DType::F32, |v| self.dtype(*v));
        self.op(name, op, inputs, vec![("T", Attr::Type(dtype))])
    }

    pub fn dtype(&self, value: ValueId) -> DType {
        self.graph.value(value).fact.dtype
    }

    /// A placeholder under exactly this name.
    pub fn placeholder(&mut self, name: &str, dtype: DType, shape: PartialShape) -> ValueId {
        let node = Node::new(NodeKey::new(name), "Placeholder", NodeKind::Placeholder);
        let attrs = vec![("dtype", Attr::Type(dtype)), ("shape", Attr::Shape(shape.clone()))];
        self.push(node, attrs, Some(Fact::new(dtype, shape)))
    }

    /// A small constant of the graph's own.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let key = NodeKey::new(self.unique(name));
        self.constant_node(key, Payload::from_tensor(tensor), ConstantOrigin::ConstNode)
    }

    pub fn float(&mut self, name: &str, value: f32) -> ValueId {
        self.constant(name, Tensor::scalar(value))
    }

    pub fn int(&mut self, name: &str, value: i32) -> ValueId {
        self.constant(name, Tensor::scalar(value))
    }

    pub fn ints(&mut self, name: &str, values: &[i32]) -> ValueId {
        self.constant(name, Tensor::from_slice(&[values.len()], values))
    }

    /// A weight of the folder, under its own name there, whatever the scope; read through an Identity as variables are.
    pub fn weight(&mut self, name: &str, payload: Payload) -> ValueId {
        let read = format!("{name}/read");
        if let Some(id) = self.graph.node_named(&read) {
            return self.graph.node(id).outputs[0];
        }
        let origin = ConstantOrigin::Variable { name: name.to_owned(), trainable: None };
        let dtype = payload.dtype;
        let value = self.constant_node(NodeKey::new(name), payload, origin);
        let mut node = Node::new(NodeKey::new(&read), "Identity", NodeKind::Op);
        node.inputs = vec![Some(value)];
        let read = self.push(node, vec![("T", Attr::Type(dtype))], None);
        if !matches!(dtype, DType::F16 | DType::BF16 | DType::F64) {
            return read;
        }
        // Half precision is how it is stored; the arithmetic is that of float32.
        let attrs =
            vec![("SrcT", Attr::Type(dtype)), ("DstT", Attr::Type(DType::F32)), ("Truncate", Attr::Bool(false))];
        let mut cast = Node::new(NodeKey::new(format!("{name}/Cast")), "Cast", NodeKind::Op);
        cast.inputs = vec![Some(read)];
        self.push(cast, attrs, None)
    }

    fn constant_node(&mut self, key: NodeKey, payload: Payload, origin: ConstantOrigin) -> ValueId {
        let mut node = Node::new(key, "Const", NodeKind::Constant);
        let fact = Fact::new(payload.dtype, PartialShape::from_dims(&payload.shape));
        let attrs = vec![("dtype", Attr::Type(payload.dtype)), ("value", Attr::Tensor(payload.clone()))];
        node.constant = Some(Constant { payload, origin });
        self.push(node, attrs, Some(fact))
    }

    /// Length of one axis, as an int32 scalar.
    pub fn axis_len(&mut self, name: &str, of: ValueId, axis: i32) -> ValueId {
        self.scoped(name, |b| {
            let dtype = b.dtype(of);
            let shape =
                b.op("Shape", "Shape", &[of], vec![("T", Attr::Type(dtype)), ("out_type", Attr::Type(DType::I32))]);
            let begin = b.ints("begin", &[axis]);
            let end = b.ints("end", &[axis + 1]);
            let strides = b.ints("strides", &[1]);
            b.strided_slice("strided_slice", shape, [begin, end, strides], 0, 1)
        })
    }

    /// `StridedSlice` with the two masks that are used here.
    pub fn strided_slice(&mut self, name: &str, of: ValueId, at: [ValueId; 3], open: i64, shrink: i64) -> ValueId {
        let attrs = vec![
            ("T", Attr::Type(self.dtype(of))),
            ("Index", Attr::Type(DType::I32)),
            ("begin_mask", Attr::Int(open)),
            ("end_mask", Attr::Int(open)),
            ("ellipsis_mask", Attr::Int(0)),
            ("new_axis_mask", Attr::Int(0)),
            ("shrink_axis_mask", Attr::Int(shrink)),
        ];
        self.op(name, "StridedSlice", &[of, at[0], at[1], at[2]], attrs)
    }

    /// Scalars as one int32 vector.
    pub fn pack(&mut self, name: &str, parts: &[ValueId]) -> ValueId {
        let attrs = vec![("T", Attr::Type(DType::I32)), ("N", Attr::Int(parts.len() as i64)), ("axis", Attr::Int(0))];
        self.op(name, "Pack", parts, attrs)
    }

    pub fn reshape(&mut self, name: &str, value: ValueId, shape: ValueId) -> ValueId {
        let attrs = vec![("T", Attr::Type(self.dtype(value))), ("Tshape", Attr::Type(DType::I32))];
        self.op(name, "Reshape", &[value, shape], attrs)
    }

    pub fn transpose(&mut self, name: &str, value: ValueId, axes: &[i32]) -> ValueId {
        let perm = self.ints(&format!("{name}/perm"), axes);
        let attrs = vec![("T", Attr::Type(self.dtype(value))), ("Tperm", Attr::Type(DType::I32))];
        self.op(name, "Transpose", &[value, perm], attrs)
    }

    pub fn expand_dims(&mut self, name: &str, value: ValueId, axis: i32) -> ValueId {
        let dim = self.int(&format!("{name}/dim"), axis);
        let attrs = vec![("T", Attr::Type(self.dtype(value))), ("Tdim", Attr::Type(DType::I32))];
        self.op(name, "ExpandDims", &[value, dim], attrs)
    }

    pub fn gather(&mut self, name: &str, table: ValueId, indices: ValueId) -> ValueId {
        let axis = self.int(&format!("{name}/axis"), 0);
        let attrs = vec![
            ("Tparams", Attr::Type(self.dtype(table))),
            ("Tindices", Attr::Type(self.dtype(indices))),
            ("Taxis", Attr::Type(DType::I32)),
            ("batch_dims", Attr::Int(0)),
        ];
        self.op(name, "GatherV2", &[table, indices, axis], attrs)
    }

    pub fn matmul(&mut self, name: &str, a: ValueId, b: ValueId, transpose_b: bool) -> ValueId {
        let attrs = vec![
            ("T", Attr::Type(DType::F32)),
            ("transpose_a", Attr::Bool(false)),
            ("transpose_b", Attr::Bool(transpose_b)),
        ];
        self.op(name, "MatMul", &[a, b], attrs)
    }

    pub fn batch_matmul(&mut self, name: &str, a: ValueId, b: ValueId, adj_y: bool) -> ValueId {
        let attrs = vec![("T", Attr::Type(DType::F32)), ("adj_x", Attr::Bool(false)), ("adj_y", Attr::Bool(adj_y))];
        self.op(name, "BatchMatMulV2", &[a, b], attrs)
    }

    pub fn bias_add(&mut self, name: &str, value: ValueId, bias: ValueId) -> ValueId {
        let attrs = vec![("T", Attr::Type(DType::F32)), ("data_format", Attr::Bytes(b"NHWC".to_vec()))];
        self.op(name, "BiasAdd", &[value, bias], attrs)
    }

    pub fn cast(&mut self, name: &str, value: ValueId, to: DType) -> ValueId {
        let from = self.dtype(value);
        let attrs = vec![("SrcT", Attr::Type(from)), ("DstT", Attr::Type(to)), ("Truncate", Attr::Bool(false))];
        self.op(name, "Cast", &[value], attrs)
    }

    /// Mean over the last axis of a matrix, keeping it.
    pub fn row_mean(&mut self, name: &str, value: ValueId) -> ValueId {
        let axes = self.ints(&format!("{name}/reduction_indices"), &[1]);
        let attrs =
            vec![("T", Attr::Type(DType::F32)), ("Tidx", Attr::Type(DType::I32)), ("keep_dims", Attr::Bool(true))];
        self.op(name, "Mean", &[value, axes], attrs)
    }

    /// The finished graph, with one signature: placeholders in, `outputs` out under their own names.
    pub fn finish(mut self, outputs: &[(&str, ValueId)]) -> Graph {
        let mut signature = Signature { name: "default".into(), ..Signature::default() };
        let inputs: Vec<ValueId> = self.graph.placeholders().collect();
        signature.inputs = inputs.into_iter().map(|v| self.alias(v)).collect();
        for (name, value) in outputs {
            let dtype = self.dtype(*value);
            self.scope.clear();
            let end = self.op(name, "Identity", &[*value], vec![("T", Attr::Type(dtype))]);
            signature.outputs.push(self.alias(end));
        }
        self.graph.signatures.push(signature);
        self.graph
    }

    fn alias(&self, value: ValueId) -> (String, ValueKey) {
        let node: NodeId = self.graph.value(value).producer;
        (self.graph.node(node).key.as_str().to_owned(), self.graph.value(value).key.clone())
    }
}
