//! Owns what a classifier was taught after it was trained: classes of people's own, and other names for classes.

mod file;

use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::error::{Error, Result};
use crate::head::taught::{Examples, TaughtRow};
use crate::head::{Answer, FoldedHead};
use crate::limits::{CLASS_NAME, EXAMPLES, TAUGHT_CLASSES};

/// A class that was taught, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaughtClass {
    /// Its name.
    pub name: String,
    /// How many posts were given: complete, text missing, image missing.
    pub examples: [u32; 3],
}

/// All that was taught to a classifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lessons {
    /// The small file, JSON, that is kept on the device, exported and imported. There is no post in it, only sums of
    /// features.
    pub file: String,
    /// The taught classes in the order in which they were first taught.
    pub taught: Vec<TaughtClass>,
    /// The bundle's classes with another name: the original, and the name now.
    pub renamed: Vec<(String, String)>,
    /// All names now in the order of the logits, those of taught classes last.
    pub classes: Vec<String>,
}

/// What a classifier knows beside its bundle.
#[derive(Clone, Debug)]
pub(super) struct Learnt {
    /// The checksum of the bundle's manifest; empty for what comes from none.
    bundle: String,
    /// The names of the bundle's classes.
    original: Vec<String>,
    /// The names now, taught classes last.
    names: Vec<String>,
    taught: Vec<Taught>,
    /// What the head makes of the taught classes, in their order.
    rows: Vec<TaughtRow>,
}

/// A taught class.
#[derive(Clone, Debug, PartialEq)]
struct Taught {
    name: String,
    /// By case code.
    examples: [u32; 3],
    sums: Examples,
}

impl Learnt {
    /// Nothing yet, for a bundle with this checksum and these classes.
    pub(super) fn nothing(bundle: &str, classes: &[String]) -> Self {
        Self {
            bundle: bundle.into(),
            original: classes.to_vec(),
            names: classes.to_vec(),
            taught: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// The lessons of a file for the same bundle, in place of these.
    ///
    /// # Errors
    /// If the file is none of this bundle's, or has what cannot have been taught.
    pub(super) fn of_file(&self, file: &str, head: &FoldedHead) -> Result<Self> {
        let mut learnt = file::read(file, self.forgotten(), head.width())?;
        learnt.settle(head)?;
        Ok(learnt)
    }

    /// Nothing, for the same bundle.
    pub(super) fn forgotten(&self) -> Self {
        Self::nothing(&self.bundle, &self.original)
    }

    /// The names now in the order of the logits.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether there is a bundle that lessons can be tied to.
    pub(super) fn is_of_bundle(&self) -> bool {
        !self.bundle.is_empty()
    }

    /// Whether there are classes beside the bundle's.
    pub(super) fn has_classes(&self) -> bool {
        !self.taught.is_empty()
    }

    /// Adds what the taught classes get to an answer of the bundle's head on these inputs.
    pub(super) fn extend(
        &self,
        head: &FoldedHead,
        case: Case,
        inputs: &[Option<Vec<f32>>; 2],
        answer: &mut Answer,
    ) {
        head.extend(case, inputs, &self.rows, answer);
    }

    /// Adds a post to a taught class, which is a new one if no class has the name. `inputs` are those of the post in
    /// each case that it can appear in.
    ///
    /// # Errors
    /// If the name is that of a class of the bundle or none that a class can have, or there are too many of anything.
    pub(super) fn teach(
        &mut self,
        name: &str,
        case: Case,
        inputs: &[(Case, [Option<Vec<f32>>; 2])],
        head: &FoldedHead,
    ) -> Result<()> {
        let name = name.trim();
        check_name(name)?;
        let known = self.names.iter().position(|own| own == name);
        let place = match known.map(|place| place.checked_sub(self.original.len())) {
            Some(None) => {
                return Err(Error::Input(format!(
                    "{name:?} is a class that was trained with many posts, and is left as it is; give the new class another name"
                )));
            }
            Some(Some(place)) => place,
            None if self.taught.len() == TAUGHT_CLASSES => {
                return Err(Error::Input(format!(
                    "{} classes were taught already, the most there can be; forget one first",
                    TAUGHT_CLASSES
                )));
            }
            None => {
                self.names.push(name.into());
                self.taught.push(Taught {
                    name: name.into(),
                    examples: [0; 3],
                    sums: Examples::default(),
                });
                self.taught.len() - 1
            }
        };
        let taught = &mut self.taught[place];
        let examples = &mut taught.examples[case.index()];
        if *examples == EXAMPLES {
            return Err(Error::Input(format!(
                "{name:?} has {examples} examples already, the most there can be"
            )));
        }
        *examples += 1;
        for (case, inputs) in inputs {
            taught.sums.add(*case, inputs);
        }
        self.settle(head)
    }

    /// Gives a class of the bundle or a taught one another name.
    ///
    /// # Errors
    /// If there is no such class, the name is taken, or none that a class can have.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (from.trim(), to.trim());
        check_name(to)?;
        let place = self.place(from)?;
        if from != to && self.names.iter().any(|own| own == to) {
            return Err(Error::Input(format!(
                "another class is called {to:?} already"
            )));
        }
        self.names[place] = to.into();
        if let Some(place) = place.checked_sub(self.original.len()) {
            self.taught[place].name = to.into();
        }
        Ok(())
    }

    /// Removes a taught class.
    ///
    /// # Errors
    /// If there is no such class, or it is the bundle's.
    pub(super) fn forget(&mut self, name: &str, head: &FoldedHead) -> Result<()> {
        let name = name.trim();
        let place = self.place(name)?;
        let taught = place.checked_sub(self.original.len()).ok_or_else(|| {
            Error::Input(format!(
                "{name:?} was trained and not taught; it cannot be forgotten"
            ))
        })?;
        self.taught.remove(taught);
        self.names.remove(place);
        self.settle(head)
    }

    /// What people see of it.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(super) fn lessons(&self) -> Result<Lessons> {
        let taught = self.taught.iter().map(|taught| TaughtClass {
            name: taught.name.clone(),
            examples: taught.examples,
        });
        Ok(Lessons {
            file: file::write(self)?,
            taught: taught.collect(),
            renamed: self.renamed(),
            classes: self.names.clone(),
        })
    }

    fn renamed(&self) -> Vec<(String, String)> {
        let pairs = self.original.iter().zip(&self.names);
        pairs
            .filter(|(original, now)| original != now)
            .map(|(original, now)| (original.clone(), now.clone()))
            .collect()
    }

    fn place(&self, name: &str) -> Result<usize> {
        let place = self.names.iter().position(|own| own == name);
        place.ok_or_else(|| Error::Input(format!("there is no class {name:?}")))
    }

    /// Computes what the head makes of the taught classes.
    fn settle(&mut self, head: &FoldedHead) -> Result<()> {
        let row = |taught: &Taught| head.row(&taught.sums);
        self.rows = self.taught.iter().map(row).collect::<Result<_>>()?;
        Ok(())
    }
}

/// Refuses what no class can be called.
fn check_name(name: &str) -> Result<()> {
    let message = if name.trim() != name || name.is_empty() {
        "a class needs a name, without blanks around it"
    } else if name.chars().count() > CLASS_NAME {
        "the name of the class is too long; 100 letters are the most"
    } else if name.chars().any(char::is_control) {
        "the name of the class must be one line of plain letters"
    } else {
        return Ok(());
    };
    Err(Error::Input(message.into()))
}
