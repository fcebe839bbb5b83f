//! A gradient that is lost, one way a graph: the report names the node and what lies behind it, the rest trains, and every
//! cure that is offered works when it is applied, with PyTorch's numbers (`fixtures/make/cures.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regraft::autodiff::{Cure, Verdict};
use regraft::base::Reporter;
use regraft::session::compute::{Ask, Computed, Gradients, Mode};
use regraft::session::export::{self, Export};
use regraft::session::recipe::{Objective, Recipe, StandIn, TrainableChoice};
use regraft::session::{Change, EditStep, Selector, Session, Understood};
use regraft::tensor::{Tensor, io};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cures")
}

fn texts(json: &serde_json::Value) -> Vec<String> {
    json.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

struct Case {
    json: serde_json::Value,
    golden: BTreeMap<String, Tensor>,
}

impl Case {
    fn all() -> Vec<Self> {
        let list = std::fs::read_to_string(root().join("cases.json")).unwrap();
        let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
        let golden: BTreeMap<String, Tensor> = io::read(&root().join("golden.npz")).unwrap().into_iter().collect();
        assert!(list.len() > 10);
        list.into_iter().map(|json| Self { json, golden: golden.clone() }).collect()
    }

    fn name(&self) -> &str {
        self.json["name"].as_str().unwrap()
    }

    fn session(&self) -> Session {
        let mut session = Session::open(&root().join(self.json["file"].as_str().unwrap())).unwrap();
        let recipe = Recipe {
            trainable: TrainableChoice { include: vec![Selector::All], exclude: Vec::new() },
            objective: Some(Objective::Value { loss: self.json["objective"].as_str().unwrap().to_owned() }),
            ..Recipe::default()
        };
        session.replace_recipe(recipe).unwrap();
        session
    }

    fn array(&self, name: &str) -> Tensor {
        self.golden[&format!("arrays|{name}")].clone()
    }

    fn compute(&self, understood: &Understood, feed: Option<(&str, &str)>) -> Computed {
        let names = understood.names().unwrap();
        let mut feeds = vec![(names.value("x").unwrap(), self.array("x"))];
        feeds.extend(feed.map(|(value, array)| (names.value(value).unwrap(), self.array(array))));
        let wrt = understood.trainable.iter().map(|t| (t.node.as_str().to_owned(), t.value)).collect();
        let of = understood.objective.values.iter().map(|&v| (v, None)).collect();
        let gradients = Some(Gradients { of, wrt });
        understood
            .compute(&Ask { mode: Mode::Train, feeds, gradients, ..Ask::default() })
            .unwrap_or_else(|e| panic!("{}: {e}", self.name()))
    }

    /// Loss and gradients are those of the cure; constants without a golden gradient have none.
    fn check(&self, cure: &str, understood: &Understood, computed: &Computed) {
        let at = format!("{} after {cure:?}", self.name());
        let golden = |what: &str| self.golden.get(&format!("{}|{cure}|{what}", self.name()));
        let loss = golden("loss").unwrap().to_f64s().unwrap()[0];
        let found = computed.loss.unwrap();
        assert!((found - loss).abs() <= 1e-5 * loss.abs().max(1.0), "{at}: loss {found} instead of {loss}");
        for (t, gradient) in understood.trainable.iter().zip(&computed.gradients) {
            let name = t.node.as_str();
            match (golden(name), gradient) {
                (None, None) => {}
                (Some(want), Some(got)) => {
                    let (w, g) = (want.to_f64s().unwrap(), got.to_f64s().unwrap());
                    assert_eq!(got.shape(), want.shape(), "{at}: {name}");
                    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-5 * b.abs().max(1.0);
                    assert!(g.iter().zip(&w).all(near), "{at}: gradient of {name} is {g:?} instead of {w:?}");
                }
                (None, Some(g)) => {
                    assert!(g.to_f64s().unwrap().iter().all(|v| *v == 0.0), "{at}: {name} should get no gradient");
                }
                (Some(_), None) => panic!("{at}: {name} gets no gradient"),
            }
        }
    }
}

/// What the window sends for a cure.
fn change(cure: &Cure) -> Option<Change> {
    Some(match cure {
        Cure::StandIn { node, stand_in } => {
            let kind: StandIn = stand_in.name().parse().unwrap();
            Change::SetStandIn { node: node.as_str().to_owned(), stand_in: Some(kind) }
        }
        Cure::Bypass { node } => Change::AddEdits(vec![EditStep::Bypass { node: node.as_str().to_owned() }]),
        Cure::PinPredicate { value, to } => {
            Change::SetPin { name: value.clone(), value: Some(f64::from(u8::from(*to))) }
        }
        Cure::Feed { .. } => return None,
    })
}

#[test]
fn nothing_is_blocked_where_nothing_trains() {
    for case in Case::all() {
        let mut session = case.session();
        let trainable = TrainableChoice { include: vec![Selector::None], exclude: Vec::new() };
        session.replace_recipe(Recipe { trainable, ..(**session.recipe()).clone() }).unwrap();
        let understood = session.understand().unwrap();
        let report = understood.report();
        assert!(report.constants.is_empty() && report.reached() == 0, "{}", case.name());
        assert_eq!(report.blockers().count(), 0, "{}: no weight is behind anything", case.name());
        assert!(!report.nodes.is_empty(), "{}: nodes still have their verdicts", case.name());
    }
}

fn offered(understood: &Understood) -> Vec<Cure> {
    let report = understood.report();
    let mut found: Vec<Cure> = report.uncomputable.iter().flat_map(|u| u.cures.clone()).collect();
    for cure in report.blockers().flat_map(|n| &n.cures) {
        if !found.contains(cure) {
            found.push(cure.clone());
        }
    }
    found
}

#[test]
fn the_report_names_the_node_and_the_weights_behind_it() {
    for case in Case::all() {
        let session = case.session();
        let understood = session.understand().unwrap();
        let report = understood.report();
        let name = case.name();
        let with = |flows: bool| -> Vec<&str> {
            let of = report.constants.iter().filter(|c| (c.verdict == Verdict::Flows) == flows);
            of.map(|c| c.name.as_str()).collect()
        };
        assert_eq!(with(true), texts(&case.json["trains"]), "{name}: what trains");
        assert_eq!(with(false), texts(&case.json["behind"]), "{name}: what does not");
        let behind = !texts(&case.json["behind"]).is_empty();
        let ends: Vec<&str> = report.blockers().map(|n| n.node.as_str()).collect();
        let expected: Vec<&str> = case.json["ends"].as_str().filter(|_| behind).into_iter().collect();
        assert_eq!(ends, expected, "{name}: where gradients end");
        let stuck: Vec<&str> = report.uncomputable.iter().map(|u| u.node.as_str()).collect();
        let is_stuck = case.json["uncomputable"].as_bool().unwrap();
        let expected: Vec<&str> = case.json["ends"].as_str().filter(|_| is_stuck).into_iter().collect();
        assert_eq!(stuck, expected, "{name}: what cannot be computed");
        let cures: Vec<String> = offered(&understood).iter().map(ToString::to_string).collect();
        let missing = texts(&case.json["cures"]).into_iter().find(|c| c != "nothing" && !cures.contains(c));
        assert_eq!(missing, None, "{name} offers {cures:?}");
    }
}

#[test]
fn every_cure_that_is_offered_works() {
    let mut applied = 0;
    for case in Case::all() {
        let session = case.session();
        let understood = session.understand().unwrap();
        if case.json["ends"].is_null() {
            case.check("nothing", &understood, &case.compute(&understood, None));
        }
        for cure in offered(&understood) {
            let mut session = case.session();
            match change(&cure) {
                Some(change) => {
                    assert!(session.apply(&change, None));
                    let cured = session.understand().unwrap();
                    let computed = case.compute(&cured, None);
                    case.check(&cure.to_string(), &cured, &computed);
                    assert!(cured.report().uncomputable.is_empty(), "{}: {cure}", case.name());
                    assert!(matches!(cure, Cure::StandIn { .. }) || cured.diagnostics.is_empty());
                }
                // Values of a function or of a second output have no array in the fixtures.
                None => {
                    let Some([value, array]) = case.json["feed"].as_array().map(Vec::as_slice) else { continue };
                    let feed = Some((value.as_str().unwrap(), array.as_str().unwrap()));
                    case.check(&cure.to_string(), &understood, &case.compute(&understood, feed));
                }
            }
            applied += 1;
        }
    }
    assert!(applied > 35, "{applied}");
}

#[test]
fn the_rest_trains_where_a_gradient_is_lost_but_values_are_known() {
    for case in Case::all().iter().filter(|c| !c.json["uncomputable"].as_bool().unwrap()) {
        let understood = case.session().understand().unwrap();
        let computed = case.compute(&understood, None);
        for (t, g) in understood.trainable.iter().zip(&computed.gradients) {
            let trains = texts(&case.json["trains"]).contains(&t.node.as_str().to_owned());
            assert_eq!(g.is_some(), trains, "{}: {}", case.name(), t.node);
        }
    }
}

#[test]
fn what_cannot_be_computed_says_what_helps() {
    for case in Case::all().iter().filter(|c| c.json["uncomputable"].as_bool().unwrap()) {
        let understood = case.session().understand().unwrap();
        let names = understood.names().unwrap();
        let feeds = vec![(names.value("x").unwrap(), case.array("x"))];
        let fetches = understood.objective.values.clone();
        let error = understood.compute(&Ask { feeds, fetches, ..Ask::default() }).unwrap_err().to_string();
        let node = case.json["ends"].as_str().unwrap();
        // Nothing can be fed inside a loop.
        let helps = if node.contains("/body/") { "stand-in" } else { "feed" };
        assert!(error.contains(node) && error.contains("Mystery") && error.contains(helps), "{}: {error}", case.name());
    }
}

#[test]
fn a_bypassed_node_is_gone_from_the_export() {
    for case in Case::all() {
        let understood = case.session().understand().unwrap();
        let Some(cure) = offered(&understood).into_iter().find(|c| matches!(c, Cure::Bypass { .. })) else { continue };
        let mut session = case.session();
        session.apply(&change(&cure).unwrap(), None);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(case.json["file"].as_str().unwrap());
        let export = Export {
            session: &session,
            constants: Vec::new(),
            remove_dropout: false,
            all_weights: false,
            merge_adapters: false,
            verify: true,
        };
        let mut reporter = Reporter::default();
        let written = export::write(&export, &file, &mut reporter).unwrap();
        assert_eq!(written.largest_difference, Some(0.0), "{}: {:?}", case.name(), reporter.diagnostics());
        let mut again = Session::open(&file).unwrap();
        again.replace_recipe((**case.session().recipe()).clone()).unwrap();
        let understood = again.understand().unwrap();
        assert!(understood.report().uncomputable.is_empty(), "{}", case.name());
        case.check("bypass", &understood, &case.compute(&understood, None));
    }
}
