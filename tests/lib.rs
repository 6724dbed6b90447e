//! Helpers for tests.

pub mod layouts;
pub mod tiny;
