//! Owns posts on disk: reading them, checking them, taking modalities away, and making batches.

pub mod check;
pub mod cpython;
pub mod format;
pub mod loader;
pub mod missing;
pub mod pictures;
pub mod prepare;
pub mod record;
pub mod split;
pub mod synthetic;
