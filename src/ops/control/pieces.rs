//! A list whose entries have different shapes. It has no dense value: what reads it takes the entries themselves while the
//! program is spelled, so that nothing of this op is left where the list is used in a way that is understood.

use crate::program::{Builder, Flow, Kernel, Misfit, Op, OpInfo, Value, op};
use crate::tensor::{DType, Fact, PartialShape};

use super::{EmptyStack, StackWrite};
use crate::ops::shape::Append;

pub static INFO: OpInfo = OpInfo {
    name: "pieces",
    family: "control",
    summary: "A list of values of different shapes, which are read one by one or joined along their first axis",
    formula: "inputs: the entries that were written; it is never computed as a whole",
    // Computing it is an error.
    examples: Vec::new,
};

const WHY: &str =
    "entries of different shapes are no single value: they can be read one by one at known positions, or joined";
/// Longer lists are not followed entry by entry.
const LONGEST: usize = 1 << 12;

/// See the file's header. Inputs: the entries that are there, in order.
#[derive(Clone, Debug)]
pub struct Pieces {
    pub dtype: DType,
    /// Whether each entry has been written.
    pub is_written: Vec<bool>,
}

/// A list as its entries.
pub type Entries = Vec<Option<Value>>;

/// The value of a list with these entries.
pub fn list_of(b: &mut Builder, dtype: DType, entries: &[Option<Value>]) -> Result<Value, Misfit> {
    let written: Vec<Value> = entries.iter().flatten().copied().collect();
    b.op(Pieces { dtype, is_written: entries.iter().map(Option::is_some).collect() }, &written)
}

/// The entries of a list of which it is known in this program how each came there.
pub fn entries_of(b: &Builder, list: Value) -> Option<Entries> {
    let mut writes: Vec<(Option<usize>, Value)> = Vec::new();
    let (mut at, mut out) = (list, Entries::new());
    loop {
        let (_, instr) = b.program().producer(at)?;
        let found = instr.op()?;
        if let Some(pieces) = op::downcast::<Pieces>(&**found) {
            let mut given = instr.inputs.iter().copied();
            out.extend(pieces.is_written.iter().map(|w| if *w { given.next() } else { None }));
            break;
        } else if op::downcast::<EmptyStack>(&**found).is_some() {
            let n = b.fact(*instr.inputs.first()?).scalar()?;
            out.resize((n.max(0.0) as usize).min(LONGEST + 1), None);
            break;
        } else if op::downcast::<StackWrite>(&**found).is_some() {
            let position = b.fact(instr.inputs[1]);
            let position = position.rank().filter(|&r| r == 0).and(position.scalar())?;
            writes.push((Some(usize::try_from(position as i64).ok()?), instr.inputs[2]));
        } else if op::downcast::<Append>(&**found).is_some() {
            writes.push((None, instr.inputs[1]));
        } else {
            return None;
        }
        at = *instr.inputs.first()?;
        if writes.len() > LONGEST {
            return None;
        }
    }
    for (position, value) in writes.into_iter().rev() {
        match position {
            None => out.push(Some(value)),
            Some(p) => {
                if p >= out.len() {
                    out.resize((p + 1).min(LONGEST + 1), None);
                }
                *out.get_mut(p)? = Some(value);
            }
        }
    }
    (out.len() <= LONGEST).then_some(out)
}

/// Whether a list is one of these.
pub fn is_pieces(b: &Builder, list: Value) -> bool {
    let producer = b.program().producer(list);
    producer.and_then(|(_, i)| i.op()).is_some_and(|o| op::downcast::<Pieces>(&**o).is_some())
}

impl Op for Pieces {
    fn info(&self) -> &'static OpInfo {
        &INFO
    }

    fn infer(&self, inputs: &[&Fact]) -> Result<Vec<Fact>, Misfit> {
        if inputs.len() != self.is_written.iter().filter(|w| **w).count() {
            return Err(Misfit(format!("{} entries for {:?}", inputs.len(), self.is_written)));
        }
        if let Some(other) = inputs.iter().find(|f| f.dtype != self.dtype && f.dtype != DType::Unknown) {
            return Err(Misfit(format!("an entry of {} in a list of {}", other.dtype, self.dtype)));
        }
        let shape = match inputs.iter().map(|f| f.rank()).collect::<Option<Vec<_>>>().as_deref() {
            Some([first, rest @ ..]) if rest.iter().all(|r| r == first) => {
                PartialShape::from_partial([Some(self.is_written.len())].into_iter().chain(vec![None; *first]))
            }
            _ => PartialShape::unknown(),
        };
        Ok(vec![Fact::new(self.dtype, shape)])
    }

    fn kernel(&self, _inputs: &[&Fact], _outputs: &[&Fact]) -> Result<Kernel, Misfit> {
        Ok(Kernel::host(|_| Err(Misfit::new(WHY))))
    }

    fn flow(&self, _input: usize, _inputs: &[&Fact]) -> Flow {
        Flow::Blocked(WHY.into())
    }
}
