//! Programs as text, for people, dumps and test cases; one instruction a line.

use std::fmt::Write;

use super::{Def, InstrKind, Program, Value};

/// `%3 = matmul(%1, bert/kernel) float32 [4, 8]  // bert/MatMul`
pub fn to_text(program: &Program) -> String {
    let mut out = String::new();
    write_block(program, 0, &mut out);
    out
}

fn write_block(program: &Program, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    for feed in &program.feeds {
        let _ =
            writeln!(out, "{pad}%{} = feed {} {}", feed.value.idx(), feed.name, program.fact(feed.value).describe());
    }
    for instr in &program.instrs {
        let outs = instr.outputs.iter().map(|v| format!("%{}", v.idx())).collect::<Vec<_>>().join(", ");
        let ins = instr.inputs.iter().map(|&v| name(program, v)).collect::<Vec<_>>().join(", ");
        let facts = instr.outputs.iter().map(|&v| program.fact(v).describe()).collect::<Vec<_>>().join("; ");
        let what = match &instr.kind {
            InstrKind::Op(op) => format!("{op:?}"),
            _ => instr.name().to_owned(),
        };
        let origin = instr.origin.as_ref().map(|k| format!("  // {k}")).unwrap_or_default();
        let _ = writeln!(out, "{pad}{outs} = {what}({ins}) {facts}{origin}");
        match &instr.kind {
            InstrKind::Op(_) => {}
            InstrKind::If(b) => {
                let _ = writeln!(out, "{pad}then");
                write_block(&b.then_block, indent + 1, out);
                let _ = writeln!(out, "{pad}else");
                write_block(&b.else_block, indent + 1, out);
            }
            InstrKind::Loop(b) => {
                let _ = writeln!(out, "{pad}while");
                write_block(&b.cond, indent + 1, out);
                let _ = writeln!(out, "{pad}do");
                write_block(&b.body, indent + 1, out);
            }
        }
    }
    let outs = program.outputs.iter().map(|&v| name(program, v)).collect::<Vec<_>>().join(", ");
    let _ = writeln!(out, "{pad}return {outs}");
}

fn name(program: &Program, v: Value) -> String {
    match program.def(v) {
        Def::Constant(i) => match (&program.constants[i].node, &program.fact(v).value) {
            (Some(n), _) => n.as_str().to_owned(),
            (None, Some(t)) if t.len() <= 8 => format!("{t:?}"),
            _ => format!("const {}", program.fact(v).describe()),
        },
        _ => format!("%{}", v.idx()),
    }
}
