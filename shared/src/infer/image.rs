//! Owns the image tower on packed weights.

use kernels::norm::Norm;
use kernels::product::{Finish, Matrix};

use super::block::norm;
use super::observer::Observer;
use super::prompts::Prompts;
use super::tower::{Encoder, Memory, Names};
use super::weights::Weights;
use crate::config::ClipConfig;
use crate::error::{Error, Result};
use crate::nn::block::BlockShape;

/// What the layer of the patches is called.
const PATCHES: &str = "vision_model.embeddings.patch_embedding";

/// The image tower: as `clip::vision::VisionTower`, for one picture at a time.
pub(super) struct ImageTower {
    side: usize,
    patch: usize,
    /// The class token with its position.
    class: Vec<f32>,
    /// Of the patches.
    positions: Vec<f32>,
    patches: Matrix,
    norm: Norm,
    pub(super) encoder: Encoder,
}

impl ImageTower {
    /// Takes out `vision_model.*` and `visual_projection.weight`.
    pub(super) fn load(config: &ClipConfig, weights: &mut Weights) -> Result<Self> {
        let (joint, config) = (config.projection_dim, &config.vision_config);
        let (width, patch) = (config.hidden_size, config.patch_size);
        let at = |what: &str| format!("vision_model.embeddings.{what}");
        let mut class = weights.floats(&at("class_embedding"), &[width])?;
        let rows = config.patches() + 1;
        let mut positions = weights.floats(&at("position_embedding.weight"), &[rows, width])?;
        let rest = positions.split_off(width);
        class.iter_mut().zip(positions).for_each(|(c, p)| *c += p);
        let names = Names {
            blocks: "vision_model.encoder.layers",
            norm: "vision_model.post_layernorm",
            projection: "visual_projection",
        };
        Ok(Self {
            side: config.image_size,
            patch,
            class,
            positions: rest,
            patches: weights.matrix(&[PATCHES.into()], 3 * patch * patch, width, false)?,
            // Hugging Face's own spelling.
            norm: norm(
                "vision_model.pre_layrnorm",
                width,
                config.layer_norm_eps,
                weights,
            )?,
            encoder: Encoder::load(
                config.num_hidden_layers,
                BlockShape::from(config),
                joint,
                names,
                weights,
            )?,
        })
    }

    /// Bytes of memory that the weights take.
    pub(super) fn bytes(&self) -> usize {
        self.encoder.bytes() + self.patches.bytes() + 4 * self.positions.len()
    }

    /// Features `[D]` of preprocessed pixels [3, S, S], not normalised.
    pub(super) fn features(
        &self,
        memory: &mut Memory,
        pixels: &[f32],
        prompts: Option<&Prompts>,
        observer: &mut impl Observer,
    ) -> Result<Vec<f32>> {
        let (side, patch) = (self.side, self.patch);
        if pixels.len() != 3 * side * side {
            return Err(Error::Input(format!(
                "{} values are not the pixels of a picture; the image tower takes 3 x {side} x {side}",
                pixels.len()
            )));
        }
        let tokens = (side / patch).pow(2) + 1;
        let sizes = [tokens, tokens, 0];
        Ok(self.encoder.run(
            memory,
            prompts,
            sizes,
            observer,
            |x, prepared, flat, observer| {
                self.flatten(pixels, flat);
                observer.see(PATCHES, &[], flat, self.patches.inputs());
                let width = self.class.len();
                let (class, rows) = x.split_at_mut(width);
                class.copy_from_slice(&self.class);
                rows.copy_from_slice(&self.positions);
                self.patches.prepare(flat, prepared);
                self.patches
                    .multiply(flat, prepared, 0..width, rows, width, Finish::Add);
                self.norm.in_place(x);
            },
        ))
    }

    /// Patches laid out flat, [patches, 3 * patch * patch]: a convolution whose stride is its kernel is a product.
    fn flatten(&self, pixels: &[f32], flat: &mut Vec<f32>) {
        let (side, patch) = (self.side, self.patch);
        let grid = side / patch;
        flat.clear();
        for (row, column) in (0..grid * grid).map(|place| (place / grid, place % grid)) {
            for channel in 0..3 {
                for line in 0..patch {
                    let start = (channel * side + row * patch + line) * side + column * patch;
                    flat.extend_from_slice(&pixels[start..start + patch]);
                }
            }
        }
    }
}
