//! Owns the arithmetic of the optimiser on the values where they lie.

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, InplaceOp2, Layout, Storage, Tensor};
use rayon::prelude::*;

use super::{AdamWSettings, Kind, Moments};

/// Values of a task for a thread.
const CHUNK: usize = 1 << 14;

/// The update of one parameter where it lies, in f32 with the corrections in f64.
pub(super) struct Update<'a> {
    moments: Mutex<&'a mut Moments>,
    scale: f32,
    size: f32,
    shrink: f32,
    pull: f32,
    eps: f32,
    /// Of both moments: what stays and what is new.
    beta: [f32; 2],
    rest: [f32; 2],
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
        Self {
            moments: Mutex::new(moments),
            scale,
            size: (rate * correct2.sqrt() / correct1) as f32,
            shrink,
            pull,
            eps: eps as f32,
            beta: beta.map(|beta| beta as f32),
            rest: beta.map(|beta| (1.0 - beta) as f32),
        }
    }

    fn apply(&self, values: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let (beta, rest) = (self.beta, self.rest);
        let both = first.iter_mut().zip(second);
        for ((value, gradient), (first, second)) in values.iter_mut().zip(gradient).zip(both) {
            let g = gradient * self.scale + self.pull * *value;
            *first = beta[0] * *first + rest[0] * g;
            *second = beta[1] * *second + rest[1] * g * g;
            *value -= self.size * *first / (second.sqrt() + self.eps);
            *value -= self.shrink * *value;
        }
    }
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        values: &mut CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let gradient = slice(gradient, gradient_layout)?;
        let (Some((start, end)), CpuStorage::F32(values)) = (layout.contiguous_offsets(), values)
        else {
            candle_core::bail!("the optimiser works on contiguous values in f32");
        };
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let Moments { first, second, .. } = &mut **moments;
        values[start..end]
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK))
            .zip(second.par_chunks_mut(CHUNK))
            .for_each(|(((values, gradient), first), second)| {
                self.apply(values, gradient, first, second);
            });
        Ok(())
    }
}

/// The sum of squares: one lane of f64 per 8 values is exact enough for a norm, and fast.
pub(super) fn square(values: &[f32]) -> f64 {
    let chunks = values.chunks(8);
    chunks
        .map(|chunk| f64::from(chunk.iter().map(|x| x * x).sum::<f32>()))
        .sum()
}

/// The values of a contiguous storage in f32.
fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(all), Some((start, end))) => Ok(&all[start..end]),
        (other, _) => candle_core::bail!(
            "the optimiser works on contiguous values in f32, not {:?}",
            other.dtype()
        ),
    }
}

/// Calls `f` with a contiguous tensor's values.
pub(super) fn with_values<T>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(f(slice(storage, layout)?)),
        _ => bail!("the optimiser works on the CPU"),
    }
}
