//! What a decoder holds.

use bytes::{Bytes, BytesMut};
use plane_core::frame::{Decoder, Flags, Frame, FrameLimits, HEAD_LEN, Head, Kind};

const INITIAL: usize = 8 * 1024;

fn message(length: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(HEAD_LEN + length);
    Head::new(Kind::MESSAGE, Flags::NONE, 1, u32::try_from(length).expect("below 4 GiB")).encode(&mut out);
    out.resize(HEAD_LEN + length, 7);
    out
}

fn decoder(shrink_above: usize) -> Decoder {
    Decoder::new(FrameLimits { max_frame: 16 << 20, ..FrameLimits::default() }, shrink_above)
}

/// Reads as a driver does: into the decoder's own buffer.
fn read(decoder: &mut Decoder, mut bytes: &[u8]) -> usize {
    let mut frames = 0;
    while !bytes.is_empty() {
        let buffer = decoder.buffer();
        let (now, rest) = bytes.split_at(bytes.len().min(buffer.capacity() - buffer.len()));
        buffer.extend_from_slice(now);
        decoder.note_read(now.len());
        bytes = rest;
        while let Some(mut whole) = decoder.frames().expect("correct frames") {
            while whole.next(|_| ()).is_some() {
                frames += 1;
            }
        }
    }
    frames
}

/// Case A3: memory follows what came, not what a head declares.
#[test]
fn a_declared_length_costs_nothing() {
    let mut decoder = decoder(0);
    assert_eq!(read(&mut decoder, &message(16 << 20)[..HEAD_LEN + 10]), 0);
    assert_eq!(decoder.partial(), HEAD_LEN + 10);
    assert!(decoder.capacity() <= 2 * INITIAL, "{} bytes held", decoder.capacity());
}

/// Case A6: above the threshold the buffer goes back to its initial size; below it is kept.
#[test]
fn a_large_frame_leaves_no_large_buffer_behind() {
    let large = message(12 << 20);
    let mut shrinks = decoder(1 << 20);
    assert_eq!(read(&mut shrinks, &large), 1);
    shrinks.buffer();
    assert!(shrinks.capacity() <= 2 * INITIAL, "{} bytes held", shrinks.capacity());
    assert_eq!(read(&mut shrinks, &message(10)), 1);
}

#[test]
fn a_quiet_connection_holds_no_buffer() {
    let mut decoder = decoder(8 << 20);
    assert_eq!(read(&mut decoder, &message(100)), 1);
    decoder.rest();
    assert_eq!(decoder.capacity(), 0);
    assert_eq!(read(&mut decoder, &message(100)[..50]), 0);
    decoder.rest();
    assert_eq!(decoder.partial(), 50, "what came is kept");
}

/// A message is a slice of what was read; messages that came together share one buffer.
#[test]
fn messages_are_not_copied() {
    let mut decoder = decoder(8 << 20);
    let both = [message(1000), message(2000)].concat();
    decoder.buffer().extend_from_slice(&both);
    let start = decoder.buffer().as_ptr();
    let mut frames = decoder.frames().expect("correct frames").expect("two frames");
    let mut payloads: Vec<Bytes> = Vec::new();
    while let Some(payload) = frames.next(|frame| match frame {
        Frame::Message { payload, .. } => payload,
        other => panic!("{other:?}"),
    }) {
        payloads.push(payload.expect("a correct frame"));
    }
    let offsets: Vec<usize> = payloads.iter().map(|payload| payload.as_ptr() as usize - start as usize).collect();
    assert_eq!(offsets, [HEAD_LEN, 2 * HEAD_LEN + 1000]);
}
