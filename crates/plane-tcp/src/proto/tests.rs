//! Two connections that exchange bytes by hand.
//!
//! # Layout
//! - `peer`: frames of the other side, made by hand.
//! - `answers`: what frames of the other side do with a call, and what they may not.
//! - `large`: messages larger than their windows.
//! - `limits`: what this side opens and sends up to a limit.
//! - `refusing`: what is taken of the other side up to a limit.
//! - `counted`: the paths that every call takes, for those who count instructions.
//! - `ends`: how a connection ends.
//! - `reading`: what readers find, and what becomes of what nobody reads.
//! - `time`: what time does, to the instant.
//! - `turns`: how much goes out at once.

mod answers;
mod counted;
mod ends;
mod large;
mod limits;
mod peer;
mod reading;
mod refusing;
mod time;
mod turns;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plane_core::frame::{Decoder, HEAD_LEN, Head, Kind};
use plane_core::{
    Address, AdmissionLimits, Delivery, EndpointId, Endpoints, ErrorKind, Headers, InstanceId, Peer, Refusals,
    Registration, Response, handler_fn,
};

use super::*;
use crate::config::ConnectionConfig;
use crate::failure::Failure;

/// How long the listener may take to accept a call.
const ACCEPT: Duration = Duration::from_secs(1);

/// A dialler and a listener that have said hello.
struct Pair {
    now: Instant,
    dialler: Connection,
    listener: Connection,
    endpoint: EndpointId,
    _registration: Registration,
}

impl Pair {
    fn new() -> Self {
        Self::with(ConnectionConfig::default())
    }

    fn with(config: ConnectionConfig) -> Self {
        let now = Instant::now();
        let endpoint = EndpointId::new("demo", "proto", "pair").expect("a valid name");
        let endpoints = Endpoints::new(AdmissionLimits::default());
        let handler = Arc::new(handler_fn(|_, _| async { Ok(Response::default()) }));
        let instance = InstanceId::new(1).expect("not zero");
        let registration = endpoints.register(endpoint.clone(), instance, Address::mem("pair"), handler);
        let side = |side| {
            let settings = config.settings(Duration::from_secs(300), 100);
            Connection::new(side, settings, config.hello(), Arc::new(Peer::default()), now)
        };
        Self {
            now,
            dialler: side(Side::Dialler(Refusals::default())),
            listener: side(Side::Listener(endpoints)),
            endpoint,
            _registration: registration.expect("a new table"),
        }
    }

    fn open(&mut self, only: Option<Bytes>) -> u64 {
        self.try_open(&Headers::new(), only).expect("there is room")
    }

    fn try_open(&mut self, headers: &Headers, only: Option<Bytes>) -> Result<u64, OpenError> {
        let opening = Opening {
            endpoint: &self.endpoint,
            instance: None,
            headers,
            deadline: None,
            accept_by: self.now + ACCEPT,
            reader: None,
            only: only.as_ref(),
        };
        self.dialler.open(self.now, opening)
    }

    /// What the dialler sent reaches the listener.
    fn deliver(&mut self) {
        pass(self.now, &mut self.dialler, &mut self.listener);
    }

    fn reply(&mut self) {
        pass(self.now, &mut self.listener, &mut self.dialler);
    }

    fn begin(&mut self, call: u64) -> Poll<Result<(Headers, Begun), plane_core::Error>> {
        self.dialler.poll_begin(call, &Context::from_waker(Waker::noop()))
    }

    /// What the handler of a call reads next.
    fn next(&mut self, call: u64) -> Poll<Next> {
        self.listener.poll_next(call, &Context::from_waker(Waker::noop()))
    }
}

/// Everything that one side has to write.
fn written(from: &mut Connection) -> Vec<u8> {
    let mut out = Vec::new();
    while from.wants_to_write() {
        out.extend(turn(from));
    }
    out
}

/// What one side writes in one turn.
fn turn(from: &mut Connection) -> Vec<u8> {
    let mut out = Vec::new();
    let mut batch = Batch::default();
    from.transmit(&mut batch);
    while !batch.is_empty() {
        let take = |slices: &[std::io::IoSlice<'_>]| {
            let before = out.len();
            slices.iter().for_each(|slice| out.extend_from_slice(slice));
            Ok::<_, ()>(out.len() - before)
        };
        let taken = batch.write_with(take).expect("it takes all");
        batch.advance(taken);
    }
    out
}

fn pass(now: Instant, from: &mut Connection, to: &mut Connection) {
    let mut decoder = Decoder::new(ConnectionConfig::default().frame_limits(), 0);
    decoder.extend(&written(from));
    if let Some(frames) = decoder.frames().expect("correct frames") {
        to.handle(now, frames).expect("a correct peer");
    }
}

/// The frames that one side has to write, each with its call.
fn frames(from: &mut Connection) -> Vec<(Kind, u64)> {
    let bytes = written(from);
    let mut rest = &bytes[..];
    let mut frames = Vec::new();
    while let Some(head) = Head::decode(rest) {
        frames.push((head.kind, head.call));
        rest = &rest[HEAD_LEN + head.length as usize..];
    }
    frames
}

/// These bytes come in.
fn receive(to: &mut Connection, now: Instant, bytes: &[u8]) -> Result<(), Failure> {
    let mut decoder = Decoder::new(ConnectionConfig::default().frame_limits(), 0);
    decoder.extend(bytes);
    let frames = decoder.frames()?.expect("whole frames");
    to.handle(now, frames)
}

fn bytes(length: usize) -> Bytes {
    vec![7; length].into()
}

/// An OPEN that waits for the writer goes out although its caller has given up: nobody may call that not sent.
#[test]
fn a_call_that_times_out_before_it_is_written_may_be_executed() {
    let mut pair = Pair::new();
    let call = pair.open(Some(bytes(1)));
    pair.dialler.handle_timeout(pair.now + ACCEPT).expect("a connection that lives");
    let Poll::Ready(Err(error)) = pair.begin(call) else { panic!("its time is over") };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::Unknown));
    pair.deliver();
    assert_eq!(pair.listener.opened.len(), 1);
}

/// What was not written when the connection was given up is not written after, whatever its last words are.
#[test]
fn a_call_that_was_not_sent_stays_so() {
    let mut pair = Pair::new();
    let sent = pair.open(Some(bytes(1)));
    pair.deliver();
    let staged = pair.open(Some(bytes(100_000)));
    pair.dialler.fail(Failure::violation(plane_core::Code::PROTOCOL, "given up"));
    for (call, delivery) in [(sent, Delivery::Unknown), (staged, Delivery::NotSent)] {
        let Poll::Ready(Err(error)) = pair.begin(call) else { panic!("the connection is lost") };
        assert_eq!(error.delivery(), delivery);
    }
    pair.deliver();
    assert_eq!(pair.listener.opened.len(), 1);
    assert!(pair.listener.refused_by.is_some(), "the last word");
}

/// A CANCEL overtakes messages. What comes of the request after it is dropped, so its end is no orderly one.
#[test]
fn what_is_left_of_an_aborted_request_does_not_look_whole() {
    let mut pair = Pair::new();
    let call = pair.open(None);
    pair.deliver();
    for _ in 0..2 {
        pair.dialler.send(call, bytes(10), false).expect("there is credit");
    }
    pair.dialler.finish(call, Ending::orderly());
    pair.dialler.abandon(call, plane_core::Code::CANCELLED);
    pair.deliver();
    assert!(matches!(pair.next(call), Poll::Ready(Next::Failed(error)) if error.kind() == ErrorKind::Cancelled));
    assert!(pair.next(call).is_pending());
}

/// The same for messages that had come and were not read.
#[test]
fn an_abort_does_not_cut_a_request_unnoticed() {
    let mut pair = Pair::new();
    let call = pair.open(None);
    for _ in 0..2 {
        pair.dialler.send(call, bytes(10), false).expect("there is credit");
    }
    pair.dialler.finish(call, Ending::orderly());
    pair.deliver();
    assert!(matches!(pair.next(call), Poll::Ready(Next::Message(_))));
    pair.dialler.abandon(call, plane_core::Code::CANCELLED);
    pair.deliver();
    assert!(matches!(pair.next(call), Poll::Ready(Next::Failed(_))));
}

/// A reader is woken once there is something to read, so it must not find that the answer has begun before.
#[test]
fn an_answer_begins_with_its_first_whole_message() {
    let mut pair = Pair::with(ConnectionConfig::default().credit(100_000).expect("in range"));
    let call = pair.open(Some(bytes(1)));
    pair.deliver();
    pair.listener.send(call, bytes(150_000), true).expect("within the limit");
    pair.reply();
    for parts in 1.. {
        match pair.begin(call) {
            Poll::Pending => assert!(parts < 20, "it does not come"),
            Poll::Ready(Ok((_, Begun::Only(message)))) => {
                assert!(parts > 2 && message.len() == 150_000);
                break;
            }
            Poll::Ready(other) => panic!("{other:?} after {parts} parts"),
        }
        pair.deliver();
        pair.reply();
    }
}
