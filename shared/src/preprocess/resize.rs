//! Owns antialiased resampling, equal to Pillow's to the last bit.
//!
//! Pillow resamples 8-bit pictures in two passes with 22-bit fixed-point weights, and rounds to 8 bits
//! between the passes. The features of a picture move visibly when any of this differs, so it is done the same way.
//! Only the window that the crop keeps is computed.

use std::ops::Range;

use super::image::Resample;

/// Fraction bits of a weight: 32 bits, less 8 of the pixel and 2 of headroom for filters that overshoot.
const PRECISION: u32 = 32 - 8 - 2;
/// Half of one, so that shifting rounds.
const HALF: i32 = 1 << (PRECISION - 1);
const CHANNELS: usize = 3;

/// Interleaved 8-bit RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rgb {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) data: Vec<u8>,
}

/// A range of output positions along one axis of a picture that is resized from `input` to `output` pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) start: usize,
    pub(super) length: usize,
}

/// The weights of one output position: `weights` belong to the inputs from `first` on.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// Resizes `picture` and keeps the window that `columns` and `rows` describe.
///
/// Rounding between the passes makes their order visible. Rows are resized first, unless the height loses more than
/// twice as many pixels as the width: so does Pillow 13.
pub(super) fn resize(picture: &Rgb, columns: Span, rows: Span, filter: Resample) -> Rgb {
    let (across, down) = (taps(columns, filter), taps(rows, filter));
    let lost = |span: Span| span.input as i64 - span.output as i64;
    if lost(rows) > 0 && lost(rows) > 2 * lost(columns) {
        // Only the columns that the second pass looks at.
        let (left, right) = reach(&across);
        let low = resize_columns(picture, left..right, 0, &down);
        return resize_rows(&low, 0..low.height, left, &across);
    }
    let (top, bottom) = reach(&down);
    let narrow = resize_rows(picture, top..bottom, 0, &across);
    resize_columns(&narrow, 0..narrow.width, top, &down)
}

/// First input that is looked at, and one beyond the last.
fn reach(taps: &[Taps]) -> (usize, usize) {
    let first = taps.iter().map(|t| t.first).min().unwrap_or(0);
    let last = taps
        .iter()
        .map(|t| t.first + t.weights.len())
        .max()
        .unwrap_or(0);
    (first, last)
}

/// Resizes along the rows `rows` of a picture whose first column is column `left` of the whole.
fn resize_rows(picture: &Rgb, rows: Range<usize>, left: usize, taps: &[Taps]) -> Rgb {
    let mut data = Vec::with_capacity(rows.len() * taps.len() * CHANNELS);
    let stride = picture.width * CHANNELS;
    for row in rows.clone() {
        let line = &picture.data[row * stride..(row + 1) * stride];
        for tap in taps {
            let pixels = &line[(tap.first - left) * CHANNELS..];
            let mut sum = [HALF; CHANNELS];
            for (pixel, &weight) in pixels.chunks_exact(CHANNELS).zip(&tap.weights) {
                for (s, &p) in sum.iter_mut().zip(pixel) {
                    *s += i32::from(p) * weight;
                }
            }
            data.extend(sum.map(to_byte));
        }
    }
    Rgb {
        width: taps.len(),
        height: rows.len(),
        data,
    }
}

/// Resizes along the columns `columns` of a picture whose first row is row `top` of the whole.
fn resize_columns(picture: &Rgb, columns: Range<usize>, top: usize, taps: &[Taps]) -> Rgb {
    let stride = picture.width * CHANNELS;
    let mut data = Vec::with_capacity(taps.len() * columns.len() * CHANNELS);
    let mut sums = vec![HALF; columns.len() * CHANNELS];
    for tap in taps {
        sums.fill(HALF);
        let lines = picture.data[(tap.first - top) * stride..].chunks_exact(stride);
        for (line, &weight) in lines.zip(&tap.weights) {
            let line = &line[columns.start * CHANNELS..columns.end * CHANNELS];
            for (sum, &p) in sums.iter_mut().zip(line) {
                *sum += i32::from(p) * weight;
            }
        }
        data.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
    Rgb {
        width: columns.len(),
        height: taps.len(),
        data,
    }
}

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// The fixed-point weights of every position of the span. When shrinking, the filter is stretched over all inputs that
/// fall into an output (that is the antialiasing); at the borders it is cut and normalised again.
fn taps(span: Span, filter: Resample) -> Vec<Taps> {
    let scale = span.input as f64 / span.output as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    (span.start..span.start + span.length)
        .map(|position| {
            let center = (position as f64 + 0.5) * scale;
            let first = ((center - support + 0.5) as usize).min(span.input - 1);
            let last = ((center + support + 0.5) as usize).min(span.input);
            let weights: Vec<f64> = (first..last)
                .map(|i| filter.weight((i as f64 - center + 0.5) * (1.0 / stretch)))
                .collect();
            let total: f64 = weights.iter().sum();
            Taps {
                first,
                weights: weights.iter().map(|w| fixed(w / total)).collect(),
            }
        })
        .collect()
}

/// Rounds half away from zero.
fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1u32 << PRECISION);
    (scaled + 0.5f64.copysign(scaled)) as i32
}

impl Resample {
    /// Half the width of the filter in source pixels when not shrinking.
    fn support(self) -> f64 {
        match self {
            Resample::Bilinear => 1.0,
            Resample::Bicubic => 2.0,
        }
    }

    /// The filter's value at distance `x`; the cubic is Keys' with a = -0.5.
    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Resample::Bilinear if x < 1.0 => 1.0 - x,
            Resample::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Resample::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(input: usize, output: usize) -> Span {
        Span {
            input,
            output,
            start: 0,
            length: output,
        }
    }

    #[test]
    fn same_size_is_the_same_picture() {
        let picture = Rgb {
            width: 3,
            height: 2,
            data: (0..18).map(|i| i * 14).collect(),
        };
        assert_eq!(
            resize(&picture, whole(3, 3), whole(2, 2), Resample::Bicubic),
            picture
        );
    }

    #[test]
    fn a_window_is_cut_from_the_whole() {
        for (width, height) in [(17, 13), (38, 13)] {
            cut(width, height);
        }
    }

    fn cut(width: usize, height: usize) {
        let data = (0..40 * 30 * 3u32).map(|i| (i * i % 251) as u8).collect();
        let picture = Rgb {
            width: 40,
            height: 30,
            data,
        };
        let all = resize(
            &picture,
            whole(40, width),
            whole(30, height),
            Resample::Bicubic,
        );
        let columns = Span {
            start: 4,
            length: 9,
            ..whole(40, width)
        };
        let rows = Span {
            start: 3,
            length: 7,
            ..whole(30, height)
        };
        let part = resize(&picture, columns, rows, Resample::Bicubic);
        for y in 0..7 {
            let from = ((y + 3) * width + 4) * 3;
            assert_eq!(part.data[y * 27..(y + 1) * 27], all.data[from..from + 27]);
        }
    }
}
