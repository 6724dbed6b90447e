//! Owns what is tried of `data.jsonl`, in every form that settings give the classes.

use trainer::data::format;
use trainer::settings::{DataSettings, Format};

use super::folder;

/// Reads the posts of a file.
pub fn run(bytes: &[u8]) {
    posts("data.jsonl", Format::Jsonl, bytes);
}

/// Reads the posts of one file of this format, with the usual label and with another.
pub(super) fn posts(name: &str, format: Format, bytes: &[u8]) {
    let settings = DataSettings {
        format,
        label: (bytes.len() % 2 == 1).then(|| "kind".into()),
        min_posts: bytes.len() % 3,
        ..DataSettings::default()
    };
    let read = folder::with(&[(name, bytes)], |dir| format::read(dir, &settings));
    if let Ok(Ok(data)) = read {
        assert!(
            data.posts
                .iter()
                .all(|post| post.image.is_some() || post.text.is_some())
        );
        assert!(data.classes.is_sorted());
    }
}
