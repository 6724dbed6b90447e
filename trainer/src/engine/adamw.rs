//! Owns the optimiser: AdamW, or Adam, with named moments that are saved and restored with the checkpoint.

mod update;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Device, Storage, Tensor};
use serde::{Deserialize, Serialize};
use shared::nn::Tensors;

use super::parameters::Parameters;
use update::{Update, squares};

pub use update::apply;

/// Where the weight decay acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// On the value, after the update (decoupled): what the code of MAP and DCP does.
    #[default]
    AdamW,
    /// On the gradient, before the moments (L2): what the papers' word "Adam" means. Adaptive steps hardly tell how
    /// large a gradient is, so the same decay pulls small gradients' parameters to 0 much harder.
    Adam,
}

impl Kind {
    /// For serde: left out of a file when it is the default, so that older runs and cells stay what they are.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The settings of AdamW; the defaults are those of DCP's recipe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWSettings {
    /// `adamw` or `adam`.
    #[serde(skip_serializing_if = "Kind::is_default")]
    pub kind: Kind,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment: before its bias correction for AdamW, after it for Adam.
    pub eps: f64,
    /// Weight decay, decoupled or in the gradient.
    pub weight_decay: f64,
    /// If given, gradients are scaled down so that their global norm is at most this.
    pub clip_norm: Option<f64>,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self {
            kind: Kind::AdamW,
            beta1: 0.9,
            beta2: 0.98,
            eps: 1e-8,
            weight_decay: 0.02,
            clip_norm: None,
        }
    }
}

/// A gradient has infinities or no numbers in it.
#[derive(Debug, thiserror::Error)]
#[error("the gradient of {0} is not finite; lower the learning rate or set a clip_norm")]
pub struct NotFinite(String);

/// The moments of one parameter, on the CPU or, from the first step on, where the parameter is.
struct Moments {
    decays: bool,
    steps: u32,
    /// Values of each.
    size: usize,
    first: Storage,
    second: Storage,
}

/// Moments on the CPU.
fn on_cpu(values: Vec<f32>) -> Storage {
    Storage::Cpu(CpuStorage::F32(values))
}

/// Moments as a tensor on the CPU.
fn to_cpu(moments: &Storage) -> Result<Tensor> {
    let copied;
    let values = match moments {
        Storage::Cpu(values) => values.as_slice::<f32>()?,
        Storage::Cuda(values) => {
            copied = values.to_cpu_storage()?;
            copied.as_slice::<f32>()?
        }
        _ => bail!("the optimiser works on the CPU and on CUDA"),
    };
    Ok(Tensor::from_slice(values, values.len(), &Device::Cpu)?)
}

/// AdamW as Hugging Face transformers 4.2.1 computes it: bias-corrected, and the decay is applied after the update,
/// with the new value: `p -= rate * weight_decay * p`. With [`Kind::Adam`] it is Adam as PyTorch computes it:
/// `weight_decay * p` is added to the gradient, after clipping.
///
/// A parameter without a gradient in a step is skipped, its moments and its own step count too.
pub struct AdamW {
    settings: AdamWSettings,
    moments: BTreeMap<String, Moments>,
}

impl AdamW {
    /// Zero moments for each parameter; `decays` says by name which are decayed.
    pub fn new(
        parameters: &Parameters,
        settings: AdamWSettings,
        decays: impl Fn(&str) -> bool,
    ) -> Self {
        let moments = parameters
            .iter()
            .map(|(name, variable)| {
                let size = variable.elem_count();
                let zeros = vec![0.0; size];
                let moments = Moments {
                    decays: decays(name),
                    steps: 0,
                    size,
                    first: on_cpu(zeros.clone()),
                    second: on_cpu(zeros),
                };
                (name.to_owned(), moments)
            })
            .collect();
        Self { settings, moments }
    }

    /// One step with the given gradients; returns their global norm before clipping.
    ///
    /// # Errors
    /// If a gradient is not finite (nothing has been changed then), belongs to no parameter or has another size.
    pub fn step(&mut self, parameters: &Parameters, gradients: &Tensors, rate: f64) -> Result<f64> {
        let mut flat = Vec::with_capacity(gradients.len());
        for (name, gradient) in gradients {
            let Some(variable) = parameters.get(name) else {
                bail!("there is a gradient for {name}, but no such parameter");
            };
            let (given, own) = (gradient.elem_count(), variable.elem_count());
            if given != own {
                bail!("the gradient of {name} has {given} values, the parameter {own}");
            }
            flat.push((name, gradient.to_device(variable.device())?.contiguous()?));
        }
        let squares = squares(&flat)?;
        if let Some(place) = squares.iter().position(|square| !square.is_finite()) {
            return Err(NotFinite(flat[place].0.clone()).into());
        }
        let norm = squares.iter().sum::<f64>().sqrt();
        let scale = match self.settings.clip_norm {
            Some(most) if norm > most => (most / (norm + 1e-6)) as f32,
            _ => 1.0,
        };
        for (name, gradient) in flat {
            let (Some(variable), Some(moments)) =
                (parameters.get(name), self.moments.get_mut(name))
            else {
                bail!("there is a gradient for {name}, but no such parameter");
            };
            let update = Update::new(&self.settings, moments, scale, rate);
            variable
                .inplace_op2(&gradient, &update)
                .with_context(|| format!("parameter {name}"))?;
        }
        Ok(norm)
    }

    /// The moments and step counts as tensors, for the checkpoint: `first.NAME`, `second.NAME`, `steps.NAME`.
    ///
    /// # Errors
    /// If a tensor cannot be made.
    pub fn state(&self) -> Result<Tensors> {
        let mut state = Tensors::new();
        for (name, moments) in &self.moments {
            for (kind, values) in [("first", &moments.first), ("second", &moments.second)] {
                state.insert(format!("{kind}.{name}"), to_cpu(values)?);
            }
            state.insert(
                format!("steps.{name}"),
                Tensor::new(&[moments.steps], &Device::Cpu)?,
            );
        }
        Ok(state)
    }

    /// Takes over a state that [`AdamW::state`] gave.
    ///
    /// # Errors
    /// If a tensor is missing or has another size: the checkpoint belongs to another configuration.
    pub fn restore(&mut self, state: &Tensors) -> Result<()> {
        let find = |name: String| {
            state
                .get(&name)
                .with_context(|| format!("the checkpoint lacks the optimiser's tensor {name}"))
        };
        for (name, moments) in &mut self.moments {
            for (kind, values) in [
                ("first", &mut moments.first),
                ("second", &mut moments.second),
            ] {
                let found = find(format!("{kind}.{name}"))?.flatten_all()?.to_vec1()?;
                if found.len() != moments.size {
                    bail!(
                        "the optimiser's tensor {kind}.{name} has {} values, not {}",
                        found.len(),
                        moments.size
                    );
                }
                *values = on_cpu(found);
            }
            let steps = find(format!("steps.{name}"))?.to_vec1::<u32>()?;
            moments.steps = *steps
                .first()
                .with_context(|| format!("the optimiser's steps.{name} is empty"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_parameter(name: &str) -> Parameters {
        let one = Tensor::new(&[1f32], &Device::Cpu).unwrap();
        Parameters::from_tensors(Tensors::from([(name.to_owned(), one)])).unwrap()
    }

    fn gradient(name: &str, value: f32) -> Tensors {
        Tensors::from([(
            name.to_owned(),
            Tensor::new(&[value], &Device::Cpu).unwrap(),
        )])
    }

    fn value(parameters: &Parameters, name: &str) -> f64 {
        f64::from(parameters.get(name).unwrap().to_vec1::<f32>().unwrap()[0])
    }

    #[test]
    fn golden_numbers() {
        let parameters = one_parameter("p");
        let mut optimiser = AdamW::new(&parameters, AdamWSettings::default(), |_| true);
        optimiser
            .step(&parameters, &gradient("p", 0.5), 0.01)
            .unwrap();
        assert!((value(&parameters, "p") - 0.989_802_001_413_930_6).abs() < 1e-6);

        // The second step from a restored state.
        let state = optimiser.state().unwrap();
        let mut restored = AdamW::new(&parameters, AdamWSettings::default(), |_| true);
        restored.restore(&state).unwrap();
        restored
            .step(&parameters, &gradient("p", -0.2), 0.01)
            .unwrap();
        assert!((value(&parameters, "p") - 0.986_136_595_481_580_4).abs() < 1e-6);
    }

    /// Three steps of `torch.optim.Adam(lr=0.01, betas=(0.9, 0.98), weight_decay=0.02)` on 1.0, in double precision.
    #[test]
    fn adam_is_pytorchs() {
        let settings: AdamWSettings = toml::from_str("kind = \"adam\"").unwrap();
        let parameters = one_parameter("p");
        let mut optimiser = AdamW::new(&parameters, settings, |_| true);
        for (given, expected) in [
            (0.5, 0.990_000_000_192_307_7),
            (-0.2, 0.986_092_018_355_448_4),
            (0.001, 0.982_816_036_870_412),
        ] {
            optimiser
                .step(&parameters, &gradient("p", given), 0.01)
                .unwrap();
            assert!((value(&parameters, "p") - expected).abs() < 1e-6);
        }
    }

    /// What is not decayed by name has no pull in its gradient either: without a gradient to speak of, it stays.
    #[test]
    fn adam_leaves_what_is_not_decayed() {
        let settings = AdamWSettings {
            kind: Kind::Adam,
            ..Default::default()
        };
        for (decays, expected) in [(true, 0.99), (false, 1.0)] {
            let parameters = one_parameter("p");
            let mut optimiser = AdamW::new(&parameters, settings, |_| decays);
            optimiser
                .step(&parameters, &gradient("p", 0.0), 0.01)
                .unwrap();
            assert!((value(&parameters, "p") - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn the_default_kind_is_not_written() {
        let text = toml::to_string(&AdamWSettings::default()).unwrap();
        assert!(!text.contains("kind"), "{text}");
        let adam = AdamWSettings {
            kind: Kind::Adam,
            ..Default::default()
        };
        let text = toml::to_string(&adam).unwrap();
        assert_eq!(toml::from_str::<AdamWSettings>(&text).unwrap(), adam);
    }

    #[test]
    fn names_decide_decay_and_the_norm_is_clipped() {
        let parameters = one_parameter("a.bias");
        let settings = AdamWSettings {
            clip_norm: Some(1e-9),
            ..Default::default()
        };
        let mut optimiser = AdamW::new(&parameters, settings, |name| !name.contains("bias"));
        let norm = optimiser
            .step(&parameters, &gradient("a.bias", 3.0), 0.01)
            .unwrap();
        assert!((norm - 3.0).abs() < 1e-6);
        // A gradient clipped far below eps hardly moves the value, and nothing decays it.
        assert!((value(&parameters, "a.bias") - 1.0).abs() < 1e-3);
        assert!(value(&parameters, "a.bias") > 0.999);
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let parameters = one_parameter("p");
        let mut optimiser = AdamW::new(&parameters, AdamWSettings::default(), |_| true);
        let error = optimiser
            .step(&parameters, &gradient("p", f32::NAN), 0.01)
            .unwrap_err();
        assert!(error.to_string().contains("gradient of p is not finite"));
        assert_eq!(value(&parameters, "p"), 1.0);
    }
}
