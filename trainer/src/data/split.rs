//! Owns the three splits: their names, and how concepts are dealt to them so that none crosses.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a post is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Learnt from.
    Train,
    /// Chosen by: checkpoints, thresholds, settings.
    #[serde(alias = "dev", alias = "validation")]
    Val,
    /// Looked at once.
    Test,
}

impl Split {
    /// All splits, in the order they are reported.
    pub const ALL: [Split; 3] = [Split::Train, Split::Val, Split::Test];

    /// The name used in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "train" => Ok(Split::Train),
            "val" | "dev" | "validation" => Ok(Split::Val),
            "test" => Ok(Split::Test),
            other => Err(format!(
                "{other:?} is no split; use \"train\", \"val\" or \"test\""
            )),
        }
    }
}

/// Ten consecutive concepts of a stratum are dealt like this: 7 train, 1 val, 2 test.
const PATTERN: [Split; 10] = {
    use Split::{Test, Train, Val};
    [
        Train, Test, Train, Train, Val, Train, Train, Test, Train, Train,
    ]
};

/// Deals concepts 70 / 10 / 20. The concepts (key: concept, value: stratum) are sorted by stratum, within it by a
/// hash of seed and name, and dealt in turn, so that every stratum is represented as evenly as its size allows
/// and the same concepts always fall alike.
pub fn assign(concepts: &BTreeMap<String, String>, seed: u64) -> BTreeMap<String, Split> {
    let mut order: Vec<(&str, [u8; 32], &str)> = concepts
        .iter()
        .map(|(concept, stratum)| {
            let hash = Sha256::new()
                .chain_update(seed.to_le_bytes())
                .chain_update(concept)
                .finalize();
            (stratum.as_str(), hash.into(), concept.as_str())
        })
        .collect();
    order.sort_unstable();
    order
        .iter()
        .enumerate()
        .map(|(i, (_, _, concept))| ((*concept).to_owned(), PATTERN[i % PATTERN.len()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_and_strata_even() {
        let concepts: BTreeMap<String, String> = (0..100)
            .map(|i| (format!("c{i}"), format!("s{}", i % 5)))
            .collect();
        let splits = assign(&concepts, 1);
        let count = |split| splits.values().filter(|s| **s == split).count();
        assert_eq!(Split::ALL.map(count), [70, 10, 20]);
        for stratum in 0..5 {
            let tests = concepts
                .iter()
                .filter(|(c, s)| **s == format!("s{stratum}") && splits[*c] == Split::Test)
                .count();
            assert_eq!(tests, 4);
        }
        assert_eq!(splits, assign(&concepts, 1));
        assert_ne!(splits, assign(&concepts, 2));
    }

    #[test]
    fn names_round_trip() {
        for split in Split::ALL {
            assert_eq!(split.name().parse::<Split>().unwrap(), split);
        }
        assert_eq!("dev".parse::<Split>().unwrap(), Split::Val);
        assert!("tset".parse::<Split>().unwrap_err().contains("\"tset\""));
    }
}
