//! Helpers for tests.

pub mod tiny;
