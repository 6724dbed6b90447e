//! Owns pretraining: a small CLIP from scratch, by contrast of drawings, captions and nouns.

pub mod augment;
pub mod captions;
pub mod data;
pub mod drawings;
pub mod evaluate;
pub mod feed;
pub mod folder;
pub mod infonce;
pub mod objective;
pub mod probe;
pub mod retrieval;
pub mod sampler;
pub mod session;
pub mod settings;
pub mod text;
pub mod tokenizer;
pub mod wordnet;
