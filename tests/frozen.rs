//! Owns the proof that training on pooled tokens computed beforehand is training on the posts themselves.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Tensor};
use shared::Case;
use shared::config::{HeadConfig, ModelConfig};
use tests::tiny;
use trainer::clip_folder;
use trainer::data::split::Split;
use trainer::engine::assembly::Assembly;
use trainer::engine::dataset::Dataset;
use trainer::engine::evaluate;
use trainer::engine::frozen::FrozenSource;
use trainer::engine::source::{Input, Source};
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
    tiny::clip_folder(folder.path()).unwrap();
    let settings = settings(folder.path(), "none");
    let clip = clip_folder::load(folder.path(), &Device::Cpu).unwrap();
    let data = Dataset::open(&settings, &[Split::Train], None, &clip, &Device::Cpu).unwrap();
    let assembly = model(&settings, &data, &clip);
    let posts = data
        .simulated(Split::Train, &settings.missing, None)
        .unwrap();
    let frozen = FrozenSource::new(posts.source, &assembly.model).unwrap();
    let pooled = posts.from(&frozen);
    assert_eq!(posts.cases().len(), 3);

    let logits = |split| {
        let all = evaluate::predict(&assembly.model, split, 16).unwrap();
        all.logits.concat()
    };
    let (from_posts, from_pooled) = (logits(&posts), logits(&pooled));
    let largest = from_posts.iter().fold(0f32, |most, x| most.max(x.abs()));
    for (a, b) in from_posts.iter().zip(&from_pooled) {
        assert!((a - b).abs() <= 1e-5 * largest, "{a} and {b}");
    }

    let places: Vec<usize> = (0..32).collect();
    let gradients = |split: &trainer::engine::source::Split<'_>| {
        let sample = split.sample(&places).unwrap();
        let outputs = sample.batch.forward(&assembly.model).unwrap();
        let parts: Vec<Tensor> = outputs
            .iter()
            .map(|output| output.scores.sqr().unwrap().sum_all().unwrap())
            .collect();
        let loss = Tensor::stack(&parts, 0).unwrap().sum_all().unwrap();
        assembly.parameters.gradients(&loss.backward().unwrap())
    };
    let (from_posts, from_pooled) = (gradients(&posts), gradients(&pooled));
    assert_eq!(from_posts.len(), from_pooled.len());
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
        let difference = size(&(gradient - &from_pooled[name]).unwrap());
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
    fn len(&self) -> usize {
        self.posts.len()
    }

    fn case(&self, post: usize) -> Case {
        self.posts.case(post)
    }

    fn classes(&self, post: usize) -> &[usize] {
        self.posts.classes(post)
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
