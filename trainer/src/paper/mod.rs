//! Owns the paper's experiments: a grid of cells, each trained once, and the tables and figures made of what they stored.
//!
//! A cell keeps the logits of every validation and test post in every case, so that any metric, missing table, threshold
//! or interval is computed later without the model. `docs/paper.md` has the commands.

pub mod cell;
pub mod charts;
pub mod efficiency;
pub mod estimate;
pub mod known;
pub mod outcome;
pub mod pages;
pub mod plan;
pub mod published;
pub mod record;
pub mod runner;
pub mod study;
pub mod tables;
