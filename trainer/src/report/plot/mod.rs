//! Owns pictures of results, as SVG: bars with error bars, lines, box plots. Light background, colours that colour-blind
//! readers can tell apart, and a second sign (order or marker) wherever a colour has a meaning.

mod axis;
pub mod bars;
pub mod boxes;
mod frame;
pub mod lines;

pub use bars::Bars;
pub use boxes::Boxes;
pub use lines::Lines;

use anyhow::{Result, ensure};

/// Checks that each series has a value (which may be missing, not finite or empty) for each group.
fn same_length<T>(title: &str, groups: &[String], series: &[(String, Vec<T>)]) -> Result<()> {
    for (name, values) in series {
        ensure!(
            values.len() == groups.len(),
            "the plot {title:?} has {} groups, but its series {name:?} has {} values; give one for each group, \
             NaN or an empty list where there is none",
            groups.len(),
            values.len()
        );
    }
    Ok(())
}
