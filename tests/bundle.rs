//! Owns the proof that a bundle is the model it was made from, always the same bytes, and harmless whatever is in it.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use shared::bundle::{self, About, Assembler, Contents, Dtype, Figure, FileEntry, Manifest};
use shared::case::Case;
use shared::clip;
use shared::config::{
    ClipConfig, DcpConfig, DeptConfig, DplConfig, DplPlusConfig, HeadConfig, ModelConfig,
    PromptConfig, Task,
};
use shared::head::Background;
use shared::infer::weights::Weights;
use shared::model::{self, Model};
use shared::nn::{Tensors, var_builder};
use shared::predict::{Classifier, OnDevice, Prediction};
use shared::preprocess::image::ImagePreprocessor;
use shared::preprocess::text::TextTokenizer;
use shared::rng::{normal, stream};

const SIDE: usize = 8;
const CONTEXT: usize = 8;

/// A small model with random weights.
pub(crate) struct Trained {
    pub(crate) config: ModelConfig,
    tensors: Tensors,
    pub(crate) background: Option<Background>,
}

impl Trained {
    pub(crate) fn new(prompt: PromptConfig, head: HeadConfig, task: Task) -> Self {
        let mut clip = ClipConfig {
            projection_dim: 6,
            ..ClipConfig::default()
        };
        let vision = &mut clip.vision_config;
        (
            vision.hidden_size,
            vision.intermediate_size,
            vision.num_hidden_layers,
        ) = (8, 16, 2);
        (
            vision.num_attention_heads,
            vision.image_size,
            vision.patch_size,
        ) = (2, SIDE, 4);
        let text = &mut clip.text_config;
        (
            text.hidden_size,
            text.intermediate_size,
            text.num_hidden_layers,
        ) = (8, 16, 2);
        (
            text.num_attention_heads,
            text.vocab_size,
            text.max_position_embeddings,
        ) = (2, 514, CONTEXT);
        let classes = ["fruit", "animal", "vehicle"].map(String::from).to_vec();
        let config = ModelConfig {
            clip,
            prompt,
            head,
            task,
            classes,
        };
        let rng = &mut stream(21, "bundle");
        let mut tensors = clip::initialise(&config.clip, rng, &Device::Cpu).unwrap();
        tensors.append(&mut model::initialise(&config, 21, &Device::Cpu).unwrap());
        for (name, tensor) in &mut tensors {
            let std = if name.ends_with(".bias") { 0.3 } else { 0.1 };
            let noise = normal(rng, tensor.dims(), std, &Device::Cpu).unwrap();
            *tensor = (&*tensor + noise).unwrap();
        }
        Self {
            config,
            tensors,
            background: None,
        }
    }

    fn dcp() -> Self {
        let dcp = DcpConfig {
            length: 6,
            depth: 2,
            reduction: 4,
            train_queries: false,
        };
        let head = HeadConfig::Dpl(DplConfig::default());
        Self::new(PromptConfig::Dcp(dcp), head, Task::MultiClass)
    }

    pub(crate) fn encode(&self, dtype: Dtype) -> Vec<(String, Vec<u8>)> {
        let figure = |case, value| Figure {
            split: "test".into(),
            case,
            metric: "accuracy".into(),
            value,
            posts: 100,
        };
        let about = About {
            name: "Small | posts".into(),
            description: "For tests.".into(),
            licence: "MIT OR Apache-2.0".into(),
            made: vec!["random weights, seed 21".into()],
            figures: vec![figure(Some(Case::TextMissing), 0.25), figure(None, 0.5)],
            drift: vec![figure(Some(Case::Complete), 0.75)],
        };
        let contents = Contents {
            config: &self.config,
            tensors: &self.tensors,
            rounded: &Weights::default(),
            images: &ImagePreprocessor::new(SIDE, Some([255; 3])),
            tokenizer: &tokenizer(),
            dtype,
            about,
            calibration: None,
            background: self.background.clone(),
        };
        bundle::encode(contents).unwrap()
    }

    pub(crate) fn classifier(&self) -> Classifier {
        let model = Model::load(&self.config, var_builder(&self.tensors, &Device::Cpu)).unwrap();
        let images = ImagePreprocessor::new(SIDE, Some([255; 3]));
        let device = Device::Cpu;
        Classifier::new(OnDevice { model, device }, images, tokenizer()).unwrap()
    }
}

/// Byte-level tokens without merges, in CLIP's form.
fn tokenizer() -> TextTokenizer {
    let printable =
        |byte: u32| (33..=126).contains(&byte) || (161..=172).contains(&byte) || byte >= 174;
    let mut hidden = 256..;
    let letters: Vec<char> = (0..256u32)
        .map(|byte| {
            if printable(byte) {
                byte
            } else {
                hidden.next().unwrap()
            }
        })
        .map(|code| char::from_u32(code).unwrap())
        .collect();
    let plain = letters.iter().map(char::to_string);
    let last = letters.iter().map(|letter| format!("{letter}</w>"));
    let special = ["<|startoftext|>", "<|endoftext|>"].map(String::from);
    let vocabulary: BTreeMap<String, usize> = plain
        .chain(last)
        .chain(special)
        .enumerate()
        .map(|(id, token)| (token, id))
        .collect();
    let vocabulary = serde_json::to_string(&vocabulary).unwrap();
    TextTokenizer::from_vocab_and_merges(&vocabulary, "#version: 0.2\n", CONTEXT).unwrap()
}

pub(crate) fn picture() -> Vec<u8> {
    let pixels =
        image::RgbImage::from_fn(13, 9, |x, y| image::Rgb([x as u8 * 19, y as u8 * 28, 90]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    pixels
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

pub(crate) fn assemble(files: &[(String, Vec<u8>)]) -> shared::Result<Classifier> {
    let mut assembler = Assembler::new(Manifest::parse(&files[0].1)?);
    // Any order will do.
    for (name, bytes) in files[1..files.len() - 1].iter().rev() {
        assembler.add(name, bytes)?;
    }
    assembler.finish()
}

pub(crate) fn predictions(classifier: &Classifier) -> Vec<Prediction> {
    let picture = picture();
    let posts = [
        (Some(picture.as_slice()), Some("a pear")),
        (Some(&picture), None),
        (None, Some("a cat")),
    ];
    posts
        .into_iter()
        .map(|(image, text)| classifier.classify(image, text).unwrap())
        .collect()
}

/// The largest difference of two predictions' logits and contributions, class by class.
fn difference(a: &Prediction, b: &Prediction) -> f32 {
    assert_eq!(
        (a.case, a.evidence, a.classes.len()),
        (b.case, b.evidence, b.classes.len())
    );
    let values = |p: &Prediction, index: usize| {
        let class = p.classes.iter().find(|class| class.index == index).unwrap();
        assert_eq!(class.image.is_some(), p.case != Case::ImageMissing);
        assert_eq!(class.text.is_some(), p.case != Case::TextMissing);
        [
            class.logit,
            class.probability,
            class.image.unwrap_or(0.0),
            class.text.unwrap_or(0.0),
        ]
    };
    let pairs = (0..a.classes.len()).flat_map(|k| values(a, k).into_iter().zip(values(b, k)));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn a_bundle_is_the_model_and_always_the_same_bytes() {
    let joint = DplConfig {
        decomposed: false,
        ..DplConfig::default()
    };
    let plus = DplPlusConfig {
        centre: true,
        ..DplPlusConfig::default()
    };
    let heads = [
        HeadConfig::Linear,
        HeadConfig::Dept(DeptConfig::default()),
        HeadConfig::Dpl(joint),
        HeadConfig::DplPlus(plus),
    ];
    let plain = heads.map(|head| Trained::new(PromptConfig::None, head, Task::MultiLabel));
    let prompted = crate::gradients::prompts()
        .into_iter()
        .map(|prompt| Trained::new(prompt, HeadConfig::Linear, Task::MultiClass));
    for trained in [Trained::dcp()].into_iter().chain(plain).chain(prompted) {
        let files = trained.encode(Dtype::F32);
        assert_eq!(files, trained.encode(Dtype::F32));
        let ours = predictions(&assemble(&files).unwrap());
        let theirs = predictions(&trained.classifier());
        for ((ours, theirs), case) in ours.iter().zip(&theirs).zip(Case::ALL) {
            assert_eq!(ours.case, case);
            assert!(
                ours.classes
                    .windows(2)
                    .all(|pair| pair[0].probability >= pair[1].probability)
            );
            let (difference, largest) = (
                difference(ours, theirs),
                ours.classes[0].logit.abs().max(1.0),
            );
            assert!(difference <= 2e-6 * largest, "{case}: {difference}");
        }
        let half = predictions(&assemble(&trained.encode(Dtype::F16)).unwrap());
        for (ours, theirs) in half.iter().zip(&theirs) {
            assert!(
                difference(ours, theirs) <= 0.1,
                "{}",
                difference(ours, theirs)
            );
        }
    }
}

#[test]
fn the_folder_reads_back_and_its_card_tells_what_it_is() {
    let files: BTreeMap<String, Vec<u8>> = Trained::dcp().encode(Dtype::F32).into_iter().collect();
    let absent = |name: &str| shared::Error::Input(format!("{name} is absent"));
    let file = |name: &str| files.get(name).cloned().ok_or_else(|| absent(name));
    let (manifest, classifier) = bundle::read(file, &Device::Cpu).unwrap();
    assert_eq!(
        Manifest::parse(&manifest.to_json().unwrap()).unwrap(),
        manifest
    );
    assert_eq!(classifier.network().config(), &manifest.config);
    assert_eq!(
        manifest.total_bytes() as usize,
        manifest
            .files
            .iter()
            .map(|f| files[&f.name].len())
            .sum::<usize>()
    );
    let json = serde_json::to_string(&predictions(&classifier)[1]).unwrap();
    assert!(
        json.starts_with(r#"{"case":"text_missing","label":""#),
        "{json}"
    );
    let card = String::from_utf8(files["README.md"].clone()).unwrap();
    for part in [
        "# Small \\| posts",
        "| test | text missing | accuracy | 0.2500 | 100 |",
        "fruit, animal, vehicle",
    ] {
        assert!(card.contains(part), "{part} is not in:\n{card}");
    }
}

#[test]
fn a_post_with_nothing_in_it_is_an_error_and_blank_text_is_none() {
    let classifier = Trained::dcp().classifier();
    for text in [None, Some(" \n\t")] {
        let error = classifier.classify(None, text).unwrap_err().to_string();
        assert!(error.contains("neither an image nor a text"), "{error}");
    }
    let prediction = classifier.classify(Some(&picture()), Some("  ")).unwrap();
    assert_eq!(prediction.case, Case::TextMissing);
    assert!(classifier.classify(Some(b"no picture"), None).is_err());
}

#[test]
fn every_changed_or_missing_byte_is_an_error() {
    let files = Trained::dcp().encode(Dtype::F32);
    let manifest = Manifest::parse(&files[0].1).unwrap();
    for (name, bytes) in &files[..files.len() - 1] {
        let step = (bytes.len() / 400).max(1);
        for at in (0..bytes.len()).step_by(step) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            for damaged in [&changed[..], &bytes[..at]] {
                let result = match name.as_str() {
                    bundle::MANIFEST => Manifest::parse(damaged).map(|_| ()),
                    _ => Assembler::new(manifest.clone()).add(name, damaged),
                };
                let error = result
                    .expect_err(&format!("{name} with byte {at} changed"))
                    .to_string();
                assert!(
                    error.contains("again") || error.contains("manifest"),
                    "{error}"
                );
            }
        }
    }
}

/// Whoever computes a file's SHA-256 elsewhere still has it compared with the manifest's.
#[test]
fn a_digest_of_other_bytes_is_refused() {
    let files = Trained::dcp().encode(Dtype::F32);
    let mut assembler = Assembler::new(Manifest::parse(&files[0].1).unwrap());
    let digest = |bytes: &[u8]| -> [u8; 32] {
        let digits = bundle::sha256(bytes);
        let byte = |i: usize| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap();
        std::array::from_fn(byte)
    };
    let (name, bytes) = &files[2];
    let other = digest(&files[3].1);
    let error = assembler.add_hashed(name, bytes, other).unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    assembler.add_hashed(name, bytes, digest(bytes)).unwrap();
}

#[test]
fn mistakes_with_files_are_named() {
    let files = Trained::dcp().encode(Dtype::F32);
    let manifest = Manifest::parse(&files[0].1).unwrap();
    let mut assembler = Assembler::new(manifest.clone());
    assembler.add(&files[1].0, &files[1].1).unwrap();
    for (result, words) in [
        (assembler.add(&files[1].0, &files[1].1), "given before"),
        (
            assembler.add("other.safetensors", b""),
            "unknown to the manifest",
        ),
        (assembler.finish().map(|_| ()), "still awaited"),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let newer = String::from_utf8(files[0].1.clone()).unwrap();
    let newer = newer.replace("\"format_version\": 1", "\"format_version\": 3");
    let error = Manifest::parse(newer.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("update the program"), "{error}");

    for name in [
        "../head.safetensors",
        "a/b",
        ".hidden",
        "",
        "manifest.json",
        "a\u{e9}",
    ] {
        let mut bad = manifest.clone();
        bad.files[1].name = name.into();
        assert!(bad.to_json().is_err(), "{name}");
    }
    let mut wrong = manifest;
    wrong.config.classes.push("ship".into());
    let mut assembler = Assembler::new(Manifest::parse(&wrong.to_json().unwrap()).unwrap());
    for (name, bytes) in &files[1..files.len() - 1] {
        assembler.add(name, bytes).unwrap();
    }
    let error = assembler.finish().map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("head.complete_image") && error.contains("[4, 6]"),
        "{error}"
    );
}

/// Whoever makes a bundle can make its checksums fit, so what they cover must be harmless too.
#[test]
fn bytes_changed_with_fitting_checksums_never_panic() {
    let files = Trained::dcp().encode(Dtype::F32);
    let manifest = Manifest::parse(&files[0].1).unwrap();
    let (mut errors, mut survivors) = (0, 0);
    let mut count = |result: shared::Result<Classifier>| match result {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            errors += 1;
        }
        Ok(classifier) => {
            let _ = classifier.classify(Some(&picture()), Some("a pear"));
            survivors += 1;
        }
    };
    let with = |changed: usize, bytes: &[u8]| -> shared::Result<Classifier> {
        let mut manifest = manifest.clone();
        let entry = manifest
            .files
            .iter_mut()
            .find(|file| file.name == files[changed].0)
            .unwrap();
        *entry = FileEntry::of(entry.name.clone(), entry.role, bytes);
        let mut files = files.clone();
        files[changed].1 = bytes.to_vec();
        files[0].1 = manifest.to_json()?;
        assemble(&files)
    };
    for (index, (name, bytes)) in files.iter().enumerate().take(files.len() - 1).skip(1) {
        // Of weights the header, of others everything.
        let end = if name.ends_with(".safetensors") {
            8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
        } else {
            bytes.len()
        };
        for at in (0..8).chain((8..end).step_by((end / 150).max(1))) {
            for flip in [0x01, 0x10, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                count(with(index, &changed));
            }
            count(with(index, &bytes[..at]));
        }
    }
    let blank = "0".repeat(64);
    let text = String::from_utf8(files[0].1.clone())
        .unwrap()
        .replace(&manifest.checksum, &blank);
    for at in (0..text.len()).step_by(2) {
        for flip in [0x01, 0x10] {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= flip;
            let sum = bundle::sha256(&changed);
            let Ok(changed) = String::from_utf8(changed) else {
                continue;
            };
            let mut files = files.clone();
            files[0].1 = changed.replacen(&blank, &sum, 1).into_bytes();
            count(assemble(&files));
        }
    }
    println!("{errors} errors, {survivors} loaded");
    assert!(errors > 1000 && survivors > 0);
}

/// Weights of another size than the configuration's are named with both shapes.
#[test]
fn a_tensor_of_another_shape_is_named() {
    let mut trained = Trained::dcp();
    let wrong = Tensor::zeros((6, 9), candle_core::DType::F32, &Device::Cpu).unwrap();
    trained
        .tensors
        .insert("visual_projection.weight".into(), wrong);
    let vb = var_builder(&trained.tensors, &Device::Cpu);
    let error = Model::load(&trained.config, vb)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("visual_projection.weight") && error.contains("[6, 9]"),
        "{error}"
    );
}
