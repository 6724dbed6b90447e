//! Owns the bundle: a trained classifier as a folder of small verified files, the one thing that the trainer and the
//! browser share besides this crate. `docs/bundle-format.md` describes the files.
//!
//! Bytes in, bytes out: reading and writing files is the caller's. A bundle is folded ([`crate::model::Model::fold`]):
//! what depends on the case alone is a constant in it. Whatever the bytes are, the answer is a classifier or an error.

pub mod assemble;
pub mod calibration;
mod card;
pub mod encode;
pub mod manifest;
pub mod quantize;
mod shard;

pub use assemble::{Assembler, read};
pub use calibration::{Calibration, CaseCalibration};
pub use encode::{Contents, encode};
pub use manifest::{About, Dtype, Figure, FileEntry, FileRole, Manifest};

use sha2::{Digest, Sha256};

use crate::error::Error;

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";
/// The tokenizer's file name.
pub const TOKENIZER: &str = "tokenizer.json";
/// The model card's file name; for people, not part of what is verified and loaded.
pub const CARD: &str = "README.md";

/// The SHA-256 of bytes as 64 lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn error(file: &str, message: impl Into<String>) -> Error {
    Error::Bundle {
        file: file.into(),
        message: message.into(),
    }
}
