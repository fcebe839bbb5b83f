//! Loops that stay loops count their iterations where something inside draws random numbers, so that no two iterations
//! draw the same. The count is state like any other: the backward pass, which computes an iteration again, meets it again.

use crate::ops::make;
use crate::program::{Builder, Def, Feed, Instr, InstrKind, Program, Value, ValueInfo};
use crate::tensor::{DType, Fact, Tensor};

/// Gives every loop of a program that draws inside an iteration number.
pub(super) fn number(program: &mut Program) {
    let mut at = 0;
    while at < program.instrs.len() {
        for block in blocks(&mut program.instrs[at]) {
            number(block);
        }
        let instr = &program.instrs[at];
        if let InstrKind::Loop(l) = &instr.kind
            && draws(&l.body)
        {
            let zero = Builder::new(program).literal(Tensor::scalar(0i64));
            let last = push_value(program, Def::Output { instr: at, port: program.instrs[at].outputs.len() });
            count(&mut program.instrs[at], zero, last);
        }
        at += 1;
    }
}

fn blocks(instr: &mut Instr) -> Vec<&mut Program> {
    match &mut instr.kind {
        InstrKind::Op(_) => Vec::new(),
        InstrKind::If(b) => vec![&mut b.then_block, &mut b.else_block],
        InstrKind::Loop(b) => vec![&mut b.cond, &mut b.body],
    }
}

fn draws(program: &Program) -> bool {
    program.instrs.iter().any(|instr| match &instr.kind {
        InstrKind::Op(op) => op.at_turn(0).is_some(),
        InstrKind::If(b) => draws(&b.then_block) || draws(&b.else_block),
        InstrKind::Loop(b) => draws(&b.body),
    })
}

fn scalar() -> Fact {
    Fact::of_dims(DType::I64, &[])
}

fn push_value(program: &mut Program, def: Def) -> Value {
    let value = Value::new(program.values.len());
    program.values.push(ValueInfo { fact: scalar(), def, key: None });
    value
}

/// A new feed at place `at` of a block's feeds.
fn insert_feed(program: &mut Program, at: usize) -> Value {
    let value = push_value(program, Def::Feed(at));
    program.feeds.insert(at, Feed { value, name: "iteration".to_owned() });
    for (i, feed) in program.feeds.iter().enumerate().skip(at + 1) {
        program.values[feed.value.idx()].def = Def::Feed(i);
    }
    value
}

/// Adds the count to a loop's state: it starts at `first` and leaves as `last`.
fn count(instr: &mut Instr, first: Value, last: Value) {
    let InstrKind::Loop(l) = &mut instr.kind else { return };
    let n = l.n_state;
    insert_feed(&mut l.cond, n);
    let turn = insert_feed(&mut l.body, n);
    hand_down(&mut l.body, turn);
    let mut b = Builder::new(&mut l.body);
    let one = b.literal(Tensor::scalar(1i64));
    // Two int64 scalars always add; should that ever change, the count stands still and draws repeat.
    let next = make::add(&mut b, turn, one).unwrap_or(turn);
    l.body.outputs.insert(n, next);
    l.n_state += 1;
    instr.inputs.insert(n, first);
    instr.outputs.push(last);
}

/// Lets everything that draws, at whatever depth, see the iteration number.
fn hand_down(program: &mut Program, turn: Value) {
    for instr in &mut program.instrs {
        match &mut instr.kind {
            InstrKind::Op(op) => {
                if op.at_turn(0).is_some() {
                    instr.inputs.push(turn);
                }
            }
            InstrKind::If(b) => {
                if draws(&b.then_block) || draws(&b.else_block) {
                    for block in [&mut b.then_block, &mut b.else_block] {
                        let at = block.feeds.len();
                        let inner = insert_feed(block, at);
                        hand_down(block, inner);
                    }
                    instr.inputs.push(turn);
                }
            }
            InstrKind::Loop(b) => {
                if draws(&b.body) {
                    for block in [&mut b.cond, &mut b.body] {
                        let at = block.feeds.len();
                        let inner = insert_feed(block, at);
                        hand_down(block, inner);
                    }
                    instr.inputs.push(turn);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::random::RandomUniform;
    use crate::program::LoopBlocks;
    use crate::program::verify::verify;

    /// `repeat while i < 3 { x = uniform; i += 1 }`
    fn drawing_loop() -> Program {
        let block = |is_body: bool| {
            let mut program = Program::default();
            let mut b = Builder::new(&mut program);
            let (i, _x) = (b.feed("i", scalar()), b.feed("x", Fact::of_dims(DType::F32, &[4])));
            let limit = b.feed("limit", scalar());
            program.outputs = if is_body {
                let mut b = Builder::new(&mut program);
                let (shape, one) = (make::ints(&mut b, &[4]), b.literal(Tensor::scalar(1i64)));
                let next = make::add(&mut b, i, one).unwrap();
                vec![next, b.op(RandomUniform { site: 5, dtype: DType::F32 }, &[shape]).unwrap()]
            } else {
                vec![make::less(&mut Builder::new(&mut program), i, limit).unwrap()]
            };
            program
        };
        let mut program = Program::default();
        let mut b = Builder::new(&mut program);
        let inputs = [b.feed("i", scalar()), b.feed("x", Fact::of_dims(DType::F32, &[4])), b.feed("n", scalar())];
        let l = LoopBlocks { cond: block(false), body: block(true), n_state: 2 };
        let facts = vec![scalar(), Fact::of_dims(DType::F32, &[4])];
        let out = b.push(InstrKind::Loop(Box::new(l)), &inputs, facts);
        program.outputs = vec![out[1]];
        program
    }

    #[test]
    fn a_loop_that_draws_counts() {
        let mut program = drawing_loop();
        number(&mut program);
        assert_eq!(verify(&program), Vec::<String>::new());
        let instr = &program.instrs[0];
        let InstrKind::Loop(l) = &instr.kind else { panic!("still a loop") };
        assert_eq!((l.n_state, instr.inputs.len(), instr.outputs.len()), (3, 4, 3));
        let draw = l.body.instrs.iter().find(|i| i.op_as::<RandomUniform>().is_some()).unwrap();
        assert_eq!(draw.inputs[1], l.body.feeds[2].value);
    }
}
