//! Classifies the posts of Parquet files: a function of DataFusion's, and the programs that run it on many machines.
//!
//! * [`function`]: `classify(image, text)`, which any query can call.
//! * [`query`]: posts in, answers out, with an account of every row.
//! * [`cluster`]: Ballista's scheduler and executor that know the function.

pub mod cluster;
pub mod function;
pub mod query;
