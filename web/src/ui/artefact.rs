//! Owns the choice among the worker's artefacts: what this browser runs, and what is next if one cannot start.

use js_sys::{Reflect, Uint8Array, WebAssembly};

use crate::protocol::Artefact;

/// A module with one function that does nothing but multiply with a relaxed instruction: valid where there are such
/// instructions. It was written by hand; each line is one section of the binary format.
#[rustfmt::skip]
const RELAXED: [u8; 40] = [
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // "\0asm", version 1
    0x01, 0x04, 0x01, 0x60, 0x00, 0x00, // types: one, nothing to nothing
    0x03, 0x02, 0x01, 0x00, // functions: one of that type
    0x0a, 0x14, 0x01, 0x12, 0x00, // code: one body of 18 bytes without locals
    0x41, 0x00, 0xfd, 0x0f, // i32.const 0, i8x16.splat
    0x41, 0x00, 0xfd, 0x0f,
    0x41, 0x00, 0xfd, 0x0f,
    0xfd, 0x93, 0x02, // i32x4.relaxed_dot_i8x16_i7x16_add_s
    0x1a, 0x0b, // drop, end
];

/// The fastest artefact that this browser runs.
pub fn best() -> Artefact {
    let relaxed = WebAssembly::validate(&Uint8Array::from(&RELAXED[..])).unwrap_or(false);
    if !relaxed {
        return Artefact::Baseline;
    }
    let global = js_sys::global();
    let has = |name: &str| Reflect::get(&global, &name.into()).unwrap_or_default();
    let shares = has("crossOriginIsolated").is_truthy() && has("SharedArrayBuffer").is_function();
    let cores = Reflect::get(&has("navigator"), &"hardwareConcurrency".into())
        .ok()
        .and_then(|cores| cores.as_f64());
    // With one thread a shared memory is only slower.
    if shares && cores.is_some_and(|cores| cores >= 2.0) {
        Artefact::Threads
    } else {
        Artefact::Relaxed
    }
}

/// What to start in place of an artefact that did not start, if there is anything. The relaxed instructions were tried
/// before; threads fail for want of memory, or because something forbids workers.
pub fn instead_of(artefact: Artefact) -> Option<Artefact> {
    (artefact == Artefact::Threads).then_some(Artefact::Relaxed)
}
