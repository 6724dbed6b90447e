//! Owns the file that lessons are kept in: JSON, tied to one bundle, and checked as if a stranger had written it.

use serde::{Deserialize, Serialize};

use super::{Learnt, Taught, check_name};
use crate::error::{Error, Result};
use crate::head::prototype::SETS;
use crate::head::taught::Examples;
use crate::limits::{EXAMPLES, LESSONS_BYTES, TAUGHT_CLASSES};

/// The value of `format` in every file.
const FORMAT: &str = "lacuna-lessons";
/// The newest version that this program reads and writes.
const VERSION: u32 = 1;

/// What tells how to read the rest.
#[derive(Deserialize)]
struct Seal {
    format: String,
    version: u32,
}

/// All of it.
#[derive(Serialize, Deserialize)]
struct Kept {
    format: String,
    version: u32,
    /// The checksum of the bundle's manifest.
    bundle: String,
    /// Names of the bundle's classes, and what they are called now.
    renamed: Vec<(String, String)>,
    classes: Vec<KeptClass>,
}

/// A taught class.
#[derive(Serialize, Deserialize)]
struct KeptClass {
    name: String,
    /// By case code.
    examples: [u32; 3],
    /// In the order of [`SETS`]: `[D]` values of f32, least byte first, as hexadecimal digits; none without posts.
    sums: [Option<String>; 4],
}

/// The file of these lessons.
///
/// # Errors
/// If they cannot be written as JSON.
pub(super) fn write(learnt: &Learnt) -> Result<String> {
    let class = |taught: &Taught| KeptClass {
        name: taught.name.clone(),
        examples: taught.examples,
        sums: taught.sums.totals().map(|total| total.map(digits)),
    };
    let kept = Kept {
        format: FORMAT.into(),
        version: VERSION,
        bundle: learnt.bundle.clone(),
        renamed: learnt.renamed(),
        classes: learnt.taught.iter().map(class).collect(),
    };
    serde_json::to_string(&kept).map_err(|e| Error::Input(format!("lessons: {e}")))
}

/// The lessons of a file of any origin, for the bundle of `blank` with features of `width` D.
///
/// # Errors
/// If it is no file of lessons, of a newer version, of another bundle, or has what cannot have been taught.
pub(super) fn read(file: &str, blank: Learnt, width: usize) -> Result<Learnt> {
    if file.len() > LESSONS_BYTES {
        return Err(refused(format!(
            "has {} bytes; a file of lessons has at most {LESSONS_BYTES}",
            file.len()
        )));
    }
    let malformed = |e: serde_json::Error| refused(format!("is no file of lessons ({e})"));
    let seal: Seal = serde_json::from_str(file).map_err(malformed)?;
    if seal.format != FORMAT {
        return Err(refused(format!(
            "is no file of lessons: its format is {:?} instead of {FORMAT:?}",
            seal.format
        )));
    }
    if seal.version > VERSION {
        return Err(refused(format!(
            "is of version {}, newer than this program, which reads versions up to {VERSION}; update the program",
            seal.version
        )));
    }
    let kept: Kept = serde_json::from_str(file).map_err(malformed)?;
    if kept.bundle != blank.bundle {
        return Err(refused(
            "belongs to another classifier; lessons are of use only to the very bundle that was taught",
        ));
    }
    if kept.classes.len() > TAUGHT_CLASSES {
        return Err(refused(format!(
            "has {} classes; at most {TAUGHT_CLASSES} are read",
            kept.classes.len()
        )));
    }
    let mut learnt = blank;
    for (original, now) in kept.renamed {
        check_name(&now)?;
        let place = learnt.original.iter().position(|own| *own == original);
        let place = place.ok_or_else(|| {
            refused(format!(
                "renames {original:?}, which is no class of the classifier"
            ))
        })?;
        learnt.names[place] = now;
    }
    for class in kept.classes {
        check_name(&class.name)?;
        learnt.names.push(class.name.clone());
        learnt.taught.push(taught(class, width)?);
    }
    let mut names: Vec<&String> = learnt.names.iter().collect();
    names.sort();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(refused(format!("calls two classes {:?}", pair[0])));
    }
    Ok(learnt)
}

fn taught(class: KeptClass, width: usize) -> Result<Taught> {
    let KeptClass {
        name,
        examples,
        sums,
    } = class;
    let most = examples.iter().max().copied().unwrap_or_default();
    if most == 0 || most > EXAMPLES {
        return Err(refused(format!(
            "the class {name:?} has {examples:?} examples; it needs one, and can have {EXAMPLES} of a case"
        )));
    }
    let mut totals = [None, None, None, None];
    for ((total, digits), set) in totals.iter_mut().zip(&sums).zip(&SETS) {
        let short = |_| {
            refused(format!(
                "the class {name:?} has a damaged sum in {}",
                set.name
            ))
        };
        let digits = digits
            .as_deref()
            .map(|digits| values(digits, width).ok_or(()));
        *total = digits.transpose().map_err(short)?;
    }
    let sums = Examples::of(examples, totals).ok_or_else(|| {
        refused(format!(
            "the sums of the class {name:?} are not those of {examples:?} examples"
        ))
    })?;
    Ok(Taught {
        name,
        examples,
        sums,
    })
}

fn digits(values: &[f32]) -> String {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// So many finite values; nothing for other digits.
fn values(digits: &str, width: usize) -> Option<Vec<f32>> {
    let digits = digits.as_bytes();
    if digits.len() != 8 * width {
        return None;
    }
    let digit = |c: u8| char::from(c).to_digit(16).map(|digit| digit as u8);
    let value = |digits: &[u8]| {
        let mut bytes = [0; 4];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(f32::from_le_bytes(bytes)).filter(|value| value.is_finite())
    };
    digits.chunks_exact(8).map(value).collect()
}

fn refused(what: impl AsRef<str>) -> Error {
    Error::Input(format!("the file of lessons: {}", what.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_bit_for_bit() {
        let all = [0.1f32, -1.5e-39, f32::MAX, 0.0, -0.0];
        let kept = values(&digits(&all), 5).unwrap();
        assert!(
            kept.iter()
                .zip(&all)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
        for bad in [
            digits(&[f32::NAN]),
            digits(&[f32::INFINITY]),
            "0000000g".into(),
            "+0000000".into(),
            "é00000".into(),
            "00".into(),
        ] {
            assert_eq!(values(&bad, 1), None, "{bad}");
        }
    }
}
