//! Owns how much may be given at once, so that a mistaken file ends with a sentence and not with a full memory.

/// Posts of a batch, and files of a folder.
pub(super) const POSTS: usize = 200_000;
/// A line of a table, in bytes; one whose quote is not closed would be as long as the file.
pub(super) const LINE: usize = 1 << 18;
/// Columns of a table.
pub(super) const COLUMNS: usize = 1 << 10;
/// What is read of a table at a stretch, in bytes: a few milliseconds of work.
pub(super) const SLICE: f64 = 65_536.0;
