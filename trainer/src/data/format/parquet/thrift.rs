//! Owns as much of Thrift's compact form as tells how much memory a Parquet file asks for.

use std::io::{self, Read};

use shared::limits::COLUMN_DEPTH;

/// How deep records and lists are nested in what Parquet describes; it needs half of that.
const DEPTH: usize = 16;

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
        fields(reader, 0, &mut |field, value| match field {
            2 => page.unpacked = value,
            3 => page.packed = value,
            805 | 806 => page.levels = page.levels.saturating_add(value),
            _ => {}
        })?;
        Ok(page)
    }
}

/// Walks over a file's description, so that every list is known to be as long as it says, and over the tree of its
/// columns, which the library reads by calling itself: field 2 is their list, and field 5 of each the number of its own.
pub(super) fn description(reader: &mut impl Read) -> io::Result<()> {
    let mut number = 0i64;
    loop {
        let head = byte(reader)?;
        if head == 0 {
            return Ok(());
        }
        number = match head >> 4 {
            0 => signed(reader)?,
            step => number.wrapping_add(i64::from(step)),
        };
        if number == 2 && head & 15 == 9 {
            columns(reader)?;
        } else {
            skip(reader, head & 15, 0)?;
        }
    }
}

fn columns(reader: &mut impl Read) -> io::Result<()> {
    let (count, kind) = list(reader)?;
    // How many columns are still to come within each that has some.
    let mut open: Vec<i64> = Vec::new();
    for _ in 0..count {
        if kind != 12 {
            return Err(damaged());
        }
        let mut own = 0;
        fields(reader, 1, &mut |field, value| {
            if field == 5 {
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

/// How many items a list has, and of which kind.
fn list(reader: &mut impl Read) -> io::Result<(u64, u8)> {
    let head = byte(reader)?;
    let count = match head >> 4 {
        15 => unsigned(reader)?,
        few => u64::from(few),
    };
    Ok((count, head & 15))
}

/// Reads a record to its end; `take` hears of its whole numbers. The fields of a record within it are told by a hundred
/// times the number of that and their own.
fn fields(reader: &mut impl Read, depth: usize, take: &mut dyn FnMut(i64, i64)) -> io::Result<()> {
    if depth > DEPTH {
        return Err(damaged());
    }
    let mut number = 0i64;
    loop {
        let head = byte(reader)?;
        if head == 0 {
            return Ok(());
        }
        number = match head >> 4 {
            0 => signed(reader)?,
            step => number.wrapping_add(i64::from(step)),
        };
        match head & 15 {
            4..=6 => take(number, signed(reader)?),
            12 => {
                let within = &mut |field: i64, value| {
                    take(number.wrapping_mul(100).wrapping_add(field), value);
                };
                fields(reader, depth + 1, within)?;
            }
            kind => skip(reader, kind, depth)?,
        }
    }
}

fn skip(reader: &mut impl Read, kind: u8, depth: usize) -> io::Result<()> {
    match kind {
        // Whether it is true stands in the kind.
        1 | 2 => Ok(()),
        3 => byte(reader).map(drop),
        4..=6 => signed(reader).map(drop),
        7 => bytes(reader, 8),
        8 => {
            let length = unsigned(reader)?;
            bytes(reader, length)
        }
        9 | 10 => {
            let (count, kind) = list(reader)?;
            // The library takes truths in a list for nothing at all, so that lists of lists of them, each as long as
            // it likes to say, would keep it busy for years. Nothing that is read here has any.
            if let 1 | 2 = kind {
                return Err(damaged());
            }
            (0..count).try_for_each(|_| skip(reader, kind, depth + 1))
        }
        12 => fields(reader, depth + 1, &mut |_, _| {}),
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

    /// Field 9: a list of one list of 2,000,000,000 truths, for which the library reads no bytes.
    #[test]
    fn truths_without_number_are_refused() {
        let bytes = [0x99, 0x19, 0xF1, 0x80, 0xA8, 0xD6, 0xB9, 0x07, 0];
        assert!(description(&mut &bytes[..]).is_err());
        // One of one whole number is as long as it says.
        let bytes = [0x99, 0x19, 0x15, 2, 0];
        assert!(description(&mut &bytes[..]).is_ok());
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
