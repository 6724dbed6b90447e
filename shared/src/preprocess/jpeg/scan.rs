//! Owns the scans of a JPEG: which blocks they carry, and their coefficients, sequential or progressive.

use super::bits::{Bits, Huffman};
use super::{Frame, Reader, Tables, ZIGZAG, damaged, incomplete, samples};
use crate::error::Result;

/// The head of a scan: its components with their tables, and the part of their coefficients it brings.
pub(super) struct Scan {
    members: Vec<Member>,
    /// First and last coefficient in zigzag order.
    first: usize,
    last: usize,
    /// Whether the coefficients were begun by an earlier scan and get one bit more.
    refines: bool,
    /// Bits that later scans bring.
    shift: u32,
}

struct Member {
    component: usize,
    dc: usize,
    ac: usize,
}

/// What runs through the blocks of a scan.
struct Run {
    /// The last DC value of each member.
    previous: Vec<i32>,
    /// Further blocks that are known to end here.
    ended: u32,
}

impl Scan {
    pub(super) fn read(segment: &mut Reader<'_>, frame: &Frame) -> Result<Self> {
        let count = usize::from(segment.u8()?);
        let mut members: Vec<Member> = Vec::with_capacity(count);
        for _ in 0..count {
            let (id, tables) = (segment.u8()?, segment.u8()?);
            let component = frame.components.iter().position(|c| c.id == id);
            let component = component.ok_or_else(|| damaged("a scan has an unknown colour"))?;
            let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            if dc > 3 || ac > 3 || members.iter().any(|m| m.component == component) {
                return Err(damaged("a scan's tables are impossible"));
            }
            members.push(Member { component, dc, ac });
        }
        let (first, last) = (usize::from(segment.u8()?), usize::from(segment.u8()?));
        let bits = segment.u8()?;
        let scan = if frame.progressive {
            Self {
                members,
                first,
                last,
                refines: bits >> 4 != 0,
                shift: u32::from(bits & 15),
            }
        } else {
            Self {
                members,
                first: 0,
                last: 63,
                refines: false,
                shift: 0,
            }
        };
        let whole = !frame.progressive;
        let impossible = scan.members.is_empty()
            || scan.first > scan.last
            || scan.last > 63
            || scan.shift > 13
            || (!whole && scan.first == 0 && scan.last != 0)
            || (scan.first > 0 && scan.members.len() != 1);
        if impossible {
            Err(damaged("a scan's range is impossible"))
        } else {
            Ok(scan)
        }
    }

    /// How many blocks it walks over.
    pub(super) fn blocks(&self, frame: &Frame) -> u64 {
        let blocks = |member: &Member| {
            let component = &frame.components[member.component];
            (component.plane.len() / 64) as u64
        };
        self.members.iter().map(blocks).sum()
    }

    /// Decodes the scan's data from `at` on; returns where the next marker is to be looked for.
    pub(super) fn decode(
        &self,
        frame: &mut Frame,
        tables: &Tables,
        data: &[u8],
        at: usize,
    ) -> Result<usize> {
        for member in &self.members {
            let component = &mut frame.components[member.component];
            if component.steps.is_none() {
                component.steps = tables.quantisation[component.quantisation];
            }
            if component.steps.is_none() {
                return Err(damaged("a quantisation table is missing"));
            }
        }
        // A component alone comes block by block as far as the picture goes; several come in units of interleaving.
        let (units_across, units_down) = match &self.members[..] {
            [alone] => {
                let component = &frame.components[alone.component];
                (component.width.div_ceil(8), component.height.div_ceil(8))
            }
            _ => (
                frame.width.div_ceil(8 * frame.across),
                frame.height.div_ceil(8 * frame.down),
            ),
        };
        let mut bits = Bits::new(data, at);
        let mut run = Run {
            previous: vec![0; self.members.len()],
            ended: 0,
        };
        for unit in 0..units_across * units_down {
            if tables.restart > 0 && unit > 0 && unit % tables.restart == 0 {
                if !bits.restart() {
                    return Err(if bits.at_end() {
                        incomplete()
                    } else {
                        damaged("a restart marker is missing")
                    });
                }
                run.previous.fill(0);
                run.ended = 0;
            }
            let (x, y) = (unit % units_across, unit / units_across);
            for index in 0..self.members.len() {
                let component = &frame.components[self.members[index].component];
                let (across, down) = if self.members.len() == 1 {
                    (1, 1)
                } else {
                    (component.across, component.down)
                };
                for block in 0..across * down {
                    let (x, y) = (x * across + block % across, y * down + block / across);
                    self.block(frame, tables, &mut bits, &mut run, index, (x, y))?;
                }
            }
            if bits.exhausted() {
                return Err(if bits.at_end() {
                    incomplete()
                } else {
                    damaged("a part of the picture is missing")
                });
            }
        }
        Ok(bits.position())
    }

    fn block(
        &self,
        frame: &mut Frame,
        tables: &Tables,
        bits: &mut Bits<'_>,
        run: &mut Run,
        index: usize,
        (x, y): (usize, usize),
    ) -> Result<()> {
        let member = &self.members[index];
        let dc = tables.dc[member.dc].as_ref();
        let ac = tables.ac[member.ac].as_ref();
        let component = &mut frame.components[member.component];
        let place = y * component.blocks_across + x;
        let decoded = if frame.progressive {
            let block = &mut component.coefficients[place * 64..(place + 1) * 64];
            match (self.first, self.refines) {
                (0, false) => self.dc_first(block, bits, dc, &mut run.previous[index]),
                (0, true) => {
                    block[0] |= (bits.take(1) << self.shift) as i16;
                    Some(())
                }
                (_, false) => self.ac_first(block, bits, ac, &mut run.ended),
                (_, true) => self.ac_refine(block, bits, ac, &mut run.ended),
            }
        } else {
            let mut block = [0i16; 64];
            let decoded = sequential(&mut block, bits, dc, ac, &mut run.previous[index]);
            let stride = component.blocks_across * 8;
            if let Some(steps) = &component.steps {
                samples::inverse_transform(
                    &block,
                    steps,
                    &mut component.plane[y * 8 * stride + x * 8..],
                    stride,
                );
            }
            decoded
        };
        decoded.ok_or_else(|| {
            if bits.exhausted() && bits.at_end() {
                incomplete()
            } else {
                damaged("its data are garbled")
            }
        })
    }

    fn dc_first(
        &self,
        block: &mut [i16],
        bits: &mut Bits<'_>,
        dc: Option<&Huffman>,
        previous: &mut i32,
    ) -> Option<()> {
        let size = u32::from(bits.symbol(dc?)?);
        *previous = previous.wrapping_add(bits.signed(checked(size)?));
        block[0] = (*previous << self.shift) as i16;
        Some(())
    }

    fn ac_first(
        &self,
        block: &mut [i16],
        bits: &mut Bits<'_>,
        ac: Option<&Huffman>,
        ended: &mut u32,
    ) -> Option<()> {
        if *ended > 0 {
            *ended -= 1;
            return Some(());
        }
        let mut k = self.first;
        while k <= self.last {
            let symbol = bits.symbol(ac?)?;
            let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            match (zeros, size) {
                (15, 0) => k += 16,
                (_, 0) => {
                    *ended = (1 << zeros) - 1 + bits.take(zeros) as u32;
                    break;
                }
                _ => {
                    k += zeros as usize;
                    *block.get_mut(usize::from(*ZIGZAG.get(k)?))? =
                        (bits.signed(size) << self.shift) as i16;
                    k += 1;
                }
            }
        }
        Some(())
    }

    fn ac_refine(
        &self,
        block: &mut [i16],
        bits: &mut Bits<'_>,
        ac: Option<&Huffman>,
        ended: &mut u32,
    ) -> Option<()> {
        let step = 1i16 << self.shift;
        let mut k = self.first;
        if *ended == 0 {
            while k <= self.last {
                let symbol = bits.symbol(ac?)?;
                let (mut zeros, size) = (u32::from(symbol >> 4), symbol & 15);
                let mut fresh = 0;
                if size != 0 {
                    fresh = if bits.take(1) == 1 { step } else { -step };
                } else if zeros != 15 {
                    *ended = (1 << zeros) + bits.take(zeros) as u32;
                    break;
                }
                // Known coefficients on the way get their bit; the zeros are counted.
                while k <= self.last {
                    let known = &mut block[usize::from(ZIGZAG[k])];
                    if *known != 0 {
                        refine(known, step, bits);
                    } else if zeros == 0 {
                        *known = fresh;
                        break;
                    } else {
                        zeros -= 1;
                    }
                    k += 1;
                }
                k += 1;
            }
        }
        if *ended > 0 {
            for &place in ZIGZAG.iter().take(self.last + 1).skip(k) {
                let known = &mut block[usize::from(place)];
                if *known != 0 {
                    refine(known, step, bits);
                }
            }
            *ended -= 1;
        }
        Some(())
    }
}

/// One further bit of a coefficient that is not zero.
fn refine(known: &mut i16, step: i16, bits: &mut Bits<'_>) {
    if bits.take(1) == 1 && *known & step == 0 {
        *known = known.wrapping_add(if *known >= 0 { step } else { -step });
    }
}

fn sequential(
    block: &mut [i16; 64],
    bits: &mut Bits<'_>,
    dc: Option<&Huffman>,
    ac: Option<&Huffman>,
    previous: &mut i32,
) -> Option<()> {
    let size = u32::from(bits.symbol(dc?)?);
    *previous = previous.wrapping_add(bits.signed(checked(size)?));
    block[0] = *previous as i16;
    let ac = ac?;
    let mut k = 1;
    while k < 64 {
        let symbol = bits.symbol(ac)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        match (zeros, size) {
            (15, 0) => k += 16,
            (_, 0) => break,
            _ => {
                k += zeros;
                block[usize::from(*ZIGZAG.get(k)?)] = bits.signed(size) as i16;
                k += 1;
            }
        }
    }
    Some(())
}

/// A DC difference has at most 15 bits.
fn checked(size: u32) -> Option<u32> {
    (size < 16).then_some(size)
}
