//! A planned training step allocates nothing of its own: counted by a global allocator, so this is a binary with one
//! test. What the matrix-product crate asks for while it packs is told apart by its alignment: buffers to cache lines,
//! flags to bytes.
#![allow(unsafe_code)] // a global allocator is an unsafe trait

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use regraft::base::Reporter;
use regraft::engine::{Bindings, ConstantStore, Control, Engine, Executable, Workspace};
use regraft::program::{Program, Random, Value};
use regraft::session::Session;
use regraft::session::compute::{Ask, Gradients, Mode};
use regraft::session::feeds;
use regraft::tensor::{Tensor, io};

struct Counting;

/// Requests of ordinary alignment: all of our own code, of rayon and of the standard library.
static OWN: AtomicUsize = AtomicUsize::new(0);
/// Requests of the matrix products (and our arena, which is made once).
static PACKING: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let count = if (2..64).contains(&layout.align()) { &OWN } else { &PACKING };
        count.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A training step of a small BERT with dropout: its program, parameters, and feeds in the program's order.
fn training_step() -> (Program, Vec<Value>, Vec<Tensor>, Vec<Tensor>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/bert_nano_dynamic_frozen");
    let session = Session::open(&folder.join("model.pb")).unwrap();
    let understood = session.understand().unwrap();
    let arrays = io::read(&folder.join("inputs.npz")).unwrap().into_iter().collect();
    let feeds = feeds::resolve(&understood.names().unwrap(), arrays, &mut Reporter::default()).unwrap();
    let ask = Ask {
        mode: Mode::Train,
        feeds: feeds.clone(),
        gradients: Some(Gradients {
            of: understood.objective.values.iter().map(|&v| (v, None)).collect(),
            wrt: understood.trainable.iter().map(|t| (t.node.as_str().to_owned(), t.value)).collect(),
        }),
        params: understood.trainable.iter().map(|t| t.node.clone()).collect(),
        ..Ask::default()
    };
    let prepared = understood.prepare(&ask).unwrap();
    let program = prepared.program;
    let of_name = |name: &str| prepared.feeds.iter().find(|(n, _)| n == name).map(|(_, v)| *v).unwrap();
    let fed: Vec<Tensor> =
        program.feeds.iter().map(|f| feeds.iter().find(|(v, _)| *v == of_name(&f.name)).unwrap().1.clone()).collect();
    let parameters = understood.parameters().unwrap();
    let mut values = Vec::new();
    let mut tensors = Vec::new();
    for c in &program.constants {
        let node = c.node.as_ref().map(|n| n.as_str());
        if let Some(p) = parameters.iter().find(|p| Some(p.name.as_str()) == node) {
            values.push(c.value);
            tensors.push(p.value.clone());
        }
    }
    assert!(values.len() > 20, "the step has too few parameters to prove anything: {}", values.len());
    (program, values, tensors, fed)
}

#[test]
fn a_planned_step_allocates_nothing_but_packing_buffers() {
    let (program, values, parameters, feeds) = training_step();
    let exec = Executable::new(program, &values, &mut ConstantStore::default()).unwrap();
    assert!(matches!(exec, Executable::Planned(_)), "the step is not planned");
    for threads in [1, 2] {
        let engine = Engine::new(threads).unwrap();
        let mut space = Workspace::new();
        let mut step = |step: u64| {
            let bind = Bindings { feeds: &feeds, params: &parameters, random: Random { seed: 1, step } };
            engine.run(&exec, &mut space, &bind, Control::default()).unwrap();
        };
        // The first step makes the arena, thread-local buffers and the pool's queues.
        let fresh = PACKING.load(Ordering::Relaxed);
        (0..4).for_each(&mut step);
        assert!(PACKING.load(Ordering::Relaxed) > fresh, "the counter sees nothing");
        let before = OWN.load(Ordering::Relaxed);
        const STEPS: u64 = 64;
        (4..4 + STEPS).for_each(&mut step);
        let own = OWN.load(Ordering::Relaxed) - before;
        // A pool may enlarge a queue now and then; a kernel that allocates does so in every step.
        assert!((own as u64) < STEPS, "{own} allocations in {STEPS} steps with {threads} threads");
    }
}
