//! Owns every limit on what strangers give: pictures, texts, models, bundles, tables, archives, settings. Nothing beyond
//! them is read, natively or in the page, and each is held before memory is taken for what it limits.
//!
//! Who changes one changes it here. The npm package repeats some in TypeScript; a test holds them equal.

// Pictures.

/// The largest picture's file, in bytes: no photograph is that large, and memory is not endless.
pub const PICTURE_BYTES: usize = 64_000_000;
/// The most pixels of a picture: beyond any phone's photograph, and bearable in a browser's tab.
pub const PIXELS: u64 = 64_000_000;
/// The most bytes of a picture's decoded samples: four for each of the pixels.
pub const SAMPLE_BYTES: u64 = 256 << 20;
/// The most scans of a progressive JPEG. Real files have about ten.
pub const SCANS: usize = 200;
/// The most walks over one colour of the largest picture that a JPEG's scans may cost together: a scan of some bytes
/// walks over the whole picture. Small pictures may have many scans, large ones the ten that there are.
pub const SCAN_WALKS: u64 = 20;
/// The longest side that pictures are resized or cropped to, in pixels; the largest CLIPs take 448.
pub const SIDE: usize = 1 << 12;

// Texts and tokenizers.

/// The most bytes of a text that are looked at, a thousand times what a context holds; the rest is left out.
pub const TEXT_BYTES: usize = 1 << 20;
/// The longest line that is repaired as one, in characters; longer ones are repaired in pieces, as ftfy does.
pub const REPAIRED_CHARACTERS: usize = 1_000_000;
/// A text beyond this many characters for each token of the context is cut before it is tokenised. No vocabulary has
/// tokens a tenth as long, so the tokens that are kept are the same, and ten megabytes cost what a page does.
pub const CHARACTERS_PER_TOKEN: usize = 1 << 10;
/// The largest tokenizer.json, vocab.json or merges.txt, in bytes; CLIP's have three million.
pub const TOKENIZER_BYTES: usize = 32 << 20;
/// The most tokens of a vocabulary, and merges; CLIP has 49,408 and the largest vocabularies five times as many.
pub const VOCABULARY: usize = 1 << 20;
/// The most tokens beside the vocabulary that are looked for in every text; CLIP has two.
pub const ADDED_TOKENS: usize = 1 << 8;
/// The longest token that is added to a vocabulary, in bytes.
pub const ADDED_TOKEN_BYTES: usize = 1 << 10;

// Models.

/// The largest config.json, preprocessor_config.json or index of shards, in bytes.
pub const CONFIG_BYTES: usize = 4 << 20;
/// The largest width of a tower, and of the joint space; ten times the largest CLIP's.
pub const WIDTH: usize = 1 << 14;
/// The largest width of a feed-forward block.
pub const INNER_WIDTH: usize = 1 << 16;
/// The most blocks of a tower; the largest CLIP has 48.
pub const LAYERS: usize = 1 << 8;
/// The most attention heads of a block.
pub const HEADS: usize = 1 << 10;
/// The most patches of a picture. Attention costs their square; the largest CLIPs have 1,024.
pub const PATCHES: usize = 1 << 12;
/// The most tokens of a text. CLIP has 77.
pub const CONTEXT: usize = 1 << 12;
/// The most prompt rows: more cannot be meant.
pub const PROMPT_ROWS: usize = 3 << 10;
/// The most classes.
pub const CLASSES: usize = 1 << 16;
/// The most dimensions of a tensor.
pub const DIMENSIONS: usize = 4;
/// The most tensors of a safetensors file; the largest CLIP has 1,300.
pub const TENSORS: usize = 1 << 14;
/// The largest header of a safetensors file, in bytes; the rest of a file is weights. The same for a bundle's files and
/// for those of a CLIP's folder.
pub const HEADER_BYTES: u64 = 1 << 20;
/// The largest safetensors file of a CLIP's folder, in bytes: the largest CLIP in f32 in one file.
pub const WEIGHTS_BYTES: u64 = 16_000_000_000;

// Bundles.

/// The largest manifest.json, in bytes.
pub const MANIFEST_BYTES: usize = 4 << 20;
/// The largest file of a bundle that is read, in bytes.
pub const FILE_BYTES: u64 = 64_000_000;
/// The largest file that is written: small enough to fetch, verify and cache piece by piece, and so small beside the
/// model that three of them in memory (`web::incoming`) are a sixth of the smallest CLIP in bytes.
pub const WRITTEN_FILE_BYTES: u64 = 8_000_000;
/// The most files.
pub const FILES: usize = 1 << 10;
/// The most bytes of all files together: the largest CLIP in f32.
pub const BUNDLE_BYTES: u64 = WEIGHTS_BYTES;
/// The longest file name, in bytes.
pub const NAME_BYTES: usize = 100;

// Lessons.

/// The largest file of lessons, in bytes: the most classes, of 512 features each, are a quarter of it.
pub const LESSONS_BYTES: usize = 16 << 20;
/// The most classes that are taught.
pub const TAUGHT_CLASSES: usize = 256;
/// The most examples of a class; beyond it they would no longer change its sums, which are in f32.
pub const EXAMPLES: u32 = 1 << 20;
/// The longest name of a taught class, in characters.
pub const CLASS_NAME: usize = 100;

// Tables of posts.

/// The longest line of a table, in bytes; one whose quote is not closed would be as long as the file.
pub const LINE_BYTES: usize = 1 << 18;
/// The most columns of a table.
pub const COLUMNS: usize = 1 << 10;
/// The most posts of a batch in the page, and files of a folder there.
pub const BATCH_POSTS: usize = 200_000;
/// The most posts of a data set on disk: twenty times the largest that a classifier was trained on here.
pub const DATA_SET_POSTS: usize = 10_000_000;
/// The largest JSON file of a published data set, in bytes: the largest has 15 million.
pub const DATA_SET_JSON_BYTES: usize = 1 << 28;
/// The most bytes that a column of a Parquet file's row group may have unpacked: pictures are the largest.
pub const COLUMN_BYTES: u64 = 1 << 31;
/// The largest page of a Parquet file, in bytes unpacked: a thousand pictures may be one page.
pub const PAGE_BYTES: u64 = 1 << 29;
/// The largest description at a Parquet file's end, in bytes.
pub const FOOTER_BYTES: u64 = 16 << 20;
/// How deep a Parquet file's columns may be nested: a picture is a record, labels are a list.
pub const COLUMN_DEPTH: usize = 8;

// Archives and settings.

/// How much of an archive's end is read, in bytes. The directory of the largest bundle is smaller.
pub const ARCHIVE_END_BYTES: u64 = 1 << 20;
/// The most members of an archive, and files of a folder that is to be a bundle; a bundle has a quarter of them.
pub const MEMBERS: usize = 4 * FILES;
/// The largest file of settings, in bytes.
pub const SETTINGS_BYTES: usize = 1 << 20;
/// The most parts of a key that is set beside the file, divided by dots; the longest has four.
pub const KEY_PARTS: usize = 8;
