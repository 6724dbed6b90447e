//! All tests that cross crates, in one binary.

// A test that cannot go on fails; helpers between tests are not recognised as tests by the lint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bundle;
mod cli;
mod clip_parity;
mod corpora;
mod cuda;
mod data_sets;
mod dcp_golden;
mod engine;
mod evaluation;
mod experiments;
mod explaining;
mod frozen;
mod gradients;
mod head_golden;
mod head_gradients;
mod layering;
mod limits;
mod losses;
mod metrics_golden;
mod paper;
mod precision;
mod preprocess;
mod prompt_golden;
mod reliability;
mod resume;
mod skipping;
mod teaching;
mod together;
