//! Owns the missing cases of a post: which of its two modalities are there, and the codes 0, 1, 2 used everywhere.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One of the two inputs of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// The picture.
    Image,
    /// The words.
    Text,
}

impl Modality {
    /// Both modalities, image first, as every pair in this project is ordered.
    pub const ALL: [Modality; 2] = [Modality::Image, Modality::Text];

    /// The name used in tensor names, files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Modality::Image => "image",
            Modality::Text => "text",
        }
    }
}

/// Which modalities a post has (C, R_T and R_I in the paper, section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// Image and text: code 0, C.
    Complete,
    /// Image only: code 1, R_T.
    TextMissing,
    /// Text only: code 2, R_I.
    ImageMissing,
}

impl Case {
    /// All cases in the order of their codes.
    pub const ALL: [Case; 3] = [Case::Complete, Case::TextMissing, Case::ImageMissing];

    /// The code of the missing tables: 0 complete, 1 text missing, 2 image missing.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The code as an index into arrays of three.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The case of a code.
    ///
    /// # Errors
    /// If the code is not 0, 1 or 2.
    pub fn from_code(code: u8) -> Result<Self> {
        Self::ALL.get(usize::from(code)).copied().ok_or_else(|| {
            Error::Input(format!(
                "{code} is no missing code; 0 is complete, 1 text missing, 2 image missing"
            ))
        })
    }

    /// The case of a post that has, or lacks, each modality.
    ///
    /// # Errors
    /// If both are missing: there is nothing to classify.
    pub fn of(has_image: bool, has_text: bool) -> Result<Self> {
        match (has_image, has_text) {
            (true, true) => Ok(Case::Complete),
            (true, false) => Ok(Case::TextMissing),
            (false, true) => Ok(Case::ImageMissing),
            (false, false) => Err(Error::Input(
                "the post has neither an image nor a text; give at least one".into(),
            )),
        }
    }

    /// Whether posts of this case have the modality.
    pub fn has(self, modality: Modality) -> bool {
        !matches!(
            (self, modality),
            (Case::TextMissing, Modality::Text) | (Case::ImageMissing, Modality::Image)
        )
    }

    /// The name used in tensor names, files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Case::Complete => "complete",
            Case::TextMissing => "text_missing",
            Case::ImageMissing => "image_missing",
        }
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Case::Complete => "complete",
            Case::TextMissing => "text missing",
            Case::ImageMissing => "image missing",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_presence_agree() {
        for case in Case::ALL {
            assert_eq!(Case::from_code(case.code()).unwrap(), case);
            let of = Case::of(case.has(Modality::Image), case.has(Modality::Text)).unwrap();
            assert_eq!(of, case);
        }
        assert!(Case::from_code(3).is_err());
        assert!(Case::of(false, false).is_err());
    }
}
