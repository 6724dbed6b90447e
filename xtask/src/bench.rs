//! Owns `cargo xtask bench`: our speed beside a peer's, alternating in one run on one machine, with the ratio.

mod browser;
mod figures;
mod models;
mod native;
mod page;
mod train;

use anyhow::Result;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The image tower on the CPU, f32 and 8 bits, batch 1, beside ONNX Runtime and PyTorch
    Native(native::Options),
    /// CLIP's towers in Chromium, f32 and 8 bits, beside onnxruntime-web
    Browser(browser::Options),
    /// Training steps on the CPU, CLIP ViT-B/16 with DCP, beside PyTorch
    Train(train::Options),
    /// The page, as Lighthouse judges it
    Page(page::Options),
}

/// Runs one benchmark.
///
/// # Errors
/// If the peer is not installed or a side fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.what {
        What::Native(options) => native::run(options),
        What::Browser(options) => browser::run(options),
        What::Train(options) => train::run(options),
        What::Page(options) => page::run(options),
    }
}
