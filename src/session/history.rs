//! Undo and redo: a list of recipes with labels and a cursor. A drag or slider gesture replaces the newest entry.

use std::sync::Arc;

use super::change::Change;
use super::recipe::Recipe;

/// See the module doc; never empty.
#[derive(Clone, Debug)]
pub struct History {
    entries: Vec<(Arc<Recipe>, String)>,
    cursor: usize,
    /// The gesture that made the newest entry, if one did.
    gesture: Option<u64>,
}

impl Default for History {
    fn default() -> Self {
        Self::new(Recipe::default())
    }
}

impl History {
    pub fn new(recipe: Recipe) -> Self {
        Self { entries: vec![(Arc::new(recipe), "Opened".to_owned())], cursor: 0, gesture: None }
    }

    pub fn recipe(&self) -> &Arc<Recipe> {
        &self.entries[self.cursor].0
    }

    /// Applies a change; one that changes nothing makes no entry. Equal `gesture` numbers in a row make one entry.
    pub fn apply(&mut self, change: &Change, gesture: Option<u64>) -> bool {
        let new = change.apply(self.recipe());
        if new == **self.recipe() {
            return false;
        }
        self.entries.truncate(self.cursor + 1);
        let entry = (Arc::new(new), change.label());
        if gesture.is_some() && gesture == self.gesture && self.cursor > 0 {
            self.entries[self.cursor] = entry;
        } else {
            self.entries.push(entry);
            self.cursor += 1;
        }
        self.gesture = gesture;
        true
    }

    pub fn undo(&mut self) -> bool {
        self.jump(self.cursor.wrapping_sub(1))
    }

    pub fn redo(&mut self) -> bool {
        self.jump(self.cursor + 1)
    }

    /// Goes to an entry of [`History::labels`]; false where there is none.
    pub fn jump(&mut self, index: usize) -> bool {
        if index >= self.entries.len() {
            return false;
        }
        self.cursor = index;
        self.gesture = None;
        true
    }

    /// Where a recipe stands; the newest of equal ones.
    pub fn position(&self, recipe: &Recipe) -> Option<usize> {
        self.entries.iter().rposition(|(r, _)| **r == *recipe)
    }

    pub fn can_undo(&self) -> bool {
        self.cursor > 0
    }

    pub fn can_redo(&self) -> bool {
        self.cursor + 1 < self.entries.len()
    }

    pub fn cursor(&self) -> usize {
        self.cursor
    }

    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(_, l)| l.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::super::recipe::SitePolicy;
    use super::*;

    #[test]
    fn undo_redo_and_gestures() {
        let mut h = History::default();
        let rate = |r| Change::SetDropout(SitePolicy::Rate(r));
        assert!(h.apply(&rate(0.1), Some(7)));
        assert!(h.apply(&rate(0.2), Some(7)));
        assert!(!h.apply(&rate(0.2), None));
        assert!(h.apply(&Change::Train { names: vec!["w".into()], on: true }, None));
        assert_eq!(h.labels().count(), 3);
        assert!(h.undo());
        assert_eq!(h.recipe().dropout.default, SitePolicy::Rate(0.2));
        assert!(h.undo() && !h.undo());
        assert_eq!(**h.recipe(), Recipe::default());
        assert!(h.redo() && h.redo() && !h.redo());
    }
}
