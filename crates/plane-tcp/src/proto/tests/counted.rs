//! The paths that every call takes, walked as often as `PLANE_COUNT` says: `cargo xtask guard` counts their
//! instructions. Each step here is a call, a frame or an item.

use bytes::BytesMut;
use plane_core::Outcome;
use plane_core::frame::{Flags, Frame, OpenFields, encode_message_head, encode_open};

use super::*;

/// Calls and frames that go together, as they do on a busy connection.
const TOGETHER: usize = 64;

/// How often a path is walked: so many times [`TOGETHER`].
fn rounds() -> usize {
    let count = std::env::var("PLANE_COUNT").map_or(1, |text| text.parse().expect("a number in PLANE_COUNT"));
    count / TOGETHER + 1
}

/// From one connection to the other as a socket would take it: all that is written, then all that is read.
struct Wire {
    batch: Batch,
    decoder: Decoder,
}

impl Wire {
    fn new() -> Self {
        Self { batch: Batch::default(), decoder: Decoder::new(ConnectionConfig::default().frame_limits(), 1 << 20) }
    }

    fn pass(&mut self, now: Instant, from: &mut Connection, to: &mut Connection) {
        from.transmit(&mut self.batch);
        while !self.batch.is_empty() {
            let into = self.decoder.buffer();
            let take = |slices: &[std::io::IoSlice<'_>]| {
                slices.iter().for_each(|slice| into.extend_from_slice(slice));
                Ok::<_, ()>(slices.iter().map(|slice| slice.len()).sum())
            };
            let taken = self.batch.write_with(take).expect("it takes all");
            self.batch.advance(taken);
        }
        if let Some(frames) = self.decoder.frames().expect("correct frames") {
            to.handle(now, frames).expect("a correct peer");
        }
    }
}

fn message_frame(out: &mut BytesMut, message: &[u8]) {
    encode_message_head(out, 1, Flags::END, message.len());
    out.extend_from_slice(message);
}

fn open_frame(out: &mut BytesMut, endpoint: &EndpointId, message: &[u8]) {
    let headers = Headers::new();
    let fields = OpenFields { endpoint, instance: None, timeout: None, headers: &headers };
    encode_open(out, 1, Flags::END, &fields, message.len());
    out.extend_from_slice(message);
}

/// Encodes so many frames in each round, and drops them as a socket that took them would.
fn encode(frame: impl Fn(&mut BytesMut)) {
    let mut out = BytesMut::new();
    for _ in 0..rounds() {
        (0..TOGETHER).for_each(|_| frame(&mut out));
        assert!(out.split().len() > TOGETHER * 128);
    }
}

/// Decodes as many.
fn decode(frame: impl Fn(&mut BytesMut)) {
    let mut block = BytesMut::new();
    (0..TOGETHER).for_each(|_| frame(&mut block));
    let mut decoder = Decoder::new(ConnectionConfig::default().frame_limits(), 1 << 20);
    for _ in 0..rounds() {
        decoder.buffer().extend_from_slice(&block);
        let mut frames = decoder.frames().expect("correct frames").expect("whole frames");
        let mut messages = 0;
        let count = |frame: Frame<'_>| match frame {
            Frame::Message { payload, .. } | Frame::Open { payload, open: Ok(_), .. } => payload.len(),
            other => panic!("{other:?}"),
        };
        while let Some(length) = frames.next(count) {
            assert_eq!(length.expect("a correct frame"), 128);
            messages += 1;
        }
        assert_eq!(messages, TOGETHER);
    }
}

#[test]
fn encode_message() {
    encode(|out| message_frame(out, &[7; 128]));
}

#[test]
fn decode_message() {
    decode(|out| message_frame(out, &[7; 128]));
}

#[test]
fn encode_call() {
    let endpoint = EndpointId::new("demo", "proto", "pair").expect("a valid name");
    encode(|out| open_frame(out, &endpoint, &[7; 128]));
}

#[test]
fn decode_call() {
    let endpoint = EndpointId::new("demo", "proto", "pair").expect("a valid name");
    decode(|out| open_frame(out, &endpoint, &[7; 128]));
}

/// A call with one message each way, through the state of both sides.
#[test]
fn unary_call() {
    let mut pair = Pair::new();
    let (mut there, mut back) = (Wire::new(), Wire::new());
    let message = bytes(128);
    let mut calls = Vec::new();
    for _ in 0..rounds() {
        for _ in 0..TOGETHER {
            let call = pair.open(Some(message.clone()));
            assert!(pair.begin(call).is_pending());
            calls.push(call);
        }
        there.pass(pair.now, &mut pair.dialler, &mut pair.listener);
        let mut opened = std::mem::take(&mut pair.listener.opened);
        for opened in opened.drain(..) {
            let only = opened.only.expect("the request is one message");
            pair.listener.send(opened.call, only, true).expect("within the limit");
            opened.admitted.finish(Outcome::Completed);
        }
        pair.listener.opened = opened;
        back.pass(pair.now, &mut pair.listener, &mut pair.dialler);
        pair.dialler.wake.clear();
        for call in calls.drain(..) {
            let Poll::Ready(Ok((_, Begun::Only(answer)))) = pair.begin(call) else { panic!("it is answered") };
            assert_eq!(answer.len(), 128);
        }
    }
    assert!(pair.dialler.calls.is_empty() && pair.listener.calls.is_empty());
}

/// Items of an answer, through the state of both sides.
#[test]
fn streamed_item() {
    let mut pair = Pair::new();
    let (mut there, mut back) = (Wire::new(), Wire::new());
    let call = pair.open(Some(bytes(128)));
    there.pass(pair.now, &mut pair.dialler, &mut pair.listener);
    let item = bytes(64);
    let mut ahead = VecDeque::new();
    for _ in 0..rounds() {
        for _ in 0..TOGETHER {
            pair.listener.send(call, item.clone(), false).expect("there is credit");
        }
        back.pass(pair.now, &mut pair.listener, &mut pair.dialler);
        for _ in 0..TOGETHER {
            let next = pair.dialler.poll_more(call, &mut ahead, &Context::from_waker(Waker::noop()));
            let Poll::Ready(Next::Message(read)) = next else { panic!("it came") };
            assert_eq!(read.len(), 64);
        }
        there.pass(pair.now, &mut pair.dialler, &mut pair.listener);
    }
}
