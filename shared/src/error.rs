//! Owns the one error type of the model crate: each variant says what was wrong, where, and what to do.

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in the model crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A post, or a value given by a caller, cannot be used.
    #[error("{0}")]
    Input(String),

    /// A picture cannot be decoded or is beyond the limits.
    #[error("image: {0}")]
    Image(String),

    /// A tokenizer file or a text cannot be used.
    #[error("tokenizer: {0}")]
    Tokenizer(String),

    /// A configuration file is malformed or describes a model that cannot be.
    #[error("{file}: {message}")]
    Config {
        /// The file's name.
        file: String,
        /// What is wrong and what to do.
        message: String,
    },

    /// A tensor is missing or has another shape than the configuration demands.
    #[error("tensor {name}: {message}")]
    Tensor {
        /// The tensor's full name in the file.
        name: String,
        /// Expected against found.
        message: String,
    },

    /// A bundle is damaged, incomplete or of a newer format.
    #[error("bundle {file}: {message}")]
    Bundle {
        /// The file inside the bundle.
        file: String,
        /// What is wrong and what to do.
        message: String,
    },

    /// The tensor library failed. Its error is boxed, so that who computes without tensors links nothing of it.
    #[error(transparent)]
    Candle(Box<dyn std::error::Error + Send + Sync>),
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Candle(error.into())
    }
}
