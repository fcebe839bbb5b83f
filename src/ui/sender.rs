//! How drawing code asks for things.

use std::cell::RefCell;

use super::command::Command;

/// Commands of one frame, in order.
#[derive(Debug, Default)]
pub struct Sender(RefCell<Vec<Command>>);

impl Sender {
    pub fn send(&self, command: Command) {
        self.0.borrow_mut().push(command);
    }

    pub fn take(&self) -> Vec<Command> {
        std::mem::take(&mut *self.0.borrow_mut())
    }
}
