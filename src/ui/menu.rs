//! The menus of the menu bar.

/// Menus, in the order of the menu bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Menu {
    File,
    Edit,
    View,
    Model,
    Train,
    Help,
}

impl Menu {
    pub const ALL: [Self; 6] = [Self::File, Self::Edit, Self::View, Self::Model, Self::Train, Self::Help];

    pub fn title(self) -> &'static str {
        match self {
            Self::File => "File",
            Self::Edit => "Edit",
            Self::View => "View",
            Self::Model => "Model",
            Self::Train => "Train",
            Self::Help => "Help",
        }
    }
}
