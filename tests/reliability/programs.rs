//! Owns what is disturbed: small runs of the programs that write files, each in a folder of its own beside its inputs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::tiny;
use trainer::data::synthetic;

use super::whole::{self, Files};

/// A program, how it is started, and how it goes on.
pub(super) struct Program {
    pub(super) name: &'static str,
    start: &'static str,
    /// What starts it once the file in `begun` is there.
    again: &'static str,
    begun: &'static str,
    pub(super) leaves: Leaves,
}

/// What may be found when it was disturbed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Files that are whole, each for itself.
    Files,
    /// All or nothing.
    All,
    /// All or what it was to replace, the bundle in f32.
    AllOrOld,
}

/// Everything that leaves files others rely on.
pub(super) const PROGRAMS: [Program; 7] = [
    // Prompts in the towers: pictures are kept on disk.
    Program {
        name: "train",
        start: "train --config ../train.toml --out run",
        again: "train --out run --resume",
        begun: "run/settings.toml",
        leaves: Leaves::Files,
    },
    // Nothing trained in the towers: what they make of the posts is kept on disk too.
    Program {
        name: "train without prompts",
        start: "train --config ../train.toml --set model.prompt.method=none --set train.epochs=24 --out run",
        again: "train --out run --resume",
        begun: "run/settings.toml",
        leaves: Leaves::Files,
    },
    Program {
        name: "pretrain",
        start: "pretrain --config ../pretrain.toml --out clip",
        again: "pretrain --out clip --resume",
        begun: "clip/settings.toml",
        leaves: Leaves::Files,
    },
    Program {
        name: "paper",
        start: "paper study --plan ../plan.toml --out grid --page page.md",
        again: "paper study --plan ../plan.toml --out grid --page page.md",
        begun: "",
        leaves: Leaves::Files,
    },
    Program {
        name: "export in f32",
        start: "export ../run --out bundle",
        again: "export ../run --out bundle --force",
        begun: "bundle/manifest.json",
        leaves: Leaves::All,
    },
    Program {
        name: "export in int8 over a bundle",
        start: "export ../run --out bundle --dtype int8 --force",
        again: "export ../run --out bundle --dtype int8 --force",
        begun: "",
        leaves: Leaves::AllOrOld,
    },
    Program {
        name: "predict",
        start: "predict ../bundle ../posts/many.jsonl --out answers.jsonl",
        again: "predict ../bundle ../posts/many.jsonl --out answers.jsonl",
        begun: "",
        leaves: Leaves::All,
    },
];

/// Classifier and pictures are small, so that a run takes about a second.
const TRAIN: &str = r#"
[data]
path = "../posts"
cache = "cache"
[model]
clip = "../clip"
[model.prompt]
method = "dcp"
length = 6
depth = 2
reduction = 4
[train]
epochs = 6
batch_size = 8
accumulate = 2
checkpoint_every = 2
validate_every = 0.5
"#;

const PRETRAIN: &str = r#"
steps = 40
[data]
drawings = "../drawings"
wordnet = "../wordnet.jsonl"
probe = ""
[model]
image_size = 16
patch_size = 8
image_width = 16
image_layers = 2
image_heads = 2
text_width = 16
text_layers = 2
text_heads = 2
vocabulary = 530
context = 16
joint = 12
[batch]
emoji = 6
clipart = 3
wordnet = 8
[every]
checkpoint = 3
evaluation = 10
"#;

/// Four cells, of which two train something in the towers.
const PLAN: &str = r#"
[[data]]
name = "squares"
title = "Squares"
metric = "accuracy"
note = "Made on the spot."
overrides = [
    "data.path=../posts", "data.cache=cache", "model.clip=../clip", "train.epochs=2", "train.batch_size=8",
    "train.checkpoint_every=2", "train.validate_every=0.5",
]
[[prompts]]
name = "none"
title = "No prompts"
overrides = ["model.prompt.method=none"]
[[prompts]]
name = "dcp"
title = "DCP"
overrides = [
    "model.prompt.method=dcp", "model.prompt.length=6", "model.prompt.depth=2", "model.prompt.reduction=4",
]
[[heads]]
name = "dpl"
title = "DPL"
overrides = ["model.head.method=dpl"]
[[parts]]
settings = ["both-70", "text-50"]
seeds = [0]
"#;

/// The folder with all inputs, and with one folder for each attempt. What a failed test leaves there stays until the next.
pub(super) struct Place(PathBuf);

impl Place {
    /// Writes posts, drawings and words, and trains what is exported and predicted with.
    pub(super) fn new() -> Self {
        let place = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join("reliability"));
        if place.0.exists() {
            std::fs::remove_dir_all(&place.0).unwrap();
        }
        std::fs::create_dir_all(&place.0).unwrap();
        tiny::clip_folder(&place.path("clip")).unwrap();
        synthetic::write(&place.path("posts"), [64, 32, 32], 1).unwrap();
        drawings(&place.path("drawings"));
        words(&place.path("wordnet.jsonl"));
        for (name, text) in [
            ("train.toml", TRAIN),
            ("pretrain.toml", PRETRAIN),
            ("plan.toml", PLAN),
        ] {
            std::fs::write(place.path(name), text).unwrap();
        }
        let posts = std::fs::read_to_string(place.path("posts/data.jsonl")).unwrap();
        std::fs::write(place.path("posts/many.jsonl"), posts.repeat(12)).unwrap();
        // Beside the inputs, so that paths in its settings are those that other folders need.
        std::fs::create_dir(place.path("run")).unwrap();
        place.call("own", "train --config ../train.toml --out ../run");
        place.call("own", "export ../run --out ../bundle");
        place
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn call(&self, folder: &str, arguments: &str) {
        std::fs::create_dir_all(self.path(folder)).unwrap();
        let mut command = tiny::trainer().unwrap();
        let command = command
            .args(arguments.split_whitespace())
            .current_dir(self.path(folder));
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {told}");
    }
}

impl Program {
    /// Makes its folder, empty but for what it replaces.
    pub(super) fn prepare(&self, place: &Place, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        if self.replaces() {
            copy(&place.path("bundle"), &folder.join("bundle"));
        }
    }

    /// What is wrong with its folder after a disturbance, if anything.
    pub(super) fn damage(&self, place: &Place, folder: &Path, calm: &Files) -> Option<String> {
        match self.leaves {
            Leaves::Files => whole::damage(folder, calm),
            Leaves::All => whole::mixture(folder, &Files::new(), calm),
            Leaves::AllOrOld => {
                let old = whole::files(&place.path("bundle"));
                let inside = |(name, bytes)| (Path::new("bundle").join(name), bytes);
                whole::mixture(folder, &old.into_iter().map(inside).collect(), calm)
            }
        }
    }

    /// Whether its folder holds something from the beginning.
    pub(super) fn replaces(&self) -> bool {
        self.leaves == Leaves::AllOrOld
    }

    /// What starts it in its folder, or goes on there.
    pub(super) fn command(&self, folder: &Path) -> Command {
        let begun = !self.begun.is_empty() && folder.join(self.begun).exists();
        let arguments = if begun { self.again } else { self.start };
        let mut command = tiny::trainer().unwrap();
        command
            .args(arguments.split_whitespace())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts it, or goes on, to the end; how long that took.
    pub(super) fn finish(&self, folder: &Path) -> Duration {
        let begin = Instant::now();
        let output = self.command(folder).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {told}", self.name);
        begin.elapsed()
    }
}

/// Copies a folder of files.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Squares in colours: ten emoji, two of them for validation, and five pieces of clip art.
fn drawings(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let mut lines = String::new();
    for index in 0..15u8 {
        let (set, image) = (
            if index < 10 { "emoji" } else { "clipart" },
            format!("{index}.png"),
        );
        let colour = image::Rgba([index * 17, 90, 255 - index * 17, 255]);
        image::RgbaImage::from_pixel(64, 64, colour)
            .save(folder.join(&image))
            .unwrap();
        let line = serde_json::json!({
            "id": image, "set": set, "style": "plain", "concept": format!("thing {index}"), "image": image,
            "name": format!("{set} thing {index}"), "tags": ["tag", format!("kind {}", index % 3)],
            "directories": if set == "clipart" { vec!["food", "fruit"] } else { vec![] },
            "subgroup": (set == "emoji").then(|| format!("group-{}", index % 2)),
            "split": if index == 4 || index == 9 { "val" } else { "train" },
        });
        lines += &format!("{line}\n");
    }
    std::fs::write(folder.join("drawings.jsonl"), lines).unwrap();
}

fn words(path: &Path) {
    let line = |index: usize| {
        let line = serde_json::json!({
            "lemma": format!("noun{index}"), "synonyms": [format!("other{index}")],
            "hypernyms": ["fruit", "food", "thing"], "gloss": "a round red thing that grows on trees",
            "lexicographer": "food", "common": index < 20,
        });
        format!("{line}\n")
    };
    std::fs::write(path, (0..60).map(line).collect::<String>()).unwrap();
}
