//! What is worth telling a person and going on: severity, a stable code, a sentence, and the place.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Error,
}

/// One finding. `message` says what, why and what to do; `place` names the node, value or file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Stable kebab-case identifier that tests and scripts may rely on.
    pub code: String,
    pub message: String,
    pub place: Option<String>,
}

/// Collects diagnostics while a stage goes on with its work.
#[derive(Clone, Debug, Default)]
pub struct Reporter {
    found: Vec<Diagnostic>,
}

impl Reporter {
    pub fn info(&mut self, code: &str, message: impl Into<String>, place: Option<String>) {
        self.push(Severity::Info, code, message.into(), place);
    }

    pub fn warning(&mut self, code: &str, message: impl Into<String>, place: Option<String>) {
        self.push(Severity::Warning, code, message.into(), place);
    }

    pub fn error(&mut self, code: &str, message: impl Into<String>, place: Option<String>) {
        self.push(Severity::Error, code, message.into(), place);
    }

    fn push(&mut self, severity: Severity, code: &str, message: String, place: Option<String>) {
        self.found.push(Diagnostic { severity, code: code.to_owned(), message, place });
    }

    pub fn extend(&mut self, other: impl IntoIterator<Item = Diagnostic>) {
        self.found.extend(other);
    }

    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.found
    }

    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.found
    }
}
