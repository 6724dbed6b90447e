//! Owns the reading of tables of posts, whoever wrote them: bytes in pieces become records, within limits and without the
//! browser's help.

mod csv;
mod lines;
mod record;

pub use csv::Csv;
pub use lines::{Line, Lines};
pub use record::{BETWEEN, FIELDS, Fault, Flaw, Record};
