//! Made-up models of any size: layers of a BERT with its names, and graphs without any scope.

use regraft::session::Overview;
use regraft::session::overview::{ConstantRow, NodeRow, SiteRow, ValueRow};

#[derive(Default)]
struct Maker(Overview);

impl Maker {
    fn node(&mut self, name: String, op: &str, inputs: &[&str]) -> String {
        let output = format!("{name}:0");
        self.0.nodes.push(NodeRow {
            op: op.to_owned(),
            inputs: inputs.iter().map(|s| (*s).to_owned()).collect(),
            outputs: vec![ValueRow {
                name: output.clone(),
                dtype: "float32".to_owned(),
                shape: Some(vec![Some(512), Some(768)]),
            }],
            supported: true,
            gradient: "flows".to_owned(),
            name,
            ..NodeRow::default()
        });
        output
    }

    fn constant(&mut self, name: &str, shape: [usize; 2], role: &str) -> String {
        let elements = shape[0] * shape[1];
        self.0.constants.push(ConstantRow {
            name: name.to_owned(),
            dtype: "float32".to_owned(),
            shape: Some(shape.iter().map(|&d| Some(d)).collect()),
            elements,
            bytes: elements * 4,
            suggest: "train".to_owned(),
            role: role.to_owned(),
            reason: "made up".to_owned(),
            trainable: true,
            gradient: "flows".to_owned(),
            ..ConstantRow::default()
        });
        let held = self.node(name.to_owned(), "Const", &[]);
        self.node(format!("{name}/read"), "Identity", &[&held])
    }

    fn dense(&mut self, scope: &str, x: &str) -> String {
        let w = self.constant(&format!("{scope}/kernel"), [768, 768], "matmul-weight");
        let b = self.constant(&format!("{scope}/bias"), [1, 768], "bias");
        let y = self.node(format!("{scope}/MatMul"), "MatMul", &[x, &w]);
        self.node(format!("{scope}/BiasAdd"), "BiasAdd", &[&y, &b])
    }

    fn dropout(&mut self, scope: &str, x: &str) -> String {
        let ops = ["random_uniform/RandomUniform", "random_uniform/sub", "random_uniform/mul", "random_uniform", "add"];
        let mut last = String::new();
        for op in ops {
            let inputs: Vec<&str> = if last.is_empty() { Vec::new() } else { vec![&last] };
            last = self.node(format!("{scope}/{op}"), "Add", &inputs);
        }
        let floor = self.node(format!("{scope}/Floor"), "Floor", &[&last]);
        let div = self.node(format!("{scope}/div"), "RealDiv", &[x]);
        let out = self.node(format!("{scope}/mul"), "Mul", &[&div, &floor]);
        let nodes = ops.iter().chain(&["Floor", "div", "mul"]).map(|n| format!("{scope}/{n}")).collect();
        let site = SiteRow { output: out.clone(), input: x.to_owned(), rate: Some(0.1), nodes, ..SiteRow::default() };
        self.0.dropout.push(site);
        out
    }

    fn norm(&mut self, scope: &str, x: &str) -> String {
        let gamma = self.constant(&format!("{scope}/gamma"), [1, 768], "norm-scale");
        let beta = self.constant(&format!("{scope}/beta"), [1, 768], "norm-shift");
        let mean = self.node(format!("{scope}/moments/mean"), "Mean", &[x]);
        let diff = self.node(format!("{scope}/moments/SquaredDifference"), "SquaredDifference", &[x, &mean]);
        let variance = self.node(format!("{scope}/moments/variance"), "Mean", &[&diff]);
        let rsqrt = self.node(format!("{scope}/batchnorm/Rsqrt"), "Rsqrt", &[&variance]);
        let mul = self.node(format!("{scope}/batchnorm/mul"), "Mul", &[&rsqrt, &gamma]);
        let a = self.node(format!("{scope}/batchnorm/mul_1"), "Mul", &[x, &mul]);
        let b = self.node(format!("{scope}/batchnorm/mul_2"), "Mul", &[&mean, &mul]);
        let sub = self.node(format!("{scope}/batchnorm/sub"), "Sub", &[&beta, &b]);
        self.node(format!("{scope}/batchnorm/add_1"), "AddV2", &[&a, &sub])
    }

    fn layer(&mut self, i: usize, x: &str, mask: &str) -> String {
        let s = format!("bert/encoder/layer_{i}");
        let q = self.dense(&format!("{s}/attention/self/query"), x);
        let k = self.dense(&format!("{s}/attention/self/key"), x);
        let v = self.dense(&format!("{s}/attention/self/value"), x);
        let scores = self.node(format!("{s}/attention/self/MatMul"), "BatchMatMulV2", &[&q, &k]);
        let masked = self.node(format!("{s}/attention/self/add"), "AddV2", &[&scores, mask]);
        let soft = self.node(format!("{s}/attention/self/Softmax"), "Softmax", &[&masked]);
        let drop = self.dropout(&format!("{s}/attention/self/dropout"), &soft);
        let context = self.node(format!("{s}/attention/self/MatMul_1"), "BatchMatMulV2", &[&drop, &v]);
        let out = self.dense(&format!("{s}/attention/output/dense"), &context);
        let out = self.dropout(&format!("{s}/attention/output/dropout"), &out);
        let sum = self.node(format!("{s}/attention/output/add"), "AddV2", &[&out, x]);
        let x = self.norm(&format!("{s}/attention/output/LayerNorm"), &sum);
        let mut mid = self.dense(&format!("{s}/intermediate/dense"), &x);
        for op in ["Pow", "mul", "add", "mul_1", "Tanh", "add_1", "mul_2", "mul_3"] {
            mid = self.node(format!("{s}/intermediate/dense/{op}"), "Mul", &[&mid]);
        }
        let out = self.dense(&format!("{s}/output/dense"), &mid);
        let out = self.dropout(&format!("{s}/output/dropout"), &out);
        let sum = self.node(format!("{s}/output/add"), "AddV2", &[&out, &x]);
        self.norm(&format!("{s}/output/LayerNorm"), &sum)
    }
}

/// A BERT with so many layers that it has at least `n` nodes.
pub fn bert(n: usize) -> Overview {
    let mut m = Maker::default();
    let ids = m.node("input_ids".to_owned(), "Placeholder", &[]);
    let mask = m.node("input_mask".to_owned(), "Placeholder", &[]);
    let table = m.constant("bert/embeddings/word_embeddings", [30522, 768], "embedding");
    let mut x = m.node("bert/embeddings/GatherV2".to_owned(), "GatherV2", &[&table, &ids]);
    for i in 0.. {
        x = m.layer(i, &x, &mask);
        if m.0.nodes.len() >= n {
            break;
        }
    }
    m.node("loss/Mean".to_owned(), "Mean", &[&x]);
    m.0.file = "made-up.pb".to_owned();
    m.0.format = "tensorflow-graphdef".to_owned();
    m.0
}

/// `n` nodes without a scope: a chain with skips, as unscoped ONNX graphs are.
pub fn flat(n: usize) -> Overview {
    let mut m = Maker::default();
    let mut outputs: Vec<String> = Vec::new();
    let mut state = 7u64;
    for i in 0..n {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut inputs: Vec<&str> = outputs.last().into_iter().map(String::as_str).collect();
        if i > 8 && (state >> 33).is_multiple_of(3) {
            inputs.push(&outputs[i - 2 - (state >> 40) as usize % 6]);
        }
        if i > 400 && (state >> 35).is_multiple_of(40) {
            inputs.push(&outputs[i - 300]);
        }
        let out = m.node(format!("n{i}"), "Add", &inputs);
        outputs.push(out);
    }
    m.0
}

/// Rows for a table: `n` constants with their nodes.
pub fn constants(n: usize) -> Overview {
    let mut m = Maker::default();
    for i in 0..n {
        m.constant(&format!("model/block_{}/part_{}/weight_{i}", i / 1000, i / 10 % 100), [64, 64], "matmul-weight");
    }
    m.0
}
