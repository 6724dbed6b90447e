//! Owns putting a trainable model together: the frozen CLIP, and beside it what is trained and what is saved.

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use sha2::{Digest, Sha256};
use shared::config::ModelConfig;
use shared::head;
use shared::model::{self, Model};
use shared::nn::Tensors;

use super::parameters::Parameters;

/// A model whose trained tensors can be changed in place.
pub struct Assembly {
    /// The model; it sees every change of the parameters.
    pub model: Model,
    /// What is trained.
    pub parameters: Parameters,
    /// Tensors that are not trained but belong to the model: untrained dynamic queries, measured constants.
    kept: Parameters,
    /// Those of them that are measured on the training posts.
    measured: Vec<String>,
    /// The SHA-256 over the names and values of the CLIP's tensors.
    pub clip_sha256: String,
}

impl Assembly {
    /// A fresh model on this CLIP; prompts and head are drawn from `seed`.
    ///
    /// # Errors
    /// If the configuration is impossible, or the CLIP lacks a tensor.
    pub fn fresh(
        config: &ModelConfig,
        clip: &Tensors,
        train_norms_and_projection: bool,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let mut own = model::initialise(config, seed, device)?;
        let mut trained = Tensors::new();
        for name in model::trainable_names(config, train_norms_and_projection) {
            let tensor = own.remove(&name).or_else(|| clip.get(&name).cloned());
            let tensor = tensor.with_context(|| format!("the CLIP lacks the tensor {name}"))?;
            trained.insert(name, tensor);
        }
        let parameters = Parameters::from_tensors(trained)?;
        let kept = Parameters::from_tensors(own)?;
        let mut frozen = clip.clone();
        frozen.extend(kept.views());
        let model = Model::load(config, parameters.var_builder(&frozen, device))?;
        Ok(Self {
            model,
            parameters,
            kept,
            measured: constants(config),
            clip_sha256: sha256(clip)?,
        })
    }

    /// A model for inference from all its tensors.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn trained(config: &ModelConfig, tensors: &Tensors, device: &Device) -> Result<Model> {
        Ok(Model::load(
            config,
            shared::nn::var_builder(tensors, device),
        )?)
    }

    /// What a checkpoint holds: the trained tensors and the kept ones.
    ///
    /// # Errors
    /// If a tensor cannot be copied.
    pub fn saved(&self) -> Result<Tensors> {
        let mut tensors = self.parameters.tensors()?;
        tensors.append(&mut self.kept.tensors()?);
        Ok(tensors)
    }

    /// Overwrites one tensor's values, trained or not; the model sees it.
    ///
    /// # Errors
    /// If there is no such tensor, or the shapes differ.
    pub fn set(&self, name: &str, value: &Tensor) -> Result<()> {
        match self.kept.get(name) {
            Some(_) => self.kept.set(name, value),
            None => self.parameters.set(name, value),
        }
    }

    /// Takes over what [`Assembly::saved`] gave. The kept tensors that are drawn from the seed must be the same.
    ///
    /// # Errors
    /// If a name is missing or unknown, a shape differs, or a kept tensor is another one.
    pub fn restore(&self, saved: &Tensors) -> Result<()> {
        let (kept, trained): (Tensors, Tensors) = saved
            .clone()
            .into_iter()
            .partition(|(name, _)| self.kept.get(name).is_some());
        let drawn = |mut tensors: Tensors| {
            tensors.retain(|name, _| !self.measured.contains(name));
            sha256(&tensors)
        };
        if drawn(kept.clone())? != drawn(self.kept.tensors()?)? {
            bail!(
                "the checkpoint's untrained prompt tensors are not those of train.seed: the seed was changed"
            );
        }
        self.kept.restore(&kept)?;
        self.parameters.restore(&trained)
    }
}

/// The names of the constants that the head has measured on the training posts.
fn constants(config: &ModelConfig) -> Vec<String> {
    let measured = head::plan(&config.head).measured();
    let constants = measured.into_iter().filter(|(_, of)| !of.is_start());
    constants.map(|(name, _)| name).collect()
}

/// The SHA-256 over names, shapes and f32 values, in the order of the names.
///
/// # Errors
/// If a tensor cannot be read.
pub fn sha256(tensors: &Tensors) -> Result<String> {
    let mut hash = Sha256::new();
    for (name, tensor) in tensors {
        hash.update(format!("{name} {:?}\n", tensor.dims()));
        for value in flat(tensor)? {
            hash.update(value.to_le_bytes());
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}
