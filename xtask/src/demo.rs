//! Owns `cargo xtask demo`: from open data to a classifier in the browser, doing again only what changed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::fetch::{self, FetchArgs, Source};
use crate::page::{self, COMMITTED_BUNDLE, DIST};
use crate::serve::Server;
use crate::stamp::Stamp;
use crate::step::{Steps, call, command};
use crate::tools;

/// The demo's data, run and bundle, all in ignored folders.
const POSTS: &str = "data/emoji/data.jsonl";
const RUN: &str = "runs/demo";
const BUNDLE: &str = "runs/demo-bundle";
const CONFIG: &str = "configs/emoji.toml";

/// How to run the demo.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Do not serve: classify posts of all three cases in a headless Chromium, and exit with 0 or 1
    #[arg(long)]
    check: bool,
    /// Train again even if nothing changed
    #[arg(long)]
    fresh: bool,
    /// Serve this bundle instead of training one (made by `trainer export`)
    #[arg(long, value_name = "FOLDER")]
    bundle: Option<PathBuf>,
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
    let bundle = match &options.bundle {
        Some(folder) => folder.clone(),
        None => match obtain_posts(&mut steps) {
            Ok(()) => train(&mut steps, options.fresh)?,
            Err(error) if options.check => return Err(error),
            Err(error) => {
                println!("\nNothing can be trained here: {error:#}.");
                println!(
                    "The demo goes on with the classifier that comes with the project, {COMMITTED_BUNDLE}."
                );
                COMMITTED_BUNDLE.into()
            }
        },
    };
    steps.run("build the page", page::build)?;
    page::install_bundle(&bundle)?;
    let server = Server::bind(Path::new(DIST), options.port)?;
    let address = server.address();
    if options.check {
        std::thread::spawn(move || server.serve());
        steps.run("classify in Chromium", || check(&address, &bundle))?;
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
    let stamp = Stamp::of("posts", &["xtask/src/fetch.rs", "trainer/src/data"])?;
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
    let stamp = Stamp::of("train", &[CONFIG, "assets/clip-tiny", POSTS])?;
    if !fresh && stamp.holds(&[RUN, BUNDLE]) {
        steps.skip(
            "train",
            &format!("{RUN} was trained with the same settings and posts; --fresh trains again"),
        );
    } else {
        build_trainer(steps)?;
        steps.run("train", || {
            remove(Path::new(RUN))?;
            call(&mut trainer(&format!(
                "train --config {CONFIG} --out {RUN}"
            )))
        })?;
        steps.run("export the bundle", || {
            remove(Path::new(BUNDLE))?;
            call(&mut trainer(&format!("export {RUN} --out {BUNDLE}")))
        })?;
        stamp.keep()?;
    }
    Ok(BUNDLE.into())
}

fn build_trainer(steps: &mut Steps) -> Result<()> {
    steps.run("build the trainer", || {
        call(&mut command("cargo", "build -p trainer --locked"))
    })
}

/// The trainer as it was built just now.
fn trainer(arguments: &str) -> std::process::Command {
    command(
        &format!("target/debug/trainer{}", std::env::consts::EXE_SUFFIX),
        arguments,
    )
}

/// Posts of all three cases, classified by the page as a visitor would and compared with the trainer.
fn check(address: &str, bundle: &Path) -> Result<()> {
    tools::node()?;
    let chromium = tools::chromium()?;
    tools::browser_tests()?;
    call(
        command("node", "parity.mjs")
            .current_dir(tools::E2E)
            .env("LACUNA_URL", address)
            .env("LACUNA_BUNDLE", fs::canonicalize(bundle)?)
            .env("LACUNA_POSTS", fs::canonicalize(POSTS)?)
            .env("CHROMIUM", chromium),
    )
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}
