//! Owns the behaviour of `trainer eval` beyond the figures: intervals, and the threshold tuned on validation posts.

use std::path::Path;

use serde_json::Value;
use tests::tiny;

/// What the program prints in this folder; it has to succeed.
fn said(folder: &Path, arguments: &[&str]) -> String {
    let mut program = tiny::trainer().unwrap();
    let output = program.args(arguments).current_dir(folder).output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A folder with a CLIP and a run of one epoch on synthetic posts.
fn trained(task: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    tiny::clip_folder(&folder.path().join("clip")).unwrap();
    let task = format!("model.task={task}");
    let mut arguments = vec!["train", "--out", "run"];
    for pair in [
        "model.clip=clip",
        "data.format=synthetic",
        "train.epochs=1",
        "model.prompt.method=none",
        &task,
    ] {
        arguments.extend(["--set", pair]);
    }
    said(folder.path(), &arguments);
    folder
}

fn read(folder: &Path, split: &str) -> Value {
    let path = folder.join("run").join(format!("{split}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_main_figure_lies_in_its_interval() {
    let folder = trained("multi_class");
    let table = said(folder.path(), &["eval", "run", "--split", "test"]);
    for word in ["accuracy, 95 %", "1000 bootstrap draws"] {
        assert!(table.contains(word), "{word} is not in:\n{table}");
    }
    let test = read(folder.path(), "test");
    let rows = test["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let accuracy = row["figures"]["accuracy"].as_f64().unwrap();
        let [low, high] = ["low", "high"].map(|end| row["interval"][end].as_f64().unwrap());
        assert!(low <= accuracy && accuracy <= high && low < high, "{row}");
    }
    assert!(test.get("threshold").is_none(), "{test}");
}

#[test]
fn a_threshold_is_tuned_on_validation_posts_and_kept_for_the_test() {
    let folder = trained("multi_label");
    let table = said(folder.path(), &["eval", "run", "--split", "test"]);
    let (val, test) = (read(folder.path(), "val"), read(folder.path(), "test"));
    let threshold = val["threshold"].as_f64().unwrap();
    for word in [
        "f1_macro_tuned",
        "f1_macro, 95 %",
        &format!("at logit {threshold:.4}"),
    ] {
        assert!(table.contains(word), "{word} is not in:\n{table}");
    }
    assert!(!table.contains("too good to be reported"), "{table}");
    assert_eq!(test["threshold"], val["threshold"]);
    let mixed = &val["rows"][3];
    let tuned = mixed["f1_macro_tuned"].as_f64().unwrap();
    assert!(
        tuned >= mixed["figures"]["f1_macro"].as_f64().unwrap(),
        "{mixed}"
    );
    said(folder.path(), &["export", "run", "--out", "bundle"]);
}
