//! Owns the proof that a run's losses do not depend on how its towers compute: fused or composed, in single, double or half
//! precision.

use std::cell::Cell;
use std::path::Path;

use candle_core::Device;
use tests::tiny;
use trainer::engine::session::Session;
use trainer::report::{Event, Reporter};

use crate::resume::settings;

/// Every way for prompts to enter a block, and none at all.
const PROMPTS: [(&str, &[&str]); 5] = [
    (
        "dcp",
        &[
            "model.prompt.method=dcp",
            "model.prompt.length=6",
            "model.prompt.depth=2",
        ],
    ),
    (
        "maple",
        &[
            "model.prompt.method=maple",
            "model.prompt.length=6",
            "model.prompt.depth=2",
        ],
    ),
    (
        "map, attention",
        &[
            "model.prompt.method=map",
            "model.prompt.length=6",
            "model.prompt.depth=2",
            "model.prompt.level=attention",
        ],
    ),
    (
        "map, later",
        &[
            "model.prompt.method=map",
            "model.prompt.length=6",
            "model.prompt.depth=1",
            "model.prompt.first_block=1",
        ],
    ),
    ("none", &["model.prompt.method=none"]),
];

/// What a step says.
#[derive(Debug)]
struct Told {
    loss: f64,
    scale: Option<f64>,
}

/// A run of 12 steps in a precision, stopped and resumed in the middle.
fn run(clip: &Path, dir: &Path, prompt: &[&str], precision: &str) -> Vec<Told> {
    let precision = format!("train.precision={precision}");
    // A low rate: what rounding does is not to be drowned in what a wild start makes of it.
    let calm = ["train.rate=0.0003", &*precision];
    let more: Vec<&str> = prompt.iter().copied().chain(calm).collect();
    let settings = settings(clip, &more);
    let session = Session::open(&settings, dir, &Device::Cpu).unwrap();
    for (resume, steps) in [(false, 6), (true, usize::MAX)] {
        let left = Cell::new(steps);
        let stop = || {
            left.set(left.get() - 1);
            left.get() == 0
        };
        session.train(resume, Reporter::silent(), &stop).unwrap();
    }
    let lines = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let events = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let steps = events.filter_map(|event| match event {
        Event::Step { values, .. } => Some(Told {
            loss: values["loss"],
            scale: values.get("loss_scale").copied(),
        }),
        _ => None,
    });
    steps.collect()
}

/// The largest distance of two runs' losses, as a part of the loss.
fn apart(a: &[Told], b: &[Told]) -> f64 {
    assert_eq!((a.len(), b.len()), (12, 12));
    let each = a.iter().zip(b);
    each.map(|(a, b)| ((a.loss - b.loss) / b.loss).abs())
        .fold(0.0, f64::max)
}

/// In doubles no operation is a fused one: it is what the towers are composed of on other devices, and what they were
/// before there were fused ones. Twelve steps of training keep what the operations' own tests may overlook.
#[test]
fn fused_and_composed_towers_train_alike() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip");
    tiny::clip_folder(&clip).unwrap();
    for (name, prompt) in PROMPTS {
        let runs = ["f32", "f64", "bf16", "f16"].map(|precision| {
            let dir = folder.path().join(format!("{name} {precision}"));
            run(&clip, &dir, prompt, precision)
        });
        let [single, double, bf16, f16] = &runs;
        let (fused, short, half) = (
            apart(single, double),
            apart(bf16, double),
            apart(f16, double),
        );
        println!("{name}: f32 {fused:.1e}, bf16 {short:.1e}, f16 {half:.1e} from f64");
        assert!(fused < 1e-4, "{name}: {fused:e}");
        // 8 and 11 bits: what is rounded is visible, and no more than that.
        assert!(0.0 < short && short < 3e-2, "{name}: {short:e}");
        assert!(0.0 < half && half < 5e-3, "{name}: {half:e}");
        assert!(half < short, "{name}: f16 has more bits than bf16");
        assert!(f16.iter().all(|told| told.scale == Some(1_024.0)));
        assert!(bf16.iter().all(|told| told.scale.is_none()));
    }
}

#[test]
fn a_precision_that_the_device_lacks_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [clip, run] = ["clip", "run"].map(|name| folder.path().join(name));
    tiny::clip_folder(&clip).unwrap();
    let settings = settings(&clip, &["train.precision=tf32"]);
    let error = Session::open(&settings, &run, &Device::Cpu).err().unwrap();
    assert!(error.to_string().contains("tf32"), "{error:#}");
}
