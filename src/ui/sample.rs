//! A small made-up model for tests of look-ups and layout.

use crate::session::Overview;
use crate::session::overview::{ConstantRow, NodeRow, SiteRow, ValueRow};

fn value(name: &str, shape: &[usize]) -> ValueRow {
    ValueRow {
        name: name.to_owned(),
        dtype: "float32".to_owned(),
        shape: Some(shape.iter().map(|&d| Some(d)).collect()),
    }
}

/// A chain of `(name, op, inputs, shape)` rows.
pub fn nodes(rows: &[(&str, &str, &[&str], &[usize])]) -> Vec<NodeRow> {
    rows.iter()
        .map(|(name, op, inputs, shape)| NodeRow {
            name: (*name).to_owned(),
            op: (*op).to_owned(),
            inputs: inputs.iter().map(|s| (*s).to_owned()).collect(),
            outputs: vec![value(&format!("{name}:0"), shape)],
            supported: true,
            gradient: "flows".to_owned(),
            ..NodeRow::default()
        })
        .collect()
}

fn constant(name: &str, shape: &[usize], role: &str, train: bool) -> ConstantRow {
    let elements = shape.iter().product();
    ConstantRow {
        name: name.to_owned(),
        dtype: "float32".to_owned(),
        shape: Some(shape.iter().map(|&d| Some(d)).collect()),
        elements,
        bytes: elements * 4,
        suggest: if train { "train" } else { "keep" }.to_owned(),
        role: role.to_owned(),
        reason: "made up".to_owned(),
        trainable: train,
        gradient: "flows".to_owned(),
        ..ConstantRow::default()
    }
}

pub fn overview() -> Overview {
    Overview {
        file: "sample.pb".to_owned(),
        format: "tensorflow-graphdef".to_owned(),
        nodes: nodes(&[
            ("input", "Placeholder", &[], &[4, 16]),
            ("encoder/dense/kernel", "Const", &[], &[16, 8]),
            ("encoder/dense/bias", "Const", &[], &[8]),
            ("encoder/dense/MatMul", "MatMul", &["input:0", "encoder/dense/kernel:0"], &[4, 8]),
            ("encoder/dense/BiasAdd", "BiasAdd", &["encoder/dense/MatMul:0", "encoder/dense/bias:0"], &[4, 8]),
            ("encoder/dropout/random", "RandomUniform", &[], &[4, 8]),
            ("encoder/dropout/mul", "Mul", &["encoder/dense/BiasAdd:0", "encoder/dropout/random:0"], &[4, 8]),
            ("loss/Mean", "Mean", &["encoder/dropout/mul:0"], &[]),
        ]),
        constants: vec![
            constant("encoder/dense/kernel", &[16, 8], "matmul-weight", true),
            constant("encoder/dense/bias", &[8], "bias", true),
        ],
        dropout: vec![SiteRow {
            output: "encoder/dropout/mul:0".to_owned(),
            input: "encoder/dense/BiasAdd:0".to_owned(),
            rate: Some(0.1),
            nodes: vec!["encoder/dropout/random".to_owned(), "encoder/dropout/mul".to_owned()],
            ..SiteRow::default()
        }],
        ..Overview::default()
    }
}
