//! The options that `check`, `run`, `grad`, `train`, `bench` and `export` share: they build the recipe that a session
//! file would hold.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::edits::heads::{self, HeadChoice};
use crate::session::recipe::{EditStep, LoraChoice, Objective, ParameterGroup, Recipe, SitePolicy, StandIn};
use crate::session::weights::WeightsChoice;
use crate::session::{Change, Selector, Session};
use crate::train::Preset;
use crate::train::losses::LossOptions;

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
    /// suggested, all, none, heads, last-N-layers, bitfit, layer-norm, a name, glob:…, re:…, role:… or below:…; repeatable.
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
    /// Take a node out, also of what is exported: its readers read its input instead; repeatable.
    #[arg(long, value_name = "NODE")]
    pub bypass: Vec<String>,
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
    /// Graft a head: classifier, token-classifier, regression, multi-label or next-sentence.
    #[arg(long, value_name = "KIND")]
    pub head: Option<String>,
    /// The value that the head reads (default: the pooled output or last hidden state, where there is just one).
    #[arg(long, value_name = "VALUE", requires = "head")]
    pub at: Option<String>,
    /// Outputs of the head.
    #[arg(long, value_name = "N", requires = "head")]
    pub classes: Option<usize>,
    /// Loss of the head, where the usual one is not wanted.
    #[arg(long, value_name = "KIND", requires = "head")]
    pub head_loss: Option<String>,
    /// What the names of the head's nodes start with (default: head).
    #[arg(long, value_name = "NAME", requires = "head")]
    pub head_name: Option<String>,
    /// Share that is dropped before the head's dense layer while training.
    #[arg(long, value_name = "RATE", requires = "head")]
    pub head_dropout: Option<f64>,
    /// Where the head's weights start: truncated-normal, glorot, he or zeros.
    #[arg(long, value_name = "KIND", requires = "head")]
    pub head_init: Option<String>,
    /// Seed of the head's first weights.
    #[arg(long, value_name = "N", requires = "head")]
    pub head_seed: Option<u64>,
    /// Label smoothing of the attached loss or the head's.
    #[arg(long, value_name = "EPSILON")]
    pub label_smoothing: Option<f64>,
    /// One factor per class for the attached loss or the head's: 1,2.5,1.
    #[arg(long, value_name = "W,W,…", value_delimiter = ',')]
    pub class_weights: Vec<f64>,
    /// Free sizes that the file fixes: batch, length or batch,length.
    #[arg(long, value_name = "SIZES")]
    pub unbake: Option<String>,
    /// Low-rank adapters of this rank beside matrix weights.
    #[arg(long, value_name = "RANK")]
    pub lora: Option<usize>,
    /// Scale of the adapters: alpha / rank (default: 16).
    #[arg(long, value_name = "ALPHA", requires = "lora")]
    pub lora_alpha: Option<f64>,
    /// Share of the adapters' input that is dropped while training.
    #[arg(long, value_name = "RATE", requires = "lora")]
    pub lora_dropout: Option<f64>,
    /// Weights that get an adapter, by the selectors of --trainable (default: role:matmul-weight); repeatable.
    #[arg(long, value_name = "SELECTOR", requires = "lora")]
    pub lora_weights: Vec<String>,
    /// Own learning rate or decay: SELECTOR,lr=R,lr_factor=F,decay=D; repeatable, the first that fits counts.
    #[arg(long = "group", value_name = "SELECTOR,KEY=VALUE…")]
    pub groups: Vec<String>,
    /// Load weights by name from .safetensors, .npz, a checkpoint or another model.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Constant → array where names alone do not tell: a JSON object, or lines `constant = array`.
    #[arg(long, value_name = "FILE", requires = "weights")]
    pub weights_map: Option<PathBuf>,
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
        let mut session = Session::open_choosing(path, self.signature.as_deref())?;
        report::diagnostics(session.model.diagnostics());
        report::diagnostics(&session.notes);
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
        if let Some(file) = &self.weights {
            let map = self.weights_map.as_deref().map(super::weights::read_map).transpose()?.unwrap_or_default();
            let choice = WeightsChoice { file: file.to_string_lossy().into_owned(), map };
            *recipe = Change::AddEdits(vec![EditStep::LoadWeights(choice)]).apply(recipe);
        }
        let steps = self.bypass.iter().map(|node| EditStep::Bypass { node: node.clone() }).collect();
        *recipe = Change::AddEdits(steps).apply(recipe);
        self.graft(recipe)?;
        if let Some(preset) = &self.preset {
            let preset = Preset::from_name(preset)
                .ok_or_else(|| Usage(format!("--preset {preset}: expected plain or fine-tune")))?;
            for (key, value) in preset.values() {
                recipe.settings.entry((*key).to_owned()).or_insert_with(|| (*value).to_owned());
            }
        }
        Ok(())
    }

    /// Edits, groups and what is minimised.
    fn graft(&self, recipe: &mut Recipe) -> Result<()> {
        let mut changes = Vec::new();
        if let Some(sizes) = &self.unbake {
            changes.push(Change::AddEdits(vec![EditStep::Unbake(sizes.parse().map_err(Usage)?)]));
        }
        if let Some(head) = self.head_choice()? {
            let objective = Objective::Head {
                head: head.name.clone(),
                loss: self.head_loss.clone(),
                labels: self.labels.clone(),
                ignore_label: self.ignore_label,
                options: self.loss_options(),
            };
            changes.push(Change::GraftHead { head, objective });
        }
        if let Some(rank) = self.lora {
            let mut lora = LoraChoice { rank, ..LoraChoice::default() };
            lora.alpha = self.lora_alpha.unwrap_or(lora.alpha);
            lora.dropout = self.lora_dropout.unwrap_or(lora.dropout);
            if !self.lora_weights.is_empty() {
                lora.weights = selectors(&self.lora_weights)?;
            }
            changes.push(Change::AddEdits(vec![EditStep::Lora(lora)]));
        }
        if !self.groups.is_empty() {
            let groups = self.groups.iter().map(|g| group(g)).collect::<Result<Vec<_>>>()?;
            changes.push(Change::SetGroups(groups));
        }
        if let Some(objective) = self.objective()? {
            changes.push(Change::SetObjective(Some(objective)));
        }
        for change in changes {
            *recipe = change.apply(recipe);
        }
        Ok(())
    }

    fn loss_options(&self) -> LossOptions {
        LossOptions { label_smoothing: self.label_smoothing.unwrap_or(0.0), class_weights: self.class_weights.clone() }
    }

    fn head_choice(&self) -> Result<Option<HeadChoice>> {
        let Some(kind) = &self.head else { return Ok(None) };
        if heads::find(kind).is_none() {
            let kinds: Vec<&str> = heads::ALL.iter().map(|h| h.kind).collect();
            bail!(Usage(format!("--head {kind}: expected {}", kinds.join(", "))));
        }
        let mut head = HeadChoice { at: self.at.clone(), classes: self.classes, ..HeadChoice::new(kind) };
        head.dropout = self.head_dropout.unwrap_or(0.0);
        head.seed = self.head_seed.unwrap_or(0);
        if let Some(name) = &self.head_name {
            head.name.clone_from(name);
        }
        if let Some(initializer) = &self.head_init {
            head.initializer = initializer.parse().map_err(Usage)?;
        }
        Ok(Some(head))
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
                options: self.loss_options(),
            }));
        }
        if self.on.is_some() || self.labels.is_some() && self.head.is_none() {
            bail!(Usage("--on and --labels belong to --attach-loss".to_owned()));
        }
        Ok(None)
    }
}

/// `SELECTOR,lr=1e-5,lr_factor=0.5,decay=0`.
fn group(text: &str) -> Result<ParameterGroup> {
    let mut out = ParameterGroup::default();
    for part in text.split(',').map(str::trim) {
        let value = |v: &str| {
            let number = v.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
            number.ok_or_else(|| Usage(format!("--group {text}: {v} is no number from 0 up")))
        };
        match part.split_once('=') {
            Some(("lr", v)) => out.lr = Some(value(v)?),
            Some(("lr_factor", v)) => out.lr_factor = Some(value(v)?),
            Some(("decay", v)) => out.weight_decay = Some(value(v)?),
            _ => out.select.push(part.parse().map_err(Usage)?),
        }
    }
    if out.select.is_empty() {
        bail!(Usage(format!("--group {text}: name the parameters first, as --trainable does")));
    }
    Ok(out)
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
