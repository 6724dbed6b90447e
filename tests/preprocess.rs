//! Owns the parity of preprocessing with Pillow and with CLIP's reference tokeniser (golden/make_preprocess.py), and
//! the sentences about pictures and texts that cannot be used.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::Device;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared::preprocess::image::ImagePreprocessor;
use shared::preprocess::text::TextTokenizer;

pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name)
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(golden(name)).unwrap()).unwrap()
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(golden("preprocess").join(name)).unwrap()
}

#[derive(Deserialize)]
struct Pictures {
    side: usize,
    files: Vec<String>,
    first_pixels: Vec<f32>,
}

#[test]
fn pictures_equal_pillows_to_the_last_bit() {
    let cases: Pictures = read("preprocess/cases.json");
    let sheet = image::load_from_memory(&file("expected_sheet.png"))
        .unwrap()
        .into_rgb8()
        .into_raw();
    let preprocessor = ImagePreprocessor::new(cases.side, None);
    let mut wrong = Vec::new();
    for (name, expected) in cases
        .files
        .iter()
        .zip(sheet.chunks_exact(cases.side * cases.side * 3))
    {
        let found = preprocessor.bytes(&file(name)).unwrap();
        let worst = found
            .iter()
            .zip(expected)
            .map(|(a, b)| a.abs_diff(*b))
            .max()
            .unwrap();
        if worst > 0 {
            wrong.push(format!("{name} by {worst}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");

    let pixels = preprocessor.pixels(&file(&cases.files[0])).unwrap();
    for (found, expected) in pixels.iter().step_by(97).zip(&cases.first_pixels) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn transparency_goes_over_the_background_if_there_is_one() {
    let bytes = |background| {
        ImagePreprocessor::new(24, background)
            .bytes(&file("rgba.png"))
            .unwrap()
    };
    let (white, black, dropped) = (bytes(Some([255; 3])), bytes(Some([0; 3])), bytes(None));
    assert!(white.iter().zip(&black).all(|(w, b)| w >= b));
    assert_ne!(white, dropped);
    let opaque = ImagePreprocessor::new(24, Some([9, 9, 9]))
        .bytes(&file("wide.png"))
        .unwrap();
    assert_eq!(
        opaque,
        ImagePreprocessor::new(24, None)
            .bytes(&file("wide.png"))
            .unwrap()
    );
}

#[test]
fn old_and_new_configurations_are_read() {
    let old = ImagePreprocessor::from_json(
        r#"{"size": 24, "crop_size": 24, "feature_extractor_type": "x"}"#,
    )
    .unwrap();
    let new = ImagePreprocessor::from_json(
        r#"{"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}, "resample": 3}"#,
    )
    .unwrap();
    assert_eq!(
        old.bytes(&file("wide.png")).unwrap(),
        new.bytes(&file("wide.png")).unwrap()
    );
    let ours = ImagePreprocessor::new(32, Some([1, 2, 3]));
    assert_eq!(ImagePreprocessor::from_json(&ours.to_json()).unwrap(), ours);
    assert_eq!(
        ImagePreprocessor::from_json("{}").unwrap(),
        ImagePreprocessor::default()
    );
    for (json, says) in [
        (r#"{"resample": 1}"#, "resample 1"),
        (r#"{"crop_size": {"height": 20, "width": 24}}"#, "squares"),
        (r#"{"size": 20, "crop_size": 24}"#, "larger"),
        (r#"{"size": "big"}"#, "shortest_edge"),
    ] {
        let error = ImagePreprocessor::from_json(json).unwrap_err().to_string();
        assert!(
            error.contains("preprocessor_config.json") && error.contains(says),
            "{error}"
        );
    }
}

#[test]
fn bad_pictures_get_a_sentence() {
    let preprocessor = ImagePreprocessor::new(24, None);
    let error = |bytes: &[u8]| preprocessor.pixels(bytes).unwrap_err().to_string();
    for name in [
        "420.jpg",
        "progressive.jpg",
        "optimised_restart.jpg",
        "cmyk.jpg",
    ] {
        let whole = file(name);
        for part in [2, 3, 10] {
            let cut = &whole[..whole.len() * (part - 1) / part];
            assert!(
                error(cut).contains("ends before the picture"),
                "{name} {}",
                error(cut)
            );
        }
    }
    for name in [
        "wide.png",
        "rgba.png",
        "lossy.webp",
        "lossless_alpha.webp",
        "transparent.gif",
    ] {
        let whole = file(name);
        assert!(
            error(&whole[..whole.len() / 2]).contains("cannot be decoded"),
            "{name}"
        );
    }
    assert!(error(b"").contains("no PNG, JPEG, WebP or GIF"));
    assert!(error(b"%PDF-1.7 and more").contains("no PNG, JPEG, WebP or GIF"));
}

/// A PNG that claims a size and has no more than its header needs.
fn claiming(width: u32, height: u32) -> Vec<u8> {
    let mut bomb = file("wide.png");
    bomb[16..20].copy_from_slice(&width.to_be_bytes());
    bomb[20..24].copy_from_slice(&height.to_be_bytes());
    let mut sum = u32::MAX;
    for &byte in &bomb[12..29] {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 {
                sum >> 1 ^ 0xEDB8_8320
            } else {
                sum >> 1
            };
        }
    }
    bomb[29..33].copy_from_slice(&(!sum).to_be_bytes());
    bomb
}

#[test]
fn bombs_are_refused_from_their_header() {
    let start = Instant::now();
    let preprocessor = ImagePreprocessor::new(24, None);
    for (width, height) in [(10_000, 10_000), (1_000_000, 1_000_000)] {
        let error = preprocessor
            .pixels(&claiming(width, height))
            .unwrap_err()
            .to_string();
        assert!(error.contains("megapixels"), "{error}");
    }
    let mut jpeg = file("420.jpg");
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xFF, 0xC0])
        .unwrap();
    jpeg[frame + 5..frame + 9].fill(0xFF);
    let error = preprocessor.pixels(&jpeg).unwrap_err().to_string();
    assert!(error.contains("megapixels"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn damaged_bytes_never_panic() {
    let preprocessor = ImagePreprocessor::new(24, None);
    let mut rng = shared::rng::stream(7, "damage");
    for name in [
        "420.jpg",
        "progressive.jpg",
        "optimised_restart.jpg",
        "palette.png",
        "lossy.webp",
        "first_frame.gif",
    ] {
        let whole = file(name);
        for _ in 0..60 {
            let mut broken = whole.clone();
            for _ in 0..3 {
                let at = shared::rng::below(&mut rng, broken.len());
                broken[at] = shared::rng::below(&mut rng, 256) as u8;
            }
            // An error or a picture: both are fine, a panic is not.
            let _ = preprocessor.pixels(&broken);
        }
    }
}

#[derive(Deserialize)]
struct Text {
    text: String,
    clean: String,
    ids: Vec<u32>,
}

fn tokenizer() -> TextTokenizer {
    let text = |name: &str| std::fs::read_to_string(golden("tokens").join(name)).unwrap();
    TextTokenizer::from_vocab_and_merges(&text("vocab.json"), &text("merges.txt"), 77).unwrap()
}

#[test]
fn texts_equal_the_reference_tokenisers() {
    let assembled = tokenizer();
    let reread = TextTokenizer::from_json(assembled.to_json(), 77).unwrap();
    for case in read::<Vec<Text>>("tokens/cases.json") {
        for tokenizer in [&assembled, &reread] {
            let encoded = tokenizer.encode(&case.text).unwrap();
            assert_eq!(
                encoded.ids,
                case.ids,
                "{:?} cleaned to {:?}",
                case.text,
                tokenizer.clean(&case.text)
            );
            assert_eq!(encoded.ids[encoded.eot], *case.ids.last().unwrap());
        }
    }
}

/// With CLIP's own vocabulary: a folder with its vocab.json, merges.txt and a cases.json like the one in tokens/.
#[test]
fn texts_equal_the_reference_with_clips_vocabulary() {
    let Some(folder) = std::env::var_os("LACUNA_CLIP_VOCAB").map(PathBuf::from) else {
        eprintln!(
            "LACUNA_CLIP_VOCAB names no folder with CLIP's vocab.json and merges.txt: skipped"
        );
        return;
    };
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let tokenizer =
        TextTokenizer::from_vocab_and_merges(&text("vocab.json"), &text("merges.txt"), 77).unwrap();
    let fox = tokenizer.encode("a red fox in the snow").unwrap();
    assert_eq!(fox.ids, [49406, 320, 736, 3240, 530, 518, 2583, 49407]);
    assert_eq!(fox.eot, 7);
    for case in serde_json::from_str::<Vec<Text>>(&text("cases.json")).unwrap() {
        assert_eq!(
            tokenizer.encode(&case.text).unwrap().ids,
            case.ids,
            "{:?}",
            case.text
        );
    }
}

#[test]
fn texts_are_cleaned_as_the_reference_does() {
    let tokenizer = tokenizer();
    for case in read::<Vec<Text>>("tokens/cases.json") {
        // What is beyond the context is not cleaned; composition (NFC) is the tokeniser's.
        if !case.text.contains('\u{301}') {
            let expected: Vec<&str> = case.clean.split(' ').take(77).collect();
            assert_eq!(tokenizer.clean(&case.text), expected.join(" "));
        }
    }
}

#[test]
fn batches_are_padded_with_zeros_and_know_their_end() {
    let tokenizer = tokenizer();
    let texts = ["", "a red fox"].map(|text| tokenizer.encode(text).unwrap());
    let tokens = tokenizer.batch(&texts, Some(77), &Device::Cpu).unwrap();
    let ids = tokens.ids.to_vec2::<u32>().unwrap();
    let ends = tokens.eot;
    assert_eq!(ids[0].len(), 77);
    assert_eq!(ends[0], 1);
    for (row, &end) in ids.iter().zip(&ends) {
        assert_eq!(row[end], *texts[0].ids.last().unwrap());
        assert!(row[end + 1..].iter().all(|&id| id == 0));
    }
    let short = tokenizer.batch(&texts, None, &Device::Cpu).unwrap();
    assert_eq!(short.ids.dims(), [2, texts[1].ids.len()]);
    assert!(tokenizer.batch(&texts, Some(1), &Device::Cpu).is_err());
}

#[test]
fn ten_megabytes_of_text_cost_what_a_page_does() {
    let tokenizer = tokenizer();
    let start = Instant::now();
    for text in [
        "many words ".repeat(1 << 20),
        "x".repeat(10 << 20),
        " ".repeat(10 << 20),
        "é😀&amp;".repeat(1 << 20),
    ] {
        let encoded = tokenizer.encode(&text).unwrap();
        assert!(encoded.ids.len() <= 77);
        assert_eq!(encoded.eot, encoded.ids.len() - 1);
    }
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn bad_tokenizers_get_a_sentence() {
    let vocabulary =
        r#"{"<|startoftext|>": 0, "<|endoftext|>": 1, "a": 2, "b</w>": 3, "ab</w>": 4}"#;
    let error = |vocab: &str, merges: &str, context| {
        TextTokenizer::from_vocab_and_merges(vocab, merges, context)
            .unwrap_err()
            .to_string()
    };
    assert!(
        TextTokenizer::from_vocab_and_merges(vocabulary, "#version: 0.2\na b</w>\n", 8).is_ok()
    );
    assert!(error(vocabulary, "a b</w> c", 8).contains("line 1"));
    assert!(error(vocabulary, "a c</w>", 8).contains("c</w>"));
    assert!(error(r#"{"a": 0}"#, "", 8).contains("<|startoftext|>"));
    assert!(error("[]", "", 8).contains("vocab.json"));
    assert!(error(vocabulary, "", 1).contains("context"));
    assert!(
        TextTokenizer::from_json("{}", 8)
            .unwrap_err()
            .to_string()
            .contains("tokenizer.json")
    );
}
