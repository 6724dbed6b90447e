//! Owns the bit stream of a JPEG's scans and its Huffman codes.

const QUICK: u32 = 9;

/// A Huffman code: short codes by a table, long ones by length.
pub(super) struct Huffman {
    /// By the next nine bits: length << 8 | symbol, or 0 if the code is longer.
    quick: Vec<u16>,
    /// By length: one more than the largest code, shifted to 16 bits.
    ends: [u32; 17],
    /// By length: what to add to a code to get its symbol's place.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// The canonical code with `counts[n]` codes of n + 1 bits; `None` if there are too many.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut quick = vec![0u16; 1 << QUICK];
        let (mut ends, mut offsets) = ([0u32; 17], [0i32; 17]);
        let (mut code, mut place) = (0u32, 0usize);
        for length in 1..=16u32 {
            offsets[length as usize] = place as i32 - code as i32;
            for _ in 0..counts[length as usize - 1] {
                if length <= QUICK {
                    let first = (code << (QUICK - length)) as usize;
                    let entry = (length << 8) as u16 | u16::from(*symbols.get(place)?);
                    quick
                        .get_mut(first..first + (1 << (QUICK - length)))?
                        .fill(entry);
                }
                code += 1;
                place += 1;
            }
            if code > 1 << length {
                return None;
            }
            ends[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(Self {
            quick,
            ends,
            offsets,
            symbols: symbols.to_vec(),
        })
    }
}

/// Reads bits from entropy-coded data up to the next marker; beyond it come zeros, and [`Bits::exhausted`] tells.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    buffer: u64,
    count: u32,
    /// How many of the buffered bits are made up.
    made_up: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self {
            data,
            at,
            buffer: 0,
            count: 0,
            made_up: 0,
        }
    }

    /// Whether bits were used that the file does not have.
    pub(super) fn exhausted(&self) -> bool {
        self.made_up > self.count
    }

    /// Whether the data ended without a marker: the file is cut off here.
    pub(super) fn at_end(&self) -> bool {
        self.at + 1 >= self.data.len()
    }

    /// Where the next marker is to be looked for.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Skips to behind the restart marker; false if there is none.
    pub(super) fn restart(&mut self) -> bool {
        // Whole bytes that were read ahead cannot pass a marker, so the marker is still ahead.
        (self.buffer, self.count, self.made_up) = (0, 0, 0);
        while let [0xFF, next, ..] = self.data[self.at.min(self.data.len())..] {
            match next {
                0xFF => self.at += 1,
                0xD0..=0xD7 => {
                    self.at += 2;
                    return true;
                }
                _ => break,
            }
        }
        false
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match self.data.get(self.at..) {
                Some([0xFF, 0, ..]) => {
                    self.at += 2;
                    0xFF
                }
                Some([byte, ..]) if *byte != 0xFF => {
                    self.at += 1;
                    *byte
                }
                _ => {
                    self.made_up += 8;
                    0
                }
            };
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next `count` bits, at most 16, as a number.
    pub(super) fn take(&mut self, count: u32) -> i32 {
        if self.count < count {
            self.fill();
        }
        self.count -= count;
        ((self.buffer >> self.count) & ((1 << count) - 1)) as i32
    }

    /// A signed number of `size` bits: those with a leading 0 are negative.
    pub(super) fn signed(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let value = self.take(size);
        if value < 1 << (size - 1) {
            value - (1 << size) + 1
        } else {
            value
        }
    }

    /// The next symbol; `None` if the bits are no code.
    pub(super) fn symbol(&mut self, code: &Huffman) -> Option<u8> {
        if self.count < 16 {
            self.fill();
        }
        let next = ((self.buffer >> (self.count - 16)) & 0xFFFF) as u32;
        let quick = code.quick[(next >> (16 - QUICK)) as usize];
        if quick != 0 {
            self.count -= u32::from(quick >> 8);
            return Some(quick as u8);
        }
        let length = (QUICK + 1..=16).find(|&length| next < code.ends[length as usize])?;
        self.count -= length;
        let place = (next >> (16 - length)) as i32 + code.offsets[length as usize];
        code.symbols.get(usize::try_from(place).ok()?).copied()
    }
}
