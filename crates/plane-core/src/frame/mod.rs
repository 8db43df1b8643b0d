//! The frames of "plane/1" (docs/protocol.md): how each is written, read and checked.
//!
//! Plain types without sockets or clocks. A frame is checked whole before anything is done with it.
//!
//! # Layout
//! - `head`: the 16 bytes in front of every frame.
//! - `error`: what breaks a connection.
//! - `text`: texts of the other side, as they are kept.
//! - `block`: header blocks inside frames.
//! - `hello`, `open`, `end`, `control`: the bodies.
//! - `parse`: from head and body to [`Frame`].
//! - `decoder`: from what was read so far to whole frames, without copying them.

mod head;
pub use head::{Flags, HEAD_LEN, Head, Kind};

mod error;
pub use error::FrameError;

mod text;

mod block;
pub use block::block_len;

mod hello;
pub use hello::{Hello, PREFACE, VERSION};

mod open;
pub use open::{Open, OpenFields, encode_open};

mod end;
pub use end::{End, encode_end, encode_headers};

mod control;
pub use control::{
    Cancel, GoAway, encode_accept, encode_cancel, encode_credit, encode_go_away, encode_message_head, encode_ping,
    encode_pong,
};

mod parse;
pub use parse::{Frame, FrameLimits, MIN_CHUNK};

mod decoder;
pub use decoder::{Decoder, Frames};
