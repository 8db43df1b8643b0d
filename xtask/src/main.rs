//! Tests, demo, benches and checks: what a person or CI runs.
fn main() {}
