//! Owns turning a vector drawing into a small square picture: cropped to what is visible, centred, with a margin.

use image::{Rgb, RgbImage, RgbaImage};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg;

/// Side of the prepared pictures in pixels.
pub const SIZE: u32 = 64;
/// The square is this much wider than the drawing.
const MARGIN: f32 = 1.06;
/// Longest side of the first rendering, in which the visible box is looked for.
const PROBE: f32 = 256.0;
/// Drawings more elongated than this would be a thin line.
const MOST_ELONGATED: f32 = 6.0;

/// Settings of the parser: no fonts and no files of this machine, so that every machine renders the same.
pub fn options() -> usvg::Options<'static> {
    let mut options = usvg::Options::default();
    options.image_href_resolver.resolve_string = Box::new(|_, _| None);
    options
}

/// Renders a drawing as a [`SIZE`] x [`SIZE`] picture with alpha; nothing if it is empty or a thin line.
pub fn square(tree: &usvg::Tree) -> Option<RgbaImage> {
    let (width, height) = (tree.size().width(), tree.size().height());
    let scale = PROBE / width.max(height);
    let probe = render(
        tree,
        ((width * scale).ceil() as u32).max(1),
        ((height * scale).ceil() as u32).max(1),
        Transform::from_scale(scale, scale),
    )?;
    let [left, top, right, bottom] = visible_box(&probe)?;
    let (w, h) = ((right - left) as f32, (bottom - top) as f32);
    if w.max(h) > MOST_ELONGATED * w.min(h) {
        return None;
    }
    // Rendered a second time straight into its place, instead of resampling the first.
    let side = w.max(h) * MARGIN;
    let zoom = SIZE as f32 / side;
    let x = (left as f32 + w / 2.0 - side / 2.0) * zoom;
    let y = (top as f32 + h / 2.0 - side / 2.0) * zoom;
    let place = Transform::from_row(scale * zoom, 0.0, 0.0, scale * zoom, -x, -y);
    let pixels = render(tree, SIZE, SIZE, place)?;
    RgbaImage::from_raw(SIZE, SIZE, pixels.take_demultiplied())
}

/// The picture over a white page.
pub fn on_white(picture: &RgbaImage) -> RgbImage {
    let mut page = RgbImage::new(picture.width(), picture.height());
    for (from, to) in picture.pixels().zip(page.pixels_mut()) {
        let alpha = u32::from(from.0[3]);
        let over = |c: u8| ((u32::from(c) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        *to = Rgb([over(from.0[0]), over(from.0[1]), over(from.0[2])]);
    }
    page
}

fn render(tree: &usvg::Tree, width: u32, height: u32, transform: Transform) -> Option<Pixmap> {
    let mut pixels = Pixmap::new(width, height)?;
    resvg::render(tree, transform, &mut pixels.as_mut());
    Some(pixels)
}

/// Left, top, right, bottom of what is more than a trace; right and bottom exclusive.
fn visible_box(pixels: &Pixmap) -> Option<[u32; 4]> {
    let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
    let width = pixels.width().max(1);
    for (i, pixel) in pixels.pixels().iter().enumerate() {
        if pixel.alpha() > 12 {
            let (x, y) = (i as u32 % width, i as u32 / width);
            (left, right) = (left.min(x), right.max(x + 1));
            (top, bottom) = (top.min(y), bottom.max(y + 1));
        }
    }
    (left < right && top < bottom).then_some([left, top, right, bottom])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(body: &str) -> usvg::Tree {
        let svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{body}</svg>"#
        );
        usvg::Tree::from_str(&svg, &options()).unwrap()
    }

    #[test]
    fn a_small_shape_fills_the_square_up_to_the_margin() {
        let picture = square(&tree(
            r##"<rect x="70" y="10" width="20" height="20" fill="#f00"/>"##,
        ))
        .unwrap();
        assert_eq!(picture.dimensions(), (SIZE, SIZE));
        assert_eq!(picture.get_pixel(32, 32).0, [255, 0, 0, 255]);
        assert_eq!(picture.get_pixel(3, 32).0, [255, 0, 0, 255]);
        assert_eq!(picture.get_pixel(0, 32).0[3], 0);
        assert_eq!(on_white(&picture).get_pixel(0, 0).0, [255; 3]);
        assert_eq!(on_white(&picture).get_pixel(32, 32).0, [255, 0, 0]);
    }

    #[test]
    fn empty_drawings_and_lines_are_left_out() {
        assert!(square(&tree("")).is_none());
        assert!(square(&tree(r#"<rect width="100" height="5"/>"#)).is_none());
    }
}
