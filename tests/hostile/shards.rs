//! Owns what is tried of whole bundles: however a bundle is changed, checksums that fit included, it is a classifier that
//! answers, or an error.

use std::sync::OnceLock;

use candle_core::Device;
use shared::bundle;

use super::bundle::{Files, seal, tiny};
use super::choice;
use super::edits::Edits;

/// Any picture.
const PICTURE: &[u8] = include_bytes!("../golden/preprocess/small.png");

/// Changes a bundle as the bytes say, reads it, and classifies posts.
pub fn run(bytes: &[u8]) {
    static BUNDLES: OnceLock<Vec<Files>> = OnceLock::new();
    let bundles = BUNDLES.get_or_init(|| tiny().unwrap_or_default());
    assert!(!bundles.is_empty(), "the tiny bundles cannot be made");
    let (which, edits) = choice(bytes);
    let mut files = bundles[which % bundles.len()].clone();
    Edits::of(edits).apply(&mut files);
    if which < 240 {
        seal(&mut files);
    }
    let file = |name: &str| {
        let found = files.iter().find(|(own, _)| own == name);
        let absent = || shared::Error::Input(format!("there is no {name}"));
        found.map(|(_, bytes)| bytes.clone()).ok_or_else(absent)
    };
    let Ok((_, classifier)) = bundle::read(file, &Device::Cpu) else {
        return;
    };
    for (image, text) in [
        (Some(PICTURE), Some("a cat")),
        (Some(PICTURE), None),
        (None, Some("two <|endoftext|> cats and dogs")),
    ] {
        if let Ok(prediction) = classifier.classify(image, text) {
            assert_eq!(
                prediction.classes.len(),
                classifier.network().config().classes.len()
            );
        }
    }
}
