//! Measures whether explanations say what answers rest on: over posts of a split, by how much the log odds of the likeliest
//! class fall without the parts that the map marks, and without as many drawn at random. Prints a table in Markdown.
//!
//!     removal BUNDLE DATA [COUNT] [SPLIT]     DATA: a folder with data.jsonl; 100 posts of test unless said otherwise

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Device;
use shared::predict::{Classifier, Explainer, RawPost, Removal};
use shared::{Case, Modality, bundle};
use trainer::data::format;
use trainer::data::record::of_split;
use trainer::data::split::Split;
use trainer::settings::DataSettings;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |place: usize, other: &str| {
        arguments
            .get(place)
            .cloned()
            .unwrap_or_else(|| other.into())
    };
    anyhow::ensure!(
        (2..=4).contains(&arguments.len()),
        "usage: removal BUNDLE DATA [COUNT] [SPLIT]"
    );
    let count: usize = argument(2, "100").parse().context("COUNT")?;
    let split: Split = serde_json::from_value(argument(3, "test").into())?;
    let file = |name: &str| {
        let path = Path::new(&arguments[0]).join(name);
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (_, classifier) = bundle::read(file, &Device::Cpu)?;
    let data = format::read(Path::new(&arguments[1]), &DataSettings::default())?;
    let posts = of_split(&data.posts, split, None);
    // Posts of a concept follow each other: evenly spread ones are of many.
    let step = (posts.len() / count.max(1)).max(1);
    let posts: Vec<_> = posts.iter().step_by(step).take(count).collect();
    println!(
        "| {} posts, case | side | posts | fall without marked | without random | marked falls more | mean probability: whole, without marked, without random |",
        posts.len()
    );
    println!("|---|---|---|---|---|---|---|");
    for case in Case::ALL {
        let mut found: [Vec<Removal>; 2] = Default::default();
        for post in &posts {
            let image = post.image.as_ref().filter(|_| case.has(Modality::Image));
            let text = post.text.as_deref().filter(|_| case.has(Modality::Text));
            let image = image.map(|picture| picture.bytes()).transpose()?;
            if image.is_some() != case.has(Modality::Image)
                || text.is_some() != case.has(Modality::Text)
            {
                continue;
            }
            let raw = RawPost {
                image: image.as_deref(),
                text,
            };
            let [image, text] = removals(&classifier, &raw).with_context(|| post.place())?;
            found[0].extend(image);
            found[1].extend(text);
        }
        for (modality, removals) in Modality::ALL.into_iter().zip(&found) {
            if !removals.is_empty() {
                row(case, modality, removals);
            }
        }
    }
    Ok(())
}

/// The test of both maps of a post, for its likeliest class.
fn removals(classifier: &Classifier, raw: &RawPost<'_>) -> Result<[Option<Removal>; 2]> {
    let class = classifier.classify(raw.image, raw.text)?.index;
    let mut explainer = Explainer::new(classifier, raw, class)?;
    while explainer.step(classifier)? {}
    let found = explainer.finish();
    Ok([
        found.image.and_then(|map| map.removal),
        found.text.and_then(|map| map.removal),
    ])
}

fn row(case: Case, modality: Modality, removals: &[Removal]) {
    let count = removals.len() as f64;
    let mean = |of: fn(&Removal) -> f32| {
        removals
            .iter()
            .map(|removal| f64::from(of(removal)))
            .sum::<f64>()
            / count
    };
    let more = removals
        .iter()
        .filter(|removal| removal.fall_marked > removal.fall_random)
        .count();
    println!(
        "| {case} | {} | {} | {:.2} | {:.2} | {:.0} % | {:.2}, {:.2}, {:.2} |",
        modality.name(),
        removals.len(),
        mean(|removal| removal.fall_marked),
        mean(|removal| removal.fall_random),
        100.0 * more as f64 / count,
        mean(|removal| removal.whole),
        mean(|removal| removal.without_marked),
        mean(|removal| removal.without_random),
    );
}
