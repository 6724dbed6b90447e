//! All tests that cross crates, in one binary.

mod bundle;
mod cli;
mod dcp_golden;
mod gradients;
mod layering;
mod losses;
mod resume;
