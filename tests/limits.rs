//! Owns the proof that limits are the same wherever they are held.

use shared::limits;

/// What the npm package repeats: TypeScript cannot ask Rust.
#[test]
fn the_npm_packages_limits_are_ours() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../web/npm/src/limits.ts");
    let text = std::fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("export const ") else {
            continue;
        };
        let (name, value) = rest.trim_end_matches(';').split_once(" = ").unwrap();
        found.push((name, value.replace('_', "").parse::<u64>().unwrap()));
    }
    assert_eq!(
        found,
        [
            ("PICTURE_BYTES", limits::PICTURE_BYTES as u64),
            ("PIXELS", limits::PIXELS),
        ]
    );
}

/// A reader with a limit of its own would be forgotten when the limits are looked through.
#[test]
fn limits_stand_in_one_place() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in [
        "shared/src/preprocess/decode.rs",
        "shared/src/preprocess/jpeg/mod.rs",
        "shared/src/preprocess/text.rs",
        "shared/src/preprocess/clean.rs",
        "shared/src/preprocess/vocabulary/file.rs",
        "shared/src/preprocess/vocabulary/mod.rs",
        "shared/src/bundle/manifest.rs",
        "shared/src/bundle/shard/read.rs",
        "shared/src/bundle/shard/write.rs",
        "shared/src/predict/lessons.rs",
        "shared/src/predict/lessons/file.rs",
        "shared/src/config.rs",
        "shared/src/prompt/mod.rs",
        "trainer/src/bounded.rs",
        "trainer/src/clip_folder.rs",
        "trainer/src/data/format/parquet/guard.rs",
        "web/src/table/csv.rs",
        "web/src/table/lines.rs",
        "web/src/zip.rs",
        "web/src/ui/local.rs",
        "web/src/ui/bench/post.rs",
        "web/src/ui/teach/mod.rs",
    ] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        assert!(code.contains("limits"), "{file} holds no limit any more?");
        for line in code.lines().filter(|line| line.contains("const ")) {
            let large = line.contains("<<") || line.contains("_000") || line.contains("e6;");
            assert!(!large, "{file}: is this no limit? {line}");
        }
    }
}
