//! Owns the page's English that depends on what happens; what never changes stands in index.html.

use shared::case::{Case, Modality};

use crate::protocol::{About, Artefact, Dtype, Evidence, Summary};

/// What the post has, and what is missing.
pub fn case(case: Case) -> &'static str {
    match case {
        Case::Complete => "Image and text",
        Case::TextMissing => "Image only: the text is missing",
        Case::ImageMissing => "Text only: the image is missing",
    }
}

/// A size in bytes as people write it.
pub fn bytes(count: u64) -> String {
    let count = count as f64;
    if count < 1e6 {
        format!("{:.0} kB", count / 1e3)
    } else {
        format!("{:.1} MB", count / 1e6)
    }
}

/// A probability in per cent; never a false 0 or 100.
pub fn percent(probability: f64) -> String {
    match probability * 100.0 {
        p if p >= 99.95 => "> 99.9 %".into(),
        p if p < 0.05 => "< 0.1 %".into(),
        p if p < 10.0 => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    }
}

/// A class's name as a heading: labels are often written like variables.
pub fn label(name: &str) -> String {
    capitalised(&name.replace('_', " "))
}

/// A message as a sentence: errors begin small and have no full stop, since they are often put together.
pub fn sentence(message: &str) -> String {
    let message = capitalised(message.trim());
    if message.ends_with(['.', '!', '?']) {
        message
    } else {
        message + "."
    }
}

fn capitalised(words: &str) -> String {
    let mut letters = words.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// The time an answer took.
pub fn milliseconds(time: f64) -> String {
    if time < 10.0 {
        format!("{time:.1} ms")
    } else {
        format!("{time:.0} ms")
    }
}

/// What a screen reader says of a result.
pub fn spoken(label_name: &str, probability: f64, used: Case) -> String {
    format!(
        "{}, {}. {}.",
        label(label_name),
        percent(probability),
        case(used)
    )
}

/// What the bars of a modality are.
pub fn evidence(of: Modality, unit: Evidence) -> &'static str {
    match (of, unit) {
        (Modality::Image, Evidence::Cosine) => "Image cosine",
        (Modality::Text, Evidence::Cosine) => "Text cosine",
        (Modality::Image, Evidence::Logit) => "Image share",
        (Modality::Text, Evidence::Logit) => "Text share",
    }
}

/// The explanation under the bars.
pub fn explanation(unit: Evidence) -> &'static str {
    match unit {
        Evidence::Cosine => {
            "Each class has a prototype for every case and side. A bar is the cosine between the post and the \
             prototype; the sides that are there are added and scaled, and that decides the probability."
        }
        Evidence::Logit => {
            "A bar is the share of the class's score that comes from this side of the post; the sides that are there \
             are added, and that decides the probability."
        }
    }
}

/// What stands where a modality has nothing to say.
pub const MISSING: &str = "missing";

/// Nothing has been given yet.
pub const EMPTY: &str = "Give the post an image, a text, or both, and its class appears here.";

/// The post could not be classified; a notice says why.
pub const NO_ANSWER: &str = "There is no answer for this post.";

/// Something has been given, but the model is not there yet.
pub const WAITING: &str = "The answer comes as soon as the model is loaded.";

/// How many requests were made since the model was loaded.
pub fn requests(count: u32) -> String {
    format!("Requests since the model was loaded: {count}")
}

/// The model is loaded.
pub fn ready(summary: &Summary) -> String {
    let stored = match summary.dtype {
        Dtype::F32 => "single precision",
        Dtype::F16 => "half precision",
        Dtype::Int8 => "8-bit integers",
    };
    format!(
        "Model ready: {} classes, {} in {stored}",
        summary.classes.len(),
        bytes(summary.bytes)
    )
}

/// What computes, and whether the browser should have run something faster.
pub fn computing(summary: &Summary, fell_back: bool) -> String {
    let instructions = match summary.artefact {
        Artefact::Baseline => "SIMD",
        Artefact::Relaxed | Artefact::Threads => "relaxed SIMD",
    };
    let threads = match summary.threads {
        1 => "1 thread".to_owned(),
        more => format!("{more} threads"),
    };
    let why = if fell_back {
        "; more could not be started"
    } else {
        ""
    };
    format!("Computes with {instructions}, {threads}{why}")
}

/// How often the model was right on posts that it was not trained on, if its bundle says so.
pub fn accuracy(about: &About) -> Option<String> {
    let figures = &about.figures;
    let (split, posts) = [("test", "test"), ("val", "validation")]
        .into_iter()
        .find(|(split, _)| figures.iter().any(|figure| figure.split == *split))?;
    let of = |case: Case, name: &str| {
        let found = figures.iter().find(|figure| {
            figure.split == split && figure.metric == "accuracy" && figure.case == Some(case)
        })?;
        Some(format!("{:.0} % {name}", found.value * 100.0))
    };
    let parts: Vec<String> = [
        of(Case::Complete, "with both sides"),
        of(Case::TextMissing, "from the image alone"),
        of(Case::ImageMissing, "from the text alone"),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| format!("Right on {posts} posts: {}", parts.join(", ")))
}

/// The bundle is coming.
pub fn loading(loaded: u64, total: u64) -> String {
    if total == 0 {
        "Starting …".into()
    } else {
        format!("{} of {}", bytes(loaded), bytes(total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_do() {
        assert_eq!(bytes(2_034_567), "2.0 MB");
        assert_eq!(bytes(34_567), "35 kB");
        assert_eq!(percent(0.931), "93 %");
        assert_eq!(percent(0.0004), "< 0.1 %");
        assert_eq!(percent(0.9999), "> 99.9 %");
        assert_eq!(percent(0.042), "4.2 %");
        assert_eq!(label("sweet_meal"), "Sweet meal");
        assert_eq!(milliseconds(7.25), "7.2 ms");
        assert_eq!(sentence("image: broken"), "Image: broken.");
    }
}
