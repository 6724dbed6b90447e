//! Owns the translation of OpenAI's own tensor names into Hugging Face's.

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::nn::Tensors;

/// Tensors under Hugging Face names. A file that has OpenAI's names (`visual.conv1.weight`, ..) is translated: packed
/// q, k, v are split, projections transposed, the three scalars of the archive dropped. Others pass unchanged.
///
/// # Errors
/// If a packed tensor cannot be split in three or a projection is no matrix.
pub fn canonical(tensors: Tensors) -> Result<Tensors> {
    if !tensors.contains_key("visual.conv1.weight") {
        return Ok(tensors);
    }
    let mut out = Tensors::new();
    for (name, tensor) in tensors {
        translate(&name, &tensor, &mut out).map_err(|error| Error::Tensor {
            name: name.clone(),
            message: format!("cannot be read as one of OpenAI's CLIP tensors: {error}"),
        })?;
    }
    Ok(out)
}

fn translate(name: &str, tensor: &Tensor, out: &mut Tensors) -> candle_core::Result<()> {
    let renamed = match name {
        "visual.conv1.weight" => "vision_model.embeddings.patch_embedding.weight",
        "visual.class_embedding" => "vision_model.embeddings.class_embedding",
        "visual.positional_embedding" => "vision_model.embeddings.position_embedding.weight",
        "token_embedding.weight" => "text_model.embeddings.token_embedding.weight",
        "positional_embedding" => "text_model.embeddings.position_embedding.weight",
        "visual.proj" => {
            out.insert("visual_projection.weight".into(), tensor.t()?.contiguous()?);
            return Ok(());
        }
        "text_projection" => {
            out.insert("text_projection.weight".into(), tensor.t()?.contiguous()?);
            return Ok(());
        }
        "logit_scale" => "logit_scale",
        "input_resolution" | "context_length" | "vocab_size" => return Ok(()),
        _ => "",
    };
    if !renamed.is_empty() {
        out.insert(renamed.into(), tensor.clone());
        return Ok(());
    }
    let (tower, rest) = match name.strip_prefix("visual.") {
        Some(rest) => ("vision_model", rest),
        None => ("text_model", name),
    };
    for (theirs, ours) in [
        ("ln_pre", "pre_layrnorm"),
        ("ln_post", "post_layernorm"),
        ("ln_final", "final_layer_norm"),
    ] {
        if let Some(end) = rest.strip_prefix(theirs) {
            out.insert(format!("{tower}.{ours}{end}"), tensor.clone());
            return Ok(());
        }
    }
    let Some((layer, part)) = rest
        .strip_prefix("transformer.resblocks.")
        .and_then(|rest| rest.split_once('.'))
    else {
        // An unknown tensor is not ours to judge: what the model needs and lacks is reported when it is loaded.
        out.insert(name.into(), tensor.clone());
        return Ok(());
    };
    let at = |part: &str| format!("{tower}.encoder.layers.{layer}.{part}");
    if let Some(end @ ("weight" | "bias")) = part.strip_prefix("attn.in_proj_") {
        let rows = tensor.dim(0)? / 3;
        for (i, which) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
            let third = tensor.narrow(0, i * rows, rows)?.contiguous()?;
            out.insert(at(&format!("self_attn.{which}.{end}")), third);
        }
        return Ok(());
    }
    let renames = [
        ("attn.out_proj.", "self_attn.out_proj."),
        ("ln_1.", "layer_norm1."),
        ("ln_2.", "layer_norm2."),
        ("mlp.c_fc.", "mlp.fc1."),
        ("mlp.c_proj.", "mlp.fc2."),
    ];
    let renamed = renames.iter().find_map(|(theirs, ours)| {
        part.strip_prefix(theirs)
            .map(|end| at(&format!("{ours}{end}")))
    });
    out.insert(renamed.unwrap_or_else(|| name.into()), tensor.clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::clip::initialise;
    use crate::config::ClipConfig;
    use crate::rng::stream;

    /// Packs Hugging Face weights into OpenAI's names and back.
    #[test]
    fn openai_names_give_the_same_tensors() {
        let config: ClipConfig = serde_json::from_str(
            r#"{"projection_dim": 6,
                "vision_config": {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
                                  "num_attention_heads": 2, "image_size": 8, "patch_size": 4},
                "text_config": {"hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 2,
                                "num_attention_heads": 2, "vocab_size": 20, "max_position_embeddings": 7}}"#,
        )
        .unwrap();
        let ours = initialise(&config, &mut stream(0, "names"), &Device::Cpu).unwrap();
        let mut theirs = Tensors::new();
        for (name, tensor) in &ours {
            let openai = name
                .replace(
                    "vision_model.embeddings.patch_embedding.weight",
                    "visual.conv1.weight",
                )
                .replace(
                    "vision_model.embeddings.class_embedding",
                    "visual.class_embedding",
                )
                .replace(
                    "vision_model.embeddings.position_embedding.weight",
                    "visual.positional_embedding",
                )
                .replace("text_model.embeddings.token_embedding", "token_embedding")
                .replace(
                    "text_model.embeddings.position_embedding.weight",
                    "positional_embedding",
                )
                .replace("vision_model.pre_layrnorm", "visual.ln_pre")
                .replace("vision_model.post_layernorm", "visual.ln_post")
                .replace("text_model.final_layer_norm", "ln_final")
                .replace(
                    "vision_model.encoder.layers",
                    "visual.transformer.resblocks",
                )
                .replace("text_model.encoder.layers", "transformer.resblocks")
                .replace("layer_norm1", "ln_1")
                .replace("layer_norm2", "ln_2")
                .replace("mlp.fc1", "mlp.c_fc")
                .replace("mlp.fc2", "mlp.c_proj")
                .replace("self_attn.", "attn.");
            if openai.contains("attn.k_proj") || openai.contains("attn.v_proj") {
                continue;
            }
            if openai.contains("attn.q_proj") {
                let three: Vec<_> = ["q_proj", "k_proj", "v_proj"]
                    .map(|p| ours[&name.replace("q_proj", p)].clone())
                    .into();
                let packed = Tensor::cat(&three, 0).unwrap();
                theirs.insert(openai.replace("q_proj.", "in_proj_"), packed);
            } else if name == "visual_projection.weight" {
                theirs.insert("visual.proj".into(), tensor.t().unwrap());
            } else if name == "text_projection.weight" {
                theirs.insert("text_projection".into(), tensor.t().unwrap());
            } else {
                theirs.insert(openai, tensor.clone());
            }
        }
        theirs.insert(
            "context_length".into(),
            Tensor::new(7f32, &Device::Cpu).unwrap(),
        );
        let back = canonical(theirs).unwrap();
        assert_eq!(
            back.keys().collect::<Vec<_>>(),
            ours.keys().collect::<Vec<_>>()
        );
        for (name, tensor) in &ours {
            let same = (tensor - &back[name])
                .unwrap()
                .abs()
                .unwrap()
                .flatten_all()
                .unwrap()
                .max(0)
                .unwrap();
            assert_eq!(same.to_scalar::<f32>().unwrap(), 0.0, "{name}");
        }
    }
}
