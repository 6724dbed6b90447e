//! Owns what is asked of a Parquet file before the library reads its rows: the library takes some malformed files for
//! impossible and panics on them, and takes whatever memory a page says that it needs.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use anyhow::{Context, Result, bail, ensure};
use parquet::basic::{Compression, ConvertedType, Repetition};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::schema::types::Type;
use shared::limits::{
    COLUMN_BYTES, COLUMN_DEPTH, COLUMNS, DATA_SET_POSTS, FOOTER_BYTES, PAGE_BYTES,
};

use super::thrift;

/// Says what is wrong with a file whose description cannot be read safely: before the library reads it.
///
/// # Errors
/// If something is.
pub(super) fn footer(file: &File) -> Result<()> {
    let mut file = file;
    let size = file.metadata()?.len();
    let mut end = [0; 8];
    let place = size.checked_sub(8).context("it is too short")?;
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(&mut end)?;
    let [a, b, c, d, mark @ ..] = end;
    ensure!(mark == *b"PAR1", "it does not end as Parquet files do");
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    ensure!(
        length <= FOOTER_BYTES,
        "its description has {length} bytes; at most {FOOTER_BYTES} are read"
    );
    let start = place.checked_sub(length).context("it is cut short")?;
    file.seek(SeekFrom::Start(start))?;
    let mut description = BufReader::new(file.take(length));
    thrift::description(&mut description).context("its description is damaged")
}

/// Says what is wrong with a file that its own description does not fit, or that is beyond the limits.
///
/// # Errors
/// If something is.
pub(super) fn check(file: &File, metadata: &ParquetMetaData) -> Result<()> {
    let schema = metadata.file_metadata().schema_descr();
    let columns = schema.num_columns();
    ensure!(
        columns <= COLUMNS,
        "{columns} columns; at most {COLUMNS} are read"
    );
    for field in schema.root_schema().get_fields() {
        fits(field, 1)?;
    }
    let size = file.metadata()?.len();
    let mut rows = 0u64;
    for group in metadata.row_groups() {
        let own = u64::try_from(group.num_rows()).context("a row group has a negative size")?;
        rows = rows.saturating_add(own);
        ensure!(
            rows <= DATA_SET_POSTS as u64,
            "{rows} rows or more; a data set has at most {DATA_SET_POSTS} posts"
        );
        ensure!(
            group.columns().len() == columns,
            "a row group has another number of columns than the file"
        );
        for column in group.columns() {
            let name = column.column_path().string();
            // Each row has a value at least, or the place of one that is missing: without them there is nothing to read.
            ensure!(
                u64::try_from(column.num_values()).is_ok_and(|values| values >= own),
                "the column {name:?} has fewer values than the row group has rows, {own}"
            );
            pages(file, size, column).with_context(|| format!("the column {name:?}"))?;
        }
    }
    Ok(())
}

/// Whether a field is of the kinds that files of posts have.
fn fits(field: &Type, depth: usize) -> Result<()> {
    let (info, name) = (field.get_basic_info(), field.name());
    ensure!(
        depth <= COLUMN_DEPTH,
        "the column {name:?} is nested deeper than {COLUMN_DEPTH} levels"
    );
    ensure!(info.has_repetition(), "the column {name:?} is malformed");
    if field.is_primitive() {
        return Ok(());
    }
    let fields = field.get_fields();
    ensure!(!fields.is_empty(), "the column {name:?} has no fields");
    match info.converted_type() {
        ConvertedType::LIST => {
            let repeated = |field: &Type| {
                let info = field.get_basic_info();
                info.has_repetition() && info.repetition() == Repetition::REPEATED
            };
            ensure!(
                fields.len() == 1 && repeated(&fields[0]),
                "the column {name:?} is a malformed list"
            );
        }
        ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE => {
            bail!("the column {name:?} is a map, which no column of posts is; leave it out");
        }
        _ => {}
    }
    fields.iter().try_for_each(|field| fits(field, depth + 1))
}

/// Walks over the pages of a column, whose heads say how much memory each takes.
fn pages(file: &File, size: u64, column: &ColumnChunkMetaData) -> Result<()> {
    let unsigned = |value: i64| u64::try_from(value).context("a size or place is negative");
    let data = unsigned(column.data_page_offset())?;
    let start = match column.dictionary_page_offset() {
        Some(start) => unsigned(start)?,
        None => data,
    };
    let end = start.saturating_add(unsigned(column.compressed_size())?);
    ensure!(end <= size, "it ends beyond the file");
    let unpacked = unsigned(column.uncompressed_size())?;
    ensure!(
        unpacked <= COLUMN_BYTES,
        "a row group has {unpacked} bytes of it unpacked; at most {COLUMN_BYTES} are read, write smaller row groups"
    );
    let mut file = file;
    file.seek(SeekFrom::Start(start))?;
    let mut reader = Counted {
        reader: BufReader::new(file),
        at: start,
    };
    while reader.at < end {
        let page = thrift::Page::read(&mut reader).context("a page's head is damaged")?;
        let packed = u64::try_from(page.packed).context("a page has a negative size")?;
        let unpacked = u64::try_from(page.unpacked).context("a page has a negative size")?;
        let levels = u64::try_from(page.levels).context("a page has a negative size")?;
        ensure!(levels <= packed, "a page is smaller than its levels");
        ensure!(packed <= end - reader.at.min(end), "a page ends beyond it");
        ensure!(
            unpacked <= PAGE_BYTES,
            "a page has {unpacked} bytes unpacked; at most {PAGE_BYTES} are read"
        );
        skip(&mut reader, levels)?;
        unpacks(&mut reader, column.compression(), packed - levels, unpacked)?;
    }
    Ok(())
}

/// Skips a page; where the library would unpack without end, only once it is known to end.
fn unpacks(
    reader: &mut Counted<impl Read>,
    how: Compression,
    packed: u64,
    unpacked: u64,
) -> Result<()> {
    let end = reader.at + packed;
    let mut page = reader.by_ref().take(packed);
    let most = unpacked + 1;
    let found = match how {
        Compression::GZIP(_) => io::copy(
            &mut flate2::read::MultiGzDecoder::new(&mut page).take(most),
            &mut io::sink(),
        ),
        Compression::ZSTD(_) => zstd::Decoder::new(&mut page)
            .and_then(|decoder| io::copy(&mut decoder.take(most), &mut io::sink())),
        _ => Ok(0),
    };
    // A page may be partly or not packed; what cannot be unpacked has no bytes too many.
    ensure!(
        found.unwrap_or(0) <= unpacked,
        "a page has more bytes than it says"
    );
    let rest = end - reader.at;
    skip(reader, rest)
}

fn skip(reader: &mut Counted<impl Read>, count: u64) -> Result<()> {
    let skipped = io::copy(&mut reader.by_ref().take(count), &mut io::sink())?;
    ensure!(skipped == count, "the file ends within a page");
    Ok(())
}

/// A reader that knows its place.
struct Counted<R> {
    reader: R,
    at: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}
