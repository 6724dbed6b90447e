//! Owns the proof that Deep Correlated Prompting is what `docs/method.md` says: outputs equal to those of an independent
//! plain re-implementation (`golden/make_dcp.py`), as trained and folded, in all three cases.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use shared::case::Case;
use shared::clip::Tokens;
use shared::config::{HeadConfig, ModelConfig};
use shared::model::{Batch, Model};
use shared::nn::{Tensors, var_builder};

use crate::prompt_golden::ends;

/// Outputs are up to 4, computed in f32 here and in double precision there.
const GOLDEN_TOLERANCE: f32 = 1e-5;
/// Of the largest score: folding only changes the order of a few sums.
const FOLDED_TOLERANCE: f32 = 1e-6;

struct Golden {
    tensors: Tensors,
    config: serde_json::Value,
}

impl Golden {
    fn read() -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
        let file = folder.join("dcp.safetensors");
        let tensors = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
        let json = std::fs::read_to_string(folder.join("dcp.json")).unwrap();
        Self {
            tensors: tensors.into_iter().collect(),
            config: serde_json::from_str(&json).unwrap(),
        }
    }

    /// The model with the head `kind`, "linear" or "dpl".
    fn model(&self, kind: &str) -> (ModelConfig, Tensors) {
        let mut config = self.config.clone();
        config["head"] = serde_json::json!({ "method": kind });
        let config: ModelConfig = serde_json::from_value(config).unwrap();
        assert_eq!(matches!(config.head, HeadConfig::Linear), kind == "linear");
        let prefix = format!("{kind}.");
        let named = self.tensors.iter().map(|(name, tensor)| {
            (
                name.strip_prefix(&prefix).unwrap_or(name).to_string(),
                tensor.clone(),
            )
        });
        (config, named.collect())
    }

    /// All posts as posts of one case.
    fn batch(&self, case: Case) -> Batch {
        let at = |name: &str| self.tensors[name].clone();
        let pixels = at("input.pixels");
        Batch {
            cases: vec![case; pixels.dim(0).unwrap()],
            pixels: (case != Case::ImageMissing).then_some(pixels),
            tokens: (case != Case::TextMissing).then(|| Tokens {
                ids: at("input.ids"),
                eot: ends(&at("input.eot")),
            }),
        }
    }

    /// All posts in each case, interleaved.
    fn mixed(&self) -> Batch {
        let posts = self.tensors["input.pixels"].dim(0).unwrap() as u32;
        let cases: Vec<Case> = (0..posts).flat_map(|_| Case::ALL).collect();
        // Each post appears with an image in two of its three cases, and so with a text.
        let twice: Vec<u32> = (0..posts).flat_map(|post| [post, post]).collect();
        let twice = Tensor::new(twice, &Device::Cpu).unwrap();
        let at = |name: &str| self.tensors[name].index_select(&twice, 0).unwrap();
        let tokens = Tokens {
            ids: at("input.ids"),
            eot: ends(&at("input.eot")),
        };
        Batch {
            cases,
            pixels: Some(at("input.pixels")),
            tokens: Some(tokens),
        }
    }
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    (a - b)
        .unwrap()
        .abs()
        .unwrap()
        .max_all()
        .unwrap()
        .to_scalar()
        .unwrap()
}

#[test]
fn equals_the_plain_re_implementation() {
    let golden = Golden::read();
    let mut worst = 0f32;
    for kind in ["linear", "dpl"] {
        let (config, tensors) = golden.model(kind);
        let model = Model::load(&config, var_builder(&tensors, &Device::Cpu)).unwrap();
        for case in Case::ALL {
            let output = model.forward(&golden.batch(case)).unwrap().remove(0);
            let expected =
                |what: &str| &golden.tensors[&format!("expected.{}.{what}", case.name())];
            let features = [
                ("image", &output.features.image),
                ("text", &output.features.text),
            ];
            let present = features
                .into_iter()
                .filter_map(|(name, x)| Some((name, x.as_ref()?)));
            for (what, ours) in present.chain([(kind, &output.scores)]) {
                let difference = largest_difference(ours, expected(what));
                assert!(
                    difference <= GOLDEN_TOLERANCE,
                    "{case}, {what}: {difference}"
                );
                worst = worst.max(difference);
            }
        }
    }
    println!("largest difference to the re-implementation: {worst:e}");
}

#[test]
fn folded_equals_unfolded() {
    let golden = Golden::read();
    let mut worst = 0f32;
    for kind in ["linear", "dpl"] {
        let (config, tensors) = golden.model(kind);
        let model = Model::load(&config, var_builder(&tensors, &Device::Cpu)).unwrap();
        let mut constants: Tensors = tensors
            .into_iter()
            .filter(|(name, _)| !name.starts_with("prompt."))
            .collect();
        constants.append(&mut model.fold().unwrap());
        let folded = Model::load_folded(&config, var_builder(&constants, &Device::Cpu)).unwrap();
        for case in Case::ALL {
            let batch = golden.batch(case);
            let [ours, theirs] = [&model, &folded].map(|model| model.forward(&batch).unwrap());
            let largest =
                largest_difference(&ours[0].scores, &ours[0].scores.zeros_like().unwrap());
            let difference = largest_difference(&ours[0].scores, &theirs[0].scores) / largest;
            assert!(
                difference <= FOLDED_TOLERANCE,
                "{kind}, {case}: {difference}"
            );
            worst = worst.max(difference);
        }
    }
    println!("largest difference between folded and unfolded scores: {worst:e}");
}

#[test]
fn mixed_batches_equal_batches_of_one_case() {
    let golden = Golden::read();
    let (config, tensors) = golden.model("linear");
    let model = Model::load(&config, var_builder(&tensors, &Device::Cpu)).unwrap();
    let mixed = model.forward(&golden.mixed()).unwrap();
    assert_eq!(mixed.len(), 3);
    for (case, output) in Case::ALL.into_iter().zip(&mixed) {
        assert_eq!(output.features.case, case);
        assert!(output.rows.iter().all(|row| row % 3 == case.index()));
        let alone = model.forward(&golden.batch(case)).unwrap().remove(0);
        // The towers saw other posts beside these: products of another size may add up in another order.
        let difference = largest_difference(&output.scores, &alone.scores);
        assert!(difference <= GOLDEN_TOLERANCE, "{case}: {difference:e}");
    }
    let wrong = Batch {
        cases: vec![Case::Complete; 2],
        ..golden.mixed()
    };
    let error = model.forward(&wrong).unwrap_err().to_string();
    assert!(error.contains("6 image rows, but 2"), "{error}");
}
