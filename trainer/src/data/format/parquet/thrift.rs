//! Owns as much of Thrift's compact form as tells how much memory a Parquet file asks for.

use std::io::{self, Read};

use shared::limits::COLUMN_DEPTH;

/// How deep records and lists are nested in what Parquet describes; it needs half of that.
const DEPTH: usize = 16;

/// What a field or an item is in Thrift's compact form.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I8: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const RECORD: u8 = 12;

/// What a field must be, with the kind of its items if it is a list: the library reads the fields that it knows as these,
/// whatever they say they are, and where that differs it takes the bytes that follow for something else.
type Kind = (u8, u8);

/// What a field with these numbers must be, those of the records around it first; nothing for one that nobody knows, which
/// the library skips as what it says it is.
type Known = fn(&[i64]) -> Option<Kind>;

/// Of a file's description.
fn in_description(place: &[i64]) -> Option<Kind> {
    let kind = match place {
        [1] | [2, 1..=3 | 5..=9] => (I32, 0),
        [2 | 4 | 5 | 7] | [4, 1 | 4] | [4, 1, 3, 8 | 13] => (LIST, RECORD),
        [3] | [4, 2 | 3 | 5 | 6] | [4, 1, 2 | 4 | 6] => (I64, 0),
        [6 | 9] | [2, 4] | [5, _] | [4, 1, 1 | 9] | [4, 1, 3, 8, _] => (BINARY, 0),
        [8] | [2, 10] | [7, _] | [4, 1, 3 | 8] | [4, 1, 3, 12 | 16 | 17] => (RECORD, 0),
        // Logical types, each a record, and what is in them.
        [2, 10, _] | [2, 10, 7 | 8, 2] | [2, 10, 7 | 8, 2, _] => (RECORD, 0),
        [2, 10, 5, _] | [2, 10, 18, 2] => (I32, 0),
        [2, 10, 7 | 8, 1] | [2, 10, 10, 2] => (TRUE, 0),
        [2, 10, 10 | 16, 1] => (I8, 0),
        [2, 10, 17 | 18, 1] => (BINARY, 0),
        [4, 7] => (I16, 0),
        [4, 4, 1] | [4, 1, 5 | 7] | [4, 1, 3, 1 | 4 | 15] | [4, 1, 3, 13, _] => (I32, 0),
        [4, 4, 2 | 3] => (TRUE, 0),
        [4, 1, 3, 2] | [4, 1, 3, 17, 2] => (LIST, I32),
        [4, 1, 3, 3] => (LIST, BINARY),
        [4, 1, 3, 5..=7 | 9..=11 | 14] | [4, 1, 3, 16, 1] => (I64, 0),
        [4, 1, 3, 16, 2 | 3] => (LIST, I64),
        [4, 1, 3, 17, 1] => (RECORD, 0),
        [4, 1, 3, 17, 1, _] => (DOUBLE, 0),
        [4, 1, 3, 12, within] => return in_statistics(*within),
        _ => return None,
    };
    Some(kind)
}

/// Of the head of a page.
fn in_page(place: &[i64]) -> Option<Kind> {
    let kind = match place {
        [1..=4] | [5, 1..=4] | [6, _] | [7, 1 | 2] | [8, 1..=6] => (I32, 0),
        [5..=8] | [5, 5] | [8, 8] => (RECORD, 0),
        [7, 3] | [8, 7] => (TRUE, 0),
        [5, 5, within] | [8, 8, within] => return in_statistics(*within),
        _ => return None,
    };
    Some(kind)
}

fn in_statistics(field: i64) -> Option<Kind> {
    match field {
        1 | 2 | 5 | 6 => Some((BINARY, 0)),
        3 | 4 => Some((I64, 0)),
        7 | 8 => Some((TRUE, 0)),
        _ => None,
    }
}

/// What the head of a page says of sizes: its fields 2 and 3, and of a page of the second version, which is field 8, its
/// fields 5 and 6.
#[derive(Default)]
pub(super) struct Page {
    pub(super) unpacked: i64,
    pub(super) packed: i64,
    /// What stands in front of what is packed.
    pub(super) levels: i64,
}

impl Page {
    pub(super) fn read(reader: &mut impl Read) -> io::Result<Self> {
        let mut page = Self::default();
        record(
            reader,
            &mut Vec::new(),
            in_page,
            &mut |place, value| match place {
                [2] => page.unpacked = value,
                [3] => page.packed = value,
                [8, 5 | 6] => page.levels = page.levels.saturating_add(value),
                _ => {}
            },
        )?;
        Ok(page)
    }
}

/// Walks over a file's description, so that every list is known to be as long as it says, and over the tree of its
/// columns, which the library reads by calling itself: field 2 is their list, and field 5 of each the number of its own.
pub(super) fn description(reader: &mut impl Read) -> io::Result<()> {
    let mut number = 0;
    while let Some(kind) = field(reader, &mut number)? {
        let place = &mut vec![number];
        if number == 2 && kind == LIST {
            columns(reader, place)?;
        } else {
            check(in_description(place), kind)?;
            value(reader, kind, place, in_description, &mut |_, _| {})?;
        }
    }
    Ok(())
}

fn columns(reader: &mut impl Read, place: &mut Vec<i64>) -> io::Result<()> {
    let (count, kind) = list(reader)?;
    // How many columns are still to come within each that has some.
    let mut open: Vec<i64> = Vec::new();
    for _ in 0..count {
        if kind != RECORD {
            return Err(damaged());
        }
        let mut own = 0;
        record(reader, place, in_description, &mut |place, value| {
            if place == [2, 5] {
                own = value;
            }
        })?;
        if let Some(last) = open.last_mut() {
            *last -= 1;
        }
        if own > 0 {
            open.push(own);
        }
        // The root is no column.
        if open.len() > COLUMN_DEPTH + 1 {
            return Err(io::Error::other("its columns are nested too deeply"));
        }
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    Ok(())
}

/// The next field's kind, and its number; nothing at the record's end.
fn field(reader: &mut impl Read, number: &mut i64) -> io::Result<Option<u8>> {
    let head = byte(reader)?;
    if head == 0 {
        return Ok(None);
    }
    *number = match head >> 4 {
        0 => signed(reader)?,
        step => number.wrapping_add(i64::from(step)),
    };
    Ok(Some(head & 15))
}

/// How many items a list has, and of which kind.
fn list(reader: &mut impl Read) -> io::Result<(u64, u8)> {
    let head = byte(reader)?;
    let count = match head >> 4 {
        15 => unsigned(reader)?,
        few => u64::from(few),
    };
    Ok((count, head & 15))
}

/// Whether a field is what it must be.
fn check(known: Option<Kind>, kind: u8) -> io::Result<()> {
    match known {
        Some((TRUE, _)) if kind == FALSE => Ok(()),
        Some((must, _)) if kind != must => Err(damaged()),
        _ => Ok(()),
    }
}

/// Reads a record to its end; `take` hears of its whole numbers and of those within it.
fn record(
    reader: &mut impl Read,
    place: &mut Vec<i64>,
    known: Known,
    take: &mut dyn FnMut(&[i64], i64),
) -> io::Result<()> {
    if place.len() > DEPTH {
        return Err(damaged());
    }
    let mut number = 0;
    while let Some(kind) = field(reader, &mut number)? {
        place.push(number);
        check(known(place), kind)?;
        value(reader, kind, place, known, take)?;
        place.pop();
    }
    Ok(())
}

fn value(
    reader: &mut impl Read,
    kind: u8,
    place: &mut Vec<i64>,
    known: Known,
    take: &mut dyn FnMut(&[i64], i64),
) -> io::Result<()> {
    match kind {
        // Which it is stands in the kind.
        TRUE | FALSE => Ok(()),
        I8 => byte(reader).map(drop),
        I16 | I32 | I64 => {
            let number = signed(reader)?;
            take(place, number);
            Ok(())
        }
        DOUBLE => bytes(reader, 8),
        BINARY => {
            let length = unsigned(reader)?;
            bytes(reader, length)
        }
        LIST | SET => {
            let (count, item) = list(reader)?;
            let must = known(place).map_or(item, |(_, must)| must);
            // The library takes truths in a list for nothing at all, and walks over as many as the list says. Nothing
            // that is read here has any, nor lists of lists.
            if item != must || matches!(item, TRUE | FALSE | LIST | SET) {
                return Err(damaged());
            }
            (0..count).try_for_each(|_| value(reader, item, place, known, take))
        }
        RECORD => record(reader, place, known, take),
        _ => Err(damaged()),
    }
}

fn bytes(reader: &mut impl Read, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.take(count), &mut io::sink())?;
    if skipped == count {
        Ok(())
    } else {
        Err(damaged())
    }
}

fn byte(reader: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    reader.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn unsigned(reader: &mut impl Read) -> io::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(reader)?;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Ok(value);
        }
    }
    Err(damaged())
}

/// Zigzag: the last bit is the sign.
fn signed(reader: &mut impl Read) -> io::Result<i64> {
    let value = unsigned(reader)?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

fn damaged() -> io::Error {
    io::Error::other("it is no Thrift")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that nobody knows: a list of 2,000,000,000 truths, for which the library reads no bytes.
    #[test]
    fn truths_without_number_are_refused() {
        let bytes = [0x09, 0x40, 0xF1, 0x80, 0xA8, 0xD6, 0xB9, 0x07, 0];
        assert!(description(&mut &bytes[..]).is_err());
        // One whole number is as long as it says.
        let bytes = [0x09, 0x40, 0x15, 2, 0];
        assert!(description(&mut &bytes[..]).is_ok());
    }

    /// The library would read the number of rows as a whole number, and the bytes of this text as what follows.
    #[test]
    fn fields_are_what_the_library_takes_them_for() {
        assert!(description(&mut &[0x36, 2, 0][..]).is_ok());
        assert!(description(&mut &[0x38, 1, b'x', 0][..]).is_err());
    }

    /// A description whose columns are each within the one before.
    fn nested(columns: u8) -> Vec<u8> {
        let mut bytes = vec![0x29, 0xFC, columns];
        for _ in 0..columns {
            // Field 5, the number of columns within: one.
            bytes.extend([0x55, 2, 0]);
        }
        bytes.push(0);
        bytes
    }

    /// The library calls itself for each level, and a thousand levels overflow its stack.
    #[test]
    fn columns_are_not_nested_without_end() {
        let most = COLUMN_DEPTH as u8 + 1;
        description(&mut nested(most).as_slice()).unwrap();
        let said = description(&mut nested(most + 1).as_slice()).unwrap_err();
        assert!(said.to_string().contains("too deeply"), "{said}");
    }

    /// The library takes memory for as many as a list says.
    #[test]
    fn lists_have_what_they_say() {
        let mut bytes = vec![0x29, 0xFC];
        bytes.extend([0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
        bytes.extend([0x55, 2, 0, 0]);
        assert!(description(&mut bytes.as_slice()).is_err());
    }

    #[test]
    fn a_pages_sizes_are_found() {
        // Fields 1, 2 and 3, then 8 with its 5 and 6.
        let bytes = [0x15, 6, 0x15, 20, 0x15, 14, 0x5C, 0x55, 4, 0x15, 2, 0, 0];
        let page = Page::read(&mut bytes.as_slice()).unwrap();
        assert_eq!((page.unpacked, page.packed, page.levels), (10, 7, 3));
        for length in 0..bytes.len() {
            assert!(Page::read(&mut &bytes[..length]).is_err(), "{length}");
        }
    }
}
