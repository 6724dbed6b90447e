//! Owns what all plots have in common: size, title, legend, colours, marks, and text that fits.

use std::ops::Range;

use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;

/// Okabe and Ito's colours, without the yellow, which a white background swallows.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];
/// Text and marks.
pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
const GRID: RGBColor = RGBColor(221, 221, 221);
const MARGIN: i32 = 16;
const LEFT: i32 = 72;
const HEIGHT: i32 = 460;
/// Sizes of text in pixels.
const TITLE: f64 = 17.0;
const TEXT: f64 = 13.0;
/// Between two lines of text.
const LINE: i32 = 18;

/// The colour of a series; the eighth has the first one again.
pub(super) fn colour(series: usize) -> RGBColor {
    PALETTE[series % PALETTE.len()]
}

/// What surrounds the data.
pub(super) struct Frame<'a> {
    pub(super) title: &'a str,
    /// The name of the horizontal axis; groups need none.
    pub(super) x_label: &'a str,
    pub(super) y_label: &'a str,
    /// The names of the series, in their order.
    pub(super) series: Vec<&'a str>,
    pub(super) scale: Scale<'a>,
    pub(super) y: Range<f64>,
    /// Pixels, at least.
    pub(super) width: i32,
    /// Whether series have markers besides colours.
    pub(super) markers: bool,
}

/// The horizontal axis.
pub(super) enum Scale<'a> {
    /// Numbers.
    Numbers(Range<f64>),
    /// Groups: group i at i, from -0.5 to the number of groups - 0.5.
    Groups(&'a [String]),
}

/// Where the data is drawn, in its own coordinates and in pixels.
pub(super) struct Canvas<'a, 'b> {
    root: &'a DrawingArea<SVGBackend<'b>, Shift>,
    place: &'a dyn Fn(f64, f64) -> (i32, i32),
}

impl Frame<'_> {
    /// Draws the frame and, by `data`, what is in it.
    pub(super) fn draw(&self, data: impl Fn(&Canvas<'_, '_>) -> Result<()>) -> Result<String> {
        let size = (self.width() as u32, self.height() as u32);
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            root.fill(&WHITE)?;
            self.paint(&root, data)
                .with_context(|| format!("cannot draw the plot {:?}", self.title))?;
            root.present()?;
        }
        // For people who hear the page instead of seeing it.
        let name = escaped(self.title);
        let named = format!("<svg role=\"img\" aria-label=\"{name}\" ");
        Ok(svg.replacen("<svg ", &named, 1))
    }

    fn paint(
        &self,
        root: &DrawingArea<SVGBackend<'_>, Shift>,
        data: impl Fn(&Canvas<'_, '_>) -> Result<()>,
    ) -> Result<()> {
        let x = match &self.scale {
            Scale::Numbers(range) => range.clone(),
            Scale::Groups(groups) => -0.5..groups.len() as f64 - 0.5,
        };
        let x = match self.scale {
            Scale::Numbers(_) => Axis::new(x, 10),
            Scale::Groups(_) => Axis::without_numbers(x),
        };
        let mut chart = ChartBuilder::on(root)
            .margin_top(self.top())
            .margin_right(MARGIN)
            .margin_left(MARGIN / 2)
            .margin_bottom(MARGIN / 2)
            .y_label_area_size(LEFT)
            .x_label_area_size(self.bottom())
            .build_cartesian_2d(x, Axis::new(self.y.clone(), 8))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(style(TEXT))
            .axis_desc_style(style(TEXT))
            .y_desc(self.y_label)
            .x_desc(self.x_label)
            .draw()?;
        let place = |x: f64, y: f64| chart.backend_coord(&(x, y));
        let canvas = Canvas {
            root,
            place: &place,
        };
        canvas.words(self.title, (MARGIN, MARGIN), HPos::Left, TITLE, true)?;
        self.legend(&canvas)?;
        if let Scale::Groups(groups) = self.scale {
            for (i, group) in groups.iter().enumerate() {
                let (x, y) = place(i as f64, self.y.start);
                for (line, words) in self.wrapped(group, groups.len()).iter().enumerate() {
                    let y = y + 8 + line as i32 * LINE;
                    canvas.words(words, (x, y), HPos::Center, TEXT, false)?;
                }
            }
        }
        data(&canvas)
    }

    /// A swatch and a name for each series, in as many lines as it takes.
    fn legend(&self, canvas: &Canvas<'_, '_>) -> Result<()> {
        for (series, (x, line)) in self.legend_places().into_iter().enumerate() {
            let y = MARGIN + 34 + line * (LINE + 2);
            if self.markers {
                canvas.path(&[(x, y), (x + 24, y)], colour(series), 2)?;
                canvas.marker(series, (x + 12, y))?;
            } else {
                canvas.block((x + 6, y - 6), (x + 18, y + 6), colour(series), 1.0)?;
            }
            let at = (x + 30, y - 6);
            canvas.words(self.series[series], at, HPos::Left, TEXT, false)?;
        }
        Ok(())
    }

    /// Where each entry of the legend begins: pixel and line. A single series without a name needs no legend.
    fn legend_places(&self) -> Vec<(i32, i32)> {
        if self.series.iter().all(|name| name.is_empty()) {
            return Vec::new();
        }
        let (mut x, mut line) = (MARGIN, 0);
        let place = |name: &&str| {
            let width = 30 + width_of(name) + 22;
            if x > MARGIN && x + width > self.width() - MARGIN {
                (x, line) = (MARGIN, line + 1);
            }
            let start = (x, line);
            x += width;
            start
        };
        self.series.iter().map(place).collect()
    }

    /// Pixels above the data.
    fn top(&self) -> i32 {
        let lines = self.legend_places().last().map_or(0, |(_, line)| line + 1);
        MARGIN + 34 + lines * (LINE + 2)
    }

    /// Pixels below the data.
    fn bottom(&self) -> i32 {
        match self.scale {
            Scale::Numbers(_) => 52,
            Scale::Groups(groups) => {
                let lines = groups
                    .iter()
                    .map(|name| self.wrapped(name, groups.len()).len());
                16 + LINE * lines.max().unwrap_or(1) as i32
            }
        }
    }

    /// Pixels: wide enough for the title too.
    fn width(&self) -> i32 {
        let title = self.title.chars().count() as f64 * 0.58 * TITLE;
        self.width.max(2 * MARGIN + title.ceil() as i32)
    }

    fn height(&self) -> i32 {
        HEIGHT + self.top() + self.bottom() - 100
    }

    /// A group's name in lines that its share of the width can hold; a long word stays whole.
    fn wrapped(&self, name: &str, groups: usize) -> Vec<String> {
        let room = (self.width() - LEFT - 2 * MARGIN) / groups.max(1) as i32 - 6;
        let mut lines: Vec<String> = Vec::new();
        for word in name.split_whitespace() {
            match lines.last_mut() {
                Some(line) if width_of(line) + width_of(word) + 5 <= room => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    }
}

impl Canvas<'_, '_> {
    /// The pixel of a point.
    pub(super) fn place(&self, x: f64, y: f64) -> (i32, i32) {
        (self.place)(x, y)
    }

    /// A line through pixels.
    pub(super) fn path(&self, points: &[(i32, i32)], colour: RGBColor, width: u32) -> Result<()> {
        let path = PathElement::new(points.to_vec(), colour.stroke_width(width));
        Ok(self.root.draw(&path)?)
    }

    /// A filled rectangle between two pixels, with an outline of the same colour.
    pub(super) fn block(
        &self,
        from: (i32, i32),
        to: (i32, i32),
        colour: RGBColor,
        opacity: f64,
    ) -> Result<()> {
        let (low, high) = (
            (from.0.min(to.0), from.1.min(to.1)),
            (from.0.max(to.0), from.1.max(to.1)),
        );
        let fill = Rectangle::new([low, high], colour.mix(opacity).filled());
        self.root.draw(&fill)?;
        Ok(self
            .root
            .draw(&Rectangle::new([low, high], colour.stroke_width(1)))?)
    }

    /// A vertical line with a bar at each end, from `low` to `high` at pixel column `x`.
    pub(super) fn whisker(&self, x: i32, low: i32, high: i32, half: i32) -> Result<()> {
        self.path(&[(x, low), (x, high)], INK, 1)?;
        for y in [low, high] {
            self.path(&[(x - half, y), (x + half, y)], INK, 1)?;
        }
        Ok(())
    }

    /// A hollow circle, for a value apart.
    pub(super) fn ring(&self, at: (i32, i32), colour: RGBColor) -> Result<()> {
        Ok(self
            .root
            .draw(&Circle::new(at, 3, colour.stroke_width(1)))?)
    }

    /// The sign of a series: circle, square, triangle, diamond.
    pub(super) fn marker(&self, series: usize, at: (i32, i32)) -> Result<()> {
        let (x, y) = at;
        let polygon = match series % 4 {
            0 => {
                return Ok(self
                    .root
                    .draw(&Circle::new(at, 5, colour(series).filled()))?);
            }
            1 => vec![
                (x - 5, y - 5),
                (x + 5, y - 5),
                (x + 5, y + 5),
                (x - 5, y + 5),
            ],
            2 => vec![(x, y - 6), (x + 6, y + 5), (x - 6, y + 5)],
            _ => vec![(x, y - 7), (x + 7, y), (x, y + 7), (x - 7, y)],
        };
        Ok(self.root.draw(&Polygon::new(polygon, colour(series)))?)
    }

    /// Small print centred above a pixel.
    pub(super) fn note(&self, words: &str, at: (i32, i32)) -> Result<()> {
        self.words(words, (at.0, at.1 - 14), HPos::Center, 11.0, false)
    }

    fn words(&self, words: &str, at: (i32, i32), h: HPos, size: f64, bold: bool) -> Result<()> {
        let mut style = style(size).pos(Pos::new(h, VPos::Top));
        if bold {
            style.font = style.font.style(FontStyle::Bold);
        }
        Ok(self.root.draw(&Text::new(words, at, style))?)
    }
}

/// The crate divides sizes by 1.24 when it writes SVG.
fn style(pixels: f64) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", pixels * 1.24).into_font()).color(&INK)
}

/// About how wide text is, in pixels; there is no font to measure it with.
fn width_of(text: &str) -> i32 {
    (text.chars().count() as f64 * 0.56 * TEXT).ceil() as i32
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}
