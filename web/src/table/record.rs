//! Owns a post as a line of a table gives it, whatever the table's kind, and what can be wrong with the line.

/// The fields of a table that are read, by the names in docs/data.md; others are ignored.
pub const FIELDS: [&str; 5] = ["id", "image", "text", "label", "labels"];
/// Between the classes of a post in the column `labels` of a CSV file.
pub const BETWEEN: char = ';';

/// A line of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The line where it begins; the first is 1.
    pub line: u64,
    /// Empty if the table has none.
    pub id: String,
    /// The picture's path; empty if the post has none.
    pub image: String,
    /// The words; empty if the post has none.
    pub text: String,
    /// The classes that it is known to be of.
    pub labels: Vec<String>,
    /// What is wrong with the line, if anything.
    pub fault: Option<Fault>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is longer than lines may be; most often a quote is not closed.
    Long,
    /// Another number of fields than the header has.
    Fields {
        /// On the line.
        found: usize,
        /// In the header.
        expected: usize,
    },
    /// A field is not UTF-8.
    Encoding(&'static str),
    /// It is no JSON; with what the browser says.
    Json(String),
    /// It is JSON, but no object.
    Object,
    /// A field holds another kind of value than it should.
    Kind(&'static str),
    /// Both `label` and `labels`.
    Labels,
}

/// What is wrong with a table as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Its header names neither a column `image` nor one `text`.
    Header,
}

impl Record {
    /// A line of which nothing but its fault is known.
    pub fn faulty(line: u64, fault: Fault) -> Self {
        Self {
            line,
            fault: Some(fault),
            ..Self::default()
        }
    }

    /// Puts a field of this place in [`FIELDS`] into the record, as text.
    pub fn set(&mut self, field: usize, value: &str) {
        let trimmed = value.trim();
        if trimmed.is_empty() {
            return;
        }
        match FIELDS[field] {
            "id" => trimmed.clone_into(&mut self.id),
            "image" => trimmed.clone_into(&mut self.image),
            "text" => value.clone_into(&mut self.text),
            _ if !self.labels.is_empty() => self.fault = Some(Fault::Labels),
            "label" => self.labels.push(trimmed.to_owned()),
            _ => {
                let parts = trimmed.split(BETWEEN).map(str::trim);
                self.labels
                    .extend(parts.filter(|part| !part.is_empty()).map(str::to_owned));
            }
        }
    }
}
