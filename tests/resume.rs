//! Owns the proof that a run stopped anywhere and resumed ends bit for bit where an undisturbed one does.

use std::cell::Cell;
use std::path::Path;

use candle_core::Device;
use tests::tiny;
use trainer::engine::session::Session;
use trainer::report::Reporter;
use trainer::settings::Settings;

/// 96 posts in batches of 8, two of them a step: 6 steps an epoch, 12 in all.
pub(crate) fn settings(clip: &Path, more: &[&str]) -> Settings {
    let clip = format!("model.clip={}", clip.display());
    let usual = [
        clip.as_str(),
        "data.format=synthetic",
        "train.epochs=2",
        "train.batch_size=8",
        "train.accumulate=2",
        "train.checkpoint_every=1",
        "train.validate_every=0.5",
        "model.prompt.length=6",
        "model.prompt.depth=2",
        "model.prompt.reduction=4",
    ];
    let overrides: Vec<String> = usual
        .iter()
        .chain(more)
        .map(|pair| (*pair).to_owned())
        .collect();
    Settings::resolve(None, &overrides).unwrap()
}

/// Trains `steps` steps, or to the end.
fn train(settings: &Settings, dir: &Path, resume: bool, steps: usize) -> bool {
    let session = Session::open(settings, dir, &Device::Cpu).unwrap();
    let done = Cell::new(0);
    let stop = || {
        done.set(done.get() + 1);
        done.get() >= steps
    };
    session.train(resume, Reporter::silent(), &stop).unwrap().1
}

fn assert_same_files(left: &Path, right: &Path) {
    for name in ["last.safetensors", "best.safetensors"] {
        let [left, right] = [left, right].map(|dir| std::fs::read(dir.join(name)).unwrap());
        assert!(left == right, "{name} differs");
    }
}

#[test]
fn five_and_seven_steps_are_twelve() {
    let folder = tempfile::tempdir().unwrap();
    let [clip, whole, halves] = ["clip", "whole", "halves"].map(|name| folder.path().join(name));
    tiny::clip_folder(&clip).unwrap();
    for (head, more) in [
        ("dpl", "missing.simulate=true"),
        ("linear", "missing.simulate=false"),
        // With constants that are measured at the start of the run.
        ("dpl_plus", "model.head.centre=true"),
    ] {
        let more = [format!("model.head.method={head}"), more.to_owned()];
        let settings = settings(&clip, &more.each_ref().map(String::as_str));
        let (whole, halves) = (whole.join(head), halves.join(head));
        assert!(train(&settings, &whole, false, usize::MAX));
        assert!(!train(&settings, &halves, false, 5));
        assert!(train(&settings, &halves, true, usize::MAX));
        assert_same_files(&whole, &halves);
        let steps = |dir: &Path| {
            let lines = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
            lines
                .lines()
                .filter(|line| line.contains("\"event\":\"step\""))
                .count()
        };
        assert_eq!((steps(&whole), steps(&halves)), (12, 12));
    }
}

#[test]
fn another_clip_or_configuration_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [clip, run] = ["clip", "run"].map(|name| folder.path().join(name));
    tiny::clip_folder(&clip).unwrap();
    let usual = settings(&clip, &[]);
    assert!(!train(&usual, &run, false, 2));

    let other = settings(&clip, &["model.prompt.length=3"]);
    let session = Session::open(&other, &run, &Device::Cpu).unwrap();
    let error = session
        .train(true, Reporter::silent(), &|| false)
        .unwrap_err();
    assert!(format!("{error:#}").contains("another model"), "{error:#}");

    let error = session
        .train(false, Reporter::silent(), &|| false)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("never overwritten")
            && error.contains("--resume")
            && error.contains("--out"),
        "{error}"
    );

    let weights = clip.join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last - 2] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let session = Session::open(&usual, &run, &Device::Cpu).unwrap();
    let error = session
        .train(true, Reporter::silent(), &|| false)
        .unwrap_err();
    assert!(
        format!("{error:#}").contains("not the one this run was started with"),
        "{error:#}"
    );
}
