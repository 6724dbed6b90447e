//! Owns the behaviour of the `trainer` program: its answers, its sentences about bad input, its exit codes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tests::tiny;

/// A folder with a CLIP and a trained run.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        tiny::clip_folder(&place.path("clip")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program in the folder.
    fn call(&self, arguments: &[&str]) -> Output {
        tiny::trainer()
            .unwrap()
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    fn train(&self, out: &str) -> Output {
        let sets = [
            "model.clip=clip",
            "data.format=synthetic",
            "train.epochs=2",
            "model.prompt.method=none",
        ];
        let mut arguments = vec!["train", "--out", out];
        sets.iter()
            .for_each(|pair| arguments.extend(["--set", *pair]));
        self.call(&arguments)
    }
}

fn succeeded(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The error text of a failure with this exit code.
fn failed(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn from_training_to_predictions() {
    let place = Place::new();
    let told = succeeded(&place.train("run"));
    for word in [
        "complete",
        "text missing",
        "image missing",
        "mixed",
        "accuracy",
        "trainer export",
    ] {
        assert!(told.contains(word), "{word} is not in:\n{told}");
    }
    for file in [
        "settings.toml",
        "metrics.jsonl",
        "run.log",
        "last.safetensors",
        "best.safetensors",
        "val.json",
    ] {
        assert!(place.path("run").join(file).exists(), "{file}");
    }
    let error = failed(&place.train("run"), 1);
    assert!(
        error.contains("never overwritten") && error.contains("--resume"),
        "{error}"
    );

    let json = succeeded(&place.call(&["eval", "run", "--split", "test", "--json"]));
    let evaluation: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(evaluation["rows"].as_array().unwrap().len(), 4);
    assert!(
        evaluation["rows"][0]["figures"]["accuracy"]
            .as_f64()
            .unwrap()
            > 0.2,
        "{json}"
    );
    let table = succeeded(&place.call(&["eval", "run"]));
    assert!(table.contains("image missing"), "{table}");

    succeeded(&place.call(&["export", "run", "--out", "bundle", "--name", "Shapes"]));
    assert!(failed(&place.call(&["export", "run", "--out", "bundle"]), 1).contains("--force"));
    succeeded(&place.call(&[
        "export",
        "run",
        "--out",
        "bundle",
        "--force",
        "--licence",
        "MIT",
    ]));
    assert!(
        failed(
            &place.call(&["export", "run", "--out", "clip", "--force"]),
            1
        )
        .contains("is no bundle")
    );
    let manifest = std::fs::read_to_string(place.path("bundle/manifest.json")).unwrap();
    assert!(
        manifest.contains("image_missing") && manifest.contains("\"val\""),
        "{manifest}"
    );

    predictions(&place);
    storages(&place);
    rounding(&place);
}

/// Bytes are rounded on the run's posts, the same each time; without posts they are the nearest ones, and a note says so.
fn rounding(place: &Place) {
    let export = |out: &str, posts: &str| {
        let call = ["export", "run", "--out", out, "--dtype", "int8"];
        place.call(
            &[
                &call[..],
                &["--drift-posts", "0", "--calibration-posts", posts],
            ]
            .concat(),
        )
    };
    let read = |file: &str| std::fs::read(place.path(file)).unwrap();
    for out in ["fed", "again"] {
        succeeded(&export(out, "20"));
    }
    for file in [
        "manifest.json",
        "image-00.safetensors",
        "text-00.safetensors",
    ] {
        assert!(
            read(&format!("fed/{file}")) == read(&format!("again/{file}")),
            "{file}"
        );
    }
    let manifest = String::from_utf8(read("fed/manifest.json")).unwrap();
    for side in ["image", "text"] {
        let words = format!("{side} tower rounded with error feedback on 20 posts");
        assert!(manifest.contains(&words), "{manifest}");
    }
    succeeded(&export("nearest", "0"));
    let settings = std::fs::read_to_string(place.path("run/settings.toml")).unwrap();
    let gone = settings.replace("format = \"synthetic\"", "format = \"jsonl\"");
    assert_ne!(gone, settings);
    std::fs::write(place.path("run/settings.toml"), gone).unwrap();
    let output = export("without", "20");
    std::fs::write(place.path("run/settings.toml"), settings).unwrap();
    succeeded(&output);
    let noted = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(noted.contains("rounded to the nearest"), "{noted}");
    for file in ["image-00.safetensors", "text-00.safetensors"] {
        let nearest = read(&format!("nearest/{file}"));
        assert!(nearest == read(&format!("without/{file}")), "{file}");
        assert!(nearest != read(&format!("fed/{file}")), "{file}");
    }
}

/// What each way of storing weights changed is measured at export, and told by `inspect`.
fn storages(place: &Place) {
    let mut sizes = Vec::new();
    for dtype in ["f32", "f16", "int8"] {
        succeeded(&place.call(&["export", "run", "--out", dtype, "--dtype", dtype]));
        let said = succeeded(&place.call(&["inspect", dtype]));
        let lines: Vec<Vec<&str>> = said
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let field = |words: &[&str], place: usize| -> f64 {
            let line = lines.iter().find(|line| line.starts_with(words));
            line.unwrap_or_else(|| panic!("{words:?}: {said}"))[place]
                .parse()
                .unwrap()
        };
        let (weights, format) = (field(&["all"], 1), field(&["format"], 1));
        assert!(said.contains(&format!("weights      {dtype}")), "{said}");
        assert_eq!(format, if dtype == "int8" { 2.0 } else { 1.0 });
        sizes.push(weights);
        let image = field(&["val", "complete", "image_cosine"], 3);
        let text = field(&["val", "complete", "text_cosine"], 3);
        let least = if dtype == "int8" { 0.99 } else { 0.99999 };
        assert!(image >= least && text >= least, "{said}");
        if dtype == "int8" {
            let least = field(&["val", "complete", "text_cosine_least"], 3);
            assert!(image.min(least) < 1.0, "bytes cannot be exact: {said}");
        } else {
            let all = field(&["val", "complete", "same_class"], 3);
            assert_eq!(all, 1.0, "{said}");
        }
    }
    assert!(sizes[0] >= sizes[1] && sizes[1] >= sizes[2], "{sizes:?}");
    succeeded(&place.call(&["export", "run", "--out", "bare", "--drift-posts", "0"]));
    let said = succeeded(&place.call(&["inspect", "bare"]));
    assert!(!said.contains("changed"), "{said}");
    std::fs::remove_file(place.path("bare/head-00.safetensors")).unwrap();
    let output = place.call(&["inspect", "bare"]);
    let noted = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(noted.contains("head-00.safetensors is missing"), "{noted}");
    assert!(failed(&place.call(&["inspect", "run"]), 1).contains("trainer export"));
}

/// Good and bad lines through the run and the bundle; both must say the same.
fn predictions(place: &Place) {
    image(&place.path("red.png"));
    std::fs::write(place.path("bad.png"), b"no picture").unwrap();
    let posts = [
        r#"{"id":"both","image":"red.png","text":"a red thing"}"#,
        r#"{"id":"text","text":"a blue thing","labels":["ignored"]}"#,
        "",
        r#"{"id":"image","image":"red.png"}"#,
        r#"{"id":"neither"}"#,
        "no json",
        r#"{"id":"damaged","image":"bad.png"}"#,
        r#"{"id":"gone","image":"gone.png"}"#,
    ];
    std::fs::write(place.path("posts.jsonl"), posts.join("\n")).unwrap();
    let mut answers = Vec::new();
    for model in ["run", "bundle"] {
        let output = place.call(&["predict", model, "posts.jsonl", "--top", "2"]);
        let error = failed(&output, 1);
        assert!(error.contains("4 of 7 posts"), "{error}");
        answers.push(lines(std::str::from_utf8(&output.stdout).unwrap()));
    }
    let found = &answers[0];
    assert_eq!(found.len(), 7);
    for (line, case) in [(0, "complete"), (1, "image_missing"), (2, "text_missing")] {
        assert_eq!(found[line]["case"], case);
        assert_eq!(found[line]["classes"].as_array().unwrap().len(), 2);
        assert_eq!(found[line]["label"], answers[1][line]["label"]);
        let [run, bundle] =
            [0, 1].map(|i| answers[i][line]["classes"][0]["logit"].as_f64().unwrap());
        assert!((run - bundle).abs() < 1e-3, "{run} {bundle}");
    }
    for (answer, line) in found[3..].iter().zip([5, 6, 7, 8]) {
        assert_eq!(answer["line"], line, "{answer}");
        assert_eq!(answer["file"], "posts.jsonl");
        assert!(answer["error"].as_str().unwrap().len() > 10);
    }
    assert!(found[6]["error"].as_str().unwrap().contains("gone.png"));

    let mut command = tiny::trainer().unwrap();
    command
        .arg("predict")
        .arg(place.path("bundle"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"{\"text\":\"a green thing\"}\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(lines(&succeeded(&output))[0]["case"], "image_missing");
}

fn image(path: &Path) {
    image::RgbImage::from_pixel(20, 30, image::Rgb([200, 30, 30]))
        .save(path)
        .unwrap();
}

#[test]
fn wrong_command_lines_and_settings() {
    let place = Place::new();
    assert!(failed(&place.call(&["trian"]), 2).contains("train"));
    assert!(failed(&place.call(&["train", "--outt", "x"]), 2).contains("--out"));
    assert!(failed(&place.call(&["train"]), 1).contains("--out DIR"));

    std::fs::write(place.path("run.toml"), "[train]\n# comment\nepoch = 3\n").unwrap();
    let error = failed(
        &place.call(&["train", "--config", "run.toml", "--out", "x"]),
        1,
    );
    assert!(
        error.contains("run.toml, line 3") && error.contains("did you mean `epochs`?"),
        "{error}"
    );
    let error = failed(
        &place.call(&["train", "--out", "x", "--set", "model.hed.method=dpl"]),
        1,
    );
    assert!(error.contains("did you mean `head`?"), "{error}");
    let error = failed(
        &place.call(&["train", "--out", "x", "--set", "model.clip=nowhere"]),
        1,
    );
    assert!(error.contains("nowhere"), "{error}");
    let error = failed(&place.call(&["train", "--out", "x", "--resume"]), 1);
    assert!(error.contains("no run folder"), "{error}");
    let error = failed(&place.call(&["eval", "clip"]), 1);
    assert!(error.contains("no run folder"), "{error}");
    assert!(
        !place.path("x").exists(),
        "a failed start left a run folder"
    );

    std::fs::create_dir(place.path("posts")).unwrap();
    std::fs::write(
        place.path("posts/data.jsonl"),
        "{\"id\":\"a\",\"label\":\"x\"}\n",
    )
    .unwrap();
    let mine = [
        "train",
        "--out",
        "x",
        "--set",
        "model.clip=clip",
        "--set",
        "data.path=posts",
    ];
    let error = failed(&place.call(&mine), 1);
    assert!(
        error.contains("data.jsonl line 1") && error.contains("neither"),
        "{error}"
    );
    let error = failed(&place.call(&["train", "--out", "x", "--device", "cuda"]), 1);
    assert!(
        error.contains("--features cuda") || error.contains("doctor"),
        "{error}"
    );
}

#[test]
fn doctor_speaks_json() {
    let place = Place::new();
    let found: serde_json::Value =
        serde_json::from_str(&succeeded(&place.call(&["doctor", "--json"]))).unwrap();
    assert_eq!(found["candle"], "0.11.1");
    assert!(found["threads"].as_u64().unwrap() > 0);
    assert!(succeeded(&place.call(&["doctor"])).contains("CPU threads"));
}

/// Ctrl-C: the step is finished, the state saved, and the run can go on.
#[cfg(unix)]
#[test]
fn an_interrupted_run_saves_and_goes_on() {
    let place = Place::new();
    let mut command = tiny::trainer().unwrap();
    command.current_dir(place.folder.path()).args([
        "train",
        "--out",
        "run",
        "--set",
        "model.clip=clip",
    ]);
    command.args([
        "--set",
        "data.format=synthetic",
        "--set",
        "train.epochs=4000",
        "--set",
        "model.prompt.method=none",
    ]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let metrics = place.path("run/metrics.jsonl");
    while !std::fs::read_to_string(&metrics).is_ok_and(|text| text.contains("\"step\":3,")) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let kill = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert!(succeeded(&output).contains("Go on with: trainer train --resume --out run"));
    assert!(place.path("run/last.safetensors").exists());
}
