//! Owns the proof that no row is lost or doubled when an executor is killed on the way.
//!
//! `LACUNA_POSTS` sets the number of posts (4,000), `LACUNA_SECONDS` after how many seconds the executor is killed (2).

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Int64Array, RecordBatch, StringBuilder,
};
use datafusion::arrow::datatypes::{Float32Type, Int64Type};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::file::properties::WriterProperties;

const WORDS: [&str; 6] = [
    "red apple",
    "guitar",
    "a slice of pizza",
    "cup of coffee",
    "cat",
    "tall tree",
];
const PICTURES: [&str; 6] = ["apple", "guitar", "pizza", "coffee", "cat", "tree"];

/// Ends its process when it is dropped, also when the test fails.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Posts of all cases, in row groups of 250; every hundredth has a picture that is none.
fn write_posts(path: &Path, count: usize) {
    let pictures =
        PICTURES.map(|name| std::fs::read(root().join(format!("web/samples/{name}.png"))).unwrap());
    let ids = Int64Array::from_iter_values(0..count as i64);
    let (mut images, mut texts) = (BinaryBuilder::new(), StringBuilder::new());
    for post in 0..count {
        let kind = post % WORDS.len();
        match post % 100 {
            99 => images.append_value(b"no picture"),
            case if case % 3 == 2 => images.append_null(),
            _ => images.append_value(&pictures[kind]),
        }
        match post % 100 % 3 {
            1 => texts.append_null(),
            _ => texts.append_value(format!("{} {post}", WORDS[kind])),
        }
    }
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(ids)),
        ("image", Arc::new(images.finish())),
        ("text", Arc::new(texts.finish())),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(250))
        .build();
    let mut writer = ArrowWriter::try_new(
        File::create(path).unwrap(),
        batch.schema(),
        Some(properties),
    )
    .unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// By id: how often, label, bits of the probability, error.
type Answers = BTreeMap<i64, (usize, Option<String>, Option<u32>, Option<String>)>;

fn read_answers(path: &Path) -> Answers {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let mut answers = Answers::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        assert!(batch.column_by_name("image").is_none());
        assert!(batch.column_by_name("text").is_some());
        let ids = batch
            .column_by_name("id")
            .unwrap()
            .as_primitive::<Int64Type>();
        let answer = batch.column_by_name("answer").unwrap().as_struct();
        let text = |name: &str, row: usize| {
            let column = answer.column_by_name(name).unwrap().as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let probabilities = answer
            .column_by_name("probability")
            .unwrap()
            .as_primitive::<Float32Type>();
        for row in 0..batch.num_rows() {
            let valid = probabilities.is_valid(row);
            let bits = valid.then(|| probabilities.value(row).to_bits());
            let one = (0, text("label", row), bits, text("error", row));
            answers.entry(ids.value(row)).or_insert(one).0 += 1;
        }
    }
    answers
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scoring"));
    command.args(arguments).env("RAYON_NUM_THREADS", "1");
    command
}

fn start(arguments: &[&str]) -> Process {
    Process(program(arguments).stdout(Stdio::null()).spawn().unwrap())
}

/// Ports that nothing listens on; the one after each is free too.
fn ports<const N: usize>() -> [u16; N] {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut next = 21_000 + (std::process::id() % 20_000) as u16;
    [(); N].map(|()| {
        while !(free(next) && free(next + 1)) {
            next += 2;
        }
        next += 2;
        next - 2
    })
}

fn wait_for(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "nothing listens on port {port}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn no_row_is_lost_or_doubled_when_an_executor_is_killed() {
    let (count, seconds) = (number("LACUNA_POSTS", 4_000), number("LACUNA_SECONDS", 2));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (posts, here, there) = (
        path("posts.parquet"),
        path("here.parquet"),
        path("there.parquet"),
    );
    write_posts(Path::new(&posts), count);
    let bundle = root().join("assets/demo-bundle").display().to_string();

    let [scheduler, first, second] = ports();
    let port = scheduler.to_string();
    let _scheduler = start(&["scheduler", "--scheduler-port", &port]);
    wait_for(scheduler);
    let executor = |own: u16, folder: &str| {
        std::fs::create_dir_all(folder).unwrap();
        let own_port = own.to_string();
        let started = start(&[
            "executor",
            &bundle,
            "--scheduler-port",
            &port,
            "--port",
            &own_port,
            "--folder",
            folder,
        ]);
        wait_for(own);
        started
    };
    let _survivor = executor(first, &path("first"));
    let mut victim = executor(second, &path("second"));

    let address = format!("127.0.0.1:{port}");
    let begun = Instant::now();
    let mut submitted = Process(
        program(&["submit", &address, &posts, &there, "--parts", "32"])
            .spawn()
            .unwrap(),
    );
    std::thread::sleep(Duration::from_secs(seconds as u64));
    assert!(
        submitted.0.try_wait().unwrap().is_none(),
        "all was done before the executor could be killed"
    );
    let finished = walk(Path::new(&path("second")));
    victim.0.kill().unwrap();
    assert!(
        finished > 0,
        "the executor was killed before it had done anything"
    );
    assert!(submitted.0.wait().unwrap().success());
    println!(
        "{count} posts in {:.1} s; the killed executor had left {finished} files",
        begun.elapsed().as_secs_f64()
    );

    assert!(
        program(&["run", &bundle, &posts, &here])
            .status()
            .unwrap()
            .success()
    );
    let (here, there) = (
        read_answers(Path::new(&here)),
        read_answers(Path::new(&there)),
    );
    assert_eq!(there.len(), count);
    assert!(there.values().all(|answer| answer.0 == 1));
    assert!(here == there, "answers differ from those of one process");
    let errors = there.values().filter(|answer| answer.3.is_some()).count();
    assert_eq!(errors, count / 100);
}

/// How many files lie in a folder and those below it.
fn walk(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| match entry.path().is_dir() {
            true => walk(&entry.path()),
            false => 1,
        })
        .sum()
}
