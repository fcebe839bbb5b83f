//! Messages on standard error: diagnostics, errors with their causes, and numbers that people can read.

use crate::base::{Diagnostic, Severity};

/// Wrong usage: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// An error with its causes, on one line each.
pub fn error(e: &anyhow::Error) {
    eprintln!("error: {e}");
    let mut last = e.to_string();
    for cause in e.chain().skip(1) {
        let text = cause.to_string();
        // Wrapping errors often repeat their cause in their own text.
        if !last.contains(&text) {
            eprintln!("  because: {text}");
        }
        last = text;
    }
}

/// Warnings and errors always, information with `-v` (through the log).
pub fn diagnostics(found: &[Diagnostic]) {
    for d in found {
        let place = d.place.as_deref().map(|p| format!(" [{p}]")).unwrap_or_default();
        match d.severity {
            Severity::Error => eprintln!("error: {}{place}", d.message),
            Severity::Warning => eprintln!("warning: {}{place}", d.message),
            Severity::Info => tracing::info!("{}{place}", d.message),
        }
    }
}

/// `109.5 M`, `1 927`, `418`.
pub fn count(n: usize) -> String {
    match n {
        0..=9_999 => n.to_string(),
        10_000..=999_999 => format!("{:.1} k", n as f64 / 1e3),
        1_000_000..=999_999_999 => format!("{:.1} M", n as f64 / 1e6),
        _ => format!("{:.2} G", n as f64 / 1e9),
    }
}

/// `418 MB` (powers of ten).
pub fn bytes(n: u64) -> String {
    match n {
        0..=999 => format!("{n} B"),
        1_000..=999_999 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..=999_999_999 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// `[4, ?, 128]`.
pub fn shape(shape: &crate::session::overview::ShapeRow) -> String {
    match shape {
        None => "?".to_owned(),
        Some(dims) => {
            let dims: Vec<String> = dims.iter().map(|d| d.map_or("?".to_owned(), |d| d.to_string())).collect();
            format!("[{}]", dims.join(", "))
        }
    }
}

/// Rows under headings, columns as wide as their content; numbers are right-aligned by the caller's choice.
pub fn table(headings: &[&str], right: &[bool], rows: &[Vec<String>]) -> String {
    let width =
        |c: usize| rows.iter().map(|r| r[c].chars().count()).chain([headings[c].chars().count()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &[String]| {
        let mut out = String::new();
        for (c, cell) in cells.iter().enumerate() {
            let pad = " ".repeat(widths[c] - cell.chars().count());
            if right[c] {
                out += &pad;
                out += cell;
            } else {
                out += cell;
                out += &pad;
            }
            out += "  ";
        }
        out.trim_end().to_owned() + "\n"
    };
    let mut out = line(&headings.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
    for row in rows {
        out += &line(row);
    }
    out
}
