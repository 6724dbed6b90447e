//! Owns the proof that what is not computed is not missed, with any prompts: the tower of a missing modality, and the
//! padding of texts. Outputs and gradients stay the same.

use candle_core::{DType, Device, Tensor};
use shared::case::{Case, Modality};
use shared::clip::Tokens;
use shared::config::{HeadConfig, ModelConfig};
use shared::model::Batch;

use crate::gradients::{batch, config, gradients, loss, norm, prompts, trainable, weights};

/// Of the largest: products of other sizes sum in another order.
const NOISE: f64 = 2e-6;

/// Texts beside one that fills its context, where nothing can be left out, and the same texts by themselves.
#[test]
fn leaving_out_padding_changes_neither_outputs_nor_gradients() {
    let cases = [Case::ImageMissing; 3];
    for prompt in prompts() {
        let config = config(prompt, HeadConfig::Linear);
        let (model, variables) = trainable(&config, &weights(&config));
        let Some(tokens) = batch(&config, &cases, DType::F32).tokens else {
            panic!("posts without an image have a text");
        };
        let context = tokens.ids.dim(1).unwrap();
        // The padding differs from post to post: dynamic prompts read it.
        let short = |eot: [usize; 3]| Batch {
            cases: cases.to_vec(),
            pixels: None,
            tokens: Some(Tokens {
                ids: tokens.ids.clone(),
                eot: eot.to_vec(),
            }),
        };
        let alone = model.forward(&short([1, 3, 2])).unwrap().remove(0);
        let full = context - 1;
        let rows = |x: &Tensor| Tensor::cat(&[x, &x.narrow(0, 0, 1).unwrap()], 0).unwrap();
        let beside = Batch {
            cases: vec![Case::ImageMissing; 4],
            pixels: None,
            tokens: Some(Tokens {
                ids: rows(&tokens.ids),
                eot: vec![1, 3, 2, full],
            }),
        };
        let beside = model.forward(&beside).unwrap().remove(0);
        let [alone, beside] = [alone, beside].map(|output| output.scores.narrow(0, 0, 3).unwrap());
        let difference = norm(&(&alone - &beside).unwrap());
        assert!(
            difference <= NOISE * norm(&beside),
            "{:?}: outputs differ by {difference:e}",
            config.prompt
        );

        let [alone, beside] = [alone, beside].map(|scores| gradients(&loss(&scores), &variables));
        assert!(alone.keys().eq(beside.keys()) && !alone.is_empty());
        let largest = beside.values().map(norm).fold(0.0, f64::max);
        for (name, expected) in &beside {
            let difference = norm(&(expected - &alone[name]).unwrap());
            assert!(
                difference <= NOISE * largest,
                "{:?}, {name}: gradients differ by {difference:e} of {largest:e}",
                config.prompt
            );
        }
    }
}

/// What the reference code does: both towers for every post, a stand-in for what is missing, and then the missing half
/// of the features times zero. Skipping the tower changes neither the output nor any gradient.
#[test]
fn skipping_a_missing_tower_equals_padding_it() {
    for prompt in prompts() {
        skips_a_missing_tower(&config(prompt, HeadConfig::Linear));
    }
}

fn skips_a_missing_tower(config: &ModelConfig) {
    let (model, variables) = trainable(config, &weights(config));
    let cases = [0, 1, 2, 0, 2, 1].map(|code| Case::from_code(code).unwrap());
    let mixed = batch(config, &cases, DType::F32);
    let full = stand_ins(config, &mixed);

    let mut padded = Vec::new();
    for (row, case) in cases.into_iter().enumerate() {
        let one = |t: &Tensor| t.narrow(0, row, 1).unwrap();
        let of = |modality| model.prompts().tower(case, modality).unwrap();
        let pixels = one(full.pixels.as_ref().unwrap());
        let tokens = full.tokens.as_ref().unwrap();
        let tokens = Tokens {
            ids: one(&tokens.ids),
            eot: vec![tokens.eot[row]],
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
            all_eot.push(tokens.eot[text]);
            text += 1;
        } else {
            all_ids.push(empty.clone());
            all_eot.push(1);
        }
    }
    let cat = |rows: Vec<Tensor>| Tensor::cat(&rows, 0).unwrap();
    let tokens = Tokens {
        ids: cat(all_ids),
        eot: all_eot,
    };
    Batch {
        cases: vec![Case::Complete; batch.cases.len()],
        pixels: Some(cat(all_pixels)),
        tokens: Some(tokens),
    }
}
