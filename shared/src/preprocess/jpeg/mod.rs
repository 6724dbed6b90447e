//! Owns decoding JPEG to the very bytes that libjpeg, and so Pillow, decodes.
//!
//! Other decoders differ from libjpeg by a few levels in a third of the samples (inverse transform, chroma upsampling),
//! which is enough to move a CLIP's features in the third digit. This one follows libjpeg's arithmetic: the accurate
//! integer inverse transform, triangular chroma upsampling, 16-bit fixed-point colours. Baseline and progressive
//! Huffman files of 8 bits are read, which is what exists. A file that ends early is an error, never a grey half.

mod bits;
mod samples;
mod scan;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};

use self::bits::Huffman;
use self::scan::Scan;
use super::decode::Limits;
use crate::error::{Error, Result};
use crate::limits::{SCAN_WALKS, SCANS};

/// Order in which a block's coefficients are stored, low frequencies first.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// What the samples mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Color {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

/// One colour component: its place in the picture, and its samples.
struct Component {
    id: u8,
    /// Sampling factors.
    across: usize,
    down: usize,
    quantisation: usize,
    /// The table as it was at the component's first scan.
    steps: Option<[u16; 64]>,
    /// Size in samples.
    width: usize,
    height: usize,
    /// Size in blocks, filled up to whole units of interleaving.
    blocks_across: usize,
    /// Samples, `blocks_across * 8` a row.
    plane: Vec<u8>,
    /// Progressive only: all blocks until their last scan.
    coefficients: Vec<i16>,
}

struct Frame {
    width: usize,
    height: usize,
    progressive: bool,
    components: Vec<Component>,
    /// Largest sampling factors.
    across: usize,
    down: usize,
}

#[derive(Default)]
struct Tables {
    quantisation: [Option<[u16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart: usize,
}

/// Decodes a JPEG to grey or RGB, not yet turned, with the orientation its EXIF data ask for.
pub(super) fn decode(bytes: &[u8], limits: Limits) -> Result<(DynamicImage, Orientation)> {
    let mut reader = Reader { bytes, at: 2 };
    let mut tables = Tables::default();
    let mut orientation = Orientation::NoTransforms;
    let (mut jfif, mut adobe) = (false, None);
    let mut frame: Option<Frame> = None;
    let (mut scans, mut walked) = (0, 0);
    loop {
        let marker = reader.marker()?;
        match marker {
            0xD9 => break,
            0x01 | 0xD0..=0xD8 => continue,
            _ => {}
        }
        let mut segment = reader.segment()?;
        match marker {
            0xC0..=0xC2 => {
                if frame.is_some() {
                    return Err(damaged("it has two frames"));
                }
                frame = Some(Frame::read(&mut segment, marker == 0xC2, limits)?);
            }
            0xC4 => tables.huffman(&mut segment)?,
            0xDB => tables.quantisation(&mut segment)?,
            0xDD => tables.restart = segment.u16()?,
            0xE0 if segment.rest().starts_with(b"JFIF\0") => jfif = true,
            0xE1 if segment.rest().starts_with(b"Exif\0\0") => {
                orientation =
                    Orientation::from_exif_chunk(&segment.rest()[6..]).unwrap_or(orientation);
            }
            0xEE if segment.rest().starts_with(b"Adobe") => adobe = segment.rest().get(11).copied(),
            0xDA => {
                let frame = frame
                    .as_mut()
                    .ok_or_else(|| damaged("its samples come before its size"))?;
                let scan = Scan::read(&mut segment, frame)?;
                scans += 1;
                walked += scan.blocks(frame);
                if scans > SCANS || walked > SCAN_WALKS * limits.pixels / 64 {
                    return Err(damaged("it has too many scans; save it again"));
                }
                reader.at = scan.decode(frame, &tables, bytes, reader.at)?;
                if !frame.progressive && frame.components.iter().all(|c| c.steps.is_some()) {
                    break;
                }
            }
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF => {
                return Err(damaged(
                    "it is of a rare kind (lossless, hierarchical or arithmetic); save it again",
                ));
            }
            _ => {}
        }
    }
    let mut frame = frame.ok_or_else(|| damaged("it has no picture"))?;
    frame.finish()?;
    let color = color_of(&frame, jfif, adobe)?;
    let (width, height) = (frame.width as u32, frame.height as u32);
    let data = samples::assemble(&frame, color)?;
    let picture = match color {
        Color::Grey => GrayImage::from_raw(width, height, data).map(DynamicImage::ImageLuma8),
        _ => RgbImage::from_raw(width, height, data).map(DynamicImage::ImageRgb8),
    };
    Ok((
        picture.ok_or_else(|| damaged("its size is inconsistent"))?,
        orientation,
    ))
}

/// libjpeg's guess, by markers first and component names second.
fn color_of(frame: &Frame, jfif: bool, adobe: Option<u8>) -> Result<Color> {
    let names: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
    Ok(match (names.as_slice(), adobe) {
        ([_], _) => Color::Grey,
        ([_, _, _], _) if jfif => Color::YCbCr,
        ([_, _, _], Some(0)) => Color::Rgb,
        ([b'R', b'G', b'B'], None) => Color::Rgb,
        ([_, _, _], _) => Color::YCbCr,
        ([_, _, _, _], None | Some(0)) => Color::Cmyk,
        ([_, _, _, _], _) => Color::Ycck,
        _ => return Err(damaged("it has neither one, three nor four colours")),
    })
}

impl Frame {
    fn read(segment: &mut Reader<'_>, progressive: bool, limits: Limits) -> Result<Self> {
        let precision = segment.u8()?;
        let (height, width) = (segment.u16()?, segment.u16()?);
        let count = usize::from(segment.u8()?);
        let picture = width as u64 * height as u64 * 3;
        limits.check(width as u32, height as u32, picture)?;
        if precision != 8 {
            return Err(damaged(&format!(
                "it has {precision} bits a sample instead of 8; save it again"
            )));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(damaged("it has neither one, three nor four colours"));
        }
        let mut components = Vec::with_capacity(count);
        for _ in 0..count {
            let (id, factors, table) = (segment.u8()?, segment.u8()?, segment.u8()?);
            let (across, down) = (usize::from(factors >> 4), usize::from(factors & 15));
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) || table > 3 {
                return Err(damaged("a colour's sampling is impossible"));
            }
            components.push((id, across, down, usize::from(table)));
        }
        let across = components.iter().map(|c| c.1).max().unwrap_or(1);
        let down = components.iter().map(|c| c.2).max().unwrap_or(1);
        let units_across = width.div_ceil(8 * across);
        let units_down = height.div_ceil(8 * down);
        // Planes, the progressive coefficients, and the picture made of them.
        let samples: u64 = components
            .iter()
            .map(|c| (units_across * units_down * 64 * c.1 * c.2) as u64)
            .sum();
        let cost = samples * if progressive { 3 } else { 1 } + picture;
        limits.check(width as u32, height as u32, cost / 2)?;
        let components = components
            .into_iter()
            .map(|(id, h, v, quantisation)| {
                let (blocks_across, blocks_down) = (units_across * h, units_down * v);
                let samples = blocks_across * blocks_down * 64;
                Component {
                    id,
                    across: h,
                    down: v,
                    quantisation,
                    steps: None,
                    width: (width * h).div_ceil(across),
                    height: (height * v).div_ceil(down),
                    blocks_across,

                    plane: vec![0; samples],
                    coefficients: vec![0; if progressive { samples } else { 0 }],
                }
            })
            .collect();
        Ok(Self {
            width,
            height,
            progressive,
            components,
            across,
            down,
        })
    }

    /// Transforms the blocks of a progressive picture, which are complete only now.
    fn finish(&mut self) -> Result<()> {
        for component in &mut self.components {
            let steps = component
                .steps
                .ok_or_else(|| damaged("a colour is missing; the file may be incomplete"))?;
            let stride = component.blocks_across * 8;
            for (index, block) in component.coefficients.chunks_exact(64).enumerate() {
                let (x, y) = (
                    index % component.blocks_across,
                    index / component.blocks_across,
                );
                samples::inverse_transform(
                    block,
                    &steps,
                    &mut component.plane[y * 8 * stride + x * 8..],
                    stride,
                );
            }
            component.coefficients = Vec::new();
        }
        Ok(())
    }
}

impl Tables {
    fn quantisation(&mut self, segment: &mut Reader<'_>) -> Result<()> {
        while !segment.rest().is_empty() {
            let head = segment.u8()?;
            let mut steps = [0u16; 64];
            for &place in &ZIGZAG {
                let step = if head >> 4 == 0 {
                    u16::from(segment.u8()?)
                } else {
                    segment.u16()? as u16
                };
                steps[usize::from(place)] = step;
            }
            *slot(&mut self.quantisation, head & 15)? = Some(steps);
        }
        Ok(())
    }

    fn huffman(&mut self, segment: &mut Reader<'_>) -> Result<()> {
        while !segment.rest().is_empty() {
            let head = segment.u8()?;
            let counts: [u8; 16] = segment
                .take(16)?
                .try_into()
                .map_err(|_| damaged("a table is too short"))?;
            let total = counts.iter().map(|&c| usize::from(c)).sum();
            let table = Huffman::new(&counts, segment.take(total)?)
                .ok_or_else(|| damaged("a Huffman table is impossible"))?;
            let tables = if head >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            *slot(tables, head & 15)? = Some(table);
        }
        Ok(())
    }
}

fn slot<T>(slots: &mut [T; 4], index: u8) -> Result<&mut T> {
    slots
        .get_mut(usize::from(index))
        .ok_or_else(|| damaged("a table's number is beyond 3"))
}

/// Reads big-endian numbers and marker segments.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let taken = self.rest().get(..count).ok_or_else(incomplete)?;
        self.at += count;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<usize> {
        let pair = self.take(2)?;
        Ok(usize::from(pair[0]) << 8 | usize::from(pair[1]))
    }

    /// The next marker's code; whatever lies before it is skipped, as libjpeg does.
    fn marker(&mut self) -> Result<u8> {
        loop {
            while self.u8()? != 0xFF {}
            let mut code = self.u8()?;
            while code == 0xFF {
                code = self.u8()?;
            }
            if code != 0 {
                return Ok(code);
            }
        }
    }

    fn segment(&mut self) -> Result<Reader<'a>> {
        let length = self
            .u16()?
            .checked_sub(2)
            .ok_or_else(|| damaged("a segment has no length"))?;
        Ok(Reader {
            bytes: self.take(length)?,
            at: 0,
        })
    }
}

fn damaged(what: &str) -> Error {
    Error::Image(format!("this JPEG cannot be decoded: {what}"))
}

fn incomplete() -> Error {
    damaged("the file ends before the picture does; get it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A progressive grey picture of 1000 x 1000, of which each scan refines all blocks with a hundredth of a bit each.
    fn refined(scans: usize) -> Result<()> {
        let mut file = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0];
        file.extend([1; 64]);
        // One code of one bit: 16,384 blocks are as they were.
        file.extend([0xFF, 0xC4, 0, 20, 0x10, 1]);
        file.extend([0; 15]);
        file.push(0xE0);
        let side = 1000u16.to_be_bytes();
        file.extend([0xFF, 0xC2, 0, 11, 8, side[0], side[1], side[0], side[1]]);
        file.extend([1, 1, 0x11, 0]);
        for _ in 0..scans {
            file.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 63, 0x10]);
            file.extend([0; 4]);
        }
        file.extend([0xFF, 0xD9]);
        let limits = Limits {
            pixels: 1 << 20,
            bytes: 16 << 20,
        };
        decode(&file, limits).map(drop)
    }

    /// Twenty bytes a scan made it walk over everything, two hundred times: of a large picture for many seconds.
    #[test]
    fn scans_cost_no_more_than_they_may() {
        refined(20).unwrap();
        let said = refined(21).unwrap_err().to_string();
        assert!(said.contains("too many scans"), "{said}");
    }
}
