//! Owns a tiny random CLIP folder on disk, and the `trainer` program as tests run it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use candle_core::Device;
use shared::config::ClipConfig;
use shared::preprocess::image::ImagePreprocessor;
use shared::{clip, rng};

/// Side of its pictures.
pub const SIDE: usize = 16;

/// Writes a Hugging Face CLIP folder: 2 layers of width 16, 16 tokens of context, a byte-level vocabulary, weights
/// from a seed.
///
/// # Errors
/// If a file cannot be written.
pub fn clip_folder(dir: &Path) -> Result<()> {
    let mut config = ClipConfig {
        projection_dim: 12,
        ..ClipConfig::default()
    };
    let (vision, text) = (&mut config.vision_config, &mut config.text_config);
    (
        vision.hidden_size,
        vision.intermediate_size,
        vision.num_hidden_layers,
    ) = (16, 32, 2);
    (
        vision.num_attention_heads,
        vision.image_size,
        vision.patch_size,
    ) = (2, SIDE, 8);
    (
        text.hidden_size,
        text.intermediate_size,
        text.num_hidden_layers,
    ) = (16, 32, 2);
    (text.num_attention_heads, text.max_position_embeddings) = (2, 16);
    let vocabulary = vocabulary();
    text.vocab_size = vocabulary.len();
    let tensors = clip::initialise(&config, &mut rng::stream(7, "tiny clip"), &Device::Cpu)?;
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("config.json"), serde_json::to_string(&config)?)?;
    std::fs::write(dir.join("vocab.json"), serde_json::to_string(&vocabulary)?)?;
    std::fs::write(dir.join("merges.txt"), "#version: 0.2\n")?;
    std::fs::write(
        dir.join("preprocessor_config.json"),
        ImagePreprocessor::new(SIDE, None).to_json(),
    )?;
    let weights = safetensors::serialize(tensors, None)?;
    std::fs::write(dir.join("model.safetensors"), weights)?;
    Ok(())
}

/// Every byte as a letter of its own, inside a word and at its end, and CLIP's two frame tokens.
pub fn vocabulary() -> BTreeMap<String, usize> {
    let printable =
        |byte: u32| (33..=126).contains(&byte) || (161..=172).contains(&byte) || byte >= 174;
    let mut hidden = 256..512u32;
    let letters: Vec<char> = (0..256u32)
        .filter_map(|byte| {
            char::from_u32(if printable(byte) {
                byte
            } else {
                hidden.next()?
            })
        })
        .collect();
    let inside = letters.iter().map(char::to_string);
    let last = letters.iter().map(|letter| format!("{letter}</w>"));
    let frame = ["<|startoftext|>", "<|endoftext|>"].map(String::from);
    inside
        .chain(last)
        .chain(frame)
        .enumerate()
        .map(|(id, token)| (token, id))
        .collect()
}

/// The `trainer` program of this build; built if it is not there or older than its sources.
///
/// # Errors
/// If it cannot be built.
pub fn trainer() -> Result<Command> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    let program = program
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut command = Command::new(program);
    command.env_remove("RUST_LOG");
    Ok(command)
}

fn build() -> Result<PathBuf> {
    // target/PROFILE/deps/suite-HASH
    let suite = std::env::current_exe()?;
    let profile = suite
        .parent()
        .and_then(Path::parent)
        .context("the tests do not run from a target folder")?;
    let target = profile
        .parent()
        .context("the tests do not run from a target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // As the tests themselves were built, so that nothing is built twice.
    command
        .args(["build", "--quiet", "--workspace", "--bin", "trainer"])
        .env("CARGO_TARGET_DIR", target);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    ensure!(
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()?
            .success(),
        "the trainer could not be built"
    );
    Ok(profile.join(format!("trainer{}", std::env::consts::EXE_SUFFIX)))
}
