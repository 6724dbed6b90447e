//! Owns the published sizes of the data sets that are read in their original layouts.

use std::collections::BTreeMap;

use super::mm_imdb::GENRES;
use crate::data::record::{Post, Split};
use crate::settings::{Format, TestFile};

/// Films, photos or memes of train, val and test, and the number of classes.
struct Published {
    rows: [usize; 3],
    classes: usize,
}

fn published(format: Format, test: TestFile) -> Option<Published> {
    Some(match format {
        Format::MmImdb => Published {
            rows: [15_552, 2_608, 7_799],
            classes: GENRES.len(),
        },
        Format::Food101 => Published {
            rows: [61_142, 6_846, 22_716],
            classes: 101,
        },
        Format::HatefulMemes => Published {
            rows: match test {
                TestFile::TestSeen => [8_500, 500, 1_000],
                TestFile::TestUnseen => [8_500, 500, 2_000],
            },
            classes: 2,
        },
        Format::Jsonl | Format::Synthetic | Format::Csv | Format::Parquet => return None,
    })
}

/// What differs from the published sizes, a sentence each; nothing for layouts of one's own data.
pub fn differences(format: Format, test: TestFile, posts: &[Post], classes: usize) -> Vec<String> {
    let Some(published) = published(format, test) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (split, expected) in Split::ALL.into_iter().zip(published.rows) {
        let own = posts.iter().filter(|post| post.split == split);
        // Plots of one film count once.
        let mut groups = BTreeMap::new();
        for post in own {
            *groups
                .entry(post.group.as_ref().unwrap_or(&post.id))
                .or_insert(0) += 1;
        }
        if groups.len() != expected {
            found.push(format!(
                "{split} has {} of the {expected} published ones",
                groups.len()
            ));
        }
    }
    if classes != published.classes {
        found.push(format!(
            "{classes} classes, {} were published",
            published.classes
        ));
    }
    found
}
