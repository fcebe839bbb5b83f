//! What a recipe does to a model, without running it.

use std::path::Path;

use regraft::session::{Session, recipe::Recipe};

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
