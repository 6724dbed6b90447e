//! The page's widgets, one a file, the state they share, and the one place where they meet.

pub mod answer;
pub mod artefact;
pub mod bench;
pub mod client;
pub mod dom;
mod drop;
mod files;
mod many;
pub mod model;
pub mod network;
pub mod notice;
mod numbers;
pub mod page;
pub mod progress;
mod views;
mod words;
