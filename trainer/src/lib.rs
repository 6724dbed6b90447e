//! The native program as a library: files, devices, time and terminal around the model of `shared`.

pub mod bounded;
pub mod cli;
pub mod clip_folder;
pub mod data;
pub mod engine;
pub mod loss;
pub mod metrics;
pub mod paper;
pub mod pretrain;
pub mod report;
pub mod settings;
