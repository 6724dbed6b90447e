//! Owns CLIP's own random initialisation, for training a CLIP from scratch.

use candle_core::{DType, Device, Tensor};

use crate::config::ClipConfig;
use crate::error::Result;
use crate::nn::Tensors;
use crate::rng::{Rng, normal};

/// Fresh weights under Hugging Face names: attention N(0, d^-1/2) with output and feed-forward exits narrowed by
/// (2 layers)^-1/2, token table N(0, 0.02), positions N(0, 0.01), biases 0, logit scale ln(1/0.07).
///
/// # Errors
/// If the tensors cannot be made on the device.
pub fn initialise(config: &ClipConfig, rng: &mut Rng, device: &Device) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    let (v, t, joint) = (
        &config.vision_config,
        &config.text_config,
        config.projection_dim,
    );
    let mut put = |name: String, shape: &[usize], std: f64| -> Result<()> {
        tensors.insert(name, normal(rng, shape, std, device)?);
        Ok(())
    };
    let root = |d: usize| (d as f64).powf(-0.5);

    let embeddings = "vision_model.embeddings";
    let (d, patch) = (v.hidden_size, v.patch_size);
    put(format!("{embeddings}.class_embedding"), &[d], root(d))?;
    put(
        format!("{embeddings}.patch_embedding.weight"),
        &[d, 3, patch, patch],
        root(3 * patch * patch),
    )?;
    put(
        format!("{embeddings}.position_embedding.weight"),
        &[v.patches() + 1, d],
        root(d),
    )?;
    put("visual_projection.weight".into(), &[joint, d], root(d))?;

    let embeddings = "text_model.embeddings";
    let d = t.hidden_size;
    put(
        format!("{embeddings}.token_embedding.weight"),
        &[t.vocab_size, d],
        0.02,
    )?;
    put(
        format!("{embeddings}.position_embedding.weight"),
        &[t.max_position_embeddings, d],
        0.01,
    )?;
    put("text_projection.weight".into(), &[joint, d], root(d))?;

    let towers = [
        (
            "vision_model",
            v.hidden_size,
            v.intermediate_size,
            v.num_hidden_layers,
        ),
        (
            "text_model",
            t.hidden_size,
            t.intermediate_size,
            t.num_hidden_layers,
        ),
    ];
    for (tower, d, inner, layers) in towers {
        let exit = root(2 * layers);
        for layer in 0..layers {
            let at = |name: &str| format!("{tower}.encoder.layers.{layer}.{name}.weight");
            for name in ["q_proj", "k_proj", "v_proj"] {
                put(at(&format!("self_attn.{name}")), &[d, d], root(d))?;
            }
            put(at("self_attn.out_proj"), &[d, d], root(d) * exit)?;
            put(at("mlp.fc1"), &[inner, d], root(2 * d))?;
            put(at("mlp.fc2"), &[d, inner], root(d) * exit)?;
        }
    }

    for (tower, d, inner, layers) in towers {
        let mut constant = |name: String, width: usize, value: f64| -> Result<()> {
            tensors.insert(name, (Tensor::ones(width, DType::F32, device)? * value)?);
            Ok(())
        };
        for layer in 0..layers {
            let at = |name: &str| format!("{tower}.encoder.layers.{layer}.{name}");
            for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                constant(at(&format!("self_attn.{name}.bias")), d, 0.0)?;
            }
            constant(at("mlp.fc1.bias"), inner, 0.0)?;
            constant(at("mlp.fc2.bias"), d, 0.0)?;
            for norm in ["layer_norm1", "layer_norm2"] {
                constant(at(&format!("{norm}.weight")), d, 1.0)?;
                constant(at(&format!("{norm}.bias")), d, 0.0)?;
            }
        }
        let norms: &[&str] = if tower == "vision_model" {
            &["pre_layrnorm", "post_layernorm"]
        } else {
            &["final_layer_norm"]
        };
        for norm in norms {
            constant(format!("{tower}.{norm}.weight"), d, 1.0)?;
            constant(format!("{tower}.{norm}.bias"), d, 0.0)?;
        }
    }
    tensors.insert(
        "logit_scale".into(),
        Tensor::new((1.0f32 / 0.07).ln(), device)?,
    );
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::{Clip, Tokens};
    use crate::nn::var_builder;
    use crate::rng::stream;

    /// ViT-B/16: 149,620,737 parameters (method: section 1), counted on shapes alone at a hundredth of the vocabulary.
    #[test]
    fn count_and_forward() {
        let mut config = ClipConfig::default();
        config.vision_config.patch_size = 16;
        config.vision_config.num_hidden_layers = 2;
        config.text_config.num_hidden_layers = 2;
        config.text_config.vocab_size = 100;
        let device = Device::Cpu;
        let tensors = initialise(&config, &mut stream(0, "clip"), &device).unwrap();
        let count: usize = tensors.values().map(Tensor::elem_count).sum();
        let block = |d: usize| 12 * d * d + 13 * d;
        let dropped = 10 * (block(768) + block(512)) + (49408 - 100) * 512;
        assert_eq!(count + dropped, 149_620_737);

        let clip = Clip::load(&config, var_builder(&tensors, &device)).unwrap();
        let pixels = Tensor::zeros((2, 3, 224, 224), DType::F32, &device).unwrap();
        assert_eq!(clip.vision.forward(&pixels, None).unwrap().dims(), [2, 512]);
        let ids = Tensor::new(&[[98u32, 5, 99, 0], [98, 99, 0, 0]], &device).unwrap();
        let eot = vec![2, 1];
        let both = clip
            .text
            .forward(
                &Tokens {
                    ids: ids.clone(),
                    eot,
                },
                None,
            )
            .unwrap();
        assert_eq!(both.dims(), [2, 512]);

        // What comes after the end token has no effect.
        let short = Tokens {
            ids: ids.narrow(1, 0, 3).unwrap(),
            eot: vec![2, 1],
        };
        let diff = (clip.text.forward(&short, None).unwrap() - both)
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap();
        assert!(diff.to_scalar::<f32>().unwrap() < 1e-6);
    }
}
