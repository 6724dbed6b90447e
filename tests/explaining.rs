//! Owns the proof that explanations say what the model says: falls are those of posts that really lack the part, and what
//! is marked matters more than what is drawn at random.

use std::path::Path;

use candle_core::Device;
use shared::bundle;
use shared::predict::{Classifier, Explainer, Explanation, Prediction, RawPost};

/// The classifier that comes with the project.
fn classifier() -> Classifier {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/demo-bundle");
    let file = |name: &str| Ok::<_, anyhow::Error>(std::fs::read(folder.join(name))?);
    bundle::read(file, &Device::Cpu).unwrap().1
}

fn sample(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/samples");
    std::fs::read(folder.join(format!("{name}.png"))).unwrap()
}

fn explain(classifier: &Classifier, post: &RawPost<'_>, class: usize) -> Explanation {
    let mut explainer = Explainer::new(classifier, post, class).unwrap();
    let most = explainer.steps();
    let mut steps = 0;
    while explainer.step(classifier).unwrap() {
        steps += 1;
    }
    assert!(steps <= most, "{steps} steps of {most}");
    explainer.finish()
}

/// The log odds of a class, in double precision.
fn odds(prediction: &Prediction, class: usize) -> f64 {
    let logit = |of: usize| {
        let found = prediction.classes.iter().find(|own| own.index == of);
        f64::from(found.unwrap().logit)
    };
    let others = (0..prediction.classes.len()).filter(|&other| other != class);
    let sum: f64 = others
        .map(|other| (logit(other) - logit(class)).exp())
        .sum();
    -sum.ln()
}

#[test]
fn a_word_falls_by_what_the_post_without_it_says() {
    let classifier = classifier();
    let image = sample("coffee");
    for image in [Some(&image[..]), None] {
        let text = "a hot cup of coffee";
        let whole = classifier.classify(image, Some(text)).unwrap();
        let class = whole.index;
        let found = explain(
            &classifier,
            &RawPost {
                image,
                text: Some(text),
            },
            class,
        );
        let map = found.text.unwrap();
        assert_eq!(map.pieces.concat(), text);
        let mut words = 0;
        for (place, fall) in map.falls.iter().enumerate() {
            let Some(fall) = fall else {
                assert!(map.pieces[place].trim().is_empty());
                continue;
            };
            words += 1;
            let mut rest = map.pieces.clone();
            rest[place].clear();
            let without = classifier.classify(image, Some(&rest.concat())).unwrap();
            let expected = odds(&whole, class) - odds(&without, class);
            assert!(
                (f64::from(*fall) - expected).abs() < 1e-3,
                "{fall} {expected}"
            );
        }
        assert_eq!(words, 5);
        let removal = map.removal.unwrap();
        assert_eq!(removal.marked.len(), 1);
        assert!((removal.whole - whole.probability).abs() < 1e-5);
        let most = map.falls.iter().flatten().copied().fold(f32::MIN, f32::max);
        assert_eq!(map.falls[removal.marked[0]], Some(most));
        assert!((removal.fall_marked - most).abs() < 1e-5);
        assert_eq!(found.image.is_some(), image.is_some());
    }
}

/// A picture whose only content lies in one corner: what is far from it cannot matter.
#[test]
fn nothing_rests_on_what_is_empty() {
    let classifier = classifier();
    let drawing = image::load_from_memory(&sample("apple")).unwrap();
    let small = drawing.thumbnail(24, 24).to_rgba8();
    let mut picture = image::RgbaImage::from_pixel(48, 48, image::Rgba([255; 4]));
    image::imageops::overlay(&mut picture, &small, 24, 24);
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    let bytes = bytes.into_inner();
    let class = classifier.classify(Some(&bytes), None).unwrap().index;
    let post = RawPost {
        image: Some(&bytes),
        text: None,
    };
    let map = explain(&classifier, &post, class).image.unwrap();
    assert_eq!((map.side, map.cells.len()), (6, 36));
    assert_eq!(map.seen, [0.0, 0.0, 1.0, 1.0]);
    // What is painted over takes the colour around it: where that is white already, nothing changes.
    for (place, fall) in map.cells.iter().enumerate() {
        if place / 6 == 0 || place % 6 == 0 {
            assert!(fall.abs() < 1e-3, "cell {place}: {fall}");
        }
    }
    let most = map.cells.iter().copied().fold(f32::MIN, f32::max);
    assert!(most > 0.1, "{most}");
    assert_eq!(map.removal.unwrap().marked.len(), 7);
}

#[test]
fn what_is_marked_matters_more_than_what_is_drawn() {
    let classifier = classifier();
    let (mut marked, mut random) = (0.0, 0.0);
    for name in [
        "apple", "car", "cat", "coffee", "guitar", "pizza", "tree", "umbrella",
    ] {
        let image = sample(name);
        let post = RawPost {
            image: Some(&image),
            text: Some("a drawing of something nice"),
        };
        let class = classifier.classify(post.image, post.text).unwrap().index;
        let found = explain(&classifier, &post, class);
        let (image, text) = (found.image.unwrap(), found.text.unwrap());
        for removal in [image.removal.unwrap(), text.removal.unwrap()] {
            marked += removal.fall_marked;
            random += removal.fall_random;
        }
    }
    assert!(marked > 2.0 * random.max(0.0), "{marked} against {random}");
}

#[test]
fn tall_pictures_say_which_part_is_seen() {
    let classifier = classifier();
    let picture = image::RgbImage::from_pixel(50, 200, image::Rgb([9, 90, 200]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    let seen = classifier.images().seen(bytes.get_ref()).unwrap();
    assert_eq!(seen, [0.0, 0.375, 1.0, 0.25]);
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let classifier = classifier();
    let one_word = RawPost {
        image: None,
        text: Some("tea"),
    };
    assert!(Explainer::new(&classifier, &one_word, 24).is_err());
    assert!(Explainer::new(&classifier, &RawPost::default(), 0).is_err());
    // Of a single word nothing can be drawn in its place.
    let map = explain(&classifier, &one_word, 3).text.unwrap();
    assert_eq!(map.removal, None);
    assert!(map.falls[0].is_some());
}
