//! Times the image tower of CLIP ViT-B/16 on the CPU, for `cargo xtask bench native`: prints milliseconds as JSON.
//!
//! The weights are random, for speed does not depend on them. Threads: `RAYON_NUM_THREADS`.

use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use shared::clip::{initialise, vision::VisionTower};
use shared::config::{ClipConfig, TextConfig, VisionConfig};
use shared::rng;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |name: &str| -> Result<usize> {
        let text = arguments
            .next()
            .context("usage: tower ITERATIONS WARM_UP")?;
        text.parse()
            .with_context(|| format!("{name} must be a number, not {text:?}"))
    };
    let (iterations, warm_up) = (number("ITERATIONS")?, number("WARM_UP")?);

    let config = ClipConfig {
        vision_config: VisionConfig {
            patch_size: 16,
            ..VisionConfig::default()
        },
        // The text tower is not measured: as small as can be.
        text_config: TextConfig {
            vocab_size: 2,
            num_hidden_layers: 1,
            ..TextConfig::default()
        },
        ..ClipConfig::default()
    };
    let device = Device::Cpu;
    let tensors = initialise(&config, &mut rng::stream(0, "bench"), &device)?;
    let weights = VarBuilder::from_tensors(tensors.into_iter().collect(), DType::F32, &device);
    let tower = VisionTower::load(&config, weights)?;
    let side = config.vision_config.image_size;
    let pixels = rng::normal(
        &mut rng::stream(0, "pixels"),
        &[1, 3, side, side],
        1.0,
        &device,
    )?;

    let mut times = Vec::with_capacity(iterations);
    for run in 0..warm_up + iterations {
        let begun = Instant::now();
        let features = tower.forward(&pixels, None)?;
        let time = begun.elapsed();
        anyhow::ensure!(
            features.dims() == [1, config.projection_dim],
            "the tower returned the shape {:?}",
            features.dims()
        );
        if run >= warm_up {
            times.push(time.as_secs_f64() * 1e3);
        }
    }
    println!("{}", serde_json::to_string(&times)?);
    Ok(())
}
