//! Every kind of frame as a value, encoded, and at random.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use plane_core::frame::{
    Cancel, End, Flags, Frame, FrameError, FrameLimits, GoAway, HEAD_LEN, Head, Kind, MIN_CHUNK, OpenFields, PREFACE,
    encode_accept, encode_cancel, encode_credit, encode_end, encode_go_away, encode_headers, encode_message_head,
    encode_open, encode_ping, encode_pong,
};
use plane_core::{Code, EndpointId, Headers, InstanceId, Status};
use proptest::prelude::*;

/// Reads one frame that is there whole.
pub(crate) fn parse<T>(frame: &[u8], look: impl FnOnce(Frame<'_>) -> T) -> Result<T, FrameError> {
    let head = Head::decode(frame).expect("a whole head");
    let body = Bytes::copy_from_slice(&frame[HEAD_LEN..]);
    Frame::parse(head, &body, &FrameLimits::default()).map(look)
}

/// Writes a frame back. HELLO is written without its preface.
pub(crate) fn encode(frame: &Frame<'_>) -> BytesMut {
    let mut out = BytesMut::new();
    match frame {
        Frame::Hello(hello) => {
            hello.encode(&mut out);
            return out.split_off(PREFACE.len());
        }
        Frame::Open { call, flags, open, payload } => {
            let open = open.as_ref().expect("an OPEN that is not refused");
            let endpoint: EndpointId = open.endpoint.parse().expect("a valid name");
            let fields = OpenFields {
                endpoint: &endpoint,
                instance: open.instance,
                timeout: open.timeout,
                headers: &open.headers,
            };
            encode_open(&mut out, *call, *flags, &fields, payload.len());
            out.extend_from_slice(payload);
        }
        Frame::Message { call, flags, payload } => {
            encode_message_head(&mut out, *call, *flags, payload.len());
            out.extend_from_slice(payload);
        }
        Frame::End { call, not_executed, end } => {
            let End { count, status, trailers } = end;
            let trailers = trailers.as_ref().expect("trailers that are not refused");
            let flags = Flags::when(*not_executed, Flags::NOT_EXECUTED);
            encode_end(&mut out, *call, flags, *count, status.as_ref(), Some(trailers));
        }
        Frame::Accept { call } => encode_accept(&mut out, *call),
        Frame::Headers { call, headers } => {
            encode_headers(&mut out, *call, headers.as_ref().expect("headers that are not refused"));
        }
        Frame::Cancel { call, cancel } => encode_cancel(&mut out, *call, *cancel),
        Frame::Credit { call, bytes } => encode_credit(&mut out, *call, *bytes),
        Frame::Ping(opaque) => encode_ping(&mut out, *opaque),
        Frame::Pong(opaque) => encode_pong(&mut out, *opaque),
        Frame::GoAway(go_away) => encode_go_away(&mut out, go_away),
        other => panic!("not a frame that this version writes: {other:?}"),
    }
    out
}

fn bytes(from: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), from..from + 64).prop_map(Bytes::from)
}

pub(crate) fn headers() -> impl Strategy<Value = Headers> {
    prop::collection::vec(("[a-z][a-z0-9-]{0,9}", "[ -~é]{0,12}"), 0..5).prop_map(|pairs| {
        let entry = |(name, value): (String, String)| {
            let value = http::HeaderValue::from_bytes(value.trim().as_bytes()).expect("printable");
            (name.parse::<http::HeaderName>().expect("a token"), value)
        };
        pairs.into_iter().filter(|(name, _)| !name.starts_with("plane-")).map(entry).collect()
    })
}

fn status() -> impl Strategy<Value = Status> {
    let parts = (1_u16..2000, "[ -~é]{0,40}", bytes(0), 0_u32..1000);
    parts.prop_map(|(code, text, details, retry)| {
        let after = Duration::from_millis(u64::from(retry));
        Status::new(Code(code), text).with_details(details).with_retry_after(after)
    })
}

fn open() -> impl Strategy<Value = BytesMut> {
    let name = "[A-Za-z0-9_-]{1,8}\\.[a-z]{1,8}\\.[a-z]{1,64}";
    let parts = (any::<u64>(), 0_u8..4, name, any::<u64>(), any::<u64>(), headers(), bytes(MIN_CHUNK));
    parts.prop_map(|(call, flags, name, instance, timeout, headers, payload)| {
        let flags = [Flags::NONE, Flags::END, Flags::MORE, Flags::NO_MESSAGE][usize::from(flags)];
        let payload = if flags == Flags::NO_MESSAGE { Bytes::new() } else { payload };
        let endpoint: EndpointId = name.parse().expect("a valid name");
        let timeout = (timeout != 0).then(|| Duration::from_micros(timeout));
        let fields =
            OpenFields { endpoint: &endpoint, instance: InstanceId::new(instance), timeout, headers: &headers };
        let mut out = BytesMut::new();
        encode_open(&mut out, call.max(1), flags, &fields, payload.len());
        out.extend_from_slice(&payload);
        out
    })
}

fn small() -> impl Strategy<Value = BytesMut> {
    let parts = (0_u8..7, 1_u64.., any::<[u8; 8]>(), 1_u32.., any::<u16>(), "[ -~é]{0,40}");
    parts.prop_map(|(which, call, opaque, number, code, text)| {
        let go_away = GoAway {
            last_call: call,
            code: Code(code),
            grace: Duration::from_millis(u64::from(number)),
            text: text.clone(),
        };
        encode(&match which {
            0 => Frame::Accept { call },
            1 => Frame::Cancel { call, cancel: Cancel::Stop },
            2 => Frame::Cancel { call, cancel: Cancel::Abort(Code(code)) },
            3 => Frame::Credit { call, bytes: number },
            4 => Frame::Ping(opaque),
            5 => Frame::Pong(opaque),
            _ => Frame::GoAway(go_away),
        })
    })
}

/// Any frame that a correct peer sends after the hellos, encoded.
pub(crate) fn any_frame() -> impl Strategy<Value = BytesMut> {
    let message = (1_u64.., 0_u8..3, bytes(MIN_CHUNK)).prop_map(|(call, flags, payload)| {
        let flags = [Flags::NONE, Flags::END, Flags::MORE][usize::from(flags)];
        encode(&Frame::Message { call, flags, payload })
    });
    let end = (1_u64.., any::<bool>(), any::<u64>(), prop::option::of(status()), headers()).prop_map(
        |(call, not_executed, count, status, trailers)| {
            encode(&Frame::End { call, not_executed, end: End { count, status, trailers: Ok(trailers) } })
        },
    );
    let begin = (1_u64.., headers()).prop_map(|(call, headers)| encode(&Frame::Headers { call, headers: Ok(headers) }));
    prop_oneof![2 => open(), 2 => message, 1 => end, 1 => begin, 2 => small()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// What is read and written back is the same bytes.
    #[test]
    fn frames_survive_both_ways(frame in any_frame()) {
        let again = parse(&frame, |frame| encode(&frame)).expect("a correct frame");
        prop_assert_eq!(again, frame);
    }
}

/// A frame takes the room that it needs at once: it is neither grown while it is written nor larger than it is.
#[test]
fn a_frame_is_written_into_the_room_that_it_needs() {
    let mut some = Headers::new();
    some.append(http::HeaderName::from_static("x-name"), http::HeaderValue::from_static("a value"));
    let endpoint: EndpointId = "a.b.c".parse().expect("a valid name");
    let fields = OpenFields { endpoint: &endpoint, instance: None, timeout: None, headers: &some };
    let status = Status::internal("some text").with_details(&b"details"[..]);
    let written = |encode: &dyn Fn(&mut BytesMut)| {
        let mut out = BytesMut::new();
        encode(&mut out);
        (out.capacity(), out.len())
    };
    let (room, length) = written(&|out| encode_open(out, 1, Flags::NONE, &fields, 1000));
    assert_eq!(room, length + 1000, "OPEN, whose message follows");
    let (room, length) = written(&|out| encode_end(out, 1, Flags::NONE, 1, Some(&status), Some(&some)));
    assert_eq!(room, length, "END");
    let (room, length) = written(&|out| encode_headers(out, 1, &some));
    assert_eq!(room, length, "HEADERS");
}

/// What logs and errors show of a head; flags are put together bit by bit.
#[test]
fn kinds_and_flags_show_what_they_are() {
    assert_eq!((Kind::GOAWAY.to_string(), format!("{:?}", Kind(0x7f))), ("GOAWAY".to_owned(), "KIND_0x7f".to_owned()));
    assert_eq!(format!("{:?}", Flags::END.with(Flags::MORE)), "Flags(0x03)");
    assert_eq!(Flags::END.with(Flags(0x03)), Flags(0x03));
}
