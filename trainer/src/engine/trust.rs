//! Owns what is measured of a bundle on validation posts: how far its probabilities can be trusted, and what lets classes
//! that it is taught compete with its own.

use anyhow::{Result, ensure};
use shared::Case;
use shared::bundle::Calibration;
use shared::bundle::calibration::NEVER;
use shared::head::Background;

use super::run::TrainedRun;
use super::shown::{self, Seen};
use super::{background, dataset};
use crate::data::record;
use crate::data::split::Split;
use crate::metrics::calibration::fit;
use crate::report::table::Table;

/// Fits what the bundle of `files` says of at most `most` validation posts, in each case, so that sure answers are right
/// in a share `sure` of them. The background is none for heads that cannot be taught.
///
/// # Errors
/// If the posts cannot be read, or the files make no classifier.
pub fn measure(
    run: &TrainedRun,
    files: &[(String, Vec<u8>)],
    most: usize,
    sure: f64,
) -> Result<(Calibration, Option<Background>)> {
    let (data, _made) = dataset::read(&run.settings)?;
    let posts = record::of_split(&data.posts, Split::Val, Some(most));
    ensure!(!posts.is_empty(), "the data set has no validation posts");
    let classifier = shown::classifier(files)?;
    let task = run.config().task;
    let [complete, text_missing, image_missing] =
        Case::ALL.map(|case| Seen::of(&classifier, &posts, case));
    let seen = [complete?, text_missing?, image_missing?];
    let fitted = |case: Case| fit(&seen[case.index()].predictions(case), case, task, sure);
    let calibration = Calibration {
        sure,
        cases: Case::ALL.map(fitted),
    };
    let head = classifier.network().head();
    let head = head.filter(|head| head.check_teachable().is_ok());
    let background = head.map(|head| background::measure(head, task, &seen));
    Ok((calibration, background.transpose()?))
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
