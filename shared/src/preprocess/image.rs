//! Owns the way from the bytes of a picture to the pixels the image tower takes, as a `preprocessor_config.json` says.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::decode::{self, Limits};
use super::resize::{self, Rgb, Span};
use crate::error::{Error, Result};
use crate::limits::SIDE;

/// Mean of CLIP's pixels by channel.
pub const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// Standard deviation of CLIP's pixels by channel.
pub const STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

const FILE: &str = "preprocessor_config.json";

/// A resampling filter, by Pillow's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resample {
    /// 2: a triangle.
    Bilinear,
    /// 3: Keys' cubic, CLIP's filter.
    #[default]
    Bicubic,
}

impl Serialize for Resample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(match self {
            Resample::Bilinear => 2,
            Resample::Bicubic => 3,
        })
    }
}

impl<'de> Deserialize<'de> for Resample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            2 => Ok(Resample::Bilinear),
            3 => Ok(Resample::Bicubic),
            other => Err(serde::de::Error::custom(format!(
                "resample {other} is not supported; 2 is bilinear, 3 bicubic"
            ))),
        }
    }
}

/// What is resized to: the shorter side, keeping the shape, or both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a size is a number, {\"shortest_edge\": n} or {\"height\": n, \"width\": n}"
)]
enum Size {
    /// An old file's number: the shorter side of a resize, the side of a square crop.
    Side(usize),
    Shortest {
        shortest_edge: usize,
    },
    Exact {
        height: usize,
        width: usize,
    },
}

/// Turns pictures into pixels. Its JSON is Hugging Face's `preprocessor_config.json`; what is absent is CLIP's.
///
/// One key is ours: `"background": [r, g, b]` puts transparent pictures over that colour. Without it alpha is dropped,
/// as CLIP does, and the colours that transparent pixels happen to have are seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImagePreprocessor {
    do_resize: bool,
    size: Size,
    resample: Resample,
    do_center_crop: bool,
    crop_size: Size,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    image_mean: [f32; 3],
    image_std: [f32; 3],
    #[serde(skip_serializing_if = "Option::is_none")]
    background: Option<[u8; 3]>,
    #[serde(skip)]
    limits: Limits,
}

impl Default for ImagePreprocessor {
    /// CLIP's own: shorter side 224, bicubic, centre crop, CLIP's mean and deviation.
    fn default() -> Self {
        Self {
            do_resize: true,
            size: Size::Shortest { shortest_edge: 224 },
            resample: Resample::Bicubic,
            do_center_crop: true,
            crop_size: Size::Exact {
                height: 224,
                width: 224,
            },
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: MEAN,
            image_std: STD,
            background: None,
            limits: Limits::default(),
        }
    }
}

impl ImagePreprocessor {
    /// CLIP's preprocessing for pictures of `size` x `size`, over `background` if there is one.
    pub fn new(size: usize, background: Option<[u8; 3]>) -> Self {
        Self {
            size: Size::Shortest {
                shortest_edge: size,
            },
            crop_size: Size::Exact {
                height: size,
                width: size,
            },
            background,
            ..Self::default()
        }
    }

    /// The same with other limits on what is decoded.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Reads a Hugging Face `preprocessor_config.json`; keys that do not concern pictures are ignored.
    ///
    /// # Errors
    /// If it is not JSON, has an unknown filter, or its result would not be a square.
    pub fn from_json(json: &str) -> Result<Self> {
        let preprocessor: Self =
            serde_json::from_str(json).map_err(|e| config_error(e.to_string()))?;
        preprocessor.check()?;
        Ok(preprocessor)
    }

    /// Writes what [`Self::from_json`] reads.
    pub fn to_json(&self) -> String {
        // Numbers, booleans and short lists only: nothing that could fail to be written.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The side S of the square result.
    pub fn size(&self) -> usize {
        match if self.do_center_crop {
            self.crop_size
        } else {
            self.size
        } {
            Size::Side(side)
            | Size::Shortest {
                shortest_edge: side,
            } => side,
            Size::Exact { width, .. } => width,
        }
    }

    /// The colour behind transparent pictures, if alpha is not dropped.
    pub fn background(&self) -> Option<[u8; 3]> {
        self.background
    }

    /// Decodes a PNG, JPEG, WebP or GIF (its first frame) and returns its pixels [3, S, S], normalised.
    ///
    /// # Errors
    /// If the bytes are no such picture, are damaged or incomplete, are beyond the limits, or if the picture is smaller
    /// than a crop that nothing was resized for.
    pub fn pixels(&self, bytes: &[u8]) -> Result<Vec<f32>> {
        let picture = decode::decode(bytes, self.background, self.limits)?;
        Ok(self.normalise(&self.window(&picture)?.data))
    }

    /// The part of a picture that the crop leaves: left, top, width and height as shares of the upright picture's.
    ///
    /// # Errors
    /// As [`Self::pixels`].
    pub fn seen(&self, bytes: &[u8]) -> Result<[f32; 4]> {
        let picture = decode::decode(bytes, self.background, self.limits)?;
        let (width, height) = if self.do_resize {
            self.resized(picture.width, picture.height)?
        } else {
            (picture.width, picture.height)
        };
        let side = self.size();
        let share = |whole: usize| {
            let start = whole.saturating_sub(side) / 2;
            (start as f32 / whole as f32, side as f32 / whole as f32)
        };
        let ((left, wide), (top, high)) = (share(width), share(height));
        Ok([left, top, wide, high])
    }

    /// The same from decoded, upright RGB samples: `data` is [height, width, 3].
    ///
    /// # Errors
    /// If `data` has another length, or as [`Self::pixels`].
    pub fn pixels_from_rgb(&self, width: usize, height: usize, data: Vec<u8>) -> Result<Vec<f32>> {
        if width == 0 || height == 0 || data.len() != width * height * 3 {
            return Err(Error::Image(format!(
                "{} bytes are not the RGB samples of {width} x {height} pixels",
                data.len()
            )));
        }
        let picture = Rgb {
            width,
            height,
            data,
        };
        Ok(self.normalise(&self.window(&picture)?.data))
    }

    /// The 8-bit picture [S, S, 3] that is normalised: resized and cropped.
    ///
    /// # Errors
    /// As [`Self::pixels`].
    pub fn bytes(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let picture = decode::decode(bytes, self.background, self.limits)?;
        Ok(self.window(&picture)?.data)
    }

    /// The pixels [3, S, S] of what [`Self::bytes`] gave.
    ///
    /// # Errors
    /// If these are not so many bytes.
    pub fn pixels_of(&self, window: &[u8]) -> Result<Vec<f32>> {
        let length = 3 * self.size().pow(2);
        if window.len() != length {
            return Err(Error::Input(format!(
                "a preprocessed picture has {} bytes instead of {length}",
                window.len()
            )));
        }
        Ok(self.normalise(window))
    }

    /// Stacks the pixels of many pictures: [B, 3, S, S].
    ///
    /// # Errors
    /// If one of them has another length, or the tensor cannot be made on the device.
    pub fn tensor(&self, many: &[Vec<f32>], device: &Device) -> Result<Tensor> {
        let side = self.size();
        let length = 3 * side * side;
        if let Some(row) = many.iter().find(|row| row.len() != length) {
            return Err(Error::Input(format!(
                "a picture has {} values instead of the {length} of 3 x {side} x {side}",
                row.len()
            )));
        }
        Ok(Tensor::from_vec(
            many.concat(),
            (many.len(), 3, side, side),
            device,
        )?)
    }

    fn check(&self) -> Result<()> {
        let side = self.size();
        let target = if self.do_center_crop {
            self.crop_size
        } else {
            self.size
        };
        if let Size::Exact { height, width } = target
            && height != width
        {
            return Err(config_error(format!(
                "the result would be {width} x {height}; the image tower takes squares"
            )));
        }
        if !self.do_center_crop && !matches!(self.size, Size::Exact { .. }) {
            return Err(config_error(
                "without do_center_crop, size must have a height and a width, or the result is no square".into(),
            ));
        }
        if !self.do_center_crop && !self.do_resize {
            return Err(config_error(
                "do_resize and do_center_crop are both off; the result is no square".into(),
            ));
        }
        let resized = match self.size {
            Size::Side(side)
            | Size::Shortest {
                shortest_edge: side,
            } => side,
            Size::Exact { height, width } => height.min(width),
        };
        if side == 0 || side > SIDE || resized == 0 || resized > SIDE {
            return Err(config_error(format!(
                "sizes are {resized} and {side}; they must be 1 to {SIDE}"
            )));
        }
        if self.do_resize && resized < side {
            return Err(config_error(format!(
                "crop_size {side} is larger than size {resized}"
            )));
        }
        if self.image_std.iter().any(|s| *s <= 0.0) {
            return Err(config_error(format!(
                "image_std is {:?}; all three must be positive",
                self.image_std
            )));
        }
        Ok(())
    }

    /// Resizes and crops. The crop's offset is rounded down, as Hugging Face does; torchvision rounds half to even,
    /// which is one pixel further right or down when the margin is 3, 7, 11, ..
    fn window(&self, picture: &Rgb) -> Result<Rgb> {
        let (width, height) = (picture.width, picture.height);
        let (new_width, new_height) = if self.do_resize {
            self.resized(width, height)?
        } else {
            (width, height)
        };
        let side = self.size();
        if new_width < side || new_height < side {
            return Err(Error::Image(format!(
                "{new_width} x {new_height} is smaller than the crop of {side}, and {FILE} has do_resize off"
            )));
        }
        let span = |input, output| Span {
            input,
            output,
            start: (output - side) / 2,
            length: side,
        };
        Ok(resize::resize(
            picture,
            span(width, new_width),
            span(height, new_height),
            self.resample,
        ))
    }

    fn resized(&self, width: usize, height: usize) -> Result<(usize, usize)> {
        let short = match self.size {
            Size::Side(side)
            | Size::Shortest {
                shortest_edge: side,
            } => side,
            Size::Exact { height, width } => return Ok((width, height)),
        };
        let long = short as u64 * width.max(height) as u64 / width.min(height) as u64;
        let long = usize::try_from(long)
            .ok()
            .filter(|&long| long < 1 << 30)
            .ok_or_else(|| {
                Error::Image(format!(
                    "{width} x {height} is too thin to be made {short} wide; crop it"
                ))
            })?;
        Ok(if width <= height {
            (short, long)
        } else {
            (long, short)
        })
    }

    fn normalise(&self, window: &[u8]) -> Vec<f32> {
        let area = window.len() / 3;
        let mut pixels = vec![0f32; 3 * area];
        let factor = if self.do_rescale {
            self.rescale_factor as f32
        } else {
            1.0
        };
        for (channel, plane) in pixels.chunks_exact_mut(area).enumerate() {
            let (mean, deviation) = if self.do_normalize {
                (self.image_mean[channel], self.image_std[channel])
            } else {
                (0.0, 1.0)
            };
            for (pixel, rgb) in plane.iter_mut().zip(window.chunks_exact(3)) {
                *pixel = (f32::from(rgb[channel]) * factor - mean) / deviation;
            }
        }
        pixels
    }
}

fn config_error(message: String) -> Error {
    Error::Config {
        file: FILE.into(),
        message,
    }
}
