//! Owns `trainer doctor`: what this machine and this build can do, and what is missing for CUDA.

use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use crate::report::table::Table;

/// Says what this machine and this build can do.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The findings.
#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    candle: &'static str,
    system: String,
    build: &'static str,
    threads: usize,
    simd: Vec<&'static str>,
    allocator: &'static str,
    cuda_feature: bool,
    /// What joins processes that train together.
    joins: Vec<&'static str>,
    devices: Vec<String>,
    nvidia_driver: Option<String>,
    nvcc: Option<String>,
    advice: Vec<String>,
}

/// Runs the subcommand.
///
/// # Errors
/// If the findings cannot be printed.
pub fn run(args: &Args) -> Result<()> {
    let findings = look();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
        return Ok(());
    }
    let mut table = Table::new(&["trainer", findings.version]);
    let or_none = |found: &Option<String>| found.clone().unwrap_or_else(|| "none".into());
    for (name, value) in [
        ("candle", findings.candle.to_owned()),
        ("system", findings.system.clone()),
        ("build", findings.build.to_owned()),
        ("CPU threads", findings.threads.to_string()),
        ("SIMD", findings.simd.join(" ")),
        ("allocator", findings.allocator.to_owned()),
        (
            "built with CUDA",
            if findings.cuda_feature { "yes" } else { "no" }.to_owned(),
        ),
        (
            "processes joined by",
            match findings.joins.as_slice() {
                [] => "nothing (--features nccl, mpi)".into(),
                joins => joins.join(", "),
            },
        ),
        ("devices", findings.devices.join(", ")),
        ("NVIDIA driver", or_none(&findings.nvidia_driver)),
        ("nvcc", or_none(&findings.nvcc)),
    ] {
        table.row([name.to_owned(), value]);
    }
    print!("{table}");
    for advice in &findings.advice {
        println!("- {advice}");
    }
    Ok(())
}

fn look() -> Findings {
    let driver = first_line(
        "nvidia-smi",
        &[
            "--query-gpu=name,driver_version,memory.total",
            "--format=csv,noheader",
        ],
    );
    let nvcc = last_line("nvcc", &["--version"]);
    let cuda_feature = cfg!(feature = "cuda");
    let mut devices = vec!["cpu".to_owned()];
    let mut advice = Vec::new();
    match (cuda_feature, candle_core::Device::new_cuda(0)) {
        (true, Ok(_)) => devices.push("cuda:0".into()),
        (true, Err(error)) => {
            // The rest of it is a trace through the library.
            let error = error.to_string();
            let first = error.lines().next().unwrap_or_default();
            advice.push(format!("CUDA does not start: {first}"));
        }
        (false, _) => {}
    }
    if driver.is_some() && !cuda_feature {
        advice.push(
            "there is an NVIDIA GPU: build with `cargo build --release -p trainer --features cuda`"
                .into(),
        );
    }
    if driver.is_none() {
        advice.push(
            "for CUDA: an NVIDIA GPU with its driver (`nvidia-smi` was not found or found none)"
                .into(),
        );
    }
    if nvcc.is_none() {
        advice.push(
            "for CUDA: the toolkit 12 or 13 with `nvcc` on the PATH; in the project's folder `cargo xtask cuda` gets one \
             and builds with it"
                .into(),
        );
    }
    if cfg!(debug_assertions) {
        advice.push(
            "this is a development build; `cargo build --release -p trainer` is somewhat faster"
                .into(),
        );
    }
    Findings {
        version: env!("CARGO_PKG_VERSION"),
        candle: "0.11.1",
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        build: if cfg!(debug_assertions) {
            "development"
        } else {
            "release"
        },
        threads: rayon::current_num_threads(),
        simd: simd(),
        allocator: "mimalloc",
        cuda_feature,
        joins: [
            ("NCCL", cfg!(feature = "nccl")),
            ("MPI", cfg!(feature = "mpi")),
        ]
        .into_iter()
        .filter_map(|(name, built)| built.then_some(name))
        .collect(),
        devices,
        nvidia_driver: driver,
        nvcc,
        advice,
    }
}

/// The vector instructions that the kernels choose from at run time.
fn simd() -> Vec<&'static str> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        for (name, is) in [
            ("avx", is_x86_feature_detected!("avx")),
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
        ] {
            if is {
                found.push(name);
            }
        }
    }
    if cfg!(target_arch = "aarch64") {
        found.push("neon");
    }
    if found.is_empty() {
        found.push("none");
    }
    found
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    output(program, arguments)?
        .lines()
        .next()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
}

fn last_line(program: &str, arguments: &[&str]) -> Option<String> {
    output(program, arguments)?
        .lines()
        .last()
        .map(|line| line.trim().to_owned())
}
