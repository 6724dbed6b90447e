//! Owns the building of the worker: one program as three artefacts, from what every browser runs to what is fastest.
//! Trunk builds everything with the same flags, so these are built here and Trunk copies them.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::folders;
use crate::stamp::Stamp;
use crate::step::{call, command, human};
use crate::tools;

/// Where the artefacts are left; index.html names it too.
pub(crate) const FOLDER: &str = "target/workers";
/// WebAssembly has target folders of its own, so that it never waits for, or throws away, native work.
pub(crate) const TARGET_DIR: &str = "target/wasm";
/// The artefact with threads brings its own standard library, and some build scripts look at `RUSTC_BOOTSTRAP`: in one
/// folder the artefacts would throw each other's packages away.
const THREADS_TARGET_DIR: &str = "target/wasm-threads";
/// `f32x4.mul`: without it the compiler was told nothing of SIMD, and the page would be several times slower.
const SIMD_MULTIPLY: [u8; 3] = [0xfd, 0xe6, 0x01];

/// How functions of the tensor library are called where names are left in. Inference needs none of them, and they would
/// make the worker a sixth larger; one careless reference brings them back.
const TENSOR_LIBRARY: &[u8] = b"candle_core";

/// Everything that the worker is made of.
const INPUTS: [&str; 12] = [
    "Cargo.toml",
    "Cargo.lock",
    ".cargo/config.toml",
    "rust-toolchain.toml",
    "web/Cargo.toml",
    "web/src",
    "shared/Cargo.toml",
    "shared/src",
    "kernels/Cargo.toml",
    "kernels/src",
    "xtask/src/artefacts.rs",
    "xtask/src/folders.rs",
];

/// One build of the worker.
struct Artefact {
    /// Its name in addresses, and in `web::protocol::Artefact`.
    name: &'static str,
    features: &'static str,
    /// On a memory that threads share.
    threads: bool,
}

const ARTEFACTS: [Artefact; 3] = [
    Artefact {
        name: "baseline",
        features: "+simd128",
        threads: false,
    },
    Artefact {
        name: "relaxed",
        features: "+simd128,+relaxed-simd",
        threads: false,
    },
    Artefact {
        name: "threads",
        features: "+simd128,+relaxed-simd,+atomics,+bulk-memory,+mutable-globals",
        threads: true,
    },
];

/// A memory that is shared must name its largest size. This is all that 32 bits can address; a browser only reserves it,
/// and one that cannot falls back to the artefact without threads.
const LARGEST_MEMORY: u64 = 1 << 32;
/// What wasm-bindgen needs to give each thread a stack and variables of its own.
const THREAD_SYMBOLS: [&str; 5] = [
    "__heap_base",
    "__wasm_init_tls",
    "__tls_size",
    "__tls_align",
    "__tls_base",
];

/// Builds all artefacts; does nothing if they are up to date. Where the compiler has no sources of the standard library
/// and cannot get them, the one with threads is left out: the page then computes on one thread.
///
/// # Errors
/// If a tool is missing, a build fails, or a result has no SIMD or a tensor library.
pub(crate) fn build() -> Result<()> {
    let stamp = Stamp::of("workers", &INPUTS)?;
    let last = format!("{FOLDER}/threads_bg.wasm");
    if stamp.holds(&[&last]) {
        println!("    {FOLDER}/ is up to date");
        return Ok(());
    }
    tools::rust_target("wasm32-unknown-unknown")?;
    tools::bindings_builder()?;
    if Path::new(FOLDER).exists() {
        fs::remove_dir_all(FOLDER).with_context(|| format!("cannot remove {FOLDER}"))?;
    }
    for artefact in &ARTEFACTS {
        if artefact.threads
            && let Err(error) = tools::rust_sources()
        {
            println!("    the page will compute on one thread: {error:#}");
            continue;
        }
        artefact.build()?;
    }
    stamp.keep()
}

impl Artefact {
    fn build(&self) -> Result<()> {
        let start = Instant::now();
        let folder = std::env::current_dir()?.join(if self.threads {
            THREADS_TARGET_DIR
        } else {
            TARGET_DIR
        });
        let arguments =
            "build -p web --bin worker --profile web --target wasm32-unknown-unknown --locked";
        let mut cargo = command("cargo", arguments);
        cargo
            .env("CARGO_TARGET_DIR", &folder)
            .env("RUSTFLAGS", self.flags() + &folders::renamed()?)
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        if self.threads {
            // The compiled standard library has no atomics, and building it is not a stable feature of cargo. The
            // compiler is the stable one all the same.
            cargo
                .arg("-Zbuild-std=std,panic_abort")
                .env("RUSTC_BOOTSTRAP", "1");
        }
        call(&mut cargo)?;
        let program = folder.join("wasm32-unknown-unknown/web/worker.wasm");
        let bind = format!(
            "--target web --no-typescript --remove-name-section --remove-producers-section \
             --out-dir {FOLDER} --out-name {}",
            self.name
        );
        let named = fs::read(&program).with_context(|| format!("cannot read {program:?}"))?;
        if holds(&named, TENSOR_LIBRARY) {
            bail!("the worker links the tensor library; what does inference use of it now?");
        }
        call(
            command("wasm-bindgen", &bind)
                .arg(program)
                .env("PATH", tools::search_path()?),
        )?;
        self.check(start)
    }

    fn flags(&self) -> String {
        // As in .cargo/config.toml, which is not read where RUSTFLAGS is set.
        let mut flags = format!(
            "-C target-feature={} -C llvm-args=-disable-lsr",
            self.features
        );
        if self.threads {
            flags += " -C link-arg=--shared-memory -C link-arg=--import-memory";
            flags += &format!(" -C link-arg=--max-memory={LARGEST_MEMORY}");
            for symbol in THREAD_SYMBOLS {
                flags += &format!(" -C link-arg=--export={symbol}");
            }
        }
        flags
    }

    /// Looks for SIMD multiplications in the built WebAssembly.
    fn check(&self, start: Instant) -> Result<()> {
        let path = format!("{FOLDER}/{}_bg.wasm", self.name);
        let code = fs::read(&path).with_context(|| format!("cannot read {path}"))?;
        if !holds(&code, &SIMD_MULTIPLY) {
            bail!("{path} uses no SIMD; does something outside set the build's target features?");
        }
        println!(
            "    {path} {} bytes, {}",
            code.len(),
            human(start.elapsed())
        );
        Ok(())
    }
}

fn holds(code: &[u8], wanted: &[u8]) -> bool {
    code.windows(wanted.len()).any(|bytes| bytes == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_threads_share_their_memory() {
        for artefact in &ARTEFACTS {
            let flags = artefact.flags();
            assert!(flags.contains("+simd128"), "{flags}");
            assert_eq!(
                flags.contains("--shared-memory"),
                artefact.name == "threads"
            );
        }
    }
}
