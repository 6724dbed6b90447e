//! Times the image tower of a bundle on the CPU, for `cargo xtask bench native`: prints times in ms and the last
//! run's features as JSON.
//!
//!     tower ITERATIONS WARM_UP BUNDLE     the weights of the bundle, f32 or bytes, with its prompts of complete posts
//!     tower ITERATIONS WARM_UP f32        CLIP ViT-B/16 with random weights (or int8), for speed alone
//!
//! Threads: `RAYON_NUM_THREADS`. Pixels are those of the benchmark's other programs, from the same sums.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;
use shared::bundle::quantize::quantize;
use shared::bundle::{self, Dtype};
use shared::case::Modality;
use shared::clip;
use shared::config::{
    ClipConfig, HeadConfig, ModelConfig, PromptConfig, Task, TextConfig, VisionConfig,
};
use shared::infer::Engine;
use shared::infer::weights::Weights;
use shared::model::{self, Model};
use shared::nn::var_builder;
use shared::predict::Network;
use shared::rng;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [iterations, warm_up, source] = arguments.as_slice() else {
        anyhow::bail!("usage: tower ITERATIONS WARM_UP BUNDLE|f32|int8");
    };
    let number = |text: &str| -> Result<usize> {
        text.parse()
            .with_context(|| format!("expected a number, got {text:?}"))
    };
    let (iterations, warm_up) = (number(iterations)?, number(warm_up)?);

    let folder = Path::new(source);
    let (from_bundle, drawn);
    let network: &dyn Network = if folder.is_dir() {
        let file = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        from_bundle = bundle::read(file, &Device::Cpu)?.1;
        from_bundle.network()
    } else {
        let dtype = serde_json::from_value(source.as_str().into())
            .with_context(|| format!("{source} is neither a folder nor f32 or int8"))?;
        drawn = random(dtype)?;
        drawn.as_ref()
    };
    let side = network.config().clip.vision_config.image_size;
    let pixels = pixels(3 * side * side);

    let mut times = Vec::with_capacity(iterations);
    let mut features = Vec::new();
    for run in 0..warm_up + iterations {
        let begun = Instant::now();
        features = network.embed(shared::Case::Complete, Some(&pixels), None)?;
        if run >= warm_up {
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    println!(
        "{}",
        serde_json::json!({ "times": times, "features": features, "kernel": network.kernel() })
    );
    Ok(())
}

/// Values of a normalised picture's size, the same in every program of the benchmark.
fn pixels(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (4.0 * f64::from(state) / 4_294_967_296.0 - 2.0) as f32
    };
    (0..count).map(|_| next()).collect()
}

/// CLIP ViT-B/16's image tower with random weights, and a text tower as small as can be.
fn random(dtype: Dtype) -> Result<Box<dyn Network>> {
    let device = Device::Cpu;
    let config = ModelConfig {
        clip: ClipConfig {
            vision_config: VisionConfig {
                patch_size: 16,
                ..VisionConfig::default()
            },
            text_config: TextConfig {
                vocab_size: 2,
                num_hidden_layers: 1,
                ..TextConfig::default()
            },
            ..ClipConfig::default()
        },
        prompt: PromptConfig::None,
        head: HeadConfig::Linear,
        task: Task::MultiClass,
        classes: vec!["a".into(), "b".into()],
    };
    let mut tensors = clip::initialise(&config.clip, &mut rng::stream(0, "bench"), &device)?;
    tensors.append(&mut model::initialise(&config, 0, &device)?);
    let mut folded = Model::load(&config, var_builder(&tensors, &device))?.fold()?;
    tensors.retain(|name, _| !name.starts_with("prompt.") && !name.starts_with("head."));
    tensors.append(&mut folded);
    let mut weights = Weights::from_tensors(&tensors)?;
    if dtype == Dtype::Int8 {
        quantize(&mut weights);
    }
    Ok(Box::new(Engine::load(
        &config,
        &[Modality::Image],
        weights,
    )?))
}
