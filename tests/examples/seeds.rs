//! Owns the writing of the files that fuzzing starts from into `fuzz/corpus`.

use std::path::Path;

use anyhow::Result;

fn main() -> Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (target, name, bytes) in tests::hostile::seeds::all()? {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
