//! Owns the proof that the paper's commands run on data sets as they are published, and draw the reference code's tables.

use std::path::{Path, PathBuf};

use tests::{layouts, tiny};

/// Folders of all three layouts and a CLIP of two blocks.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        layouts::mm_imdb(&place.path("films"), 6).unwrap();
        layouts::food101(&place.path("food"), 6, false).unwrap();
        layouts::hateful_memes(&place.path("memes"), 6).unwrap();
        tiny::clip_folder(&place.path("clip")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What the program prints; it must succeed.
    fn call(&self, arguments: &str) -> String {
        call(self.0.path(), arguments)
    }
}

fn call(folder: &Path, arguments: &str) -> String {
    let mut program = tiny::trainer().unwrap();
    let program = program
        .current_dir(folder)
        .args(arguments.split_whitespace());
    let output = program.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

const DATA: &str = "--data mm-imdb=films --data food101=food --data hateful-memes=memes --clip clip --preset small";

#[test]
fn table_1_is_planned_and_a_cell_of_each_data_set_takes_a_few_steps() {
    let place = Place::new();
    let said = place.call(&format!(
        "paper table1 {DATA} --dry-run --steps 2 --out out"
    ));
    assert!(said.contains("food101/map-dept-image-90-seed2"), "{said}");
    assert!(said.contains("729 cells, 0 of them finished"), "{said}");
    for title in ["MM-IMDb", "UPMC Food-101", "Hateful Memes"] {
        assert!(
            said.contains(&format!("{title}: 243 cells of 6 steps")),
            "{said}"
        );
    }
    assert!(!place.path("out").exists());
}

#[test]
fn one_place_of_each_table_is_run_and_compared_with_the_paper() {
    let place = Place::new();
    let said = place.call(&format!(
        "paper table1 {DATA} --seeds 0 --only dcp-dpl-both-70 --only map-dept-text-50 --set train.epochs=1 --out out"
    ));
    assert_eq!(said.matches("seed0").count(), 6, "{said}");
    let table = std::fs::read_to_string(place.path("out/table1.md")).unwrap();
    assert!(
        table.contains(" / 55.5 / "),
        "the paper's 55.48 is missing\n{table}"
    );
    assert!(
        table.contains(" / 82.2 / ") && table.contains(" / 67.6 / "),
        "{table}"
    );
}

#[test]
fn steps_are_timed_head_by_head() {
    let place = Place::new();
    place.call("paper fig5 --data food101=food --clip clip --preset small --out out");
    for what in ["training", "testing"] {
        let figures =
            std::fs::read_to_string(place.path(&format!("out/fig5-food101-{what}.csv"))).unwrap();
        assert_eq!(figures.lines().count(), 1 + 9, "{figures}");
        for line in figures.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!(fields[2], "10", "{line}");
            assert!(fields[3].parse::<f64>().unwrap() > 0.0, "{line}");
        }
        let drawing =
            std::fs::read_to_string(place.path(&format!("out/fig5-food101-{what}.svg"))).unwrap();
        assert!(drawing.starts_with("<svg"));
    }
}

#[test]
fn missing_tables_are_printed_and_written_with_what_they_were_drawn_from() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "--rng cpython --kind both --ratio 0.7 --rows train=15552,val=2608,test=7799";
    let said = call(
        folder.path(),
        &format!("data missing {rows} --out tables --name mmimdb"),
    );
    for part in [
        "train: 15552 rows, first sampled 13835 6311 12418 14585 6890; 4666 complete, 5443 text missing",
        "sha256 465324a518e9b8fb",
        "sha256 472cb65f441f2a6a",
        "sha256 dc3df2de02f26901",
    ] {
        assert!(said.contains(part), "{said} lacks {part:?}");
    }
    let table = folder
        .path()
        .join("tables/mmimdb_test_missing_both_70_cpython_seed0.json");
    let table = std::fs::read_to_string(table).unwrap();
    for part in [
        "\"rng\": \"cpython\"",
        "\"rows\": 7799",
        "\"kind\": \"both\"",
        "dc3df2de02f26901",
    ] {
        assert!(table.contains(part), "the table lacks {part:?}");
    }
}
