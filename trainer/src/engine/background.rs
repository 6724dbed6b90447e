//! Owns measuring what a bundle must know of all posts, so that taught classes compete fairly with trained ones.
//!
//! The offset of a case is found by pretending: each class in turn is taken away and taught anew by one of its validation
//! posts. With the offset, those classes are recognised as often as the other posts are still answered rightly.

use anyhow::{Context, Result};
use shared::Case;
use shared::config::Task;
use shared::head::prototype::SETS;
use shared::head::taught::Examples;
use shared::head::{Answer, Background, FoldedHead};

use super::shown::Seen;

/// At most so many classes are taught anew, and each by at most so many posts, one after the other.
const CLASSES: usize = 100;
const EXAMPLES: usize = 5;
/// Bounds of the offset, and how often what is left of them is halved: to five digits.
const OFFSETS: [f32; 2] = [-100.0, 100.0];
const HALVINGS: usize = 25;

/// Measures it on posts that a bundle has seen, by case code; the head's own background is replaced.
///
/// # Errors
/// If the head has no prototypes.
pub fn measure(head: &FoldedHead, task: Task, seen: &[Seen; 3]) -> Result<Background> {
    let classes = seen.iter().flat_map(|seen| &seen.answers);
    let classes = classes.map(|answer| answer.logits.len()).next();
    let classes = classes.context("there are no validation posts")?;
    let means = SETS.each_ref().map(|set| {
        let seen = &seen[set.case.index()];
        mean(seen, set.modality as usize, classes, head.width())
    });
    let mut background = Background {
        means,
        offsets: [0.0; 3],
    };
    let centred = head.with_background(background.clone());
    for case in Case::ALL {
        background.offsets[case.index()] =
            offset(&centred, case, task, &seen[case.index()], classes)?;
    }
    Ok(background)
}

/// The mean over classes of the means of a modality's inputs, `[D]`; zeros without posts.
fn mean(seen: &Seen, modality: usize, classes: usize, width: usize) -> Vec<f32> {
    let mut all = vec![0f64; width];
    let mut count = 0;
    for class in 0..classes {
        let own = seen.inputs.iter().zip(&seen.targets);
        let own = own.filter(|(_, targets)| targets.contains(&class));
        let own: Vec<&Vec<f32>> = own.filter_map(|(x, _)| x[modality].as_ref()).collect();
        count += usize::from(!own.is_empty());
        for x in &own {
            let shares = all.iter_mut().zip(x.iter());
            shares.for_each(|(sum, &x)| *sum += f64::from(x) / own.len() as f64);
        }
    }
    let mean = all
        .iter()
        .map(|sum| (sum / f64::from(count.max(1) as u32)) as f32);
    mean.collect()
}

/// How one class that was taught anew fares.
struct Trial {
    /// By how much its own posts' logits exceed what they are up against.
    own: Vec<f32>,
    /// The same for posts of other classes, if they are answered rightly without it.
    others: Vec<f32>,
    /// How many posts of other classes there are.
    all_others: usize,
}

/// The offset of a case; 0 without classes of two posts.
fn offset(head: &FoldedHead, case: Case, task: Task, seen: &Seen, classes: usize) -> Result<f32> {
    let mut trials = Vec::new();
    let step = classes.div_ceil(CLASSES);
    for class in (0..classes).step_by(step) {
        let own: Vec<usize> = (0..seen.targets.len())
            .filter(|&post| seen.targets[post].contains(&class))
            .collect();
        if own.len() < 2 {
            continue;
        }
        for example in 0..EXAMPLES.min(own.len()) {
            let example = own[example * own.len() / EXAMPLES.min(own.len())];
            trials.push(trial(head, case, task, seen, class, example)?);
        }
    }
    if trials.is_empty() {
        return Ok(0.0);
    }
    let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
    let excess = |offset: f32| -> f64 {
        let of = |trial: &Trial| {
            let found = trial.own.iter().filter(|&&by| by + offset > 0.0).count();
            let kept = trial
                .others
                .iter()
                .filter(|&&by| by + offset <= 0.0)
                .count();
            share(found, trial.own.len()) - share(kept, trial.all_others)
        };
        trials.iter().map(of).sum()
    };
    // The more is added, the more is found and the less kept.
    let [mut low, mut high] = OFFSETS;
    for _ in 0..HALVINGS {
        let middle = f32::midpoint(low, high);
        if excess(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok((high * 1e3).round() / 1e3)
}

/// Takes a class away and teaches it by one post.
fn trial(
    head: &FoldedHead,
    case: Case,
    task: Task,
    seen: &Seen,
    class: usize,
    example: usize,
) -> Result<Trial> {
    let mut examples = Examples::default();
    examples.add(case, &seen.inputs[example]);
    let row = [head.row(&examples)?];
    let mut trial = Trial {
        own: Vec::new(),
        others: Vec::new(),
        all_others: 0,
    };
    for (post, targets) in seen
        .targets
        .iter()
        .enumerate()
        .filter(|(post, _)| *post != example)
    {
        let mut answer: Answer = seen.answers[post].clone();
        head.extend(case, &seen.inputs[post], &row, &mut answer);
        let taught = answer.logits.pop().unwrap_or_default();
        answer.logits[class] = f32::NEG_INFINITY;
        let best = answer
            .logits
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1));
        let (best, most) = best.map_or((class, 0.0), |(best, &most)| (best, most));
        let (right, against) = match task {
            Task::MultiClass => (targets.contains(&best), most),
            // Each label is a question of its own.
            Task::MultiLabel => (true, 0.0),
        };
        if targets.contains(&class) {
            trial.own.push(taught - against);
        } else {
            trial.all_others += 1;
            if right {
                trial.others.push(taught - against);
            }
        }
    }
    Ok(trial)
}
