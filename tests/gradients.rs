//! Owns the proof that every trainable tensor gets its gradient, in every case, with every head.
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
    ClipConfig, DcpConfig, DplConfig, HeadConfig, ModelConfig, PromptConfig, Task,
};
use shared::model::{self, Batch, Model};
use shared::nn::Tensors;
use shared::rng::{Rng, below, normal, stream};

/// Of the gradient's own size along a direction, for f32 against double precision.
const RELATIVE: f64 = 5e-5;
/// Of the largest gradient of all tensors: what f32 loses in sums of terms that cancel.
const OF_LARGEST: f64 = 2e-7;
/// Step of the finite differences, in double precision.
const STEP: f64 = 1e-5;
const DIRECTIONS: usize = 3;

fn config(head: HeadConfig) -> ModelConfig {
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
    let dcp = DcpConfig {
        length: 6,
        depth: 2,
        reduction: 4,
        train_queries: true,
    };
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    ModelConfig {
        clip,
        prompt: PromptConfig::Dcp(dcp),
        head,
        task: Task::MultiClass,
        classes,
    }
}

fn heads() -> [HeadConfig; 2] {
    [
        HeadConfig::Linear,
        HeadConfig::Dpl(DplConfig {
            scale: [3.0, 4.0, 5.0],
        }),
    ]
}

/// Weights with nothing at zero or one, so that no gradient is small by accident.
fn weights(config: &ModelConfig) -> Tensors {
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

fn batch(config: &ModelConfig, cases: &[Case], dtype: DType) -> Batch {
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
    let ends: Vec<u32> = (0..count(Modality::Text))
        .map(|_| 1 + below(rng, context - 1) as u32)
        .collect();
    let ids: Vec<u32> = ends
        .iter()
        .flat_map(|&end| (0..context as u32).map(move |i| (i, end)))
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
        eot: Tensor::new(ends.as_slice(), &Device::Cpu).unwrap(),
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
fn loss(scores: &Tensor) -> Tensor {
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
fn trainable(config: &ModelConfig, tensors: &Tensors) -> (Model, BTreeMap<String, Var>) {
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
fn gradients(loss: &Tensor, variables: &BTreeMap<String, Var>) -> Tensors {
    let store = loss.backward().unwrap();
    let of = |(name, variable): (&String, &Var)| Some((name.clone(), store.get(variable)?.clone()));
    variables.iter().filter_map(of).collect()
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    let [a, b] = [a, b].map(|t| t.to_dtype(DType::F64).unwrap());
    (a * b).unwrap().sum_all().unwrap().to_scalar().unwrap()
}

fn norm(a: &Tensor) -> f64 {
    dot(a, a).sqrt()
}

#[test]
fn every_trainable_tensor_agrees_with_finite_differences() {
    let mut worst = (0.0, String::new());
    for head in heads() {
        let config = config(head);
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
                        "{name}, {case}: {found} instead of {expected}"
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
    for head in heads() {
        let config = config(head);
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

/// What the reference code does: both towers for every post, a stand-in for what is missing, and then the missing half
/// of the features times zero. Skipping the tower changes neither the output nor any gradient.
#[test]
fn skipping_a_missing_tower_equals_padding_it() {
    let config = config(HeadConfig::Linear);
    let tensors = weights(&config);
    let (model, variables) = trainable(&config, &tensors);
    let cases = [0, 1, 2, 0, 2, 1].map(|code| Case::from_code(code).unwrap());
    let mixed = batch(&config, &cases, DType::F32);
    let full = stand_ins(&config, &mixed);

    let mut padded = Vec::new();
    for (row, case) in cases.into_iter().enumerate() {
        let one = |t: &Tensor| t.narrow(0, row, 1).unwrap();
        let of = |modality| model.prompts().tower(case, modality).unwrap();
        let pixels = one(full.pixels.as_ref().unwrap());
        let tokens = full.tokens.as_ref().unwrap();
        let tokens = Tokens {
            ids: one(&tokens.ids),
            eot: one(&tokens.eot),
        };
        let image = model
            .image_features(&pixels, Some(&of(Modality::Image)))
            .unwrap();
        let text = model
            .text_features(&tokens, Some(&of(Modality::Text)))
            .unwrap();
        let keep = |x: Tensor, modality| (x * f64::from(u8::from(case.has(modality)))).unwrap();
        let halves = [keep(image, Modality::Image), keep(text, Modality::Text)];
        let both = Tensor::cat(&halves, 1).unwrap();
        let logits = both.matmul(&variables["head.weight"].t().unwrap()).unwrap();
        padded.push(
            logits
                .broadcast_add(variables["head.bias"].as_tensor())
                .unwrap(),
        );
    }

    let outputs = model.forward(&mixed).unwrap();
    let mut skipped: Vec<Option<Tensor>> = vec![None; cases.len()];
    for output in &outputs {
        for (i, &row) in output.rows.iter().enumerate() {
            skipped[row] = Some(output.scores.narrow(0, i, 1).unwrap());
        }
    }
    let skipped: Vec<Tensor> = skipped.into_iter().flatten().collect();
    let [padded, skipped] = [padded, skipped].map(|rows| Tensor::cat(&rows, 0).unwrap());
    let difference = norm(&(&padded - &skipped).unwrap());
    assert!(
        difference <= 1e-5 * norm(&padded),
        "outputs differ by {difference:e}"
    );

    let [padded, skipped] = [padded, skipped].map(|scores| gradients(&loss(&scores), &variables));
    let largest = padded.values().map(norm).fold(0.0, f64::max);
    for (name, expected) in &padded {
        let difference = match skipped.get(name) {
            Some(found) => norm(&(expected - found).unwrap()),
            None => norm(expected),
        };
        assert!(
            difference <= 1e-5 * largest,
            "{name}: gradients differ by {difference:e} of {largest:e}"
        );
    }
    assert!(skipped.keys().all(|name| padded.contains_key(name)));
}

/// The batch with ones for missing pixels and an empty text for missing words, as the reference code has it.
fn stand_ins(config: &ModelConfig, batch: &Batch) -> Batch {
    let (pixels, tokens) = (
        batch.pixels.as_ref().unwrap(),
        batch.tokens.as_ref().unwrap(),
    );
    let context = config.clip.text_config.max_position_embeddings;
    let mut ids = vec![0u32; context];
    (ids[0], ids[1]) = (18, 19);
    let empty = Tensor::from_vec(ids, (1, context), &Device::Cpu).unwrap();
    let ones = pixels.narrow(0, 0, 1).unwrap().ones_like().unwrap();
    let (mut all_pixels, mut all_ids, mut all_eot) = (Vec::new(), Vec::new(), Vec::new());
    let (mut image, mut text) = (0, 0);
    for case in &batch.cases {
        if case.has(Modality::Image) {
            all_pixels.push(pixels.narrow(0, image, 1).unwrap());
            image += 1;
        } else {
            all_pixels.push(ones.clone());
        }
        if case.has(Modality::Text) {
            all_ids.push(tokens.ids.narrow(0, text, 1).unwrap());
            all_eot.push(tokens.eot.narrow(0, text, 1).unwrap());
            text += 1;
        } else {
            all_ids.push(empty.clone());
            all_eot.push(Tensor::new(&[1u32], &Device::Cpu).unwrap());
        }
    }
    let cat = |rows: Vec<Tensor>| Tensor::cat(&rows, 0).unwrap();
    let tokens = Tokens {
        ids: cat(all_ids),
        eot: cat(all_eot),
    };
    Batch {
        cases: vec![Case::Complete; batch.cases.len()],
        pixels: Some(cat(all_pixels)),
        tokens: Some(tokens),
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
