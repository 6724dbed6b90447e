//! Owns the demo task: which group an emoji belongs to, and which of a person's variants stands for all.

use std::collections::BTreeMap;

use super::concept;
use super::emoji::Emoji;

/// The groups and the CLDR subgroups they are made of; a name ending in `-` stands for all that begin so.
pub const GROUPS: [(&str, &[&str]); 24] = [
    ("face", &["face-", "cat-face", "monkey-face"]),
    ("heart", &["heart", "emotion"]),
    ("hand-body", &["hand-", "hands", "body-parts"]),
    (
        "person",
        &["person", "person-gesture", "family", "person-symbol"],
    ),
    ("person-role", &["person-role"]),
    (
        "person-activity",
        &["person-activity", "person-sport", "person-resting"],
    ),
    ("person-fantasy", &["person-fantasy"]),
    ("mammal", &["animal-mammal"]),
    (
        "bird-sea-bug",
        &[
            "animal-bird",
            "animal-marine",
            "animal-bug",
            "animal-reptile",
            "animal-amphibian",
        ],
    ),
    ("plant", &["plant-"]),
    ("fruit-vegetable", &["food-fruit", "food-vegetable"]),
    (
        "meal-sweet",
        &["food-prepared", "food-asian", "food-sweet", "food-marine"],
    ),
    ("drink", &["drink", "dishware"]),
    ("building-place", &["place-"]),
    (
        "vehicle",
        &["transport-ground", "transport-water", "transport-air"],
    ),
    ("sky-weather", &["sky-weather"]),
    ("sport-game", &["sport", "game"]),
    ("event-award", &["event", "award-medal"]),
    ("music", &["music", "musical-instrument", "sound"]),
    ("clothing", &["clothing"]),
    ("paper-office", &["office", "writing", "book-paper", "mail"]),
    ("tool-science", &["tool", "science", "medical", "lock"]),
    ("electronics", &["computer", "phone", "light-video"]),
    ("household", &["household"]),
];

/// The group of a CLDR subgroup; none for symbols, clocks, money and crafts.
pub fn group(subgroup: &str) -> Option<&'static str> {
    GROUPS.iter().find_map(|(group, parts)| {
        let belongs = parts
            .iter()
            .any(|part| subgroup == *part || part.ends_with('-') && subgroup.starts_with(part));
        belongs.then_some(*group)
    })
}

/// From the emoji that one style draws (indices into `emoji`), those that are posts of the demo task. Of a person's
/// variants only one stays in each style, the neutral one if it is drawn, so that the task is not to tell a hundred
/// pairs of men and women apart.
pub fn posts(emoji: &[Emoji], drawn: &[usize]) -> Vec<usize> {
    let mut chosen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut posts = Vec::new();
    for &index in drawn {
        let one = &emoji[index];
        match group(&one.subgroup) {
            None => {}
            Some(group) if group.starts_with("person") => {
                let rank = |i: usize| (concept::is_gendered(&emoji[i].label), emoji[i].order);
                let best = chosen.entry(&one.concept).or_insert(index);
                if rank(index) < rank(*best) {
                    *best = index;
                }
            }
            Some(_) => posts.push(index),
        }
    }
    posts.extend(chosen.into_values());
    posts.sort_unstable();
    posts.dedup();
    posts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subgroups_fall_into_groups() {
        assert_eq!(group("face-smiling"), Some("face"));
        assert_eq!(group("food-fruit"), Some("fruit-vegetable"));
        assert_eq!(group("hands"), Some("hand-body"));
        assert_eq!(group("person-sport"), Some("person-activity"));
        for dropped in ["time", "money", "arts-crafts", "zodiac", "transport-sign"] {
            assert_eq!(group(dropped), None, "{dropped}");
        }
    }

    #[test]
    fn one_variant_of_a_person_stays() {
        let emoji = |label: &str, subgroup: &str, order| Emoji {
            label: label.into(),
            tags: vec![],
            subgroup: subgroup.into(),
            concept: concept::key(label, "people-body", subgroup),
            order,
        };
        let all = [
            emoji("man cook", "person-role", 0),
            emoji("woman cook", "person-role", 1),
            emoji("cook", "person-role", 2),
            emoji("lemon", "food-fruit", 3),
        ];
        assert_eq!(posts(&all, &[0, 1, 2, 3]), [2, 3]);
        assert_eq!(posts(&all, &[0, 1]), [0]);
    }
}
