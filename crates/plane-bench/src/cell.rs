//! What is measured.

/// One line of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// How the report calls it.
    pub name: &'static str,
    /// What is called, and how often at once.
    pub shape: Shape,
}

/// What is called, and how often at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A message goes and the same one comes back.
    Unary {
        /// Bytes of the message, each way.
        bytes: usize,
        /// Calls in flight.
        in_flight: usize,
    },
    /// A small request is answered by a stream.
    Stream {
        /// Streams in flight.
        streams: usize,
        /// Items of each.
        items: u32,
        /// Bytes of each item.
        bytes: u32,
        /// When the server has them.
        pace: Pace,
    },
}

/// When the serving side has its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// All at once: shows how well items are batched.
    Ready,
    /// It yields to its runtime before each item, as one that computes tokens does.
    Yielding,
}

impl Shape {
    /// Calls in flight.
    #[must_use]
    pub fn in_flight(self) -> usize {
        match self {
            Self::Unary { in_flight, .. } => in_flight,
            Self::Stream { streams, .. } => streams,
        }
    }
}

const MIB: usize = 1 << 20;

const fn stream(pace: Pace) -> Shape {
    Shape::Stream { streams: 64, items: 256, bytes: 64, pace }
}

const fn unary(bytes: usize, in_flight: usize) -> Shape {
    Shape::Unary { bytes, in_flight }
}

const ONE: Cell = Cell { name: "unary 128 B, 1 in flight", shape: unary(128, 1) };
const SOME: Cell = Cell { name: "unary 128 B, 64 in flight", shape: unary(128, 64) };
const MANY: Cell = Cell { name: "unary 128 B, 256 in flight", shape: unary(128, 256) };
const LARGE: Cell = Cell { name: "unary 1 MiB, 4 in flight", shape: unary(MIB, 4) };
const READY: Cell = Cell { name: "64 streams x 256 items x 64 B, ready at once", shape: stream(Pace::Ready) };
const PACED: Cell = Cell { name: "64 streams x 256 items x 64 B, a yield before each", shape: stream(Pace::Yielding) };

/// The cells of the load run, in the order in which a round takes them.
pub const CELLS: [Cell; 6] = [ONE, SOME, MANY, LARGE, READY, PACED];

/// Those that are also measured over NATS, beside the bare pattern of its client library. A message of 1 MiB is not
/// among them: with its headers it is over what a NATS server takes by default.
pub const NATS_CELLS: [Cell; 5] = [ONE, SOME, MANY, READY, PACED];
