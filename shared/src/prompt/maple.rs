//! Owns MaPLe in this setting: text prompts are learnt, image prompts are computed from them by coupling functions.
//!
//! Khattak et al. 2023, "MaPLe: Multi-modal Prompt Learning". There the text is a class name and the prompts stand
//! inside its context; here it is the post's own, so the prompts are prepended as in Deep Correlated Prompting
//! (`docs/method.md` says what else is ours).

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::slots::{Slot, TowerPrompts};
use super::{PROMPT_STD, PromptMethod, PromptPlan, PromptTensors, Rows, check_sizes, width};
use crate::case::{Case, Modality};
use crate::config::{ClipConfig, MapleConfig};
use crate::error::Result;
use crate::nn::linear::Linear;
use crate::nn::tensor;
use crate::parameter::{Init, Parameter};

/// MaPLe with its tensors.
#[derive(Clone, Debug)]
pub struct Maple {
    /// Text prompts [n, text width] by layer: of each case, or one for all cases.
    text: Vec<Vec<Tensor>>,
    /// The coupling function of each layer, text width to image width.
    couplings: Vec<Linear>,
}

impl MapleConfig {
    /// Where the text prompts of each case, or of all of them, stand below `prompt`.
    fn places(&self) -> Vec<String> {
        if self.by_case {
            Case::ALL
                .map(|case| format!("text.{}", case.name()))
                .to_vec()
        } else {
            vec!["text".into()]
        }
    }
}

impl PromptPlan for MapleConfig {
    fn check(&self, clip: &ClipConfig) -> Result<()> {
        check_sizes("maple", self.length, (0, self.depth), clip)
    }

    fn rows(&self) -> Rows {
        Rows {
            fixed: self.length,
            renewed: self.length,
            depth: self.depth,
            ..Rows::default()
        }
    }
}

impl PromptTensors for MapleConfig {
    fn parameters(&self, clip: &ClipConfig) -> Vec<Parameter> {
        let [image, text] = Modality::ALL.map(|modality| width(clip, modality));
        let mut list = Vec::new();
        for place in self.places() {
            list.extend((0..self.depth).map(|layer| {
                Parameter::new(
                    format!("prompt.{place}.{layer}"),
                    &[self.length, text],
                    Init::Normal(PROMPT_STD),
                )
            }));
        }
        let at = |layer: usize| format!("prompt.coupling.{layer}");
        for layer in 0..self.depth {
            // The original draws one module for the first layer, and one that all deeper layers start as copies of.
            list.extend(
                Parameter::linear(&at(layer), text, image).map(|parameter| match layer {
                    0 | 1 => parameter,
                    _ => Parameter {
                        init: Init::CopyOf(parameter.name.replacen(&at(layer), &at(1), 1)),
                        ..parameter
                    },
                }),
            );
        }
        list
    }

    fn load(&self, clip: &ClipConfig, vb: VarBuilder<'_>) -> Result<Box<dyn PromptMethod>> {
        let [image, text] = Modality::ALL.map(|modality| width(clip, modality));
        let prompts = |place: String| {
            (0..self.depth)
                .map(|layer| tensor(&vb.pp(&place), &[self.length, text], &layer.to_string()))
                .collect()
        };
        let coupling = |layer| Linear::load(text, image, true, vb.pp("coupling").pp(layer));
        Ok(Box::new(Maple {
            text: self
                .places()
                .into_iter()
                .map(prompts)
                .collect::<Result<_>>()?,
            couplings: (0..self.depth).map(coupling).collect::<Result<_>>()?,
        }))
    }
}

impl PromptMethod for Maple {
    fn tower(&self, case: Case, modality: Modality) -> Result<TowerPrompts> {
        // One list serves all cases unless there is one for each.
        let text = &self.text[case.index().min(self.text.len() - 1)];
        let mut layers = text
            .iter()
            .zip(&self.couplings)
            .map(|(rows, coupling)| match modality {
                Modality::Image => coupling.forward(rows),
                Modality::Text => Ok(rows.clone()),
            });
        Ok(TowerPrompts {
            prepend: layers.next().transpose()?,
            dynamic: None,
            slots: std::iter::once(Ok(Slot::Carry))
                .chain(layers.map(|rows| Ok(Slot::Overwrite(rows?))))
                .collect::<Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::config::PromptConfig;
    use crate::nn::var_builder;
    use crate::prompt::{initialise, load};
    use crate::rng::stream;

    fn small() -> ClipConfig {
        let mut clip = ClipConfig::default();
        (
            clip.vision_config.hidden_size,
            clip.vision_config.num_hidden_layers,
        ) = (6, 4);
        (
            clip.text_config.hidden_size,
            clip.text_config.num_hidden_layers,
        ) = (4, 4);
        clip
    }

    /// At ViT-B/16 6 x 36 x 512 prompts, thrice if by case, and 6 couplings of 512 x 768 + 768.
    #[test]
    fn counts_at_vit_b_16() {
        let count = |by_case| -> usize {
            let config = MapleConfig {
                by_case,
                ..MapleConfig::default()
            };
            config
                .parameters(&ClipConfig::default())
                .iter()
                .map(Parameter::count)
                .sum()
        };
        assert_eq!(count(false), 110_592 + 2_363_904);
        assert_eq!(count(true), 3 * 110_592 + 2_363_904);
    }

    #[test]
    fn deeper_couplings_start_as_copies_and_prompts_have_their_cases() {
        let clip = small();
        for by_case in [false, true] {
            let prompt = PromptConfig::Maple(MapleConfig {
                length: 5,
                depth: 4,
                by_case,
            });
            let tensors =
                initialise(&prompt, &clip, &mut stream(1, "prompt"), &Device::Cpu).unwrap();
            let coupling = |layer: usize| {
                tensors[&format!("prompt.coupling.{layer}.weight")]
                    .to_vec2::<f32>()
                    .unwrap()
            };
            assert_ne!(coupling(0), coupling(1));
            assert_eq!(coupling(1), coupling(2));
            assert_eq!(coupling(1), coupling(3));

            let vb = var_builder(&tensors, &Device::Cpu).pp("prompt");
            let method = load(&prompt, &clip, vb).unwrap();
            let first = |case, modality| {
                let prompts = method.tower(case, modality).unwrap();
                assert_eq!(prompts.slots.len(), 4);
                prompts.prepend.unwrap().to_vec2::<f32>().unwrap()
            };
            for modality in Modality::ALL {
                let [complete, other] =
                    [Case::Complete, Case::TextMissing].map(|case| first(case, modality));
                assert_eq!(complete == other, !by_case);
                assert_eq!(complete.len(), 5);
            }
        }
    }

    #[test]
    fn impossible_settings_are_named() {
        for (length, depth, word) in [
            (0, 1, "length is 0"),
            (4, 5, "1 to 4"),
            (4, 0, "depth is 0"),
        ] {
            let config = MapleConfig {
                length,
                depth,
                by_case: false,
            };
            let error = config.check(&small()).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("maple"), "{error}");
        }
    }
}
