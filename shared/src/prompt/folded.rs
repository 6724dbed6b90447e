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
            let at = format!("prompt.{}.{}", case.name(), modality.name());
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
                let at = format!("prompt.dynamic.{}", modality.name());
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
        ("key.weight", dynamic.key.weight().clone()),
        ("value.weight", dynamic.value.weight().clone()),
        ("output.weight", output.clone()),
        ("output.bias", bias),
    ])
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
        let [image, text] = Modality::ALL.map(|modality| Attention::load(rows, clip, modality, vb));
        let attention = [image?, text?];
        let by_case = |case: Case| -> Result<[Option<TowerPrompts>; 2]> {
            let of = |modality: Modality| {
                case.has(modality)
                    .then(|| {
                        tower(
                            rows,
                            clip,
                            case,
                            modality,
                            attention[modality as usize].as_ref(),
                            vb,
                        )
                    })
                    .transpose()
            };
            Ok([of(Modality::Image)?, of(Modality::Text)?])
        };
        Ok(Self {
            towers: [
                by_case(Case::Complete)?,
                by_case(Case::TextMissing)?,
                by_case(Case::ImageMissing)?,
            ],
        })
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

/// The dynamic attention of one tower, common to all cases.
struct Attention {
    key: Linear,
    value: Linear,
    output: Linear,
}

impl Attention {
    fn load(
        rows: Rows,
        clip: &ClipConfig,
        modality: Modality,
        vb: &VarBuilder<'_>,
    ) -> Result<Option<Self>> {
        if rows.dynamic == 0 {
            return Ok(None);
        }
        let d = width(clip, modality);
        let vb = vb.pp("dynamic").pp(modality.name());
        Ok(Some(Self {
            key: Linear::load(d, d, false, vb.pp("key"))?,
            value: Linear::load(d, d, false, vb.pp("value"))?,
            output: Linear::load(d, d, true, vb.pp("output"))?,
        }))
    }
}

fn tower(
    rows: Rows,
    clip: &ClipConfig,
    case: Case,
    modality: Modality,
    attention: Option<&Attention>,
    vb: &VarBuilder<'_>,
) -> Result<TowerPrompts> {
    let d = width(clip, modality);
    let vb = vb.pp(case.name()).pp(modality.name());
    let read = |count: usize, name: &str| {
        (count > 0)
            .then(|| tensor(&vb, &[count, d], name))
            .transpose()
    };
    let slot = |layer: usize| -> Result<Slot> {
        let at = |count, what: &str| read(count, &format!("{what}.{layer}"));
        if let Some((keys, values)) = at(rows.pairs, "keys")?.zip(at(rows.pairs, "values")?) {
            return Ok(Slot::Attend(Prefix { keys, values }));
        }
        if layer == 0 {
            return Ok(Slot::Carry);
        }
        if let Some(rows) = at(rows.renewed, "renewed")? {
            return Ok(Slot::Overwrite(rows));
        }
        Ok(at(rows.grown, "grown")?.map_or(Slot::Carry, Slot::Prepend))
    };
    let dynamic = match (attention, read(rows.dynamic, "queries")?) {
        (Some(attention), Some(query)) => Some(DynamicPrompt {
            query,
            key: attention.key.clone(),
            value: attention.value.clone(),
            output: attention.output.clone(),
        }),
        _ => None,
    };
    Ok(TowerPrompts {
        prepend: read(rows.fixed, "rows")?,
        dynamic,
        slots: (0..rows.depth).map(slot).collect::<Result<_>>()?,
    })
}
