//! Owns the proof that several processes train as one does: here they are threads, joined by a sum in memory; over MPI it is
//! `cargo xtask test`'s step of that name.

use std::cell::Cell;
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};

use anyhow::Result;
use candle_core::{Device, Tensor};
use tests::tiny;
use trainer::engine::checkpoint;
use trainer::engine::fit::State;
use trainer::engine::group::{Group, Link};
use trainer::engine::session::Session;
use trainer::report::{Event, Reporter};
use trainer::settings::Settings;

use crate::resume::settings;

/// Sums in the order of the ranks.
struct Threads {
    rank: usize,
    parts: Arc<Mutex<Vec<Vec<f32>>>>,
    barrier: Arc<Barrier>,
}

impl Link for Threads {
    fn sum(&self, values: &Tensor) -> Result<Tensor> {
        self.parts.lock().unwrap()[self.rank] = values.to_vec1()?;
        self.barrier.wait();
        let parts = self.parts.lock().unwrap().clone();
        self.barrier.wait();
        let mut sum = vec![0f32; values.elem_count()];
        for part in &parts {
            assert_eq!(part.len(), sum.len());
            sum.iter_mut()
                .zip(part)
                .for_each(|(sum, part)| *sum += part);
        }
        Ok(Tensor::from_vec(sum, values.shape(), values.device())?)
    }
}

/// Trains as `size` processes, the leading one until it is asked to stop after `steps`; whether the end was reached.
fn train(settings: &Settings, dir: &Path, size: usize, resume: bool, steps: usize) -> bool {
    let parts = Arc::new(Mutex::new(vec![Vec::new(); size]));
    let barrier = Arc::new(Barrier::new(size));
    let ends: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..size)
            .map(|rank| {
                let link = Threads {
                    rank,
                    parts: Arc::clone(&parts),
                    barrier: Arc::clone(&barrier),
                };
                scope.spawn(move || {
                    let group = Group::of(rank, size, Box::new(link));
                    let session = Session::open(settings, dir, &Device::Cpu).unwrap();
                    let left = Cell::new(if rank == 0 { steps } else { usize::MAX });
                    let stop = || {
                        left.set(left.get() - 1);
                        left.get() == 0
                    };
                    let run = session.train_together(&group, resume, Reporter::silent(), &stop);
                    run.unwrap().1
                })
            })
            .collect();
        let ends = threads.into_iter().map(|thread| thread.join().unwrap());
        ends.collect()
    });
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    ends[0]
}

/// Losses by step, and validation figures.
fn told(dir: &Path) -> (Vec<f64>, Vec<f64>) {
    let lines = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let (mut losses, mut figures) = (Vec::new(), Vec::new());
    for line in lines.lines() {
        match serde_json::from_str(line).unwrap() {
            Event::Step { values, posts, .. } => losses.extend([values["loss"], posts as f64]),
            Event::Measured { values, .. } => figures.push(values["accuracy"]),
            _ => {}
        }
    }
    (losses, figures)
}

/// Batches of 8 are halved evenly, batches of 5 are not; of the last one, a single post, the first process has nothing, and
/// with three processes two have nothing.
#[test]
fn several_processes_train_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip");
    tiny::clip_folder(&clip).unwrap();
    for (size, more) in [
        (2, ["train.batch_size=8", "train.initialise=class_mean"]),
        (2, ["train.batch_size=5", "train.accumulate=3"]),
        (3, ["train.batch_size=5", "train.accumulate=1"]),
    ] {
        let settings = settings(&clip, &more);
        let at = |who: &str| {
            folder
                .path()
                .join(format!("{who} {size} {}", more.concat()))
        };
        let (one, many, halves) = (at("one"), at("many"), at("halves"));
        let session = Session::open(&settings, &one, &Device::Cpu).unwrap();
        assert!(
            session
                .train(false, Reporter::silent(), &|| false)
                .unwrap()
                .1
        );
        assert!(train(&settings, &many, size, false, usize::MAX));
        let ((losses, figures), (expected, accuracies)) = (told(&many), told(&one));
        assert_eq!(losses.len(), expected.len());
        for (loss, expected) in losses.iter().zip(&expected) {
            let apart = ((loss - expected) / expected).abs();
            assert!(apart < 1e-4, "{more:?}: {loss} in place of {expected}");
        }
        assert_eq!(figures, accuracies, "{more:?}");

        // Stopped by the leading process alone, all stop after the same step, and go on to the same bits.
        assert!(!train(&settings, &halves, size, false, 3));
        let saved = checkpoint::load::<State>(&halves, "last", &Device::Cpu).unwrap();
        assert_eq!(saved.state.step, 3);
        assert!(train(&settings, &halves, size, true, usize::MAX));
        for name in ["last.safetensors", "best.safetensors"] {
            let [left, right] = [&many, &halves].map(|dir| std::fs::read(dir.join(name)).unwrap());
            assert!(left == right, "{more:?}: {name} differs");
        }
    }
}
