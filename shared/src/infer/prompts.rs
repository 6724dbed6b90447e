//! Owns the prompts of one tower and case as the engine uses them: plain rows, and dynamic ones with all that is
//! constant multiplied out.
//!
//! A dynamic row is `O V Σ softmax(q K xᵀ / sqrt(d)) x + b`. The keys `q K / sqrt(d)` [n, d] are the case's, and `O V`
//! [d, d] is the tower's, so that neither keys nor values of the tokens are ever formed: the same result, without two
//! products over all tokens.

use std::sync::Arc;

use candle_core::Tensor;
use kernels::product::{Finish, Matrix, Prepared};

use crate::error::{Error, Result};
use crate::prompt::slots::{DynamicPrompt, Slot, TowerPrompts};

/// The prompts of one tower and case; every row has the tower's width d.
#[derive(Default)]
pub(super) struct Prompts {
    /// Rows in front of the tokens.
    prepend: Vec<f32>,
    dynamic: Option<Dynamic>,
    /// What happens at block l.
    pub(super) slots: Vec<Rows>,
}

/// What happens at one block.
#[derive(Default)]
pub(super) enum Rows {
    /// Nothing.
    #[default]
    Carry,
    /// These overwrite the first rows.
    Overwrite(Vec<f32>),
    /// These come in front.
    Prepend(Vec<f32>),
    /// The attention looks at these keys and values, too.
    Attend([Vec<f32>; 2]),
}

/// `O V` with its bias, of one tower; made once and used by all cases.
pub(super) type Mixed = Arc<Matrix>;

struct Dynamic {
    /// [n, d], scaled.
    keys: Matrix,
    mixed: Mixed,
}

impl Prompts {
    /// Takes over prompts whose rows have `width` values. `mixed` is filled by the first that has dynamic rows.
    pub(super) fn new(
        prompts: &TowerPrompts,
        width: usize,
        mixed: &mut Option<Mixed>,
    ) -> Result<Self> {
        let slot = |slot: &Slot| -> Result<Rows> {
            Ok(match slot {
                Slot::Carry => Rows::Carry,
                Slot::Overwrite(rows) => Rows::Overwrite(values(rows)?),
                Slot::Prepend(rows) => Rows::Prepend(values(rows)?),
                Slot::Attend(prefix) => {
                    Rows::Attend([values(&prefix.keys)?, values(&prefix.values)?])
                }
            })
        };
        let dynamic = match &prompts.dynamic {
            Some(dynamic) => Some(Dynamic::new(dynamic, width, mixed)?),
            None => None,
        };
        Ok(Self {
            prepend: prompts.prepend.as_ref().map_or(Ok(Vec::new()), values)?,
            dynamic,
            slots: prompts.slots.iter().map(slot).collect::<Result<_>>()?,
        })
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
    fn new(prompt: &DynamicPrompt, width: usize, mixed: &mut Option<Mixed>) -> Result<Self> {
        let key = prompt.key.weight();
        let keys = (prompt.query.matmul(key)? * (width as f64).powf(-0.5))?;
        let mixed = match mixed {
            Some(mixed) => mixed.clone(),
            None => {
                let output = prompt.output.weight();
                let product = output.matmul(prompt.value.weight())?;
                let mut bias = match prompt.output.bias() {
                    Some(bias) => values(bias)?,
                    None => vec![0.0; width],
                };
                if let Some(shift) = prompt.value.bias() {
                    let shift = values(&output.matmul(&shift.unsqueeze(1)?)?)?;
                    bias.iter_mut().zip(shift).for_each(|(b, s)| *b += s);
                }
                let made = Arc::new(matrix(&product, &bias)?);
                mixed.insert(made).clone()
            }
        };
        Ok(Self {
            keys: matrix(&keys, &[])?,
            mixed,
        })
    }

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

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

/// Packs a tensor [outputs, inputs].
fn matrix(tensor: &Tensor, bias: &[f32]) -> Result<Matrix> {
    let (outputs, inputs) = tensor.dims2()?;
    let mut matrix = Matrix::float(inputs, outputs);
    if matrix.set_float_rows(0, &values(&tensor.contiguous()?)?) && matrix.set_bias(0, bias) {
        return Ok(matrix);
    }
    Err(Error::Input(format!(
        "a prompt's matrix of {outputs} x {inputs} cannot be packed"
    )))
}
