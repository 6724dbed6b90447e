//! What the model says of a post: the class, what each side says for it, what it rests on, and what would be said if a
//! side were missing.

mod bar;
pub mod chosen;
pub mod compare;
pub mod evidence;
pub mod rests;
pub mod result;
