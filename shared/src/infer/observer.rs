//! Owns looking on: what sees the inputs of the towers' products while a post is classified.

/// Sees the rows that layers are about to multiply. `()` sees nothing and costs nothing.
pub trait Observer {
    /// `rows` [count, width] come to these `layers` of the block or tower `of`: the weights of the layers are called
    /// `{of}.{layer}.weight`, or `{of}.weight` where `layers` is empty.
    fn see(&mut self, of: &str, layers: &[&str], rows: &[f32], width: usize);
}

impl Observer for () {
    fn see(&mut self, _: &str, _: &[&str], _: &[f32], _: usize) {}
}
