//! The decoder of frames, with any bytes in any pieces.

use bytes::{Bytes, BytesMut};
use plane_core::frame::{Decoder, Frame, FrameError, FrameLimits, Hello, PREFACE, encode_go_away};

/// Decodes the bytes at once, and for one input in four also in pieces. The first byte says how large those are.
///
/// # Panics
/// If pieces make a difference, more is held than came, or a frame that can be written again reads differently.
pub fn frames(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let compares = (1..64).contains(piece);
    let whole = decode(bytes, bytes.len().max(1), compares);
    if compares {
        let pieces = decode(bytes, usize::from(*piece), true);
        assert_eq!(pieces, whole, "pieces of {piece} bytes make a difference");
    }
}

/// What came out, as text if that is asked for, and whether it ended with an error.
fn decode(bytes: &[u8], piece: usize, shows: bool) -> (Vec<String>, Option<FrameError>) {
    let mut decoder = Decoder::new(FrameLimits::default(), 0);
    let mut seen = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.extend(piece);
        loop {
            match decoder.frames() {
                Err(error) => return (seen, Some(error)),
                Ok(None) => break,
                Ok(Some(mut frames)) => {
                    while let Some(parsed) = frames.next(|frame| look(&frame, bytes.len(), shows)) {
                        match parsed {
                            Ok(text) => seen.push(text),
                            Err(error) => return (seen, Some(error)),
                        }
                    }
                }
            }
        }
        assert!(decoder.partial() <= bytes.len());
        assert!(decoder.capacity() <= 2 * bytes.len().max(64 << 10), "{} bytes are held", decoder.capacity());
    }
    (seen, None)
}

fn look(frame: &Frame<'_>, came: usize, shows: bool) -> String {
    match frame {
        Frame::Message { payload, .. } | Frame::Open { payload, .. } => assert!(payload.len() <= came),
        Frame::Hello(hello) => {
            let mut out = BytesMut::new();
            hello.encode(&mut out);
            assert_eq!(read_hello(&out[PREFACE.len()..]).as_ref(), Some(hello));
        }
        Frame::GoAway(go_away) => {
            let mut out = BytesMut::new();
            encode_go_away(&mut out, go_away);
            assert!(go_away.text.len() <= 1024 && !go_away.text.chars().any(char::is_control));
        }
        _ => {}
    }
    if shows { format!("{frame:?}") } else { String::new() }
}

fn read_hello(bytes: &[u8]) -> Option<Hello> {
    let mut decoder = Decoder::new(FrameLimits::default(), 0);
    decoder.extend(&Bytes::copy_from_slice(bytes));
    let mut frames = decoder.frames().ok()??;
    frames.next(|frame| if let Frame::Hello(hello) = frame { Some(hello) } else { None })?.ok()?
}
