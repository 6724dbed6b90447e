//! The model of Lacuna: a CLIP with missing-case-aware prompts and a decoupled prototype head, and all that must be
//! the same where it is trained and where it runs: preprocessing, tokens, cases, the bundle.
//!
//! Pure: no files, threads, clock, network or printing; native and `wasm32-unknown-unknown`.

pub mod bundle;
pub mod case;
pub mod clip;
pub mod config;
pub mod error;
pub mod head;
pub mod infer;
pub mod limits;
pub mod model;
pub mod nn;
pub mod parameter;
pub mod predict;
pub mod preprocess;
pub mod prompt;
pub mod rng;

pub use case::{Case, Modality};
pub use error::{Error, Result};
