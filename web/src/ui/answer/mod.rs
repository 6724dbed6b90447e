//! What the model says of a post: the class, and what each side says for it.

pub mod evidence;
pub mod result;
