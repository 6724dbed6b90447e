//! Owns the proof that training on what was computed beforehand, pooled tokens or the first blocks, is training on the posts
//! themselves.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Tensor};
use shared::Case;
use shared::config::{HeadConfig, ModelConfig, PromptConfig};
use tests::tiny;
use trainer::clip_folder;
use trainer::data::split::Split;
use trainer::engine::assembly::Assembly;
use trainer::engine::begun::BegunSource;
use trainer::engine::dataset::Dataset;
use trainer::engine::evaluate;
use trainer::engine::frozen::FrozenSource;
use trainer::engine::source::{Facts, Input, Source, Split as Placed};
use trainer::settings::Settings;

fn settings(clip: &std::path::Path, prompt: &str) -> Settings {
    let overrides = [
        format!("model.clip={}", clip.display()),
        "data.format=synthetic".into(),
        format!("model.prompt.method={prompt}"),
    ];
    Settings::resolve(None, &overrides).unwrap()
}

fn model(settings: &Settings, data: &Dataset, clip: &clip_folder::ClipFolder) -> Assembly {
    let config = ModelConfig {
        clip: clip.config.clone(),
        prompt: settings.model.prompt.clone(),
        head: HeadConfig::Linear,
        task: settings.model.task,
        classes: data.classes.clone(),
    };
    Assembly::fresh(&config, &clip.tensors, true, 3, &Device::Cpu).unwrap()
}

#[test]
fn pooled_posts_give_the_same_logits_and_gradients_in_every_case() {
    let folder = tempfile::tempdir().unwrap();
    let (data, assembly, settings) = opened(folder.path(), &settings(folder.path(), "none"));
    let posts = simulated(&data, &settings);
    let frozen = FrozenSource::new(posts.source, &assembly.model).unwrap();
    same_logits_and_gradients(&assembly, &posts, &posts.from(&frozen));
}

/// Rows at the input of the second block, and keys and values in its attention; from memory, written to a folder, and found
/// there.
#[test]
fn begun_posts_give_the_same_logits_and_gradients_in_every_case() {
    let folder = tempfile::tempdir().unwrap();
    for level in ["input", "attention"] {
        let mut settings = settings(folder.path(), "map");
        if let PromptConfig::Map(map) = &mut settings.model.prompt {
            (map.length, map.depth, map.first_block) = (6, 1, 1);
            map.level = serde_json::from_str(&format!("{level:?}")).unwrap();
        }
        let (data, assembly, settings) = opened(folder.path(), &settings);
        let posts = simulated(&data, &settings);
        let kept = folder.path().join(format!("kept {level}"));
        let files = || std::fs::read_dir(&kept).map_or(0, Iterator::count);
        for (folder, expected) in [(None, 0), (Some(kept.as_path()), 2), (Some(&kept), 2)] {
            let named = Named(posts.source);
            let begun = BegunSource::new(&named, &assembly, folder, &Device::Cpu).unwrap();
            same_logits_and_gradients(&assembly, &posts, &posts.from(&begun.unwrap()));
            assert_eq!(files(), expected);
        }
        // Half a file is none.
        let rows = std::fs::read_dir(&kept)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let rows = rows.filter(|path| path.extension().is_some_and(|kind| kind == "rows"));
        let rows = rows.last().unwrap();
        let bytes = std::fs::read(&rows).unwrap();
        std::fs::write(&rows, &bytes[..bytes.len() / 2]).unwrap();
        BegunSource::new(&Named(posts.source), &assembly, Some(&kept), &Device::Cpu).unwrap();
        assert!(std::fs::read(&rows).unwrap() == bytes);
    }
    let (data, assembly, _) = opened(folder.path(), &settings(folder.path(), "none"));
    let source = data.source(Split::Train).unwrap();
    let begun = BegunSource::new(source, &assembly, None, &Device::Cpu).unwrap();
    assert!(
        begun.is_none(),
        "without prompts there is no first block of theirs"
    );
}

/// A source that tells what it is made of.
struct Named<'a>(&'a dyn Source);

impl Source for Named<'_> {
    fn facts(&self) -> &Facts {
        self.0.facts()
    }

    fn fingerprint(&self) -> Option<&str> {
        Some("these posts")
    }

    fn batch(&self, posts: &[usize], cases: &[Case]) -> anyhow::Result<Input> {
        self.0.batch(posts, cases)
    }
}

fn opened(folder: &std::path::Path, settings: &Settings) -> (Dataset, Assembly, Settings) {
    tiny::clip_folder(folder).unwrap();
    let clip = clip_folder::load(folder, &Device::Cpu).unwrap();
    let data = Dataset::open(settings, &[Split::Train], None, &clip, &Device::Cpu).unwrap();
    let assembly = model(settings, &data, &clip);
    (data, assembly, settings.clone())
}

fn simulated<'a>(data: &'a Dataset, settings: &Settings) -> Placed<'a> {
    let posts = data
        .simulated(Split::Train, &settings.missing, None)
        .unwrap();
    assert_eq!(posts.cases().len(), 3);
    posts
}

fn same_logits_and_gradients(assembly: &Assembly, posts: &Placed<'_>, prepared: &Placed<'_>) {
    let logits = |split| {
        let all = evaluate::predict(&assembly.model, split, 16).unwrap();
        all.logits.concat()
    };
    let (from_posts, from_prepared) = (logits(posts), logits(prepared));
    let largest = from_posts.iter().fold(0f32, |most, x| most.max(x.abs()));
    for (a, b) in from_posts.iter().zip(&from_prepared) {
        assert!((a - b).abs() <= 1e-5 * largest, "{a} and {b}");
    }

    let places: Vec<usize> = (0..32).collect();
    let gradients = |split: &Placed<'_>| {
        let sample = split.sample(&places).unwrap();
        let outputs = sample.batch.forward(&assembly.model).unwrap();
        let parts: Vec<Tensor> = outputs
            .iter()
            .map(|output| output.scores.sqr().unwrap().sum_all().unwrap())
            .collect();
        let loss = Tensor::stack(&parts, 0).unwrap().sum_all().unwrap();
        assembly.parameters.gradients(&loss.backward().unwrap())
    };
    let (from_posts, from_prepared) = (gradients(posts), gradients(prepared));
    assert_eq!(from_posts.len(), from_prepared.len());
    assert!(from_posts.contains_key("visual_projection.weight"));
    let size = |x: &Tensor| {
        x.abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap()
    };
    for (name, gradient) in &from_posts {
        let difference = size(&(gradient - &from_prepared[name]).unwrap());
        assert!(difference <= 1e-4 * size(gradient), "{name}: {difference}");
    }
}

#[test]
fn a_model_with_prompts_cannot_be_frozen() {
    let folder = tempfile::tempdir().unwrap();
    tiny::clip_folder(folder.path()).unwrap();
    let mut settings = settings(folder.path(), "dcp");
    let clip = clip_folder::load(folder.path(), &Device::Cpu).unwrap();
    let data = Dataset::open(&settings, &[Split::Val], None, &clip, &Device::Cpu).unwrap();
    if let shared::config::PromptConfig::Dcp(dcp) = &mut settings.model.prompt {
        (dcp.length, dcp.depth, dcp.reduction) = (6, 2, 4);
    }
    let assembly = model(&settings, &data, &clip);
    let source = data.source(Split::Val).unwrap();
    let error = FrozenSource::new(source, &assembly.model).err().unwrap();
    assert!(
        format!("{error:#}").contains("without prompts"),
        "{error:#}"
    );
}

/// A source that counts how often it is asked.
struct Counted<'a> {
    posts: &'a dyn Source,
    asked: AtomicUsize,
}

impl Source for Counted<'_> {
    fn facts(&self) -> &Facts {
        self.posts.facts()
    }

    fn fingerprint(&self) -> Option<&str> {
        self.posts.fingerprint()
    }

    fn batch(&self, posts: &[usize], cases: &[Case]) -> anyhow::Result<Input> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.posts.batch(posts, cases)
    }
}

#[test]
fn pooled_tokens_are_found_by_later_runs_if_posts_and_clip_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    tiny::clip_folder(folder.path()).unwrap();
    let mut settings = settings(folder.path(), "none");
    settings.data.cache = Some(folder.path().join("pictures"));
    let clip = clip_folder::load(folder.path(), &Device::Cpu).unwrap();
    let data = Dataset::open(&settings, &[Split::Train], None, &clip, &Device::Cpu).unwrap();
    let mut assembly = model(&settings, &data, &clip);
    let posts = Counted {
        posts: data.source(Split::Train).unwrap(),
        asked: AtomicUsize::new(0),
    };
    let kept = folder.path().join("kept");
    let pooled = |assembly: &Assembly| {
        posts.asked.store(0, Ordering::Relaxed);
        let frozen = FrozenSource::kept(&posts, assembly, &kept, &Device::Cpu).unwrap();
        let asked = posts.asked.load(Ordering::Relaxed) > 0;
        let all: Vec<usize> = (0..frozen.len()).collect();
        let cases: Vec<Case> = all.iter().map(|&post| frozen.case(post)).collect();
        let Input::Pooled(batch) = frozen.batch(&all, &cases).unwrap() else {
            panic!("these are no pooled tokens");
        };
        let values = [batch.image.unwrap(), batch.text.unwrap()]
            .map(|rows| rows.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        (asked, values)
    };
    let (asked, first) = pooled(&assembly);
    assert!(asked);
    assert_eq!(pooled(&assembly), (false, first.clone()));

    let files = || -> Vec<_> {
        let entries = std::fs::read_dir(&kept).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let [file] = files().try_into().unwrap();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(pooled(&assembly), (true, first.clone()));
    assert_eq!(std::fs::read(&file).unwrap(), bytes);

    assembly.clip_sha256 = "another".into();
    assert_eq!(pooled(&assembly), (true, first));
    assert_eq!(files().len(), 2);
}
