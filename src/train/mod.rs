//! Training: settings, optimizers, schedules, losses, metrics, and the thread that runs them.
//!
//! Reading order: [`settings`] (every knob as data), [`step`] (what a trainer needs to compute a step), [`store`] (parameters
//! and optimizer state, outside all plans), [`protocol`] (the trainer's only door), [`trainer`] (the thread), [`checkpoint`]
//! and [`run_log`] (what a run leaves on disk). The trainer knows neither sessions nor model formats.

pub mod checkpoint;
pub mod estimate;
pub mod evaluate;
pub mod executables;
pub mod losses;
pub mod metrics;
pub mod optimizers;
mod outbox;
pub mod program_step;
pub mod protocol;
pub mod run;
pub mod run_log;
mod samples;
pub mod schedules;
pub mod settings;
pub mod step;
pub mod store;
pub mod trainer;
mod weights;

pub use evaluate::{evaluate, predict};
pub use executables::Executables;
pub use program_step::{ProgramStep, StepProgram};
pub use protocol::{Delivery, EndReason, TrainCommand, TrainEvent};
pub use run_log::RunLog;
pub use settings::{Preset, Settings};
pub use step::{NonFinite, Phase, Step, StepError, StepFactory};
pub use store::{Parameter, Rate, Store};
pub use trainer::{Earlier, Job, Outcome, Trainer};
pub use weights::WeightRow;
