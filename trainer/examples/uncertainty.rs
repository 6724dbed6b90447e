//! Measures how far a bundle's probabilities can be trusted on posts it was not calibrated on; prints a table in Markdown.
//!
//!     uncertainty BUNDLE DATA [SPLIT]     DATA: a folder with data.jsonl; SPLIT: test unless said otherwise

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Device;
use shared::{Case, bundle};
use trainer::data::format;
use trainer::data::record::of_split;
use trainer::data::split::Split;
use trainer::engine::shown::Seen;
use trainer::metrics::calibration::{expected_error, judged, sure};
use trainer::settings::DataSettings;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, data, split) = match arguments.as_slice() {
        [folder, data] => (folder, data, "test"),
        [folder, data, split] => (folder, data, split.as_str()),
        _ => anyhow::bail!("usage: uncertainty BUNDLE DATA [SPLIT]"),
    };
    let split: Split = serde_json::from_value(split.into())?;
    let folder = Path::new(folder);
    let file = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (manifest, classifier) = bundle::read(file, &Device::Cpu)?;
    let calibration = manifest
        .calibration
        .context("the bundle has no calibration; export it again with validation posts at hand")?;
    let data = format::read(Path::new(data), &DataSettings::default())?;
    let posts = of_split(&data.posts, split, None);
    println!(
        "| {} posts with | posts | right | temperature | error before | after | sure from | sure | right when sure |",
        split.name()
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    for case in Case::ALL {
        let of = calibration.of(case);
        let predictions = Seen::of(&classifier, &posts, case)?.predictions(case);
        let answers = |temperature| judged(&predictions, manifest.config.task, temperature);
        let (before, after) = (answers(1.0), answers(of.temperature));
        let right = after.iter().filter(|answer| answer.right).count();
        let (share, when_sure) = sure(&after, of.threshold);
        println!(
            "| {case} | {} | {} | {:.3} | {} | {} | {:.3} | {} | {} |",
            after.len(),
            percent(right as f64 / after.len().max(1) as f64),
            of.temperature,
            percent(expected_error(&before)),
            percent(expected_error(&after)),
            of.threshold,
            percent(share),
            when_sure.map_or("-".into(), percent),
        );
    }
    Ok(())
}
