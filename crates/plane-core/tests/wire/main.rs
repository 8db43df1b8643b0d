//! The frames of plane/1 as docs/protocol.md has them: byte for byte, cut anywhere, and damaged.
//!
//! # Layout
//! - `frames`: every kind of frame as a value, encoded, and at random.
//! - `vectors`: the files in docs/vectors, read and written.
//! - `splitting`: frames that come in pieces.
//! - `refusing`: frames that no correct peer sends.
//! - `hellos`: what HELLO may say.
//! - `blocks`: header blocks and names within their limits and beyond.
//! - `memory`: what a decoder holds.

mod blocks;
mod frames;
mod hellos;
mod memory;
mod refusing;
mod splitting;
mod vectors;
