//! Helpers for tests.

pub mod hostile;
pub mod layouts;
pub mod tiny;
