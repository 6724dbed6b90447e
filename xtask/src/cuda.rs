//! Owns `cargo xtask cuda`: what the trainer needs to be built for CUDA, where no toolkit is installed, and building it.
//!
//! NVIDIA's compiler and libraries come from the Python package index. A machine that only builds has no driver; a stub
//! stands in for its library, as NVIDIA's own toolkit has one: programs link against it, and load the driver's where
//! there is a GPU.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::stamp::{self, Stamp};
use crate::step::{call, command, output};

/// Where the toolkit is put.
const FOLDER: &str = "target/cuda";
/// Toolkit 13.0 as packages.
const PACKAGES: &str = "nvidia-cuda-nvcc==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-crt==13.0.88 \
                        nvidia-nvvm==13.0.88 nvidia-cuda-cccl==13.0.85 nvidia-cublas==13.0.2.14 \
                        nvidia-curand==10.4.5.25 nvidia-cuda-nvrtc==13.0.88";

/// What joins several GPUs (docs/training-together.md), of the version that cudarc knows.
const NCCL: &str = "nvidia-nccl-cu13==2.30.7";

/// What to do.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A Python with venv and pip
    #[arg(long, default_value = "python3")]
    python: String,
    /// The GPU's compute capability without its point; otherwise that of the GPU here, or 80
    #[arg(long)]
    capability: Option<u32>,
    /// Build also what several GPUs need to train together
    #[arg(long)]
    nccl: bool,
    /// Only prepare, and do not build
    #[arg(long)]
    prepare: bool,
}

/// Prepares a toolkit if none is installed, and builds the trainer for CUDA.
///
/// # Errors
/// If a package cannot be had, or the trainer does not build.
pub(crate) fn run(options: &Options) -> Result<()> {
    let features = if options.nccl { "nccl" } else { "cuda" };
    let build = format!("build -p trainer --features {features} --release --locked");
    let mut build = command("cargo", &build);
    if output(command("nvcc", "--version").env("LC_ALL", "C")).is_ok() {
        println!("    nvcc is on the search path: that toolkit is used");
    } else {
        let environment = prepare(options)?;
        println!("    the environment is in {FOLDER}/environment.sh: `source` it, then");
        println!("    cargo build -p trainer --features {features} --release");
        build.envs(environment);
    }
    if options.prepare {
        return Ok(());
    }
    call(&mut build)?;
    println!("    target/release/trainer doctor tells whether CUDA starts here");
    Ok(())
}

/// The toolkit's folder, and the variables that lead to it.
fn prepare(options: &Options) -> Result<Vec<(&'static str, String)>> {
    let folder = std::env::current_dir()?.join(FOLDER);
    let stamp = Stamp::of("cuda", &["xtask/src/cuda.rs"])?;
    let python = format!("{FOLDER}/python/bin/python");
    if !stamp.holds(&[&python]) {
        call(command(&options.python, "-m venv").arg(folder.join("python")))?;
        let install = "-m pip install --quiet --disable-pip-version-check --no-deps";
        call(command(&python, install).args(PACKAGES.split_whitespace()))?;
        let toolkit = toolkit(&python)?;
        link_libraries(&toolkit)?;
        stub(&toolkit, &folder.join("stub"))?;
        stamp.keep()?;
    }
    let toolkit = toolkit(&python)?;
    let nccl = toolkit.with_file_name("nccl");
    if options.nccl && !nccl.is_dir() {
        let install = "-m pip install --quiet --disable-pip-version-check --no-deps";
        call(command(&python, install).arg(NCCL))?;
        link_libraries(&nccl)?;
    }
    let (toolkit, nccl) = (toolkit.display().to_string(), nccl.join("lib"));
    let nccl = match nccl.is_dir() {
        true => format!(":{}", nccl.display()),
        false => String::new(),
    };
    let library = format!("{toolkit}/lib:{}{nccl}", folder.join("stub").display());
    let capability = match options.capability {
        Some(capability) => capability.to_string(),
        None => capability_here().unwrap_or_else(|| "80".into()),
    };
    let path = std::env::var("PATH").unwrap_or_default();
    let variables = vec![
        ("CUDA_HOME", toolkit.clone()),
        ("CUDA_PATH", toolkit.clone()),
        ("CUDA_COMPUTE_CAP", capability),
        ("LIBRARY_PATH", library),
        ("LD_LIBRARY_PATH", format!("{toolkit}/lib{nccl}")),
        ("PATH", format!("{toolkit}/bin:{path}")),
    ];
    let mut script = String::from("# Made by `cargo xtask cuda`; source it in bash.\n");
    for (name, value) in &variables {
        let value = if *name == "PATH" {
            format!("{toolkit}/bin:$PATH")
        } else {
            value.clone()
        };
        script += &format!("export {name}=\"{value}\"\n");
    }
    stamp::write(&folder.join("environment.sh"), script.as_bytes())?;
    Ok(variables)
}

/// Where the packages have put the toolkit.
fn toolkit(python: &str) -> Result<PathBuf> {
    let place = "import sysconfig; print(sysconfig.get_paths()['purelib'])";
    let packages = output(command(python, "").args(["-c", place]))?;
    let toolkit = Path::new(packages.trim()).join("nvidia/cu13");
    if !toolkit.join("bin/nvcc").is_file() {
        bail!("the packages brought no {}/bin/nvcc", toolkit.display());
    }
    Ok(toolkit)
}

/// Compilers look for libraries without a version in their name, and some for a folder lib64.
fn link_libraries(toolkit: &Path) -> Result<()> {
    let library = toolkit.join("lib");
    for entry in fs::read_dir(&library).context("the toolkit has no libraries")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some((plain, _)) = name.split_once(".so.") {
            link(&name, &library.join(format!("{plain}.so")))?;
        }
    }
    link("lib", &toolkit.join("lib64"))
}

fn link(to: &str, at: &Path) -> Result<()> {
    if at.symlink_metadata().is_ok() {
        return Ok(());
    }
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(to, at);
    #[cfg(not(unix))]
    let linked = Err(std::io::Error::other("only Linux has the packages"));
    linked.with_context(|| format!("cannot link {} to {to}", at.display()))
}

/// A library with the names of the driver's functions, each of which says that it is a stub.
fn stub(toolkit: &Path, folder: &Path) -> Result<()> {
    let header = toolkit.join("include/cuda.h");
    let header =
        fs::read_to_string(&header).with_context(|| format!("cannot read {}", header.display()))?;
    let mut source = String::from("/* CUDA_ERROR_STUB_LIBRARY */\n");
    for name in functions(&header) {
        source += &format!("int {name}(void) {{ return 34; }}\n");
    }
    let file = folder.join("cuda.c");
    stamp::write(&file, source.as_bytes())?;
    let library = folder.join("libcuda.so");
    let mut compile = command(
        "cc",
        "-shared -fPIC -w -fno-builtin -Wl,-soname,libcuda.so.1 -o",
    );
    call(compile.arg(library).arg(file)).context("the stub needs a C compiler, as nvcc does")
}

/// The names of the driver's functions in its header, and the versioned ones that these stand for.
fn functions(header: &str) -> BTreeSet<&str> {
    let is_name = |name: &str| {
        let rest = name.strip_prefix("cu").unwrap_or_default();
        rest.starts_with(|first: char| first.is_ascii_uppercase())
            && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut names = BTreeSet::new();
    for line in header.lines() {
        if let Some(defined) = line.trim().strip_prefix("#define ") {
            names.extend(defined.split_whitespace().nth(1));
        } else if let Some((before, _)) = line.split_once('(') {
            names.extend(before.split_whitespace().last());
        }
    }
    names.retain(|name| is_name(name));
    names
}

/// The compute capability of this machine's first GPU, such as 90.
fn capability_here() -> Option<String> {
    let query = "--query-gpu=compute_cap --format=csv,noheader";
    let said = output(&mut command("nvidia-smi", query)).ok()?;
    Some(said.lines().next()?.trim().replace('.', ""))
}

#[cfg(test)]
mod tests {
    use super::functions;

    #[test]
    fn functions_and_their_versions_are_found() {
        let header = "#define cuMemAlloc    cuMemAlloc_v2\n\
                      #define CUDA_VERSION 13000\n\
                      CUresult CUDAAPI cuInit(unsigned int Flags);\n\
                      typedef void (*CUhostFn)(void *userData);\n";
        let found: Vec<_> = functions(header).into_iter().collect();
        assert_eq!(found, ["cuInit", "cuMemAlloc_v2"]);
    }
}
