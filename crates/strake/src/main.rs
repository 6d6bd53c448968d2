//! strake: builds, keeps, ships and runs container images.
fn main() {}
