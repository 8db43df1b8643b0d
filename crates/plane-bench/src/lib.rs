//! Criterion benches and the load run; for development only.
