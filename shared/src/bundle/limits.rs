//! Owns the limits that a bundle is held to, whoever made it: nothing larger is read, and nothing larger is written.

/// The largest manifest.json, in bytes.
pub const MANIFEST_BYTES: usize = 4 << 20;
/// The largest file of a bundle that is read, in bytes.
pub const FILE_BYTES: u64 = 64_000_000;
/// The largest file that is written: small enough to fetch, verify and cache piece by piece, and so small beside the
/// model that three of them in memory (`web::incoming`) are a sixth of the smallest CLIP in bytes.
pub const WRITTEN_FILE_BYTES: u64 = 8_000_000;
/// The largest header of a safetensors file, in bytes; the rest of a file is weights.
pub const HEADER_BYTES: u64 = 1 << 20;
/// The most files.
pub const FILES: usize = 1 << 10;
/// The most classes.
pub const CLASSES: usize = 1 << 16;
/// The longest file name.
pub const NAME_BYTES: usize = 100;
