//! What each fuzz target does with its input. A panic is a finding.
//!
//! # Layout
//! - `frames`: the decoder of frames, with any bytes in any pieces.
//! - `headers`: header blocks, and headers from one side to the other.
//! - `names`: endpoints, instances and addresses.

mod frames;
pub use frames::frames;

mod headers;
pub use headers::headers;

mod names;
pub use names::names;
