//! Owns what is tried of the page's own tables: a file gives the same records however it is cut into pieces.

use web::table::{Csv, Flaw, Lines, Record};

use super::choice;

/// Reads a file whole and in pieces, as CSV and as lines.
pub fn run(bytes: &[u8]) {
    let (piece, file) = choice(bytes);
    let piece = piece % 32 + 1;
    assert_eq!(csv(file, piece), csv(file, file.len().max(1)));
    assert_eq!(lines(file, piece), lines(file, file.len().max(1)));
}

fn csv(file: &[u8], piece: usize) -> Result<Vec<Record>, Flaw> {
    let (mut csv, mut records) = (Csv::default(), Vec::new());
    for piece in file.chunks(piece) {
        csv.feed(piece, &mut records)?;
    }
    csv.end(&mut records)?;
    Ok(records)
}

fn lines(file: &[u8], piece: usize) -> Vec<(u64, Option<String>)> {
    let (mut lines, mut found) = (Lines::default(), Vec::new());
    let mut take = |number, line: web::table::Line<'_>| {
        found.push((number, line.ok().map(str::to_owned)));
    };
    for piece in file.chunks(piece) {
        lines.feed(piece, &mut take);
    }
    lines.end(&mut take);
    found
}
