//! Owns the proof that every trained tensor of every head, and the features, get their gradient from the whole loss.
//!
//! The f32 gradients are held against central finite differences of the same loss in double precision, along random
//! directions of each tensor, with every task and all three cases in one batch.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use shared::config::{DeptConfig, DplConfig, DplPlusConfig, HeadConfig, Task};
use shared::head::{self, Features};
use shared::model::CaseOutput;
use shared::nn::Tensors;
use shared::rng::{normal, stream};
use shared::{Case, Modality};
use trainer::loss::Objective;
use trainer::settings::LossSettings;

/// Of the gradient's own size along a direction, for f32 against double precision.
const RELATIVE: f64 = 5e-5;
/// Of the largest gradient of all tensors: what f32 loses in sums of terms that cancel.
const OF_LARGEST: f64 = 5e-7;
/// Step of the finite differences, in double precision.
const STEP: f64 = 1e-6;
const DIRECTIONS: usize = 3;
const WIDTH: usize = 5;
const CLASSES: usize = 3;
const POSTS: usize = 2;

fn heads() -> Vec<HeadConfig> {
    let scale = [3.0, 4.0, 5.0];
    let plus = DplPlusConfig {
        scale,
        centre: true,
        ..DplPlusConfig::default()
    };
    let dpl = |decomposed| HeadConfig::Dpl(DplConfig { scale, decomposed });
    vec![
        HeadConfig::Linear,
        HeadConfig::Dept(DeptConfig::default()),
        dpl(true),
        dpl(false),
        HeadConfig::DplPlus(plus.clone()),
        HeadConfig::DplPlus(DplPlusConfig {
            learn_scale: false,
            bias: false,
            share: false,
            ..plus
        }),
    ]
}

/// Weights with nothing at zero or one, and the features `image` and `text` of the posts of each case.
fn start(config: &HeadConfig) -> Tensors {
    let rng = &mut stream(2, "head gradients");
    let mut tensors = head::initialise(config, WIDTH, CLASSES, rng, &Device::Cpu).unwrap();
    for tensor in tensors.values_mut() {
        let noise = normal(rng, tensor.dims(), 0.3, &Device::Cpu).unwrap();
        *tensor = (&*tensor + noise).unwrap();
    }
    for case in Case::ALL {
        for side in Modality::ALL.into_iter().filter(|&side| case.has(side)) {
            let features = normal(rng, &[POSTS, WIDTH], 1.0, &Device::Cpu).unwrap();
            tensors.insert(name(case, side), features);
        }
    }
    tensors
}

fn name(case: Case, side: Modality) -> String {
    format!("features.{}.{}", case.name(), side.name())
}

fn loss(config: &HeadConfig, objective: &Objective, task: Task, tensors: &Tensors) -> Tensor {
    let dtype = tensors.values().next().unwrap().dtype();
    let map: HashMap<String, Tensor> = tensors.clone().into_iter().collect();
    let vb = VarBuilder::from_tensors(map, dtype, &Device::Cpu);
    let head = head::load(config, WIDTH, CLASSES, vb.pp("head")).unwrap();
    let outputs: Vec<CaseOutput> = Case::ALL
        .into_iter()
        .map(|case| {
            let [image, text] = Modality::ALL.map(|side| tensors.get(&name(case, side)).cloned());
            let features = Features { case, image, text };
            let scores = head.scores(&features).unwrap();
            CaseOutput {
                rows: (0..POSTS).map(|post| POSTS * case.index() + post).collect(),
                features,
                scores,
            }
        })
        .collect();
    let rows = match task {
        Task::MultiClass => [[1f32, 0.0, 0.0], [0.0, 1.0, 0.0]],
        Task::MultiLabel => [[1f32, 0.0, 1.0], [0.0, 0.0, 0.0]],
    };
    let targets = Tensor::from_vec(rows.concat().repeat(3), (3 * POSTS, CLASSES), &Device::Cpu);
    let targets = targets.unwrap().to_dtype(dtype).unwrap();
    let loss = objective.loss(head.as_ref(), &outputs, &targets, 0.5);
    loss.unwrap().total
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    let [a, b] = [a, b].map(|t| t.to_dtype(DType::F64).unwrap());
    (a * b).unwrap().sum_all().unwrap().to_scalar().unwrap()
}

fn norm(a: &Tensor) -> f64 {
    dot(a, a).sqrt()
}

#[test]
fn every_tensor_of_every_head_agrees_with_finite_differences() {
    for config in heads() {
        let tensors = start(&config);
        let doubles: Tensors = tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.to_dtype(DType::F64).unwrap()))
            .collect();
        let parameters = head::tensors(&config).parameters(WIDTH, CLASSES);
        let constant: Vec<&String> = parameters
            .iter()
            .filter(|parameter| !parameter.trained)
            .map(|parameter| &parameter.name)
            .collect();
        for task in [Task::MultiClass, Task::MultiLabel] {
            let settings = LossSettings {
                margin: [0.3, 0.2, 0.4],
                temperature: 0.7,
                ..LossSettings::default()
            };
            let objective = Objective::new(task, settings, Case::ALL.to_vec());
            let variables: Vec<(String, Var)> = tensors
                .iter()
                .filter(|(name, _)| !constant.contains(name))
                .map(|(name, tensor)| (name.clone(), Var::from_tensor(tensor).unwrap()))
                .collect();
            let mut trained = tensors.clone();
            let views = variables.iter();
            trained.extend(views.map(|(name, var)| (name.clone(), var.as_tensor().clone())));
            let store = loss(&config, &objective, task, &trained)
                .backward()
                .unwrap();
            let gradients: Tensors = variables
                .iter()
                .map(|(name, var)| {
                    let gradient = store.get(var);
                    let gradient = gradient.unwrap_or_else(|| panic!("{name} gets no gradient"));
                    (name.clone(), gradient.clone())
                })
                .collect();
            let largest = gradients.values().map(norm).fold(0.0, f64::max);
            for (name, gradient) in &gradients {
                let what = format!("{config:?}, {task:?}, {name}");
                assert!(norm(gradient) > 1e-4 * largest, "{what}: gradient vanishes");
                for direction in 0..DIRECTIONS {
                    let rng = &mut stream(direction as u64, name);
                    let along = normal(rng, gradient.dims(), 1.0, &Device::Cpu).unwrap();
                    let along = (along.to_dtype(DType::F64).unwrap() / norm(&along)).unwrap();
                    let at = |step: f64| -> f64 {
                        let mut moved = doubles.clone();
                        let tensor = (&doubles[name] + (&along * step).unwrap()).unwrap();
                        moved.insert(name.clone(), tensor);
                        let loss = loss(&config, &objective, task, &moved);
                        loss.to_scalar().unwrap()
                    };
                    let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                    let found = dot(gradient, &along);
                    let allowed = RELATIVE * expected.abs() + OF_LARGEST * largest;
                    assert!(
                        (found - expected).abs() <= allowed,
                        "{what}: {found} instead of {expected}"
                    );
                }
            }
        }
    }
}
