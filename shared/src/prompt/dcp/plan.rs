//! Owns what Deep Correlated Prompting is by its settings alone: its tensors' names, shapes and first values.

use candle_nn::VarBuilder;

use super::{Dcp, STATES};
use crate::case::{Case, Modality};
use crate::config::{ClipConfig, DcpConfig};
use crate::error::{Error, Result};
use crate::parameter::{Init, Parameter};
use crate::prompt::{
    PROMPT_STD, PromptMethod, PromptPlan, PromptTensors, Rows, check_sizes, width,
};

impl DcpConfig {
    /// Rows of each of the three kinds.
    pub(super) fn third(&self) -> usize {
        self.length / 3
    }

    /// Widths of the bottlenecks: of the correlated generators and of the common projections.
    pub(super) fn bottlenecks(&self, clip: &ClipConfig) -> (usize, usize) {
        let [image, text] = Modality::ALL.map(|modality| width(clip, modality));
        ((image + text) / self.reduction, text / self.reduction)
    }
}

impl PromptPlan for DcpConfig {
    fn check(&self, clip: &ClipConfig) -> Result<()> {
        check_sizes("dcp", self.length, (0, self.depth), clip)?;
        let narrow = width(clip, Modality::Text);
        let problem = if !self.length.is_multiple_of(3) {
            format!(
                "length is {}; it must be a multiple of 3: correlated, common and dynamic rows",
                self.length
            )
        } else if self.reduction == 0 || self.reduction > narrow {
            format!(
                "reduction is {}; the towers allow 1 to {narrow}",
                self.reduction
            )
        } else {
            return Ok(());
        };
        Err(Error::Input(format!("prompt method dcp: {problem}")))
    }

    fn rows(&self) -> Rows {
        let n = self.third();
        Rows {
            fixed: 2 * n,
            dynamic: n,
            renewed: n,
            depth: self.depth,
            ..Rows::default()
        }
    }
}

impl PromptTensors for DcpConfig {
    fn parameters(&self, clip: &ClipConfig) -> Vec<Parameter> {
        let n = self.third();
        let (correlated, common) = self.bottlenecks(clip);
        let widths = Modality::ALL.map(|modality| width(clip, modality));
        let (pair, text) = (widths[0] + widths[1], widths[1]);
        let towers = || Modality::ALL.into_iter().zip(widths);
        let prompt = |name: String, d| Parameter::new(name, &[n, d], Init::Normal(PROMPT_STD));

        let mut list = Vec::new();
        for (modality, d) in towers() {
            for state in STATES {
                list.push(prompt(
                    format!("prompt.initial.{}.{state}", modality.name()),
                    d,
                ));
            }
        }
        for case in Case::ALL {
            list.push(prompt(format!("prompt.common.{}", case.name()), text));
        }
        for layer in 0..self.depth {
            for (modality, d) in towers() {
                let at = |layer| format!("prompt.correlated.{layer}.{}", modality.name());
                list.extend(Parameter::norm(&format!("{}.norm", at(layer)), pair));
                let down = Parameter::linear(&format!("{}.down", at(layer)), pair, correlated);
                let up = Parameter::linear(&format!("{}.up", at(layer)), correlated, d);
                // All layers of a modality start as copies of the first.
                list.extend(down.into_iter().chain(up).map(|parameter| match layer {
                    0 => parameter,
                    _ => Parameter {
                        init: Init::CopyOf(parameter.name.replacen(&at(layer), &at(0), 1)),
                        ..parameter
                    },
                }));
            }
        }
        for (modality, d) in towers() {
            let at = format!("prompt.common_projection.{}", modality.name());
            list.extend(Parameter::linear(&format!("{at}.down"), text, common));
            list.extend(Parameter::linear(&format!("{at}.up"), common, d));
        }
        for (modality, d) in towers() {
            let at = format!("prompt.dynamic.{}", modality.name());
            // Xavier's bound of PyTorch's packed [3d, d] input projection.
            let packed = (6.0 / (4 * d) as f64).sqrt();
            let own = (d as f64).sqrt().recip();
            for (name, bound) in [
                ("query", packed),
                ("key", packed),
                ("value", packed),
                ("output", own),
            ] {
                list.push(Parameter::new(
                    format!("{at}.{name}.weight"),
                    &[d, d],
                    Init::Uniform(bound),
                ));
                list.push(Parameter::new(
                    format!("{at}.{name}.bias"),
                    &[d],
                    Init::Zeros,
                ));
            }
            for case in Case::ALL {
                let queries = prompt(format!("{at}.queries.{}", case.name()), d);
                // A tower that does not run cannot train its queries.
                let trained = self.train_queries && case.has(modality);
                list.push(Parameter { trained, ..queries });
            }
        }
        list
    }

    fn load(&self, clip: &ClipConfig, vb: VarBuilder<'_>) -> Result<Box<dyn PromptMethod>> {
        Ok(Box::new(Dcp::load(self, clip, vb)?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::config::PromptConfig;
    use crate::nn::var_builder;
    use crate::prompt::slots::Slot;
    use crate::prompt::{initialise, load};
    use crate::rng::stream;

    /// Counts of method, section 2, at ViT-B/16: 2,006,784 without and 3,412,992 in the dynamic attention.
    #[test]
    fn counts_at_vit_b_16() {
        let mut clip = ClipConfig::default();
        clip.vision_config.patch_size = 16;
        let config = DcpConfig::default();
        assert_eq!(config.bottlenecks(&clip), (80, 32));
        let parameters = config.parameters(&clip);
        let count = |dynamic: bool| -> usize {
            let of = parameters
                .iter()
                .filter(|p| p.trained && p.name.contains(".dynamic.") == dynamic);
            of.map(Parameter::count).sum()
        };
        assert_eq!((count(false), count(true)), (2_006_784, 3_412_992));
        let queries: usize = parameters
            .iter()
            .filter(|p| !p.trained)
            .map(Parameter::count)
            .sum();
        assert_eq!(queries, 3 * 12 * (768 + 512));
        let trained = DcpConfig {
            train_queries: true,
            ..config
        };
        let parameters = trained.parameters(&clip);
        let frozen: Vec<_> = parameters
            .iter()
            .filter(|p| !p.trained)
            .map(|p| &p.name)
            .collect();
        let of = |at: &str| format!("prompt.dynamic.{at}_missing");
        assert_eq!(
            frozen,
            [&of("image.queries.image"), &of("text.queries.text")]
        );
    }

    #[test]
    fn layers_start_as_copies_and_rows_have_their_places() {
        let mut clip = ClipConfig::default();
        (
            clip.vision_config.hidden_size,
            clip.vision_config.num_hidden_layers,
        ) = (32, 3);
        (
            clip.text_config.hidden_size,
            clip.text_config.num_hidden_layers,
        ) = (24, 3);
        let config = DcpConfig {
            length: 6,
            depth: 2,
            reduction: 4,
            train_queries: false,
        };
        let prompt = PromptConfig::Dcp(config.clone());
        let tensors = initialise(&prompt, &clip, &mut stream(1, "prompt"), &Device::Cpu).unwrap();
        let values = |name: &str| {
            tensors[name]
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap()
        };
        for name in ["image.down.weight", "text.up.bias"] {
            let [first, second] = [0, 1].map(|l| values(&format!("prompt.correlated.{l}.{name}")));
            assert_eq!(first, second);
        }
        assert_ne!(
            values("prompt.correlated.0.image.down.bias"),
            values("prompt.correlated.0.text.down.bias")
        );

        let vb = var_builder(&tensors, &Device::Cpu).pp("prompt");
        let method = load(&prompt, &clip, vb).unwrap();
        let rows = config.rows();
        for case in Case::ALL {
            for (modality, d) in [(Modality::Image, 32), (Modality::Text, 24)] {
                let prompts = method.tower(case, modality).unwrap();
                assert_eq!(prompts.prepend.unwrap().dims(), [rows.fixed, d]);
                assert_eq!(prompts.dynamic.unwrap().query.dims(), [rows.dynamic, d]);
                assert_eq!(prompts.slots.len(), rows.depth);
                assert!(matches!(prompts.slots[0], Slot::Carry));
                let Slot::Overwrite(fresh) = &prompts.slots[1] else {
                    panic!("the second block's correlated rows are missing");
                };
                assert_eq!(fresh.dims(), [rows.renewed, d]);
            }
        }
        let [image, text] = method.towers(Case::TextMissing).unwrap();
        assert!(image.is_some() && text.is_none());
    }

    #[test]
    fn impossible_settings_are_named() {
        let clip = ClipConfig::default();
        for (config, word) in [
            (
                DcpConfig {
                    length: 35,
                    ..DcpConfig::default()
                },
                "multiple of 3",
            ),
            (
                DcpConfig {
                    depth: 13,
                    ..DcpConfig::default()
                },
                "1 to 12",
            ),
            (
                DcpConfig {
                    reduction: 0,
                    ..DcpConfig::default()
                },
                "reduction",
            ),
        ] {
            let error = config.check(&clip).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
