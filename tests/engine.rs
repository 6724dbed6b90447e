//! Owns the proof that the inference engine computes what the model computes that was trained.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use shared::bundle::quantize::{largest, quantize};
use shared::case::{Case, Modality};
use shared::config::{HeadConfig, ModelConfig};
use shared::infer::Engine;
use shared::infer::observer::Observer;
use shared::infer::weights::Weights;
use shared::model::{Batch, Model};
use shared::nn::{Tensors, var_builder};

use crate::gradients::{batch, config, prompts, trainable, weights};

/// A model as it is exported: towers as they are, prompts and head folded.
fn exported(config: &ModelConfig) -> (Tensors, Model) {
    let all = weights(config);
    let (model, _) = trainable(config, &all);
    let mut folded = model.fold().unwrap();
    folded.extend(
        all.into_iter()
            .filter(|(name, _)| !name.starts_with("prompt.") && !name.starts_with("head.")),
    );
    let folded: Tensors = folded
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_dtype(DType::F32).unwrap()))
        .collect();
    let model = Model::load_folded(config, var_builder(&folded, &Device::Cpu)).unwrap();
    (folded, model)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference of features, logits and contributions between both, of one post of each case, relative to the largest entry.
fn difference(config: &ModelConfig, model: &Model, engine: &Engine) -> f32 {
    let mut worst = 0f32;
    for case in Case::ALL {
        let post: Batch = batch(config, &[case], DType::F32);
        let expected = model.forward(&post).unwrap().remove(0);
        let pixels = post.pixels.as_ref().map(values);
        let text = post.tokens.as_ref().map(|tokens| {
            let ids: Vec<u32> = tokens.ids.flatten_all().unwrap().to_vec1().unwrap();
            (ids, tokens.eot[0])
        });
        let text = text.as_ref().map(|(ids, end)| (ids.as_slice(), *end));
        let features = engine.features(case, pixels.as_deref(), text).unwrap();
        let answer = engine.answer(case, pixels.as_deref(), text).unwrap();
        let logits = model.logits(&expected).unwrap();
        let parts = model.head().contributions(&expected.features).unwrap();
        let [image, text] = &features;
        let pairs = [
            (expected.features.image.as_ref(), image.as_ref()),
            (expected.features.text.as_ref(), text.as_ref()),
            (Some(&logits), Some(&answer.logits)),
            (parts[0].as_ref(), answer.parts[0].as_ref()),
            (parts[1].as_ref(), answer.parts[1].as_ref()),
        ];
        for (expected, found) in pairs {
            let (Some(expected), Some(found)) = (expected, found) else {
                assert!(expected.is_none() && found.is_none());
                continue;
            };
            let expected = values(expected);
            assert_eq!(expected.len(), found.len());
            let largest = expected.iter().fold(1e-6f32, |top, x| top.max(x.abs()));
            for (a, b) in expected.iter().zip(found) {
                worst = worst.max((a - b).abs() / largest);
            }
        }
    }
    worst
}

#[test]
fn equals_the_model_with_every_prompt_and_case() {
    for prompt in prompts() {
        let config = config(prompt, HeadConfig::Linear);
        let (tensors, model) = exported(&config);
        let weights = Weights::from_tensors(&tensors).unwrap();
        let engine = Engine::load(&config, &Modality::ALL, weights).unwrap();
        let worst = difference(&config, &model, &engine);
        assert!(worst < 1e-5, "{:?}: {worst:e}", config.prompt);
    }
}

/// In bytes it is near, and equal to nothing by accident.
#[test]
fn in_bytes_it_is_near() {
    for prompt in prompts() {
        let config = config(prompt, HeadConfig::Linear);
        let (tensors, model) = exported(&config);
        let mut weights = Weights::from_tensors(&tensors).unwrap();
        quantize(&mut weights);
        let engine = Engine::load(&config, &Modality::ALL, weights).unwrap();
        let worst = difference(&config, &model, &engine);
        assert!(
            (1e-4..0.15).contains(&worst),
            "{:?}: {worst:e}",
            config.prompt
        );
    }
}

/// Widths of the inputs of layers by the layers' names, and how many rows of them came.
#[derive(Default)]
struct Seen(BTreeMap<String, (usize, usize)>);

impl Observer for Seen {
    fn see(&mut self, of: &str, layers: &[&str], rows: &[f32], width: usize) {
        assert!(!rows.is_empty() && rows.len().is_multiple_of(width));
        let mut add =
            |name: String| self.0.entry(name).or_insert((width, 0)).1 += rows.len() / width;
        match layers {
            [] => add(of.into()),
            layers => layers.iter().for_each(|layer| add(format!("{of}.{layer}"))),
        }
    }
}

/// Whoever looks on sees the inputs of every matrix that becomes bytes, and changes nothing.
#[test]
fn inputs_of_all_products_are_seen() {
    for prompt in prompts() {
        let config = config(prompt, HeadConfig::Linear);
        let (tensors, _) = exported(&config);
        let weights = Weights::from_tensors(&tensors).unwrap();
        let engine = Engine::load(&config, &Modality::ALL, weights.clone()).unwrap();
        let post = batch(&config, &[Case::Complete], DType::F32);
        let pixels = values(post.pixels.as_ref().unwrap());
        let tokens = post.tokens.as_ref().unwrap();
        let ids: Vec<u32> = tokens.ids.flatten_all().unwrap().to_vec1().unwrap();
        let end = tokens.eot[0];
        let (mut seen, case) = (Seen::default(), Case::Complete);
        let image = engine.observed_image_features(case, &pixels, &mut seen);
        let text = engine.observed_text_features(case, &ids, end, &mut seen);
        assert_eq!(
            image.unwrap(),
            engine.image_features(case, &pixels).unwrap()
        );
        assert_eq!(
            text.unwrap(),
            engine.text_features(case, &ids, end).unwrap()
        );
        let products = weights
            .0
            .iter()
            .filter(|(name, _)| largest(name).is_some() && !name.contains("token_embedding"));
        let mut left = seen.0.clone();
        for (name, weight) in products {
            let layer = name.strip_suffix(".weight").unwrap();
            let (width, _) = left
                .remove(layer)
                .unwrap_or_else(|| panic!("{layer} unseen"));
            assert_eq!(width, weight.shape[1..].iter().product::<usize>(), "{name}");
        }
        assert!(left.is_empty(), "{left:?}");
        // Of the last block's queries only one is computed.
        let last = config.clip.vision_config.num_hidden_layers - 1;
        let rows = |layer: &str| {
            seen.0[&format!("vision_model.encoder.layers.{last}.self_attn.{layer}")].1
        };
        assert!(rows("q_proj") == 1 && rows("k_proj") > 1);
    }
}

#[test]
fn what_was_not_loaded_is_refused() {
    let config = config(prompts()[0].clone(), HeadConfig::Linear);
    let (tensors, _) = exported(&config);
    let weights = Weights::from_tensors(&tensors).unwrap();
    let engine = Engine::load(&config, &[Modality::Image], weights.clone()).unwrap();
    assert_eq!(engine.modalities(), [Modality::Image]);
    let says = |error: shared::Error, words: &str| {
        let error = error.to_string();
        assert!(error.contains(words), "{error}");
    };
    says(
        engine
            .text_features(Case::Complete, &[1, 2], 1)
            .unwrap_err(),
        "without its text tower",
    );
    says(
        engine
            .image_features(Case::Complete, &[0.0; 7])
            .unwrap_err(),
        "7 values are not the pixels",
    );
    says(
        engine
            .image_features(Case::ImageMissing, &[0.0; 7])
            .unwrap_err(),
        "have no image",
    );
    let engine = Engine::load(&config, &Modality::ALL, weights.clone()).unwrap();
    let case = Case::ImageMissing;
    says(
        engine.text_features(case, &[1, 2], 2).unwrap_err(),
        "ends at 2",
    );
    says(
        engine.text_features(case, &[9999, 2], 1).unwrap_err(),
        "beyond the vocabulary",
    );
    let mut fewer = weights;
    let name = "text_model.encoder.layers.0.mlp.fc1.bias";
    fewer.0.remove(name);
    let error = Engine::load(&config, &Modality::ALL, fewer).err().unwrap();
    says(error, "mlp.fc1.bias: is missing");
}
