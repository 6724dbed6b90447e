//! Owns `cargo xtask demo`: from open data to a classifier in the browser, doing again only what changed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::bundles;
use crate::fetch::{self, FetchArgs, Source};
use crate::page::{self, COMMITTED_BUNDLE, DIST};
use crate::serve::Server;
use crate::stamp::{self, Stamp};
use crate::step::{Steps, call, command, output};
use crate::tools;

/// The demo's data, run and bundle, all in ignored folders.
const POSTS: &str = "data/emoji/data.jsonl";
const RUN: &str = "runs/demo";
const BUNDLE: &str = "runs/demo-bundle";
const ACCURACY: &str = "runs/demo/accuracy.txt";
const CONFIG: &str = "configs/emoji.toml";
const CLIP: &str = "assets/clip-tiny";
/// What `--check` asks both sides; beside the posts, for pictures are named relative to it.
const CHECKED_POSTS: &str = "data/emoji/check.jsonl";
const CHECKED_ANSWERS: &str = "runs/check.jsonl";
/// How many posts, each in all three cases.
const CHECKED: usize = 100;

/// How to run the demo.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Do not serve: classify posts of all three cases in a headless Chromium, and exit with 0 or 1
    #[arg(long)]
    check: bool,
    /// Train again even if nothing changed
    #[arg(long)]
    fresh: bool,
    /// Serve this bundle instead of training one (made by `trainer export`); given again, the visitor has the choice
    #[arg(long, value_name = "FOLDER")]
    bundle: Vec<PathBuf>,
    /// The port; the next free one is taken if it is in use
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

/// Gets data, trains, exports, builds the page, serves it.
///
/// # Errors
/// With the name of the step that failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::start();
    let mut bundles = options.bundle.clone();
    if bundles.is_empty() {
        bundles.push(match obtain_posts(&mut steps) {
            Ok(()) => train(&mut steps, options.fresh)?,
            Err(error) if options.check => return Err(error),
            Err(error) => {
                println!("\nNothing can be trained here: {error:#}.");
                println!("The demo goes on with the classifier that comes with the project.");
                COMMITTED_BUNDLE.into()
            }
        });
    }
    steps.run("build the page", page::build)?;
    bundles::install(&bundles)?;
    let server = Server::bind(Path::new(DIST), options.port)?;
    let address = server.address();
    if options.check {
        std::thread::spawn(move || server.serve());
        check(&mut steps, &address, &bundles[0])?;
        println!("\nTimes:\n{}", steps.summary());
        println!("\nThe demo works.");
        return Ok(());
    }
    println!("\nTimes:\n{}", steps.summary());
    println!(
        "\nOpen {address} in a browser. Drop an image, type a text, or leave one out. Ctrl-C ends."
    );
    server.serve()
}

/// Makes sure that the demo's posts are on disk.
fn obtain_posts(steps: &mut Steps) -> Result<()> {
    let stamp = Stamp::of("posts", &["xtask/src/fetch.rs", "trainer/src/data/prepare"])?;
    if stamp.holds(&[POSTS]) {
        steps.skip("get the emoji", "they are here");
        return Ok(());
    }
    steps.run("get the emoji", || {
        tools::node()?;
        fetch::run(&FetchArgs {
            sources: vec![Source::Emoji],
            into: "data/sources".into(),
        })
    })?;
    build_trainer(steps)?;
    steps.run("draw the posts", || {
        call(&mut trainer("data prepare emoji"))
    })?;
    stamp.keep()
}

/// Trains, prints the accuracy by case, exports; returns the bundle's folder.
fn train(steps: &mut Steps, fresh: bool) -> Result<PathBuf> {
    let stamp = Stamp::of("train", &[CONFIG, CLIP, POSTS])?;
    if !fresh && stamp.holds(&[RUN, BUNDLE, ACCURACY]) {
        let why = format!("{RUN} has these settings and posts; --fresh trains again");
        steps.skip("train", &why);
    } else {
        build_trainer(steps)?;
        steps.run("train", || {
            remove(Path::new(RUN))?;
            call(&mut trainer(&format!(
                "train --config {CONFIG} --out {RUN}"
            )))
        })?;
        steps.run("measure on emoji never seen before", || {
            let table = output(&mut trainer(&format!("eval {RUN} --split test")))?;
            stamp::write(Path::new(ACCURACY), table.as_bytes())
        })?;
        steps.run("export the bundle", || {
            call(&mut trainer(&format!(
                "export {RUN} --out {BUNDLE} --force"
            )))
        })?;
        stamp.keep()?;
    }
    let table = fs::read_to_string(ACCURACY).with_context(|| format!("cannot read {ACCURACY}"))?;
    println!("\nOn the test split, emoji that training never saw:\n{table}");
    Ok(BUNDLE.into())
}

fn build_trainer(steps: &mut Steps) -> Result<()> {
    steps.run("build the trainer", || {
        call(&mut command("cargo", "build -p trainer --locked"))
    })
}

/// The trainer as it was built just now.
fn trainer(arguments: &str) -> std::process::Command {
    let program = format!("target/debug/trainer{}", std::env::consts::EXE_SUFFIX);
    command(&program, arguments)
}

/// Posts of all three cases classified natively and by the worker in Chromium, which must agree; then a visit to the
/// page that the demo serves, in all three cases too.
fn check(steps: &mut Steps, address: &str, bundle: &Path) -> Result<()> {
    tools::node()?;
    let chromium = tools::chromium()?;
    tools::browser_tests()?;
    build_trainer(steps)?;
    steps.run("compare Chromium with the trainer", || {
        let posts = fs::read_to_string(POSTS).with_context(|| format!("cannot read {POSTS}"))?;
        stamp::write(
            Path::new(CHECKED_POSTS),
            posts_of_all_cases(&posts)?.as_bytes(),
        )?;
        let bundle = bundle.to_string_lossy();
        call(&mut trainer(&format!(
            "predict {bundle} {CHECKED_POSTS} --out {CHECKED_ANSWERS}"
        )))?;
        let script = format!(
            "{}/parity.mjs {bundle} {CHECKED_POSTS} {CHECKED_ANSWERS}",
            tools::E2E
        );
        call(command("node", &script).env("CHROMIUM", &chromium))
    })?;
    steps.run("visit the page in Chromium", || {
        call(
            command("node", "--test")
                .args(["--test-name-pattern", "a sample", "page.test.mjs"])
                .current_dir(tools::E2E)
                .env("LACUNA_URL", address)
                .env("CHROMIUM", &chromium),
        )
    })
}

/// The first posts of the test split, each whole, without its text, and without its image, as JSON lines.
fn posts_of_all_cases(posts: &str) -> Result<String> {
    let mut lines = String::new();
    let mut count = 0;
    for line in posts.lines() {
        let post: serde_json::Value = serde_json::from_str(line).context(POSTS)?;
        if post["split"] == "test" && count < CHECKED {
            count += 1;
            for missing in [None, Some("text"), Some("image")] {
                let mut post = post.clone();
                if let (Some(key), Some(fields)) = (missing, post.as_object_mut()) {
                    fields.remove(key);
                }
                lines.push_str(&format!("{post}\n"));
            }
        }
    }
    Ok(lines)
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}
