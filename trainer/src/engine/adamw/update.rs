//! Owns the arithmetic of the optimiser on the values where they lie, on the CPU or on CUDA.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use candle_core::{CpuStorage, InplaceOp2, Layout, Storage, Tensor, bail};
use rayon::prelude::*;
use shared::nn::cuda::call::Step;
use shared::nn::values::{values, with_values};

use super::{AdamWSettings, Kind, Moments};

/// Values of a task for a thread.
const CHUNK: usize = 1 << 14;

/// The update of one parameter where it lies, in f32 with the corrections in f64.
pub(super) struct Update<'a> {
    moments: Mutex<&'a mut Moments>,
    step: Step,
}

impl<'a> Update<'a> {
    pub(super) fn new(
        settings: &AdamWSettings,
        moments: &'a mut Moments,
        scale: f32,
        rate: f64,
    ) -> Self {
        moments.steps += 1;
        let steps = f64::from(moments.steps);
        let beta = [settings.beta1, settings.beta2];
        let [correct1, correct2] = beta.map(|beta| 1.0 - beta.powf(steps));
        let decay = if moments.decays {
            settings.weight_decay
        } else {
            0.0
        };
        let (shrink, pull, eps) = match settings.kind {
            Kind::AdamW => ((rate * decay) as f32, 0.0, settings.eps),
            Kind::Adam => (0.0, decay as f32, settings.eps * correct2.sqrt()),
        };
        let step = Step {
            scale,
            pull,
            beta: beta.map(|beta| beta as f32),
            rest: beta.map(|beta| (1.0 - beta) as f32),
            size: (rate * correct2.sqrt() / correct1) as f32,
            eps: eps as f32,
            shrink,
        };
        Self {
            moments: Mutex::new(moments),
            step,
        }
    }
}

/// One step on the CPU. The kernel `adamw` of `shared::nn::cuda` does the same.
pub fn apply(
    step: &Step,
    values: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let (beta, rest) = (step.beta, step.rest);
    let both = first.iter_mut().zip(second);
    for ((value, gradient), (first, second)) in values.iter_mut().zip(gradient).zip(both) {
        let g = gradient * step.scale + step.pull * *value;
        *first = beta[0] * *first + rest[0] * g;
        *second = beta[1] * *second + rest[1] * g * g;
        *value -= step.size * *first / (second.sqrt() + step.eps);
        *value -= step.shrink * *value;
    }
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        own: &mut CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let gradient = values(gradient, gradient_layout)?;
        let (Some((start, end)), CpuStorage::F32(own)) = (layout.contiguous_offsets(), own) else {
            bail!("the optimiser works on contiguous values in f32");
        };
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let Moments { first, second, .. } = &mut **moments;
        let (Storage::Cpu(CpuStorage::F32(first)), Storage::Cpu(CpuStorage::F32(second))) =
            (first, second)
        else {
            bail!("the optimiser's moments lie on another device than the values");
        };
        own[start..end]
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK))
            .zip(second.par_chunks_mut(CHUNK))
            .for_each(|(((own, gradient), first), second)| {
                apply(&self.step, own, gradient, first, second);
            });
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        own: &mut candle_core::CudaStorage,
        layout: &Layout,
        gradient: &candle_core::CudaStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        use candle_core::backend::{BackendDevice, BackendStorage};

        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let Moments { first, second, .. } = &mut **moments;
        // New and restored moments lie on the CPU; from their first step on they are where the values are.
        for moment in [&mut *first, &mut *second] {
            if let Storage::Cpu(cpu) = moment {
                *moment = Storage::Cuda(own.device().storage_from_cpu_storage(cpu)?);
            }
        }
        let (Storage::Cuda(first), Storage::Cuda(second)) = (first, second) else {
            bail!("the optimiser's moments lie on another device than the values");
        };
        let (own, gradient) = ((own, layout), (gradient, gradient_layout));
        shared::nn::cuda::adamw::step(&self.step, own, gradient, [first, second])
    }
}

/// The sum of squares of each gradient, all of which lie on one device: on CUDA with one read from it.
pub(super) fn squares(gradients: &[(&String, Tensor)]) -> Result<Vec<f64>> {
    #[cfg(feature = "cuda")]
    if let Some(candle_core::Device::Cuda(device)) = gradients.first().map(|(_, g)| g.device()) {
        let tensors: Vec<&Tensor> = gradients.iter().map(|(_, gradient)| gradient).collect();
        return shared::nn::cuda::adamw::squares(device, &tensors)
            .context("the squares of the gradients");
    }
    let one = |(name, gradient): &(&String, Tensor)| {
        with_values(gradient, square).with_context(|| format!("gradient of {name}"))
    };
    gradients.par_iter().map(one).collect()
}

/// The sum of squares: one lane of f64 per 8 values is exact enough for a norm, and fast.
fn square(values: &[f32]) -> f64 {
    let chunks = values.chunks(8);
    chunks
        .map(|chunk| f64::from(chunk.iter().map(|x| x * x).sum::<f32>()))
        .sum()
}
