//! Owns the model card: the README.md of a bundle, written from its manifest alone.

use std::fmt::Write;

use super::{Dtype, Figure, Manifest};
use crate::config::{DplPlusConfig, HeadConfig, MapGrowth, MapLevel, PromptConfig, Task};

/// The card in Markdown.
pub(super) fn render(manifest: &Manifest) -> String {
    let (about, config) = (&manifest.about, &manifest.config);
    let name = if about.name.is_empty() {
        "A Lacuna classifier"
    } else {
        &about.name
    };
    let mut card = format!("# {}\n\n", line(name));
    if !about.description.is_empty() {
        push(&mut card, &format!("{}\n", line(&about.description)));
    }
    push(
        &mut card,
        "It classifies posts, an image and a text, and keeps working when one of the two is missing. \
         It runs where the post is: natively, or in a browser without sending the post anywhere.\n",
    );

    push(&mut card, "## What it is\n");
    let (vision, text) = (&config.clip.vision_config, &config.clip.text_config);
    let task = match config.task {
        Task::MultiClass => "one class per post",
        Task::MultiLabel => "any number of classes per post",
    };
    let prompt = match &config.prompt {
        PromptConfig::None => "none".into(),
        PromptConfig::Maple(maple) => {
            format!("MaPLe, {} rows, {} layers", maple.length, maple.depth)
        }
        PromptConfig::Map(map) => {
            let what = match (map.level, map.growth) {
                (MapLevel::Attention, _) => "keys and values",
                (MapLevel::Input, MapGrowth::Replace) => "rows",
                (MapLevel::Input, MapGrowth::Accumulate) => "rows more each",
            };
            let from = match map.first_block {
                0 => String::new(),
                first => format!(" from block {first} on"),
            };
            format!(
                "missing-aware prompting, {} {what}, {} layers{from}",
                map.length, map.depth
            )
        }
        PromptConfig::Dcp(dcp) => {
            format!(
                "Deep Correlated Prompting, {} rows, {} layers",
                dcp.length, dcp.depth
            )
        }
    };
    let head = match &config.head {
        HeadConfig::Linear => "linear".into(),
        HeadConfig::Dept(dept) => format!("channel-adjusted transfer, mixed in at {}", dept.mix),
        HeadConfig::Dpl(dpl) => {
            let kind = if dpl.decomposed { "decoupled" } else { "joint" };
            format!("{kind} prototypes, scales {:?} by case", dpl.scale)
        }
        HeadConfig::DplPlus(plus) => extended(plus),
    };
    let dtype = match manifest.dtype {
        Dtype::F32 => "f32",
        Dtype::F16 => "f16 matrices, f32 vectors",
        Dtype::Int8 => "matrices of the towers in bytes (int8) with a scale a row, the rest f32",
    };
    push(
        &mut card,
        &format!(
            "| | |\n|---|---|\n| task | {task}, {} classes |\n| image tower | {} px, patch {}, width {}, {} layers |\n\
             | text tower | {} tokens, width {}, {} layers, vocabulary {} |\n| joint space | {} |\n| prompts | {prompt} |\n\
             | head | {head} |\n| weights | {dtype}, {} bytes in {} files |\n| format | {} version {} |\n",
            config.classes.len(),
            vision.image_size,
            vision.patch_size,
            vision.hidden_size,
            vision.num_hidden_layers,
            text.max_position_embeddings,
            text.hidden_size,
            text.num_hidden_layers,
            text.vocab_size,
            config.clip.projection_dim,
            manifest.total_bytes(),
            manifest.files.len(),
            manifest.format,
            manifest.format_version,
        ),
    );
    figures(&mut card, "What was measured", &about.figures);
    figures(
        &mut card,
        "What storing the weights this way changed",
        &about.drift,
    );
    if !about.made.is_empty() {
        push(&mut card, "## How it was made\n");
        for fact in &about.made {
            let _ = writeln!(card, "- {}", line(fact));
        }
        card.push('\n');
    }
    push(&mut card, "## Classes\n");
    let classes: Vec<String> = config.classes.iter().map(|class| line(class)).collect();
    push(&mut card, &format!("{}\n", classes.join(", ")));
    push(&mut card, "## Licence\n");
    let licence = if about.licence.is_empty() {
        "Not stated."
    } else {
        &about.licence
    };
    push(&mut card, &line(licence));
    card
}

/// The extended prototypes with what extends them.
fn extended(plus: &DplPlusConfig) -> String {
    let mut head = format!("decoupled prototypes, scales {:?} by case", plus.scale);
    for (used, what) in [
        (plus.learn_scale, "learnt from there on"),
        (plus.bias, "learnt biases"),
        (plus.share, "parts shared by the cases"),
        (plus.centre, "centred features"),
    ] {
        if used {
            head += &format!(", {what}");
        }
    }
    head
}

fn figures(card: &mut String, title: &str, figures: &[Figure]) {
    if figures.is_empty() {
        return;
    }
    push(
        card,
        &format!(
            "## {title}\n\n| split | posts with | metric | value | posts |\n|---|---|---|---|---|"
        ),
    );
    for figure in figures {
        let case = figure
            .case
            .map_or("a mix of cases".into(), |case| case.to_string());
        let (split, metric) = (line(&figure.split), line(&figure.metric));
        let _ = writeln!(
            card,
            "| {split} | {case} | {metric} | {:.4} | {} |",
            figure.value, figure.posts
        );
    }
    card.push('\n');
}

fn push(card: &mut String, text: &str) {
    card.push_str(text);
    card.push('\n');
}

/// One line, so that no value can break out of its place.
fn line(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
