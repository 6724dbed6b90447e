//! Owns `trainer predict`: JSON lines in, JSON lines out; a line without image or text is a missing modality.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Result as IoResult, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::Device;
use serde::{Deserialize, Serialize};
use shared::bundle;
use shared::limits::{FILE_BYTES, LINE_BYTES, PICTURE_BYTES};
use shared::predict::{Classifier, OnDevice, Prediction, RawPost};

use crate::bounded::{self, Found};
use crate::engine::atomic::Draft;
use crate::engine::run::TrainedRun;

/// Classifies posts: JSON lines with `image` (a file), `text` and `id`, each optional, but not image and text both.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A run folder or a bundle folder.
    model: PathBuf,
    /// The posts; `-` reads stdin. Picture files are relative to this file's folder.
    #[arg(default_value = "-")]
    posts: PathBuf,
    /// Where to write; `-` is stdout. A file is there when all posts are answered, not before.
    #[arg(long, default_value = "-")]
    out: PathBuf,
    /// Keep only this many classes per post, likeliest first.
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Posts per pass; by default 32, from stdin 1, so that answers come at once.
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
}

/// A line of the input; other fields are ignored, so that a data set's own file can be classified.
#[derive(Deserialize)]
struct Line {
    id: Option<serde_json::Value>,
    image: Option<PathBuf>,
    text: Option<String>,
}

/// A line of the output.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: &'a Option<serde_json::Value>,
    #[serde(flatten)]
    result: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Classified(Box<Prediction>),
    Failed {
        file: String,
        line: usize,
        error: String,
    },
}

/// A post that was read, or why it was not.
struct Post {
    line: usize,
    id: Option<serde_json::Value>,
    content: Result<(Option<Vec<u8>>, Option<String>)>,
}

/// Runs the subcommand. A bad line gives an error record in its place and the rest goes on.
///
/// # Errors
/// If the model or the input cannot be read, or, at the end, if any line was bad.
pub fn run(args: &Args, device: &Device) -> Result<()> {
    let classifier = open(&args.model, device)?;
    let stdin = args.posts == Path::new("-");
    let mut input: Box<dyn BufRead> = if stdin {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        let file = File::open(&args.posts)
            .with_context(|| format!("cannot read {}", args.posts.display()))?;
        Box::new(BufReader::new(file))
    };
    let mut output = Output::open(&args.out)?;
    let (name, base) = match stdin {
        true => ("stdin".to_owned(), Path::new("")),
        false => (
            args.posts.display().to_string(),
            args.posts.parent().unwrap_or(Path::new("")),
        ),
    };
    let size = args.batch_size.unwrap_or(if stdin { 1 } else { 32 }).max(1);
    let (mut waiting, mut bad, mut all) = (Vec::new(), 0, 0);
    let mut flush = |waiting: &mut Vec<Post>| -> Result<()> {
        let posts = std::mem::take(waiting);
        all += posts.len();
        for answer in answers(&classifier, &posts, &name, args.top) {
            bad += usize::from(matches!(answer.result, Outcome::Failed { .. }));
            serde_json::to_writer(&mut output, &answer).map_err(std::io::Error::from)?;
            writeln!(output)?;
        }
        Ok(output.flush()?)
    };
    let mut line = Vec::new();
    for number in 1.. {
        let found = bounded::line(&mut input, &mut line);
        match found.with_context(|| format!("cannot read {name}"))? {
            Found::End => break,
            Found::Long => waiting.push(Post {
                line: number,
                id: None,
                content: Err(anyhow!(
                    "the line is longer than {LINE_BYTES} bytes, the most that are read"
                )),
            }),
            Found::Line if line.trim_ascii().is_empty() => {}
            Found::Line => waiting.push(read(&line, number, base)),
        }
        if waiting.len() == size {
            flush(&mut waiting)?;
        }
    }
    flush(&mut waiting)?;
    output.finish()?;
    if bad > 0 {
        bail!("{bad} of {all} posts could not be classified; their lines have an \"error\"");
    }
    Ok(())
}

/// Where answers go.
enum Output {
    /// To whoever reads along: stdout, a pipe, a device.
    Stream(BufWriter<Box<dyn Write>>),
    /// Into a file that is there as a whole or not at all.
    File(BufWriter<Draft>),
}

impl Output {
    fn open(path: &Path) -> Result<Self> {
        let named = || format!("cannot write {}", path.display());
        let stream: Box<dyn Write> = if path == Path::new("-") {
            Box::new(std::io::stdout())
        } else if path.metadata().is_ok_and(|about| !about.is_file()) {
            Box::new(File::options().write(true).open(path).with_context(named)?)
        } else {
            // A link is followed, so that it is not the link that is replaced.
            let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            return Ok(Self::File(BufWriter::new(Draft::begin(&place, None)?)));
        };
        Ok(Self::Stream(BufWriter::new(stream)))
    }

    fn finish(self) -> IoResult<()> {
        match self {
            Self::Stream(mut stream) => stream.flush(),
            Self::File(file) => file.into_inner()?.finish(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        match self {
            Self::Stream(stream) => stream.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> IoResult<()> {
        match self {
            Self::Stream(stream) => stream.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

/// The classifier of a run or a bundle.
fn open(folder: &Path, device: &Device) -> Result<Classifier> {
    if folder.join(bundle::MANIFEST).exists() {
        let file = |name: &str| {
            let path = folder.join(name);
            bounded::bytes(&path, FILE_BYTES as usize)
        };
        let (_, classifier) = bundle::read(file, device)?;
        return Ok(classifier);
    }
    if !folder.join(crate::settings::FILE).exists() {
        bail!(
            "{} is neither a run folder ({}) nor a bundle ({})",
            folder.display(),
            crate::settings::FILE,
            bundle::MANIFEST
        );
    }
    let trained = TrainedRun::open(folder, &[], device)?;
    let model = trained.model(device)?;
    let network = OnDevice {
        model,
        device: device.clone(),
    };
    let (images, tokenizer) = (trained.clip.preprocessor, trained.clip.tokenizer);
    Ok(Classifier::new(network, images, tokenizer)?)
}

/// Reads a line and its picture.
fn read(line: &[u8], number: usize, base: &Path) -> Post {
    let parsed: Result<Line> =
        serde_json::from_slice(line).context("the line is no JSON object of a post");
    match parsed {
        Err(error) => Post {
            line: number,
            id: None,
            content: Err(error),
        },
        Ok(Line { id, image, text }) => {
            let bytes = image.map(|image| {
                let path = base.join(image);
                bounded::bytes(&path, PICTURE_BYTES).context("image")
            });
            Post {
                line: number,
                id,
                content: bytes.transpose().map(|bytes| (bytes, text)),
            }
        }
    }
}

/// One answer per post. If the pass over all of them fails, each is tried alone to find the bad ones.
fn answers<'a>(
    classifier: &Classifier,
    posts: &'a [Post],
    file: &str,
    top: Option<usize>,
) -> Vec<Answer<'a>> {
    let raw = |post: &'a Post| -> Option<RawPost<'a>> {
        let (image, text) = post.content.as_ref().ok()?;
        Some(RawPost {
            image: image.as_deref(),
            text: text.as_deref(),
        })
    };
    let readable: Vec<RawPost<'_>> = posts.iter().filter_map(raw).collect();
    let mut together = classifier.classify_many(&readable).ok().map(Vec::into_iter);
    let outcomes = posts.iter().map(|post| {
        let prediction = match (&post.content, raw(post), &mut together) {
            (Err(error), _, _) => Err(format!("{error:#}")),
            (Ok(_), Some(_), Some(predictions)) => {
                predictions.next().ok_or_else(|| "no prediction".to_owned())
            }
            (Ok(_), raw, _) => {
                let RawPost { image, text } = raw.unwrap_or_default();
                classifier
                    .classify(image, text)
                    .map_err(|error| error.to_string())
            }
        };
        match prediction {
            Ok(mut prediction) => {
                prediction.classes.truncate(top.unwrap_or(usize::MAX));
                Outcome::Classified(Box::new(prediction))
            }
            Err(error) => Outcome::Failed {
                file: file.to_owned(),
                line: post.line,
                error,
            },
        }
    });
    posts
        .iter()
        .zip(outcomes)
        .map(|(post, result)| Answer {
            id: &post.id,
            result,
        })
        .collect()
}
