//! Training that goes on where another program stopped: the optimizer's state out of the model's checkpoint.

use crate::formats::tensorflow::slots::{Family, OptimizerState};
use crate::train::Earlier;
use crate::train::settings::OptimizerSettings;

use super::error::SessionError;
use super::understand::Understood;

/// What a run says at its start: code and message.
type Notes = Vec<(String, String)>;

/// Whose state an optimizer of ours can go on with.
fn family(kind: &str) -> Option<Family> {
    match kind {
        "adam" | "adamw" | "bert-adamw" | "lamb" => Some(Family::Adam),
        "sgd" => Some(Family::Momentum),
        "adagrad" => Some(Family::Adagrad),
        "rmsprop" => Some(Family::RmsProp),
        _ => None,
    }
}

/// The state to start from, where the settings ask for it and the file has it; with a word on it either way.
///
/// Errors: it is asked for, and the model holds none that this optimizer can go on with.
pub fn from_file(
    understood: &Understood,
    settings: &OptimizerSettings,
) -> Result<(Option<Earlier>, Notes), SessionError> {
    let found = understood.base.model.imported.optimizer_state();
    let count =
        |state: &OptimizerState| understood.trainable.iter().filter(|t| state.slots.contains_key(&t.node)).count();
    let note = |message: String| vec![("optimizer-state".to_owned(), message)];
    let n = understood.trainable.len();
    let updates = |state: &OptimizerState| match state.updates {
        Some(t) => format!("after {t} updates"),
        None => "after an unknown number of updates".to_owned(),
    };
    match (found, settings.takes_over) {
        (None, false) => Ok((None, Vec::new())),
        (Some(state), false) if count(&state) == 0 || family(settings.info.kind) != Some(state.family) => {
            Ok((None, Vec::new()))
        }
        (Some(state), false) => Ok((
            None,
            note(format!(
                "the model's checkpoint holds the state of {} for {} of {n} trained constants, {}; this run starts with \
                 its own (optimizer.state=file goes on with it)",
                state.family.label(),
                count(&state),
                updates(&state)
            )),
        )),
        (None, true) => Err(SessionError::Choice(
            "optimizer.state=file, but the model holds no optimizer's state: a frozen graph has none, and checkpoints for \
             use often leave it out; use optimizer.state=new"
                .to_owned(),
        )),
        (Some(state), true) => taken(understood, settings, &state, count(&state)).map(|earlier| {
            let message = format!(
                "optimizer state of {} taken over for {} of {n} trained constants, {}{}",
                state.family.label(),
                count(&state),
                updates(&state),
                if count(&state) < n { "; the others start at zero" } else { "" }
            );
            (Some(earlier), note(message))
        }),
    }
}

fn taken(
    understood: &Understood,
    settings: &OptimizerSettings,
    state: &OptimizerState,
    count: usize,
) -> Result<Earlier, SessionError> {
    if family(settings.info.kind) != Some(state.family) {
        return Err(SessionError::Choice(format!(
            "optimizer.state=file: the model's checkpoint holds the state of {}, with which {} cannot go on; choose \
             another optimizer.kind or optimizer.state=new",
            state.family.label(),
            settings.info.kind
        )));
    }
    if count == 0 {
        return Err(SessionError::Choice(format!(
            "optimizer.state=file: the model's checkpoint holds the state of {}, but for none of the constants that train",
            state.family.label()
        )));
    }
    let mut out = Earlier { updates: state.updates.unwrap_or(0), ..Earlier::default() };
    for trained in &understood.trainable {
        for (slot, payload) in state.family.slots().iter().zip(state.slots.get(&trained.node).into_iter().flatten()) {
            let failed =
                |e| SessionError::Choice(format!("the slot {slot} of {} could not be loaded: {e}", trained.node));
            let tensor = payload.load().map_err(failed)?;
            out.slots.insert(((*slot).to_owned(), trained.node.as_str().to_owned()), tensor);
        }
    }
    // What is not kept from one program to the other starts at zero; all slots of a parameter must be there.
    for missing in settings.info.slots.iter().filter(|s| !state.family.slots().contains(s)) {
        for trained in understood.trainable.iter().filter(|t| state.slots.contains_key(&t.node)) {
            let shape = understood.constant(&trained.node)?;
            let zeros = crate::tensor::Tensor::zeros(crate::tensor::DType::F32, shape.shape());
            out.slots.insert(((*missing).to_owned(), trained.node.as_str().to_owned()), zeros);
        }
    }
    Ok(out)
}
