//! Owns how far a bundle's probabilities can be trusted, as its own answers for validation posts tell.

use anyhow::{Result, ensure};
use shared::Case;
use shared::bundle::Calibration;
use shared::bundle::calibration::NEVER;

use super::dataset;
use super::run::TrainedRun;
use super::shown;
use crate::data::record;
use crate::data::split::Split;
use crate::metrics::calibration::fit;
use crate::report::table::Table;

/// Fits what the bundle of `files` says of at most `most` validation posts, in each case, so that sure answers are right
/// in a share `sure` of them.
///
/// # Errors
/// If the posts cannot be read, or the files make no classifier.
pub fn calibration(
    run: &TrainedRun,
    files: &[(String, Vec<u8>)],
    most: usize,
    sure: f64,
) -> Result<Calibration> {
    let (data, _made) = dataset::read(&run.settings)?;
    let posts = record::of_split(&data.posts, Split::Val, Some(most));
    ensure!(!posts.is_empty(), "the data set has no validation posts");
    let classifier = shown::classifier(files)?;
    let [complete, text_missing, image_missing] = Case::ALL.map(|case| {
        let predictions = shown::predictions(&classifier, &posts, case)?;
        anyhow::Ok(fit(&predictions, case, run.config().task, sure))
    });
    Ok(Calibration {
        sure,
        cases: [complete?, text_missing?, image_missing?],
    })
}

/// The calibration for people: shares in percent.
pub fn table(calibration: &Calibration) -> Table {
    let aimed = format!("sure, to be right {}", percent(calibration.sure));
    let mut table = Table::new(&[
        "posts with",
        "posts",
        "temperature",
        "error before",
        "after",
        "sure from",
        &aimed,
        "right when sure",
    ]);
    for of in &calibration.cases {
        table.row([
            of.case.to_string(),
            of.posts.to_string(),
            format!("{:.3}", of.temperature),
            percent(of.error_before),
            percent(of.error_after),
            if of.threshold < NEVER {
                percent(of.threshold)
            } else {
                "never".into()
            },
            percent(of.share_sure),
            of.right_when_sure.map_or("-".into(), percent),
        ]);
    }
    table
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
