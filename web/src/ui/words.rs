//! Owns the page's words that depend on what happens: they stand in index.html, in the block `#words`, with everything
//! else that a translator reads. Here they are found by name and their gaps filled.

use js_sys::{JSON, Reflect};
use shared::case::{Case, Modality};
use wasm_bindgen::JsValue;
use web_sys::HtmlElement;

use super::dom::by_id;
use super::numbers::{bytes, label, percent, whole};
use crate::protocol::{About, Artefact, Dtype, Evidence, Prediction, Summary};

/// The sentence of this name, with `{0}`, `{1}`, .. replaced by the values; the name itself if index.html lacks it.
pub(super) fn say(name: &str, values: &[&str]) -> String {
    thread_local! {
        static WORDS: JsValue = block().unwrap_or_default();
    }
    let found = WORDS.with(|words| Reflect::get(words, &name.into()));
    let template = found.ok().and_then(|found| found.as_string());
    fill(&template.unwrap_or_else(|| name.to_owned()), values)
}

fn block() -> Result<JsValue, JsValue> {
    let block: HtmlElement = by_id("words")?;
    JSON::parse(&block.text_content().unwrap_or_default())
}

/// Values are put in as they are: one that holds `{1}` is not filled again.
fn fill(template: &str, values: &[&str]) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let gap = after.split_once('}');
        let value = gap.and_then(|(place, after)| {
            let place: usize = place.parse().ok()?;
            Some((*values.get(place)?, after))
        });
        if let Some((value, after)) = value {
            filled.push_str(value);
            rest = after;
        } else {
            filled.push('{');
            rest = after;
        }
    }
    filled + rest
}

/// One of two sentences, for one thing and for more; the count is the first value.
pub(super) fn count(name: &str, count: usize) -> String {
    let form = if count == 1 { "one" } else { "more" };
    say(&format!("{name}-{form}"), &[&whole(count)])
}

/// What the post has, and what is missing.
pub(super) fn case(case: Case) -> String {
    say(
        match case {
            Case::Complete => "case-complete",
            Case::TextMissing => "case-text-missing",
            Case::ImageMissing => "case-image-missing",
        },
        &[],
    )
}

/// What the post has, in a word or two.
pub(super) fn case_short(case: Case) -> String {
    say(
        match case {
            Case::Complete => "case-complete",
            Case::TextMissing => "case-image-only",
            Case::ImageMissing => "case-text-only",
        },
        &[],
    )
}

/// A side of a post.
pub(super) fn modality(of: Modality) -> String {
    say(
        match of {
            Modality::Image => "image",
            Modality::Text => "text",
        },
        &[],
    )
}

/// What a screen reader says of a result.
pub(super) fn spoken(prediction: &Prediction) -> String {
    let name = if prediction.sure == Some(false) {
        "spoken-unsure"
    } else {
        "spoken"
    };
    let (class, probability) = (&prediction.label, f64::from(prediction.probability));
    say(
        name,
        &[&label(class), &percent(probability), &case(prediction.case)],
    )
}

/// What the bars of a modality are.
pub(super) fn evidence(of: Modality, unit: Evidence) -> String {
    say(
        match (of, unit) {
            (Modality::Image, Evidence::Cosine) => "image-cosine",
            (Modality::Text, Evidence::Cosine) => "text-cosine",
            (Modality::Image, Evidence::Logit) => "image-share",
            (Modality::Text, Evidence::Logit) => "text-share",
        },
        &[],
    )
}

/// The explanation under the bars.
pub(super) fn explanation(unit: Evidence) -> String {
    match unit {
        Evidence::Cosine => say("explain-cosine", &[]),
        Evidence::Logit => say("explain-logit", &[]),
    }
}

/// How weights are stored.
pub(super) fn dtype(dtype: Dtype) -> String {
    match dtype {
        Dtype::F32 => say("dtype-f32", &[]),
        Dtype::F16 => say("dtype-f16", &[]),
        Dtype::Int8 => say("dtype-int8", &[]),
    }
}

/// The model is loaded.
pub(super) fn ready(summary: &Summary) -> String {
    say(
        "model-ready",
        &[
            &summary.classes.len().to_string(),
            &bytes(summary.bytes),
            &dtype(summary.dtype),
        ],
    )
}

/// What computes, and whether the browser should have run something faster.
pub(super) fn computing(summary: &Summary, fell_back: bool) -> String {
    let instructions = match summary.artefact {
        Artefact::Baseline => say("simd", &[]),
        Artefact::Relaxed | Artefact::Threads => say("simd-relaxed", &[]),
    };
    let threads = count("threads", summary.threads as usize);
    let name = if fell_back {
        "computes-less"
    } else {
        "computes"
    };
    say(name, &[&instructions, &threads])
}

/// How often the model was right on posts that it was not trained on, if its bundle says so.
pub(super) fn accuracy(about: &About) -> Option<String> {
    let figures = &about.figures;
    let (split, posts) = [("test", "accuracy-test"), ("val", "accuracy-val")]
        .into_iter()
        .find(|(split, _)| figures.iter().any(|figure| figure.split == *split))?;
    let of = |case: Case, name: &str| {
        let found = figures.iter().find(|figure| {
            figure.split == split && figure.metric == "accuracy" && figure.case == Some(case)
        })?;
        Some(say(name, &[&format!("{:.0} %", found.value * 100.0)]))
    };
    let parts: Vec<String> = [
        of(Case::Complete, "accuracy-complete"),
        of(Case::TextMissing, "accuracy-image"),
        of(Case::ImageMissing, "accuracy-text"),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| say(posts, &[&parts.join(", ")]))
}

/// The bundle is coming.
pub(super) fn loading(loaded: u64, total: u64) -> String {
    if total == 0 {
        say("starting", &[])
    } else {
        say("loading", &[&bytes(loaded), &bytes(total)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn gaps_are_filled_once() {
        assert_eq!(fill("{0} of {1}", &["{1}", "b"]), "{1} of b");
        assert_eq!(fill("no {gap} {7} {", &["a"]), "no {gap} {7} {");
    }

    /// Every name that the sources say is in index.html, and every one there is said.
    #[test]
    fn sources_and_page_have_the_same_words() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let html = std::fs::read_to_string(root.join("../index.html")).unwrap();
        let (_, after) = html.split_once("id=\"words\">").unwrap();
        let (block, _) = after.split_once("</script>").unwrap();
        let words: std::collections::BTreeMap<String, String> =
            serde_json::from_str(block).unwrap();
        let mut sources = std::fs::read_to_string(root.join("start.js")).unwrap();
        read(&root.join("src/ui"), &mut sources);
        // Names are whole string literals, or the first part of those that are put together.
        let said: BTreeSet<&str> = sources.split('"').collect();
        for name in words.keys() {
            let stem = ["-one", "-more", "-hint"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            let known =
                said.contains(name.as_str()) || stem.is_some_and(|stem| said.contains(stem));
            let place = name.strip_prefix("place-");
            let known = known || place.is_some_and(|place| said.contains(place));
            assert!(known, "index.html has words that nobody says: {name}");
        }
        for call in ["say(\"", "count(\""] {
            for part in sources.split(call).skip(1) {
                let name = part.split('"').next().unwrap();
                let known = words.contains_key(name) || words.contains_key(&format!("{name}-one"));
                assert!(known, "index.html lacks the words {name}");
            }
        }
    }

    fn read(folder: &Path, into: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, into);
            } else {
                let source = std::fs::read_to_string(path).unwrap();
                into.push_str(source.split("#[cfg(test)]").next().unwrap());
            }
        }
    }
}
