//! Times the metrics on as many posts and classes as Food-101's test split has; prints milliseconds as JSON.

use std::time::Instant;

use shared::config::Task;
use shared::{Case, rng};
use trainer::metrics::Predictions;
use trainer::metrics::bootstrap::interval;
use trainer::metrics::threshold::tuned;

const POSTS: usize = 22_716;
const CLASSES: usize = 101;

fn main() {
    let mut random = rng::stream(0, "example");
    let mut posts = Predictions::default();
    for _ in 0..POSTS {
        let row = (0..CLASSES).map(|_| 8.0 * rng::unit(&mut random) as f32);
        let mut row: Vec<f32> = row.collect();
        let target = rng::below(&mut random, CLASSES);
        row[target] += 6.0;
        posts.push(Case::Complete, row, vec![target]);
    }
    let time = |work: &dyn Fn()| {
        let start = Instant::now();
        work();
        (start.elapsed().as_secs_f64() * 1e3).round()
    };
    let draws = |figure: &'static str, draws: usize| {
        let posts = &posts;
        time(&move || {
            interval(posts, figure, Task::MultiClass, CLASSES, draws, 0);
        })
    };
    let times = serde_json::json!({
        "all figures, multi-class": time(&|| drop(posts.figures(Task::MultiClass, CLASSES))),
        "all figures, multi-label": time(&|| drop(posts.figures(Task::MultiLabel, CLASSES))),
        "tuned threshold": time(&|| { tuned(&posts, CLASSES); }),
        "1,000 draws of accuracy": draws("accuracy", 1000),
        "1,000 draws of F1 macro": draws("f1_macro", 1000),
        "100 draws of AUROC": draws("auroc", 100),
    });
    println!("{times:#}");
}
