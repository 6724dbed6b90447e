//! Owns the proof that metrics and paired tests are those of scikit-learn, torchmetrics 0.9.3 and scipy
//! (`golden/make_metrics.py`): 1,000 cases each, degenerate ones among them. The cases are made here and there by the
//! same generator; the file holds the expected values.

use serde::Deserialize;
use shared::Case;
use shared::config::Task;
use trainer::metrics::Predictions;
use trainer::metrics::compare::paired;
use trainer::metrics::threshold::tuned;

/// Both sides compute in double precision; the file has twelve decimals.
const TOLERANCE: f64 = 1e-9;
const CASES: usize = 1000;

/// Expected values by case, in the order of the script; null where there is nothing to measure.
#[derive(Deserialize)]
struct Golden {
    multi_label: Vec<Vec<Option<f64>>>,
    multi_class: Vec<Vec<Option<f64>>>,
    paired: Vec<Vec<Option<f64>>>,
}

impl Golden {
    fn read() -> Self {
        let golden: Self = serde_json::from_str(include_str!("golden/metrics.json")).unwrap();
        for cases in [&golden.multi_label, &golden.multi_class, &golden.paired] {
            assert_eq!(cases.len(), CASES);
        }
        golden
    }
}

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }
}

/// The posts of a case and the number of classes; the kinds of cases are explained in the script.
fn posts(case: usize, task: Task) -> (Predictions, usize) {
    let mut rng = SplitMix64(case as u64);
    let (kind, multi_label) = (case % 9, task == Task::MultiLabel);
    let count = if kind == 4 { 1 } else { 1 + rng.below(40) };
    // Drawn in every case, as in the script.
    let drawn = 1 + rng.below(9) as usize;
    let classes = match kind {
        5 => 1,
        7 => 2,
        _ => drawn,
    };
    let mut posts = Predictions::default();
    for _ in 0..count {
        let draw = |_| match kind {
            8 => rng.below(64) as f32 / 8.0 - 4.0,
            _ => rng.below(9) as f32 / 2.0 - 2.0,
        };
        let mut logits: Vec<f32> = (0..classes).map(draw).collect();
        let mut targets: Vec<usize> = if multi_label {
            (0..classes).filter(|_| rng.below(3) == 0).collect()
        } else {
            vec![rng.below(classes as u64) as usize]
        };
        match kind {
            1 => {
                logits[0] = -8.0;
                if !multi_label && classes > 1 && targets == [0] {
                    targets = vec![1];
                }
                targets.retain(|&class| class != 0 || classes == 1);
            }
            2 => targets = if multi_label { vec![] } else { vec![0] },
            3 => logits.fill(1.0),
            6 => {
                logits.iter_mut().for_each(|logit| *logit += 5.0);
                if !multi_label {
                    logits[classes - 1] = 10.0;
                }
            }
            _ => {}
        }
        posts.push(Case::Complete, logits, targets);
    }
    (posts, classes)
}

#[track_caller]
fn close(what: &str, case: usize, found: Option<f64>, expected: Option<f64>) {
    let equal = match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= TOLERANCE,
        (None, None) => true,
        _ => false,
    };
    assert!(
        equal,
        "{what} of case {case}: {found:?} is not {expected:?}"
    );
}

/// Compares all figures by name, and with them that there are no others.
fn compare(task: Task, names: &[&str], cases: &[Vec<Option<f64>>]) {
    for (case, expected) in cases.iter().enumerate() {
        let (posts, classes) = posts(case, task);
        let mut figures = posts.figures(task, classes);
        for (name, &expected) in names.iter().zip(expected) {
            close(name, case, figures.remove(*name), expected);
        }
        assert!(figures.is_empty(), "{figures:?}");
    }
    for (column, name) in names.iter().enumerate() {
        let values = cases.iter().filter_map(|case| case[column]);
        let between = values.filter(|value| *value > 0.0 && *value < 1.0).count();
        assert!(between > 200, "{name} is hardly ever put to the test");
    }
}

#[test]
fn multi_label_figures() {
    let names = [
        "f1_macro",
        "f1_micro",
        "f1_weighted",
        "f1_samples",
        "auroc",
        "mean_average_precision",
    ];
    compare(Task::MultiLabel, &names, &Golden::read().multi_label);
}

#[test]
fn multi_class_figures() {
    let names = [
        "accuracy",
        "accuracy_top5",
        "f1_macro",
        "f1_weighted",
        "auroc",
        "mean_average_precision",
    ];
    compare(Task::MultiClass, &names, &Golden::read().multi_class);
}

#[test]
fn no_threshold_is_better_than_the_tuned_one() {
    for (case, expected) in Golden::read().multi_label.iter().enumerate() {
        let (posts, classes) = posts(case, Task::MultiLabel);
        let found = posts.f1_macro_at(tuned(&posts, classes), classes);
        close("tuned F1 macro", case, Some(found), expected[6]);
    }
}

#[test]
fn paired_tests() {
    let mut tests = 0;
    for (case, expected) in Golden::read().paired.iter().enumerate() {
        let (ours, theirs) = pairs(case);
        let found = paired(&ours, &theirs);
        let counts = [found.won, found.tied, found.lost].map(|count| Some(count as f64));
        let figures = [Some(found.mean), Some(found.sd)];
        let tests_found = [found.t_test, found.wilcoxon];
        let names = ["mean", "sd", "won", "tied", "lost", "t-test", "Wilcoxon"];
        let found = figures.into_iter().chain(counts).chain(tests_found);
        for ((name, found), &expected) in names.iter().zip(found).zip(expected) {
            close(name, case, found, expected);
        }
        tests += usize::from(tests_found.iter().all(|p| p.is_some_and(|p| p < 1.0)));
    }
    assert!(tests > 500, "{tests} cases with both tests");
}

/// Two lists of figures; the kinds of cases are explained in the script.
fn pairs(case: usize) -> (Vec<f64>, Vec<f64>) {
    let mut rng = SplitMix64(case as u64);
    let kind = case % 6;
    let mut count = 1 + rng.below(80);
    if kind == 1 {
        count = 1 + count % 13;
    }
    let mut share = |parts: u64, of: f64| rng.below(parts) as f64 / of;
    let (thirty, twenty) = (1u64 << 30, 1u64 << 20);
    let pair = |_| match kind {
        0 | 5 => {
            let ours = share(thirty, thirty as f64);
            let shift = if kind == 5 { 0.25 } else { 0.0 };
            (ours + shift, share(thirty, thirty as f64))
        }
        1 | 2 => (share(12, 64.0), share(9, 64.0)),
        3 => {
            let theirs = share(64, 64.0);
            (theirs + (case % 4) as f64 / 8.0, theirs)
        }
        _ => {
            let theirs = share(twenty, twenty as f64);
            (
                theirs - share(twenty, twenty as f64) - 1.0 / twenty as f64,
                theirs,
            )
        }
    };
    (0..count).map(pair).unzip()
}
