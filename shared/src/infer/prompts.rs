//! Owns the prompts of one tower and case as the engine uses them: plain rows, and dynamic ones with all that is
//! constant multiplied out.
//!
//! A dynamic row is `O V Σ softmax(q K xᵀ / sqrt(d)) x + b`. The keys `q K / sqrt(d)` [n, d] are the case's, and `O V`
//! [d, d] is the tower's, so that neither keys nor values of the tokens are ever formed: the same result, without two
//! products over all tokens.

use std::sync::Arc;

use kernels::product::{Finish, Matrix, Prepared};

use super::weights::Weights;
use crate::case::{Case, Modality};
use crate::config::ClipConfig;
use crate::error::{Error, Result};
use crate::prompt::folded::{FoldedAttention, FoldedTower};
use crate::prompt::slots::Slot;
use crate::prompt::{self, Rows};

/// The prompts of one tower and case; every row has the tower's width d.
#[derive(Default)]
pub(super) struct Prompts {
    /// Rows in front of the tokens.
    prepend: Vec<f32>,
    dynamic: Option<Dynamic>,
    /// What happens at block l.
    pub(super) slots: Vec<Slot<Vec<f32>>>,
}

struct Dynamic {
    /// [n, d], scaled.
    keys: Matrix,
    /// `O V` with its bias; all cases have the same.
    mixed: Arc<Matrix>,
}

impl Prompts {
    /// Takes out the prompts of a tower, by case code; none for a case in which it does not run.
    pub(super) fn load(
        rows: Rows,
        clip: &ClipConfig,
        modality: Modality,
        weights: &mut Weights,
    ) -> Result<[Option<Self>; 3]> {
        let mut read =
            |name: &str, shape: &[usize]| weights.floats(&format!("prompt.{name}"), shape);
        let width = prompt::width(clip, modality);
        let attention = FoldedAttention::read(rows, clip, modality, &mut read)?;
        let mixed = attention.as_ref().map(|of| -> Result<_> {
            let product = product(&of.output, &of.value, width)?;
            Ok(Arc::new(matrix(&product, width, &of.bias)?))
        });
        let mixed = mixed.transpose()?;
        let mut prompts: [Option<Self>; 3] = Default::default();
        for case in Case::ALL.into_iter().filter(|case| case.has(modality)) {
            let tower = FoldedTower::read(rows, clip, case, modality, &mut read)?;
            let dynamic = match (&attention, &mixed, tower.queries) {
                (Some(attention), Some(mixed), Some(queries)) => {
                    let mut keys = product(&queries, &attention.key, width)?;
                    let scale = (width as f32).sqrt().recip();
                    keys.iter_mut().for_each(|key| *key *= scale);
                    Some(Dynamic {
                        keys: matrix(&keys, width, &[])?,
                        mixed: mixed.clone(),
                    })
                }
                _ => None,
            };
            prompts[case.index()] = Some(Self {
                prepend: tower.rows.unwrap_or_default(),
                dynamic,
                slots: tower.slots,
            });
        }
        Ok(prompts)
    }

    /// How many values come in front of block 0's tokens.
    pub(super) fn entering(&self) -> usize {
        let dynamic = self.dynamic.as_ref();
        self.prepend.len() + dynamic.map_or(0, |of| of.keys.outputs() * of.keys.inputs())
    }

    /// Whether the rows depend on all tokens of the post, padding included.
    pub(super) fn look_at_padding(&self) -> bool {
        self.dynamic.is_some()
    }

    /// Writes the rows into `front`, which has room for [`Prompts::entering`] values, for these `tokens`.
    pub(super) fn enter(&self, front: &mut [f32], tokens: &[f32], scratch: &mut Scratch) {
        let (fixed, rest) = front.split_at_mut(self.prepend.len());
        fixed.copy_from_slice(&self.prepend);
        if let Some(dynamic) = &self.dynamic {
            dynamic.rows(rest, tokens, scratch);
        }
    }
}

/// Memory for dynamic rows, kept from call to call.
#[derive(Default)]
pub(super) struct Scratch {
    weights: Vec<f32>,
    sums: Vec<f32>,
    prepared: Prepared,
}

impl Dynamic {
    fn rows(&self, out: &mut [f32], tokens: &[f32], scratch: &mut Scratch) {
        let (n, width) = (self.keys.outputs(), self.keys.inputs());
        let Scratch {
            weights,
            sums,
            prepared,
        } = scratch;
        let count = tokens.len() / width;
        weights.resize(count * n, 0.0);
        self.keys
            .multiply(tokens, prepared, 0..n, weights, n, Finish::Store);
        sums.clear();
        sums.resize(n * width, 0.0);
        for (row, sums) in sums.chunks_exact_mut(width).enumerate() {
            let own = |token: usize| weights[token * n + row];
            let top = (0..count).map(own).fold(f32::NEG_INFINITY, f32::max);
            let mut total = 0.0;
            for (token, x) in tokens.chunks_exact(width).enumerate() {
                let weight = kernels::exp::exp(own(token) - top);
                total += weight;
                sums.iter_mut()
                    .zip(x)
                    .for_each(|(sum, x)| *sum += weight * x);
            }
            sums.iter_mut().for_each(|sum| *sum /= total);
        }
        self.mixed
            .multiply(sums, prepared, 0..width, out, width, Finish::Store);
    }
}

/// The product of `a` [n, d] with `b` [d, d], for the width d.
fn product(a: &[f32], b: &[f32], width: usize) -> Result<Vec<f32>> {
    let transposed: Vec<f32> = (0..width * width)
        .map(|place| b[place % width * width + place / width])
        .collect();
    let mut out = vec![0.0; a.len()];
    let nothing = Prepared::default();
    let finish = Finish::Store;
    matrix(&transposed, width, &[])?.multiply(a, &nothing, 0..width, &mut out, width, finish);
    Ok(out)
}

/// Packs rows of `width` inputs.
fn matrix(rows: &[f32], width: usize, bias: &[f32]) -> Result<Matrix> {
    let outputs = rows.len() / width;
    let mut matrix = Matrix::float(width, outputs);
    if matrix.set_float_rows(0, rows) && matrix.set_bias(0, bias) {
        return Ok(matrix);
    }
    Err(Error::Input(format!(
        "a prompt's matrix of {outputs} x {width} cannot be packed"
    )))
}
