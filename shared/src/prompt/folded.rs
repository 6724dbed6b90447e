//! Owns folded prompts: whatever a method computes from the case alone, computed once at export.
//!
//! Per case and tower that runs in it: constant rows, what happens block by block, projected queries. Of the dynamic
//! attention's biases only one survives: a key bias shifts all scores of a query alike, which the softmax ignores, and
//! a value bias passes through weights that sum to 1, so it joins the output bias.

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::slots::{DynamicPrompt, Slot, TowerPrompts};
use super::{PromptMethod, Rows, width};
use crate::case::{Case, Modality};
use crate::config::ClipConfig;
use crate::error::{Error, Result};
use crate::nn::attention::Prefix;
use crate::nn::linear::Linear;
use crate::nn::{Tensors, tensor};

/// The tensors of the dynamic attention, below [`attention`].
const KEY: &str = "key.weight";
const VALUE: &str = "value.weight";
const OUTPUT: &str = "output.weight";
const OUTPUT_BIAS: &str = "output.bias";

/// The constants of any method, under their full names (`prompt.*`).
///
/// # Errors
/// If the tensor library fails.
pub fn fold(method: &dyn PromptMethod) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    for case in Case::ALL {
        for modality in Modality::ALL
            .into_iter()
            .filter(|modality| case.has(*modality))
        {
            let prompts = method.tower(case, modality)?;
            let at = format!("prompt.{}", place(case, modality));
            if let Some(rows) = prompts.prepend {
                tensors.insert(format!("{at}.rows"), rows);
            }
            for (layer, slot) in prompts.slots.into_iter().enumerate() {
                let mut keep = |what: &str, rows| {
                    tensors.insert(format!("{at}.{what}.{layer}"), rows);
                };
                match slot {
                    Slot::Carry => {}
                    Slot::Overwrite(rows) => keep("renewed", rows),
                    Slot::Prepend(rows) => keep("grown", rows),
                    Slot::Attend(prefix) => {
                        keep("keys", prefix.keys);
                        keep("values", prefix.values);
                    }
                }
            }
            if let Some(dynamic) = prompts.dynamic {
                tensors.insert(format!("{at}.queries"), dynamic.query.clone());
                let at = format!("prompt.{}", attention(modality));
                for (name, tensor) in fold_biases(&dynamic)? {
                    tensors.insert(format!("{at}.{name}"), tensor);
                }
            }
        }
    }
    tensors
        .into_iter()
        .map(|(name, tensor)| Ok((name, tensor.detach().contiguous()?)))
        .collect()
}

/// Key and value weight, output weight and the one bias left.
fn fold_biases(dynamic: &DynamicPrompt) -> Result<[(&'static str, Tensor); 4]> {
    let output = dynamic.output.weight();
    let mut bias = match dynamic.output.bias() {
        Some(bias) => bias.clone(),
        None => Tensor::zeros(output.dim(0)?, output.dtype(), output.device())?,
    };
    if let Some(value_bias) = dynamic.value.bias() {
        bias = (bias + output.matmul(&value_bias.unsqueeze(1)?)?.squeeze(1)?)?;
    }
    Ok([
        (KEY, dynamic.key.weight().clone()),
        (VALUE, dynamic.value.weight().clone()),
        (OUTPUT, output.clone()),
        (OUTPUT_BIAS, bias),
    ])
}

/// Where the constants of a tower and case are, below `prompt`.
fn place(case: Case, modality: Modality) -> String {
    format!("{}.{}", case.name(), modality.name())
}

/// Where the dynamic attention of a tower is, below `prompt`.
fn attention(modality: Modality) -> String {
    format!("dynamic.{}", modality.name())
}

/// The constants of one tower and case, as tensors or as plain values; every row has the tower's width d.
#[derive(Clone, Debug)]
pub struct FoldedTower<T> {
    /// Constant rows [n, d] in front of block 0.
    pub rows: Option<T>,
    /// Projected queries [n, d] of the dynamic rows.
    pub queries: Option<T>,
    /// What happens at block l.
    pub slots: Vec<Slot<T>>,
}

impl<T> FoldedTower<T> {
    /// Reads the constants that `rows` tells of with `read`, which is given names below `prompt` and shapes.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read(
        rows: Rows,
        clip: &ClipConfig,
        case: Case,
        modality: Modality,
        mut read: impl FnMut(&str, &[usize]) -> Result<T>,
    ) -> Result<Self> {
        let (d, place) = (width(clip, modality), place(case, modality));
        let mut some = |count: usize, name: &str| {
            (count > 0)
                .then(|| read(&format!("{place}.{name}"), &[count, d]))
                .transpose()
        };
        let mut slots = Vec::with_capacity(rows.first + rows.depth);
        slots.extend((0..rows.first).map(|_| Slot::Carry));
        for layer in rows.first..rows.first + rows.depth {
            let mut at = |count, what: &str| some(count, &format!("{what}.{layer}"));
            if let Some((keys, values)) = at(rows.pairs, "keys")?.zip(at(rows.pairs, "values")?) {
                slots.push(Slot::Attend(Prefix { keys, values }));
                continue;
            }
            if layer == rows.first {
                // Those of block 0 enter before its slot.
                let later = if layer == 0 { 0 } else { rows.fixed };
                slots.push(at(later, "grown")?.map_or(Slot::Carry, Slot::Prepend));
                continue;
            }
            let renewed = at(rows.renewed, "renewed")?.map(Slot::Overwrite);
            let slot = match renewed {
                Some(slot) => Some(slot),
                None => at(rows.grown, "grown")?.map(Slot::Prepend),
            };
            slots.push(slot.unwrap_or(Slot::Carry));
        }
        Ok(Self {
            rows: some(if rows.first == 0 { rows.fixed } else { 0 }, "rows")?,
            queries: some(rows.dynamic, "queries")?,
            slots,
        })
    }
}

/// The dynamic attention of one tower, common to all cases: weights [d, d] and the bias `[d]` that is left.
#[derive(Clone, Debug)]
pub struct FoldedAttention<T> {
    /// Key weight.
    pub key: T,
    /// Value weight.
    pub value: T,
    /// Output weight.
    pub output: T,
    /// Output bias.
    pub bias: T,
}

impl<T> FoldedAttention<T> {
    /// Reads the attention with `read`, as [`FoldedTower::read`] does; none if no row is dynamic.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read(
        rows: Rows,
        clip: &ClipConfig,
        modality: Modality,
        mut read: impl FnMut(&str, &[usize]) -> Result<T>,
    ) -> Result<Option<Self>> {
        if rows.dynamic == 0 {
            return Ok(None);
        }
        let (d, place) = (width(clip, modality), attention(modality));
        let mut at = |name: &str, shape: &[usize]| read(&format!("{place}.{name}"), shape);
        Ok(Some(Self {
            key: at(KEY, &[d, d])?,
            value: at(VALUE, &[d, d])?,
            output: at(OUTPUT, &[d, d])?,
            bias: at(OUTPUT_BIAS, &[d])?,
        }))
    }
}

/// Prompts that are constants by case, of whatever method they came from.
#[derive(Clone, Debug)]
pub struct FoldedPrompts {
    /// By case code, image and text; none for a tower that does not run.
    towers: [[Option<TowerPrompts>; 2]; 3],
}

impl FoldedPrompts {
    /// Reads the constants; `vb` stands at `prompt`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape than `rows` demands.
    pub fn load(rows: Rows, clip: &ClipConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        let read = |name: &str, shape: &[usize]| tensor(vb, shape, name);
        let mut towers: [[Option<TowerPrompts>; 2]; 3] = Default::default();
        for modality in Modality::ALL {
            let attention = FoldedAttention::read(rows, clip, modality, read)?;
            for case in Case::ALL.into_iter().filter(|case| case.has(modality)) {
                let tower = FoldedTower::read(rows, clip, case, modality, read)?;
                let dynamic = attention.as_ref().zip(tower.queries);
                towers[case.index()][modality as usize] = Some(TowerPrompts {
                    prepend: tower.rows,
                    dynamic: dynamic.map(|(of, query)| DynamicPrompt {
                        query,
                        key: Linear::new(of.key.clone(), None),
                        value: Linear::new(of.value.clone(), None),
                        output: Linear::new(of.output.clone(), Some(of.bias.clone())),
                    }),
                    slots: tower.slots,
                });
            }
        }
        Ok(Self { towers })
    }
}

impl PromptMethod for FoldedPrompts {
    fn tower(&self, case: Case, modality: Modality) -> Result<TowerPrompts> {
        self.towers[case.index()][modality as usize]
            .clone()
            .ok_or_else(|| {
                Error::Input(format!(
                    "an exported model keeps no {} prompts for posts with {case}",
                    modality.name()
                ))
            })
    }

    fn towers(&self, case: Case) -> Result<[Option<TowerPrompts>; 2]> {
        Ok(self.towers[case.index()].clone())
    }
}
