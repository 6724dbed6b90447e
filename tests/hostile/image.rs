//! Owns what is tried of pictures: any bytes become pixels or an error.

use std::sync::OnceLock;

use shared::preprocess::Limits;
use shared::preprocess::image::ImagePreprocessor;

/// A sixteenth of what is decoded otherwise, so that time tells what a byte of the file costs and not what a pixel does.
const LIMITS: Limits = Limits {
    pixels: shared::limits::PIXELS / 16,
    bytes: shared::limits::SAMPLE_BYTES / 16,
};
const SIDE: usize = 16;

/// Decodes and preprocesses a picture, with its opacity and without.
pub fn run(bytes: &[u8]) {
    static BOTH: OnceLock<[ImagePreprocessor; 2]> = OnceLock::new();
    let both = BOTH.get_or_init(|| {
        [None, Some([255, 128, 0])]
            .map(|background| ImagePreprocessor::new(SIDE, background).with_limits(LIMITS))
    });
    let images = &both[bytes.len() % 2];
    let Ok(pixels) = images.pixels(bytes) else {
        return;
    };
    assert_eq!(pixels.len(), 3 * SIDE * SIDE);
    assert!(pixels.iter().all(|pixel| pixel.is_finite()));
}
