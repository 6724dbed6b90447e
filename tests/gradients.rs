//! Owns the proof that every trainable tensor gets its gradient, in every case, with every prompt method and head.
//!
//! The model has two layers and everything trainable: prompts, queries, norms, image projection, head. The gradients of
//! the f32 model, made by the fused operations, are held against central finite differences of the same model in double
//! precision, composed of plain operations, along random directions of each tensor.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use shared::case::{Case, Modality};
use shared::clip::{self, Tokens};
use shared::config::{
    ClipConfig, DcpConfig, DplConfig, HeadConfig, MapConfig, MapGrowth, MapInit, MapLevel,
    MapleConfig, ModelConfig, PromptConfig, Task,
};
use shared::model::{self, Batch, Model};
use shared::nn::Tensors;
use shared::rng::{Rng, below, normal, stream};

/// Of the gradient's own size along a direction, for f32 against double precision.
const RELATIVE: f64 = 5e-5;
/// Of the largest gradient of all tensors: what f32 loses in sums of terms that cancel.
const OF_LARGEST: f64 = 4e-7;
/// Step of the finite differences, in double precision.
const STEP: f64 = 1e-5;
const DIRECTIONS: usize = 3;

pub(crate) fn config(prompt: PromptConfig, head: HeadConfig) -> ModelConfig {
    let mut clip = ClipConfig {
        projection_dim: 12,
        ..ClipConfig::default()
    };
    let vision = &mut clip.vision_config;
    (
        vision.hidden_size,
        vision.intermediate_size,
        vision.num_hidden_layers,
    ) = (16, 32, 2);
    (
        vision.num_attention_heads,
        vision.image_size,
        vision.patch_size,
    ) = (2, 8, 4);
    let text = &mut clip.text_config;
    (
        text.hidden_size,
        text.intermediate_size,
        text.num_hidden_layers,
    ) = (12, 24, 2);
    (
        text.num_attention_heads,
        text.vocab_size,
        text.max_position_embeddings,
    ) = (3, 20, 6);
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    ModelConfig {
        clip,
        prompt,
        head,
        task: Task::MultiClass,
        classes,
    }
}

/// Every method, at every block.
pub(crate) fn prompts() -> Vec<PromptConfig> {
    let maple = |by_case| MapleConfig {
        length: 6,
        depth: 2,
        by_case,
    };
    let map = |level, growth| MapConfig {
        length: 6,
        depth: 2,
        level,
        growth,
        ..MapConfig::default()
    };
    let later = |level| MapConfig {
        depth: 1,
        first_block: 1,
        ..map(level, MapGrowth::Replace)
    };
    vec![
        PromptConfig::None,
        PromptConfig::Maple(maple(false)),
        PromptConfig::Maple(maple(true)),
        PromptConfig::Map(map(MapLevel::Input, MapGrowth::Replace)),
        PromptConfig::Map(map(MapLevel::Input, MapGrowth::Accumulate)),
        PromptConfig::Map(map(MapLevel::Attention, MapGrowth::Replace)),
        PromptConfig::Map(later(MapLevel::Input)),
        PromptConfig::Map(later(MapLevel::Attention)),
        PromptConfig::Dcp(DcpConfig {
            length: 6,
            depth: 2,
            reduction: 4,
            train_queries: true,
        }),
    ]
}

fn heads() -> [HeadConfig; 2] {
    [
        HeadConfig::Linear,
        HeadConfig::Dpl(DplConfig {
            scale: [3.0, 4.0, 5.0],
            ..DplConfig::default()
        }),
    ]
}

/// Every prompt method with every head.
fn models() -> impl Iterator<Item = ModelConfig> {
    let pairs = prompts()
        .into_iter()
        .flat_map(|prompt| heads().map(|head| (prompt.clone(), head)));
    pairs.map(|(prompt, head)| config(prompt, head))
}

/// Weights with nothing at zero or one, so that no gradient is small by accident.
pub(crate) fn weights(config: &ModelConfig) -> Tensors {
    let rng = &mut stream(11, "gradients");
    let mut tensors = clip::initialise(&config.clip, rng, &Device::Cpu).unwrap();
    tensors.append(&mut model::initialise(config, 11, &Device::Cpu).unwrap());
    let shaken = |(name, tensor): (String, Tensor), rng: &mut Rng| {
        let noise = normal(rng, tensor.dims(), 0.2, &Device::Cpu).unwrap();
        (name, (tensor + noise).unwrap())
    };
    tensors
        .into_iter()
        .map(|named| shaken(named, rng))
        .collect()
}

pub(crate) fn batch(config: &ModelConfig, cases: &[Case], dtype: DType) -> Batch {
    let rng = &mut stream(12, "posts");
    let count = |modality| cases.iter().filter(|case| case.has(modality)).count();
    let side = config.clip.vision_config.image_size;
    let context = config.clip.text_config.max_position_embeddings;
    let images = normal(
        rng,
        &[count(Modality::Image), 3, side, side],
        1.0,
        &Device::Cpu,
    )
    .unwrap();
    let ends: Vec<usize> = (0..count(Modality::Text))
        .map(|_| 1 + below(rng, context - 1))
        .collect();
    let ids: Vec<u32> = ends
        .iter()
        .flat_map(|&end| (0..context).map(move |i| (i, end)))
        .map(|(i, end)| {
            if i <= end {
                1 + below(rng, 19) as u32
            } else {
                0
            }
        })
        .collect();
    let tokens = (!ends.is_empty()).then(|| Tokens {
        ids: Tensor::from_vec(ids, (ends.len(), context), &Device::Cpu).unwrap(),
        eot: ends,
    });
    let pixels = (count(Modality::Image) > 0).then(|| images.to_dtype(dtype).unwrap());
    Batch {
        cases: cases.to_vec(),
        pixels,
        tokens,
    }
}

fn load(config: &ModelConfig, tensors: &Tensors, dtype: DType) -> Model {
    let map: HashMap<String, Tensor> = tensors.clone().into_iter().collect();
    Model::load(config, VarBuilder::from_tensors(map, dtype, &Device::Cpu)).unwrap()
}

/// A smooth loss that tells classes and posts apart.
pub(crate) fn loss(scores: &Tensor) -> Tensor {
    let (posts, classes) = scores.dims2().unwrap();
    let targets = normal(
        &mut stream(13, "targets"),
        &[posts, classes],
        1.0,
        &Device::Cpu,
    )
    .unwrap();
    let targets = targets.to_dtype(scores.dtype()).unwrap();
    (scores - targets)
        .unwrap()
        .sqr()
        .unwrap()
        .sum_all()
        .unwrap()
}

fn total_loss(model: &Model, batch: &Batch) -> Tensor {
    let outputs = model.forward(batch).unwrap();
    let losses = outputs
        .iter()
        .map(|output| loss(&model.logits(output).unwrap()));
    losses.reduce(|a, b| (a + b).unwrap()).unwrap()
}

/// The f32 model with its trainable tensors as variables.
pub(crate) fn trainable(config: &ModelConfig, tensors: &Tensors) -> (Model, BTreeMap<String, Var>) {
    let mut tensors = tensors.clone();
    let mut variables = BTreeMap::new();
    for name in model::trainable_names(config, true) {
        let variable = Var::from_tensor(&tensors[&name]).unwrap();
        tensors.insert(name.clone(), variable.as_tensor().clone());
        variables.insert(name, variable);
    }
    (load(config, &tensors, DType::F32), variables)
}

/// Gradients by name; absent where the loss does not depend on a tensor.
pub(crate) fn gradients(loss: &Tensor, variables: &BTreeMap<String, Var>) -> Tensors {
    let store = loss.backward().unwrap();
    let of = |(name, variable): (&String, &Var)| Some((name.clone(), store.get(variable)?.clone()));
    variables.iter().filter_map(of).collect()
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    let [a, b] = [a, b].map(|t| t.to_dtype(DType::F64).unwrap());
    (a * b).unwrap().sum_all().unwrap().to_scalar().unwrap()
}

pub(crate) fn norm(a: &Tensor) -> f64 {
    dot(a, a).sqrt()
}

#[test]
fn every_trainable_tensor_agrees_with_finite_differences() {
    let mut worst = (0.0, String::new());
    for config in models() {
        let tensors = weights(&config);
        let (model, variables) = trainable(&config, &tensors);
        let doubles: Tensors = tensors
            .into_iter()
            .map(|(name, tensor)| (name, tensor.to_dtype(DType::F64).unwrap()))
            .collect();
        for case in Case::ALL {
            let grads = gradients(
                &total_loss(&model, &batch(&config, &[case; 2], DType::F32)),
                &variables,
            );
            let largest = grads.values().map(norm).fold(0.0, f64::max);
            let posts = batch(&config, &[case; 2], DType::F64);
            for name in variables.keys() {
                for direction in 0..DIRECTIONS {
                    let rng = &mut stream(direction as u64, name);
                    let along = normal(rng, doubles[name].dims(), 1.0, &Device::Cpu).unwrap();
                    let along = (along.to_dtype(DType::F64).unwrap() / norm(&along)).unwrap();
                    let at = |step: f64| -> f64 {
                        let mut moved = doubles.clone();
                        let tensor = (&doubles[name] + (&along * step).unwrap()).unwrap();
                        moved.insert(name.clone(), tensor);
                        let model = load(&config, &moved, DType::F64);
                        total_loss(&model, &posts).to_scalar().unwrap()
                    };
                    let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                    let found = grads.get(name).map_or(0.0, |grad| dot(grad, &along));
                    let allowed = RELATIVE * expected.abs() + OF_LARGEST * largest;
                    let error = (found - expected).abs();
                    assert!(
                        error <= allowed,
                        "{name}, {case}: {found} instead of {expected} with {:?}",
                        config.prompt
                    );
                    if error / allowed > worst.0 {
                        worst = (
                            error / allowed,
                            format!("{name}, {case}: {found} {expected}"),
                        );
                    }
                }
            }
        }
    }
    println!(
        "worst share of the tolerance used: {:.3} ({})",
        worst.0, worst.1
    );
}

#[test]
fn no_trainable_tensor_is_left_without_a_gradient() {
    for config in models() {
        let (model, variables) = trainable(&config, &weights(&config));
        let posts = batch(&config, &Case::ALL, DType::F32);
        let grads = gradients(&total_loss(&model, &posts), &variables);
        let largest = grads.values().map(norm).fold(0.0, f64::max);
        for name in variables.keys() {
            let grad = grads
                .get(name)
                .unwrap_or_else(|| panic!("{name} gets no gradient"));
            // A key bias shifts all scores of a query alike, which the softmax ignores: its gradient is zero.
            let expected = !name.ends_with(".key.bias");
            assert_eq!(
                norm(grad) > 1e-5 * largest,
                expected,
                "{name}: {:e} of {largest:e}",
                norm(grad)
            );
        }
    }
}

/// What `docs/method.md` warns of at `init = "one_hot"`: rows that start alike get the same gradient unless the text
/// tower carries them on. At input level the row of ones is among them, for a norm makes of it what it makes of zeros.
#[test]
fn rows_that_start_alike_get_the_same_gradient() {
    for (level, depth, alike, apart) in [
        (MapLevel::Input, 2, vec![0, 1, 2, 3, 4, 5], false),
        (MapLevel::Input, 1, vec![0, 1, 2, 3, 4, 5], true),
        (MapLevel::Attention, 2, vec![1, 2], false),
    ] {
        let map = MapConfig {
            length: 6,
            depth,
            level,
            init: MapInit::OneHot,
            ..MapConfig::default()
        };
        let config = config(PromptConfig::Map(map), HeadConfig::Linear);
        let mut tensors = weights(&config);
        let fresh = model::initialise(&config, 11, &Device::Cpu).unwrap();
        let prompts = fresh
            .into_iter()
            .filter(|(name, _)| name.starts_with("prompt."));
        tensors.extend(prompts);
        let (model, variables) = trainable(&config, &tensors);
        let posts = batch(&config, &[Case::Complete; 2], DType::F32);
        let grads = gradients(&total_loss(&model, &posts), &variables);
        let spread = |name: &str| {
            let row = |i| grads[name].get(i).unwrap();
            let first = row(alike[0]);
            assert!(norm(&first) > 0.0, "{name} has no gradient");
            let far = |&i: &usize| norm(&(row(i) - &first).unwrap()) / norm(&first);
            alike[1..].iter().map(far).fold(0.0, f64::max)
        };
        for layer in 0..depth {
            let [image, text] =
                ["image", "text"].map(|tower| format!("prompt.rows.{tower}.complete.{layer}"));
            assert!(spread(&image) < 1e-4, "{image}: {}", spread(&image));
            assert_eq!(spread(&text) > 1e-2, apart, "{text}: {}", spread(&text));
        }
    }
}

/// 5,815,552 without the head at ViT-B/16 (method: trainable set), counted on shapes alone.
#[test]
fn trainable_count_at_vit_b_16() {
    let mut clip = ClipConfig::default();
    clip.vision_config.patch_size = 16;
    let classes = vec!["a".to_string(), "b".to_string()];
    let prompt = PromptConfig::Dcp(DcpConfig::default());
    let config = ModelConfig {
        clip,
        prompt,
        head: HeadConfig::Linear,
        task: Task::MultiClass,
        classes,
    };
    let count = |norms: bool| -> usize {
        let shapes = model::trainable_shapes(&config, norms);
        let body = shapes.iter().filter(|(name, _)| !name.starts_with("head."));
        body.map(|(_, shape)| shape.iter().product::<usize>()).sum()
    };
    assert_eq!(count(true), 5_815_552);
    assert_eq!(count(false), 2_006_784 + 3_412_992);
    assert!(!model::trainable_names(&config, true).contains(&"text_projection.weight".to_string()));
}
