//! Owns the samples of a JPEG: inverse transform, chroma upsampling and colours, in libjpeg's integer arithmetic.

use std::num::Wrapping;

use super::{Color, Component, Frame, damaged};
use crate::error::Result;

type Number = Wrapping<i32>;

/// Fraction bits of the transform's constants, and those kept between its passes.
const FRACTION: usize = 13;
const BETWEEN: usize = 2;

/// Dequantises and transforms a block and writes its 8 x 8 samples to `out`, whose rows are `stride` apart.
///
/// The transform is Loeffler's with 12 multiplications, columns first, rounded as libjpeg's accurate integer variant.
/// Impossible coefficients wrap instead of overflowing.
pub(super) fn inverse_transform(block: &[i16], steps: &[u16; 64], out: &mut [u8], stride: usize) {
    let mut between = [Wrapping(0); 64];
    for x in 0..8 {
        let column = std::array::from_fn(|y| {
            Wrapping(i32::from(block[y * 8 + x])) * Wrapping(i32::from(steps[y * 8 + x]))
        });
        for (y, value) in transform(column, FRACTION - BETWEEN)
            .into_iter()
            .enumerate()
        {
            between[y * 8 + x] = value;
        }
    }
    for (y, row) in between.chunks_exact(8).enumerate() {
        let row = transform(std::array::from_fn(|x| row[x]), FRACTION + BETWEEN + 3);
        for (sample, value) in out[y * stride..y * stride + 8].iter_mut().zip(row) {
            *sample = (value.0.wrapping_add(128)).clamp(0, 255) as u8;
        }
    }
}

/// One pass over eight values; the results are rounded and shifted down by `shift`.
#[inline(always)]
fn transform(v: [Number; 8], shift: usize) -> [Number; 8] {
    let k = |constant: i32| Wrapping(constant);
    let z = (v[2] + v[6]) * k(4433);
    let (even2, even3) = (z - v[6] * k(15137), z + v[2] * k(6270));
    let (even0, even1) = ((v[0] + v[4]) << FRACTION, (v[0] - v[4]) << FRACTION);
    let even = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];

    let z5 = (v[7] + v[3] + v[5] + v[1]) * k(9633);
    let z1 = (v[7] + v[1]) * k(-7373);
    let z2 = (v[5] + v[3]) * k(-20995);
    let z3 = (v[7] + v[3]) * k(-16069) + z5;
    let z4 = (v[5] + v[1]) * k(-3196) + z5;
    let odd = [
        v[1] * k(12299) + z1 + z4,
        v[3] * k(25172) + z2 + z3,
        v[5] * k(16819) + z2 + z4,
        v[7] * k(2446) + z1 + z3,
    ];
    let half = Wrapping(1 << (shift - 1));
    std::array::from_fn(|i| {
        let sum = if i < 4 {
            even[i] + odd[i]
        } else {
            even[7 - i] - odd[7 - i]
        };
        (sum + half) >> shift
    })
}

/// Upsamples the components and turns them into grey or RGB samples, row by row.
pub(super) fn assemble(frame: &Frame, color: Color) -> Result<Vec<u8>> {
    for component in &frame.components {
        if !frame.across.is_multiple_of(component.across)
            || !frame.down.is_multiple_of(component.down)
        {
            return Err(damaged(
                "its colours are sampled in fractions; save it again",
            ));
        }
    }
    let channels = if color == Color::Grey { 1 } else { 3 };
    let mut data = Vec::with_capacity(frame.width * frame.height * channels);
    let mut rows = vec![Vec::new(); frame.components.len()];
    for y in 0..frame.height {
        for (row, component) in rows.iter_mut().zip(&frame.components) {
            let ratio = (frame.across / component.across, frame.down / component.down);
            component.row(y, ratio, frame.width, row);
        }
        match &rows[..] {
            [grey] => data.extend_from_slice(&grey[..frame.width]),
            [a, b, c] => {
                for ((&a, &b), &c) in a.iter().zip(b).zip(c).take(frame.width) {
                    data.extend(if color == Color::Rgb {
                        [a, b, c]
                    } else {
                        rgb(a, b, c)
                    });
                }
            }
            [a, b, c, k] => {
                for (((&a, &b), &c), &k) in a.iter().zip(b).zip(c).zip(k).take(frame.width) {
                    let inks = if color == Color::Ycck {
                        rgb(a, b, c).map(|v| 255 - v)
                    } else {
                        [a, b, c]
                    };
                    data.extend(paper(inks, k));
                }
            }
            _ => return Err(damaged("it has neither one, three nor four colours")),
        }
    }
    Ok(data)
}

/// YCbCr to RGB in 16-bit fixed point.
#[inline(always)]
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    [
        y + ((91881 * cr + HALF) >> 16),
        y + ((-22554 * cb - 46802 * cr + HALF) >> 16),
        y + ((116130 * cb + HALF) >> 16),
    ]
    .map(|v| v.clamp(0, 255) as u8)
}

/// The colour of four inks on paper. Files store inks inverted, as Adobe began to; Pillow takes that for granted too.
fn paper(inverted: [u8; 3], black: u8) -> [u8; 3] {
    let light = u32::from(black);
    inverted.map(|ink| {
        let product = (255 - u32::from(ink)) * light + 128;
        (light - ((product + (product >> 8)) >> 8)) as u8
    })
}

impl Component {
    /// The component's samples for row `y` of the picture, at full width (or a little more). Halved sides are
    /// interpolated (3/4 the nearer sample, 1/4 the next), other ratios repeated.
    fn row(&self, y: usize, ratio: (usize, usize), width: usize, out: &mut Vec<u8>) {
        let stride = self.blocks_across * 8;
        let line = |y: usize| &self.plane[y * stride..y * stride + self.width];
        let near = line(y / ratio.1);
        // The row that a halved row leans to: above for the first of a pair, below for the second.
        let beside = if y.is_multiple_of(2) {
            (y / 2).saturating_sub(1)
        } else {
            (y / 2 + 1).min(self.height - 1)
        };
        out.clear();
        match ratio {
            (1, 1) => out.extend_from_slice(near),
            (2, 1) if self.width > 2 => {
                widen(near.iter().map(|&v| u16::from(v)).collect(), [1, 2], 2, out)
            }
            (2, 2) if self.width > 2 => {
                let pairs = near.iter().zip(line(beside));
                widen(
                    pairs
                        .map(|(&n, &b)| 3 * u16::from(n) + u16::from(b))
                        .collect(),
                    [8, 7],
                    4,
                    out,
                );
            }
            (1, 2) => {
                let bias = 1 + (y % 2) as u16;
                let pairs = near.iter().zip(line(beside));
                out.extend(
                    pairs.map(|(&n, &b)| ((3 * u16::from(n) + u16::from(b) + bias) >> 2) as u8),
                );
            }
            (across, _) => out.extend((0..width).map(|x| near[x / across])),
        }
    }
}

/// Twice as many samples: each leans a quarter to its left and to its right neighbour. The two biases alternate so that
/// rounding does not brighten the picture.
fn widen(values: Vec<u16>, bias: [u16; 2], shift: u32, out: &mut Vec<u8>) {
    for (i, &value) in values.iter().enumerate() {
        let left = values[i.saturating_sub(1)];
        let right = values[(i + 1).min(values.len() - 1)];
        out.push(((3 * value + left + bias[0]) >> shift) as u8);
        out.push(((3 * value + right + bias[1]) >> shift) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_block_is_flat() {
        let mut block = [0i16; 64];
        block[0] = 10;
        let mut out = [0u8; 64];
        inverse_transform(&block, &[16; 64], &mut out, 8);
        assert_eq!(out, [148; 64]);
    }

    #[test]
    fn impossible_coefficients_do_not_panic() {
        let mut out = [0u8; 64];
        inverse_transform(&[i16::MIN; 64], &[u16::MAX; 64], &mut out, 8);
    }

    #[test]
    fn widening_keeps_the_ends() {
        let mut out = Vec::new();
        widen(vec![8, 16, 40], [1, 2], 2, &mut out);
        assert_eq!(out, [8, 10, 14, 22, 34, 40]);
    }
}
