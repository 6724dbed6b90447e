//! Owns the directory of a .zip archive: which members it lists and where they lie. Bytes in, places out; whoever made the
//! archive, the answer is places inside it or the reason why there are none.

use std::io;

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ReaderAt, ZipLocator};
use shared::limits::{ARCHIVE_END_BYTES, MEMBERS};

/// What is before a member's name: a signature, and at its end the lengths of the name and of what follows.
pub const HEADER_BYTES: u64 = 30;
const HEADER: [u8; 4] = *b"PK\x03\x04";

/// Why an archive cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// The browser cannot read the file any more.
    Unreadable,
    /// It does not end as archives do.
    NoArchive,
    /// What it says of itself is not so.
    Damaged,
    /// It lists more than a bundle has.
    Large,
    /// This member is compressed in an unusual way.
    Method(String),
    /// This member is encrypted.
    Encrypted(String),
}

/// A file in an archive.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name with its folders, in UTF-8, divided by `/`.
    pub path: String,
    /// Where its header begins.
    pub header: u64,
    /// Its size in the archive.
    packed: u64,
    /// Whether it is compressed.
    pub deflated: bool,
    encrypted: bool,
}

/// The end of an archive in memory, at its place in the whole.
struct End {
    start: u64,
    bytes: Vec<u8>,
}

impl ReaderAt for End {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let at = offset
            .checked_sub(self.start)
            .ok_or(io::ErrorKind::Unsupported)?;
        let rest = usize::try_from(at).ok().and_then(|at| self.bytes.get(at..));
        let rest = rest.unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// Where the end begins that is read of an archive of this size.
pub fn end_of(size: u64) -> u64 {
    size.saturating_sub(ARCHIVE_END_BYTES)
}

/// The members that an archive lists whose `end` begins at `start`.
///
/// # Errors
/// If it is no archive, is cut short or damaged, or lists too much.
pub fn members(start: u64, end: Vec<u8>) -> Result<Vec<Member>, Why> {
    list(End { start, bytes: end })
}

fn list(end: End) -> Result<Vec<Member>, Why> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let size = end.start + end.bytes.len() as u64;
    let archive = ZipLocator::new()
        .locate_in_reader(end, &mut buffer, size)
        .map_err(|_| Why::NoArchive)?;
    if archive.entries_hint() > MEMBERS as u64 {
        return Err(Why::Large);
    }
    if archive.directory_offset() < archive.get_ref().start {
        return Err(Why::Large);
    }
    let mut found = Vec::new();
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(|_| Why::Damaged)? {
        if found.len() == MEMBERS {
            return Err(Why::Large);
        }
        // A name that is not UTF-8 is none of a bundle's.
        let path = entry.file_path();
        let Ok(path) = std::str::from_utf8(path.as_ref()) else {
            continue;
        };
        if entry.is_dir() {
            continue;
        }
        let deflated = match entry.compression_method() {
            CompressionMethod::STORE => false,
            CompressionMethod::DEFLATE => true,
            _ => return Err(Why::Method(path.into())),
        };
        found.push(Member {
            // Some programs of Windows write their own divider.
            path: path.replace('\\', "/"),
            header: entry.local_header_offset(),
            packed: entry.compressed_size_hint(),
            deflated,
            encrypted: entry.flags().is_encrypted(),
        });
    }
    Ok(found)
}

/// Where a member's bytes begin and end, by the header before them and the archive's size.
///
/// # Errors
/// If it is not where the directory says, or encrypted.
pub fn data(header: &[u8], member: &Member, size: u64) -> Result<(u64, u64), Why> {
    if member.encrypted {
        return Err(Why::Encrypted(member.path.clone()));
    }
    if header.len() as u64 != HEADER_BYTES || header[..4] != HEADER {
        return Err(Why::Damaged);
    }
    let length = |at: usize| u64::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let start = member.header + HEADER_BYTES + length(26) + length(28);
    match start.checked_add(member.packed) {
        Some(end) if end <= size => Ok((start, end)),
        _ => Err(Why::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of stored members, as the format has it.
    fn archive(files: &[(&str, &[u8])], method: u16, flags: u16) -> Vec<u8> {
        let (mut whole, mut directory) = (Vec::new(), Vec::new());
        for (name, content) in files {
            let at = whole.len() as u32;
            let mut common = Vec::new();
            for word in [20, flags, method, 0, 0] {
                common.extend(u16::to_le_bytes(word));
            }
            for size in [0, content.len() as u32, content.len() as u32] {
                common.extend(u32::to_le_bytes(size));
            }
            common.extend((name.len() as u16).to_le_bytes());
            common.extend([0, 0]);
            whole.extend(HEADER);
            whole.extend(&common);
            whole.extend(name.as_bytes());
            whole.extend(*content);
            directory.extend(b"PK\x01\x02\x14\x00");
            directory.extend(&common);
            directory.extend([0; 10]);
            directory.extend(at.to_le_bytes());
            directory.extend(name.as_bytes());
        }
        let at = whole.len() as u32;
        whole.extend(&directory);
        whole.extend(b"PK\x05\x06\0\0\0\0");
        for _ in 0..2 {
            whole.extend((files.len() as u16).to_le_bytes());
        }
        whole.extend((directory.len() as u32).to_le_bytes());
        whole.extend(at.to_le_bytes());
        whole.extend([0, 0]);
        whole
    }

    fn read(whole: &[u8], start: usize) -> Result<Vec<Member>, Why> {
        members(start as u64, whole[start..].to_vec())
    }

    /// A member's bytes.
    fn content<'a>(whole: &'a [u8], member: &Member) -> Result<&'a [u8], Why> {
        let at = (member.header as usize).min(whole.len());
        let header = &whole[at..(at + HEADER_BYTES as usize).min(whole.len())];
        let (start, end) = data(header, member, whole.len() as u64)?;
        Ok(&whole[start as usize..end as usize])
    }

    #[test]
    fn members_are_found_from_the_end_alone() {
        // Longer than the end that is read, and than what the locator asks for at a time.
        let large = vec![0; ARCHIVE_END_BYTES as usize + 9];
        let files: [(&str, &[u8]); 3] = [("a/manifest.json", &large), ("a/x", b"yes"), ("a/", b"")];
        let whole = archive(&files, 0, 0);
        let directory = whole
            .windows(4)
            .position(|bytes| bytes == b"PK\x01\x02")
            .unwrap();
        for start in [0, whole.len() - ARCHIVE_END_BYTES as usize] {
            let found = read(&whole, start).unwrap();
            assert_eq!(found.len(), 2);
            assert_eq!(found[0].path, "a/manifest.json");
            assert_eq!(content(&whole, &found[1]).unwrap(), b"yes");
        }
        assert!(read(&whole, directory + 1).is_err());
    }

    #[test]
    fn what_is_cut_short_or_changed_is_refused_and_never_panics() {
        let whole = archive(&[("manifest.json", b"{}"), ("x", b"abc")], 0, 0);
        for length in 0..whole.len() {
            assert!(read(&whole[..length], 0).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                for member in read(&changed, 0).unwrap_or_default() {
                    let _ = content(&changed, &member);
                }
            }
        }
    }

    #[test]
    fn members_that_lie_about_their_place_or_size_are_refused() {
        let whole = archive(&[("x", b"abc")], 0, 0);
        let member = read(&whole, 0).unwrap().remove(0);
        let elsewhere = Member {
            header: 3,
            ..member.clone()
        };
        assert_eq!(content(&whole, &elsewhere), Err(Why::Damaged));
        for packed in [whole.len() as u64, u64::MAX] {
            let longer = Member {
                packed,
                ..member.clone()
            };
            assert_eq!(content(&whole, &longer), Err(Why::Damaged));
        }
        let far = Member {
            header: u64::MAX,
            ..member
        };
        assert!(content(&whole, &far).is_err());
    }

    #[test]
    fn other_ways_of_packing_are_named() {
        let whole = archive(&[("x", b"abc")], 14, 0);
        assert_eq!(read(&whole, 0), Err(Why::Method("x".into())));
        let whole = archive(&[("x", b"abc")], 0, 1);
        let member = read(&whole, 0).unwrap().remove(0);
        assert_eq!(content(&whole, &member), Err(Why::Encrypted("x".into())));
    }
}
