//! Data: tokens as the Python BERT tokenizer gives them, tables and texts as batches.

use std::path::PathBuf;
use std::sync::Arc;

use regraft::base::files;
use regraft::data::{
    BatchOptions, BatchSource, DataError, Feature, FeedSpec, LabelVocabulary, PadTo, Table, Target, Targets,
    TextBatches, TextParts, Tokenizer, TokenizerOptions,
};
use regraft::tensor::{DType, PartialShape, Tensor};
use serde::Deserialize;

fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

#[derive(Deserialize)]
struct Golden {
    single: Vec<Single>,
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Single {
    text: String,
    lower: bool,
    strip_accents: Option<bool>,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Pair {
    a: String,
    b: String,
    max_length: usize,
    ids: Vec<u32>,
    segments: Vec<u32>,
}

fn open(lower: bool, strip_accents: Option<bool>) -> Tokenizer {
    Tokenizer::open(&fixture("tokenizer/vocab.txt"), TokenizerOptions { lower: Some(lower), strip_accents }).unwrap()
}

#[test]
fn tokens_equal_the_reference() {
    let golden: Golden = serde_json::from_slice(&files::read(&fixture("tokenizer/golden.json")).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for c in &golden.single {
        let got = open(c.lower, c.strip_accents).encode(&c.text, None, None).unwrap();
        if got.input_ids != c.ids {
            wrong.push(format!("{:?} lower={} strip={:?}: {:?}", c.text, c.lower, c.strip_accents, got.tokens));
        }
    }
    let tokenizer = open(true, None);
    for c in &golden.pairs {
        let got = tokenizer.encode(&c.a, Some(&c.b), Some(c.max_length)).unwrap();
        if got.input_ids != c.ids || got.segment_ids != c.segments {
            wrong.push(format!("{:?} + {:?} to {}: {:?}", c.a, c.b, c.max_length, got.tokens));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_word_of_ten_kilobytes_is_unknown() {
    let got = open(true, None).encode(&"x".repeat(10_000), None, None).unwrap();
    assert_eq!(got.tokens, ["[CLS]", "[UNK]", "[SEP]"]);
}

const TABLE: &str =
    "label\ttext\tprice\nit\thello world\t1.5\nde\thello\t2\nit\tworld world world hello\t3\nit\thello hello\t4\n";

fn feeds() -> Vec<FeedSpec> {
    let spec = |name: &str, feature, dtype, shape| FeedSpec::new(name, feature, dtype, shape);
    vec![
        spec("ids:0", Feature::InputIds, DType::I32, PartialShape::of_rank(2)),
        spec("mask:0", Feature::InputMask, DType::F32, PartialShape::of_rank(2)),
        spec("y:0", Feature::Label, DType::I64, PartialShape::of_rank(1)),
        spec("hot:0", Feature::Label, DType::F32, PartialShape::from_partial([None, Some(2)])),
        spec("price:0", Feature::parse("price"), DType::F32, PartialShape::from_partial([None, Some(1)])),
    ]
}

fn batches(options: BatchOptions) -> TextBatches {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.tsv");
    files::replace(&path, TABLE.as_bytes()).unwrap();
    let table = Arc::new(Table::open(&path, false).unwrap());
    let labels = LabelVocabulary::of_column(&table, 0).unwrap();
    assert_eq!(labels.names(), ["de", "it"]);
    assert_eq!(labels.counts(), [1, 3]);
    make(table, &["text"], Some(&labels), feeds(), options).unwrap()
}

fn make(
    table: Arc<Table>,
    text: &[&str],
    labels: Option<&LabelVocabulary>,
    feeds: Vec<FeedSpec>,
    options: BatchOptions,
) -> Result<TextBatches, DataError> {
    let columns = ["label".to_owned()];
    let targets = match labels {
        Some(l) => Targets::of_table(&table, &columns, Target::Classes, Some(l), false)?,
        None => Targets::None,
    };
    let rows = (0..table.len()).collect();
    let text = text.iter().map(|t| (*t).to_owned()).collect();
    let parts = TextParts {
        table,
        text,
        targets: Arc::new(targets),
        tokenizer: Some(Arc::new(open(true, None))),
        masking: None,
    };
    TextBatches::new(parts, rows, feeds, options)
}

const PLAIN: BatchOptions = BatchOptions {
    batch: 3,
    fixed_batch: false,
    drop_last: false,
    shuffle: false,
    seed: 7,
    max_length: 5,
    pad: PadTo::Longest { multiple: 1 },
    buckets: false,
};

#[test]
fn texts_become_padded_arrays() {
    let mut source = batches(PLAIN);
    assert_eq!(source.n_batches(0).unwrap(), 2);
    let batch = source.batch(0, 0).unwrap();
    assert_eq!(batch.feed("ids:0").unwrap().shape(), [3, 5]);
    let ones = batch.feed("mask:0").unwrap().to_f64s().unwrap();
    assert_eq!(ones, [1., 1., 1., 1., 0., 1., 1., 1., 0., 0., 1., 1., 1., 1., 1.]);
    assert_eq!(batch.feed("y:0").unwrap(), &Tensor::from_slice(&[3], &[1i64, 0, 1]));
    assert_eq!(batch.feed("hot:0").unwrap().to_f64s().unwrap(), [0., 1., 1., 0., 0., 1.]);
    assert_eq!(batch.feed("price:0").unwrap(), &Tensor::from_slice(&[3, 1], &[1.5f32, 2., 3.]));
    let last = source.batch(0, 1).unwrap();
    assert_eq!((last.n_examples, last.feed("ids:0").unwrap().shape()), (1, &[1, 4][..]));
    let mut fixed = batches(BatchOptions { fixed_batch: true, pad: PadTo::Length(8), ..PLAIN });
    let last = fixed.batch(0, 1).unwrap();
    assert_eq!((last.n_examples, last.feed("ids:0").unwrap().shape()), (1, &[3, 8][..]));
}

#[test]
fn orders_are_functions_of_seed_and_epoch() {
    let rows = |source: &mut TextBatches, epoch| {
        (0..2).flat_map(|i| source.batch(epoch, i).unwrap().rows).collect::<Vec<usize>>()
    };
    let shuffled = BatchOptions { shuffle: true, buckets: true, batch: 2, ..PLAIN };
    let (mut a, mut b) = (batches(shuffled), batches(shuffled));
    let first: Vec<_> = (0..6).map(|e| rows(&mut a, e)).collect();
    // Asked for in another order, the same.
    for epoch in (0..6).rev() {
        assert_eq!(rows(&mut b, epoch), first[epoch]);
    }
    assert!(first.iter().any(|r| r != &first[0]), "the order changes with the epoch");
}

#[test]
fn wrong_data_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.tsv");
    files::replace(&path, b"label\ttext\tprice\na\tx\t1\nb\ty\tmuch\n").unwrap();
    let table = Arc::new(Table::open(&path, false).unwrap());
    let labels = LabelVocabulary::from_names(vec!["a".into()]);
    let e = make(table.clone(), &["text"], Some(&labels), feeds(), PLAIN).unwrap_err().to_string();
    assert!(e.contains("line 3") && e.contains("'b'"), "{e}");
    let both = LabelVocabulary::from_names(vec!["a".into(), "b".into()]);
    let e = make(table.clone(), &["text"], Some(&both), feeds(), PLAIN).unwrap().batch(0, 0).unwrap_err().to_string();
    assert!(e.contains("line 3") && e.contains("'much'"), "{e}");
    let e = make(table, &["words"], None, Vec::new(), PLAIN).unwrap_err().to_string();
    assert!(e.contains("'words'") && e.contains("label, text, price"), "{e}");
}

/// Byte pairs in two files and Unigram pieces: the ids of the Python package `tokenizers` (fixtures/make/pairs.py).
#[test]
fn other_tokenizers_give_the_ids_of_their_package() {
    let root = fixture("tokenizers");
    for (file, golden) in [
        ("pairs/vocab.json", "pairs.json"),
        ("pairs/merges.txt", "pairs.json"),
        ("unigram/tokenizer.json", "unigram.json"),
    ] {
        let tokenizer = Tokenizer::open(&root.join(file), TokenizerOptions::default()).unwrap();
        assert_eq!(tokenizer.pad_id(), if file.starts_with("pairs") { 1 } else { 0 });
        let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(root.join(golden)).unwrap()).unwrap();
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), 30);
        for row in rows {
            let got = tokenizer.encode(row["a"].as_str().unwrap(), row["b"].as_str(), None).unwrap();
            let numbers = |key: &str| -> Vec<u32> {
                row[key].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
            };
            assert_eq!(got.input_ids, numbers("ids"), "{file}: {row}");
            assert_eq!(got.segment_ids, numbers("segments"), "{file}: {row}");
            assert!(got.tokens.iter().all(|t| !t.is_empty()), "{file}: {:?}", got.tokens);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vocab.json"), b"{\"a\": 0}").unwrap();
    let alone = Tokenizer::open(&folder.path().join("vocab.json"), TokenizerOptions::default()).unwrap_err();
    assert!(alone.to_string().contains("merges.txt"), "{alone}");
    let pieces = Tokenizer::open(&folder.path().join("spiece.model"), TokenizerOptions::default()).unwrap_err();
    assert!(pieces.to_string().contains("tokenizer.json"), "{pieces}");
}
