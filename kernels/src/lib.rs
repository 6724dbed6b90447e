//! The loops of inference: flat slices in, flat slices out. No tensors, no models, no files.
//!
//! Everything is made for one post at a time, as it happens in a visitor's browser: a matrix's weights are packed once
//! for the instruction set at hand ([`product`]), and no call allocates anything that its caller could keep.

pub mod attention;
mod buffer;
pub mod choice;
pub mod exp;
pub mod gelu;
pub mod norm;
pub mod parallel;
pub mod product;
mod tile;
