//! The options that `check`, `run`, `grad`, `train`, `bench` and `export` share: they build the recipe that a session
//! file would hold.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::session::recipe::{Objective, Recipe, SitePolicy, StandIn};
use crate::session::{Selector, Session};
use crate::train::Preset;

use super::report::{self, Usage};

#[derive(Clone, Debug, Default, clap::Args)]
pub struct ModelArgs {
    /// Signature, meta-graph or tag set of a file that holds several.
    #[arg(long)]
    pub signature: Option<String>,
    /// Pin the shape of a placeholder: NAME=4x128; repeatable.
    #[arg(long = "shape", value_name = "NAME=DIMS")]
    pub shapes: Vec<String>,
    /// Pin a placeholder to a constant: NAME=VALUE; repeatable.
    #[arg(long = "set-input", value_name = "NAME=VALUE")]
    pub set_input: Vec<String>,
    /// suggested, all, none, a name, glob:…, re:… or role:…; repeatable.
    #[arg(long, value_name = "SELECTOR")]
    pub trainable: Vec<String>,
    /// Constants that stay frozen, by the same selectors; repeatable.
    #[arg(long, value_name = "SELECTOR")]
    pub exclude: Vec<String>,
    /// train, off, as-in-file or rate=R, for all recognised sites.
    #[arg(long, value_name = "POLICY")]
    pub dropout: Option<String>,
    /// Policy of one site, by its output: NAME=POLICY; repeatable.
    #[arg(long, value_name = "NAME=POLICY")]
    pub dropout_site: Vec<String>,
    /// Gradient stand-in: NODE=stop, identity or straight-through; repeatable.
    #[arg(long, value_name = "NODE=KIND")]
    pub stand_in: Vec<String>,
    /// An existing scalar in the graph to minimise.
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["attach_loss", "head"])]
    pub loss: Option<String>,
    /// Put a loss on an existing output.
    #[arg(long, value_name = "KIND", requires = "on", requires = "labels", conflicts_with = "head")]
    pub attach_loss: Option<String>,
    /// The output that the attached loss reads.
    #[arg(long, value_name = "VALUE")]
    pub on: Option<String>,
    /// Name of the placeholder for the labels of the attached loss.
    #[arg(long, value_name = "NAME")]
    pub labels: Option<String>,
    /// Labels with this value count for nothing.
    #[arg(long, default_value_t = -100, allow_negative_numbers = true)]
    pub ignore_label: i64,
    /// Graft a head: classifier, token-classifier, regression or multi-label.
    #[arg(long, value_name = "KIND", requires = "at", requires = "classes")]
    pub head: Option<String>,
    /// The value that the head reads.
    #[arg(long, value_name = "VALUE")]
    pub at: Option<String>,
    /// Outputs of the head.
    #[arg(long, value_name = "N")]
    pub classes: Option<usize>,
    /// Loss of the head, where the usual one is not wanted.
    #[arg(long, value_name = "KIND")]
    pub head_loss: Option<String>,
    /// Settings for a purpose: fine-tune.
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// Write the session that these options describe.
    #[arg(long, value_name = "FILE")]
    pub save_session: Option<PathBuf>,
    /// Threads that compute (default: all cores).
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

impl ModelArgs {
    /// Opens a model or session and puts these options on top of its recipe.
    pub fn open(&self, path: &Path) -> Result<Session> {
        let mut session = Session::open(path)?;
        report::diagnostics(session.model.diagnostics());
        let mut recipe = (**session.recipe()).clone();
        self.change(&mut recipe)?;
        session.replace_recipe(recipe)?;
        if let Some(file) = &self.save_session {
            session.save_as(file).with_context(|| format!("the session could not be saved to {}", file.display()))?;
        }
        Ok(session)
    }

    fn change(&self, recipe: &mut Recipe) -> Result<()> {
        if self.signature.is_some() {
            recipe.signature.clone_from(&self.signature);
        }
        for s in &self.shapes {
            let (name, dims) = pair("--shape", s)?;
            let dims = dims.split('x').map(str::parse).collect::<Result<Vec<usize>, _>>();
            let dims = dims.map_err(|_| Usage(format!("--shape {s}: expected NAME=4x128")))?;
            recipe.shapes.insert(name.to_owned(), dims);
        }
        for s in &self.set_input {
            let (name, value) = pair("--set-input", s)?;
            recipe.pins.insert(
                name.to_owned(),
                number(value)
                    .ok_or_else(|| Usage(format!("--set-input {s}: {value} is neither a number nor true or false")))?,
            );
        }
        if !self.trainable.is_empty() {
            recipe.trainable.include = selectors(&self.trainable)?;
            recipe.trainable.exclude.clear();
        }
        recipe.trainable.exclude.extend(selectors(&self.exclude)?);
        if let Some(p) = &self.dropout {
            recipe.dropout.default = p.parse::<SitePolicy>().map_err(Usage)?;
        }
        for s in &self.dropout_site {
            // The policy may itself hold `=` (`NAME=rate=0.1`), the name may not.
            let (name, policy) = pair("--dropout-site", s)?;
            recipe.dropout.sites.insert(name.to_owned(), policy.parse::<SitePolicy>().map_err(Usage)?);
        }
        for s in &self.stand_in {
            let (name, kind) = pair("--stand-in", s)?;
            recipe.stand_ins.insert(name.to_owned(), kind.parse::<StandIn>().map_err(Usage)?);
        }
        if let Some(objective) = self.objective()? {
            recipe.objective = Some(objective);
        }
        if let Some(preset) = &self.preset {
            let preset = Preset::from_name(preset)
                .ok_or_else(|| Usage(format!("--preset {preset}: expected plain or fine-tune")))?;
            for (key, value) in preset.values() {
                recipe.settings.entry((*key).to_owned()).or_insert_with(|| (*value).to_owned());
            }
        }
        Ok(())
    }

    fn objective(&self) -> Result<Option<Objective>> {
        if let Some(loss) = &self.loss {
            return Ok(Some(Objective::Value { loss: loss.clone() }));
        }
        if let (Some(loss), Some(on), Some(labels)) = (&self.attach_loss, &self.on, &self.labels) {
            return Ok(Some(Objective::Attached {
                loss: loss.clone(),
                on: on.clone(),
                labels: labels.clone(),
                ignore_label: self.ignore_label,
            }));
        }
        if let (Some(head), Some(at), Some(classes)) = (&self.head, &self.at, self.classes) {
            return Ok(Some(Objective::Head {
                head: head.clone(),
                at: at.clone(),
                classes,
                loss: self.head_loss.clone(),
            }));
        }
        if self.on.is_some() || self.labels.is_some() {
            bail!(Usage("--on and --labels belong to --attach-loss".to_owned()));
        }
        Ok(None)
    }
}

fn selectors(texts: &[String]) -> Result<Vec<Selector>> {
    texts.iter().map(|t| t.parse().map_err(|e| Usage(e).into())).collect()
}

/// Splits `NAME=VALUE` at the first `=`.
pub fn pair<'a>(option: &str, text: &'a str) -> Result<(&'a str, &'a str)> {
    text.split_once('=').ok_or_else(|| Usage(format!("{option} {text}: expected NAME=VALUE")).into())
}

fn number(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(1.0),
        "false" => Some(0.0),
        t => t.parse().ok(),
    }
}
