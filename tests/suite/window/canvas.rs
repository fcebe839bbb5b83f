//! The canvas by its names: ways of gradients and their cures, keys, traces, colours, the difference to the file,
//! pictures of the whole graph.

use std::path::Path;
use std::sync::Arc;

use egui::Key;
use egui_kittest::kittest::Queryable;
use regraft::app::Options;
use regraft::base::CancelToken;
use regraft::engine::Cost;
use regraft::session::diff::{GraphDiff, Rewired};
use regraft::session::overview::NodeRow;
use regraft::session::{EditStep, History};
use regraft::train::WeightRow;
use regraft::ui::canvas::draw::Look;
use regraft::ui::canvas::export::Drawing;
use regraft::ui::canvas::style::Styles;
use regraft::ui::canvas::{ColorMode, fold};
use regraft::ui::ctx::{NodeTimes, Rows, ThemeChoice};
use regraft::ui::run_view::RunView;
use regraft::ui::theme::tokens;
use regraft::ui::{Open, Selection, Target};

use super::{Window, model};

const SIZE: [f32; 2] = [1440.0, 900.0];

/// The made-up model with its first dropout taken out and a node put in.
fn edited() -> Open {
    let file = model::overview();
    let site = file.dropout[0].clone();
    let reader = file.nodes.iter().find(|n| n.inputs.contains(&site.output)).expect("something reads it").name.clone();
    let mut after = file.clone();
    after.dropout.remove(0);
    after.nodes.retain(|n| !site.nodes.contains(&n.name));
    for n in &mut after.nodes {
        n.inputs.iter_mut().filter(|v| **v == site.output).for_each(|v| v.clone_from(&site.input));
    }
    after.nodes.push(NodeRow {
        name: "head/scores".to_owned(),
        op: "MatMul".to_owned(),
        inputs: vec!["bert/pooler/dense/Tanh:0".to_owned()],
        supported: true,
        ..NodeRow::default()
    });
    let diff = GraphDiff {
        added: vec!["head/scores".to_owned()],
        removed: file.nodes.iter().filter(|n| site.nodes.contains(&n.name)).cloned().collect(),
        rewired: vec![Rewired { node: reader, lost: vec![site.output.clone()], gained: vec![site.input.clone()] }],
        revalued: Vec::new(),
        removed_sites: vec![site],
    };
    Open::from_rows(Path::new("bert_mini.pb"), Rows::new(after, Some(&diff)), History::default())
}

fn show(window: &mut Window, open: Open) {
    window.app().open = Some(open);
    regraft::app::layout::show(window.app().dock(), "graph");
    window.settle();
}

#[test]
fn a_blocked_weight_lights_its_way_and_offers_the_cure_where_it_stops() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    let blocked = model::open().gradients.expect("there is a report").blockers[0].blocks[0].clone();
    window.app().state.selection.set(Target::Node(blocked));
    window.click("Unfold what hides the selection");
    window.settle();
    assert!(window.has_containing("the gradient stops here"));
    assert!(window.has("The gradient stops at Merge"), "the cure stands beside it");
    // A weight that trains lights the way to the loss, box by box.
    window.app().state.selection.set(Target::Node("bert/pooler/dense/kernel".to_owned()));
    window.settle();
    assert!(!window.has("The gradient stops at Merge"));
    assert!(window.has_containing("on the way of the gradient"));
}

#[test]
fn an_edge_is_selected_by_a_click_and_says_what_flows() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    let (from, to) = ("bert/pooler/dense/BiasAdd", "bert/pooler/dense/Tanh");
    window.app().state.selection.set(Target::Node(to.to_owned()));
    window.click("Unfold what hides the selection");
    window.click(&format!("Edge from {from} to {to}"));
    assert_eq!(window.app().state.selection.focus(), Some(&Target::Value(format!("{from}:0"))));
    assert!(window.has("Edge") && window.has("PRODUCED BY") && window.has("READ BY"));
    // Boxes are joined by all that flows between them.
    window.click("Fold all");
    window.app().state.canvas.set_zoom(1.0);
    window.settle();
    window.click("Edge from bert to loss");
    assert!(matches!(window.app().state.selection.focus(), Some(Target::Value(_))));
    window.click("Back");
    assert_eq!(window.app().state.selection.focus(), Some(&Target::Value(format!("{from}:0"))));
}

#[test]
fn the_canvas_is_walked_with_arrows_and_folded_with_enter() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    window.harness.get_by_label("Graph canvas").focus();
    window.settle();
    window.harness.key_press(Key::ArrowDown);
    window.settle();
    let first = window.app().state.selection.focus().cloned().expect("the first thing is selected");
    for _ in 0..3 {
        window.harness.key_press(Key::ArrowDown);
        window.settle();
    }
    let second = window.app().state.selection.focus().cloned().expect("another is selected");
    assert_ne!(first, second);
    let scope = Target::Scope("bert".to_owned());
    window.app().state.selection.set(scope.clone());
    window.settle();
    let before = window.harness.query_all_by_label_contains("Scope ").count();
    window.harness.key_press(Key::Enter);
    window.settle();
    assert!(window.harness.query_all_by_label_contains("Scope ").count() < before, "the box is closed");
    assert_eq!(window.app().state.selection.focus(), Some(&scope));
    window.harness.key_press(Key::Escape);
    window.settle();
    assert_eq!(window.app().state.selection.focus(), None);
}

/// Whether the words come within a few seconds: the layout is made in a job.
fn eventually(window: &mut Window, words: &str) -> bool {
    (0..300).any(|_| {
        window.settle();
        let found = window.has_containing(words);
        if !found {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        found
    })
}

#[test]
fn what_edits_changed_is_named_and_can_be_left_out() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    show(&mut window, edited());
    assert!(window.has_containing("Beside the file: 1 added, 4 removed, 1 rewired"));
    window.app().state.selection.set(Target::Node("head/scores".to_owned()));
    window.click("Unfold what hides the selection");
    assert!(eventually(&mut window, "Node head/scores, added by an edit"));
    let site = model::overview().dropout[0].output.clone();
    window.app().state.selection.set(Target::Site(site));
    window.click("Zoom to the selection");
    assert!(eventually(&mut window, "removed by an edit"));
    window.click("More about the graph");
    window.click("Show what edits removed");
    window.click("Fit the graph");
    assert!(!window.has_containing("removed by an edit"));
    assert!(window.has_containing("1 added, 0 removed"));
}

#[test]
fn a_dropout_card_has_a_switch_and_boxes_have_signs() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    let site = "bert/embeddings/dropout/mul:0".to_owned();
    window.app().state.selection.set(Target::Site(site.clone()));
    window.click("Unfold what hides the selection");
    window.app().state.canvas.set_zoom(1.0);
    window.settle();
    window.click(&format!("Switch of dropout {site}"));
    let recipe = |w: &mut Window| w.app().open.as_ref().expect("open").recipe().clone();
    assert_eq!(recipe(&mut window).dropout.sites[&site], regraft::session::SitePolicy::Off);
    // By keyboard: Space flips it back.
    window.harness.get_by_label("Graph canvas").focus();
    window.settle();
    window.harness.key_press(Key::Space);
    window.settle();
    assert_eq!(recipe(&mut window).dropout.sites[&site], regraft::session::SitePolicy::Train);
    window.app().state.selection.set(Target::Scope("bert/embeddings".to_owned()));
    window.click("Zoom to the selection");
    window.click("Fold bert/embeddings");
    assert!(window.has("Unfold bert/embeddings") && !window.has("Fold bert/embeddings"));
    window.harness.get_by_label("Graph canvas").focus();
    window.settle();
    window.harness.key_press(Key::Plus);
    window.settle();
    assert!(window.has("Fold bert/embeddings"));
}

#[test]
fn the_graph_turns_sideways() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    window.click("Graph left to right");
    assert!(window.app().preferences.is_sideways);
    window.app().state.selection.set(Target::Node("bert/embeddings/GatherV2".to_owned()));
    window.click("Unfold what hides the selection");
    assert!(window.has_containing("Node bert/embeddings/GatherV2"));
    window.harness.get_by_label("Graph canvas").focus();
    window.settle();
    window.harness.key_press(Key::ArrowRight);
    window.settle();
    let focus = window.app().state.selection.focus().cloned().expect("something is selected");
    assert_ne!(focus.name(), "bert/embeddings/GatherV2", "right follows the edges");
    super::pictures::write(&mut window, "panels/graph-sideways-light");
}

#[test]
fn every_choice_of_colours_says_what_it_means() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    for mode in ColorMode::ALL {
        window.app().state.canvas.color_mode = mode;
        window.settle();
        assert!(window.has_containing("Legend: "), "{mode:?}");
        assert_eq!(
            window.has_containing("Legend: Measured while a run goes on"),
            matches!(mode, ColorMode::Norm | ColorMode::Ratio)
        );
        assert_eq!(window.has_containing("Legend: Not measured yet"), mode == ColorMode::Time);
    }
    window.app().state.canvas.color_mode = ColorMode::Memory;
    window.settle();
    assert!(window.has_containing("Memory of outputs, by their shapes: "), "nothing was measured yet");
    let row = |name: &str, norm: f64| WeightRow {
        name: name.into(),
        gradient_norm: Some(norm),
        update_ratio: Some(1e-3),
        zero_in_a_row: 0,
    };
    let rows = vec![row("bert/pooler/dense/kernel", 0.5), row("bert/pooler/dense/bias", 2.0)];
    window.app().run = Some(RunView { weights: Arc::new(rows), ..RunView::default() });
    window.app().state.canvas.color_mode = ColorMode::Norm;
    window.settle();
    assert!(window.has_containing("Gradient norm: "), "a scale from the least to the greatest");
    if let Some(open) = &mut window.app().open {
        let cost = |name: &str, seconds| (name.to_owned(), Cost { seconds, bytes: 3_000_000 });
        let nodes = [cost("bert/pooler/dense/MatMul", 0.75), cost("loss/Mean", 0.25)].into();
        open.times = Some(Arc::new(NodeTimes { nodes, total: 1.0 }));
    }
    window.app().state.canvas.color_mode = ColorMode::Time;
    window.settle();
    assert!(window.has_containing("Share of the step: 25"));
    window.app().state.canvas.color_mode = ColorMode::Memory;
    window.settle();
    assert!(window.has_containing("Memory in a step, as measured: 3.0 MB to "), "measured bytes, not those of shapes");
    window.app().state.selection.set(Target::Node("bert/pooler/dense/MatMul".to_owned()));
    window.settle();
    assert!(
        window.has("Time in a step")
            && window.has("Memory in a step")
            && window.has(&regraft::ui::text::bytes(3_000_000))
    );
}

#[test]
fn a_trace_keeps_what_the_selection_needs() {
    let open = model::open();
    let view = fold::View { open: (0..open.index.scopes.all.len()).collect(), ..fold::View::default() };
    let layout = fold::layout(&open.shown, &view, &CancelToken::default()).expect("not cancelled");
    let mut selection = Selection::default();
    selection.set(Target::Node("bert/embeddings/GatherV2".to_owned()));
    use regraft::ui::canvas::look::{Asked, Trace};
    let asked = |trace, filter| Asked { selection: &selection, trace, filter };
    let look = Look::new(&open, &open.shown, &layout, asked(Some(Trace::Needs), None));
    let kept = look.kept.expect("a trace is on");
    let at = |name: &str| layout.shown_by[open.index.node(name).expect("it exists")].expect("it is shown");
    assert!(kept[at("input_ids")] && kept[at("bert/embeddings/GatherV2")]);
    assert!(!kept[at("loss/Mean")]);
    let look = Look::new(&open, &open.shown, &layout, asked(Some(Trace::Feeds), None));
    let kept = look.kept.expect("a trace is on");
    assert!(kept[at("loss/Mean")] && !kept[at("input_ids")]);
    // The filter's language fades what it leaves out.
    let look = Look::new(&open, &open.shown, &layout, asked(None, Some("op:GatherV2")));
    let kept = look.kept.expect("a filter is on");
    assert!(kept[at("bert/embeddings/GatherV2")] && !kept[at("loss/Mean")]);
    assert!(Look::new(&open, &open.shown, &layout, asked(None, Some("elements:x"))).kept.is_none());
}

#[test]
fn the_whole_graph_is_saved_as_drawing_and_picture() {
    let open = model::open();
    let view = fold::default_view(&open.overview, &open.index);
    let layout = fold::layout(&open.shown, &view, &CancelToken::default()).expect("not cancelled");
    for tokens in [&tokens::DARK, &tokens::LIGHT] {
        let styles = Styles::new(&open, None, &open.shown, &layout, ColorMode::Kind, tokens);
        let drawing = Drawing { shown: &open.shown, layout: &layout, styles: &styles, look: &Look::default(), tokens };
        let svg = drawing.svg();
        let shown = layout.placed.iter().filter(|p| matches!(p.item, regraft::ui::canvas::layout::Item::Node(_)));
        assert!(shown.count() > 3);
        assert!(svg.contains(">SparseSoftmax") && svg.contains(">layer_3</text>"), "words stay words");
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        let png = drawing.png().expect("it can be drawn");
        let picture = image::load_from_memory(&png).expect("it is a picture").to_rgb8();
        let wide = layout.size[0] + 48.0;
        assert!(picture.width() as f32 >= wide.floor(), "{} for {wide}", picture.width());
        let mut colours: Vec<_> = picture.pixels().map(|p| p.0).collect();
        colours.sort_unstable();
        colours.dedup();
        assert!(colours.len() > 40, "more than a plain ground");
    }
}

#[test]
fn the_map_goes_where_it_is_clicked_and_shapes_stand_on_edges() {
    let mut window = Window::with_model(SIZE, ThemeChoice::Light);
    let open = model::open();
    window.app().state.canvas.unfold_all(&open);
    window.settle();
    window.app().state.selection.set(Target::Node("bert/embeddings/GatherV2".to_owned()));
    window.click("Zoom to the selection");
    assert!(window.has_containing("Node bert/embeddings/GatherV2") && !window.has_containing("Node loss/Mean"));
    let map = window.harness.get_by_label("Map of the graph").rect();
    let at = egui::pos2(map.center().x, map.bottom() - 6.0);
    window.harness.event(egui::Event::PointerMoved(at));
    for pressed in [true, false] {
        let button = egui::PointerButton::Primary;
        window.harness.event(egui::Event::PointerButton { pos: at, button, pressed, modifiers: egui::Modifiers::NONE });
        window.harness.step();
    }
    window.app().state.canvas.set_zoom(0.4);
    window.settle();
    assert!(!window.has_containing("Node bert/embeddings/GatherV2") && window.has_containing("Node loss/"));
    // Shapes on every edge, or only where the pointer or the selection is.
    window.app().state.selection.set(Target::Node("bert/pooler/dense/Tanh".to_owned()));
    window.click("Zoom to the selection");
    window.app().state.selection.clear();
    window.settle();
    let before = window.picture();
    window.click("More about the graph");
    window.click("Shapes on all edges");
    window.harness.key_press(Key::Escape);
    window.settle();
    assert!(window.app().preferences.has_edge_shapes);
    assert!(window.picture().pixels != before.pixels, "words on the edges");
}

#[test]
fn several_nodes_are_selected_on_the_canvas_and_have_their_offers() {
    use egui::{Event, Modifiers, PointerButton};
    let mut window = Window::with_model(SIZE, ThemeChoice::Dark);
    let scope = "bert/pooler/dense";
    window.app().state.selection.set(Target::Node(format!("{scope}/BiasAdd")));
    window.click("Unfold what hides the selection");
    let click = |window: &mut Window, op: &str, button, modifiers: Modifiers| {
        // What lies on a way says so behind its name.
        let name = format!("Node {scope}/{op}");
        let node = window.harness.query_all_by_label_contains(&name).next();
        let at = node.expect("it is in sight").rect().center_top() + egui::vec2(0.0, 8.0);
        window.harness.event(Event::PointerMoved(at));
        for pressed in [true, false] {
            window.harness.event_modifiers(Event::PointerButton { pos: at, button, pressed, modifiers }, modifiers);
            window.harness.step();
        }
        window.settle();
    };
    click(&mut window, "MatMul", PointerButton::Primary, Modifiers::NONE);
    click(&mut window, "BiasAdd", PointerButton::Primary, Modifiers::COMMAND);
    let selected = |w: &mut Window| w.app().state.selection.nodes().len();
    assert_eq!(selected(&mut window), 2);
    click(&mut window, "BiasAdd", PointerButton::Secondary, Modifiers::NONE);
    assert_eq!(selected(&mut window), 2, "they stay selected");
    assert!(window.has("Copy their names") && !window.has("Copy its name"));
    window.harness.key_press(Key::Escape);
    window.settle();
    click(&mut window, "Tanh", PointerButton::Secondary, Modifiers::NONE);
    assert_eq!(selected(&mut window), 1, "another one takes their place");
    assert!(window.has("Copy its name") && window.has("Graft a head here…") && window.has("Trace what it needs"));
}

#[test]
fn a_model_without_nodes_says_so() {
    let mut window = Window::new([1100.0, 700.0], 1.0, ThemeChoice::Dark, Options::default());
    let open = Open::new(Path::new("empty.onnx"), Arc::default(), History::default());
    show(&mut window, open);
    assert!(window.has("Nothing to draw"));
}

/// Through the session: an edit of a real model, and its difference to the file.
#[test]
fn bypassed_dropout_of_the_demo_stays_as_ghosts() {
    let folder = tempfile::tempdir().expect("a folder for the demo");
    let options = Options { open: Some(super::pictures::demo_session(folder.path())), ..Options::default() };
    let mut window = Window::new(SIZE, 1.0, ThemeChoice::Dark, options);
    let wait = |window: &mut Window, what: &str, is_there: &dyn Fn(&Open) -> bool| {
        for _ in 0..1500 {
            window.harness.step();
            if window.app().open.as_ref().is_some_and(is_there) {
                return window.settle();
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{what} did not come");
    };
    wait(&mut window, "the demo", &|_| true);
    let n = window.app().open.as_ref().map_or(0, |o| o.overview.nodes.len());
    let sites = window.app().open.as_ref().map_or(0, |o| o.overview.dropout.len());
    window.click_first("Model");
    window.click_first("Remove all dropout from the graph");
    wait(&mut window, "the edit", &|o| !o.is_refreshing && o.with_removed.is_some());
    let open = window.app().open.as_ref().expect("it is open");
    let steps = open.recipe().edits.iter().filter(|e| matches!(e.step, EditStep::BypassDropout { .. })).count();
    assert_eq!(steps, sites);
    let merged = open.with_removed.as_ref().expect("something was removed");
    let [added, removed, rewired] = merged.counts();
    assert_eq!((added, removed), (0, n - open.overview.nodes.len()));
    assert!(removed > sites && rewired >= sites, "{removed} removed, {rewired} rewired, {sites} sites");
    assert!(merged.is_removed_site(0), "the sites are ghosts now");
    assert!(window.has_containing("removed by an edit") || window.has_containing(&format!("{removed} removed")));
}

/// For a person's eye (`UPDATE=1` writes them): ways, differences, numbers, at twice the scale and in a small window.
#[test]
fn the_canvas_is_drawn_in_both_themes_sizes_and_scales() {
    let cases = [
        (ThemeChoice::Dark, SIZE, 1.0, "graph-dark", ColorMode::Kind),
        (ThemeChoice::Light, [1100.0, 700.0], 1.0, "graph-small-light", ColorMode::Trainable),
        (ThemeChoice::Light, [1100.0, 700.0], 2.0, "graph-double-light", ColorMode::Memory),
    ];
    for (theme, size, scale, name, mode) in cases {
        let mut window = Window::new(size, scale, theme, Options::default());
        let open = if mode == ColorMode::Kind { model::open() } else { edited() };
        show(&mut window, open);
        window.app().state.canvas.color_mode = mode;
        if mode == ColorMode::Kind {
            let blocked = "bert/embeddings/LayerNorm/beta".to_owned();
            window.app().state.selection.set(Target::Node(blocked));
            window.click("Unfold what hides the selection");
        }
        window.settle();
        super::pictures::write(&mut window, name);
    }
}
