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
