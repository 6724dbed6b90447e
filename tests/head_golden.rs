//! Owns the proof that every head and its losses are what `docs/method.md` says: equal to those of an independent plain
//! re-implementation (`golden/make_heads.py`), as trained and folded, in all three cases.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use serde::Deserialize;
use shared::config::{HeadConfig, Task};
use shared::head::{self, Features, Head};
use shared::infer::weights::Weights;
use shared::model::CaseOutput;
use shared::nn::{Tensors, var_builder};
use shared::{Case, Modality};
use trainer::loss::Objective;
use trainer::settings::LossSettings;

/// Of the largest value of a tensor, or of 1: computed in f32 here and in double precision there.
const TOLERANCE: f64 = 1e-5;
/// Of the same: folding only changes the order of a few sums.
const FOLDED_TOLERANCE: f64 = 2e-6;

#[derive(Deserialize)]
struct GoldenHead {
    name: String,
    config: HeadConfig,
    losses: Vec<GoldenLoss>,
}

#[derive(Deserialize)]
struct GoldenLoss {
    variant: String,
    task: Task,
    settings: LossSettings,
    /// Codes of the cases that occur in training.
    cases: Vec<u8>,
    progress: f64,
    total: f64,
    contrast: Option<f64>,
}

struct Golden {
    tensors: Tensors,
    heads: Vec<GoldenHead>,
}

impl Golden {
    fn read() -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
        let file = folder.join("heads.safetensors");
        let tensors = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
        let json = std::fs::read_to_string(folder.join("heads.json")).unwrap();
        Self {
            tensors: tensors.into_iter().collect(),
            heads: serde_json::from_str(&json).unwrap(),
        }
    }

    /// D and K.
    fn sizes(&self) -> (usize, usize) {
        let columns = |name: &str| self.tensors[name].dim(1).unwrap();
        (columns("image"), columns("targets.multi_class"))
    }

    fn features(&self, case: Case) -> Features {
        let of = |side: Modality| case.has(side).then(|| self.tensors[side.name()].clone());
        Features {
            case,
            image: of(Modality::Image),
            text: of(Modality::Text),
        }
    }

    fn head(&self, of: &GoldenHead) -> Box<dyn Head> {
        let prefix = format!("{}.", of.name);
        let own = self.tensors.iter().filter_map(|(name, tensor)| {
            Some((name.strip_prefix(&prefix)?.to_string(), tensor.clone()))
        });
        let (width, classes) = self.sizes();
        let vb = var_builder(&own.collect(), &Device::Cpu);
        head::load(&of.config, width, classes, vb.pp("head")).unwrap()
    }

    /// Every post in each of the three cases: post p in case c is row 3p + c.
    fn outputs(&self, head: &dyn Head) -> Vec<CaseOutput> {
        let output = |case: Case| {
            let features = self.features(case);
            let scores = head.scores(&features).unwrap();
            let posts = scores.dim(0).unwrap();
            CaseOutput {
                rows: (0..posts).map(|post| 3 * post + case.index()).collect(),
                features,
                scores,
            }
        };
        Case::ALL.into_iter().map(output).collect()
    }

    fn targets(&self, task: Task) -> Tensor {
        let targets = &self.tensors[match task {
            Task::MultiClass => "targets.multi_class",
            Task::MultiLabel => "targets.multi_label",
        }];
        let posts = targets.dim(0).unwrap() as u32;
        let rows: Vec<u32> = (0..posts).flat_map(|post| [post; 3]).collect();
        let rows = Tensor::new(rows, &Device::Cpu).unwrap();
        targets.index_select(&rows, 0).unwrap()
    }
}

fn largest(tensor: &Tensor) -> f64 {
    let largest = tensor.abs().unwrap().max_all().unwrap();
    f64::from(largest.to_scalar::<f32>().unwrap())
}

fn check(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    let difference = largest(&(found - expected).unwrap());
    let allowed = tolerance * largest(expected).max(1.0);
    assert!(difference <= allowed, "{what}: {difference:e}");
}

/// Scores, logits and contributions by name.
fn answers(head: &dyn Head, features: &Features) -> BTreeMap<&'static str, Tensor> {
    let scores = head.scores(features).unwrap();
    let logits = head.logits(features.case, &scores).unwrap();
    let [image, text] = head.contributions(features).unwrap();
    let all = [
        ("scores", Some(scores)),
        ("logits", Some(logits)),
        ("image", image),
        ("text", text),
    ];
    all.into_iter()
        .filter_map(|(name, tensor)| Some((name, tensor?)))
        .collect()
}

#[test]
fn answers_equal_the_plain_re_implementation() {
    let golden = Golden::read();
    for of in &golden.heads {
        let head = golden.head(of);
        for case in Case::ALL {
            let found = answers(head.as_ref(), &golden.features(case));
            let prefix = format!("expected.{}.{}.", of.name, case.name());
            let expected = golden
                .tensors
                .keys()
                .filter(|name| name.starts_with(&prefix));
            assert_eq!(expected.count(), found.len());
            for (what, found) in found {
                let name = format!("{prefix}{what}");
                check(&found, &golden.tensors[&name], TOLERANCE, &name);
            }
        }
    }
}

#[test]
fn losses_equal_the_plain_re_implementation() {
    let golden = Golden::read();
    for of in &golden.heads {
        let head = golden.head(of);
        let outputs = golden.outputs(head.as_ref());
        let mut totals: BTreeMap<(String, bool), f64> = BTreeMap::new();
        for golden_loss in &of.losses {
            let GoldenLoss { variant, task, .. } = golden_loss;
            let cases = golden_loss.cases.iter();
            let cases = cases.map(|&code| Case::from_code(code).unwrap()).collect();
            let objective = Objective::new(*task, golden_loss.settings.clone(), cases);
            let targets = golden.targets(*task);
            let progress = golden_loss.progress;
            let loss = objective.loss(head.as_ref(), &outputs, &targets, progress);
            let loss = loss.unwrap();
            let value = |tensor: &Tensor| f64::from(tensor.to_scalar::<f32>().unwrap());
            for (found, expected) in [
                (Some(value(&loss.total)), Some(golden_loss.total)),
                (loss.contrast.as_ref().map(value), golden_loss.contrast),
            ] {
                let equal = match (found, expected) {
                    (None, None) => true,
                    (Some(found), Some(expected)) => {
                        (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0)
                    }
                    _ => false,
                };
                let name = &of.name;
                assert!(
                    equal,
                    "{name}, {variant}, {task:?}: {found:?}, not {expected:?}"
                );
            }
            totals.insert(
                (variant.clone(), *task == Task::MultiLabel),
                golden_loss.total,
            );
        }
        // No setting of the loss is without effect on prototypes, and none touches other heads.
        let contrast = of.losses.iter().any(|loss| loss.contrast.is_some());
        for ((variant, task), total) in &totals {
            for ((other, other_task), other_total) in &totals {
                if task == other_task && variant != other {
                    let differ = (total - other_total).abs() > 100.0 * TOLERANCE * total;
                    assert_eq!(differ, contrast, "{}: {variant}, {other}", of.name);
                }
            }
        }
    }
}

#[test]
fn folded_equals_trained() {
    let golden = Golden::read();
    let (width, classes) = golden.sizes();
    for of in &golden.heads {
        let head = golden.head(of);
        let mut tensors = head.fold().unwrap();
        // Twice, for a bundle may be made of a bundle's model.
        for _ in 0..2 {
            let vb = var_builder(&tensors, &Device::Cpu);
            let folded = head::tensors(&of.config)
                .load(width, classes, true, vb.pp("head"))
                .unwrap();
            assert_eq!(folded.evidence(), head.evidence());
            for case in Case::ALL {
                let features = golden.features(case);
                let expected = answers(head.as_ref(), &features);
                let found = answers(folded.as_ref(), &features);
                assert!(found.keys().eq(expected.keys()));
                for (what, found) in &found {
                    let name = format!("{}, {case}, {what}", of.name);
                    check(found, &expected[what], FOLDED_TOLERANCE, &name);
                }
            }
            tensors = folded.fold().unwrap();
        }
    }
}

/// What inference computes without tensors: logits and contributions of every post, one at a time.
#[test]
fn the_folded_form_equals_trained() {
    let golden = Golden::read();
    let (width, classes) = golden.sizes();
    for of in &golden.heads {
        let head = golden.head(of);
        let mut weights = Weights::from_tensors(&head.fold().unwrap()).unwrap();
        let plan = head::plan(&of.config);
        let folded = plan.folded(width, classes, &mut weights).unwrap();
        assert_eq!(folded.evidence(), head.evidence());
        assert!(weights.0.is_empty(), "{}: tensors are left", of.name);
        for case in Case::ALL {
            let features = golden.features(case);
            let expected = answers(head.as_ref(), &features);
            let row = |tensor: &Tensor, post: usize| -> Vec<f32> {
                tensor.get(post).unwrap().to_vec1().unwrap()
            };
            for post in 0..expected["logits"].dim(0).unwrap() {
                let own = Modality::ALL
                    .map(|modality| features.get(modality).map(|tensor| row(tensor, post)));
                let found = folded.answer(case, &own).unwrap();
                let [image, text] = found.parts;
                for (what, found) in [
                    ("logits", Some(found.logits)),
                    ("image", image),
                    ("text", text),
                ] {
                    let name = format!("{}, {case}, {what}, post {post}", of.name);
                    assert_eq!(found.is_some(), expected.contains_key(what), "{name}");
                    if let Some(found) = found {
                        let found = Tensor::new(found, &Device::Cpu).unwrap();
                        let expected = expected[what].get(post).unwrap();
                        check(&found, &expected, TOLERANCE, &name);
                    }
                }
            }
            let error = folded.answer(case, &[None, None]).unwrap_err();
            assert!(error.to_string().contains("features"), "{error}");
        }
    }
}

/// Contributions measured in logits add up to the logit less the bias, which is the same for all posts of a case.
#[test]
fn contributions_add_up() {
    let golden = Golden::read();
    for of in &golden.heads {
        let head = golden.head(of);
        for case in Case::ALL {
            let answers = answers(head.as_ref(), &golden.features(case));
            let whole = match (head.evidence(), &of.config) {
                (head::Evidence::Logit, _) => answers["logits"].clone(),
                (head::Evidence::Cosine, HeadConfig::Dpl(dpl)) if !dpl.decomposed => {
                    answers["scores"].clone()
                }
                // Complete posts have the mean of their cosines.
                (head::Evidence::Cosine, _) if case == Case::Complete => {
                    (&answers["scores"] * 2.0).unwrap()
                }
                (head::Evidence::Cosine, _) => answers["scores"].clone(),
            };
            let parts = ["image", "text"]
                .iter()
                .filter_map(|side| answers.get(side));
            let rest = parts.fold(whole, |rest, part| (rest - part).unwrap());
            let first = rest.narrow(0, 0, 1).unwrap();
            let what = format!("{}, {case}", of.name);
            let zero = rest.zeros_like().unwrap();
            check(
                &rest.broadcast_sub(&first).unwrap(),
                &zero,
                TOLERANCE,
                &what,
            );
            if head.evidence() == head::Evidence::Cosine {
                check(&rest, &zero, TOLERANCE, &what);
            }
        }
    }
}
