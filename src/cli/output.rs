//! What commands print. A reader that has gone (`regraft inspect model.pb | head`) ends neither the command nor a run
//! that trains; a full disk behind standard output fails the command, once its work is done.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Once set, nothing more is written to standard output.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// Results were lost though somebody wanted them.
static LOST: AtomicBool = AtomicBool::new(false);

/// In place of the standard macro, which panics when standard output is closed.
macro_rules! print {
    ($($text:tt)*) => { $crate::cli::output::out(format_args!($($text)*), false) };
}

/// In place of the standard macro, which panics when standard output is closed.
macro_rules! println {
    ($($text:tt)*) => { $crate::cli::output::out(format_args!($($text)*), true) };
}

/// In place of the standard macro, which panics when standard error is closed.
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::cli::output::err(format_args!($($text)*)) };
}

/// Writes results to standard output, with a line end where asked for.
pub fn out(text: Arguments<'_>, end_line: bool) {
    if CLOSED.load(Ordering::Relaxed) {
        return;
    }
    let mut to = std::io::stdout().lock();
    let written = to.write_fmt(text).and_then(|()| if end_line { to.write_all(b"\n") } else { Ok(()) });
    // A line at once, so that programs that read events see them when they happen.
    note(written.and_then(|()| to.flush()));
}

/// Writes a message to standard error; where that is closed, there is nobody to tell.
pub fn err(text: Arguments<'_>) {
    let mut to = std::io::stderr().lock();
    let _ = to.write_fmt(text).and_then(|()| to.write_all(b"\n"));
}

fn note(written: std::io::Result<()>) {
    let Err(e) = written else { return };
    CLOSED.store(true, Ordering::Relaxed);
    if e.kind() != ErrorKind::BrokenPipe {
        LOST.store(true, Ordering::Relaxed);
        err(format_args!("error: the results could not be printed: {e}; redirect them to a place with room"));
    }
}

/// The status of a command, turned to failure where its results were lost.
pub(super) fn status(code: ExitCode) -> ExitCode {
    if LOST.load(Ordering::Relaxed) && code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code }
}
