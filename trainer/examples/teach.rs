//! Measures what a bundle learns of a class from a few examples; prints a table in Markdown.
//!
//!     teach without DATA OUT CLASS[,CLASS]     writes a data folder without some classes, to train on
//!     teach measure DATA BUNDLE...             teaches each bundle the classes of DATA that it does not know
//!
//! Examples are drawn from the training posts of a class, by streams of seed 0; one class is taught at a time and by
//! complete posts, as a page would. Then every test post is classified in each case.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use serde_json::json;
use shared::head::FoldedHead;
use shared::head::taught::Examples;
use shared::predict::Classifier;
use shared::{Case, bundle, rng};
use trainer::data::format;
use trainer::data::record::{Picture, Post, Split, of_split};
use trainer::engine::shown::{Seen, Shown};
use trainer::metrics::accuracy::best;
use trainer::settings::DataSettings;

/// How many examples are given.
const EXAMPLES: [usize; 3] = [1, 5, 10];
/// How often examples of a class are drawn.
const DRAWS: usize = 10;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["without", data, out, classes] => without(data, out, classes),
        ["measure", data, bundles @ ..] if !bundles.is_empty() => measure(data, bundles),
        _ => bail!("usage: teach without DATA OUT CLASS[,CLASS] | teach measure DATA BUNDLE..."),
    }
}

fn posts(data: &str) -> Result<Vec<Post>> {
    Ok(format::read(Path::new(data), &DataSettings::default())?.posts)
}

fn without(data: &str, out: &str, classes: &str) -> Result<()> {
    let left_out: Vec<&str> = classes.split(',').collect();
    let mut lines = String::new();
    for post in posts(data)? {
        if post
            .labels
            .iter()
            .any(|label| left_out.contains(&label.as_str()))
        {
            continue;
        }
        let image = match &post.image {
            Some(Picture::File(path)) => Some(std::fs::canonicalize(path)?),
            _ => None,
        };
        let line = json!({
            "id": post.id, "image": image, "text": post.text, "labels": post.labels, "split": post.split,
        });
        lines += &format!("{line}\n");
    }
    std::fs::create_dir_all(out)?;
    Ok(std::fs::write(Path::new(out).join("data.jsonl"), lines)?)
}

/// Figures of several draws: recognised, right, taken falsely, and the mean of the first two.
type Figures = BTreeMap<(Case, usize, &'static str), Vec<[f64; 4]>>;

fn measure(data: &str, bundles: &[&str]) -> Result<()> {
    let posts = posts(data)?;
    let mut figures = Figures::new();
    let mut before = BTreeMap::<Case, Vec<f64>>::new();
    for (number, folder) in bundles.iter().enumerate() {
        let file = |name: &str| {
            let path = Path::new(folder).join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let (manifest, classifier) = bundle::read(file, &Device::Cpu)?;
        let known = |post: &Post| manifest.config.classes.contains(&post.labels[0]);
        let (old, new): (Vec<Post>, Vec<Post>) = posts.iter().cloned().partition(known);
        let mut classes: Vec<String> = new.iter().map(|post| post.labels[0].clone()).collect();
        classes.sort();
        classes.dedup();
        eprintln!("{folder}: taught {classes:?}");
        let head = classifier
            .network()
            .head()
            .context("the bundle has no head")?;
        let plain = head.without_background();
        let test = |posts: &[Post]| of_split(posts, Split::Test, None);
        let old_test = test(&old);
        let seen = |case| Seen::of(&classifier, &old_test, case);
        let old_seen = [
            seen(Case::Complete)?,
            seen(Case::TextMissing)?,
            seen(Case::ImageMissing)?,
        ];
        for (case, seen) in Case::ALL.into_iter().zip(&old_seen) {
            let right = seen.answers.iter().zip(&seen.targets);
            let right = right.filter(|(a, t)| best(&a.logits).is_some_and(|k| t.contains(&k)));
            let share = right.count() as f64 / seen.answers.len() as f64;
            before.entry(case).or_default().push(share);
        }
        for (place, class) in classes.iter().enumerate() {
            let own: Vec<Post> = new
                .iter()
                .filter(|post| post.labels[0] == *class)
                .cloned()
                .collect();
            let mut random = rng::stream(0, &format!("teach {number} {place}"));
            let mut draws = Vec::new();
            let train = of_split(&own, Split::Train, None);
            for count in EXAMPLES {
                for _ in 0..DRAWS {
                    draws.push((
                        count,
                        examples(&classifier, head, &train, count, &mut random)?,
                    ));
                }
            }
            let of_class = test(&own);
            for case in Case::ALL {
                let own_seen = unlabelled(&classifier, &of_class, case)?;
                let old_seen = &old_seen[case.index()];
                for (count, examples) in &draws {
                    for (name, head) in [("this", head), ("plain", &plain)] {
                        let found = fares(head, case, examples, &own_seen, old_seen)?;
                        figures.entry((case, *count, name)).or_default().push(found);
                    }
                }
            }
        }
    }
    print(&figures, &before);
    Ok(())
}

/// The sums of some posts that are drawn, complete and with either side taken away.
fn examples(
    classifier: &Classifier,
    head: &FoldedHead,
    posts: &[Post],
    count: usize,
    random: &mut rng::Rng,
) -> Result<Examples> {
    let mut left: Vec<&Post> = posts.iter().collect();
    let mut examples = Examples::default();
    for _ in 0..count.min(left.len()) {
        let post = left.swap_remove(rng::below(random, left.len()));
        for case in Case::ALL {
            let Some(shown) = Shown::of(post, case)? else {
                continue;
            };
            for features in classifier.features(&[shown.raw()])? {
                examples.add(case, &head.inputs(case, &features)?);
            }
        }
    }
    Ok(examples)
}

/// Posts of a class that the classifier does not know.
fn unlabelled(classifier: &Classifier, posts: &[Post], case: Case) -> Result<Seen> {
    let bare = posts.iter().cloned().map(|post| Post {
        labels: Vec::new(),
        ..post
    });
    Seen::of(classifier, &bare.collect::<Vec<_>>(), case)
}

fn fares(
    head: &FoldedHead,
    case: Case,
    examples: &Examples,
    own: &Seen,
    old: &Seen,
) -> Result<[f64; 4]> {
    let row = [head.row(examples)?];
    let guesses = |seen: &Seen| -> Vec<Option<usize>> {
        let posts = seen.answers.iter().zip(&seen.inputs);
        let guess = posts.map(|(answer, inputs)| {
            let mut answer = answer.clone();
            head.extend(case, inputs, &row, &mut answer);
            best(&answer.logits)
        });
        guess.collect()
    };
    let taught = old.answers.first().map(|answer| answer.logits.len());
    let share = |count: usize, all: usize| count as f64 / all.max(1) as f64;
    let (own, others) = (guesses(own), guesses(old));
    let recognised = own.iter().filter(|guess| **guess == taught).count();
    let taken = others.iter().filter(|guess| **guess == taught).count();
    let right = others.iter().zip(&old.targets);
    let right = right.filter(|(guess, targets)| guess.is_some_and(|k| targets.contains(&k)));
    let (a, b) = (
        share(recognised, own.len()),
        share(right.count(), others.len()),
    );
    Ok([a, b, share(taken, others.len()), f64::midpoint(a, b)])
}

fn print(figures: &Figures, before: &BTreeMap<Case, Vec<f64>>) {
    println!(
        "| posts with | examples | formula | taught class recognised | others right | before | taken falsely | mean |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for ((case, count, name), draws) in figures {
        let spread = |column: usize| {
            let values: Vec<f64> = draws.iter().map(|draw| 100.0 * draw[column]).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
            let deviation = (squares / (values.len() - 1).max(1) as f64).sqrt();
            format!("{mean:.1} ± {deviation:.1}")
        };
        let old = &before[case];
        let old = 100.0 * old.iter().sum::<f64>() / old.len() as f64;
        println!(
            "| {case} | {count} | {name} | {} | {} | {old:.1} | {} | {} |",
            spread(0),
            spread(1),
            spread(2),
            spread(3)
        );
    }
}
