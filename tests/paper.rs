//! Owns the proof that a grid of cells survives being killed, and that tables and figures say what the cells say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Instant, SystemTime};

use shared::Case;
use shared::config::Task;
use tests::tiny;
use trainer::data::missing::Recipe;
use trainer::data::split::Split;
use trainer::paper::cell::{Cell, Setting};
use trainer::paper::outcome::{Header, Outcome, Posts};
use trainer::paper::runner::Runner;
use trainer::settings::MissingRng;

/// Eight cells: two prompts, two heads, two settings. One prompt trains nothing in the towers, the other does.
const PLAN: &str = r#"
[[data]]
name = "squares"
title = "Squares"
metric = "accuracy"
note = "Made on the spot."
overrides = [
    "data.format=synthetic", "model.clip=clip", "train.epochs=3", "train.batch_size=8", "train.checkpoint_every=2",
    "train.validate_every=0.5",
]
[[prompts]]
name = "none"
title = "No prompts"
overrides = ["model.prompt.method=none"]
[[prompts]]
name = "dcp"
title = "DCP"
overrides = [
    "model.prompt.method=dcp", "model.prompt.length=6", "model.prompt.depth=2", "model.prompt.reduction=4",
]
[[heads]]
name = "linear"
title = "Default"
overrides = ["model.head.method=linear"]
[[heads]]
name = "dpl"
title = "DPL"
overrides = ["model.head.method=dpl"]
[[parts]]
settings = ["both-70", "text-50"]
seeds = [0]
"#;

/// A folder with the plan and a CLIP.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        tiny::clip_folder(&place.path("clip")).unwrap();
        std::fs::write(place.path("plan.toml"), PLAN).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = tiny::trainer().unwrap();
        command
            .arg("paper")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path());
        command
    }

    fn call(&self, arguments: &str) -> String {
        told(&self.command(arguments).output().unwrap())
    }
}

fn told(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Every file below a folder, by its path in there.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        // A program killed early has not made its folder.
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(folder).unwrap().to_owned();
                found.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// What a grid is worth: its cells and all that is made of them. Times are the machine's; `runs` has what is unfinished,
/// and what a killed process left of a file is of no meaning.
fn worth(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = files(out);
    all.retain(|name, _| {
        let last = name.file_name().unwrap().to_string_lossy();
        !name.starts_with("runs") && !last.ends_with(".time.json") && !last.starts_with(".writing-")
    });
    all
}

/// How many cells are among the files.
fn finished(files: &BTreeMap<PathBuf, Vec<u8>>) -> usize {
    let cell = |name: &&PathBuf| name.extension().is_some_and(|own| own == "safetensors");
    files.keys().filter(cell).count()
}

fn assert_same_grid(calm: &Path, other: &Path) {
    let [calm, other] = [calm, other].map(worth);
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&calm), names(&other));
    for (name, bytes) in &calm {
        assert!(bytes == &other[name], "{} differs", name.display());
    }
}

/// The real program: left alone, killed without warning three times at random, and two processes of it sharing the cells.
#[test]
fn a_grid_killed_at_any_moment_ends_as_an_undisturbed_one() {
    let place = Place::new();
    let begin = Instant::now();
    place.call("study --plan plan.toml --out calm");
    let whole = begin.elapsed();
    let calm = worth(&place.path("calm"));
    assert_eq!(finished(&calm), 8);

    let seed = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let mut moments = Vec::new();
    for round in 1..=3u32 {
        let share = f64::from(seed / round % 997) / 997.0;
        // The three together within the grid.
        let moment = whole.mul_f64(0.05 + 0.18 * share);
        moments.push(moment);
        let mut command = place.command("study --plan plan.toml --out killed");
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = quiet.spawn().unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        let finished = finished(&worth(&place.path("killed")));
        assert!(
            round > 1 || finished < 8,
            "the first kill came too late: {moment:?} of {whole:?}"
        );
    }
    println!("killed after {moments:?}; undisturbed it takes {whole:?}");
    let rest = place.call("study --plan plan.toml --out killed");
    let run = |told: &str| told.lines().filter(|line| line.contains("/8] ")).count();
    println!("{} cells were left for the last run", run(&rest));
    assert_same_grid(&place.path("calm"), &place.path("killed"));

    // A killed run's second process lives on and keeps its cell; the next run waits for it.
    let mut command = place.command("study --plan plan.toml --out shared --jobs 2");
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = quiet.spawn().unwrap();
    std::thread::sleep(whole.mul_f64(0.2));
    child.kill().unwrap();
    child.wait().unwrap();
    place.call("study --plan plan.toml --out shared --jobs 2");
    assert_same_grid(&place.path("calm"), &place.path("shared"));

    // A run that was killed after its cell was stored, and before it was cleared away.
    let left = place.path("calm/runs/squares/dcp-dpl-both-70-seed0");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("last.safetensors"), "half").unwrap();
    // All is there: nothing is run again, and other settings are not passed off as these.
    let again = place.call("study --plan plan.toml --out calm");
    assert_eq!(run(&again), 0, "{again}");
    assert!(!left.exists());
    let other = place
        .command("study --plan plan.toml --out calm --set train.rate=0.5")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&other.stderr);
    assert!(
        !other.status.success() && error.contains("other settings"),
        "{error}"
    );
}

#[test]
fn a_dry_run_trains_a_few_steps_and_leaves_nothing() {
    let place = Place::new();
    let told = place.call("study --plan plan.toml --out dry --dry-run --steps 2 --only dcp");
    for said in [
        "squares/dcp-linear-both-70-seed0\n",
        "4 cells, 0 of them finished",
        "Squares: 4 cells of 36 steps",
        "(2 steps of squares/dcp-linear-both-70-seed0 were run)",
        "in all",
    ] {
        assert!(told.contains(said), "{said:?} is not in\n{told}");
    }
    assert!(!told.contains("none-linear"), "{told}");
    assert!(!place.path("dry").exists());
}

#[test]
fn a_study_says_what_its_list_of_figures_says() {
    let place = Place::new();
    // Two settings and two seeds; five heads, of which the last is an ablation and the two before it have no cell.
    let more = ["dept", "plus", "arcface"].map(|head| {
        format!("[[heads]]\nname = {head:?}\ntitle = {head:?}\noverrides = [\"loss.contrast=0\"]\n")
    });
    let plan = PLAN
        .replace("seeds = [0]", "seeds = [0, 1]")
        .replace("[[parts]]", &(more.concat() + "[[parts]]"));
    std::fs::write(place.path("plan.toml"), plan).unwrap();
    let list = "data,prompt,head,missing,rate,seed,accuracy,auroc\n\
                squares,none,linear,both,70,0,0.500000,0.700000\n\
                squares,none,linear,both,70,1,0.520000,0.700000\n\
                squares,none,linear,text,50,0,0.600000,0.800000\n\
                squares,none,linear,text,50,1,0.600000,0.800000\n\
                squares,none,dpl,both,70,0,0.530000,0.600000\n\
                squares,none,dpl,both,70,1,0.510000,0.600000\n\
                squares,none,dpl,text,50,0,0.600000,0.700000\n\
                squares,none,dpl,text,50,1,0.660000,0.750000\n\
                squares,dcp,dpl,text,50,0,0.900000,0.950000\n\
                squares,dcp,dpl,text,50,1,0.900000,\n\
                squares,dcp,dpl,both,70,1,0.800000,0.900000\n\
                squares,none,arcface,both,70,0,0.500000,\n\
                squares,none,arcface,text,50,0,0.620000,\n";
    std::fs::write(place.path("list.csv"), list).unwrap();
    place.call("study --plan plan.toml --report --figures list.csv --page page.md");
    let page = std::fs::read_to_string(place.path("page.md")).unwrap();
    for said in [
        "13 of the 40 planned cells are finished; seeds 0, 1.",
        "Made on the spot.",
        "### accuracy (the paper's metric)",
        // Within the settings the seeds are 2 and 0 apart, so the variances 2 and 0: the root of their mean is 1.
        "| No prompts | Default | 4 | 55.50 ± 1.00 | | | | |",
        // +3, -1, 0, +6.
        "| No prompts | DPL | 4 | 57.50 ± 3.16 | +2.00 | 2 / 1 / 1 |",
        "### auroc",
        "| No prompts | DPL | 4 | 66.25 ± 2.50 | -8.75 | 0 / 0 / 4 |",
        // Nothing to compare with.
        "| DCP | DPL | 3 | 86.67 | - | - | - | - |",
        "| both 70 % | 51.00 ± 1.41 | 52.00 ± 1.41 |",
        "| accuracy | No prompts | arcface | 2 | 56.00 | +1.00 | -0.50 | - | - |",
        // Nine settings, two seeds: 18 cells for each prompt and compared head; 4 for each prompt of the ablation.
        "139 of 152 cells are not here:",
        "* Squares, DCP, Default: 18 of 18 cells (seed 0, 1: all settings)",
        "* Squares, DCP, DPL: 15 of 18 cells (seed 0: image-50 both-50 text-70 image-70 both-70 text-90 image-90 both-90; \
         seed 1: image-50 both-50 text-70 image-70 text-90 image-90 both-90)",
        "![Squares: accuracy](page/squares-accuracy.svg)",
        "| head | DPL (`dpl`) | `model.head.method=dpl` |",
    ] {
        assert!(page.contains(said), "{said:?} is not in\n{page}");
    }
    // The list that is kept gives the same page.
    let kept = place.path("page/cells.csv");
    std::fs::copy(&kept, place.path("kept.csv")).unwrap();
    place.call("study --plan plan.toml --report --figures kept.csv --page again.md");
    let again = std::fs::read_to_string(place.path("again.md")).unwrap();
    assert_eq!(page.replace("page/", "again/"), again);

    std::fs::write(place.path("kept.csv"), list.replace(",both,", ",sound,")).unwrap();
    let output = place
        .command("study --plan plan.toml --report --figures kept.csv --page again.md")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("kept.csv line 2"), "{error}");
}

#[test]
fn a_table_puts_the_papers_numbers_beside_ours() {
    let place = Place::new();
    let list = "data,prompt,head,missing,rate,seed,f1_macro\n\
                mm-imdb,dcp,dpl,both,70,0,0.550000\n\
                mm-imdb,dcp,dpl,both,70,1,0.570000\n\
                mm-imdb,maple,linear,text,50,0,0.543100\n";
    std::fs::write(place.path("list.csv"), list).unwrap();
    place
        .call("table1 --data mm-imdb=nowhere --clip nowhere --report --figures list.csv --out out");
    let table = std::fs::read_to_string(place.path("out/table1.md")).unwrap();
    // The paper: 55.48 and 54.31.
    for said in [
        "| 56.0 ± 1.4 / 55.5 / +0.5 |",
        "| 54.3 / 54.3 / +0.0 |",
        "| - / 56.9 / - |",
    ] {
        assert!(table.contains(said), "{said:?} is not in\n{table}");
    }
    let csv = std::fs::read_to_string(place.path("out/table1.csv")).unwrap();
    assert!(
        csv.contains("mm-imdb,both,70,dcp,dpl,2,56.0000,1.4142,55.4800,0.5200"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 1 + 9 * 9);
}

/// Posts of two classes in turn: right when complete; without their text every second one is wrong.
fn posts(count: usize) -> Posts {
    let logits = |post: usize, right: bool| {
        let mut row = vec![0.0; 2];
        row[if right { post % 2 } else { 1 - post % 2 }] = 1.0;
        row
    };
    let all =
        |right: &dyn Fn(usize) -> bool| (0..count).map(|post| logits(post, right(post))).collect();
    Posts {
        own: vec![Case::Complete; count],
        rows: (0..count).collect(),
        targets: (0..count).map(|post| vec![post % 2]).collect(),
        logits: [
            all(&|_| true),
            all(&|post| post / 2 % 2 == 0),
            all(&|_| true),
        ],
    }
}

#[test]
fn figures_show_other_rates_and_simulations_of_the_same_cell() {
    const POSTS: usize = 200;
    let place = Place::new();
    let cell = Cell {
        data: "food101".into(),
        prompt: "dcp".into(),
        head: "dpl".into(),
        setting: "text-70".parse().unwrap(),
        seed: 1,
    };
    let classes = ["pie", "soup"].map(String::from);
    let outcome = Outcome {
        header: Header::new(
            cell.name(),
            String::new(),
            String::new(),
            Task::MultiClass,
            &classes,
        ),
        val: posts(8),
        test: posts(POSTS),
    };
    let path = Runner::outcome(&place.path("out"), &cell);
    outcome.save(&path).unwrap();
    assert_eq!(Outcome::load(&path).unwrap(), outcome);

    // Drawn here anew: the posts that are hit and of the wrong half.
    let accuracy = |rate: u32, seed: u64| {
        let Setting { kind, .. } = cell.setting;
        let recipe = Recipe {
            kind,
            ratio: f64::from(rate) / 100.0,
            both_ratio: 0.5,
            seed,
            rng: MissingRng::Chacha,
        };
        let table = recipe.draw(Split::Test, [0, 8, POSTS]).unwrap();
        let wrong = |(post, case): (usize, &Case)| *case == Case::TextMissing && post / 2 % 2 == 1;
        let wrong = table
            .cases
            .iter()
            .enumerate()
            .filter(|at| wrong(*at))
            .count();
        100.0 * (1.0 - wrong as f64 / POSTS as f64)
    };
    let read = |name: &str| std::fs::read_to_string(place.path("out").join(name)).unwrap();
    let food = "--data food101=nowhere --clip nowhere --report --out out";
    place.call(&format!("fig6 {food}"));
    let lines = read("fig6-food101-dcp-text.csv");
    assert_eq!(lines.lines().count(), 1 + 9);
    for rate in [10, 50, 90] {
        let expected = format!("dpl,{rate},{:.4},0.0000,1\n", accuracy(rate, 1));
        assert!(lines.contains(&expected), "{expected:?} is not in\n{lines}");
    }
    assert!(read("fig6-food101-dcp-text.svg").starts_with("<svg"));

    place.call(&format!("fig7 {food}"));
    let boxes = read("fig7-food101-dcp.csv");
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..10 {
        let expected = format!("dpl,text,70,{seed},{:.4}\n", accuracy(70, seed));
        assert!(boxes.contains(&expected), "{expected:?} is not in\n{boxes}");
        seen.insert(expected.rsplit(',').next().unwrap().to_owned());
    }
    assert!(
        seen.len() > 3,
        "ten tables are hardly all the same: {seen:?}"
    );
}
