//! Owns changes to whole files, as bytes describe them: so a few bytes make a file that is almost right, where bytes
//! drawn for a file of weights would change nothing but weights.

/// Reads off bytes.
pub struct Edits<'a>(&'a [u8]);

impl<'a> Edits<'a> {
    /// The edits that these bytes describe.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> usize {
        self.take(1).first().copied().map_or(0, usize::from)
    }

    /// Applies all edits: each names a file, a kind, a place, and takes some bytes. Of a safetensors file its header and
    /// its values are edited, and the header's length fits again.
    pub fn apply(mut self, files: &mut [(String, Vec<u8>)]) {
        while !self.0.is_empty() && !files.is_empty() {
            let index = self.byte() % files.len();
            let (name, bytes) = &mut files[index];
            if !name.ends_with(".safetensors") {
                self.edit(bytes);
                continue;
            }
            let length = bytes
                .first_chunk()
                .map_or(0, |length| u64::from_le_bytes(*length) as usize);
            let mut header = bytes.split_off(8.min(bytes.len()));
            let mut values = header.split_off(length.min(header.len()));
            let kind = self.byte();
            match kind % 4 {
                0 => {
                    let raw = self.take(8);
                    bytes[..raw.len()].copy_from_slice(raw);
                }
                1 => self.edit(&mut values),
                _ => {
                    self.edit(&mut header);
                    *bytes = (header.len() as u64).to_le_bytes().to_vec();
                }
            }
            bytes.append(&mut header);
            bytes.append(&mut values);
        }
    }

    /// One edit of bytes: some are replaced, put in, taken out, repeated, or all are replaced.
    fn edit(&mut self, bytes: &mut Vec<u8>) {
        let kind = self.byte();
        let place = self.byte() << 8 | self.byte();
        let at = place % (bytes.len() + 1);
        let count = self.byte();
        match kind % 5 {
            0 => {
                let new = self.take(count);
                let end = (at + new.len()).min(bytes.len());
                bytes.splice(at..end, new.iter().copied());
            }
            1 => {
                let new = self.take(count);
                bytes.splice(at..at, new.iter().copied());
            }
            2 => {
                let end = (at + count).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let end = (at + count).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            // A number or a word in the place of the one that is there.
            _ => {
                let new = self.take(count % 16);
                let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'.';
                let start = bytes[at..].iter().position(word).map_or(at, |i| at + i);
                let length = bytes[start..].iter().take_while(|b| word(b)).count();
                bytes.splice(start..start + length, new.iter().copied());
            }
        }
    }
}
