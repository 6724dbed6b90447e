//! Owns which emoji are one concept: variants of one thing share a key, so that a split never separates them.

/// Words that tell variants of a person apart, not what the person is or does.
const PERSON_WORDS: [&str; 31] = [
    "man",
    "men",
    "woman",
    "women",
    "person",
    "people",
    "boy",
    "girl",
    "child",
    "baby",
    "adult",
    "mr",
    "mrs",
    "mx",
    "older",
    "old",
    "and",
    "s",
    "facing",
    "right",
    "left",
    "up",
    "down",
    "rightwards",
    "leftwards",
    "upwards",
    "downwards",
    "pointing",
    "santa",
    "mother",
    "father",
];

/// Words for a person of one gender, by their neutral form.
const NEUTRAL: [(&str, &str); 7] = [
    ("mermaid", "merperson"),
    ("merman", "merperson"),
    ("princess", "royalty"),
    ("prince", "royalty"),
    ("superheroine", "superhero"),
    ("grandmother", "grandparent"),
    ("grandfather", "grandparent"),
];

/// The words of a label that mark one gender, when a neutral drawing of the same concept may exist.
const GENDERED: [&str; 12] = [
    "man", "men", "woman", "women", "boy", "girl", "mrs", "mermaid", "merman", "prince",
    "princess", "santa",
];

/// The key that all variants of an emoji share, from its label and its CLDR group and subgroup.
pub fn key(label: &str, group: &str, subgroup: &str) -> String {
    let words = words(label);
    let has = |word: &str| words.iter().any(|w| w == word);
    if subgroup == "time" && (has("clock") && has("o") || has("thirty") || label.contains('’')) {
        return "clock".into();
    }
    if subgroup == "sky-weather" && has("moon") {
        return "moon".into();
    }
    if has("globe") && has("showing") {
        return "globe".into();
    }
    if subgroup == "family" || has("family") {
        return word_before_colon(label)
            .filter(|w| w != "family")
            .map_or_else(|| "family".into(), |w| slug(&w));
    }
    if group != "people-body" {
        return slug(label);
    }
    let stem = label.split(':').next().unwrap_or(label);
    let kept: Vec<String> = self::words(stem)
        .iter()
        .map(|word| {
            NEUTRAL
                .iter()
                .find(|(one, _)| one == word)
                .map_or_else(|| word.clone(), |(_, neutral)| (*neutral).to_owned())
        })
        .filter(|word| !PERSON_WORDS.contains(&word.as_str()))
        .collect();
    if kept.is_empty() {
        "person".into()
    } else {
        kept.join("-")
    }
}

/// Whether the label names one gender (so that the neutral drawing of the concept is to be preferred).
pub fn is_gendered(label: &str) -> bool {
    words(label)
        .iter()
        .any(|word| GENDERED.contains(&word.as_str()))
}

/// A label as a file name: lower-case ASCII words joined by hyphens.
pub fn slug(label: &str) -> String {
    words(label).join("-")
}

/// Lower-case words of ASCII letters and digits; accents are dropped (piñata is pinata).
pub fn words(label: &str) -> Vec<String> {
    let plain: String = label
        .chars()
        .map(|c| match c {
            'ñ' | 'Ñ' => 'n',
            'é' | 'É' | 'ê' | 'è' => 'e',
            'ã' | 'á' | 'å' | 'à' | 'ä' | 'â' => 'a',
            'ç' => 'c',
            'í' | 'î' | 'ì' => 'i',
            'ô' | 'ó' | 'ò' | 'ö' => 'o',
            'ü' | 'ù' | 'ú' => 'u',
            c => c.to_ascii_lowercase(),
        })
        .collect();
    plain
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn word_before_colon(label: &str) -> Option<String> {
    let (before, _) = label.split_once(':')?;
    Some(before.trim().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_share_a_key() {
        let body = |label| key(label, "people-body", "person-role");
        for label in ["cook", "man cook", "woman cook"] {
            assert_eq!(body(label), "cook");
        }
        assert_eq!(body("man: beard"), "person");
        assert_eq!(body("woman"), "person");
        assert_eq!(body("person walking facing right"), "walking");
        assert_eq!(body("woman walking"), "walking");
        assert_eq!(body("mermaid"), body("merperson"));
        assert_eq!(key("three-thirty", "travel-places", "time"), "clock");
        assert_eq!(key("twelve o’clock", "travel-places", "time"), "clock");
        assert_eq!(key("alarm clock", "travel-places", "time"), "alarm-clock");
        assert_eq!(key("new moon face", "travel-places", "sky-weather"), "moon");
        assert_eq!(key("moon cake", "food-drink", "food-asian"), "moon-cake");
        assert_eq!(key("family: man, boy", "people-body", "family"), "family");
        assert_eq!(key("kiss: man, man", "people-body", "family"), "kiss");
        assert_eq!(key("piñata", "activities", "event"), "pinata");
    }

    #[test]
    fn gender_is_a_word_not_a_part_of_one() {
        assert!(is_gendered("man cook"));
        assert!(!is_gendered("mango"));
        assert!(!is_gendered("cook"));
    }
}
