//! Times training steps on CLIP ViT-B/16 with Deep Correlated Prompting, for `cargo xtask bench train`.
//!
//!     step make FOLDER WORDS                 writes random weights, and posts with texts of up to so many tokens
//!     step run FOLDER OUT HEAD BATCH MISSING FIRST STEPS WARM_UP MEMORY
//!                                            prints losses and seconds of each step, and leaves the first one's gradients
//!     step compare A B                       prints by how much two files of gradients differ
//!     step product                           prints the rate of the image tower's largest product, in 10^9 operations a second
//!
//! HEAD is linear or dpl; MISSING is the percentage of incomplete posts, 0 or 70, half of them without text and half
//! without image; MEMORY is keep or recompute. Threads: `RAYON_NUM_THREADS`. `bench/train.py` does the same work in PyTorch on the same files.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor, safetensors};
use rand::Rng;
use shared::clip::Tokens;
use shared::config::{
    ClipConfig, DcpConfig, DplConfig, HeadConfig, ModelConfig, PromptConfig, Task, VisionConfig,
};
use shared::model::{self, Batch};
use shared::nn::Tensors;
use shared::nn::frozen::Memory;
use shared::nn::linear::Linear;
use shared::{Case, Modality, clip, rng};
use trainer::engine::adamw::{AdamW, AdamWSettings};
use trainer::engine::assembly::Assembly;
use trainer::engine::source::{Input, Sample};
use trainer::loss::Objective;
use trainer::settings::LossSettings;

/// As many as Food-101 has.
const CLASSES: usize = 101;
/// Both sides take batches from these, one after the other.
const POSTS: usize = 160;
const RATE: f64 = 1e-4;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", folder, words] => make(Path::new(folder), words.parse()?),
        [
            "run",
            folder,
            out,
            head,
            batch,
            missing,
            first,
            steps,
            warm_up,
            memory,
        ] => {
            let run = Run {
                folder: Path::new(folder),
                out: Path::new(out),
                head,
                batch: batch.parse()?,
                missing: missing.parse()?,
                first: first.parse()?,
                steps: steps.parse()?,
                warm_up: warm_up.parse()?,
                memory: match memory {
                    "keep" => Memory::Keep,
                    _ => Memory::Recompute,
                },
            };
            run.run()
        }
        ["compare", a, b] => compare(Path::new(a), Path::new(b)),
        ["product"] => product(),
        _ => bail!("usage: step make | run | compare, with the arguments that its source tells"),
    }
}

fn config(head: &str) -> Result<ModelConfig> {
    Ok(ModelConfig {
        clip: ClipConfig {
            vision_config: VisionConfig {
                patch_size: 16,
                ..VisionConfig::default()
            },
            ..ClipConfig::default()
        },
        prompt: PromptConfig::Dcp(DcpConfig::default()),
        head: match head {
            "linear" => HeadConfig::Linear,
            "dpl" => HeadConfig::Dpl(DplConfig::default()),
            other => bail!("the head {other:?} is neither linear nor dpl"),
        },
        task: Task::MultiClass,
        classes: (0..CLASSES).map(|class| class.to_string()).collect(),
    })
}

/// Weights and posts of both sides.
fn make(folder: &Path, words: usize) -> Result<()> {
    let device = Device::Cpu;
    std::fs::create_dir_all(folder)?;
    let save = |name: &str, tensors: &Tensors| -> Result<()> {
        let tensors: HashMap<String, Tensor> = tensors.clone().into_iter().collect();
        Ok(safetensors::save(&tensors, folder.join(name))?)
    };
    for head in ["linear", "dpl"] {
        let config = config(head)?;
        let trained = model::trainable_names(&config, true);
        save(
            &format!("{head}.safetensors"),
            &model::initialise(&config, 0, &device)?,
        )?;
        let trained = serde_json::json!({ "trained": trained });
        std::fs::write(folder.join(format!("{head}.json")), trained.to_string())?;
    }
    let config = config("linear")?;
    let weights = clip::initialise(&config.clip, &mut rng::stream(0, "clip"), &device)?;
    save("clip.safetensors", &weights)?;

    let (vocabulary, context) = (
        config.clip.text_config.vocab_size as i64,
        config.clip.text_config.max_position_embeddings,
    );
    let [start, end] = [vocabulary - 2, vocabulary - 1];
    for missing in [0, 70] {
        let rng = &mut rng::stream(1, "posts");
        let mut cases: Vec<i64> = (0..POSTS)
            .map(|post| match post * 200 / POSTS {
                place if place < missing => 1,
                place if place < 2 * missing => 2,
                _ => 0,
            })
            .collect();
        rng::shuffle(rng, &mut cases);
        let (mut ids, mut eot, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for &case in &cases {
            let count = if case == 1 {
                0
            } else {
                rng.random_range(words.div_ceil(2)..=words) - 2
            };
            let mut row = vec![start];
            row.extend((0..count).map(|_| rng.random_range(1..start)));
            row.push(end);
            eot.push(row.len() as i64 - 1);
            row.resize(context, 0);
            ids.extend(row);
            targets.push(rng.random_range(0..CLASSES as i64));
        }
        let pixels = rng::normal(rng, &[POSTS, 3, 224, 224], 1.0, &device)?;
        let shown: Vec<f32> = cases.iter().map(|&case| f32::from(case != 2)).collect();
        let shown = Tensor::from_vec(shown, (POSTS, 1, 1, 1), &device)?;
        // A missing picture is one of ones.
        let pixels = (pixels.broadcast_mul(&shown)?.broadcast_sub(&shown)? + 1.0)?;
        let row = |values: Vec<i64>| Tensor::from_vec(values, POSTS, &device);
        save(
            &format!("posts-{missing}.safetensors"),
            &Tensors::from([
                ("pixels".into(), pixels),
                (
                    "ids".into(),
                    Tensor::from_vec(ids, (POSTS, context), &device)?,
                ),
                ("eot".into(), row(eot)?),
                ("cases".into(), row(cases)?),
                ("targets".into(), row(targets)?),
            ]),
        )?;
    }
    Ok(())
}

struct Run<'a> {
    folder: &'a Path,
    out: &'a Path,
    head: &'a str,
    batch: usize,
    missing: usize,
    first: usize,
    steps: usize,
    warm_up: usize,
    memory: Memory,
}

impl Run<'_> {
    fn run(&self) -> Result<()> {
        let device = Device::Cpu;
        let config = config(self.head)?;
        let load = |name: &str| -> Result<Tensors> {
            let path = self.folder.join(name);
            let read = safetensors::load(&path, &device)
                .with_context(|| format!("cannot read {}", path.display()))?;
            Ok(read.into_iter().collect())
        };
        let mut assembly = Assembly::fresh(&config, &load("clip.safetensors")?, true, 0, &device)?;
        assembly.model.set_memory(self.memory);
        let posts = Posts::of(&load(&format!("posts-{}.safetensors", self.missing))?)?;
        let cases = if self.missing == 0 {
            vec![Case::Complete]
        } else {
            Case::ALL.to_vec()
        };
        let objective = Objective::new(config.task, LossSettings::default(), cases);
        let mut optimiser = AdamW::new(&assembly.parameters, AdamWSettings::default(), |name| {
            !name.contains("bias")
        });
        let (mut losses, mut seconds) = (Vec::new(), Vec::new());
        for step in 0..self.warm_up + self.steps {
            let sample = posts.sample((self.first + step) * self.batch, self.batch)?;
            let begun = Instant::now();
            let targets = sample.targets(CLASSES, &device)?;
            let outputs = sample.batch.forward(&assembly.model)?;
            let loss = objective.loss(assembly.model.head(), &outputs, &targets, 0.0)?;
            losses.push(loss.total.to_scalar::<f32>()?);
            let gradients = assembly.parameters.gradients(&loss.total.backward()?);
            optimiser.step(&assembly.parameters, &gradients, RATE)?;
            if step >= self.warm_up {
                seconds.push(begun.elapsed().as_secs_f64());
            }
            if step == 0 {
                let gradients: HashMap<String, Tensor> = gradients.into_iter().collect();
                safetensors::save(&gradients, self.out)?;
            }
        }
        let printed =
            serde_json::json!({ "losses": losses, "seconds": seconds, "peak_bytes": peak()? });
        println!("{printed}");
        Ok(())
    }
}

/// All posts, as the peer has them.
struct Posts {
    pixels: Tensor,
    ids: Tensor,
    eot: Vec<usize>,
    cases: Vec<Case>,
    classes: Vec<usize>,
}

impl Posts {
    fn of(read: &Tensors) -> Result<Self> {
        let tensor = |name: &str| read.get(name).context("the posts' file lacks a tensor");
        let numbers = |name: &str| -> Result<Vec<usize>> {
            let values = tensor(name)?.to_vec1::<i64>()?;
            Ok(values.into_iter().map(|value| value as usize).collect())
        };
        let case = |code: usize| Case::ALL.get(code).copied().context("no such case");
        Ok(Self {
            pixels: tensor("pixels")?.clone(),
            ids: tensor("ids")?.to_dtype(DType::U32)?,
            eot: numbers("eot")?,
            cases: numbers("cases")?
                .into_iter()
                .map(case)
                .collect::<Result<_>>()?,
            classes: numbers("targets")?,
        })
    }

    fn sample(&self, first: usize, count: usize) -> Result<Sample> {
        let posts: Vec<usize> = (first..first + count).map(|post| post % POSTS).collect();
        let with = |modality: Modality| -> Vec<usize> {
            let with = posts.iter().filter(|&&post| self.cases[post].has(modality));
            with.copied().collect()
        };
        let rows = |modality: Modality| -> Result<Option<Tensor>> {
            let with: Vec<u32> = with(modality).iter().map(|&post| post as u32).collect();
            Ok(match with.is_empty() {
                true => None,
                false => Some(Tensor::new(with, &Device::Cpu)?),
            })
        };
        let pixels = rows(Modality::Image)?;
        let tokens = rows(Modality::Text)?.map(|rows| -> Result<Tokens> {
            Ok(Tokens {
                ids: self.ids.index_select(&rows, 0)?,
                eot: with(Modality::Text)
                    .iter()
                    .map(|&post| self.eot[post])
                    .collect(),
            })
        });
        Ok(Sample {
            batch: Input::Posts(Batch {
                cases: posts.iter().map(|&post| self.cases[post]).collect(),
                pixels: pixels
                    .map(|rows| self.pixels.index_select(&rows, 0))
                    .transpose()?,
                tokens: tokens.transpose()?,
            }),
            classes: posts.iter().map(|&post| vec![self.classes[post]]).collect(),
        })
    }
}

/// The most memory that this process ever had.
fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("only Linux tells memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kilobytes: u64 = kilobytes.context("no VmHWM in /proc")?.trim().parse()?;
    Ok(kilobytes * 1024)
}

/// What the machine can do: the first product of a feed-forward block, on four posts.
fn product() -> Result<()> {
    let (rows, inputs, outputs) = (932, 768, 3072);
    let rng = &mut rng::stream(0, "product");
    let x = rng::normal(rng, &[rows, inputs], 1.0, &Device::Cpu)?;
    let layer = Linear::new(
        rng::normal(rng, &[outputs, inputs], 1.0, &Device::Cpu)?,
        None,
    );
    let mut best = f64::INFINITY;
    for _ in 0..60 {
        let begun = Instant::now();
        layer.forward(&x)?;
        best = best.min(begun.elapsed().as_secs_f64());
    }
    println!("{}", (2 * rows * inputs * outputs) as f64 / best / 1e9);
    Ok(())
}

/// The largest difference of any tensor, as a part of the largest value of the tensor; those that are all but zero are
/// held against the largest value of all.
fn compare(a: &Path, b: &Path) -> Result<()> {
    let load = |path: &Path| safetensors::load(path, &Device::Cpu);
    let (a, b) = (load(a)?, load(b)?);
    let largest = |x: &Tensor| -> Result<f64> {
        let values = x.flatten_all()?.to_vec1::<f32>()?;
        Ok(f64::from(
            values.iter().fold(0f32, |most, x| most.max(x.abs())),
        ))
    };
    let mut all = 0f64;
    for x in b.values() {
        all = all.max(largest(x)?);
    }
    let mut worst = (0f64, String::new());
    for (name, x) in &a {
        let Some(y) = b.get(name) else {
            // Prompts of a case that did not occur: no gradient on this side, zeros on the other.
            ensure!(
                largest(x)? < 1e-6 * all,
                "only one side has a gradient of {name}"
            );
            continue;
        };
        let apart = largest(&(x - y)?)? / largest(y)?.max(1e-4 * all);
        if apart > worst.0 {
            worst = (apart, name.clone());
        }
    }
    for (name, y) in &b {
        ensure!(
            a.contains_key(name) || largest(y)? < 1e-6 * all,
            "only one side has a gradient of {name}"
        );
    }
    println!(
        "{}",
        serde_json::json!({ "largest_difference": worst.0, "of": worst.1, "tensors": a.len() })
    );
    Ok(())
}
