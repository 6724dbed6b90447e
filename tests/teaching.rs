//! Owns the proof that what a classifier is taught changes what it is taught and nothing else, and that a file of lessons
//! is harmless whatever is in it.

use shared::Case;
use shared::bundle::{Calibration, CaseCalibration, Dtype, Manifest};
use shared::config::{DplConfig, DplPlusConfig, HeadConfig, PromptConfig, Task};
use shared::head::Background;
use shared::head::prototype::SETS;
use shared::predict::{Classifier, Prediction, RawPost};

use crate::bundle::{Trained, assemble, picture, predictions};

/// Another picture than that of [`picture`].
fn drawing() -> Vec<u8> {
    let pixels = image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([200, (x * y) as u8, 10]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    let format = image::ImageFormat::Png;
    pixels.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// All heads that have prototypes.
fn heads() -> [HeadConfig; 4] {
    let joint = DplConfig {
        decomposed: false,
        ..DplConfig::default()
    };
    let centred = DplPlusConfig {
        centre: true,
        learn_scale: false,
        bias: false,
        ..DplPlusConfig::default()
    };
    [
        HeadConfig::Dpl(DplConfig::default()),
        HeadConfig::Dpl(joint),
        HeadConfig::DplPlus(DplPlusConfig::default()),
        HeadConfig::DplPlus(centred),
    ]
}

fn trained(head: HeadConfig) -> Trained {
    Trained::new(PromptConfig::None, head, Task::MultiClass)
}

fn classifier(trained: &Trained) -> Classifier {
    assemble(&trained.encode(Dtype::F32)).unwrap()
}

fn post<'a>(image: Option<&'a [u8]>, text: Option<&'a str>) -> RawPost<'a> {
    RawPost { image, text }
}

/// Teaches three classes: from complete posts, from images alone, from texts alone.
fn teach(classifier: &mut Classifier) {
    let (one, two) = (picture(), drawing());
    for (class, image, text) in [
        ("tool", Some(&one), Some("a hammer")),
        ("tool", Some(&two), Some("tongs")),
        ("tool", None, Some("a saw")),
        ("colour", Some(&two), None),
        ("word", None, Some("and")),
    ] {
        let image = image.map(Vec::as_slice);
        classifier.teach(class, post(image, text)).unwrap();
    }
}

/// The scores of the bundle's own classes, in the order of the classes.
fn own(prediction: &Prediction) -> Vec<(f32, Option<f32>, Option<f32>)> {
    let mut classes = prediction.classes.clone();
    classes.sort_by_key(|class| class.index);
    let own = classes.iter().take(3);
    own.map(|class| (class.logit, class.image, class.text))
        .collect()
}

#[test]
fn teaching_leaves_the_bundles_classes_as_they_were() {
    for head in heads() {
        let trained = trained(head);
        let mut classifier = classifier(&trained);
        let (before, empty) = (predictions(&classifier), classifier.lessons().unwrap());
        teach(&mut classifier);
        let after = predictions(&classifier);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(own(before), own(after));
            assert_eq!(after.classes.len(), 6);
            let finite = |class: &shared::predict::ClassScore| class.logit.is_finite();
            assert!(after.classes.iter().all(finite), "{after:?}");
        }
        let lessons = classifier.lessons().unwrap();
        assert_eq!(
            lessons.classes,
            ["fruit", "animal", "vehicle", "tool", "colour", "word"]
        );
        let examples: Vec<[u32; 3]> = lessons.taught.iter().map(|class| class.examples).collect();
        assert_eq!(examples, [[2, 0, 1], [0, 1, 0], [0, 0, 1]]);

        // What was kept is what was taught, in another session too.
        let mut other = assemble(&trained.encode(Dtype::F32)).unwrap();
        other.learn(&lessons.file).unwrap();
        assert_eq!(predictions(&other), after);
        assert_eq!(other.lessons().unwrap(), lessons);

        // One more example, undone.
        let picture = picture();
        classifier
            .teach("word", post(Some(&picture), Some("or")))
            .unwrap();
        assert_ne!(predictions(&classifier), after);
        classifier.learn(&lessons.file).unwrap();
        assert_eq!(predictions(&classifier), after);

        // All of it, undone in two ways.
        classifier.learn(&empty.file).unwrap();
        assert_eq!(predictions(&classifier), before);
        for class in ["colour", "tool", "word"] {
            other.forget(class).unwrap();
        }
        assert_eq!(predictions(&other), before);
        assert_eq!(other.lessons().unwrap(), empty);
    }
}

/// Whatever is taught in whatever order, a class is what its own examples make of it.
#[test]
fn classes_do_not_depend_on_each_other() {
    let trained = trained(HeadConfig::Dpl(DplConfig::default()));
    let (mut both, mut alone) = (classifier(&trained), classifier(&trained));
    teach(&mut both);
    alone.teach("word", post(None, Some("and"))).unwrap();
    let score = |prediction: &Prediction| {
        let found = prediction
            .classes
            .iter()
            .find(|class| class.label == "word");
        found.map(|class| class.logit).unwrap()
    };
    for (both, alone) in predictions(&both).iter().zip(&predictions(&alone)) {
        assert_eq!(score(both), score(alone));
    }
}

#[test]
fn names_can_be_changed_and_changed_back() {
    let trained = trained(HeadConfig::Dpl(DplConfig::default()));
    let mut classifier = classifier(&trained);
    teach(&mut classifier);
    let before = predictions(&classifier);
    classifier.rename("animal", " beast ").unwrap();
    classifier.rename("tool", "instrument").unwrap();
    let lessons = classifier.lessons().unwrap();
    assert_eq!(lessons.renamed, [("animal".into(), "beast".into())]);
    assert_eq!(lessons.classes[1], "beast");
    assert_eq!(lessons.taught[0].name, "instrument");
    for (before, after) in before.iter().zip(&predictions(&classifier)) {
        for (old, new) in before.classes.iter().zip(&after.classes) {
            let expected = match old.label.as_str() {
                "animal" => "beast",
                "tool" => "instrument",
                same => same,
            };
            assert_eq!((new.label.as_str(), new.logit), (expected, old.logit));
        }
        assert_eq!(after.label, after.classes[0].label);
    }
    let mut other = assemble(&trained.encode(Dtype::F32)).unwrap();
    other.learn(&lessons.file).unwrap();
    assert_eq!(predictions(&other), predictions(&classifier));
    classifier.rename("beast", "animal").unwrap();
    classifier.rename("instrument", "tool").unwrap();
    assert_eq!(predictions(&classifier), before);
    assert!(classifier.lessons().unwrap().renamed.is_empty());
}

#[track_caller]
fn says<T>(result: shared::Result<T>, words: &str) {
    let error = result.err().expect("an error").to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn what_cannot_be_taught_is_refused_and_changes_nothing() {
    let trained = trained(HeadConfig::Dpl(DplConfig::default()));
    let mut classifier = classifier(&trained);
    teach(&mut classifier);
    let (before, kept) = (predictions(&classifier), classifier.lessons().unwrap());
    let text = post(None, Some("words"));
    says(classifier.teach("fruit", text), "trained with many posts");
    says(classifier.teach("  ", text), "needs a name");
    says(classifier.teach(&"x".repeat(101), text), "too long");
    says(classifier.teach("a\nb", text), "one line");
    says(classifier.teach("new", post(None, None)), "neither");
    says(classifier.teach("new", post(Some(b"no"), None)), "image");
    says(
        classifier.rename("fruit", "tool"),
        "called \"tool\" already",
    );
    says(classifier.rename("nothing", "x"), "no class \"nothing\"");
    says(classifier.rename("fruit", ""), "needs a name");
    says(classifier.forget("fruit"), "cannot be forgotten");
    says(classifier.forget("nothing"), "no class");
    assert_eq!(classifier.lessons().unwrap(), kept);
    assert_eq!(predictions(&classifier), before);

    // Of heads without prototypes, and without a bundle.
    let linear = Trained::new(PromptConfig::None, HeadConfig::Linear, Task::MultiClass);
    let mut linear = assemble(&linear.encode(Dtype::F32)).unwrap();
    says(linear.teach("new", text), "no prototypes");
    says(linear.learn(&kept.file), "no prototypes");
    linear.rename("fruit", "sweets").unwrap();
    let mut model = trained.classifier();
    says(model.teach("new", text), "export the model first");
    says(model.learn(&kept.file), "export the model first");
}

/// A file is of the very bundle, and nothing that others write into it makes more than a sentence.
#[test]
fn hostile_files_are_refused() {
    let trained = trained(HeadConfig::DplPlus(DplPlusConfig::default()));
    let mut classifier = classifier(&trained);
    teach(&mut classifier);
    classifier.rename("animal", "beast").unwrap();
    let (before, kept) = (predictions(&classifier), classifier.lessons().unwrap());
    let file: serde_json::Value = serde_json::from_str(&kept.file).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut changed = file.clone();
        change(&mut changed);
        changed.to_string()
    };
    let width = trained.config.clip.projection_dim;
    let large = "0000807f".repeat(width);
    for (file, words) in [
        (String::new(), "no file of lessons"),
        ("[]".into(), "no file of lessons"),
        (" ".repeat((16 << 20) + 1), "at most"),
        (
            with(&|f| f["format"] = "lacuna-bundle".into()),
            "its format",
        ),
        (with(&|f| f["version"] = 2.into()), "update the program"),
        (
            with(&|f| f["bundle"] = "0".repeat(64).into()),
            "another classifier",
        ),
        (
            with(&|f| f["renamed"][0][0] = "ghost".into()),
            "no class of the classifier",
        ),
        (
            with(&|f| f["renamed"][0][1] = "fruit".into()),
            "two classes",
        ),
        (with(&|f| f["renamed"][0][1] = "a\u{7}".into()), "one line"),
        (
            with(&|f| f["classes"][0]["name"] = "word".into()),
            "two classes",
        ),
        (
            with(&|f| f["classes"][0]["name"] = "".into()),
            "needs a name",
        ),
        (
            with(&|f| f["classes"][0]["examples"] = [0, 0, 0].into()),
            "it needs one",
        ),
        (
            with(&|f| f["classes"][0]["examples"][0] = (-1).into()),
            "no file of lessons",
        ),
        (
            with(&|f| f["classes"][0]["examples"] = [u32::MAX; 3].into()),
            "it needs one",
        ),
        (
            with(&|f| f["classes"][0]["examples"] = [0, 1, 0].into()),
            "are not those",
        ),
        (
            with(&|f| f["classes"][0]["sums"][0] = large.clone().into()),
            "damaged sum",
        ),
        (
            with(&|f| f["classes"][0]["sums"][0] = "00".into()),
            "damaged sum",
        ),
        (
            with(&|f| f["classes"][0]["sums"][1] = "0000c842".repeat(width).into()),
            "are not those",
        ),
        (
            with(&|f| f["classes"][0]["sums"][2] = serde_json::Value::Null),
            "are not those",
        ),
        (
            with(&|f| f["classes"] = vec![f["classes"][0].clone(); 257].into()),
            "at most 256",
        ),
    ] {
        says(classifier.learn(&file), words);
    }
    assert_eq!(predictions(&classifier), before);
    classifier.forget_all();
    assert_eq!(classifier.lessons().unwrap().taught, []);
    classifier.learn(&kept.file).unwrap();
    assert_eq!(predictions(&classifier), before);
    // Cut anywhere, and a byte changed anywhere: a sentence, or lessons that are whole.
    for at in (0..kept.file.len()).step_by(7) {
        assert!(classifier.learn(&kept.file[..at]).is_err());
        let mut bytes = kept.file.clone().into_bytes();
        bytes[at] ^= 1 << (at % 7);
        let Ok(changed) = String::from_utf8(bytes) else {
            continue;
        };
        if classifier.learn(&changed).is_ok() {
            let finite = |p: &Prediction| p.classes.iter().all(|class| class.logit.is_finite());
            assert!(predictions(&classifier).iter().all(finite), "byte {at}");
        }
    }
    classifier.learn(&kept.file).unwrap();
    assert_eq!(predictions(&classifier), before);

    // The same weights exported again under another name are another bundle.
    let mut files = trained.encode(Dtype::F32);
    let mut manifest = Manifest::parse(&files[0].1).unwrap();
    manifest.about.name = "Another".into();
    files[0].1 = manifest.to_json().unwrap();
    let mut other = assemble(&files).unwrap();
    says(other.learn(&kept.file), "another classifier");
}

/// Unit length, in f64.
fn unit(x: &[f64]) -> Vec<f64> {
    let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    x.iter().map(|x| x / length).collect()
}

/// Some values for each set, and offsets.
fn background(width: usize) -> Background {
    let value = |place: usize, i: usize| ((place * width + i) as f32 * 1.7).sin() / 4.0;
    let mean = |place| (0..width).map(|i| value(place, i)).collect();
    Background {
        means: [0, 1, 2, 3].map(mean),
        offsets: [0.5, -1.0, 2.0],
    }
}

/// A post without what a case lacks.
fn without(case: Case, post: RawPost<'_>) -> RawPost<'_> {
    RawPost {
        image: post.image.filter(|_| case != Case::ImageMissing),
        text: post.text.filter(|_| case != Case::TextMissing),
    }
}

/// A taught prototype is the normalised mean of unit features, less what all posts have in common, by case and modality:
/// here in plain loops.
#[test]
fn a_prototype_is_the_normalised_mean() {
    let mut model = trained(HeadConfig::Dpl(DplConfig::default()));
    let width = model.config.clip.projection_dim;
    for common in [None, Some(background(width))] {
        model.background.clone_from(&common);
        let mut classifier = classifier(&model);
        let (one, two) = (picture(), drawing());
        let examples = [
            post(Some(&one), Some("a hammer")),
            post(Some(&two), Some("tongs")),
        ];
        for example in examples {
            classifier.teach("tool", example).unwrap();
        }
        let features = |of: RawPost<'_>| classifier.features(&[of]).unwrap().remove(0);
        for case in Case::ALL {
            let shown = without(case, post(Some(&one), Some("a pear")));
            let seen = features(shown);
            let mut cosines = Vec::new();
            for (place, set) in SETS.iter().enumerate().filter(|(_, set)| set.case == case) {
                let modality = set.modality as usize;
                let of = |features: &[Option<Vec<f32>>; 2]| -> Vec<f64> {
                    let values = features[modality].as_ref().unwrap();
                    unit(&values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>())
                };
                let taught = examples.map(|example| of(&features(without(case, example))));
                let all = common.as_ref().map(|all| all.means[place].as_slice());
                let all = |i: usize| all.map_or(0.0, |all| f64::from(all[i]));
                let mean = (0..width).map(|i| (taught[0][i] + taught[1][i]) / 2.0 - all(i));
                let prototype = unit(&mean.collect::<Vec<_>>());
                let x = of(&seen);
                cosines.push(
                    (0..width)
                        .map(|i| prototype[i] * (x[i] - all(i)))
                        .sum::<f64>(),
                );
            }
            let offset = common.as_ref().map_or(0.0, |all| all.offsets[case.index()]);
            let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
            let expected = 30.0 * mean + f64::from(offset);
            let found = classifier.classify(shown.image, shown.text).unwrap();
            let found = found
                .classes
                .iter()
                .find(|class| class.label == "tool")
                .unwrap();
            assert!(
                (f64::from(found.logit) - expected).abs() < 1e-4,
                "{case}: {found:?}, {expected}"
            );
        }
    }
}

/// A bundle with a background and a calibration keeps both, and answers as without them but for probabilities.
#[test]
fn what_was_measured_comes_back_with_the_bundle() {
    let mut model = trained(HeadConfig::DplPlus(DplPlusConfig::default()));
    let before = predictions(&classifier(&model));
    let width = model.config.clip.projection_dim;
    model.background = Some(background(width));
    let classifier = classifier(&model);
    let head = classifier.network().head().unwrap();
    assert_eq!(head.background(), model.background.as_ref());
    assert_eq!(predictions(&classifier), before);
    let mut files = model.encode(Dtype::F32);
    let mut manifest = Manifest::parse(&files[0].1).unwrap();
    let fitted = |case| CaseCalibration {
        temperature: 2.0,
        threshold: 0.0,
        posts: 10,
        ..CaseCalibration::unknown(case)
    };
    manifest.calibration = Some(Calibration {
        sure: 0.8,
        cases: Case::ALL.map(fitted),
    });
    files[0].1 = manifest.to_json().unwrap();
    for (plain, calibrated) in before.iter().zip(predictions(&assemble(&files).unwrap())) {
        assert_eq!((plain.sure, calibrated.sure), (None, Some(true)));
        assert_eq!(own(plain), own(&calibrated));
        let powers = plain.classes.iter().map(|class| (class.logit / 2.0).exp());
        let expected = (plain.classes[0].logit / 2.0).exp() / powers.sum::<f32>();
        assert!((calibrated.probability - expected).abs() < 1e-6);
    }
    // Numbers that cannot be are refused.
    if let Some(calibration) = &mut manifest.calibration {
        calibration.cases[0].temperature = 0.0;
    }
    says(manifest.to_json(), "calibration");
}
