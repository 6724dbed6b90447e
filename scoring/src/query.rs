//! Owns the query: the posts of Parquet files to a Parquet file of answers, with an account of every row.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use ballista::prelude::SessionContextExt;
use ballista_core::extension::SessionConfigExt;
use datafusion::arrow::array::{Array, Int64Array, StructArray};
use datafusion::execution::SessionStateBuilder;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;

use crate::function::{Classify, NAME};

/// Files are split into parts of at least so many bytes, which are scored apart.
const PART: u64 = 64 << 10;

/// Rows that the function is given at a time: a post is dear, where DataFusion reckons with cheap rows. What has fewer rows
/// is not split.
const ROWS: usize = 256;

/// Where a query runs.
pub enum Place<'a> {
    /// In this process, with the model of a bundle.
    Here(&'a Path),
    /// On the executors of Ballista's scheduler at this host and port, such as `localhost:50050`.
    Scheduler(&'a str),
}

/// What became of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Rows of the posts.
    pub posts: usize,
    /// Rows of the answers: as many.
    pub answers: usize,
    /// Of these, posts that could not be classified.
    pub errors: usize,
}

/// Classifies the posts of a Parquet file or a folder of them, with columns `image` (bytes) and `text`, or one of both,
/// and writes all their other columns with the answers. The file is whole or not there.
///
/// # Errors
/// If the posts cannot be read, the query fails, there are not as many answers as posts, or they cannot be written.
pub async fn score(place: Place<'_>, posts: &str, out: &Path, parts: usize) -> Result<Account> {
    let context = open(&place, parts).await?;
    context
        .register_parquet("posts", posts, ParquetReadOptions::default())
        .await
        .with_context(|| format!("cannot read {posts}"))?;
    let expected = count(&context).await?;
    let table = context.table("posts").await?;
    let names: Vec<&str> = table
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    let argument = |name: &'static str| if names.contains(&name) { name } else { "null" };
    let (image, text) = (argument("image"), argument("text"));
    if image == "null" && text == "null" {
        bail!(
            "{posts} has neither a column image nor a column text, but {}",
            names.join(", ")
        );
    }
    let kept: String = names
        .iter()
        .filter(|name| **name != "image")
        .map(|name| format!("\"{name}\", "))
        .collect();
    let query = format!("select {kept}{NAME}({image}, {text}) as answer from posts");
    let mut answers = context.sql(&query).await?.execute_stream().await?;

    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    let file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
        .with_context(|| format!("cannot write {}", out.display()))?;
    let mut writer = ArrowWriter::try_new(file.reopen()?, answers.schema(), None)?;
    let mut account = Account {
        posts: expected,
        answers: 0,
        errors: 0,
    };
    while let Some(batch) = answers.next().await {
        let batch = batch?;
        account.answers += batch.num_rows();
        let answer = batch
            .column_by_name("answer")
            .context("the query gave no answers")?;
        let answer = answer.as_any().downcast_ref::<StructArray>();
        let error = answer.and_then(|answer| answer.column_by_name("error").cloned());
        account.errors += error.map_or(0, |error| error.len() - error.null_count());
        writer.write(&batch)?;
    }
    writer.close()?;
    ensure!(
        account.answers == account.posts,
        "{} posts, but {} answers; nothing was written",
        account.posts,
        account.answers
    );
    file.as_file().sync_all()?;
    file.persist(out)
        .with_context(|| format!("cannot write {}", out.display()))?;
    File::open(out)?.sync_all()?;
    Ok(account)
}

async fn open(place: &Place<'_>, parts: usize) -> Result<SessionContext> {
    let config = match place {
        Place::Here(_) => SessionConfig::new(),
        Place::Scheduler(_) => SessionConfig::new_with_ballista(),
    };
    let mut config = config
        .with_target_partitions(parts)
        .with_batch_size(ROWS)
        .with_repartition_file_scans(true)
        .with_repartition_file_min_size(PART as usize);
    // The function takes plain columns.
    config
        .options_mut()
        .execution
        .parquet
        .schema_force_view_types = false;
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config)
        .build();
    let (context, function) = match place {
        Place::Here(bundle) => (
            SessionContext::new_with_state(state),
            Classify::of_bundle(bundle)?,
        ),
        Place::Scheduler(address) => (
            SessionContext::remote_with_state(&format!("df://{address}"), state)
                .await
                .with_context(|| format!("there is no scheduler at {address}"))?,
            Classify::planned(),
        ),
    };
    context.register_udf(function.into_function());
    Ok(context)
}

async fn count(context: &SessionContext) -> Result<usize> {
    let batches = context
        .sql("select count(*) from posts")
        .await?
        .collect()
        .await?;
    let counts = batches.iter().filter(|batch| batch.num_rows() > 0);
    let mut all = 0;
    for batch in counts {
        let column = batch.column(0).as_any().downcast_ref::<Int64Array>();
        all += column.context("the posts cannot be counted")?.value(0);
    }
    Ok(usize::try_from(all)?)
}
