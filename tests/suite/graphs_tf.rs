//! Small graphs of `fixtures/graphs_tf` (loops with lists, complex numbers, special functions, ragged tensors, …): the output
//! and the gradients of both weights, the whole way through the session, compared with what TensorFlow computed.

use std::path::Path;

use regraft::base::Reporter;
use regraft::session::compute::{Ask, Computed, Gradients, Mode};
use regraft::session::recipe::{Recipe, TrainableChoice};
use regraft::session::{Selector, Session, Understood, feeds};
use regraft::tensor::Tensor;
use regraft::tensor::io::{self, Arrays};

#[derive(serde::Deserialize)]
struct Index {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    /// Whether TensorFlow has gradients of it.
    gradients: bool,
}

/// Relative to the array's largest number: sums of another order differ that much.
fn difference(got: &Tensor, want: &Tensor, tolerance: f64) -> Option<String> {
    if got.shape() != want.shape() {
        return Some(format!("shape {:?} instead of {:?}", got.shape(), want.shape()));
    }
    let (got, want) = (got.to_f64s().unwrap(), want.to_f64s().unwrap());
    let scale = want.iter().filter(|v| v.is_finite()).fold(1e-2f64, |m, v| m.max(v.abs()));
    let same = |g: f64, w: f64| g == w || g.is_nan() && w.is_nan() || (g - w).abs() <= tolerance * scale;
    let at = got.iter().zip(&want).position(|(g, w)| !same(*g, *w))?;
    Some(format!("element {at}: {} instead of {}", got[at], want[at]))
}

/// What a case asks for; an error says why it could not be computed. With `seed` the gradients of w and b.
fn compute(case: &Case, understood: &Understood, arrays: &Arrays, seed: Option<Tensor>) -> Result<Computed, String> {
    let name = |part: &str| format!("{}/{part}", case.name);
    let x = vec![(name("x:0"), arrays["x"].clone())];
    let names = understood.names().map_err(|e| e.to_string())?;
    let feeds = feeds::resolve(&names, x, &mut Reporter::default()).map_err(|e| e.to_string())?;
    let y = understood.fetches(&[name("y:0")]).map_err(|e| e.to_string())?.0;
    let mut ask = Ask { mode: Mode::Eval, feeds, ..Ask::default() };
    match seed {
        None => ask.fetches = y,
        Some(seed) => {
            let weight = |part: &str| {
                let found = understood.trainable.iter().find(|t| t.node.as_str() == name(part));
                found.map(|t| (name(part), t.value)).ok_or(format!("{part} is not trainable"))
            };
            let of = y.into_iter().map(|v| (v, Some(seed.clone()))).collect();
            ask.gradients = Some(Gradients { of, wrt: vec![weight("w")?, weight("b")?] });
        }
    }
    understood.compute(&ask).map_err(|e| e.to_string())
}

fn check(case: &Case, understood: &Understood, arrays: &Arrays) -> Result<(), String> {
    let want = |part: &str| &arrays[&format!("{}/{part}", case.name)];
    let computed = compute(case, understood, arrays, None)?;
    let bad = computed.outputs.first().and_then(|got| difference(got, want("y"), 1e-4));
    bad.map_or(Ok(()), |d| Err(format!("y: {d}")))?;
    if !case.gradients {
        return Ok(());
    }
    let y = want("y");
    let seed = Tensor::from_f64s(y.dtype(), y.shape(), (0..y.len()).map(|i| (i as f64).cos()));
    let computed = compute(case, understood, arrays, Some(seed)).map_err(|e| format!("gradients: {e}"))?;
    let mut got = Vec::new();
    for (gradient, n) in computed.gradients.iter().zip([25, 5]) {
        got.extend(gradient.as_ref().map_or(vec![0.0; n], |g| g.to_f64s().unwrap()));
    }
    let got = Tensor::from_f64s(y.dtype(), &[6, 5], got);
    difference(&got, want("g"), 5e-4).map_or(Ok(()), |d| Err(format!("gradients: {d}")))
}

#[test]
fn outputs_and_gradients_are_tensorflows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/graphs_tf");
    let index: Index = serde_json::from_str(&std::fs::read_to_string(folder.join("graphs.json")).unwrap()).unwrap();
    let arrays = io::read(&folder.join("arrays.npz")).unwrap();
    let mut session = Session::open(&folder.join("graphs.pb")).unwrap();
    let recipe = Recipe {
        trainable: TrainableChoice { include: vec![Selector::All], ..Default::default() },
        ..Recipe::default()
    };
    session.replace_recipe(recipe).unwrap();
    let understood = session.understand().unwrap();
    let wrong = |case: &Case| check(case, &understood, &arrays).err().map(|e| format!("{}: {e}", case.name));
    let wrong: Vec<String> = index.cases.iter().filter_map(wrong).collect();
    assert!(index.cases.len() > 50, "only {} cases", index.cases.len());
    assert!(wrong.is_empty(), "{} of {} graphs:\n{}", wrong.len(), index.cases.len(), wrong.join("\n"));
}
