//! temporary
use super::App;
use crate::ui::Action;
#[derive(Debug)]
pub struct Training;
#[derive(Debug)]
pub struct Predicted;
impl App {
    pub(super) fn take_training_events(&mut self) {}
    pub(super) fn take_started(&mut self, _t: Result<Training, String>) {}
    pub(super) fn take_predicted(&mut self, _t: Result<Predicted, String>) {}
    pub(super) fn set_learning_rate(&mut self, _r: f64) {}
    pub(super) fn tell_trainer(&mut self, _a: Action) {}
    pub(super) fn start_training(&mut self) {}
}
