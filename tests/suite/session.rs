//! What a recipe does to a model, without running it.

use std::path::Path;

use regraft::session::{Recipe, Session, SitePolicy};

fn with_shapes(case: &str, shapes: &[(&str, &[usize])]) -> Session {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models").join(case).join("model.pb");
    let mut session = Session::open(&model).unwrap();
    let mut recipe = Recipe::default();
    recipe.shapes.extend(shapes.iter().map(|(n, d)| ((*n).to_owned(), d.to_vec())));
    session.replace_recipe(recipe).unwrap();
    session
}

#[test]
fn pinned_shapes_of_placeholders_settle_what_follows_from_them() {
    let session = with_shapes(
        "bert_nano_dynamic_frozen",
        &[("input_ids", &[4, 12]), ("input_mask:0", &[4, 12]), ("segment_ids", &[4, 12])],
    );
    let understood = session.understand().unwrap();
    let shape = |name: &str| {
        let value = understood.names().unwrap().value(name).unwrap();
        understood.program.fact(value).shape.to_string()
    };
    assert_eq!(shape("input_ids:0"), "[4, 12]");
    assert_eq!(shape("bert/embeddings/LayerNorm/batchnorm/add_1"), "[4, 12, 16]");
    assert_eq!(shape("loss/Softmax:0"), "[4, 3]");
}

#[test]
fn shapes_that_cannot_be_pinned_are_explained() {
    let message = |case: &str, name: &str, dims: &[usize]| {
        with_shapes(case, &[(name, dims)]).understand().unwrap_err().to_string()
    };
    let m = message("bert_nano_dynamic_frozen", "input_id", &[4, 12]);
    assert!(m.contains("input_id ") && m.contains("no placeholder") && m.contains("input_ids:0 [?, ?]"), "{m}");
    let m = message("bert_nano_dynamic_frozen", "input_ids", &[4, 12, 1]);
    assert!(m.contains("[4, 12, 1]") && m.contains("fixes it to [?, ?]"), "{m}");
    let m = message("bert_nano_dynamic_frozen", "loss/Softmax", &[4, 3]);
    assert!(m.contains("no placeholder"), "{m}");
}

#[test]
fn dropout_that_would_drop_nothing_is_warned_about() {
    let warnings = |case: &str, policy: SitePolicy| -> Vec<String> {
        let mut session = with_shapes(case, &[]);
        let mut recipe = Recipe::default();
        recipe.dropout.default = policy;
        session.replace_recipe(recipe).unwrap();
        let understood = session.understand().unwrap();
        let idle = understood.diagnostics.iter().filter(|d| d.code == "idle-dropout");
        idle.map(|d| d.message.clone()).collect()
    };
    let found = warnings("dropout_keep_prob_default1", SitePolicy::Train);
    assert!(!found.is_empty() && found[0].contains("0 unless its keep probability is fed"), "{found:?}");
    assert_eq!(warnings("dropout_keep_prob_default1", SitePolicy::Rate(0.1)), Vec::<String>::new());
    assert_eq!(warnings("dropout_tf115_rate", SitePolicy::Train), Vec::<String>::new());
    // A rate that must be fed is an input of training, not an oversight.
    assert_eq!(warnings("dropout_keep_prob_placeholder", SitePolicy::Train), Vec::<String>::new());
}

#[test]
fn sizes_that_depend_on_no_input_are_known_although_others_are_open() {
    let session = with_shapes("bert_nano_dynamic_frozen", &[]);
    let understood = session.understand().unwrap();
    let shape = |name: &str| {
        let value = understood.names().unwrap().value(name).unwrap();
        understood.program.fact(value).shape.to_string()
    };
    assert_eq!(shape("input_ids:0"), "[?, ?]");
    assert_eq!(shape("bert/embeddings/LayerNorm/batchnorm/add_1"), "[?, ?, 16]");
    assert_eq!(shape("loss/Softmax:0"), "[?, 3]");
}
