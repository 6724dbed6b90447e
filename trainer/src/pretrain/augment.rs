//! Owns the variation of drawings: 64-pixel RGBA in, the tower's pixels out, by one affine sampling and a colour mix.

use serde::{Deserialize, Serialize};
use shared::rng::{Rng, unit};

use super::drawings::SIDE;

/// How drawings are varied. All ranges are symmetric and uniform unless said otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentSettings {
    /// Smallest and largest size of the drawing (log-uniform between them).
    pub scale: [f64; 2],
    /// The sides' ratio is e to at most this.
    pub aspect: f64,
    /// Rotation in degrees.
    pub rotation: f64,
    /// Shift as a share of the side.
    pub shift: f64,
    /// Share of mirrored drawings.
    pub flip: f64,
    /// Change of brightness and contrast.
    pub light: f64,
    /// Largest entry added to the colour matrix.
    pub mix: f64,
    /// Share of drawings whose colours are mixed.
    pub mixed: f64,
    /// Share of drawings turned grey.
    pub grey: f64,
    /// Share of drawings on a background of any colour; the others are on white.
    pub background: f64,
    /// Share of drawings of which a rectangle (a tenth to four tenths of each side) is hidden.
    pub erase: f64,
}

impl Default for AugmentSettings {
    fn default() -> Self {
        Self {
            scale: [0.8, 1.33],
            aspect: 0.15,
            rotation: 20.0,
            shift: 0.15,
            flip: 0.5,
            light: 0.3,
            mix: 0.25,
            mixed: 0.6,
            grey: 0.1,
            background: 0.5,
            erase: 0.25,
        }
    }
}

/// A drawing with a transparent border of one pixel, as f32: what the sampler reads, without asking where it is.
const PADDED: usize = SIDE + 2;

/// Varies drawings; keeps its scratch space between calls.
pub struct Augmenter<'a> {
    settings: &'a AugmentSettings,
    size: usize,
    mean: [f32; 3],
    std: [f32; 3],
    padded: Vec<[f32; 4]>,
}

impl<'a> Augmenter<'a> {
    /// An augmenter for pixels of `size` x `size`, normalised with `mean` and `std`.
    pub fn new(settings: &'a AugmentSettings, size: usize, mean: [f32; 3], std: [f32; 3]) -> Self {
        Self {
            settings,
            size,
            mean,
            std,
            padded: vec![[0.0; 4]; PADDED * PADDED],
        }
    }

    /// A new variation of `rgba` (SIDE x SIDE, premultiplied alpha), written to `pixels` (3 x size x size, normalised).
    pub fn vary(&mut self, rgba: &[u8], rng: &mut Rng, pixels: &mut [f32]) {
        self.pad(rgba);
        let sampling = Sampling::draw(self.settings, rng);
        let colours = Colours::draw(self.settings, rng);
        let hidden = Hidden::draw(self.settings, rng, self.size);
        let plane = self.size * self.size;
        for y in 0..self.size {
            for x in 0..self.size {
                let sample = if hidden.covers(x, y) {
                    [0.0; 4]
                } else {
                    self.sample(&sampling, x, y)
                };
                let colour = colours.apply(sample);
                for channel in 0..3 {
                    pixels[channel * plane + y * self.size + x] =
                        (colour[channel] - self.mean[channel]) / self.std[channel];
                }
            }
        }
    }

    fn pad(&mut self, rgba: &[u8]) {
        for (y, row) in rgba.chunks_exact(4 * SIDE).enumerate() {
            for (x, pixel) in row.chunks_exact(4).enumerate() {
                self.padded[(y + 1) * PADDED + x + 1] =
                    [pixel[0], pixel[1], pixel[2], pixel[3]].map(|value| f32::from(value) / 255.0);
            }
        }
    }

    /// One output pixel: the mean of 2 x 2 bilinear samples, enough against aliasing up to a shrinking by two.
    fn sample(&self, sampling: &Sampling, x: usize, y: usize) -> [f32; 4] {
        let step = 1.0 / self.size as f32;
        let mut sum = [0f32; 4];
        for (dx, dy) in [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)] {
            let (u, v) = ((x as f32 + dx) * step - 0.5, (y as f32 + dy) * step - 0.5);
            let sample = self.bilinear(sampling.source_x(u, v), sampling.source_y(u, v));
            for channel in 0..4 {
                sum[channel] += 0.25 * sample[channel];
            }
        }
        sum
    }

    /// The padded drawing at a point in pixels; beyond the border it is transparent.
    fn bilinear(&self, x: f32, y: f32) -> [f32; 4] {
        let most = (PADDED - 1) as f32 - 1e-3;
        let (x, y) = (x.clamp(0.0, most), y.clamp(0.0, most));
        let (left, top) = (x as usize, y as usize);
        let (fx, fy) = (x - left as f32, y - top as f32);
        let at = top * PADDED + left;
        let (a, b) = (self.padded[at], self.padded[at + 1]);
        let (c, d) = (self.padded[at + PADDED], self.padded[at + PADDED + 1]);
        let mut value = [0f32; 4];
        for channel in 0..4 {
            let upper = a[channel] + fx * (b[channel] - a[channel]);
            let lower = c[channel] + fx * (d[channel] - c[channel]);
            value[channel] = upper + fy * (lower - upper);
        }
        value
    }
}

/// Uniform in [-bound, bound).
fn around_zero(rng: &mut Rng, bound: f64) -> f64 {
    (2.0 * unit(rng) - 1.0) * bound
}

/// The inverse affine map, from the centred output to pixels of the padded drawing.
struct Sampling {
    matrix: [f32; 4],
    offset: [f32; 2],
}

impl Sampling {
    fn draw(settings: &AugmentSettings, rng: &mut Rng) -> Self {
        let [small, large] = settings.scale.map(f64::ln);
        let scale = (small + unit(rng) * (large - small)).exp();
        let aspect = (0.5 * around_zero(rng, settings.aspect)).exp();
        let (sin, cos) = around_zero(rng, settings.rotation).to_radians().sin_cos();
        let (shift_x, shift_y) = (
            around_zero(rng, settings.shift),
            around_zero(rng, settings.shift),
        );
        let mirror = if unit(rng) < settings.flip { -1.0 } else { 1.0 };
        let side = SIDE as f64;
        let (across, down) = (mirror * side / (scale * aspect), side * aspect / scale);
        // The drawing's pixel centres lie at whole numbers plus one for the border, minus one half for the centre.
        let centre = side / 2.0 + 0.5;
        let matrix = [across * cos, across * sin, -down * sin, down * cos];
        let offset = [
            centre - matrix[0] * shift_x - matrix[1] * shift_y,
            centre - matrix[2] * shift_x - matrix[3] * shift_y,
        ];
        Self {
            matrix: matrix.map(|value| value as f32),
            offset: offset.map(|value| value as f32),
        }
    }

    fn source_x(&self, u: f32, v: f32) -> f32 {
        self.matrix[0] * u + self.matrix[1] * v + self.offset[0]
    }

    fn source_y(&self, u: f32, v: f32) -> f32 {
        self.matrix[2] * u + self.matrix[3] * v + self.offset[1]
    }
}

/// A colour matrix and offset for the drawing, and the background.
struct Colours {
    matrix: [[f32; 3]; 3],
    offset: f32,
    background: [f32; 3],
}

impl Colours {
    fn draw(settings: &AugmentSettings, rng: &mut Rng) -> Self {
        let contrast = 1.0 + around_zero(rng, settings.light);
        let brightness = around_zero(rng, settings.light);
        let mix = if unit(rng) < settings.mixed {
            settings.mix
        } else {
            0.0
        };
        let grey = unit(rng) < settings.grey;
        let mut matrix = [[0f32; 3]; 3];
        for (row, entries) in matrix.iter_mut().enumerate() {
            for (column, entry) in entries.iter_mut().enumerate() {
                let own = if row == column { 1.0 } else { 0.0 };
                *entry = (contrast * (own + around_zero(rng, mix))) as f32;
            }
        }
        if grey {
            // ITU-R 601 luma, as Pillow's "L".
            matrix = [[0.299, 0.587, 0.114].map(|weight| (contrast * weight) as f32); 3];
        }
        let drawn = [unit(rng), unit(rng), unit(rng)].map(|value| value as f32);
        let background = if unit(rng) < settings.background {
            drawn
        } else {
            [1.0; 3]
        };
        // Contrast turns around the middle grey.
        Self {
            matrix,
            offset: (0.5 * (1.0 - contrast) + 0.5 * brightness) as f32,
            background,
        }
    }

    /// Colour of a premultiplied sample over the background, in 0..=1.
    fn apply(&self, sample: [f32; 4]) -> [f32; 3] {
        let alpha = sample[3];
        std::array::from_fn(|channel| {
            let row = self.matrix[channel];
            let mixed =
                row[0] * sample[0] + row[1] * sample[1] + row[2] * sample[2] + self.offset * alpha;
            mixed.clamp(0.0, alpha) + (1.0 - alpha) * self.background[channel]
        })
    }
}

/// The hidden rectangle, empty if none: x from, x to, y from, y to.
struct Hidden([usize; 4]);

impl Hidden {
    fn draw(settings: &AugmentSettings, rng: &mut Rng, size: usize) -> Self {
        let hides = unit(rng) < settings.erase;
        let mut span = || {
            let length = (0.1 + 0.3 * unit(rng)) * size as f64;
            let start = unit(rng) * (size as f64 - length);
            [start as usize, (start + length) as usize]
        };
        let ([left, right], [top, bottom]) = (span(), span());
        Self(if hides {
            [left, right, top, bottom]
        } else {
            [0; 4]
        })
    }

    fn covers(&self, x: usize, y: usize) -> bool {
        let [left, right, top, bottom] = self.0;
        (left..right).contains(&x) && (top..bottom).contains(&y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::rng::stream;

    const STILL: AugmentSettings = AugmentSettings {
        scale: [1.0, 1.0],
        aspect: 0.0,
        rotation: 0.0,
        shift: 0.0,
        flip: 0.0,
        light: 0.0,
        mix: 0.0,
        mixed: 0.0,
        grey: 0.0,
        background: 0.0,
        erase: 0.0,
    };

    fn ramp() -> Vec<u8> {
        (0..SIDE * SIDE)
            .flat_map(|at| [(at % SIDE * 4) as u8, (at / SIDE * 4) as u8, 128, 255])
            .collect()
    }

    fn vary(settings: &AugmentSettings, rgba: &[u8], size: usize, seed: u64) -> Vec<f32> {
        let mut pixels = vec![f32::NAN; 3 * size * size];
        Augmenter::new(settings, size, [0.0; 3], [1.0; 3]).vary(
            rgba,
            &mut stream(seed, "test"),
            &mut pixels,
        );
        pixels
    }

    #[test]
    fn without_variation_the_drawing_is_only_resized() {
        let pixels = vary(&STILL, &ramp(), 32, 0);
        for (x, y) in [(4, 4), (10, 20), (27, 15)] {
            // Output pixel x covers source pixels 2x and 2x + 1, of values 8x and 8x + 4.
            assert!((pixels[y * 32 + x] - (8 * x + 2) as f32 / 255.0).abs() < 1e-3);
            assert!((pixels[1024 + y * 32 + x] - (8 * y + 2) as f32 / 255.0).abs() < 1e-3);
        }
    }

    #[test]
    fn mirroring_swaps_left_and_right() {
        let flip = AugmentSettings { flip: 1.0, ..STILL };
        let (plain, mirrored) = (vary(&STILL, &ramp(), 32, 0), vary(&flip, &ramp(), 32, 0));
        for x in 2..30 {
            assert!((plain[10 * 32 + x] - mirrored[10 * 32 + 31 - x]).abs() < 1e-3);
        }
    }

    #[test]
    fn every_pixel_is_a_colour() {
        for seed in 0..50 {
            let pixels = vary(&AugmentSettings::default(), &ramp(), 48, seed);
            assert!(
                pixels
                    .iter()
                    .all(|value| (-1e-5..=1.0 + 1e-5).contains(value)),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn transparency_shows_the_white_background() {
        let pixels = vary(&STILL, &vec![0; 4 * SIDE * SIDE], 48, 0);
        assert!(pixels.iter().all(|value| (value - 1.0).abs() < 1e-6));
    }

    #[test]
    fn a_seed_is_a_variation() {
        let settings = AugmentSettings::default();
        assert_eq!(
            vary(&settings, &ramp(), 48, 3),
            vary(&settings, &ramp(), 48, 3)
        );
        assert_ne!(
            vary(&settings, &ramp(), 48, 3),
            vary(&settings, &ramp(), 48, 4)
        );
    }
}
