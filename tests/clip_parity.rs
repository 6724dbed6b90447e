//! Owns the parity of our towers with two other implementations: Hugging Face transformers (golden/make_clip.py: from
//! the bytes of a picture or a text to features) and candle-transformers (live, on a random model).

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use candle_transformers::models::clip as other;
use serde::Deserialize;
use shared::clip::{Clip, Tokens, initialise};
use shared::config::{ClipConfig, TextConfig, VisionConfig};
use shared::nn::{Tensors, var_builder};
use trainer::clip_folder;

use crate::preprocess::golden;

#[derive(Deserialize)]
struct Expected {
    images: BTreeMap<String, Vec<f32>>,
    texts: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    features: Vec<f32>,
}

/// Largest difference relative to the largest entry.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |most, v| most.max(v.abs()));
    found
        .iter()
        .zip(expected)
        .fold(0f32, |most, (a, b)| most.max((a - b).abs()))
        / largest
}

#[test]
fn features_equal_hugging_faces() {
    let device = Device::Cpu;
    let folder = clip_folder::load(&golden("clip"), &device).unwrap();
    let clip = Clip::load(&folder.config, var_builder(&folder.tensors, &device)).unwrap();
    let expected: Expected =
        serde_json::from_slice(&std::fs::read(golden("clip/expected.json")).unwrap()).unwrap();
    for (name, features) in &expected.images {
        let bytes = std::fs::read(golden("preprocess").join(name)).unwrap();
        let pixels = folder.preprocessor.pixels(&bytes).unwrap();
        let found = clip
            .vision
            .forward(
                &folder.preprocessor.tensor(&[pixels], &device).unwrap(),
                None,
            )
            .unwrap();
        let worst = difference(&found.flatten_all().unwrap().to_vec1().unwrap(), features);
        assert!(worst <= 1e-5, "{name}: {worst}");
    }
    for Text { text, features } in &expected.texts {
        let tokens = folder
            .tokenizer
            .batch(&[folder.tokenizer.encode(text).unwrap()], None, &device)
            .unwrap();
        let found = clip.text.forward(&tokens, None).unwrap();
        let worst = difference(&found.flatten_all().unwrap().to_vec1().unwrap(), features);
        assert!(worst <= 1e-5, "{text:?}: {worst}");
    }
}

fn config() -> ClipConfig {
    ClipConfig {
        projection_dim: 24,
        vision_config: VisionConfig {
            hidden_size: 32,
            intermediate_size: 64,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            image_size: 32,
            patch_size: 8,
            ..VisionConfig::default()
        },
        text_config: TextConfig {
            hidden_size: 24,
            intermediate_size: 40,
            num_hidden_layers: 2,
            num_attention_heads: 3,
            vocab_size: 60,
            max_position_embeddings: 12,
            ..TextConfig::default()
        },
        ..ClipConfig::default()
    }
}

#[test]
fn features_equal_candle_transformers() {
    let device = Device::Cpu;
    let config = config();
    let tensors = initialise(&config, &mut shared::rng::stream(1, "parity"), &device).unwrap();
    let vb = var_builder(&tensors, &device);
    let ours = Clip::load(&config, vb.clone()).unwrap();
    let (v, t) = (&config.vision_config, &config.text_config);
    let theirs = other::ClipModel::new(
        vb,
        &other::ClipConfig {
            text_config: other::text_model::ClipTextConfig {
                vocab_size: t.vocab_size,
                embed_dim: t.hidden_size,
                activation: other::text_model::Activation::QuickGelu,
                intermediate_size: t.intermediate_size,
                max_position_embeddings: t.max_position_embeddings,
                pad_with: None,
                num_hidden_layers: t.num_hidden_layers,
                num_attention_heads: t.num_attention_heads,
                projection_dim: config.projection_dim,
            },
            vision_config: other::vision_model::ClipVisionConfig {
                embed_dim: v.hidden_size,
                activation: other::text_model::Activation::QuickGelu,
                intermediate_size: v.intermediate_size,
                num_hidden_layers: v.num_hidden_layers,
                num_attention_heads: v.num_attention_heads,
                projection_dim: config.projection_dim,
                num_channels: 3,
                image_size: v.image_size,
                patch_size: v.patch_size,
            },
            logit_scale_init_value: 2.6592,
            image_size: v.image_size,
        },
    );
    let theirs = theirs.unwrap();
    let pixels = shared::rng::normal(
        &mut shared::rng::stream(2, "pixels"),
        &[3, 3, 32, 32],
        1.0,
        &device,
    )
    .unwrap();
    let found = ours.vision.forward(&pixels, None).unwrap();
    let expected = theirs.get_image_features(&pixels).unwrap();
    assert!(difference(&flat(&found), &flat(&expected)) < 1e-5);

    // The end token has the largest id, which is what they look for.
    let ids = Tensor::new(
        &[[58u32, 3, 7, 59, 0, 0], [58, 11, 12, 13, 14, 59]],
        &device,
    )
    .unwrap();
    let eot = vec![3, 5];
    let found = ours
        .text
        .forward(
            &Tokens {
                ids: ids.clone(),
                eot,
            },
            None,
        )
        .unwrap();
    let expected = theirs.get_text_features(&ids).unwrap();
    assert!(difference(&flat(&found), &flat(&expected)) < 1e-5);
}

fn flat(features: &Tensor) -> Vec<f32> {
    features.flatten_all().unwrap().to_vec1().unwrap()
}

/// The same weights under OpenAI's names.
fn openai(tensors: &Tensors, config: &ClipConfig) -> Tensors {
    let mut out = Tensors::new();
    let towers = [
        (
            "vision_model",
            "visual.",
            config.vision_config.num_hidden_layers,
        ),
        ("text_model", "", config.text_config.num_hidden_layers),
    ];
    let get = |name: String| tensors[&name].clone();
    for (ours, theirs, layers) in towers {
        for layer in 0..layers {
            let from = format!("{ours}.encoder.layers.{layer}");
            let to = format!("{theirs}transformer.resblocks.{layer}");
            for end in ["weight", "bias"] {
                let packed =
                    ["q", "k", "v"].map(|part| get(format!("{from}.self_attn.{part}_proj.{end}")));
                out.insert(
                    format!("{to}.attn.in_proj_{end}"),
                    Tensor::cat(&packed, 0).unwrap(),
                );
                for (a, b) in [
                    ("self_attn.out_proj", "attn.out_proj"),
                    ("layer_norm1", "ln_1"),
                    ("layer_norm2", "ln_2"),
                    ("mlp.fc1", "mlp.c_fc"),
                    ("mlp.fc2", "mlp.c_proj"),
                ] {
                    out.insert(format!("{to}.{b}.{end}"), get(format!("{from}.{a}.{end}")));
                }
            }
        }
    }
    for (a, b) in [
        (
            "vision_model.embeddings.patch_embedding.weight",
            "visual.conv1.weight",
        ),
        (
            "vision_model.embeddings.class_embedding",
            "visual.class_embedding",
        ),
        (
            "vision_model.embeddings.position_embedding.weight",
            "visual.positional_embedding",
        ),
        ("vision_model.pre_layrnorm.weight", "visual.ln_pre.weight"),
        ("vision_model.pre_layrnorm.bias", "visual.ln_pre.bias"),
        (
            "vision_model.post_layernorm.weight",
            "visual.ln_post.weight",
        ),
        ("vision_model.post_layernorm.bias", "visual.ln_post.bias"),
        (
            "text_model.embeddings.token_embedding.weight",
            "token_embedding.weight",
        ),
        (
            "text_model.embeddings.position_embedding.weight",
            "positional_embedding",
        ),
        ("text_model.final_layer_norm.weight", "ln_final.weight"),
        ("text_model.final_layer_norm.bias", "ln_final.bias"),
        ("logit_scale", "logit_scale"),
    ] {
        out.insert(b.into(), get(a.into()));
    }
    for (a, b) in [
        ("visual_projection.weight", "visual.proj"),
        ("text_projection.weight", "text_projection"),
    ] {
        out.insert(b.into(), get(a.into()).t().unwrap().contiguous().unwrap());
    }
    out.insert(
        "context_length".into(),
        Tensor::new(77i64, &Device::Cpu).unwrap(),
    );
    out
}

/// A copy of the golden folder that a test may change.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden("clip")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

fn save(tensors: &Tensors, path: std::path::PathBuf) {
    let tensors = tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.clone()))
        .collect();
    candle_core::safetensors::save(&tensors, path).unwrap();
}

fn assert_same(a: &Tensors, b: &Tensors) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, tensor) in a {
        assert_eq!(flat(tensor), flat(&b[name]), "{name}");
        assert_eq!(b[name].dtype(), DType::F32);
    }
}

#[test]
fn openais_names_shards_and_bf16_load_the_same_weights() {
    let device = Device::Cpu;
    let folder = copy();
    let whole = clip_folder::load(folder.path(), &device).unwrap();

    save(
        &openai(&whole.tensors, &whole.config),
        folder.path().join("model.safetensors"),
    );
    assert_same(
        &whole.tensors,
        &clip_folder::load(folder.path(), &device).unwrap().tensors,
    );

    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let mut weight_map = BTreeMap::new();
    let mut shards = [Tensors::new(), Tensors::new()];
    for (place, (name, tensor)) in whole.tensors.iter().enumerate() {
        shards[place % 2].insert(name.clone(), tensor.clone());
        weight_map.insert(name.clone(), format!("part-{}.safetensors", place % 2));
    }
    for (place, shard) in shards.iter().enumerate() {
        save(
            shard,
            folder.path().join(format!("part-{place}.safetensors")),
        );
    }
    let index = serde_json::json!({ "weight_map": weight_map });
    std::fs::write(
        folder.path().join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
    assert_same(
        &whole.tensors,
        &clip_folder::load(folder.path(), &device).unwrap().tensors,
    );

    let halved: Tensors = shards[0]
        .iter()
        .map(|(n, t)| (n.clone(), t.to_dtype(DType::BF16).unwrap()))
        .collect();
    save(&halved, folder.path().join("part-0.safetensors"));
    let loaded = clip_folder::load(folder.path(), &device).unwrap().tensors;
    for (name, tensor) in &halved {
        assert_eq!(
            flat(&tensor.to_dtype(DType::F32).unwrap()),
            flat(&loaded[name]),
            "{name}"
        );
    }
}

#[test]
fn incomplete_folders_get_a_sentence() {
    let device = Device::Cpu;
    let check = |change: &dyn Fn(&std::path::Path), says: &[&str]| {
        let folder = copy();
        change(folder.path());
        let error = match clip_folder::load(folder.path(), &device) {
            Ok(clip) => Clip::load(&clip.config, var_builder(&clip.tensors, &device))
                .map(|_| ())
                .unwrap_err()
                .to_string(),
            Err(error) => format!("{error:#}"),
        };
        assert!(says.iter().all(|word| error.contains(word)), "{error}");
    };
    let remove = |name: &'static str| {
        move |dir: &std::path::Path| std::fs::remove_file(dir.join(name)).unwrap()
    };
    check(&remove("config.json"), &["config.json"]);
    check(
        &remove("model.safetensors"),
        &["model.safetensors", "neither"],
    );
    check(&remove("vocab.json"), &["tokenizer.json", "vocab.json"]);
    check(
        &|dir| {
            let path = dir.join("model.safetensors");
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        },
        &["model.safetensors", "damaged"],
    );
    check(
        &|dir| {
            let mut tensors = clip_folder::load(dir, &Device::Cpu).unwrap().tensors;
            tensors.remove("text_model.final_layer_norm.weight");
            save(&tensors, dir.join("model.safetensors"));
        },
        &["text_model.final_layer_norm.weight"],
    );
    check(
        &|dir| {
            std::fs::write(
                dir.join("preprocessor_config.json"),
                r#"{"size": 32, "crop_size": 32}"#,
            )
            .unwrap()
        },
        &["preprocessor_config.json", "32", "24"],
    );
}
