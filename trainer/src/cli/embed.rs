//! Owns `trainer embed`: the projected features of an image, a text, or both.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use clap::Args;
use serde::Serialize;
use shared::clip::Clip;
use shared::limits::PICTURE_BYTES;
use shared::nn::var_builder;

use crate::bounded;
use crate::clip_folder::{self, ClipFolder};

/// Print the features of an image, a text, or both: projected, not normalised.
#[derive(Args, Debug)]
pub struct EmbedArgs {
    /// Folder of a Hugging Face CLIP.
    #[arg(long, value_name = "DIR")]
    clip: PathBuf,
    /// A PNG, JPEG, WebP or GIF.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// A text.
    #[arg(long)]
    text: Option<String>,
    /// Print one line of JSON, {"image":[..],"text":[..]}, without what was not given.
    #[arg(long)]
    json: bool,
}

/// What is printed.
#[derive(Serialize)]
struct Features {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Vec<f32>>,
}

/// Prints the features.
///
/// # Errors
/// If neither is given, or the folder, the image or the text cannot be used.
pub fn run(args: EmbedArgs) -> Result<()> {
    if args.image.is_none() && args.text.is_none() {
        bail!("nothing to embed; give --image FILE, --text TEXT or both");
    }
    let device = Device::Cpu;
    let folder = clip_folder::load(&args.clip, &device)?;
    let clip =
        Clip::load(&folder.config, var_builder(&folder.tensors, &device)).with_context(|| {
            format!(
                "the weights in {} do not fit its config.json",
                args.clip.display()
            )
        })?;
    let image = args.image.map(|path| -> Result<Vec<f32>> {
        let bytes = bounded::bytes(&path, PICTURE_BYTES)?;
        let pixels = folder
            .preprocessor
            .pixels(&bytes)
            .with_context(|| format!("cannot use {}", path.display()))?;
        row(clip
            .vision
            .forward(&folder.preprocessor.tensor(&[pixels], &device)?, None)?)
    });
    let text = args
        .text
        .map(|text| text_features(&folder, &clip, &text, &device));
    let features = Features {
        image: image.transpose()?,
        text: text.transpose()?,
    };
    if args.json {
        println!("{}", serde_json::to_string(&features)?);
        return Ok(());
    }
    for (name, values) in [("image", features.image), ("text", features.text)] {
        if let Some(values) = values {
            println!("{name}: {} values", values.len());
            println!(
                "  {}",
                values
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" ")
            );
        }
    }
    Ok(())
}

fn text_features(
    folder: &ClipFolder,
    clip: &Clip,
    text: &str,
    device: &Device,
) -> Result<Vec<f32>> {
    let encoded = folder.tokenizer.encode(text)?;
    let rows = folder.config.text_config.vocab_size;
    if let Some(id) = encoded.ids.iter().find(|&&id| id as usize >= rows) {
        bail!(
            "the tokenizer gives token {id}, but config.json says the text tower knows {rows}; they do not belong together"
        );
    }
    let tokens = folder.tokenizer.batch(&[encoded], None, device)?;
    row(clip.text.forward(&tokens, None)?)
}

fn row(features: Tensor) -> Result<Vec<f32>> {
    Ok(features.flatten_all()?.to_vec1()?)
}
