//! Owns a cell of the grid: what is trained on what, with which posts incomplete, from which seed.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, bail};

use crate::settings::MissingKind;

/// A scenario of the paper: which modality is missing from which share of the posts (paper, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which modality goes.
    pub kind: MissingKind,
    /// Percent of the posts that lose one.
    pub rate: u32,
}

/// The nine settings in the order of the rows of the paper's table 1.
pub const SETTINGS: [Setting; 9] = {
    use MissingKind::{Both, Image, Text};
    const fn of(kind: MissingKind, rate: u32) -> Setting {
        Setting { kind, rate }
    }
    [
        of(Text, 50),
        of(Image, 50),
        of(Both, 50),
        of(Text, 70),
        of(Image, 70),
        of(Both, 70),
        of(Text, 90),
        of(Image, 90),
        of(Both, 90),
    ]
};

impl Setting {
    /// The kind's name in settings and files.
    pub fn kind_name(self) -> &'static str {
        match self.kind {
            MissingKind::Both => "both",
            MissingKind::Text => "text",
            MissingKind::Image => "image",
        }
    }

    /// Percent of the posts that keep image and text, as the paper labels its rows.
    pub fn kept(self) -> [u32; 2] {
        match self.kind {
            MissingKind::Text => [100, 100 - self.rate],
            MissingKind::Image => [100 - self.rate, 100],
            MissingKind::Both => [100 - self.rate / 2; 2],
        }
    }

    /// The share of incomplete posts.
    pub fn ratio(self) -> f64 {
        f64::from(self.rate) / 100.0
    }

    /// Its place among the paper's rows; settings that are not the paper's come last.
    pub fn place(self) -> usize {
        SETTINGS
            .iter()
            .position(|own| *own == self)
            .unwrap_or(SETTINGS.len())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind_name(), self.rate)
    }
}

impl FromStr for Setting {
    type Err = anyhow::Error;

    /// `both-70`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('-');
        let (kind, rate) =
            parts.with_context(|| format!("{text:?} is no setting; write one as both-70"))?;
        let kind = match kind {
            "both" => MissingKind::Both,
            "text" => MissingKind::Text,
            "image" => MissingKind::Image,
            other => bail!("{other:?} cannot be missing; use text, image or both"),
        };
        let rate: u32 = rate
            .parse()
            .ok()
            .filter(|rate| *rate <= 100)
            .with_context(|| format!("{rate:?} is no rate; use percent, 0 to 100"))?;
        Ok(Self { kind, rate })
    }
}

/// One training of the grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The data set's name.
    pub data: String,
    /// The prompt variant's name.
    pub prompt: String,
    /// The head variant's name.
    pub head: String,
    /// Which posts are incomplete, in training and in testing.
    pub setting: Setting,
    /// The seed of first values, order of posts and missing tables.
    pub seed: u64,
}

impl Cell {
    /// Its name in files: `emoji/dcp-dpl-both-70-seed0`.
    pub fn name(&self) -> String {
        let Self {
            data,
            prompt,
            head,
            setting,
            seed,
        } = self;
        format!("{data}/{prompt}-{head}-{setting}-seed{seed}")
    }

    /// What it sets, as `key=value`.
    pub fn overrides(&self) -> Vec<String> {
        vec![
            format!("missing.kind={}", self.setting.kind_name()),
            format!("missing.ratio={}", self.setting.ratio()),
            format!("missing.seed={}", self.seed),
            format!("train.seed={}", self.seed),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_as_they_are_written() {
        for setting in SETTINGS {
            assert_eq!(setting.to_string().parse::<Setting>().unwrap(), setting);
        }
        assert_eq!("both-70".parse::<Setting>().unwrap().kept(), [65, 65]);
        assert_eq!("text-90".parse::<Setting>().unwrap().kept(), [100, 10]);
        for wrong in ["both", "sound-70", "text-170", "text-x"] {
            assert!(wrong.parse::<Setting>().is_err(), "{wrong}");
        }
    }
}
