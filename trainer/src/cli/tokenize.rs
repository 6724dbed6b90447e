//! Owns `trainer tokenize`: the ids of a text as a JSON array.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::clip_folder;

/// Print the token ids of a text as a JSON array.
#[derive(Args, Debug)]
pub struct TokenizeArgs {
    /// Folder of a Hugging Face CLIP (only its config.json and tokenizer are read).
    #[arg(long, value_name = "DIR")]
    clip: PathBuf,
    /// Pad with zeros to the context length.
    #[arg(long)]
    padded: bool,
    /// The text.
    text: String,
}

/// Prints the ids.
///
/// # Errors
/// If the folder or the text cannot be used.
pub fn run(args: TokenizeArgs) -> Result<()> {
    let tokenizer = clip_folder::load_tokenizer(&args.clip)?;
    let mut ids = tokenizer.encode(&args.text)?.ids;
    if args.padded {
        ids.resize(tokenizer.context_length(), 0);
    }
    println!("{}", serde_json::to_string(&ids)?);
    Ok(())
}
