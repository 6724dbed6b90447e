//! Owns captions: a name and tags, put together differently each time.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shared::rng::{Rng, below, unit};

use super::drawings::Subject;

/// How captions are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptionSettings {
    /// Share of captions that are the name.
    pub name: f64,
    /// Share of captions that are the name and a few tags; the rest are tags only.
    pub name_and_tags: f64,
    /// Most tags after a name.
    pub tags_after_name: usize,
    /// Most tags without a name.
    pub tags_alone: usize,
}

impl Default for CaptionSettings {
    fn default() -> Self {
        Self {
            name: 0.35,
            name_and_tags: 0.35,
            tags_after_name: 4,
            tags_alone: 5,
        }
    }
}

impl CaptionSettings {
    /// One caption of `subject`.
    pub fn caption(&self, subject: &Subject, rng: &mut Rng) -> String {
        let choice = unit(rng);
        if choice < self.name || subject.tags.is_empty() {
            subject.name.clone()
        } else if choice < self.name + self.name_and_tags {
            format!(
                "{} {}",
                subject.name,
                some(&subject.tags, self.tags_after_name, rng).join(" ")
            )
        } else {
            some(&subject.tags, self.tags_alone, rng).join(" ")
        }
    }
}

/// 1 to `most` different items in random order.
pub(super) fn some<'a>(items: &'a [String], most: usize, rng: &mut Rng) -> Vec<&'a str> {
    let count = (1 + below(rng, most.max(1))).min(items.len());
    let mut taken = BTreeSet::new();
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        let at = below(rng, items.len());
        if taken.insert(at) {
            chosen.push(items[at].as_str());
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::rng::stream;

    fn lion() -> Subject {
        let tags = ["animal mammal", "king", "mane", "zodiac"]
            .map(String::from)
            .to_vec();
        Subject {
            name: "lion".into(),
            tags,
            group: None,
            drawings: vec![0],
        }
    }

    #[test]
    fn the_three_kinds_have_their_shares() {
        let settings = CaptionSettings::default();
        let mut rng = stream(1, "captions");
        let captions: Vec<String> = (0..4000)
            .map(|_| settings.caption(&lion(), &mut rng))
            .collect();
        let share = |test: &dyn Fn(&str) -> bool| {
            captions.iter().filter(|c| test(c)).count() as f64 / 4000.0
        };
        assert!((share(&|c| c == "lion") - 0.35).abs() < 0.03);
        assert!((share(&|c| c.starts_with("lion ")) - 0.35).abs() < 0.03);
        assert!((share(&|c| !c.starts_with("lion")) - 0.30).abs() < 0.03);
    }

    #[test]
    fn no_tag_comes_twice() {
        let mut rng = stream(2, "captions");
        for _ in 0..200 {
            let tags = lion().tags;
            let chosen = some(&tags, 9, &mut rng);
            assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len());
        }
    }

    #[test]
    fn without_tags_there_is_the_name() {
        let subject = Subject {
            tags: vec![],
            ..lion()
        };
        let mut rng = stream(3, "captions");
        assert!((0..20).all(|_| CaptionSettings::default().caption(&subject, &mut rng) == "lion"));
    }
}
