//! Classifies the posts of Parquet files, on this machine or on many.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use scoring::cluster::{self, Meeting};
use scoring::query::{Place, score};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Classifies the posts of Parquet files, on this machine or on many.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Classify posts in this process
    Run {
        /// A bundle folder
        bundle: PathBuf,
        #[command(flatten)]
        files: Files,
    },
    /// Classify posts on the executors of a scheduler; they must see the same files
    Submit {
        /// The scheduler's host and port, such as localhost:50050
        scheduler: String,
        #[command(flatten)]
        files: Files,
    },
    /// Run Ballista's scheduler
    Scheduler {
        #[command(flatten)]
        meeting: At,
    },
    /// Run one of Ballista's executors, with a model
    Executor {
        /// A bundle folder
        bundle: PathBuf,
        #[command(flatten)]
        meeting: At,
        /// The port for data; the next one is for orders
        #[arg(long, default_value_t = 50051)]
        port: u16,
        /// Tasks at a time
        #[arg(long, default_value_t = 1)]
        tasks: usize,
        /// Where parts of answers lie until they are fetched
        #[arg(long)]
        folder: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Files {
    /// A Parquet file, or a folder of them, with columns image (bytes) and text, or one of both
    posts: String,
    /// The Parquet file to write
    out: PathBuf,
    /// Into how many parts the posts are split
    #[arg(long, default_value_t = 16)]
    parts: usize,
}

#[derive(clap::Args)]
struct At {
    /// The scheduler's host
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The scheduler's port
    #[arg(long, default_value_t = 50050)]
    scheduler_port: u16,
}

impl From<At> for Meeting {
    fn from(at: At) -> Self {
        Self {
            host: at.host,
            port: at.scheduler_port,
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // Plans are read by recursion.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(32 << 20)
        .build()?;
    runtime.block_on(run(arguments.command))
}

async fn run(command: Command) -> Result<()> {
    let (place, files) = match &command {
        Command::Run { bundle, files } => (Place::Here(bundle), files),
        Command::Submit { scheduler, files } => (Place::Scheduler(scheduler), files),
        _ => return serve(command).await,
    };
    let account = score(place, &files.posts, &files.out, files.parts).await?;
    println!(
        "{} posts, {} answers, {} of them errors: {}",
        account.posts,
        account.answers,
        account.errors,
        files.out.display()
    );
    Ok(())
}

async fn serve(command: Command) -> Result<()> {
    match command {
        Command::Scheduler { meeting } => cluster::scheduler(&meeting.into()).await,
        Command::Executor {
            bundle,
            meeting,
            port,
            tasks,
            folder,
        } => {
            let ports = [port, port + 1];
            cluster::executor(&meeting.into(), ports, &bundle, tasks, folder.as_deref()).await
        }
        Command::Run { .. } | Command::Submit { .. } => Ok(()),
    }
}
