//! Owns the files that fuzzing starts from: small and right, so that a change of few bytes makes them almost right.

use std::sync::Arc;

use anyhow::Result;
use candle_core::Device;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;
use shared::bundle;
use shared::predict::RawPost;

use super::bundle::tiny;

/// A file of a corpus: the target, its name, its bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// All seeds but the pictures, which the tests of preprocessing have.
///
/// # Errors
/// If one cannot be made.
pub fn all() -> Result<Vec<Seed>> {
    let mut seeds: Vec<Seed> = Vec::new();
    let texts: [(&'static str, &str, &[&[u8]]); 9] = [
        (
            "text",
            "text",
            &[
                "A photo of a cat's 12 toys! caf\u{e9} na\u{ef}ve \u{1f600} \u{6f22}\u{5b57}".as_bytes(),
                "sch\u{c3}\u{b6}n fianc\u{c3}\u{192}\u{c2}\u{a9}e it\u{e2}\u{20ac}\u{2122}s voil\u{c3} le".as_bytes(),
                b"AT&amp;T &eacute;&EACUTE; &#39;&#x27; &notit; &lt;b&gt; <p>x &amp;amp; y</p>",
                "\u{201c}\u{fb01}ne\u{201d} \u{ff21}\u{ff22} \u{1b}[31m\u{200b}\u{feff}\r\n\u{2028}<|endoftext|>".as_bytes(),
            ],
        ),
        (
            "tokenizer",
            "tokenizer",
            &[
                br#"{"version":"1.0","added_tokens":[{"id":0,"content":"<|startoftext|>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},{"id":9,"content":"AB","single_word":true,"lstrip":true,"rstrip":true,"normalized":true,"special":false}],"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "},{"type":"Lowercase"}]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"},"behavior":"Removed","invert":true},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]},"model":{"type":"BPE","dropout":null,"unk_token":"<|endoftext|>","continuing_subword_prefix":"","end_of_word_suffix":"</w>","fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{"<|startoftext|>":0,"<|endoftext|>":1,"a":2,"b</w>":3,"ab</w>":4,"c":5},"merges":[["a","b</w>"]]}}"#,
                br#"{"model":{"vocab":{"<|startoftext|>":0,"<|endoftext|>":1,"a":2,"b":3,"ab":4},"merges":["a b"]}}"#,
                b"{\"<|startoftext|>\":0,\"<|endoftext|>\":1,\"a\":2,\"b</w>\":3,\"ab</w>\":4}\0#version: 0.2\na b</w>\n",
            ],
        ),
        (
            "shards",
            "edits",
            &[
                b"\0",
                b"\x01",
                b"\x02",
                b"\0\x01\0\0\x10\x04wide",
                b"\x02\0\x04\x02\x10\x0333",
                b"\x01\x02\x02\x04\0\x10\x019",
                b"\0\x03\x01\0\0\x04\x04\xff\xff\xff\xff",
            ],
        ),
        (
            "clip_folder",
            "edits",
            &[b"", b"\0\x04\0\x20\x0216", b"\x02\x02\x04\0\x10\x018", b"\x03\0\0\x08\x04true", b"\x01\x01\0\x0e\x04a b\n"],
        ),
        (
            "jsonl",
            "posts",
            &[
                b"{\"id\":7,\"text\":\"hot\",\"label\":\"soup\",\"split\":\"dev\",\"style\":\"x\"}\n\n{\"id\":\"b\",\"text\":\"hot\",\"labels\":[\"tea\",\"drink\"],\"image\":\"p/q.jpg\"}\n{\"text\":\"cold\",\"image\":null,\"kind\":true}\n",
                "\u{feff}{\"text\":\"a\",\"kind\":[1,\"b\"]}\r\n".as_bytes(),
            ],
        ),
        (
            "csv",
            "posts",
            &[
                b"id,image,text,labels,split\n1,a.png,\"hot, \"\"very\"\"\nsoup\",tea;drink,test\n2,,cold,,\n",
                b"text,kind\r\nhot,soup\r\n",
            ],
        ),
        (
            "table",
            "posts",
            &[
                b"\x03id,image,text,labels\n1,a.png,\"hot, \"\"very\"\"\nsoup\",tea;drink\n2,,cold,\n",
                "\x00\u{feff}text;label\r\nhot;soup\r\n".as_bytes(),
                b"\x07{\"text\":\"a\"}\n\n  {\"id\":1}\r\nlast",
            ],
        ),
        (
            "layouts",
            "files",
            &[
                b"\0{\"train\":[\"1\"],\"dev\":[],\"test\":[]}\0{\"plot\":[\"a plot\",\"more\"],\"genres\":[\"Drama\",\"War\"]}",
                b"\x01{\"soup\":0,\"tea\":1}\0{\"train\":[\"soup_1.jpg\"],\"val\":[\"tea_1.jpg\"],\"test\":[\"soup_2.jpg\"]}\0{\"soup_1.jpg\":\"hot\",\"soup_2.jpg\":\"warm\",\"tea_1.jpg\":\"\"}",
                b"\x82{\"id\":1,\"img\":\"img/1.png\",\"text\":\"x\",\"label\":1}\n\0{\"id\":\"2\",\"img\":\"a\",\"text\":\"\",\"label\":0}\0{\"id\":3,\"img\":\"b\",\"text\":\"y\",\"label\":1}",
                b"\x82{\"soup\":0}\0{\"train\":[\"soup_1.jpg\"],\"val\":[],\"test\":[]}\0soup_1.jpg,\"hot, soup\"\n",
            ],
        ),
        (
            "settings",
            "run",
            &[
                b"[data]\npath = \"data/emoji\"\nlimit = 10\n[model.prompt]\nmethod = \"map\"\nlevel = \"attention\"\n[model.head]\nmethod = \"dpl_plus\"\nresidual = 0.5\n[loss]\nmargin = [0.1, 0.2, 0.3]\n[train]\nepochs = 3\nrate = 1e-3\n[missing]\nratio = 0.7\nkind = \"text\"\n",
                b"[model]\ntask = \"multi_label\"\n\0train.rate=0.1\0model.head.method=linear\0data.path=posts",
                b"",
            ],
        ),
    ];
    for (target, name, files) in texts {
        let named = files.iter().enumerate();
        seeds.extend(named.map(|(i, bytes)| (target, format!("{name}-{i}"), bytes.to_vec())));
    }
    for (i, files) in tiny()?.into_iter().enumerate() {
        seeds.push(("manifest", format!("tiny-{i}"), files[0].1.clone()));
    }
    seeds.push(("lessons", "taught".into(), lessons()?));
    seeds.push(("zip", "stored".into(), zip()));
    for (name, compression) in [
        ("plain", Compression::UNCOMPRESSED),
        ("snappy", Compression::SNAPPY),
        ("gzip", Compression::GZIP(Default::default())),
        ("zstd", Compression::ZSTD(ZstdLevel::default())),
        ("lz4", Compression::LZ4_RAW),
    ] {
        let file = parquet(compression, name == "plain" || name == "snappy")?;
        seeds.push(("parquet", name.into(), file));
    }
    Ok(seeds)
}

fn lessons() -> Result<Vec<u8>> {
    let files = tiny()?.swap_remove(0);
    let file = |name: &str| {
        let found = files.iter().find(|(own, _)| own == name);
        let absent = || shared::Error::Input(format!("there is no {name}"));
        found.map(|(_, bytes)| bytes.clone()).ok_or_else(absent)
    };
    let (_, mut classifier) = bundle::read(file, &Device::Cpu)?;
    for text in ["a cat", "two dogs"] {
        let post = RawPost {
            image: None,
            text: Some(text),
        };
        classifier.teach("pet", post)?;
    }
    classifier.rename("fruit", "pear")?;
    Ok(classifier.lessons()?.file.into_bytes())
}

/// Two stored members and their directory, as the format has it.
fn zip() -> Vec<u8> {
    let (mut whole, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in [("manifest.json", &b"{}"[..]), ("a/x", b"abc")] {
        let size = (content.len() as u32).to_le_bytes();
        let common = [
            &b"\x14\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
            &size,
            &size,
            &(name.len() as u16).to_le_bytes(),
            b"\0\0",
        ]
        .concat();
        let at = (whole.len() as u32).to_le_bytes();
        whole.extend([b"PK\x03\x04", &common[..], name.as_bytes(), content].concat());
        let parts = [
            b"PK\x01\x02\x14\0",
            &common[..],
            &[0; 10],
            &at,
            name.as_bytes(),
        ];
        directory.extend(parts.concat());
    }
    let (at, length) = (whole.len() as u32, directory.len() as u32);
    whole.extend(directory);
    let end = [&length.to_le_bytes()[..], &at.to_le_bytes(), b"\0\0"].concat();
    whole.extend([b"PK\x05\x06\0\0\0\0\x02\0\x02\0", &end[..]].concat());
    whole
}

fn parquet(compression: Compression, dictionary: bool) -> Result<Vec<u8>> {
    let schema = "message posts {
        REQUIRED BYTE_ARRAY id (UTF8);
        OPTIONAL BYTE_ARRAY text (UTF8);
        OPTIONAL BYTE_ARRAY split (UTF8);
        OPTIONAL GROUP labels (LIST) { REPEATED GROUP list { OPTIONAL BYTE_ARRAY element (UTF8); } }
        OPTIONAL GROUP image { OPTIONAL BYTE_ARRAY bytes; OPTIONAL BYTE_ARRAY path (UTF8); }
    }";
    let schema: Arc<Type> = Arc::new(parse_message_type(schema)?);
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_enabled(dictionary)
        .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
        .set_created_by("x".into())
        .build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    // Values, then definition and repetition levels, of two posts.
    let columns: [(&[&str], &'static [i16], &'static [i16]); 6] = [
        (&["a", "b"], &[], &[]),
        (&["hot soup soup soup", "tea"], &[1, 1], &[]),
        (&["test"], &[1, 0], &[]),
        (&["soup", "food", "tea"], &[3, 3, 3], &[0, 1, 0]),
        (&["\u{0}\u{1}"], &[2, 0], &[]),
        (&["a.png"], &[1, 2], &[]),
    ];
    for (values, definitions, repetitions) in columns {
        let values: Vec<ByteArray> = values.iter().map(|value| (*value).into()).collect();
        let levels = |levels: &'static [i16]| (!levels.is_empty()).then_some(levels);
        if let Some(mut column) = group.next_column()? {
            column.typed::<ByteArrayType>().write_batch(
                &values,
                levels(definitions),
                levels(repetitions),
            )?;
            column.close()?;
        }
    }
    group.close()?;
    writer.close()?;
    Ok(bytes)
}
