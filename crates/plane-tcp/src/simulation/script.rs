//! What the two sides of a call are going to do, drawn at random.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;

/// The largest message of most calls; a few are drawn around the limits of their connection.
const USUAL: usize = 3_000;

/// No message is larger, however much a connection takes: a seed is to be over soon.
const LARGEST: usize = 300_000;

/// A call from both ends.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// Stands in every header and message of the call, so that an answer of another call is recognised.
    pub(super) nonce: u64,
    pub(super) caller: CallerScript,
    pub(super) handler: HandlerScript,
}

/// What the caller does.
#[derive(Debug, Clone)]
pub(super) struct CallerScript {
    pub(super) starts: Duration,
    /// Nobody serves what it calls.
    pub(super) astray: bool,
    /// The lengths of its messages.
    pub(super) sends: Vec<usize>,
    /// Its request is one message from the start, and goes with the OPEN.
    pub(super) at_once: bool,
    /// Between two messages that it sends, and between two that it reads.
    pub(super) pause: Duration,
    /// Its request breaks off before this message.
    pub(super) breaks_at: Option<usize>,
    pub(super) deadline: Option<Duration>,
    pub(super) request_timeout: Duration,
    /// It asks for an early end after so many messages.
    pub(super) stops_after: Option<usize>,
    /// It is dropped after so many messages.
    pub(super) leaves_after: Option<usize>,
    /// It is dropped then, whatever has come.
    pub(super) leaves_at: Option<Duration>,
}

/// What the handler does.
#[derive(Debug, Clone)]
pub(super) struct HandlerScript {
    /// How many messages of the request it reads at most.
    pub(super) reads: usize,
    /// Before it answers, and between two messages.
    pub(super) pause: Duration,
    pub(super) answer: Answer,
}

#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// One message of this length.
    Only(usize),
    /// Messages of these lengths, with headers and trailers or without. One that heeds a stop ends after one more.
    Stream { lengths: Vec<usize>, headers: bool, heeds_stop: bool },
    /// One message for each that it reads.
    Echo,
    /// Messages of these lengths, then a failure.
    Fails(Vec<usize>),
    /// Nothing, until it is aborted.
    Hangs,
}

/// Lengths that this connection is sensitive to.
#[derive(Debug)]
pub(super) struct Edges {
    pub(super) window: usize,
    pub(super) max_message: usize,
}

impl Script {
    pub(super) fn draw(rng: &mut Rng, nonce: u64, edges: &Edges) -> Self {
        let answer = Answer::draw(rng, edges);
        let caller = CallerScript::draw(rng, edges, &answer);
        let reads = if rng.u8(..4) == 0 { rng.usize(..4) } else { usize::MAX };
        let handler = HandlerScript { reads, pause: pause(rng), answer };
        Self { nonce, caller, handler }
    }
}

impl CallerScript {
    fn draw(rng: &mut Rng, edges: &Edges, answer: &Answer) -> Self {
        let at_once = rng.bool();
        let sends = if at_once { vec![length(rng, edges)] } else { lengths(rng, edges) };
        let hangs = matches!(answer, Answer::Hangs);
        let some = |rng: &mut Rng, one_in: u8| rng.u8(..one_in) == 0;
        let latest = [1, 10_000, 1_000_000][rng.usize(..3)];
        let leaves_at = (hangs || some(rng, 6)).then(|| Duration::from_micros(rng.u64(..2_000_000)));
        Self {
            starts: Duration::from_micros(rng.u64(..latest)),
            astray: some(rng, 20),
            breaks_at: (!at_once && some(rng, 8)).then(|| rng.usize(..=sends.len())),
            at_once,
            sends,
            pause: pause(rng),
            deadline: some(rng, 3).then(|| Duration::from_micros(rng.u64(..3_000_000))),
            request_timeout: Duration::from_millis([20, 500, 10_000][rng.usize(..3)]),
            stops_after: some(rng, 5).then(|| rng.usize(..4)),
            leaves_after: some(rng, 8).then(|| rng.usize(..4)),
            leaves_at,
        }
    }
}

impl Answer {
    fn draw(rng: &mut Rng, edges: &Edges) -> Self {
        match rng.u8(..10) {
            0..=3 => Self::Only(length(rng, edges)),
            4..=6 => Self::Stream { lengths: lengths(rng, edges), headers: rng.bool(), heeds_stop: rng.bool() },
            7 => Self::Echo,
            8 => Self::Fails(lengths(rng, edges)),
            _ => Self::Hangs,
        }
    }
}

fn pause(rng: &mut Rng) -> Duration {
    Duration::from_micros([0, 0, rng.u64(..1_000), rng.u64(..150_000)][rng.usize(..4)])
}

fn lengths(rng: &mut Rng, edges: &Edges) -> Vec<usize> {
    let most = [1, 4, 40][rng.usize(..3)];
    (0..rng.usize(..=most)).map(|_| length(rng, edges)).collect()
}

fn length(rng: &mut Rng, edges: &Edges) -> usize {
    // Now and then a message around what a frame, the window or the limit can take, with what a message costs.
    let around = |rng: &mut Rng, edge: usize| (edge.min(LARGEST) + rng.usize(..130)).saturating_sub(65);
    match rng.u8(..40) {
        0 => around(rng, 64 * 1024),
        1 => around(rng, edges.window),
        2 => around(rng, 2 * edges.window),
        3 => around(rng, edges.max_message),
        4..=9 => 0,
        10..=19 => rng.usize(..64),
        _ => rng.usize(..USUAL),
    }
}

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Request,
    Answer,
}

/// The bytes of one message: no two messages of a seed have the same, unless they are shorter than their stamp.
pub(super) fn message(nonce: u64, way: Way, index: usize, length: usize) -> Bytes {
    const STRIDE: usize = 509;
    let stamp = (index as u64) << 16 | nonce << 1 | u64::from(way == Way::Answer);
    let mut bytes = vec![0; length];
    for (place, piece) in bytes.chunks_mut(STRIDE).enumerate() {
        let stamp = ((place as u64) << 48 | stamp).to_be_bytes();
        let stamped = piece.len().min(stamp.len());
        piece[..stamped].copy_from_slice(&stamp[8 - stamped..]);
    }
    bytes.into()
}
