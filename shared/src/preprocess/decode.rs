//! Owns decoding: the bytes of a PNG, JPEG, WebP or GIF become upright 8-bit RGB, within limits checked on the header.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use super::jpeg;
use super::resize::Rgb;
use crate::error::{Error, Result};
use crate::limits;

/// What a picture may cost. Checked on its header, before memory is taken: a few bytes can claim a gigabyte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels.
    pub pixels: u64,
    /// Most bytes of decoded samples.
    pub bytes: u64,
}

impl Default for Limits {
    /// Those of [`limits`].
    fn default() -> Self {
        Self {
            pixels: limits::PIXELS,
            bytes: limits::SAMPLE_BYTES,
        }
    }
}

impl Limits {
    /// Refuses a picture that claims more than the limits.
    pub(super) fn check(self, width: u32, height: u32, bytes: u64) -> Result<()> {
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 {
            return Err(Error::Image(format!(
                "its size is {width} x {height}; it has no pixels"
            )));
        }
        if pixels > self.pixels {
            return Err(Error::Image(format!(
                "{width} x {height} is {:.1} megapixels; at most {:.1} are decoded, make it smaller",
                pixels as f64 / 1e6,
                self.pixels as f64 / 1e6
            )));
        }
        if bytes > self.bytes {
            return Err(Error::Image(format!(
                "{width} x {height} would take {} MiB decoded; at most {} are allowed, make it smaller",
                bytes >> 20,
                self.bytes >> 20
            )));
        }
        Ok(())
    }
}

/// Decodes as Pillow's `convert("RGB")` would, then turns the picture upright as its EXIF orientation says.
///
/// Alpha is dropped, or composited over `background` if there is one. Sixteen-bit samples keep their high byte (Pillow
/// does so for colour but clips 16-bit grey at 255, which leaves a white sheet; that is not copied).
pub(super) fn decode(bytes: &[u8], background: Option<[u8; 3]>, limits: Limits) -> Result<Rgb> {
    if bytes.len() > limits::PICTURE_BYTES {
        let most = limits::PICTURE_BYTES / 1_000_000;
        return Err(Error::Image(format!(
            "the file has {} bytes; at most {most} MB are read, make it smaller",
            bytes.len()
        )));
    }
    let (picture, orientation) = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg::decode(bytes, limits)?,
        Ok(format @ (ImageFormat::Png | ImageFormat::WebP | ImageFormat::Gif)) => {
            decode_format(bytes, format, limits)?
        }
        _ => {
            return Err(Error::Image(
                "the bytes are no PNG, JPEG, WebP or GIF; save the picture in one of these".into(),
            ));
        }
    };
    let rgb = to_rgb(picture, background);
    let mut upright = DynamicImage::ImageRgb8(rgb);
    upright.apply_orientation(orientation);
    let rgb = upright.into_rgb8();
    let (width, height) = rgb.dimensions();
    Ok(Rgb {
        width: width as usize,
        height: height as usize,
        data: rgb.into_raw(),
    })
}

fn decode_format(
    bytes: &[u8],
    format: ImageFormat,
    limits: Limits,
) -> Result<(DynamicImage, Orientation)> {
    let damaged = |error: image::ImageError| {
        let name = format!("{format:?}").to_uppercase();
        Error::Image(format!(
            "this {name} is damaged, incomplete or unusual and cannot be decoded: {error}"
        ))
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut allowed = image::Limits::default();
    // The decoder's own buffers come on top of the picture.
    allowed.max_alloc = Some(limits.bytes.saturating_mul(2));
    reader.limits(allowed);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    limits.check(width, height, decoder.total_bytes())?;
    // Unreadable metadata says nothing about the pixels. For a WebP's the library takes what memory they claim to need.
    let readable = format != ImageFormat::WebP || chunks_are_whole(bytes);
    let orientation = match readable {
        true => decoder.orientation().unwrap_or(Orientation::NoTransforms),
        false => Orientation::NoTransforms,
    };
    let picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    Ok((picture, orientation))
}

/// Whether every chunk of a WebP ends within the file.
fn chunks_are_whole(file: &[u8]) -> bool {
    // "RIFF", a size, "WEBP"; of each chunk a name and a size, and a byte more where the size is odd.
    let mut rest = file.get(12..).unwrap_or_default();
    while let Some((header, chunk)) = rest.split_first_chunk::<8>() {
        let [.., a, b, c, d] = *header;
        let size = u64::from(u32::from_le_bytes([a, b, c, d]));
        if size > chunk.len() as u64 {
            return false;
        }
        let end = (size + size % 2).min(chunk.len() as u64);
        rest = &chunk[end as usize..];
    }
    true
}

/// 8-bit RGB of any decoded picture.
fn to_rgb(picture: DynamicImage, background: Option<[u8; 3]>) -> RgbImage {
    let (width, height) = (picture.width(), picture.height());
    let high =
        |samples: Vec<u16>| -> Vec<u8> { samples.into_iter().map(|v| (v >> 8) as u8).collect() };
    let (channels, samples) = match picture {
        DynamicImage::ImageRgb8(rgb) => return rgb,
        DynamicImage::ImageLuma8(grey) => (1, grey.into_raw()),
        DynamicImage::ImageLumaA8(grey) => (2, grey.into_raw()),
        DynamicImage::ImageRgba8(rgba) => (4, rgba.into_raw()),
        DynamicImage::ImageLuma16(grey) => (1, high(grey.into_raw())),
        DynamicImage::ImageLumaA16(grey) => (2, high(grey.into_raw())),
        DynamicImage::ImageRgb16(rgb) => (3, high(rgb.into_raw())),
        DynamicImage::ImageRgba16(rgba) => (4, high(rgba.into_raw())),
        other => (4, other.into_rgba8().into_raw()),
    };
    let mut data = Vec::with_capacity(samples.len() / channels * 3);
    for pixel in samples.chunks_exact(channels) {
        let (color, alpha) = match *pixel {
            [v] => ([v; 3], 255),
            [v, a] => ([v; 3], a),
            [r, g, b] => ([r, g, b], 255),
            [r, g, b, a] => ([r, g, b], a),
            _ => unreachable!("a pixel has one to four samples"),
        };
        data.extend(background.map_or(color, |back| over(color, alpha, back)));
    }
    RgbImage::from_raw(width, height, data).unwrap_or_default()
}

/// `color` with `alpha` over `back`, rounded.
fn over(color: [u8; 3], alpha: u8, back: [u8; 3]) -> [u8; 3] {
    let alpha = u32::from(alpha);
    std::array::from_fn(|i| {
        ((u32::from(color[i]) * alpha + u32::from(back[i]) * (255 - alpha) + 127) / 255) as u8
    })
}

#[cfg(test)]
mod tests {
    use image::codecs::webp::WebPEncoder;
    use image::{ExtendedColorType, ImageEncoder};

    use super::*;

    /// A WebP of two pixels, red and blue, with metadata of these bytes that claim to be `size` long.
    fn with_metadata(bytes: &[u8], size: u32) -> Vec<u8> {
        let mut plain = Vec::new();
        WebPEncoder::new_lossless(&mut plain)
            .write_image(&[255, 0, 0, 0, 0, 255], 2, 1, ExtendedColorType::Rgb8)
            .unwrap();
        let mut file = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0".to_vec();
        // It has EXIF; width and height less one in three bytes each.
        file.extend([8, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
        file.extend(&plain[12..]);
        file.extend(b"EXIF");
        file.extend(size.to_le_bytes());
        file.extend(bytes);
        let length = (file.len() - 8) as u32;
        file[4..8].copy_from_slice(&length.to_le_bytes());
        file
    }

    /// Where a program has no such memory, in the browser, this ended it.
    #[test]
    fn metadata_that_claim_gigabytes_are_not_read() {
        // One entry: turned by 180 degrees.
        let turned = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0";
        let first = |size: u32| {
            let file = with_metadata(turned, size);
            let picture = decode(&file, None, Limits::default()).unwrap();
            assert_eq!((picture.width, picture.height), (2, 1));
            picture.data[..3].to_vec()
        };
        assert_eq!(first(turned.len() as u32), [0, 0, 255]);
        assert_eq!(first(0xcc47_0068), [255, 0, 0]);
    }
}
