//! Owns the replay of what fuzzing starts from and of what it found: every reader comes back from every file of its corpus.

use std::path::Path;

use tests::hostile::{TARGETS, seeds};

fn replay(folder: &Path, run: fn(&[u8])) -> usize {
    let files = std::fs::read_dir(folder).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let paths: Vec<_> = paths.filter(|path| path.is_file()).collect();
    for path in &paths {
        let bytes = std::fs::read(path).unwrap();
        let result = std::panic::catch_unwind(|| run(&bytes));
        assert!(result.is_ok(), "{} panics, see above", path.display());
    }
    paths.len()
}

#[test]
fn every_reader_comes_back_from_its_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (name, run) in TARGETS {
        let mut folders = vec![root.join("fuzz/corpus").join(name)];
        if name == "image" {
            // Where nothing was found yet there is no folder.
            folders.retain(|folder| folder.is_dir());
            folders.push(root.join("tests/golden/preprocess"));
        }
        let files: usize = folders.iter().map(|folder| replay(folder, run)).sum();
        assert!(files > 0, "{name} has no corpus");
    }
}

#[test]
fn the_seeds_are_those_that_are_committed() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (target, name, bytes) in seeds::all().unwrap() {
        let path = corpus.join(target).join(name);
        let kept = std::fs::read(&path).unwrap_or_default();
        assert!(
            kept == bytes,
            "{} is out of date: cargo run -p tests --example seeds",
            path.display()
        );
    }
}

/// Else the corpora would hold the readers of errors alone.
#[test]
fn the_untouched_files_are_read() {
    use shared::bundle::read;
    for files in tests::hostile::bundle::tiny().unwrap() {
        let file = |name: &str| {
            let found = files.iter().find(|(own, _)| own == name).unwrap();
            Ok::<_, shared::Error>(found.1.clone())
        };
        let classifier = read(file, &candle_core::Device::Cpu).unwrap().1;
        assert!(classifier.classify(None, Some("a cat")).is_ok());
    }
    let folder = tempfile::tempdir().unwrap();
    for (_, name, bytes) in seeds::all()
        .unwrap()
        .into_iter()
        .filter(|seed| seed.0 == "parquet")
    {
        std::fs::write(folder.path().join("data.parquet"), bytes).unwrap();
        let settings = trainer::settings::DataSettings {
            format: trainer::settings::Format::Parquet,
            ..Default::default()
        };
        let data = trainer::data::format::read(folder.path(), &settings).unwrap();
        assert_eq!(data.posts.len(), 2, "{name}");
        assert_eq!(data.classes, ["food", "soup", "tea"], "{name}");
    }
}
