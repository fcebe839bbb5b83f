//! Data sets of every kind through training, evaluation, prediction and export; and what bad data is answered with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use regraft::base::{Reporter, files};
use regraft::session::recipe::{DataChoice, Objective, Recipe};
use regraft::session::run::Run;
use regraft::session::tables::{self, Evaluation};
use regraft::session::training::Start;
use regraft::session::{Model, Session, SessionError, beside, export};
use regraft::tensor::Tensor;
use regraft::tensor::io;
use regraft::train::{Delivery, EndReason, TrainEvent, Trainer};

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models").join(name).join("model.pb")
}

fn session(name: &str, recipe: Recipe) -> Session {
    Session::new(Arc::new(Model::open(&model(name)).unwrap()), recipe)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn write(folder: &Path, name: &str, content: &[u8]) -> String {
    let path = folder.join(name);
    files::replace(&path, content).unwrap();
    text(&path)
}

fn recipe(loss: &str, data: DataChoice, settings: &[(&str, &str)]) -> Recipe {
    let mut all = vec![("optimizer.lr", "0.01"), ("training.batch", "4"), ("training.epochs", "2")];
    all.extend(settings);
    Recipe {
        objective: Some(Objective::Value { loss: loss.to_owned() }),
        data: Some(data),
        settings: all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..Recipe::default()
    }
}

/// Trains into a folder; the events and what was reported before the start.
fn train(session: &Session, folder: &Path) -> Result<(Vec<TrainEvent>, Reporter), SessionError> {
    let mut reporter = Reporter::default();
    let start = Start {
        folder: Some(folder.to_owned()),
        delivery: Delivery::Every,
        threads: Some(1),
        resume: files::exists(&folder.join("recipe.json")),
        ..Start::default()
    };
    let trainer = Trainer::start(tables::job(session, start, &mut reporter)?).unwrap();
    let events: Vec<TrainEvent> = trainer.events().iter().collect();
    Ok((events, reporter))
}

/// The last evaluation of a run, and that it ended well.
fn last_eval(events: &[TrainEvent]) -> (f64, regraft::train::protocol::Metrics) {
    match events.last() {
        Some(TrainEvent::End { reason: EndReason::Finished, .. }) => {}
        other => panic!("{other:?}"),
    }
    let eval = |e: &TrainEvent| match e {
        TrainEvent::Eval { loss, metrics, .. } => Some((*loss, metrics.clone())),
        _ => None,
    };
    events.iter().rev().find_map(eval).unwrap()
}

fn has(reporter: &Reporter, code: &str) -> bool {
    reporter.diagnostics().iter().any(|d| d.code == code)
}

fn evaluated(folder: &Path) -> Evaluation {
    let run = Run::open(folder, "last").unwrap();
    tables::evaluate(&run, None, 5, Some(1), &mut Reporter::default()).unwrap()
}

const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nanna\nsees\nben\nin\nparis\nrome\nber\n##lin\nold\ntown\n.\n";

const SENTENCES: &str = "Anna\tB-per\nsees\tO\nBen\tB-per\nin\tO\nBerlin\tB-loc\n.\tO\n\n\
    old\tB-loc\ntown\tI-loc\nin\tO\nRome\tB-loc\n\nBen\tB-per\nBerlin\tI-per\nsees\tO\nParis\tB-loc\n\n\
    Anna\tB-per\nin\tO\nParis\tB-loc\n.\tO\n\nsees\tO\nAnna\tB-per\n\n";

fn tagger(folder: &Path) -> Recipe {
    let data = DataChoice {
        train: write(folder, "train.conll", SENTENCES.as_bytes()),
        validation: Some(write(folder, "dev.conll", SENTENCES.as_bytes())),
        tokenizer: Some(write(folder, "vocab.txt", VOCABULARY.as_bytes())),
        lower: Some(true),
        logits: Some("tagger/logits".to_owned()),
        ..DataChoice::default()
    };
    recipe("tagger/loss", data, &[("training.epochs", "30"), ("training.best_metric", "entity_f1")])
}

#[test]
fn labelled_sequences_train_are_scored_and_predicted() {
    let dir = tempfile::tempdir().unwrap();
    let session = session("bert_nano_token_tagger_frozen", tagger(dir.path()));
    let folder = dir.path().join("run");
    let (events, reporter) = train(&session, &folder).unwrap();
    assert!(has(&reporter, "classes") && has(&reporter, "lengths"), "{:?}", reporter.diagnostics());
    let (loss, metrics) = last_eval(&events);
    assert!(metrics["entity_f1"] > 0.5, "{metrics:?}");
    // A fresh evaluation of the checkpoint is the one that the run logged.
    let again = evaluated(&folder);
    assert_eq!(again.loss, Some(loss));
    assert_eq!(again.metrics, metrics);
    assert_eq!(again.entities.len(), 2);
    assert_eq!(files::read_to_string(&folder.join("labels.txt")).unwrap(), "B-loc\nB-per\nI-loc\nI-per\nO\n");
    // Words without labels; the second sentence has a word of two pieces.
    let new = PathBuf::from(write(dir.path(), "new.txt", b"Anna\n\nBerlin\nsees\nRome\n"));
    let run = Run::open(&folder, "best").unwrap();
    let said = tables::predict(&run, &new, Some(1), &mut Reporter::default()).unwrap();
    assert_eq!(said.iter().map(|p| p.tokens.len()).collect::<Vec<_>>(), [1, 3]);
    assert!(said[1].tokens.iter().all(|t| t.label.is_some() && t.probability > 0.0));
    assert!(tables::to_csv(&said).unwrap().lines().count() == 5);
}

#[test]
fn malformed_and_unknown_labels_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut recipe = tagger(dir.path());
    let broken = write(dir.path(), "broken.conll", b"Anna\tB-per\nsees\tO\n\nBen\tB-per\nsees\n\nRome\tB-loc\n");
    recipe.data.as_mut().unwrap().train = broken;
    recipe.data.as_mut().unwrap().validation = None;
    let e = train(&session("bert_nano_token_tagger_frozen", recipe.clone()), &run).unwrap_err().to_string();
    assert!(e.contains("line 5") && e.contains("bad_rows=skip"), "{e}");
    recipe.settings.insert("data.bad_rows".to_owned(), "skip".to_owned());
    let (_, reporter) = train(&session("bert_nano_token_tagger_frozen", recipe), &run).unwrap();
    assert!(has(&reporter, "bad-rows"));
    let mut recipe = tagger(dir.path());
    recipe.data.as_mut().unwrap().validation = Some(write(dir.path(), "odd.conll", b"Anna\tB-per\nBen\tB-cat\n"));
    let e = train(&session("bert_nano_token_tagger_frozen", recipe), &dir.path().join("b")).unwrap_err().to_string();
    assert!(e.contains("line 2") && e.contains("'B-cat'") && e.contains("B-loc"), "{e}");
}

fn texts(n: usize) -> String {
    let mut out = "label\ttext\tpart\n".to_owned();
    for i in 0..n {
        let (label, words) = [("x", "anna sees ben"), ("y", "old town"), ("z", "paris . rome .")][i % 3];
        out += &format!("{label}\t{words}\t{}\n", if i % 5 == 4 { "dev" } else { "train" });
    }
    out
}

fn classifier(folder: &Path, table: &str, settings: &[(&str, &str)]) -> Recipe {
    let data = DataChoice {
        train: write(folder, "train.tsv", table.as_bytes()),
        text: vec!["text".to_owned()],
        label: Some("label".to_owned()),
        tokenizer: Some(write(folder, "vocab.txt", VOCABULARY.as_bytes())),
        lower: Some(true),
        ..DataChoice::default()
    };
    recipe("loss/Mean", data, settings)
}

const CLASSIFIER: &str = "bert_nano_dynamic_frozen";

#[test]
fn a_tuned_classifier_is_used_without_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = classifier(dir.path(), &texts(30), &[("data.split_column", "part"), ("training.epochs", "20")]);
    let session = session(CLASSIFIER, recipe);
    let folder = dir.path().join("run");
    let (events, _) = train(&session, &folder).unwrap();
    let (loss, metrics) = last_eval(&events);
    let own = evaluated(&folder);
    assert_eq!((own.loss, &own.metrics), (Some(loss), &metrics));
    assert_eq!(own.classes.iter().map(|c| c.support).sum::<u64>(), 6);
    let run = Run::open(&folder, "last").unwrap();
    let to = dir.path().join("out").join("tuned.pb");
    files::create_dir_all(to.parent().unwrap()).unwrap();
    let what = export::Export {
        session: &run.session,
        constants: run.constants(),
        remove_dropout: true,
        all_weights: false,
        merge_adapters: false,
        verify: false,
    };
    export::write(&what, &to, &mut Reporter::default()).unwrap();
    let beside = beside::write_for_run(&folder, &run.session, &to, &mut Reporter::default()).unwrap();
    let names: Vec<_> = beside.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["labels.txt", "vocab.txt", "tuned.regraft"]);
    // The training data is no longer needed.
    files::remove_file(&dir.path().join("train.tsv")).unwrap();
    let exported = Session::open(&beside::session_of(&to).unwrap()).unwrap();
    let dev = PathBuf::from(write(dir.path(), "dev.tsv", texts(12).as_bytes()));
    let quiet = &mut Reporter::default();
    let (a, b) = (tables::predict(&run, &dev, Some(1), quiet), tables::predict(&exported, &dev, Some(1), quiet));
    for (a, b) in a.unwrap().iter().zip(b.unwrap()) {
        assert_eq!(a.label, b.label);
        for (p, q) in a.probabilities.values().zip(b.probabilities.values()) {
            assert!((p - q).abs() < 1e-6, "{p} {q}");
        }
    }
    let (a, b) = (
        tables::evaluate(&run, Some(&dev), 3, Some(1), quiet).unwrap(),
        tables::evaluate(&exported, Some(&dev), 3, Some(1), quiet).unwrap(),
    );
    assert_eq!(a.metrics, b.metrics);
    assert!((a.loss.unwrap() - b.loss.unwrap()).abs() < 1e-6);
}

#[test]
fn lengths_are_chosen_within_the_table_of_positions() {
    let dir = tempfile::tempdir().unwrap();
    // The model has 16 positions.
    let long = format!("{}x\t{}\ttrain\n", texts(6), "anna ".repeat(40));
    let session_of = |settings: &[(&str, &str)]| session(CLASSIFIER, classifier(dir.path(), &long, settings));
    let (_, reporter) = train(&session_of(&[]), &dir.path().join("a")).unwrap();
    let said = reporter.diagnostics().iter().find(|d| d.code == "texts-cut").unwrap();
    assert!(said.message.contains("maximal length 16, which cuts 1 "), "{}", said.message);
    let kept = Run::open(&dir.path().join("a"), "last").unwrap().session.recipe().settings["data.max_length"].clone();
    assert_eq!(kept, "16");
    let e = train(&session_of(&[("data.max_length", "32")]), &dir.path().join("b")).unwrap_err().to_string();
    assert!(e.contains("at most 16 tokens") && e.contains("data.max_length"), "{e}");
}

#[test]
fn wrong_tables_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |table: &str, settings: &[(&str, &str)], change: &dyn Fn(&mut DataChoice)| {
        let mut recipe = classifier(dir.path(), table, settings);
        change(recipe.data.as_mut().unwrap());
        train(&session(CLASSIFIER, recipe), &dir.path().join("run")).unwrap_err().to_string()
    };
    let e = fails(&texts(9), &[], &|d| d.text = vec!["words".to_owned()]);
    assert!(e.contains("'words'") && e.contains("label, text, part"), "{e}");
    let e = fails(&texts(9), &[], &|d| d.label = Some("class".to_owned()));
    assert!(e.contains("'class'"), "{e}");
    let e = fails(&(texts(9) + "v\tanna\ttrain\n"), &[], &|_| {});
    assert!(e.contains("4 classes") && e.contains("3 outputs"), "{e}");
    let e = fails(&(texts(9) + "x\tanna\n"), &[], &|_| {});
    assert!(e.contains("line 11") && e.contains("2 fields instead of 3"), "{e}");
    let e = fails(&texts(9), &[("data.split_column", "label")], &|_| {});
    assert!(e.contains("data.split_value"), "{e}");
    let e = fails("label\ttext\n", &[], &|_| {});
    assert!(e.contains("no rows"), "{e}");
    let e = fails(&texts(9), &[], &|d| d.train = text(&dir.path().join("vocab.xyz")));
    assert!(e.contains("unknown kind of data"), "{e}");
}

#[test]
fn unknown_labels_and_empty_classes_in_validation() {
    let dir = tempfile::tempdir().unwrap();
    let other = write(dir.path(), "dev.tsv", b"label\ttext\tpart\nx\tanna\tdev\nw\tben\tdev\n");
    let make = |settings: &[(&str, &str)]| {
        let mut recipe = classifier(dir.path(), &texts(9), settings);
        recipe.data.as_mut().unwrap().validation = Some(other.clone());
        session(CLASSIFIER, recipe)
    };
    let e = train(&make(&[]), &dir.path().join("a")).unwrap_err().to_string();
    assert!(e.contains("line 3") && e.contains("'w'") && e.contains("x, y, z"), "{e}");
    let (events, reporter) = train(&make(&[("data.bad_rows", "skip")]), &dir.path().join("b")).unwrap();
    assert!(has(&reporter, "unknown-labels") && has(&reporter, "empty-class"), "{:?}", reporter.diagnostics());
    last_eval(&events);
}

#[test]
fn changed_data_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut first = session(CLASSIFIER, classifier(dir.path(), &texts(9), &[]));
    let file = dir.path().join("my.regraft");
    first.save_as(&file).unwrap();
    assert!(Session::open(&file).unwrap().notes.is_empty());
    train(&first, &run).unwrap();
    write(dir.path(), "train.tsv", texts(12).as_bytes());
    let again = Session::open(&file).unwrap();
    assert!(
        again.notes.iter().any(|d| d.code == "data-changed" && d.message.contains("train.tsv")),
        "{:?}",
        again.notes
    );
    let e = train(&again, &run).unwrap_err().to_string();
    assert!(e.contains("has changed") && e.contains("--out"), "{e}");
    write(dir.path(), "train.tsv", texts(9).as_bytes());
    let mut longer = (**again.recipe()).clone();
    longer.settings.insert("training.epochs".to_owned(), "4".to_owned());
    let (events, _) = train(&session(CLASSIFIER, longer), &run).unwrap();
    assert!(matches!(events.first(), Some(TrainEvent::Start { first_step: 6, steps: 12, .. })), "{:?}", events.first());
}

/// 8×8 pictures of two kinds: bright left half (3) or bright top half (7).
fn picture(i: usize) -> [u8; 64] {
    std::array::from_fn(|p| {
        let bright = if i.is_multiple_of(2) { p % 8 < 4 } else { p < 32 };
        if bright { 200 + (i * 7 + p) as u8 % 50 } else { (i * 3 + p) as u8 % 40 }
    })
}

fn digits(data: DataChoice) -> Session {
    let data = DataChoice { logits: Some("logits".to_owned()), ..data };
    session("cnn_digits8x8", recipe("loss", data, &[("data.split", "0.25"), ("training.epochs", "6")]))
}

#[test]
fn a_placeholder_that_nothing_feeds_is_named_before_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let rows: String = (0..8).map(|i| format!("{i},{},{}\n", i * 2, ["even", "odd"][i % 2])).collect();
    let train_table = write(dir.path(), "numbers.csv", format!("a,b,label\n{rows}").as_bytes());
    let data = DataChoice { train: train_table, label: Some("label".to_owned()), ..DataChoice::default() };
    let refused = train(&digits(data), &dir.path().join("run")).unwrap_err().to_string();
    assert!(refused.contains("nothing says what fills the placeholder"), "{refused}");
}

#[test]
fn arrays_of_examples_train() {
    let dir = tempfile::tempdir().unwrap();
    let n = 32;
    let pixels: Vec<f32> = (0..n).flat_map(picture).map(|b| f32::from(b) / 255.0).collect();
    let classes: Vec<i32> = (0..n as i32).map(|i| if i % 2 == 0 { 3 } else { 7 }).collect();
    let path = dir.path().join("train.npz");
    // Flat pictures: the placeholder's shape says how they unfold.
    let (x, y) = (Tensor::from_slice(&[n, 64], &pixels), Tensor::from_slice(&[n], &classes));
    io::write(&path, [("pictures", &x), ("y", &y)]).unwrap();
    let folder = dir.path().join("run");
    let (events, _) = train(&digits(DataChoice { train: text(&path), ..DataChoice::default() }), &folder).unwrap();
    let (loss, metrics) = last_eval(&events);
    assert!(metrics["accuracy"] > 0.9, "{metrics:?}");
    assert_eq!(evaluated(&folder).loss, Some(loss));
    // The label in a file of its own.
    let (xs, ys) = (dir.path().join("x.npy"), dir.path().join("y.npy"));
    io::write(&xs, [("x", &x)]).unwrap();
    io::write(&ys, [("y", &y)]).unwrap();
    let data = DataChoice { train: text(&xs), label: Some("y.npy".to_owned()), ..DataChoice::default() };
    last_eval(&train(&digits(data.clone()), &dir.path().join("npy")).unwrap().0);
    let e = train(&digits(DataChoice { label: Some("z".to_owned()), ..data }), &dir.path().join("c")).unwrap_err();
    assert!(e.to_string().contains("no array 'z'"), "{e}");
}

#[test]
fn idx_files_and_image_folders_train_alike() {
    let dir = tempfile::tempdir().unwrap();
    let n = 32usize;
    let mut images = vec![0, 0, 8, 3, 0, 0, 0, n as u8, 0, 0, 0, 8, 0, 0, 0, 8];
    let mut labels = vec![0, 0, 8, 1, 0, 0, 0, n as u8];
    for i in 0..n {
        images.extend(picture(i));
        labels.push(if i % 2 == 0 { 0 } else { 1 });
        let class = dir.path().join("pictures").join(if i % 2 == 0 { "left" } else { "top" });
        files::create_dir_all(&class).unwrap();
        let gray = image::GrayImage::from_raw(8, 8, picture(i).to_vec()).unwrap();
        gray.save(class.join(format!("{i:02}.png"))).unwrap();
    }
    let idx = write(dir.path(), "train-images-idx3-ubyte", &images);
    write(dir.path(), "train-labels-idx1-ubyte", &labels);
    let (events, _) =
        train(&digits(DataChoice { train: idx, ..DataChoice::default() }), &dir.path().join("idx")).unwrap();
    assert!(last_eval(&events).1["accuracy"] > 0.9);
    let pictures = DataChoice { train: text(&dir.path().join("pictures")), ..DataChoice::default() };
    let folder = dir.path().join("folder");
    let (events, _) = train(&digits(pictures.clone()), &folder).unwrap();
    assert!(last_eval(&events).1["accuracy"] > 0.9);
    let run = Run::open(&folder, "last").unwrap();
    let said = tables::predict(&run, Path::new(&pictures.train), Some(1), &mut Reporter::default()).unwrap();
    assert_eq!((said.len(), said[0].label.as_str()), (n, "left"));
    write(&dir.path().join("pictures/left"), "zz.png", b"no picture");
    let (events, _) = train(&digits(pictures.clone()), &dir.path().join("bad")).unwrap();
    let message = match events.last() {
        Some(TrainEvent::End { reason: EndReason::Error, message, .. }) => message.clone().unwrap_or_default(),
        other => panic!("{other:?}"),
    };
    assert!(message.contains("zz.png") && message.contains("not a readable picture"), "{message}");
    files::create_dir_all(&dir.path().join("pictures/none")).unwrap();
    let e = train(&digits(pictures), &dir.path().join("empty")).unwrap_err().to_string();
    assert!(e.contains("'none' has no PNG or JPEG"), "{e}");
}

/// Losses by step of what a run's events say.
fn losses(events: &[TrainEvent]) -> Vec<(u64, f64)> {
    let step = |e: &TrainEvent| match e {
        TrainEvent::Step { step, loss, .. } => Some((*step, *loss)),
        _ => None,
    };
    events.iter().filter_map(step).collect()
}

/// Texts of 3 to 14 tokens, padded to 8 or 16 as their batch asks.
fn uneven(n: usize) -> String {
    let words = ["anna", "sees", "ben", "in", "paris", "rome", "berlin", "old", "town", "."];
    let mut out = "label\ttext\n".to_owned();
    for i in 0..n {
        let text: Vec<&str> = (0..1 + i * 7 % 11).map(|k| words[(i * 3 + k * (1 + i % 4)) % words.len()]).collect();
        out += &format!("{}\t{}\n", ["x", "y", "z"][i % 3], text.join(" "));
    }
    out
}

#[test]
fn a_resumed_run_with_a_kept_prefix_has_the_same_bits() {
    use regraft::edits::heads::HeadChoice;
    use regraft::session::recipe::{SitePolicy, TrainableChoice};
    use regraft::session::{Change, Selector};
    let dir = tempfile::tempdir().unwrap();
    let make = |cache: &str| {
        // The number of classes is counted in the data.
        let mut r = classifier(
            dir.path(),
            &uneven(26),
            &[
                ("optimizer.lr", "0.05"),
                ("training.epochs", "4"),
                ("training.seed", "3"),
                ("training.checkpoint_every", "3"),
                ("training.keep_checkpoints", "100"),
                ("training.cache_mb", cache),
            ],
        );
        let head = HeadChoice::new("classifier");
        let objective = Objective::Head {
            head: head.name.clone(),
            loss: None,
            labels: None,
            ignore_label: -100,
            options: Default::default(),
        };
        r = Change::GraftHead { head, objective }.apply(&r);
        r.trainable = TrainableChoice { include: vec![Selector::Heads], exclude: vec![] };
        r.dropout.default = SitePolicy::Off;
        session(CLASSIFIER, r)
    };
    let whole = dir.path().join("whole");
    let (events, reporter) = train(&make("64"), &whole).unwrap();
    assert!(has(&reporter, "classes-counted"));
    let all = losses(&events);
    assert_eq!(all.len(), 28);
    let (computed, _) = train(&make("0"), &dir.path().join("plain")).unwrap();
    for ((_, a), (_, b)) in all.iter().zip(losses(&computed)) {
        assert!((a - b).abs() < 1e-5, "with and without keeping: {a} {b}");
    }
    for from in [3, 12, 18] {
        let part = dir.path().join(format!("part-{from}"));
        files::create_dir_all(&part).unwrap();
        for path in files::list(&whole).unwrap() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let step = name.strip_prefix("checkpoint-").and_then(|n| n.split('.').next()?.parse::<u64>().ok());
            if step.is_none_or(|s| s <= from) && !name.starts_with("best") {
                files::replace(&part.join(&name), &files::read(&path).unwrap()).unwrap();
            }
        }
        let (events, _) = train(&make("64"), &part).unwrap();
        let again = losses(&events);
        assert_eq!(again.first().map(|s| s.0), Some(from));
        assert_eq!(again, all[from as usize..], "resumed after step {from}");
    }
}

#[test]
fn a_language_model_head_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/folders/bert_pretraining_sharded");
    // Every third word is hidden (4) and to be guessed; the others count for nothing.
    let (n, length) = (16, 6);
    let word = |i: usize| 5 + (i * 7 + i / length) % 20;
    let hidden = |i: usize| i % length % 3 == 1;
    let ids = |i: usize| if hidden(i) { 4 } else { word(i) as i32 };
    let labels: Vec<i64> = (0..n * length).map(|i| if hidden(i) { word(i) as i64 } else { -100 }).collect();
    let whole =
        |f: &dyn Fn(usize) -> i32| Tensor::from_slice(&[n, length], &(0..n * length).map(f).collect::<Vec<i32>>());
    let arrays = [
        ("input_ids", whole(&ids)),
        ("attention_mask", whole(&|_| 1)),
        ("token_type_ids", whole(&|_| 0)),
        ("labels", Tensor::from_slice(&[n, length], &labels)),
    ];
    let file = dir.path().join("mlm.npz");
    io::write(&file, arrays.iter().map(|(n, t)| (*n, t))).unwrap();
    let data = DataChoice {
        train: text(&file),
        validation: Some(text(&file)),
        label: Some("labels".to_owned()),
        ..DataChoice::default()
    };
    let objective = Objective::Attached {
        loss: "softmax-cross-entropy".to_owned(),
        on: "prediction_logits".to_owned(),
        labels: "masked".to_owned(),
        ignore_label: -100,
        options: Default::default(),
    };
    let recipe = Recipe {
        objective: Some(objective),
        ..recipe("", data, &[("training.epochs", "15"), ("optimizer.lr", "0.02")])
    };
    let session = Session::new(Arc::new(Model::open(&folder).unwrap()), recipe);
    let (events, _) = train(&session, &dir.path().join("run")).unwrap();
    let (loss, metrics) = last_eval(&events);
    let first = losses(&events)[0].1;
    assert!(loss < 0.8 * first, "{first} to {loss}");
    assert!(metrics["accuracy"] > 0.1, "{metrics:?}");
    assert_eq!(evaluated(&dir.path().join("run")).confusion.iter().flatten().sum::<u64>(), 32, "hidden words alone");
}
