//! Owns one step's passes through the model, forward and backward. Nothing here waits for the device: what the host wants
//! to know is read when the passes of a step are all under way.

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use shared::model::Model;
use shared::nn::Tensors;

use super::ahead::Piece;
use super::evaluate::{self, Logits};
use super::group::Group;
use super::parameters::{Parameters, accumulate};
use super::source::Sample;
use crate::loss::{Loss, Objective};
use crate::metrics::Predictions;

/// What a step's passes leave behind.
#[derive(Default)]
pub struct Pass {
    /// The sum of all batches' gradients, by the parameters' names.
    pub gradients: Tensors,
    /// Of each batch: the loss, and the contrast between prototypes if there is one. Scalars on the device.
    losses: Vec<[Option<Tensor>; 2]>,
    /// What was said about this process's posts.
    said: Vec<(Sample, Logits)>,
}

/// The names of a batch's figures.
const FIGURES: [&str; 2] = ["loss", "contrast"];

impl Pass {
    /// Adds this process's piece of one of `batches`; nothing if the batch has no post for it. The loss's gradient counts
    /// `factor` times, and as much as the piece is of all batches.
    ///
    /// # Errors
    /// If the posts do not fit the model.
    pub fn add(
        &mut self,
        piece: Option<Piece>,
        (model, objective, parameters): (&Model, &Objective, &Parameters),
        progress: f64,
        (factor, batches): (f64, usize),
        device: &Device,
    ) -> Result<()> {
        let Some(Piece { sample, share }) = piece else {
            self.losses.push([None, None]);
            return Ok(());
        };
        let targets = sample.targets(model.config().classes.len(), device)?;
        let outputs = sample.batch.forward(model)?;
        let Loss {
            total, contrast, ..
        } = objective.loss(model.head(), &outputs, &targets, progress)?;
        let own = |loss: Tensor| loss.detach().affine(share, 0.0);
        self.losses
            .push([Some(own(total.clone())?), contrast.map(own).transpose()?]);
        let store = ((total * (share * factor))? / batches as f64)?.backward()?;
        accumulate(&mut self.gradients, parameters.gradients(&store))?;
        let logits = evaluate::logits(model, &outputs)?;
        self.said.push((sample, logits));
        Ok(())
    }

    /// Replaces this process's part of losses and gradients by the sum over all processes, where there are
    /// several; returns whether any of them is to `stop`. A parameter takes part in the step if it does in any process.
    ///
    /// # Errors
    /// If another process is gone.
    pub fn exchange(
        &mut self,
        group: &Group,
        parameters: &Parameters,
        stop: &dyn Fn() -> bool,
        device: &Device,
    ) -> Result<bool> {
        if group.size() == 1 {
            return Ok(false);
        }
        let number = |value: bool| Tensor::new(&[f32::from(u8::from(value))], device);
        let zero = Tensor::zeros(1, DType::F32, device)?;
        let mut flat = vec![number(stop())?];
        for part in self.losses.iter().flatten() {
            flat.push(match part {
                Some(part) => part.reshape(1)?,
                None => zero.clone(),
            });
        }
        for (name, _) in parameters.iter() {
            flat.push(number(self.gradients.contains_key(name))?);
        }
        let said = flat.len();
        for (name, variable) in parameters.iter() {
            flat.push(match self.gradients.get(name) {
                Some(gradient) => gradient.flatten_all()?,
                None => Tensor::zeros(variable.elem_count(), DType::F32, device)?,
            });
        }
        let sum = group.sum(&Tensor::cat(&flat, 0)?)?;
        let said_by_all = sum.narrow(0, 0, said)?.to_vec1::<f32>()?;
        let figures = self.losses.len() * FIGURES.len();
        let present = &said_by_all[1 + figures..];
        for (place, part) in self.losses.iter_mut().flatten().enumerate() {
            if part.is_some() || said_by_all[1 + place] != 0.0 {
                *part = Some(sum.get(1 + place)?);
            }
        }
        let mut start = said;
        for ((name, variable), &present) in parameters.iter().zip(present) {
            let count = variable.elem_count();
            if present > 0.0 {
                let gradient = sum.narrow(0, start, count)?.reshape(variable.shape())?;
                self.gradients.insert(name.to_owned(), gradient);
            }
            start += count;
        }
        Ok(said_by_all[0] > 0.0)
    }

    /// Reads the mean loss and its parts; waits for the passes to be done. `batches` is what a whole step has: the
    /// incomplete rest of an epoch is divided by it too.
    ///
    /// # Errors
    /// If a loss is not finite.
    pub fn figures(&self, batches: usize) -> Result<Vec<(&'static str, f64)>> {
        let mut figures = Vec::new();
        for (place, name) in FIGURES.into_iter().enumerate() {
            let parts: Vec<&Tensor> = self
                .losses
                .iter()
                .filter_map(|l| l[place].as_ref())
                .collect();
            if parts.is_empty() {
                continue;
            }
            let parts = Tensor::stack(&parts, 0)?.flatten_all()?.to_vec1::<f32>()?;
            if name == "loss" && parts.iter().any(|part| !part.is_finite()) {
                bail!("the loss is not finite; try a lower train.rate");
            }
            let mean: f64 = parts
                .iter()
                .map(|&part| f64::from(part) / batches as f64)
                .sum();
            figures.push((name, mean));
        }
        Ok(figures)
    }

    /// What was said about this process's posts, with their answers.
    ///
    /// # Errors
    /// If the device fails.
    pub fn predictions(self) -> Result<Predictions> {
        let mut all = Predictions::default();
        for (sample, logits) in self.said {
            evaluate::append(&mut all, &logits, &sample)?;
        }
        Ok(all)
    }
}
