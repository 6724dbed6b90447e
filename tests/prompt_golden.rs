//! Owns the proof that every prompt method is what `docs/method.md` says: outputs equal to those of an independent plain
//! re-implementation (`golden/make_prompts.py`), as trained and folded, in all three cases, with both heads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use shared::case::Case;
use shared::clip::Tokens;
use shared::config::{HeadConfig, ModelConfig, PromptConfig};
use shared::model::{Batch, Model};
use shared::nn::{Tensors, var_builder};

/// Outputs are up to 6, computed in f32 here and in double precision there.
const GOLDEN_TOLERANCE: f32 = 1e-5;
/// Of the largest score: folding only changes the order of a few sums.
const FOLDED_TOLERANCE: f32 = 1e-6;

const HEADS: [&str; 2] = ["linear", "dpl"];

struct Golden {
    tensors: Tensors,
    configs: BTreeMap<String, serde_json::Value>,
}

impl Golden {
    fn read() -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
        let file = folder.join("prompts.safetensors");
        let tensors = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
        let json = std::fs::read_to_string(folder.join("prompts.json")).unwrap();
        Self {
            tensors: tensors.into_iter().collect(),
            configs: serde_json::from_str(&json).unwrap(),
        }
    }

    /// The model of one kind of prompts with one head.
    fn model(&self, kind: &str, head: &str) -> (ModelConfig, Tensors) {
        let mut config = self.configs[kind].clone();
        config["head"] = serde_json::json!({ "method": head });
        let config: ModelConfig = serde_json::from_value(config).unwrap();
        assert_eq!(matches!(config.head, HeadConfig::Linear), head == "linear");
        let prefixes = [format!("{kind}."), format!("{head}.")];
        let named = self.tensors.iter().map(|(name, tensor)| {
            let own = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
            (own.unwrap_or(name).to_string(), tensor.clone())
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

    /// Every kind of prompts with every head.
    fn models(&self) -> impl Iterator<Item = (String, ModelConfig, Tensors)> {
        let pairs = self
            .configs
            .keys()
            .flat_map(|kind| HEADS.map(|head| (kind, head)));
        pairs.map(|(kind, head)| {
            let (config, tensors) = self.model(kind, head);
            (format!("{kind}, {head}"), config, tensors)
        })
    }
}

fn largest(x: &Tensor) -> f32 {
    x.abs().unwrap().max_all().unwrap().to_scalar().unwrap()
}

fn load(config: &ModelConfig, tensors: &Tensors) -> Model {
    Model::load(config, var_builder(tensors, &Device::Cpu)).unwrap()
}

/// The places of the end tokens, which Python keeps as a tensor.
pub(crate) fn ends(eot: &Tensor) -> Vec<usize> {
    let ends = eot.to_dtype(DType::U32).unwrap().to_vec1::<u32>().unwrap();
    ends.into_iter().map(|end| end as usize).collect()
}

#[test]
fn equals_the_plain_re_implementation() {
    let golden = Golden::read();
    let mut worst = 0f32;
    for kind in golden.configs.keys() {
        for head in HEADS {
            let (config, tensors) = golden.model(kind, head);
            let model = load(&config, &tensors);
            for case in Case::ALL {
                let output = model.forward(&golden.batch(case)).unwrap().remove(0);
                let features = [
                    ("image", &output.features.image),
                    ("text", &output.features.text),
                ];
                let present = features
                    .into_iter()
                    .filter_map(|(name, x)| Some((name, x.as_ref()?)));
                for (what, ours) in present.chain([(head, &output.scores)]) {
                    let expected = &tensors[&format!("expected.{}.{what}", case.name())];
                    let difference = largest(&(ours - expected).unwrap());
                    assert!(
                        difference <= GOLDEN_TOLERANCE,
                        "{kind}, {case}, {what}: {difference}"
                    );
                    worst = worst.max(difference);
                }
            }
        }
    }
    println!("largest difference to the re-implementation: {worst:e}");
}

/// The kinds would be worth nothing if they all gave the same.
#[test]
fn kinds_differ_from_each_other() {
    let golden = Golden::read();
    let kinds: Vec<&String> = golden.configs.keys().collect();
    for case in Case::ALL {
        let of = |kind: &str| &golden.tensors[&format!("{kind}.expected.{}.linear", case.name())];
        for (i, a) in kinds.iter().enumerate() {
            for b in &kinds[i + 1..] {
                let difference = largest(&(of(a) - of(b)).unwrap());
                assert!(difference > 0.1, "{a} and {b}, {case}: {difference}");
            }
        }
    }
}

#[test]
fn folded_equals_unfolded() {
    let golden = Golden::read();
    let mut worst = 0f32;
    for (what, config, tensors) in golden.models() {
        let model = load(&config, &tensors);
        let mut constants: Tensors = tensors
            .into_iter()
            .filter(|(name, _)| !name.starts_with("prompt.") && !name.starts_with("head."))
            .collect();
        constants.append(&mut model.fold().unwrap());
        let folded = Model::load_folded(&config, var_builder(&constants, &Device::Cpu)).unwrap();
        for case in Case::ALL {
            let [ours, theirs] = [&model, &folded]
                .map(|model| model.forward(&golden.batch(case)).unwrap().remove(0).scores);
            let difference = largest(&(&ours - &theirs).unwrap()) / largest(&ours);
            assert!(
                difference <= FOLDED_TOLERANCE,
                "{what}, {case}: {difference}"
            );
            worst = worst.max(difference);
        }
        if config.prompt != PromptConfig::None {
            assert_shapes_are_checked(&config, &constants);
        }
    }
    println!("largest difference between folded and unfolded scores: {worst:e}");
}

/// Each folded prompt of another shape, or absent, is refused by its name.
fn assert_shapes_are_checked(config: &ModelConfig, constants: &Tensors) {
    let names = constants.keys().filter(|name| name.starts_with("prompt."));
    for name in names {
        let refused = |constants: &Tensors| {
            let vb = var_builder(constants, &Device::Cpu);
            let Err(error) = Model::load_folded(config, vb) else {
                panic!("{name} was not checked");
            };
            assert!(error.to_string().contains(name.as_str()), "{name}: {error}");
        };
        let mut changed = constants.clone();
        let tensor = &constants[name];
        let twice = Tensor::cat(&[tensor, tensor], 0).unwrap();
        changed.insert(name.clone(), twice);
        refused(&changed);
        changed.remove(name);
        refused(&changed);
    }
}
