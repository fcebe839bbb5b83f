//! The program as other programs call it: exit statuses, and output that nobody reads to its end.

use std::process::{Command, Output, Stdio};

fn regraft(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regraft"));
    command.args(args).stdin(Stdio::null());
    command
}

fn model(name: &str) -> String {
    format!("{}/fixtures/models/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn message(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn exit_statuses_tell_done_failed_and_wrong_usage() {
    let path = model("mlp_mnist_like/model.pb");
    let missing = model("none/model.pb");
    let cases: [(&[&str], i32, &str); 5] = [
        (&["inspect", &path], 0, ""),
        (&["inspect", &missing], 1, "error: "),
        (&["inspect"], 2, "<MODEL>"),
        (&["train", &path], 2, "--feeds"),
        (&["no-such-command", &path, "more"], 2, "error: "),
    ];
    for (args, code, words) in cases {
        let out = regraft(args).output().unwrap();
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", message(&out));
        assert!(message(&out).contains(words), "{args:?}: {}", message(&out));
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let path = model("mlp_mnist_like/model.pb");
    for args in [&["inspect", &path, "--json"][..], &["docs", "ops"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let out = regraft(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert!(out.status.success() && message(&out).is_empty(), "{args:?}: {}", message(&out));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_could_not_be_printed_are_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let out = regraft(&["docs", "ops"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(message(&out).contains("could not be printed"), "{}", message(&out));
}

/// `changed:` compares with the file: edits of a session, and what a run moved.
#[test]
fn the_filter_finds_what_a_session_changed() {
    use regraft::session::{Change, EditStep, Session, changed};
    let folder = tempfile::tempdir().unwrap();
    let path = regraft::session::demo::write(folder.path()).unwrap();
    let model = folder.path().join("model.pb");
    let mut session = Session::open(&model).unwrap();
    let output = session.understand().unwrap().base.sites[0].output_key.as_str().to_owned();
    session.apply(&Change::AddEdits(vec![EditStep::BypassDropout { output }]), None);
    session.save_as(&path).unwrap();
    let asked = |model: &std::path::Path| {
        let model = model.to_str().unwrap();
        regraft(&["inspect", model, "--json", "--filter", "changed:yes"]).output().unwrap()
    };
    let out = asked(&path);
    assert!(out.status.success(), "{}", message(&out));
    let overview: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let nodes = overview["nodes"].as_array().unwrap();
    // Only those that read the site's output read something else now.
    assert!(!nodes.is_empty() && nodes.len() < 10, "{} nodes", nodes.len());
    assert!(overview["constants"].as_array().unwrap().is_empty());
    let out = asked(&model);
    assert_eq!(out.status.code(), Some(2));
    assert!(message(&out).contains("give a session or the folder of a run"), "{}", message(&out));
    // Values of a run count where an element is another one.
    let session = Session::open(&model).unwrap();
    let understood = session.understand().unwrap();
    let parameters = understood.parameters().unwrap();
    let mut tuned: Vec<_> = parameters.into_iter().take(2).map(|p| (p.name, p.value)).collect();
    tuned[1].1.bytes_mut()[0] ^= 1;
    let names = changed::changed(&session, &tuned).unwrap();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [tuned[1].0.clone()]);
}
