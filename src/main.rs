//! Arguments, logging, then the window or a headless command.

use std::process::ExitCode;

use clap::Parser;
use regraft::cli::{self, Cli};

fn main() -> ExitCode {
    let args = Cli::parse();
    init_logging(args.verbose);
    match args.command {
        #[cfg(feature = "gui")]
        Some(cli::Command::Screenshot(shot)) => window(regraft::app::screenshot(&shot)),
        #[cfg(feature = "gui")]
        Some(cli::Command::Demo(demo)) if !demo.train && regraft::app::native::has_display() => {
            window(cli::demo::prepare(&demo).and_then(|path| regraft::app::run(Some(&path))))
        }
        Some(command) => cli::run(command),
        #[cfg(feature = "gui")]
        None => window(regraft::app::run(args.file.as_deref())),
        #[cfg(not(feature = "gui"))]
        None => {
            eprintln!("error: this program was built without the window; `regraft --help` lists the commands");
            ExitCode::from(2)
        }
    }
}

#[cfg(feature = "gui")]
fn window(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            cli::report::error(&e);
            ExitCode::FAILURE
        }
    }
}

/// Warnings by default, more with `-v`; `RUST_LOG` wins.
fn init_logging(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("{level},regraft={level}")));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
