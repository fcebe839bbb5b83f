//! Masked language models: what transformers fills into texts, and a pretraining graph that looks hidden words up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use regraft::base::{Reporter, files};
use regraft::data::Feature;
use regraft::session::plan::{self, DataPlan};
use regraft::session::recipe::{DataChoice, Objective, Recipe};
use regraft::session::run::Run;
use regraft::session::tables;
use regraft::session::training::Start;
use regraft::session::{Model, Session, SessionError};
use regraft::train::{Delivery, EndReason, TrainEvent, Trainer};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn session(model: &Path, recipe: Recipe) -> Session {
    Session::new(Arc::new(Model::open(model).unwrap()), recipe)
}

fn recipe(train: String, loss: Option<&str>, settings: &[(&str, &str)]) -> Recipe {
    let tokenizer = fixture("folders/bert_pretraining_sharded/vocab.txt");
    Recipe {
        objective: loss.map(|l| Objective::Value { loss: l.to_owned() }),
        data: Some(DataChoice {
            train,
            text: vec!["text".to_owned()],
            tokenizer: Some(tokenizer.to_string_lossy().into_owned()),
            lower: Some(true),
            ..DataChoice::default()
        }),
        settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..Recipe::default()
    }
}

/// A table of texts in which letters follow each other, so that there is something to learn.
fn texts(folder: &Path) -> String {
    let line =
        |i: usize| (0..9).map(|k| char::from(b'a' + ((i + k) % 18) as u8).to_string()).collect::<Vec<_>>().join(" ");
    let table = std::iter::once("text".to_owned()).chain((0..80).map(line)).collect::<Vec<_>>().join("\n");
    let path = folder.join("texts.tsv");
    files::replace(&path, table.as_bytes()).unwrap();
    path.to_string_lossy().into_owned()
}

fn train(session: &Session, folder: &Path) -> Result<Vec<TrainEvent>, SessionError> {
    let start =
        Start { folder: Some(folder.to_owned()), delivery: Delivery::Every, threads: Some(1), ..Start::default() };
    let trainer = Trainer::start(tables::job(session, start, &mut Reporter::default())?).unwrap();
    Ok(trainer.events().iter().collect())
}

#[test]
fn hidden_words_are_filled_in_as_transformers_does() {
    let golden: serde_json::Value =
        serde_json::from_slice(&files::read(&fixture("masked/filled.json")).unwrap()).unwrap();
    let golden = golden.as_array().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new.tsv");
    let rows = golden.iter().map(|g| g["text"].as_str().unwrap());
    files::replace(&path, std::iter::once("text").chain(rows).collect::<Vec<_>>().join("\n").as_bytes()).unwrap();
    let recipe = recipe(path.to_string_lossy().into_owned(), None, &[("data.mask_rate", "0.15")]);
    let session = session(&fixture("folders/bert_pretraining_sharded"), recipe);
    let said = tables::predict(&session, &path, Some(1), &mut Reporter::default()).unwrap();
    for (said, golden) in said.iter().zip(golden) {
        let best = golden["best"].as_array().unwrap();
        assert_eq!(said.tokens.len(), best.len());
        for (token, best) in said.tokens.iter().zip(best) {
            assert_eq!(token.label.as_deref(), best[0][0].as_str());
            assert!((token.probability - best[0][1].as_f64().unwrap()).abs() < 1e-5);
        }
    }
    // Where one word is hidden its alternatives are told too.
    let listed = golden[0]["best"][0].as_array().unwrap();
    assert_eq!(said[0].probabilities.len(), listed.len());
    for ((word, p), golden) in said[0].probabilities.iter().zip(listed) {
        assert_eq!(word, golden[0].as_str().unwrap());
        assert!((p - golden[1].as_f64().unwrap()).abs() < 1e-5);
    }
}

#[test]
fn a_graph_that_looks_hidden_words_up_is_fed_places_words_and_weights() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("data.mask_rate", "0.3"), ("training.batch", "8"), ("training.shuffle", "false")];
    let recipe = recipe(texts(dir.path()), Some("cls/predictions/loss"), &settings);
    let session = session(&fixture("masked/pretraining.pb"), recipe);
    let mut reporter = Reporter::default();
    let understood = Arc::new(session.understand().unwrap());
    let choice = plan::choice(&understood).unwrap();
    let set = plan::open(Path::new(&choice.train), &choice, false, &mut reporter).unwrap();
    let plan = DataPlan::new(understood, &set, &mut reporter).unwrap();
    let name = |f: Feature| plan.feeds.iter().find(|s| s.feature == f).unwrap().name.clone();
    let opened = plan.opened(set, None).unwrap();
    let rows: Vec<usize> = (0..opened.set.len()).collect();
    let mut hidden = plan.batches(&opened, rows.clone(), None, true).unwrap();
    let mut plain = plan.batches_to_predict(&opened).unwrap();
    for (epoch, index) in [(0, 0), (0, 3), (2, 9)] {
        let (h, p) = (hidden.batch(epoch, index).unwrap(), plain.batch(0, index).unwrap());
        let get = |b: &regraft::data::Batch, f: Feature| {
            let name = name(f);
            let tensor = &b.feeds.iter().find(|(n, _)| *n == name).unwrap().1;
            (
                tensor.shape().to_vec(),
                tensor.to_i64s().unwrap_or_else(|| tensor.to_f64s().unwrap().into_iter().map(|v| v as i64).collect()),
            )
        };
        let (shape, ids) = get(&h, Feature::InputIds);
        let (_, whole) = get(&p, Feature::InputIds);
        let (places, positions) = get(&h, Feature::MaskedPositions);
        let (words, weights) = (get(&h, Feature::MaskedIds).1, get(&h, Feature::MaskedWeights).1);
        // The graph has three places; 0.3 of eleven tokens are three words.
        assert_eq!((places.as_slice(), weights.iter().sum::<i64>()), (&[8usize, 3][..], 24));
        for k in 0..24 {
            let at = k / 3 * shape[1] + positions[k] as usize;
            assert_eq!(words[k], whole[at]);
        }
        let changed = (0..ids.len()).filter(|&i| ids[i] != whole[i]).collect::<Vec<_>>();
        assert!(!changed.is_empty() && changed.len() <= 24);
        let is_hidden = |i: usize| (0..24).any(|k| k / 3 * shape[1] + positions[k] as usize == i);
        assert!(changed.into_iter().all(is_hidden));
    }
}

#[test]
fn a_masked_language_model_learns_and_is_scored() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("data.mask_rate", "0.15"),
        ("data.split", "0.2"),
        ("training.batch", "16"),
        ("training.epochs", "30"),
        ("optimizer.lr", "0.03"),
    ];
    let recipe = recipe(texts(dir.path()), Some("cls/predictions/loss"), &settings);
    let session = session(&fixture("masked/pretraining.pb"), recipe);
    let folder = dir.path().join("run");
    let events = train(&session, &folder).unwrap();
    assert!(matches!(events.last(), Some(TrainEvent::End { reason: EndReason::Finished, .. })), "{:?}", events.last());
    let evals: Vec<(f64, f64)> = events
        .iter()
        .filter_map(|e| match e {
            TrainEvent::Eval { loss, metrics, .. } => Some((*loss, metrics["perplexity"])),
            _ => None,
        })
        .collect();
    let (first, last) = (evals[0], *evals.last().unwrap());
    assert!(last.0 < 0.85 * first.0, "{first:?} {last:?}");
    // All held-out texts are one batch: the loss that TensorFlow's graph computes is the logarithm of the perplexity.
    assert!((last.1.ln() - last.0).abs() < 1e-3, "{last:?}");
    let run = Run::open(&folder, "last").unwrap();
    let again = tables::evaluate(&run, None, 5, Some(1), &mut Reporter::default()).unwrap();
    assert_eq!((again.loss, again.metrics["perplexity"]), (Some(last.0), last.1));
}

#[test]
fn what_cannot_hide_words_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |model: &str, change: &dyn Fn(&mut Recipe)| {
        let mut recipe = recipe(texts(dir.path()), None, &[("data.mask_rate", "0.15")]);
        change(&mut recipe);
        train(&session(&fixture(model), recipe), &dir.path().join("refused")).unwrap_err().to_string()
    };
    let set = |recipe: &mut Recipe, f: &dyn Fn(&mut DataChoice)| recipe.data.as_mut().iter_mut().for_each(|d| f(d));
    let said = refused("folders/google_bert", &|_| {});
    assert!(said.contains("score for each word of a vocabulary"), "{said}");
    let said = refused("folders/bert_pretraining_sharded", &|r| {
        let vocabulary = dir.path().join("vocab.txt");
        files::replace(&vocabulary, b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n").unwrap();
        set(r, &|d| d.tokenizer = Some(vocabulary.to_string_lossy().into_owned()));
    });
    assert!(said.contains("no token for a hidden one"), "{said}");
    let said = refused("folders/bert_pretraining_sharded", &|r| {
        let words = dir.path().join("words.conll");
        files::replace(&words, b"a\tO\nb\tO\n").unwrap();
        set(r, &|d| d.train = words.to_string_lossy().into_owned());
    });
    assert!(said.contains("table of texts"), "{said}");
    let said = refused("masked/pretraining.pb", &|r| {
        r.objective = Some(Objective::Value { loss: "cls/predictions/loss".to_owned() });
        r.settings.clear();
    });
    assert!(said.contains("masked_lm_positions") && said.contains("data.mask_rate"), "{said}");
}
