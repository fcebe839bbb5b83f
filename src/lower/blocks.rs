//! The stack of programs that are being built: the main program and the blocks open at this moment. A block that reads
//! a value from outside gets it as a parameter.

use std::collections::HashMap;

use crate::graph::NodeKey;
use crate::program::{Builder, ConstantDef, Def, Feed, Program, Value, ValueInfo};
use crate::tensor::Fact;

/// A value and the program of the stack that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Located {
    pub level: usize,
    pub value: Value,
}

/// One program of the stack.
#[derive(Debug, Default)]
struct Level {
    program: Program,
    /// Values of the level below, and what they are here.
    imported: HashMap<Value, Value>,
    /// Those that became parameters, in the order of the feeds after the own ones.
    captured: Vec<Value>,
}

/// A finished block: its parameters are `own` ones, then the captured values of the level below.
#[derive(Debug, Default)]
pub struct Block {
    pub program: Program,
    pub captured: Vec<Value>,
}

/// See the module doc. Never empty.
#[derive(Debug)]
pub struct Blocks {
    main: Level,
    open: Vec<Level>,
}

impl Blocks {
    pub fn new() -> Self {
        Self { main: Level::default(), open: Vec::new() }
    }

    /// The number of the innermost level; 0 is the main program.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    fn level(&self, level: usize) -> &Level {
        if level == 0 { &self.main } else { &self.open[level - 1] }
    }

    fn level_mut(&mut self, level: usize) -> &mut Level {
        if level == 0 { &mut self.main } else { &mut self.open[level - 1] }
    }

    pub fn program(&self, level: usize) -> &Program {
        &self.level(level).program
    }

    pub fn program_mut(&mut self, level: usize) -> &mut Program {
        &mut self.level_mut(level).program
    }

    /// The innermost program.
    pub fn current(&mut self) -> &mut Program {
        self.program_mut(self.depth())
    }

    pub fn here(&self, value: Value) -> Located {
        Located { level: self.depth(), value }
    }

    pub fn fact(&self, at: Located) -> &Fact {
        self.program(at.level).fact(at.value)
    }

    /// Opens a block; `own` are its first parameters.
    pub fn open(&mut self, own: Vec<(String, Fact)>) -> Vec<Located> {
        let mut level = Level::default();
        let mut builder = Builder::new(&mut level.program);
        let values: Vec<Value> = own.into_iter().map(|(name, fact)| builder.feed(name, fact)).collect();
        self.open.push(level);
        values.into_iter().map(|v| self.here(v)).collect()
    }

    /// Closes the innermost block.
    pub fn close(&mut self, outputs: Vec<Value>) -> Block {
        let level = self.open.pop().unwrap_or_default();
        let mut program = level.program;
        program.outputs = outputs;
        Block { program, captured: level.captured }
    }

    /// A value as the innermost program sees it.
    pub fn import(&mut self, at: Located) -> Value {
        let mut value = at.value;
        for level in at.level + 1..=self.depth() {
            value = self.import_one(level, value);
        }
        value
    }

    /// `value` of the level below as a value of `level`. Constants that never train are copied, so that shape rules and
    /// folding see them; everything else becomes a parameter.
    fn import_one(&mut self, level: usize, value: Value) -> Value {
        if let Some(&v) = self.level(level).imported.get(&value) {
            return v;
        }
        let below = self.program(level - 1);
        let (info, name) = (below.value(value).clone(), below.describe(value));
        let constant = match info.def {
            Def::Constant(i) if !info.fact.dtype.is_float() => Some(below.constants[i].clone()),
            _ => None,
        };
        let here = self.level_mut(level);
        let new = match constant {
            Some(c) => push_constant(&mut here.program, info, c),
            None => {
                here.captured.push(value);
                push_feed(&mut here.program, info, name)
            }
        };
        here.imported.insert(value, new);
        new
    }
}

impl Default for Blocks {
    fn default() -> Self {
        Self::new()
    }
}

fn push_constant(program: &mut Program, info: ValueInfo, constant: ConstantDef) -> Value {
    let value = Value::new(program.values.len());
    program.values.push(ValueInfo { def: Def::Constant(program.constants.len()), ..info });
    program.constants.push(ConstantDef { value, ..constant });
    value
}

fn push_feed(program: &mut Program, info: ValueInfo, name: String) -> Value {
    let value = Value::new(program.values.len());
    program.values.push(ValueInfo { def: Def::Feed(program.feeds.len()), ..info });
    program.feeds.push(Feed { value, name });
    value
}

/// Gives several blocks the same captured parameters, in one order; each has `n_own` parameters of its own before.
/// `outer` is the program that the captured values belong to.
pub fn align(blocks: &mut [Block], n_own: usize, outer: &Program) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for block in blocks.iter() {
        for &v in &block.captured {
            if !all.contains(&v) {
                all.push(v);
            }
        }
    }
    for block in blocks {
        let program = &mut block.program;
        let captured = program.feeds.split_off(n_own.min(program.feeds.len()));
        let mut by_outer: HashMap<Value, Feed> = block.captured.iter().copied().zip(captured).collect();
        for &v in &all {
            match by_outer.remove(&v) {
                Some(feed) => {
                    program.values[feed.value.idx()].def = Def::Feed(program.feeds.len());
                    program.feeds.push(feed);
                }
                None => _ = push_feed(program, outer.value(v).clone(), outer.describe(v)),
            }
        }
        block.captured.clone_from(&all);
    }
    all
}

/// What a program looked like, to take back what a failed rule appended.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    instrs: usize,
    values: usize,
    feeds: usize,
    constants: usize,
}

impl Mark {
    pub fn of(program: &Program) -> Self {
        Self {
            instrs: program.instrs.len(),
            values: program.values.len(),
            feeds: program.feeds.len(),
            constants: program.constants.len(),
        }
    }

    /// Whether what was added since then lacks an element type.
    pub fn is_untyped(&self, program: &Program) -> bool {
        super::rule::is_untyped(program, self.constants, self.instrs)
    }

    pub fn restore(self, program: &mut Program) {
        program.instrs.truncate(self.instrs);
        program.values.truncate(self.values);
        program.feeds.truncate(self.feeds);
        program.constants.truncate(self.constants);
    }
}

/// A node's name inside an inlined call.
pub fn rename(name: &str, body_prefix: &str, path: Option<&str>) -> String {
    match (path, name.strip_prefix(body_prefix)) {
        (Some(path), Some(rest)) => format!("{path}/{rest}"),
        _ => name.to_owned(),
    }
}

/// A number for a node that stays the same over re-import (FNV-1a of its name).
pub fn site(key: &NodeKey) -> u64 {
    key.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}
