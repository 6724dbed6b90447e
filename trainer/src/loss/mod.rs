//! Owns the losses of classifiers.

pub mod arcface;
pub mod bce;
pub mod cross_entropy;
pub mod supcon;
