//! Owns what training runs on: parameters, optimiser, schedule, checkpoints, and the loop of `trainer train`.
//!
//! Knows nothing of the terminal: what happens is told to [`crate::report::Reporter`].

pub mod adamw;
pub mod ahead;
pub mod assembly;
pub mod atomic;
pub mod background;
pub mod begun;
pub mod calibrate;
pub mod checkpoint;
pub mod dataset;
pub mod device;
pub mod drift;
pub mod evaluate;
pub mod fit;
pub mod frozen;
pub mod group;
pub mod interrupt;
pub mod order;
pub mod parameters;
pub mod pass;
pub mod placed;
pub mod precision;
pub mod run;
pub mod schedule;
pub mod session;
pub mod shown;
pub mod source;
pub mod trust;
