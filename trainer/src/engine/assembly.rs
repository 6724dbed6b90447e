//! Owns putting a trainable model together: the frozen CLIP, and beside it what is trained and what is saved.

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use sha2::{Digest, Sha256};
use shared::config::ModelConfig;
use shared::head;
use shared::model::{self, Model};
use shared::nn::Tensors;

use super::group::Group;
use super::parameters::Parameters;
use super::precision::Precision;

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
        Self::fresh_in(
            config,
            clip,
            train_norms_and_projection,
            seed,
            Precision::F32,
            device,
        )
    }

    /// As [`Assembly::fresh`], with towers that compute in a precision of their own.
    ///
    /// # Errors
    /// As [`Assembly::fresh`].
    pub fn fresh_in(
        config: &ModelConfig,
        clip: &Tensors,
        train_norms_and_projection: bool,
        seed: u64,
        precision: Precision,
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
        let vb = parameters.var_builder(&frozen, device);
        let model = Model::load_in(config, vb, precision.dtype())?;
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

    /// Takes over the leading process's values, trained or not: what was drawn or measured there holds for all.
    ///
    /// # Errors
    /// If another process is gone.
    pub fn follow(&self, group: &Group) -> Result<()> {
        if group.size() == 1 {
            return Ok(());
        }
        for part in [&self.parameters, &self.kept] {
            for (name, variable) in part.iter() {
                let values = group.leading(&variable.as_detached_tensor().flatten_all()?)?;
                part.set(name, &values.reshape(variable.shape())?)?;
            }
        }
        Ok(())
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
    let measured = head::tensors(&config.head).measured();
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

#[cfg(test)]
mod tests {
    use shared::config::{
        ClipConfig, DcpConfig, DplPlusConfig, HeadConfig, PromptConfig, Task, TextConfig,
        VisionConfig,
    };
    use shared::head::Features;
    use shared::{Case, clip, rng};

    use super::*;

    const WIDTH: usize = 4;

    fn config() -> ModelConfig {
        let vision_config = VisionConfig {
            hidden_size: 8,
            intermediate_size: 8,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            image_size: 8,
            patch_size: 8,
            ..VisionConfig::default()
        };
        let text_config = TextConfig {
            hidden_size: 8,
            intermediate_size: 8,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            vocab_size: 10,
            max_position_embeddings: 4,
            ..TextConfig::default()
        };
        ModelConfig {
            clip: ClipConfig {
                projection_dim: WIDTH,
                vision_config,
                text_config,
                ..ClipConfig::default()
            },
            prompt: PromptConfig::Dcp(DcpConfig {
                length: 3,
                depth: 1,
                reduction: 2,
                train_queries: false,
            }),
            head: HeadConfig::DplPlus(DplPlusConfig {
                centre: true,
                ..DplPlusConfig::default()
            }),
            task: Task::MultiClass,
            classes: ["a", "b"].map(String::from).to_vec(),
        }
    }

    fn fresh(seed: u64) -> Assembly {
        let clip = clip::initialise(&config().clip, &mut rng::stream(0, "clip"), &Device::Cpu);
        Assembly::fresh(&config(), &clip.unwrap(), true, seed, &Device::Cpu).unwrap()
    }

    fn scores(assembly: &Assembly) -> Vec<Vec<f32>> {
        let image = rng::normal(&mut rng::stream(0, "image"), &[3, WIDTH], 1.0, &Device::Cpu);
        let features = Features {
            case: Case::TextMissing,
            image: Some(image.unwrap()),
            text: None,
        };
        let scores = assembly.model.head().scores(&features).unwrap();
        scores.to_vec2().unwrap()
    }

    #[test]
    fn constants_are_seen_saved_and_restored_but_another_seed_is_refused() {
        let name = "head.centre.image";
        let (first, second) = (fresh(1), fresh(1));
        assert!(!first.parameters.iter().any(|(own, _)| own == name));
        assert_eq!(scores(&first), scores(&second));
        let centre = Tensor::new(&[0.5f32, -1.0, 2.0, 0.0], &Device::Cpu).unwrap();
        first.set(name, &centre).unwrap();
        assert_ne!(scores(&first), scores(&second));
        let saved = first.saved().unwrap();
        assert_eq!(saved[name].to_vec1::<f32>().unwrap(), [0.5, -1.0, 2.0, 0.0]);
        second.restore(&saved).unwrap();
        assert_eq!(scores(&first), scores(&second));
        assert!(second.set("head.centre.sound", &centre).is_err());

        let error = fresh(2).restore(&saved).unwrap_err().to_string();
        assert!(error.contains("the seed was changed"), "{error}");
        let mut less = saved;
        less.remove(name);
        let error = second.restore(&less).unwrap_err().to_string();
        assert!(
            error.contains("lacks the parameter head.centre.image"),
            "{error}"
        );
    }
}
