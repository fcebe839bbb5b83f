//! Sample predictions of every kind of data through the window: sentences, hidden words, pictures, several labels, numbers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use regraft::app::Options;
use regraft::edits::heads::HeadChoice;
use regraft::session::recipe::{DataChoice, Objective, Recipe};
use regraft::session::{Change, EditStep, Model, Session, demo};
use regraft::ui::ctx::ThemeChoice;
use regraft::ui::run_view::{Prediction, RunState, RunView};

use super::flows::wait_for;
use super::{Window, pictures};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn write(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    regraft::base::files::replace(&path, content.as_bytes()).expect("writable");
    path.to_string_lossy().into_owned()
}

/// Trains a session for two steps in a window; what the run shows then.
fn trained(folder: &Path, model: &Path, recipe: Recipe, name: &str) -> RunView {
    let mut settings = recipe.settings.clone();
    for (key, value) in [("training.steps", "2"), ("training.batch", "4"), ("optimizer.lr", "0.01")] {
        settings.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    let path = folder.join("kind.regraft");
    let model = Arc::new(Model::open(model).expect("a fixture"));
    Session::new(model, Recipe { settings, ..recipe }).save_as(&path).expect("the session can be saved");
    let options = Options { open: Some(path), ..Options::default() };
    let mut window = Window::new([1440.0, 900.0], 1.0, ThemeChoice::Light, options);
    wait_for(&mut window, "the model", |app| app.open.is_some() && app.is_settled());
    window.click_first("Start training");
    wait_for(&mut window, "the end and its predictions", |app| {
        app.run.as_ref().is_some_and(|r| r.state == RunState::Finished && !r.predictions.is_empty())
    });
    regraft::app::layout::show(window.app().dock(), "predictions");
    window.settle();
    assert!(!window.has("No predictions yet"), "{name}");
    pictures::write(&mut window, &format!("panels/predictions-{name}-light"));
    window.app().run.clone().expect("a run")
}

fn sorted_by_cost(all: &[Prediction]) -> bool {
    let wrong: Vec<f64> = all.iter().filter(|p| !p.is_right()).map(|p| p.loss).collect();
    let first_right = all.iter().position(|p| p.is_right()).unwrap_or(all.len());
    wrong.windows(2).all(|w| w[0] >= w[1]) && all[first_right..].iter().all(Prediction::is_right)
}

const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nanna\nsees\nben\nin\nparis\nrome\nber\n##lin\nold\ntown\n.\n";
const SENTENCES: &str = "Anna\tB-per\nsees\tO\nBen\tB-per\nin\tO\nBerlin\tB-loc\n.\tO\n\n\
    old\tB-loc\ntown\tI-loc\nin\tO\nRome\tB-loc\n\nBen\tB-per\nBerlin\tI-per\nsees\tO\nParis\tB-loc\n\n\
    Anna\tB-per\nin\tO\nParis\tB-loc\n.\tO\n\nsees\tO\nAnna\tB-per\n\n";

#[test]
fn sentences_tell_their_entities() {
    let dir = tempfile::tempdir().expect("a folder");
    let sentences = write(dir.path(), "train.conll", SENTENCES);
    let recipe = Recipe {
        objective: Some(Objective::Value { loss: "tagger/loss".to_owned() }),
        data: Some(DataChoice {
            train: sentences.clone(),
            validation: Some(sentences),
            tokenizer: Some(write(dir.path(), "vocab.txt", VOCABULARY)),
            lower: Some(true),
            logits: Some("tagger/logits".to_owned()),
            ..DataChoice::default()
        }),
        ..Recipe::default()
    };
    let run = trained(dir.path(), &fixture("models/bert_nano_token_tagger_frozen/model.pb"), recipe, "sentences");
    assert_eq!(run.predictions.len(), 5);
    let of = |start: &str| run.predictions.iter().find(|p| p.text.starts_with(start)).expect("every sentence is there");
    assert_eq!(of("old town").label, "old town (loc), Rome (loc)");
    assert_eq!(of("Ben Berlin").label, "Ben Berlin (per), Paris (loc)");
    assert!(run.predictions.iter().all(|p| p.loss > 0.0 && p.probability > 0.0));
    assert!(sorted_by_cost(&run.predictions), "{:?}", run.predictions);
    let types: Vec<&str> = run.entities.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(types, ["loc", "per"], "a row for every type of entity");
    assert_eq!(run.classes.len(), 5, "and for every label");
}

#[test]
fn hidden_words_tell_what_was_guessed() {
    let dir = tempfile::tempdir().expect("a folder");
    let line =
        |i: usize| (0..9).map(|k| char::from(b'a' + ((i + k) % 18) as u8).to_string()).collect::<Vec<_>>().join(" ");
    let table = std::iter::once("text".to_owned()).chain((0..40).map(line)).collect::<Vec<_>>().join("\n");
    let tokenizer = fixture("folders/bert_pretraining_sharded/vocab.txt");
    let settings = [("data.mask_rate", "0.3"), ("data.split", "0.25")];
    let recipe = Recipe {
        data: Some(DataChoice {
            train: write(dir.path(), "texts.tsv", &table),
            text: vec!["text".to_owned()],
            tokenizer: Some(tokenizer.to_string_lossy().into_owned()),
            lower: Some(true),
            ..DataChoice::default()
        }),
        settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..Recipe::default()
    };
    let run = trained(dir.path(), &fixture("folders/bert_pretraining_sharded"), recipe, "hidden-words");
    assert!(!run.predictions.is_empty() && sorted_by_cost(&run.predictions));
    for p in &run.predictions {
        let hidden: Vec<&str> = p.label.split(", ").collect();
        assert_eq!(hidden.len(), p.predicted.split(", ").count(), "a guess for every hidden word");
        assert!(hidden.iter().all(|w| p.text.split(' ').any(|t| t == *w)), "{hidden:?} stand in {}", p.text);
    }
}

#[test]
fn pictures_are_named_by_their_files() {
    let dir = tempfile::tempdir().expect("a folder");
    for i in 0..16usize {
        let class = dir.path().join("pictures").join(if i % 2 == 0 { "left" } else { "top" });
        regraft::base::files::create_dir_all(&class).expect("a folder");
        let bright = |p: usize| if i % 2 == 0 { p % 8 < 4 } else { p < 32 };
        let pixels = (0..64).map(|p| if bright(p) { 220 } else { 20 }).collect();
        image::GrayImage::from_raw(8, 8, pixels)
            .expect("64 pixels")
            .save(class.join(format!("{i:02}.png")))
            .expect("saved");
    }
    let recipe = Recipe {
        objective: Some(Objective::Value { loss: "loss".to_owned() }),
        data: Some(DataChoice {
            train: dir.path().join("pictures").to_string_lossy().into_owned(),
            logits: Some("logits".to_owned()),
            ..DataChoice::default()
        }),
        settings: [("data.split".to_owned(), "0.5".to_owned())].into_iter().collect(),
        ..Recipe::default()
    };
    let run = trained(dir.path(), &fixture("models/cnn_digits8x8/model.pb"), recipe, "pictures");
    assert_eq!(run.predictions.len(), 8);
    assert!(run.predictions.iter().all(|p| p.text.contains(&format!("{}/", p.label)) && p.text.ends_with(".png")));
    assert!(sorted_by_cost(&run.predictions));
}

/// The demo's model with another head, on a table of that head's labels.
fn with_head(kind: &str, label: fn(usize) -> &'static str) -> RunView {
    let dir = tempfile::tempdir().expect("a folder");
    demo::write(dir.path()).expect("the demo can be written");
    let rows = (0..24).map(|i| format!("{}\tdas spiel {i}\n", label(i)));
    let table = std::iter::once("label\ttext\n".to_owned()).chain(rows).collect::<String>();
    let usual = demo::recipe(dir.path());
    let data = DataChoice {
        train: write(dir.path(), "other.tsv", &table),
        validation: None,
        logits: None,
        ..usual.data.clone().expect("the demo has data")
    };
    let settings = [("data.split", "0.25"), ("data.max_length", "16")];
    let recipe = Recipe {
        data: Some(data),
        settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..usual
    };
    let model = dir.path().join("model.pb");
    let mut session = Session::new(Arc::new(Model::open(&model).expect("the demo's")), recipe);
    session.apply(&Change::AddEdits(vec![EditStep::GraftHead(HeadChoice::new(kind))]), None);
    // Without an objective the newest head has its usual loss.
    session.apply(&Change::SetObjective(None), None);
    trained(dir.path(), &model, (**session.recipe()).clone(), kind)
}

#[test]
fn several_labels_are_judged_together_and_each_has_a_row() {
    let run = with_head("multi-label", |i| ["sport|news", "news", "food", "sport"][i % 4]);
    assert_eq!(run.classes.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["food", "news", "sport"]);
    assert!(run.confusion.is_none() && !run.predictions.is_empty() && sorted_by_cost(&run.predictions));
    let known = ["food", "news", "sport", "none"];
    assert!(run.predictions.iter().flat_map(|p| p.predicted.split(", ")).all(|l| known.contains(&l)));
    assert!(run.predictions.iter().any(|p| p.label == "news, sport" || p.label == "news"));
}

#[test]
fn numbers_are_near_or_far() {
    let run = with_head("regression", |i| ["0.5", "1.5", "7", "2.25"][i % 4]);
    assert!(run.predictions.iter().all(|p| p.is_number && p.probability.is_nan()));
    assert!(run.predictions.windows(2).all(|w| w[0].loss >= w[1].loss), "the furthest first");
    for p in &run.predictions {
        let [truth, said]: [f64; 2] = [&p.label, &p.predicted].map(|t| t.parse().expect("a number"));
        assert!(((truth - said).powi(2) - p.loss).abs() < 1e-2 * p.loss.max(1.0), "{p:?}");
    }
}
