//! Owns two further tasks on the demo's posts: their commonest keywords (any number a post), and living beings (yes or no).
//!
//! Both keep pictures, texts and splits of the demo task; only the labels are others.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::write::DemoPost;
use crate::data::split::Split;

/// Keywords that are learnt: the commonest ones.
const KEYWORDS: usize = 30;
/// The groups that show living beings.
const LIVING: [&str; 9] = [
    "face",
    "hand-body",
    "person",
    "person-role",
    "person-activity",
    "person-fantasy",
    "mammal",
    "bird-sea-bug",
    "plant",
];

/// A task on the demo's posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relabelled {
    /// CLDR's keywords, those that most training concepts have. Posts without any of them are left out.
    Tags,
    /// "living" or "lifeless".
    Living,
}

/// One line of `data.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    id: String,
    image: String,
    text: String,
    labels: Vec<String>,
    split: Split,
    style: String,
    concept: String,
}

impl Relabelled {
    /// The task's folder, beside that of the demo.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Tags => "emoji-tags",
            Self::Living => "emoji-living",
        }
    }

    /// The task's lines, in the posts' order; pictures stay in the demo's folder.
    pub(super) fn lines(self, posts: &[DemoPost]) -> Vec<Line> {
        let keywords = keywords(posts);
        let labels = |post: &DemoPost| -> Vec<String> {
            match self {
                Self::Tags => {
                    let own = post.tags.iter().filter(|tag| keywords.contains(*tag));
                    own.cloned().collect::<BTreeSet<_>>().into_iter().collect()
                }
                // Sorted, the living ones come second: AUROC ranks by their score.
                Self::Living if LIVING.contains(&post.labels[0]) => vec!["living".into()],
                Self::Living => vec!["lifeless".into()],
            }
        };
        posts
            .iter()
            .map(|post| Line {
                id: post.id.clone(),
                image: format!("../emoji/{}", post.image),
                text: post.text.clone(),
                labels: labels(post),
                split: post.split,
                style: post.style.clone(),
                concept: post.concept.clone(),
            })
            .filter(|line| !line.labels.is_empty())
            .collect()
    }
}

/// The keywords of the most training concepts; equally common ones in alphabetical order.
fn keywords(posts: &[DemoPost]) -> BTreeSet<String> {
    let mut concepts: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for post in posts.iter().filter(|post| post.split == Split::Train) {
        for tag in &post.tags {
            concepts.entry(tag).or_default().insert(&post.concept);
        }
    }
    let mut common: Vec<(usize, &String)> = concepts
        .into_iter()
        .map(|(tag, concepts)| (concepts.len(), tag))
        .collect();
    common.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    common
        .into_iter()
        .take(KEYWORDS)
        .map(|(_, tag)| tag.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(concept: &str, group: &'static str, tags: &[&str], split: Split) -> DemoPost {
        DemoPost {
            id: concept.into(),
            image: format!("images/{concept}.png"),
            text: concept.into(),
            labels: [group],
            split,
            style: "noto".into(),
            concept: concept.into(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        }
    }

    #[test]
    fn keywords_are_chosen_by_training_concepts_and_posts_without_one_are_left_out() {
        let mut posts: Vec<DemoPost> = (0..KEYWORDS)
            .map(|i| {
                post(
                    &format!("c{i}"),
                    "face",
                    &[&format!("k{i:02}")],
                    Split::Train,
                )
            })
            .collect();
        posts.push(post("d", "face", &["k03", "zebra"], Split::Train));
        posts.push(post("e", "tool-science", &["only in test"], Split::Test));
        posts.push(post(
            "f",
            "tool-science",
            &["only in test", "k03"],
            Split::Test,
        ));
        let lines = Relabelled::Tags.lines(&posts);
        assert_eq!(lines.len(), KEYWORDS + 2);
        assert_eq!(
            lines[KEYWORDS].labels,
            ["k03"],
            "zebra is the rarer by the alphabet"
        );
        assert_eq!(lines[KEYWORDS + 1].labels, ["k03"]);
        assert_eq!(lines[0].image, "../emoji/images/c0.png");
        let living = Relabelled::Living.lines(&posts);
        assert_eq!(living.len(), posts.len());
        assert_eq!(
            (
                living[0].labels[0].as_str(),
                living[KEYWORDS + 1].labels[0].as_str()
            ),
            ("living", "lifeless")
        );
    }
}
