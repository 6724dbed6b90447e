//! Owns posts on disk: reading them, checking them, taking modalities away, and making batches.

pub mod prepare;
pub mod split;
