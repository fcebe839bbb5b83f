//! Cancelling: what a job was about is as it was before it began. Files are safe by themselves (`files::unless_cancelled`).

use crate::base::Severity;

use super::{App, data, training, work};

impl App {
    /// Ends a job and leaves things as they were before it.
    pub(super) fn cancel_job(&mut self, id: u64) {
        let Some(title) = self.jobs.cancel(id) else { return };
        match title.as_str() {
            work::UPDATING => self.take_back_change(),
            training::PREPARING => self.run = None,
            data::READING => self.give_up_data(),
            _ => {}
        }
        self.note(Severity::Info, format!("Cancelled: {title}"));
    }

    /// What is shown follows from an earlier recipe than the newest: goes back to that.
    fn take_back_change(&mut self) {
        let (Some(open), Some(held)) = (&mut self.open, &self.session) else { return };
        open.is_refreshing = false;
        if let Some(index) = open.history.position(&held.understood.recipe) {
            open.history.jump(index);
        }
        self.refresh_data();
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::app::Options;
    use crate::base::files;
    use crate::session::{Change, Model, Selector, Session, TrainableChoice, demo};
    use crate::ui::run_view::RunState;

    /// The demo, opened; and its session's file.
    fn opened() -> (tempfile::TempDir, PathBuf, egui::Context, App) {
        let folder = tempfile::tempdir().unwrap();
        let path = demo::write(folder.path()).unwrap();
        let model = Model::open(&folder.path().join("model.pb")).unwrap();
        Session::new(Arc::new(model), demo::recipe(folder.path())).save_as(&path).unwrap();
        let ctx = egui::Context::default();
        let mut app = App::new(&ctx, Options { open: Some(path.clone()), ..Options::default() });
        app.logic(&ctx);
        wait(&mut app, &ctx, |app| app.open.is_some() && app.is_settled());
        (folder, path, ctx, app)
    }

    fn wait(app: &mut App, ctx: &egui::Context, is_there: impl Fn(&App) -> bool) {
        for _ in 0..3000 {
            app.logic(ctx);
            if is_there(app) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not come within a minute");
    }

    fn job(app: &App, title: &str) -> u64 {
        app.jobs.views().iter().find(|j| j.title == title).expect("it is under way").id
    }

    #[test]
    fn a_cancelled_update_takes_its_change_back() {
        let (_folder, _, _, mut app) = opened();
        let before = app.open.as_ref().unwrap().recipe().clone();
        let none = TrainableChoice { include: vec![Selector::None], exclude: Vec::new() };
        app.change(&Change::SetTrainable(none), None);
        let open = app.open.as_ref().unwrap();
        assert!(open.is_refreshing && *open.recipe() != before);
        // Its result is taken between frames alone, so it cannot have come yet.
        app.cancel_job(job(&app, work::UPDATING));
        let open = app.open.as_ref().unwrap();
        assert!(!open.is_refreshing && *open.recipe() == before && open.history.can_redo());
        assert!(app.log.last().unwrap().text.contains("Cancelled: Updating"));
    }

    #[test]
    fn a_run_that_is_cancelled_before_it_begins_leaves_nothing() {
        let (_folder, path, ctx, mut app) = opened();
        app.start_training();
        assert_eq!(app.run.as_ref().map(|r| r.state), Some(RunState::Preparing));
        app.cancel_job(job(&app, training::PREPARING));
        assert!(app.run.is_none(), "another one can be started");
        // The job ends when it meets the cancellation; whatever it had written by then goes.
        let runs = path.with_extension("runs");
        let is_left = || files::list(&runs).is_ok_and(|l| !l.is_empty());
        wait(&mut app, &ctx, |_| !is_left());
        app.start_training();
        wait(&mut app, &ctx, |app| app.run.as_ref().is_some_and(|r| r.step > 0 || r.state == RunState::Failed));
        assert_ne!(app.run.as_ref().map(|r| r.state), Some(RunState::Failed));
        app.tell_trainer(crate::ui::Action::StopAndDiscard);
        wait(&mut app, &ctx, |app| app.run.as_ref().is_none_or(|r| !r.state.is_active()));
    }

    #[test]
    fn data_that_are_not_read_say_so() {
        let (_folder, _, _, mut app) = opened();
        let mut data = app.open.as_ref().unwrap().recipe().data.clone().unwrap();
        data.validation = None;
        app.open.as_mut().unwrap().data = None;
        app.change(&Change::SetData(Some(data)), None);
        app.cancel_job(job(&app, data::READING));
        let open = app.open.as_ref().unwrap();
        assert!(open.data.as_ref().and_then(|d| d.problem.as_ref()).is_some_and(|p| p.contains("cancelled")));
    }
}
