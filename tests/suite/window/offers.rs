//! What is offered and walked: the tree of scopes, problems and their ways, what freezing leaves, selections of several.

use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable;
use regraft::app::{App, Options};
use regraft::session::overview::ValueRow;
use regraft::session::{Change, Recipe, Selector};
use regraft::ui::Target;
use regraft::ui::ctx::ThemeChoice;

use super::flows::wait_for;
use super::{Window, model};

const SIZE: [f32; 2] = [1440.0, 900.0];

fn recipe(window: &mut Window) -> Recipe {
    window.app().open.as_ref().expect("a model is open").recipe().clone()
}

fn focus(window: &mut Window) -> String {
    window.app().state.selection.focus().map(|t| t.name().to_owned()).unwrap_or_default()
}

fn press(window: &mut Window, key: Key) {
    window.harness.key_press(key);
    window.settle();
}

fn settled(app: &App) -> bool {
    app.is_settled() && app.open.as_ref().is_some_and(|o| !o.is_refreshing)
}

fn demo_window(folder: &std::path::Path) -> Window {
    let options = Options { open: Some(super::pictures::demo_session(folder)), ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Light, options);
    wait_for(&mut window, "the demo", settled);
    window
}

#[test]
fn the_tree_of_scopes_is_filtered_sorted_and_walked() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    window.click("Scopes");
    assert!(window.has("Open bert") && !window.has("Open bert/encoder"));
    // By keyboard: down to the first scope, open it, on into it.
    for _ in 0..2 {
        press(&mut window, Key::ArrowDown);
    }
    assert_eq!(window.app().state.selection.focus(), Some(&Target::Scope("bert".to_owned())));
    press(&mut window, Key::ArrowRight);
    assert!(window.has("Close bert") && window.has("Open bert/encoder"));
    press(&mut window, Key::ArrowDown);
    assert_eq!(focus(&mut window), "bert/embeddings");
    press(&mut window, Key::ArrowUp);
    press(&mut window, Key::ArrowLeft);
    assert!(window.has("Open bert"));
    // The same language as everywhere, and F3 and Enter walk what it leaves.
    window.app().state.browser.filter = "op:Tanh".to_owned();
    window.settle();
    assert!(window.has("Close bert/pooler") || window.has("Open bert/pooler"));
    assert!(!window.has("Open bert/encoder"), "nothing of that op is in it");
    press(&mut window, Key::F3);
    press(&mut window, Key::F3);
    assert_eq!(focus(&mut window), "bert/pooler/dense");
    window.app().state.browser.filter = "elements:many".to_owned();
    window.settle();
    assert!(window.has_containing("must look like elements:>1000"));
    window.app().state.browser.filter.clear();
    window.settle();
    let top = |w: &Window, name: &str| w.harness.get_by_label(name).rect().top();
    assert!(top(&window, "Open bert") < top(&window, "Open loss"));
    window.click("Sort by Nodes");
    window.click("Sort by Nodes");
    assert!(top(&window, "Open bert") > top(&window, "Open loss"), "the smallest first");
}

#[test]
fn a_problem_shows_its_way_on_the_graph() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    let node = model::open().gradients.expect("there is a report").blockers[0].node.clone();
    window.click("Fold all");
    assert!(!window.has_containing(&format!("Node {node}")));
    regraft::app::layout::show(window.app().dock(), "problems");
    window.settle();
    window.click("Show path");
    assert_eq!(focus(&mut window), node);
    super::pictures::write(&mut window, "panels/show-path");
    assert!(window.has_containing(&format!("Node {node}, the gradient stops here")), "unfolded, and in red");
    assert!(window.has("The gradient stops at Merge"), "with the cure beside it");
    // Something else can train instead.
    window.click("Train without 1 weight");
    let blocked = model::open().gradients.expect("there is a report").blockers[0].blocks[0].clone();
    assert_eq!(recipe(&mut window).trainable.exclude, [Selector::Name(blocked)]);
}

#[test]
fn freezing_everything_leaves_one_problem_and_its_cure() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut window = demo_window(folder.path());
    regraft::app::layout::show(window.app().dock(), "problems");
    window.settle();
    assert!(!window.has_containing("Nothing trains"));
    window.click("Choose what trains");
    window.click("Freeze all");
    wait_for(&mut window, "the update", settled);
    assert!(window.has("Nothing trains: every weight is frozen."));
    assert!(!window.has_containing("blocks the gradient"));
    let open = window.app().open.as_ref().expect("open");
    let report = open.gradients.as_ref().expect("there is a report");
    assert_eq!((report.trainable, report.reached, report.blockers.len()), (0, 0, 0));
    window.click_first("Train all suggested");
    wait_for(&mut window, "the update", settled);
    assert!(!window.has_containing("Nothing trains"));
    assert_eq!(recipe(&mut window).trainable.include, [Selector::Suggested]);
}

#[test]
fn rows_are_selected_with_shift_and_ctrl() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    let names: Vec<String> = model::overview().constants.iter().map(|c| c.name.clone()).take(4).collect();
    let click = |window: &mut Window, name: &str, modifiers: Modifiers| {
        let row = window.harness.get_all_by_label(name).next().expect("the row is in sight");
        row.click_modifiers(modifiers);
        window.settle();
    };
    click(&mut window, &names[0], Modifiers::NONE);
    click(&mut window, &names[2], Modifiers::SHIFT);
    let selected = |w: &mut Window| w.app().state.selection.nodes().len();
    assert_eq!(selected(&mut window), 3);
    click(&mut window, &names[1], Modifiers::COMMAND);
    assert_eq!(selected(&mut window), 2);
    assert!(window.has("2 selected"), "the inspector is about all of them");
    click(&mut window, &names[3], Modifiers::NONE);
    assert_eq!(selected(&mut window), 1);
}

#[test]
fn nodes_with_several_outputs_say_so() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    let open = window.app().open.as_mut().expect("open");
    let mut overview = (*open.overview).clone();
    let shape = |n| Some(vec![Some(n), None]);
    overview.nodes[0].outputs = [3, 4, 5]
        .map(|n| ValueRow { name: format!("input_ids:{}", n - 3), dtype: "int64".to_owned(), shape: shape(n) })
        .into();
    let history = regraft::session::History::default();
    *open = regraft::ui::Open::new(std::path::Path::new("m.pb"), std::sync::Arc::new(overview), history);
    window.settle();
    window.click_first("Nodes");
    assert!(window.has("3×? +2"));
}

#[test]
fn matches_of_the_filter_are_walked_by_enter_and_f3() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::F);
    window.settle();
    window.harness.event(egui::Event::Text("role:norm-scale".to_owned()));
    window.settle();
    let names: Vec<String> =
        model::overview().constants.iter().filter(|c| c.role == "norm-scale").map(|c| c.name.clone()).collect();
    press(&mut window, Key::Enter);
    assert_eq!(focus(&mut window), names[0]);
    press(&mut window, Key::Enter);
    press(&mut window, Key::F3);
    assert_eq!(focus(&mut window), names[2]);
    window.harness.key_press_modifiers(Modifiers::SHIFT, Key::F3);
    window.settle();
    assert_eq!(focus(&mut window), names[1]);
    // With Shift, arrows add the rows that they come to.
    press(&mut window, Key::Escape);
    window.harness.key_press_modifiers(Modifiers::SHIFT, Key::ArrowDown);
    window.settle();
    let selected: Vec<String> = window.app().state.selection.nodes().iter().cloned().collect();
    assert_eq!(selected.len(), 2, "{selected:?}");
    assert!(selected.contains(&names[1]) && selected.contains(&names[2]));
}

#[test]
fn what_a_run_measures_stands_beside_the_verdicts() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    let names: Vec<String> =
        model::open().gradients.expect("there is a report").constants.iter().take(2).map(|c| c.name.clone()).collect();
    let row = |name: &str, norm: f64, ratio: f64, zeros: u32| regraft::train::WeightRow {
        name: name.into(),
        gradient_norm: Some(norm),
        update_ratio: Some(ratio),
        zero_in_a_row: zeros,
    };
    let mut run = model::run();
    for n in 1..=4 {
        run.watch.take(u64::from(n), &[row(&names[0], 0.0, 0.0, n), row(&names[1], 0.625, 0.00125, 0)]);
    }
    run.watch.nan_origin = Some("loss/Mean".to_owned());
    window.app().run = Some(run);
    regraft::app::layout::show(window.app().dock(), "gradients");
    window.settle();
    assert!(window.has("Norm") && window.has("Update/weight"));
    assert!(window.has("0.625") && window.has("1.25e-3") | window.has("0.00125"), "measured numbers");
    assert!(window.has("dead") && window.has_containing("1 weight is not fine"));
    assert!(window.has_containing("The first value that is not finite came from"));
    window.click_first("loss/Mean");
    assert_eq!(focus(&mut window), "loss/Mean");
}

#[test]
fn adjustments_have_notes_and_go_as_json() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    let site = model::overview().dropout[0].output.clone();
    let steps = vec![regraft::session::EditStep::BypassDropout { output: site }];
    window.app().open.as_mut().expect("open").history.apply(&Change::AddEdits(steps), None);
    regraft::app::layout::show(window.app().dock(), "recipe");
    window.settle();
    window.harness.get_by_label("Note on adjustment 1").focus();
    window.settle();
    window.harness.event(egui::Event::Text("as in the paper".to_owned()));
    window.settle();
    press(&mut window, Key::Enter);
    assert_eq!(recipe(&mut window).edits[0].note, "as in the paper");
    window.click("Copy as JSON");
    assert!(window.app().log.last().is_some_and(|l| l.text == "The recipe is on the clipboard."));
    let text = serde_json::to_string(&recipe(&mut window)).expect("a recipe is JSON");
    window.click("Delete adjustment 1");
    assert!(recipe(&mut window).edits.is_empty());
    window.harness.event(egui::Event::Paste(text));
    window.settle();
    assert_eq!(recipe(&mut window).edits.len(), 1, "pasted again");
}

#[test]
fn a_whole_scope_is_frozen_by_one_selector() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    window.app().state.selection.set(Target::Scope("bert/pooler".to_owned()));
    window.settle();
    window.click("Freeze everything inside");
    assert_eq!(recipe(&mut window).trainable.exclude, [Selector::inside("bert/pooler")]);
    let open = window.app().open.as_mut().expect("open");
    assert!(open.history.undo() && *open.recipe() == Recipe::default(), "one step");
    assert!(!open.history.apply(&Change::AddEdits(Vec::new()), None));
}

#[test]
fn a_constant_is_described_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { open: Some(super::pictures::demo_session(folder.path())), ..Options::default() };
    let mut window = Window::new([1440.0, 2400.0], 1.0, ThemeChoice::Dark, options);
    wait_for(&mut window, "the demo", settled);
    let name = "bert/embeddings/word_embeddings";
    window.app().state.selection.set(Target::Node(name.to_owned()));
    wait_for(&mut window, "its values", |app| {
        let open = app.open.as_ref();
        open.is_some_and(|o| o.slice.is_some() && o.described.contains_key(name))
    });
    for fact in ["Type", "Shape", "Elements", "Size", "Role", "Gradient", "Mean", "Deviation", "Minimum", "Maximum"] {
        assert!(window.has(fact), "{fact}");
    }
    assert!(window.has("NaN or infinite") && window.has("none"), "counted, and there are none");
    for control in ["Trainable", "Histogram of all values", "Heat map of the values", "row", "column"] {
        assert!(window.has(control), "{control}");
    }
    assert!(window.has("Centre the colours at zero") && window.has("Copy these values") && window.has("READ BY"));
    // Numbers of the grid end at one edge, column by column.
    let slice = window.app().open.as_ref().and_then(|o| o.slice.clone()).expect("just waited for").1.expect("readable");
    let shown: Vec<String> = slice.grid.iter().map(|v| regraft::ui::text::number(*v, 3)).collect();
    let wide = shown.iter().map(|v| v.chars().count()).max().expect("there are values");
    let first = |row: usize| format!("{:>wide$}", shown[row * slice.grid_columns]);
    let right = |w: &Window, row: usize| w.harness.get_all_by_label(&first(row)).next().expect("shown").rect().right();
    assert!((1..slice.grid_columns.min(6)).all(|r| (right(&window, r) - right(&window, 0)).abs() < 1.0));
    super::pictures::write(&mut window, "panels/inspector-whole-dark");
}

#[test]
fn rows_and_buttons_have_their_heights() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    let rect = |w: &Window, name: &str| w.harness.get_all_by_label(name).next().expect(name).rect();
    let names: Vec<String> = model::overview().constants.iter().map(|c| c.name.clone()).take(2).collect();
    let step = rect(&window, &names[1]).center().y - rect(&window, &names[0]).center().y;
    assert!((step - 22.0).abs() < 0.1, "rows of tables are {step} apart");
    for name in ["Choose what trains", "Start training", "Search or run a command", "Pick data…"] {
        let height = rect(&window, name).height();
        assert!((height - 26.0).abs() < 0.1, "{name} is {height} high");
    }
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::P);
    window.settle();
    let height = rect(&window, "Open a model folder…").height();
    assert!((height - 24.0).abs() < 0.1, "rows of lists are {height} high");
    // Numbers end at one edge.
    press(&mut window, Key::Escape);
    let right =
        |w: &Window, words: &str| w.harness.get_all_by_label(words).map(|n| n.rect().right()).collect::<Vec<_>>();
    let (a, b) = (right(&window, "3.9 M"), right(&window, "16.4 k"));
    assert!(b.len() > 3 && b.iter().all(|x| (x - a[0]).abs() < 0.5), "{a:?} {b:?}");
}

#[test]
fn what_would_choose_nothing_is_not_offered() {
    use egui_kittest::kittest::NodeT;
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    let is_off =
        |w: &Window, name: &str| w.harness.get_all_by_label(name).next().expect(name).accesskit_node().is_disabled();
    window.click("Choose what trains");
    for action in ["Train the selection", "Train only the selection"] {
        assert!(is_off(&window, action), "nothing is selected: {action}");
    }
    assert!(!is_off(&window, "Train all suggested") && !is_off(&window, "Only norms (LayerNorm)"));
    press(&mut window, Key::Escape);
    // Several of them, ops among constants: what is offered is about the constants.
    let names = ["bert/pooler/dense/kernel", "bert/pooler/dense/MatMul", "bert/pooler/dense/bias"].map(str::to_owned);
    window.app().state.selection.set_many(names, None);
    window.settle();
    assert!(window.has("3 selected") && window.has("Nodes that compute") && window.has("Op MatMul"));
    window.harness.get_all_by_label("Train only the selection").next().expect("offered").scroll_to_me();
    window.settle();
    window.click_first("Train only the selection");
    let chosen = recipe(&mut window).trainable.include;
    let named = |n: &str| Selector::Name(n.to_owned());
    assert_eq!(chosen, [named("bert/pooler/dense/bias"), named("bert/pooler/dense/kernel")]);
    // Ops alone have no such choice.
    window.app().state.selection.set_many(["bert/pooler/dense/MatMul", "loss/Mean"].map(str::to_owned), None);
    window.settle();
    assert!(is_off(&window, "Train the selection") && is_off(&window, "Freeze the selection"));
}

#[test]
fn panels_stand_where_they_were_left() {
    let config = tempfile::tempdir().expect("a folder");
    let options = || Options { config_dir: Some(config.path().to_owned()), ..Options::default() };
    let with_model = |options| {
        let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, options);
        window.app().open = Some(model::open());
        window.settle();
        window
    };
    let mut window = with_model(options());
    assert!(window.has("Compare"));
    window.harness.key_press_modifiers(Modifiers::COMMAND, Key::P);
    window.settle();
    window.harness.event(egui::Event::Text("close compare".to_owned()));
    window.settle();
    press(&mut window, Key::Enter);
    drop(window);
    let mut window = with_model(options());
    assert!(!window.has("Compare"), "it stays closed");
    regraft::app::layout::show(window.app().dock(), "compare");
    window.settle();
    assert!(window.has("Compare"));
}
