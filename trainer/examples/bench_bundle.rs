//! Writes a bundle to measure with: a CLIP folder, or CLIP ViT-B/16 with random weights, with fresh prompts and a fresh
//! head. Speed does not depend on what they say.
//!
//!     bench_bundle CLIP_FOLDER OUT PROMPT DTYPE     PROMPT: none or dcp; DTYPE: f32, f16 or int8

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Device;
use shared::bundle::{self, About, Contents, Dtype};
use shared::config::{HeadConfig, ModelConfig, PromptConfig, Task};
use shared::infer::weights::Weights;
use shared::model;
use trainer::clip_folder;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out, prompt, dtype] = arguments.as_slice() else {
        anyhow::bail!("usage: bench_bundle CLIP_FOLDER OUT PROMPT DTYPE");
    };
    let mut clip = clip_folder::load(Path::new(folder), &Device::Cpu)?;
    let dtype: Dtype =
        serde_json::from_value(dtype.as_str().into()).context("DTYPE is f32, f16 or int8")?;
    let prompt: PromptConfig = serde_json::from_value(serde_json::json!({ "method": prompt }))
        .context("PROMPT is the name of a method, such as none or dcp")?;
    let config = ModelConfig {
        clip: clip.config.clone(),
        prompt,
        head: HeadConfig::Linear,
        task: Task::MultiClass,
        classes: (0..10).map(|k| format!("class {k}")).collect(),
    };
    clip.tensors
        .append(&mut model::initialise(&config, 0, &Device::Cpu)?);
    let files = bundle::encode(Contents {
        config: &config,
        tensors: &clip.tensors,
        rounded: &Weights::default(),
        images: &clip.preprocessor,
        tokenizer: &clip.tokenizer,
        dtype,
        about: About {
            name: "Benchmark".into(),
            description: "Fresh prompts and head; for measuring only.".into(),
            ..About::default()
        },
        calibration: None,
        background: None,
    })?;
    std::fs::create_dir_all(out)?;
    for (name, bytes) in &files {
        std::fs::write(Path::new(out).join(name), bytes)?;
    }
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    println!("{out}: {} files, {:.1} MB", files.len(), bytes as f64 / 1e6);
    Ok(())
}
