//! temporary
use super::App;
use crate::base::Severity;
use std::path::PathBuf;
#[derive(Debug)]
pub struct Held;
#[derive(Debug)]
pub struct Derived;
impl App {
    pub(super) fn open_path(&mut self, path: PathBuf) {
        self.say(Severity::Error, format!("cannot open {}", path.display()));
    }
    pub(super) fn open_demo(&mut self) {}
    pub(super) fn refresh(&mut self) {}
    pub(super) fn take_derived(&mut self, _r: Result<Derived, String>) {}
    pub(super) fn describe(&mut self, _n: String) {}
    pub(super) fn export(&mut self, _r: crate::ui::ctx::ExportRequest) {}
    pub(super) fn take_exported(&mut self, _r: Result<String, String>) {}
    pub(super) fn save_session(&mut self, _p: PathBuf) {}
    pub(super) fn take_data(&mut self, _d: Result<crate::ui::ctx::DataView, String>) {}
}
