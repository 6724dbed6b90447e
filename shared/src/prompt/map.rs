//! Owns missing-aware prompts (MAP) in this setting: each case has its own constant rows in each tower.
//!
//! Lee et al. 2023, "Multimodal Prompting with Missing Modalities". There one tower sees both modalities; here there are
//! two, each with rows of its own width (`docs/method.md` says what else is ours).

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::slots::{Slot, TowerPrompts};
use super::{PROMPT_STD, PromptMethod, PromptPlan, PromptTensors, Rows, check_sizes, width};
use crate::case::{Case, Modality};
use crate::config::{ClipConfig, MapConfig, MapGrowth, MapInit, MapLevel};
use crate::error::{Error, Result};
use crate::limits::PROMPT_ROWS;
use crate::nn::attention::Prefix;
use crate::nn::tensor;
use crate::parameter::{Init, Parameter};

/// Missing-aware prompts with their tensors.
#[derive(Clone, Debug)]
pub struct Map {
    level: MapLevel,
    growth: MapGrowth,
    first_block: usize,
    /// Rows [n, d] by case code, modality and layer; no layers for a tower that does not run in the case.
    rows: [[Vec<Tensor>; 2]; 3],
}

/// Where the rows of a tower stand in a case.
fn place(modality: Modality, case: Case) -> String {
    format!("rows.{}.{}", modality.name(), case.name())
}

/// The row of ones in the original's first values.
fn marked(case: Case) -> usize {
    match case {
        Case::Complete => 0,
        Case::ImageMissing => 1,
        Case::TextMissing => 2,
    }
}

impl MapConfig {
    fn first_values(&self, case: Case) -> Init {
        match (self.init, self.level) {
            (MapInit::Normal, _) => Init::Normal(PROMPT_STD),
            (MapInit::OneHot, MapLevel::Input) => Init::OnesAt(vec![marked(case)]),
            // The same row of the keys and of the values.
            (MapInit::OneHot, MapLevel::Attention) => {
                Init::OnesAt(vec![marked(case), self.length / 2 + marked(case)])
            }
        }
    }
}

impl PromptPlan for MapConfig {
    fn check(&self, clip: &ClipConfig) -> Result<()> {
        check_sizes("map", self.length, (self.first_block, self.depth), clip)?;
        let attention = self.level == MapLevel::Attention;
        let accumulate = self.growth == MapGrowth::Accumulate;
        let least = if attention { 6 } else { 3 };
        let problem = if attention && !self.length.is_multiple_of(2) {
            format!(
                "length is {}; at level \"attention\" it must be even, one half keys and one half values",
                self.length
            )
        } else if attention && accumulate {
            "growth \"accumulate\" is of level \"input\"; at level \"attention\" nothing grows, leave it out".into()
        } else if accumulate && self.length * self.depth > PROMPT_ROWS {
            format!(
                "length {} accumulates to {} rows over depth {}; at most {PROMPT_ROWS} are possible",
                self.length,
                self.length * self.depth,
                self.depth
            )
        } else if self.init == MapInit::OneHot && self.length < least {
            format!(
                "length is {}; init \"one_hot\" marks one of three rows and needs at least {least} at this level",
                self.length
            )
        } else {
            return Ok(());
        };
        Err(Error::Input(format!("prompt method map: {problem}")))
    }

    fn rows(&self) -> Rows {
        let length = self.length;
        let at = Rows {
            first: self.first_block,
            depth: self.depth,
            ..Rows::default()
        };
        match (self.level, self.growth) {
            (MapLevel::Input, MapGrowth::Replace) => Rows {
                fixed: length,
                renewed: length,
                ..at
            },
            (MapLevel::Input, MapGrowth::Accumulate) => Rows {
                fixed: length,
                grown: length,
                ..at
            },
            (MapLevel::Attention, _) => Rows {
                pairs: length / 2,
                ..at
            },
        }
    }
}

impl PromptTensors for MapConfig {
    fn parameters(&self, clip: &ClipConfig) -> Vec<Parameter> {
        let mut list = Vec::new();
        for modality in Modality::ALL {
            for case in Case::ALL.into_iter().filter(|case| case.has(modality)) {
                list.extend((0..self.depth).map(|layer| {
                    Parameter::new(
                        format!("prompt.{}.{layer}", place(modality, case)),
                        &[self.length, width(clip, modality)],
                        self.first_values(case),
                    )
                }));
            }
        }
        list
    }

    fn load(&self, clip: &ClipConfig, vb: VarBuilder<'_>) -> Result<Box<dyn PromptMethod>> {
        let of = |case: Case, modality: Modality| -> Result<Vec<Tensor>> {
            let vb = vb.pp(place(modality, case));
            let shape = [self.length, width(clip, modality)];
            (0..if case.has(modality) { self.depth } else { 0 })
                .map(|layer| tensor(&vb, &shape, &layer.to_string()))
                .collect()
        };
        let towers =
            |case| -> Result<_> { Ok([of(case, Modality::Image)?, of(case, Modality::Text)?]) };
        Ok(Box::new(Map {
            level: self.level,
            growth: self.growth,
            first_block: self.first_block,
            rows: [
                towers(Case::Complete)?,
                towers(Case::TextMissing)?,
                towers(Case::ImageMissing)?,
            ],
        }))
    }
}

impl PromptMethod for Map {
    /// A tower that does not run in the case has no rows: nothing that entered it could have an effect.
    fn tower(&self, case: Case, modality: Modality) -> Result<TowerPrompts> {
        let layers = &self.rows[case.index()][modality as usize];
        let before = (0..self.first_block).map(|_| Slot::Carry);
        if self.level == MapLevel::Attention {
            let slots = layers.iter().map(|rows| {
                let half = rows.dim(0)? / 2;
                Ok(Slot::Attend(Prefix {
                    keys: rows.narrow(0, 0, half)?,
                    values: rows.narrow(0, half, half)?,
                }))
            });
            return Ok(TowerPrompts {
                slots: before.map(Ok).chain(slots).collect::<Result<_>>()?,
                ..TowerPrompts::default()
            });
        }
        let deeper = layers
            .iter()
            .skip(1)
            .cloned()
            .map(|rows| match self.growth {
                MapGrowth::Replace => Slot::Overwrite(rows),
                MapGrowth::Accumulate => Slot::Prepend(rows),
            });
        let first = layers.first().cloned();
        let (prepend, at_first) = match (first, self.first_block) {
            (Some(rows), 1..) => (None, Slot::Prepend(rows)),
            (first, _) => (first, Slot::Carry),
        };
        Ok(TowerPrompts {
            prepend,
            dynamic: None,
            slots: before.chain([at_first]).chain(deeper).collect(),
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
        ) = (6, 3);
        (
            clip.text_config.hidden_size,
            clip.text_config.num_hidden_layers,
        ) = (4, 3);
        clip
    }

    /// At ViT-B/16 two cases in each tower: 2 x 6 x 36 x (768 + 512).
    #[test]
    fn count_at_vit_b_16() {
        let count: usize = MapConfig::default()
            .parameters(&ClipConfig::default())
            .iter()
            .map(Parameter::count)
            .sum();
        assert_eq!(count, 552_960);
    }

    #[test]
    fn one_row_of_each_case_starts_at_one() {
        for (level, places) in [
            (MapLevel::Input, vec![2]),
            (MapLevel::Attention, vec![2, 5]),
        ] {
            let config = PromptConfig::Map(MapConfig {
                length: 6,
                depth: 2,
                level,
                init: MapInit::OneHot,
                ..MapConfig::default()
            });
            let tensors =
                initialise(&config, &small(), &mut stream(1, "prompt"), &Device::Cpu).unwrap();
            let rows = tensors["prompt.rows.image.text_missing.1"]
                .to_vec2::<f32>()
                .unwrap();
            for (i, row) in rows.into_iter().enumerate() {
                assert_eq!(row, [f32::from(u8::from(places.contains(&i))); 6]);
            }
        }
    }

    #[test]
    fn each_level_fills_its_slots() {
        let clip = small();
        for (level, growth, kind) in [
            (MapLevel::Input, MapGrowth::Replace, "Overwrite"),
            (MapLevel::Input, MapGrowth::Accumulate, "Prepend"),
            (MapLevel::Attention, MapGrowth::Replace, "Attend"),
        ] {
            let config = PromptConfig::Map(MapConfig {
                length: 4,
                depth: 3,
                level,
                growth,
                ..MapConfig::default()
            });
            let tensors =
                initialise(&config, &clip, &mut stream(1, "prompt"), &Device::Cpu).unwrap();
            let vb = var_builder(&tensors, &Device::Cpu).pp("prompt");
            let method = load(&config, &clip, vb).unwrap();
            let prompts = method.tower(Case::Complete, Modality::Image).unwrap();
            assert_eq!(prompts.prepend.is_some(), level == MapLevel::Input);
            assert_eq!(prompts.slots.len(), 3);
            let deeper = &prompts.slots[1..];
            assert!(
                deeper
                    .iter()
                    .all(|slot| format!("{slot:?}").starts_with(kind))
            );
            let absent = method.tower(Case::TextMissing, Modality::Text).unwrap();
            assert!(absent.prepend.is_none() && absent.slots.len() <= 1);
            let [image, text] = method.towers(Case::TextMissing).unwrap();
            assert!(image.is_some() && text.is_none());
        }
    }

    #[test]
    fn impossible_settings_are_named() {
        let config = |length, level, growth, init| MapConfig {
            length,
            depth: 3,
            level,
            growth,
            init,
            ..MapConfig::default()
        };
        use MapGrowth::{Accumulate, Replace};
        use MapInit::{Normal, OneHot};
        use MapLevel::{Attention, Input};
        for (config, word) in [
            (config(5, Attention, Replace, Normal), "must be even"),
            (config(6, Attention, Accumulate, Normal), "nothing grows"),
            (config(2000, Input, Accumulate, Normal), "6000 rows"),
            (config(2, Input, Replace, OneHot), "at least 3"),
            (config(4, Attention, Replace, OneHot), "at least 6"),
        ] {
            let error = config.check(&small()).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("map"), "{error}");
        }
        for (first_block, depth, told) in [(0, 4, "1 to 3"), (2, 2, "1 to 1"), (3, 1, "no block")] {
            let deep = MapConfig {
                depth,
                first_block,
                ..MapConfig::default()
            };
            let error = deep.check(&small()).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
