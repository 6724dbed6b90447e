//! Owns the proof that data sets are read from their published layouts, and that what is wrong with them is said precisely.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use tests::{layouts, tiny};
use trainer::clip_folder;
use trainer::data::check;
use trainer::data::format::{self, DataSet, hateful_memes, mm_imdb};
use trainer::data::record::Picture;
use trainer::data::split::Split;
use trainer::engine::dataset::Dataset;
use trainer::settings::{DataSettings, Format, Plots, Settings, TestFile};

fn settings(format: Format) -> DataSettings {
    DataSettings {
        format,
        ..DataSettings::default()
    }
}

fn read(folder: &Path, format: Format) -> DataSet {
    format::read(folder, &settings(format)).unwrap()
}

fn error(folder: &Path, format: Format) -> String {
    format!("{:#}", format::read(folder, &settings(format)).unwrap_err())
}

fn assert_says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
}

fn of(data: &DataSet, split: Split) -> usize {
    data.posts.iter().filter(|post| post.split == split).count()
}

/// Every split opens as training opens it, and every post makes a batch.
fn opens(folder: &Path, format: &str, task: &str) -> Dataset {
    let clip = folder.join("clip");
    tiny::clip_folder(&clip).unwrap();
    let overrides = [
        format!("data.format={format}"),
        format!("data.path={}", folder.display()),
        format!("model.clip={}", clip.display()),
        format!("model.task={task}"),
    ];
    let settings = Settings::resolve(None, &overrides).unwrap();
    let clip = clip_folder::load(&clip, &Device::Cpu).unwrap();
    let data = Dataset::open(&settings, &Split::ALL, None, &clip, &Device::Cpu).unwrap();
    for split in Split::ALL {
        let posts = data.simulated(split, &settings.missing, None).unwrap();
        let places: Vec<usize> = (0..posts.posts.len()).collect();
        assert_eq!(posts.sample(&places).unwrap().classes.len(), places.len());
    }
    data
}

#[test]
fn mm_imdb_counts_plots_or_films() {
    let folder = tempfile::tempdir().unwrap();
    layouts::mm_imdb(folder.path(), 9).unwrap();
    let all = read(folder.path(), Format::MmImdb);
    assert_eq!(all.classes, mm_imdb::GENRES);
    assert_eq!(Split::ALL.map(|split| of(&all, split)), [12, 12, 12]);
    assert_eq!(
        all.posts[0].labels,
        ["Comedy", "Drama"],
        "Reality-TV is no class"
    );
    assert!(
        all.notes[0].contains("36 posts of 27 films"),
        "{}",
        all.notes[0]
    );
    let first = DataSettings {
        plots: Plots::First,
        ..settings(Format::MmImdb)
    };
    assert_eq!(format::read(folder.path(), &first).unwrap().posts.len(), 27);
    let data = opens(folder.path(), "mm_imdb", "multi_label");
    let source = data.source(Split::Train).unwrap();
    let rows: Vec<usize> = (0..source.len()).map(|post| source.row(post)).collect();
    assert_eq!(
        rows[..4],
        [0, 0, 1, 2],
        "both plots of a film share its row"
    );
    let missing = trainer::settings::MissingSettings::default();
    let posts = data.simulated(Split::Train, &missing, None).unwrap().posts;
    for pair in posts.windows(2).zip(rows.windows(2)) {
        let (posts, rows) = pair;
        assert!(rows[0] != rows[1] || posts[0].1 == posts[1].1);
    }
}

#[test]
fn what_is_wrong_with_mm_imdb_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    layouts::mm_imdb(path, 3).unwrap();
    let label = path.join("labels/0000001.json");
    let sound = std::fs::read_to_string(&label).unwrap();
    std::fs::write(&label, "{\"genres\": []}").unwrap();
    assert_says(&error(path, Format::MmImdb), &["0000001.json", "plot"]);
    std::fs::write(&label, "{\"genres\": [], \"plot\": [\" \"]}").unwrap();
    assert_says(
        &error(path, Format::MmImdb),
        &["0000001.json", "\"plot\"", "no text"],
    );
    std::fs::remove_file(&label).unwrap();
    assert_says(
        &error(path, Format::MmImdb),
        &["cannot read", "0000001.json"],
    );
    std::fs::write(&label, sound).unwrap();
    let twice = "{\"train\": [\"0000000\"], \"dev\": [\"0000000\"], \"test\": []}";
    std::fs::write(path.join("split.json"), twice).unwrap();
    assert_says(
        &error(path, Format::MmImdb),
        &["split.json", "\"0000000\"", "train", "val"],
    );
    std::fs::write(path.join("split.json"), "{\"train\": []}").unwrap();
    assert_says(&error(path, Format::MmImdb), &["split.json", "\"dev\""]);
}

#[test]
fn food101_keeps_the_order_of_its_classes_and_leaves_photos_without_title_out() {
    for as_csv in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        layouts::food101(folder.path(), 6, as_csv).unwrap();
        let data = read(folder.path(), Format::Food101);
        assert_eq!(data.classes, ["tacos", "apple_pie", "gnocchi"]);
        assert_eq!(Split::ALL.map(|split| of(&data, split)), [6, 6, 5]);
        assert!(
            data.notes[0].contains("1 photos without a title"),
            "{}",
            data.notes[0]
        );
        let val = data
            .posts
            .iter()
            .find(|post| post.split == Split::Val)
            .unwrap();
        let expected = folder.path().join("images/train/tacos/tacos_6.jpg");
        assert_eq!(val.image, Some(Picture::File(expected)));
        assert_eq!(
            val.text.as_deref(),
            Some("How to make tacos, \"the best\", number 0")
        );
        opens(folder.path(), "food101", "multi_class");
    }
}

#[test]
fn what_is_wrong_with_food101_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    layouts::food101(path, 3, false).unwrap();
    let titles = std::fs::read_to_string(path.join("text.json")).unwrap();
    std::fs::remove_file(path.join("text.json")).unwrap();
    assert_says(&error(path, Format::Food101), &["text.json", "_titles.csv"]);
    std::fs::write(path.join("text.json"), &titles).unwrap();
    let write = |text: &str| std::fs::write(path.join("split.json"), text).unwrap();
    write("{\"train\": [\"pizza_1.jpg\"], \"val\": [], \"test\": []}");
    assert_says(
        &error(path, Format::Food101),
        &["split.json", "entry 1", "pizza_1.jpg"],
    );
    write("{\"train\": [\"tacos_0.jpg\"], \"val\": [], \"test\": [\"tacos_0.jpg\"]}");
    assert_says(
        &error(path, Format::Food101),
        &["test entry 1", "in train already"],
    );
    write("{\"train\": [");
    assert_says(&error(path, Format::Food101), &["split.json", "line 1"]);
    std::fs::write(path.join("class_idx.json"), "{\"tacos\": 0, \"pizza\": 2}").unwrap();
    assert_says(&error(path, Format::Food101), &["class_idx.json", "0 to 1"]);
}

#[test]
fn hateful_memes_are_tested_on_the_file_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    layouts::hateful_memes(path, 6).unwrap();
    let data = read(path, Format::HatefulMemes);
    assert_eq!(data.classes, hateful_memes::CLASSES);
    assert_eq!(Split::ALL.map(|split| of(&data, split)), [6, 6, 6]);
    let test_id = |data: &DataSet| data.posts.last().unwrap().id.clone();
    assert_eq!(test_id(&data), "30005");
    let unseen = DataSettings {
        test_file: TestFile::TestUnseen,
        ..settings(Format::HatefulMemes)
    };
    assert_eq!(test_id(&format::read(path, &unseen).unwrap()), "40005");
    opens(path, "hateful_memes", "multi_class");

    let list = path.join("data/test_seen.jsonl");
    std::fs::copy(path.join("data/test.jsonl"), &list).unwrap();
    assert_says(
        &error(path, Format::HatefulMemes),
        &["test_seen.jsonl line 1", "\"label\"", "test_unseen.jsonl"],
    );
    std::fs::write(
        &list,
        "{\"id\": 1, \"img\": \"img/1.png\", \"text\": \"x\", \"label\": 7}\n",
    )
    .unwrap();
    assert_says(
        &error(path, Format::HatefulMemes),
        &["line 1", "\"label\" is 7"],
    );
    std::fs::remove_file(&list).unwrap();
    assert_says(
        &error(path, Format::HatefulMemes),
        &["test_seen.jsonl", "data.test_file"],
    );
}

#[test]
fn tables_of_columns_are_read_and_their_mistakes_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let write = |text: &[u8]| std::fs::write(path.join("data.csv"), text).unwrap();
    write(b"id,text,label,split,extra\na,\"one, two\",tea,train,x\nb,three,soup,dev,\nc,four,tea,test,y\n");
    let data = read(path, Format::Csv);
    assert_eq!(data.classes, ["soup", "tea"]);
    assert_eq!(data.posts[0].text.as_deref(), Some("one, two"));
    assert_eq!(data.posts[1].split, Split::Val);
    opens(path, "csv", "multi_class");
    write(b"id,text,labels\na,one,tea; hot\n");
    assert_eq!(read(path, Format::Csv).posts[0].labels, ["hot", "tea"]);
    write(b"id,text\na,ok\nb,\xff\xfe\n");
    assert_says(
        &error(path, Format::Csv),
        &["data.csv line 3", "\"text\"", "UTF-8"],
    );
    write(b"id,text\na,ok\nb,x,y\n");
    assert_says(&error(path, Format::Csv), &["data.csv", "line: 3"]);
    write(b"id,text\na,ok\na,again\n");
    assert_says(
        &error(path, Format::Csv),
        &["data.csv line 3", "line 2 already"],
    );
    write(b"id,image\na,\n");
    assert_says(&error(path, Format::Csv), &["data.csv line 2", "neither"]);
}

/// A Parquet file with the columns id, text, label, split and image; the last is bytes, or a number if `wrong`.
fn parquet_file(path: &Path, pictures: &[Vec<u8>], wrong: bool) {
    let string = |name: &str| {
        Arc::new(
            Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
                .with_logical_type(Some(LogicalType::String))
                .with_repetition(Repetition::REQUIRED)
                .build()
                .unwrap(),
        )
    };
    let kind = if wrong {
        Physical::INT64
    } else {
        Physical::BYTE_ARRAY
    };
    let image = Type::primitive_type_builder("image", kind)
        .with_repetition(Repetition::REQUIRED)
        .build()
        .unwrap();
    let mut fields: Vec<_> = ["id", "text", "label", "split"].map(string).to_vec();
    fields.push(Arc::new(image));
    let schema = Type::group_type_builder("posts")
        .with_fields(fields)
        .build()
        .unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let count = pictures.len();
    let columns: [Vec<String>; 4] = [
        (0..count).map(|i| format!("p{i}")).collect(),
        (0..count).map(|i| format!("words {i}")).collect(),
        (0..count)
            .map(|i| ["tea", "soup"][i % 2].to_owned())
            .collect(),
        (0..count)
            .map(|i| ["train", "val", "test"][i % 3].to_owned())
            .collect(),
    ];
    for values in columns {
        let values: Vec<ByteArray> = values.iter().map(|value| value.as_str().into()).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, None, None)
            .unwrap();
        column.close().unwrap();
    }
    let mut column = group.next_column().unwrap().unwrap();
    if wrong {
        let values: Vec<i64> = (0..count as i64).collect();
        column
            .typed::<Int64Type>()
            .write_batch(&values, None, None)
            .unwrap();
    } else {
        let values: Vec<ByteArray> = pictures.iter().map(|bytes| bytes.clone().into()).collect();
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, None, None)
            .unwrap();
    }
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_files_carry_pictures_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(9, 9, image::Rgb([9, 90, 200]))
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    parquet_file(
        &path.join("data.parquet"),
        &vec![png.into_inner(); 6],
        false,
    );
    let data = read(path, Format::Parquet);
    assert_eq!((data.posts.len(), of(&data, Split::Val)), (6, 2));
    assert!(matches!(data.posts[0].image, Some(Picture::Bytes(_))));
    assert_eq!(data.posts[1].labels, ["soup"]);
    opens(path, "parquet", "multi_class");
    parquet_file(&path.join("data.parquet"), &vec![vec![1, 2, 3]; 3], true);
    assert_says(
        &error(path, Format::Parquet),
        &["data.parquet row 1", "\"image\"", "bytes"],
    );
    std::fs::write(path.join("data.parquet"), "no parquet").unwrap();
    assert_says(
        &error(path, Format::Parquet),
        &["data.parquet", "no Parquet file"],
    );
}

#[test]
fn classes_may_lie_in_another_field_and_rare_ones_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [("a", "Shirts"), ("b", "Shirts"), ("c", "Belts")].map(|(id, class)| {
        format!("{{\"id\":\"{id}\",\"text\":\"t\",\"articleType\":\"{class}\"}}\n")
    });
    std::fs::write(folder.path().join("data.jsonl"), lines.concat()).unwrap();
    let chosen = DataSettings {
        label: Some("articleType".into()),
        min_posts: 2,
        ..settings(Format::Jsonl)
    };
    let data = format::read(folder.path(), &chosen).unwrap();
    assert_eq!(
        (data.classes.as_slice(), data.posts.len()),
        (["Shirts".to_owned()].as_slice(), 2)
    );
}

#[test]
fn a_check_compares_with_the_published_sizes_and_names_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    layouts::mm_imdb(path, 3).unwrap();
    std::fs::remove_file(path.join("images/0000002.jpeg")).unwrap();
    let report = check::check(path, &settings(Format::MmImdb)).unwrap();
    assert!(report.is_broken());
    assert_eq!(report.unreadable.len(), 1);
    assert_says(
        &report.to_string(),
        &[
            "train has 3 of the 15552 published",
            "0000002.jpeg",
            "labels/0000002.json",
            "12 posts of 9 films",
        ],
    );
    let report = check::check(path, &settings(Format::MmImdb)).unwrap();
    assert_eq!(report.differences.len(), 3, "23 genres are right");
}
