//! Owns what is known of the inputs of a tower's layers, and making them easier to round without changing the model.
//!
//! A layer's inputs come out of a norm, or out of the attention's values, which are linear: to take a constant off an
//! input and divide it changes their weights, and is made good in the weights and bias of the layers that read it. What
//! an input is on average costs no steps then, and no input takes all the steps for itself. This is outlier suppression
//! by shifting and scaling (Wei et al., 2023, arXiv:2304.09145) with scales of our own.

use std::collections::BTreeMap;

use super::moments::Moments;
use crate::error::Result;
use crate::infer::observer::Observer;
use crate::infer::weights::{Values, Weight, Weights};

/// Of the rows that a layer gets at a time, at most so many are looked at: more say little new, and cost more than the
/// tower itself.
const ROWS: usize = 64;
/// No input is scaled by more.
const MOST: f64 = 16.0;

/// The inputs of a tower's layers, by the first of those that share them. An [`Observer`] that collects them.
#[derive(Debug, Default)]
pub struct Inputs(BTreeMap<String, Shared>);

/// Inputs that some layers have in common.
#[derive(Debug)]
pub struct Shared {
    /// The layers, whose weights are `{layer}.weight`.
    pub layers: Vec<String>,
    /// What the inputs are like.
    pub moments: Moments,
    /// How often they were seen.
    times: usize,
    /// What went wrong, if anything did.
    result: Result<()>,
}

impl Observer for Inputs {
    fn see(&mut self, of: &str, layers: &[&str], rows: &[f32], width: usize) {
        let names = match layers {
            [] => vec![of.to_string()],
            layers => layers.iter().map(|layer| format!("{of}.{layer}")).collect(),
        };
        let first = names.first().cloned().unwrap_or_default();
        let shared = self.0.entry(first).or_insert_with(|| Shared {
            layers: names,
            moments: Moments::new(width),
            times: 0,
            result: Ok(()),
        });
        // Every so manieth row, each time from another one on.
        let step = (rows.len() / width).div_ceil(ROWS).max(1);
        let chosen = rows.chunks_exact(width).skip(shared.times % step);
        let chosen: Vec<f32> = chosen.step_by(step).flatten().copied().collect();
        shared.times += 1;
        if shared.result.is_ok() {
            shared.result = shared.moments.add(&chosen);
        }
    }
}

impl Inputs {
    /// Centres and scales the inputs of layers where that changes nothing but the weights, which are those of a folded
    /// model. Call it once, after all posts.
    ///
    /// # Errors
    /// If the tensor library failed while inputs were collected.
    pub fn balance(&mut self, weights: &mut Weights) -> Result<()> {
        for shared in self.0.values_mut() {
            std::mem::replace(&mut shared.result, Ok(()))?;
            shared.moments.flush()?;
        }
        // Prompts that are values themselves do not come out of the layer that makes the others.
        let mut prompts = weights.0.keys().filter(|name| name.starts_with("prompt."));
        let values = !prompts.any(|name| name.contains(".values."));
        let mut readers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for first in self.0.keys() {
            match source(first) {
                Some(source) if values || !source.ends_with(VALUES) => {
                    readers.entry(source).or_default().push(first.clone());
                }
                _ => {}
            }
        }
        for (source, readers) in readers {
            self.fold(weights, &source, &readers);
        }
        Ok(())
    }

    /// Centres and scales what comes out of `source`, which all of `readers` read.
    fn fold(&mut self, weights: &mut Weights, source: &str, readers: &[String]) {
        let shared = || readers.iter().filter_map(|name| self.0.get(name));
        // Of the last block's queries one row is read, of its keys all.
        let Some(most) = shared().max_by_key(|shared| shared.moments.count()) else {
            return;
        };
        let layers: Vec<String> = shared().flat_map(|shared| shared.layers.clone()).collect();
        let biased = |layer: &String| weights.0.contains_key(&format!("{layer}.bias"));
        let scales = scales(&most.moments);
        let shifts = match layers.iter().all(biased) {
            true => most.moments.mean(),
            false => vec![0.0; scales.len()],
        };
        if !fold(weights, source, &layers, &shifts, &scales) {
            return;
        }
        for reader in readers {
            if let Some(shared) = self.0.get_mut(reader) {
                shared.moments.shift_and_scale(&shifts, &scales);
            }
        }
    }

    /// The inputs, each with the layers that share them.
    pub fn into_shared(self) -> Vec<Shared> {
        self.0.into_values().collect()
    }
}

const VALUES: &str = ".self_attn.v_proj";

/// What the inputs of a layer come out of, if that is linear.
fn source(layer: &str) -> Option<String> {
    let sources = [
        (".self_attn.q_proj", ".layer_norm1"),
        (".self_attn.k_proj", ".layer_norm1"),
        (".self_attn.out_proj", VALUES),
        (".mlp.fc1", ".layer_norm2"),
    ];
    match layer {
        "visual_projection" => Some("vision_model.post_layernorm".into()),
        "text_projection" => Some("text_model.final_layer_norm".into()),
        _ => sources.iter().find_map(|(end, source)| {
            let block = layer.strip_suffix(end)?;
            Some(format!("{block}{source}"))
        }),
    }
}

/// What inputs are divided by: the root of how far each strays, so that half of it is left to the weights.
fn scales(moments: &Moments) -> Vec<f64> {
    let width = moments.width();
    let spread = moments.spread(true);
    let strays: Vec<f64> = (0..width)
        .map(|i| spread[i * width + i].max(0.0).sqrt())
        .collect();
    let mean = strays.iter().sum::<f64>() / width.max(1) as f64;
    let scale = |stray: &f64| (stray / mean).sqrt().clamp(1.0 / MOST, MOST);
    if mean > 0.0 {
        strays.iter().map(scale).collect()
    } else {
        vec![1.0; width]
    }
}

/// Takes `shifts` off what comes out of `source` and divides it by `scales`, and makes it good in `layers`, which read
/// it. False, and nothing has changed, if the weights are not there or of other sizes.
fn fold(
    weights: &mut Weights,
    source: &str,
    layers: &[String],
    shifts: &[f64],
    scales: &[f64],
) -> bool {
    let width = scales.len();
    let mut changed = Weights::default();
    let mut take = |name: String, change: &dyn Fn(&mut [f32])| -> bool {
        let Some(mut weight) = weights.0.get(&name).cloned() else {
            return false;
        };
        let Some(values) = weight.floats_mut() else {
            return false;
        };
        change(values);
        changed.0.insert(name, weight);
        true
    };
    // A norm has one weight for each output, a layer a row of them.
    let mut fits = take(format!("{source}.weight"), &|values| {
        let rows = values.chunks_exact_mut((values.len() / width).max(1));
        rows.zip(scales).for_each(|(row, scale)| {
            row.iter_mut()
                .for_each(|w| *w = (f64::from(*w) / scale) as f32);
        });
    });
    fits &= take(format!("{source}.bias"), &|values| {
        for ((b, shift), scale) in values.iter_mut().zip(shifts).zip(scales) {
            *b = ((f64::from(*b) - shift) / scale) as f32;
        }
    });
    for layer in layers {
        let name = format!("{layer}.weight");
        let before = weights.0.get(&name).map(Weight::floats).unwrap_or_default();
        fits &= before.len().is_multiple_of(width) && !before.is_empty();
        if shifts.iter().any(|shift| *shift != 0.0) {
            fits &= take(format!("{layer}.bias"), &|values| {
                for (b, row) in values.iter_mut().zip(before.chunks_exact(width)) {
                    let shift = row
                        .iter()
                        .zip(shifts)
                        .map(|(w, shift)| f64::from(*w) * shift);
                    *b = (f64::from(*b) + shift.sum::<f64>()) as f32;
                }
            });
        }
        fits &= take(name, &|values| {
            for row in values.chunks_exact_mut(width) {
                let row = row.iter_mut().zip(scales);
                row.for_each(|(w, scale)| *w = (f64::from(*w) * scale) as f32);
            }
        });
    }
    if fits {
        weights.0.extend(changed.0);
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{normal, stream};

    const WIDTH: usize = 6;

    fn weight(name: &str, shape: &[usize]) -> (String, Weight) {
        let device = candle_core::Device::Cpu;
        let values = normal(&mut stream(2, name), shape, 1.0, &device).unwrap();
        let values = Values::Float(values.flatten_all().unwrap().to_vec1().unwrap());
        let shape = shape.to_vec();
        (name.into(), Weight::new(shape, values))
    }

    /// `w x + b`, or for a norm `w * x + b`.
    fn through(weights: &Weights, layer: &str, x: &[f64]) -> Vec<f64> {
        let [w, b] = ["weight", "bias"].map(|what| weights.0[&format!("{layer}.{what}")].floats());
        let row = w.len() / b.len();
        let outputs = w.chunks_exact(row).enumerate().map(|(i, row)| {
            let x = if row.len() == 1 { &x[i..=i] } else { x };
            let products = row.iter().zip(x).map(|(w, x)| f64::from(*w) * x);
            products.sum::<f64>() + f64::from(b[i])
        });
        outputs.collect()
    }

    #[test]
    fn folding_changes_what_is_between_layers_and_not_what_comes_out() {
        for (source, shape, readers) in [
            (
                "b.layer_norm1",
                &[WIDTH][..],
                &["b.self_attn.q_proj", "b.self_attn.k_proj"][..],
            ),
            (
                "b.self_attn.v_proj",
                &[WIDTH, WIDTH],
                &["b.self_attn.out_proj"],
            ),
            ("b.layer_norm2", &[WIDTH], &["b.mlp.fc1"]),
        ] {
            let mut weights = Weights::default();
            let mut add = |layer: &str, shape: &[usize], outputs: usize| {
                weights
                    .0
                    .extend([weight(&format!("{layer}.weight"), shape)]);
                weights
                    .0
                    .extend([weight(&format!("{layer}.bias"), &[outputs])]);
            };
            add(source, shape, WIDTH);
            readers
                .iter()
                .for_each(|reader| add(reader, &[4, WIDTH], 4));
            let before = weights.clone();
            let posts: Vec<Vec<f64>> = (0..40)
                .map(|post: usize| {
                    (0..WIDTH)
                        .map(|i| ((post * 7 + i * 3) % 11) as f64 * (i + 1) as f64)
                        .collect()
                })
                .collect();
            let mut inputs = Inputs::default();
            for (turn, post) in posts.iter().enumerate() {
                let x: Vec<f32> = through(&weights, source, post)
                    .iter()
                    .map(|x| *x as f32)
                    .collect();
                // Queries of one post in ten, as in a last block.
                for reader in readers
                    .iter()
                    .filter(|of| !of.contains("q_proj") || turn % 10 == 0)
                {
                    inputs.see("b", &[reader.strip_prefix("b.").unwrap()], &x, WIDTH);
                }
            }
            inputs.balance(&mut weights).unwrap();
            for post in &posts {
                let [old, new] = [&before, &weights].map(|weights| through(weights, source, post));
                assert!(old.iter().zip(&new).any(|(a, b)| (a - b).abs() > 0.1));
                for reader in readers {
                    let old = through(&before, reader, &old);
                    let new = through(&weights, reader, &new);
                    for (a, b) in old.iter().zip(&new) {
                        assert!((a - b).abs() < 1e-3, "{reader}: {a} {b}");
                    }
                }
            }
            // What is said of the inputs is what they are now.
            let all: Vec<Vec<f64>> = posts
                .iter()
                .map(|post| through(&weights, source, post))
                .collect();
            let last = &inputs.0[*readers.last().unwrap()].moments;
            let spread = last.spread(false);
            for i in 0..WIDTH {
                assert!(last.mean()[i].abs() < 1e-4);
                for j in 0..WIDTH {
                    let mean = all.iter().map(|x| x[i] * x[j]).sum::<f64>() / 40.0;
                    let found = spread[i * WIDTH + j];
                    assert!(
                        (found - mean).abs() < 1e-3 * (1.0 + mean.abs()),
                        "{found} {mean}"
                    );
                }
            }
        }
    }

    #[test]
    fn layers_after_what_is_not_linear_stay() {
        let mut weights = Weights::default();
        weights.0.extend([
            weight("b.mlp.fc2.weight", &[4, WIDTH]),
            weight("b.mlp.fc2.bias", &[4]),
        ]);
        let before = weights.clone();
        let mut inputs = Inputs::default();
        inputs.see("b", &["mlp.fc2"], &[1.0; 3 * WIDTH], WIDTH);
        inputs.balance(&mut weights).unwrap();
        assert_eq!(weights, before);
        assert_eq!(inputs.into_shared()[0].moments.count(), 3);
    }

    #[test]
    fn values_that_are_prompts_keep_the_others_as_they_are() {
        let mut weights = Weights::default();
        for layer in ["b.self_attn.v_proj", "b.self_attn.out_proj"] {
            weights
                .0
                .extend([weight(&format!("{layer}.weight"), &[WIDTH, WIDTH])]);
            weights
                .0
                .extend([weight(&format!("{layer}.bias"), &[WIDTH])]);
        }
        weights
            .0
            .extend([weight("prompt.complete.image.values.0", &[2, WIDTH])]);
        let before = weights.clone();
        let mut inputs = Inputs::default();
        inputs.see(
            "b",
            &["self_attn.out_proj"],
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            WIDTH,
        );
        inputs.balance(&mut weights).unwrap();
        assert_eq!(weights, before);
    }

    #[test]
    fn of_many_rows_some_are_looked_at() {
        let mut inputs = Inputs::default();
        for _ in 0..2 {
            inputs.see("b", &["mlp.fc1"], &[1.0; 3 * 150], 3);
        }
        assert_eq!(inputs.into_shared()[0].moments.count(), 100);
    }
}
