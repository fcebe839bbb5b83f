//! Long work on named threads, with progress and cancel; the window polls results and never waits.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::base::{CancelToken, files};
use crate::data::statistics::{Described, SliceAt, Sliced, ValueRange};
use crate::ui::background::Background;
use crate::ui::ctx::JobView;

use super::work::Derived;

/// How far a job is; written by its thread, read by the window.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Thousandths; above 1000 where the end is not known.
    thousandths: Arc<AtomicU32>,
}

impl Progress {
    const UNKNOWN: u32 = u32::MAX;

    fn new() -> Self {
        Self { thousandths: Arc::new(AtomicU32::new(Self::UNKNOWN)) }
    }

    pub fn set(&self, fraction: f32) {
        self.thousandths.store((fraction.clamp(0.0, 1.0) * 1000.0) as u32, Ordering::Relaxed);
    }

    fn fraction(&self) -> Option<f32> {
        let t = self.thousandths.load(Ordering::Relaxed);
        (t <= 1000).then_some(t as f32 / 1000.0)
    }
}

/// What a picked path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picked {
    Open,
    OpenFolder,
    Data,
    DataFolder,
    DataFile(crate::ui::command::DataFile),
    Export,
    SaveSession,
    SaveFile,
    OtherModel,
    Tensor,
}

/// What jobs bring back.
pub enum Outcome {
    Derived(Box<Result<Derived, String>>),
    Described(String, Result<Arc<Described>, String>),
    Ranged(Vec<(String, Option<ValueRange>)>),
    Data(Box<Result<super::data::Found, String>>),
    /// What an example becomes.
    Example(usize, Result<super::data::Arrays, String>),
    Exported(Result<crate::ui::ctx::Exported, String>),
    Estimated(crate::ui::ctx::Estimated),
    /// How far runs moved a constant.
    Changed(String, Vec<crate::ui::ctx::Changed>),
    Sliced(SliceAt, Result<Arc<Sliced>, String>),
    Proved(Box<crate::ui::ctx::Proved>),
    Matched(Box<Result<super::recipes::Matched, String>>),
    Runs(Vec<crate::ui::ctx::RunEntry>),
    Autosaved(Result<(), String>),
    /// A file that was asked for.
    Written(Result<PathBuf, String>),
    /// A picture to be written.
    Pictured {
        suggested: String,
        bytes: Vec<u8>,
    },
    /// Fonts of the system.
    Fonts(Box<egui::FontDefinitions>),
    /// The training job is prepared; the trainer runs.
    Started(Box<Result<super::training::Training, String>>),
    Timed(Box<Result<crate::ui::ctx::NodeTimes, String>>),
    Predicted(Box<Result<Vec<crate::ui::run_view::Prediction>, String>>),
    Picked {
        what: Picked,
        path: PathBuf,
        /// What to write there, or what it is about.
        content: Option<(String, Vec<u8>)>,
    },
    /// No dialog could be shown.
    NoDialog {
        what: Picked,
        content: Option<(String, Vec<u8>)>,
    },
    /// Somebody thought better of it.
    Cancelled,
}

/// One job in progress.
struct Job {
    id: u64,
    title: String,
    progress: Progress,
    work: Background<Outcome>,
    /// Shown in the status bar.
    is_shown: bool,
}

/// All jobs in progress.
pub struct Jobs {
    ctx: egui::Context,
    next: u64,
    running: Vec<Job>,
}

impl Jobs {
    pub fn new(ctx: egui::Context) -> Self {
        Self { ctx, next: 1, running: Vec::new() }
    }

    /// Starts a job that the status bar shows. A running one of the same title is cancelled: the newer one counts.
    pub fn start(&mut self, title: &str, work: impl FnOnce(&CancelToken, &Progress) -> Outcome + Send + 'static) {
        self.running.retain(|j| j.title != title);
        self.spawn(title, true, work);
    }

    /// Starts a job that is only waited for (a dialog).
    pub fn start_quietly(
        &mut self,
        title: &str,
        work: impl FnOnce(&CancelToken, &Progress) -> Outcome + Send + 'static,
    ) {
        if !self.is_running(title) {
            self.spawn(title, false, work);
        }
    }

    /// As [`Jobs::start_quietly`], but the newer one counts.
    pub fn replace_quietly(
        &mut self,
        title: &str,
        work: impl FnOnce(&CancelToken, &Progress) -> Outcome + Send + 'static,
    ) {
        self.running.retain(|j| j.title != title);
        self.spawn(title, false, work);
    }

    fn spawn(
        &mut self,
        title: &str,
        is_shown: bool,
        work: impl FnOnce(&CancelToken, &Progress) -> Outcome + Send + 'static,
    ) {
        let progress = Progress::new();
        let (inner, ctx) = (progress.clone(), self.ctx.clone());
        let name: String = title.chars().take(15).collect();
        let work = Background::spawn(
            &name,
            move || ctx.request_repaint(),
            move |cancel| files::unless_cancelled(cancel, || work(cancel, &inner)),
        );
        self.running.push(Job { id: self.next, title: title.to_owned(), progress, work, is_shown });
        self.next += 1;
    }

    /// What wakes the window.
    pub fn context(&self) -> egui::Context {
        self.ctx.clone()
    }

    pub fn is_running(&self, title: &str) -> bool {
        self.running.iter().any(|j| j.title == title)
    }

    pub fn is_idle(&self) -> bool {
        self.running.iter().all(|j| !j.is_shown)
    }

    /// Ends a job, whose title it gives; nothing comes back of it, and no file that it writes gets its name.
    pub fn cancel(&mut self, id: u64) -> Option<String> {
        let at = self.running.iter().position(|j| j.id == id)?;
        Some(self.running.remove(at).title)
    }

    pub fn cancel_all(&mut self) {
        self.running.clear();
    }

    pub fn views(&self) -> Vec<JobView> {
        let view = |j: &Job| JobView {
            id: j.id,
            title: j.title.clone(),
            step: String::new(),
            fraction: j.progress.fraction(),
        };
        self.running.iter().filter(|j| j.is_shown).map(view).collect()
    }

    /// What finished since the last call; a job that was lost to a bug is reported by its title.
    pub fn poll(&mut self) -> (Vec<Outcome>, Vec<String>) {
        let mut done = Vec::new();
        let mut lost = Vec::new();
        self.running.retain_mut(|job| {
            if let Some(outcome) = job.work.poll() {
                done.push(outcome);
                return false;
            }
            if job.work.is_lost() {
                lost.push(job.title.clone());
                return false;
            }
            true
        });
        (done, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(jobs: &mut Jobs) -> (Vec<Outcome>, Vec<String>) {
        for _ in 0..500 {
            let result = jobs.poll();
            if !result.0.is_empty() || !result.1.is_empty() {
                return result;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("the job did not end");
    }

    #[test]
    fn results_arrive_and_bugs_are_reported() {
        let mut jobs = Jobs::new(egui::Context::default());
        jobs.start("Exporting", |_, p| {
            p.set(0.5);
            Outcome::Exported(Ok(crate::ui::ctx::Exported::default()))
        });
        assert!(!jobs.is_idle());
        assert!(matches!(wait(&mut jobs).0[..], [Outcome::Exported(Ok(_))]));
        assert!(jobs.is_idle());
        jobs.start("Opening", |_, _| panic!("a bug"));
        assert_eq!(wait(&mut jobs).1, ["Opening"]);
    }

    #[test]
    fn a_newer_job_replaces_the_older_one() {
        let mut jobs = Jobs::new(egui::Context::default());
        for _ in 0..3 {
            jobs.start("Updating", |cancel, _| {
                while !cancel.is_cancelled() {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                Outcome::Exported(Err("cancelled".to_owned()))
            });
        }
        assert_eq!(jobs.views().len(), 1);
        let id = jobs.views()[0].id;
        assert_eq!(jobs.cancel(id).as_deref(), Some("Updating"));
        assert_eq!(jobs.cancel(id), None);
        assert!(jobs.is_idle());
    }
}
