//! A step that computes the frozen part once for each example.
//!
//! What is kept is a function of the example alone: it is computed at a length that the example decides, and only where
//! neighbours in the batch change no bit of it. So a resumed run, which begins with nothing kept, gives the same bits as one
//! that was never stopped.

use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::{Bindings, ConstantStore, Control, Executable, Workspace};
use crate::program::{Random, Value, View};
use crate::tensor::{DType, Dims, Tensor};
use crate::train::{NonFinite, ProgramStep, Step, StepError};

use super::compute::{Ask, Mode, Prepared};
use super::kept::{self, Kept, Row, Rows};
use super::understand::Understood;

/// The frozen part for other batch sizes and lengths than a step's own, made when needed.
#[derive(Debug)]
pub struct Shorter {
    understood: Arc<Understood>,
    mode: Mode,
    values: Vec<Value>,
    constants: ConstantStore,
    /// By number of rows and length; what was used last is at the end.
    made: Vec<((usize, usize), Executable, Vec<String>)>,
}

/// How many of them are kept.
const CAPACITY: usize = 48;

impl Shorter {
    pub fn new(understood: Arc<Understood>, mode: Mode, values: Vec<Value>) -> Self {
        Self { understood, mode, values, constants: ConstantStore::default(), made: Vec::new() }
    }

    /// The executable for these feeds with the names of its feeds; `None` where the contents of a feed are built into it.
    fn bring(
        &mut self,
        at: (usize, usize),
        feeds: &[(String, Tensor)],
    ) -> Result<Option<(&Executable, &[String])>, StepError> {
        if let Some(found) = self.made.iter().position(|(k, ..)| *k == at) {
            self.made[found..].rotate_left(1);
        } else {
            let names = self.understood.names().map_err(step_error)?;
            let feeds = feeds.iter().map(|(n, t)| Ok((names.value(n)?, t.clone())));
            let feeds = feeds.collect::<Result<Vec<_>, super::SessionError>>().map_err(step_error)?;
            let ask = Ask { mode: self.mode, fetches: self.values.clone(), feeds, ..Ask::default() };
            let Prepared { program, built_in, .. } = self.understood.prepare(&ask).map_err(step_error)?;
            if !built_in.is_empty() {
                return Ok(None);
            }
            if self.made.len() >= CAPACITY {
                self.made.remove(0);
            }
            let names = program.feeds.iter().map(|f| f.name.clone()).collect();
            let executable = Executable::new(program, &[], &mut self.constants).map_err(step_error)?;
            self.made.push((at, executable, names));
        }
        Ok(self.made.last().map(|(_, e, names)| (e, names.as_slice())))
    }
}

fn step_error(e: impl ToString) -> StepError {
    StepError(e.to_string())
}

/// The frozen part for one shape, and the step that goes on from what it gives.
#[derive(Debug)]
pub struct CachedStep {
    pub prefix: Executable,
    /// Names of the prefix' feeds, in order.
    pub prefix_feeds: Vec<String>,
    /// Names of the feeds that tell examples apart.
    pub example_feeds: Vec<String>,
    /// For each value of the frontier its name in the rest, where the rest reads it, and its type and shape for a batch.
    pub values: Vec<(Option<String>, DType, Dims)>,
    /// Examples in the batch.
    pub n_examples: usize,
    pub rest: ProgramStep,
    /// Tells this frontier from that of another phase.
    pub frontier: u64,
    pub kept: Arc<Mutex<Kept>>,
    /// Where batches are padded differently from time to time.
    pub shorter: Option<Arc<Mutex<Shorter>>>,
}

/// The results of one row.
type Parts = Vec<Tensor>;

impl CachedStep {
    fn compute(&self, space: &mut Workspace, feeds: &[(String, Tensor)]) -> Result<Vec<Tensor>, StepError> {
        run(&self.prefix, &self.prefix_feeds, self.values.len(), space, feeds)
    }

    /// One example's part of each value.
    fn parts(values: &[Tensor], i: usize, n: usize) -> Option<Parts> {
        let part = |value: &Tensor| {
            let size = value.bytes().len() / n;
            let mut dims = value.shape().to_vec();
            *dims.first_mut()? /= n;
            Tensor::from_bytes(value.dtype(), &dims, &value.bytes()[i * size..(i + 1) * size])
        };
        values.iter().map(part).collect()
    }

    /// Whether examples in another order give the same in that order, bit by bit.
    fn is_by_row(
        &self,
        space: &mut Workspace,
        feeds: &[(String, Tensor)],
        values: &[Tensor],
        n: usize,
    ) -> Result<bool, StepError> {
        let rotate = |t: &Tensor| -> Tensor {
            let size = t.bytes().len() / n;
            let turned = [&t.bytes()[size..], &t.bytes()[..size]].concat();
            Tensor::from_bytes(t.dtype(), t.shape(), &turned).unwrap_or_else(|| t.clone())
        };
        let is_example = |name: &String| self.example_feeds.contains(name);
        let turned: Vec<(String, Tensor)> =
            feeds.iter().map(|(n, t)| (n.clone(), if is_example(n) { rotate(t) } else { t.clone() })).collect();
        let again = self.compute(space, &turned)?;
        Ok(values.iter().zip(&again).all(|(v, a)| rotate(v).bytes() == a.bytes()))
    }

    /// The frontier's values for a batch: kept ones, or computed and kept.
    fn values(&self, space: &mut Workspace, feeds: &[(String, Tensor)]) -> Result<Vec<Tensor>, StepError> {
        let examples: Vec<&Tensor> =
            self.example_feeds.iter().filter_map(|n| feeds.iter().find(|(f, _)| f == n).map(|(_, t)| t)).collect();
        let found = kept::rows(&examples, self.frontier);
        let n = found.rows.len();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut whole = None;
        let nature = *kept.nature(self.frontier);
        if nature.is_by_row.is_none() && n > 1 {
            let values = self.compute(space, feeds)?;
            kept.nature(self.frontier).is_by_row = Some(self.is_by_row(space, feeds, &values, n)?);
            whole = Some(values);
        }
        // One row has no neighbours.
        if n == 0 || !kept.nature(self.frontier).is_by_row.unwrap_or(true) {
            return whole.map_or_else(|| self.compute(space, feeds), Ok);
        }
        let wanted = self.wanted(&mut kept, space, feeds, &found, &mut whole)?;
        let missing: Vec<usize> = (0..n).filter(|&i| kept.find(&wanted[i]).is_none()).collect();
        let fresh = self.fresh(space, feeds, &wanted, &missing, &mut whole)?;
        for (&i, parts) in missing.iter().zip(&fresh) {
            kept.keep(wanted[i], parts);
        }
        let of_row = |i: usize| match missing.binary_search(&i) {
            Ok(at) => fresh.get(at).map(Vec::as_slice),
            Err(_) => kept.find(&wanted[i]),
        };
        let all: Option<Vec<&[Tensor]>> = (0..n).map(of_row).collect();
        let join = |k: usize| {
            let bytes: Vec<u8> = all.as_ref()?.iter().flat_map(|e| e[k].bytes()).copied().collect();
            Tensor::from_bytes(self.values[k].1, &self.values[k].2, &bytes)
        };
        let joined = (0..self.values.len()).map(join).collect::<Option<Vec<_>>>();
        joined.ok_or_else(|| StepError("kept results do not have the shape of this batch".to_owned()))
    }

    /// The rows with the length that each is computed at: its own where padding changes nothing, else that of the batch.
    fn wanted(
        &self,
        kept: &mut Kept,
        space: &mut Workspace,
        feeds: &[(String, Tensor)],
        found: &Rows,
        whole: &mut Option<Vec<Tensor>>,
    ) -> Result<Vec<Row>, StepError> {
        let (Some(_), Some(own)) = (&self.shorter, &found.own_lengths) else { return Ok(found.rows.clone()) };
        let own_rows: Vec<Row> = found.rows.iter().zip(own).map(|(r, &length)| Row { length, ..*r }).collect();
        let Some(padded) = (0..own.len()).find(|&i| own[i] < found.rows[i].length) else { return Ok(own_rows) };
        if kept.nature(self.frontier).ignores_padding.is_none() {
            let alone = self.shorter(space, feeds, &[padded], own[padded])?;
            let beside = Self::parts(self.whole(space, feeds, whole)?, padded, own.len());
            let same = alone.zip(beside).is_some_and(|(a, b)| a.first().is_some_and(|a| kept::is_close(a, &b)));
            kept.nature(self.frontier).ignores_padding = Some(same);
        }
        let is_own = kept.nature(self.frontier).ignores_padding == Some(true);
        Ok(if is_own { own_rows } else { found.rows.clone() })
    }

    /// All values of the batch as it stands.
    fn whole<'a>(
        &self,
        space: &mut Workspace,
        feeds: &[(String, Tensor)],
        whole: &'a mut Option<Vec<Tensor>>,
    ) -> Result<&'a [Tensor], StepError> {
        let values = match whole.take() {
            Some(values) => values,
            None => self.compute(space, feeds)?,
        };
        Ok(whole.insert(values))
    }

    /// Results of the missing rows, each at its length.
    fn fresh(
        &self,
        space: &mut Workspace,
        feeds: &[(String, Tensor)],
        wanted: &[Row],
        missing: &[usize],
        whole: &mut Option<Vec<Tensor>>,
    ) -> Result<Vec<Parts>, StepError> {
        let n = wanted.len();
        let length = self.example_feeds.iter().filter_map(|f| feeds.iter().find(|(n, _)| n == f));
        let length = length.filter_map(|(_, t)| t.shape().get(1).copied()).next().unwrap_or(0);
        let is_here = |i: &usize| wanted[*i].length == length || wanted[*i].length == 0;
        let wrong = || StepError("the frozen part gave other shapes than were planned".to_owned());
        let mut out: Vec<Option<Parts>> = vec![None; n];
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        if self.shorter.is_none() || missing.iter().all(is_here) {
            let values = self.whole(space, feeds, whole)?;
            return missing.iter().map(|&i| Self::parts(values, i, n).ok_or_else(wrong)).collect();
        }
        let mut left = missing.to_vec();
        while let Some(&first) = left.first() {
            let at = wanted[first].length;
            // Few sizes, so that few plans are made.
            let alike = left.iter().filter(|i| wanted[**i].length == at).count();
            let take = 1 << alike.ilog2();
            let some: Vec<usize> = left.iter().copied().filter(|i| wanted[*i].length == at).take(take).collect();
            left.retain(|i| !some.contains(i));
            match self.shorter(space, feeds, &some, at)? {
                Some(parts) => some.iter().zip(parts).for_each(|(&i, p)| out[i] = Some(p)),
                None => return Err(wrong()),
            }
        }
        missing.iter().map(|&i| out[i].take().ok_or_else(wrong)).collect()
    }

    /// Some rows at a length; `None` where their results have other shapes then.
    fn shorter(
        &self,
        space: &mut Workspace,
        feeds: &[(String, Tensor)],
        rows: &[usize],
        length: usize,
    ) -> Result<Option<Vec<Parts>>, StepError> {
        let Some(shorter) = &self.shorter else { return Ok(None) };
        let mut shorter = shorter.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = |(name, t): &(String, Tensor)| {
            let is_example = self.example_feeds.contains(name);
            is_example.then(|| Some((name.clone(), kept::cut(t, rows, length)?)))
        };
        let Some(feeds) = feeds.iter().filter_map(cut).collect::<Option<Vec<_>>>() else { return Ok(None) };
        let Some((executable, names)) = shorter.bring((rows.len(), length), &feeds)? else { return Ok(None) };
        let values = run(executable, names, self.values.len(), space, &feeds)?;
        let n = feeds.first().map_or(1, |(_, t)| t.shape()[0]).max(1);
        let batch = self.n_examples.max(1);
        let fits = values.iter().zip(&self.values).all(|(v, (_, dtype, dims))| {
            let same = v.shape().get(1..) == dims.get(1..);
            v.dtype() == *dtype && same && v.shape().first().map(|d| d / n) == dims.first().map(|d| d / batch)
        });
        Ok(if fits { (0..n).map(|i| Self::parts(&values, i, n)).collect() } else { None })
    }

    fn with_values(&self, feeds: &[(String, Tensor)], values: Vec<Tensor>) -> Vec<(String, Tensor)> {
        let own = self.values.iter().zip(values).filter_map(|((name, ..), t)| Some((name.clone()?, t)));
        // The frontier's values first: their names win.
        own.chain(feeds.iter().cloned()).collect()
    }
}

/// Runs a frozen part; its feeds go by their names, `:0` or not.
fn run(
    executable: &Executable,
    names: &[String],
    n_values: usize,
    space: &mut Workspace,
    feeds: &[(String, Tensor)],
) -> Result<Vec<Tensor>, StepError> {
    let plain = |n: &str| n.strip_suffix(":0").unwrap_or(n).to_owned();
    let named = |name: &String| {
        let found = feeds.iter().find(|(n, _)| plain(n) == plain(name)).map(|(_, t)| t.clone());
        found.ok_or_else(|| StepError(format!("nothing is fed to '{name}'")))
    };
    let given = names.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let bind = Bindings { feeds: &given, params: &[], random: Random::default() };
    executable.run(space, &bind, Control::default()).map_err(step_error)?;
    Ok((0..n_values).map(|i| executable.output_tensor(space, i)).collect())
}
impl Step for CachedStep {
    fn run(
        &mut self,
        space: &mut Workspace,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
        random: Random,
    ) -> Result<f64, StepError> {
        let values = self.values(space, feeds)?;
        let feeds = self.with_values(feeds, values);
        self.rest.run(space, &feeds, parameters, random)
    }

    fn gradient<'a>(&'a self, space: &'a Workspace, index: usize) -> Option<View<'a>> {
        self.rest.gradient(space, index)
    }

    fn prediction(&self, space: &Workspace) -> Option<Tensor> {
        self.rest.prediction(space)
    }

    fn memory_bytes(&self) -> usize {
        self.prefix.arena_bytes().unwrap_or(0).max(self.rest.memory_bytes())
    }

    fn first_non_finite(
        &mut self,
        feeds: &[(String, Tensor)],
        parameters: &[Tensor],
        random: Random,
    ) -> Result<Option<NonFinite>, StepError> {
        let values = self.compute(&mut Workspace::new(), feeds)?;
        let feeds = self.with_values(feeds, values);
        self.rest.first_non_finite(&feeds, parameters, random)
    }
}
