//! Owns the proof that a run stopped anywhere and resumed ends bit for bit where an undisturbed one does.

use std::cell::Cell;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

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

/// The real program, killed without warning at four moments of its life, against one left alone.
#[test]
fn kill_at_any_moment_loses_nothing_but_time() {
    let folder = tempfile::tempdir().unwrap();
    let [clip, calm, killed] = ["clip", "calm", "killed"].map(|name| folder.path().join(name));
    tiny::clip_folder(&clip).unwrap();
    let config = folder.path().join("run.toml");
    std::fs::write(
        &config,
        settings(&clip, &["train.epochs=6"]).to_toml().unwrap(),
    )
    .unwrap();
    let start = |out: &Path, resume: bool| {
        let mut command = tiny::trainer().unwrap();
        command
            .arg("train")
            .arg("--config")
            .arg(&config)
            .arg("--out")
            .arg(out);
        if resume {
            command.arg("--resume");
        }
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let begin = Instant::now();
    let output = start(&calm, false).wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let whole = begin.elapsed();
    for share in [0.3, 0.45, 0.6, 0.75] {
        let mut child = start(&killed, killed.join("settings.toml").exists());
        std::thread::sleep(whole.mul_f64(share).max(Duration::from_millis(5)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = start(&killed, true).wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_same_files(&calm, &killed);
    let remains = std::fs::read_dir(&killed).unwrap().flatten();
    assert!(
        remains
            .into_iter()
            .all(|entry| !entry.file_name().to_string_lossy().starts_with(".writing-"))
    );
}
