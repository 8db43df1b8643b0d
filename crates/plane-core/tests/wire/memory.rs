//! What a decoder holds.

use bytes::{Bytes, BytesMut};
use plane_core::frame::{Decoder, Flags, Frame, FrameLimits, HEAD_LEN, Head, Kind};

const INITIAL: usize = 8 * 1024;
const LARGEST_READ: usize = 256 * 1024;

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

/// The room for a read doubles after each that took half of it, up to 256 KiB.
#[test]
fn a_busy_connection_is_read_in_larger_pieces() {
    let room = |reads: &[usize]| {
        let mut decoder = decoder(8 << 20);
        for read in reads {
            decoder.note_read(*read);
        }
        decoder.buffer().capacity()
    };
    assert_eq!(room(&[]), INITIAL);
    assert_eq!(room(&[INITIAL / 2 - 1, 0]), INITIAL);
    let mut reads = Vec::new();
    let mut size = INITIAL;
    while size < LARGEST_READ {
        reads.push(size / 2);
        size *= 2;
        assert_eq!(room(&reads), size);
    }
    reads.push(LARGEST_READ);
    assert_eq!(room(&reads), LARGEST_READ);
}

/// Half of the room is enough to read on: the buffer is not made larger for it.
#[test]
fn a_buffer_is_used_up_before_another_is_made() {
    let mut decoder = decoder(8 << 20);
    let whole = decoder.buffer().capacity();
    decoder.extend(&message(0)[..HEAD_LEN - 1]);
    decoder.extend(&vec![0; whole - INITIAL / 2 - (HEAD_LEN - 1)]);
    assert_eq!(decoder.buffer().capacity(), whole);
    decoder.extend(&[0]);
    assert!(decoder.buffer().capacity() > whole);
}

/// Exactly at the threshold a buffer is kept, and so is one that still holds bytes.
#[test]
fn only_an_empty_buffer_above_the_threshold_shrinks() {
    for (above, held, kept) in [(1, 0, false), (0, 0, true), (1, 10, true)] {
        let first = message(100_000);
        let mut decoder = decoder(0);
        decoder.buffer().reserve(200_000);
        let capacity = decoder.capacity() - first.len();
        let mut decoder = Decoder::new(FrameLimits::default(), capacity - above);
        decoder.buffer().reserve(200_000);
        decoder.extend(&first);
        decoder.extend(&message(100)[..held]);
        assert!(decoder.frames().expect("a correct frame").is_some());
        assert_eq!(decoder.capacity() > 0, kept, "{above} above the threshold with {held} bytes");
        assert_eq!(decoder.partial(), held);
    }
}

#[test]
fn what_was_not_taken_of_frames_can_be_handed_on() {
    let both = [message(10), message(20)].concat();
    let mut decoder = decoder(0);
    decoder.extend(&both);
    let mut frames = decoder.frames().expect("correct frames").expect("two frames");
    assert_eq!(frames.rest(), both);
    assert!(frames.next(|_| ()).is_some());
    assert_eq!(frames.rest(), &both[HEAD_LEN + 10..]);
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
