//! The files in docs/vectors, read and written.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue};
use plane_core::frame::{
    Cancel, Decoder, End, Flags, Frame, FrameLimits, GoAway, Head, Hello, Kind, MIN_CHUNK, Open, PREFACE,
};
use plane_core::{Code, Headers, InstanceId, Status};

use crate::frames::{encode, parse};

/// One vector: its name and its bytes.
type Vector = (String, Vec<u8>);

fn read(file: &str) -> Vec<Vector> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/vectors").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut vectors: Vec<Vector> = Vec::new();
    for line in text.lines() {
        let code = line.split(';').next().unwrap_or_default().trim();
        if let Some(name) = code.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            vectors.push((name.to_owned(), Vec::new()));
        } else if let Some((_, bytes)) = vectors.last_mut() {
            bytes.extend(code.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("two hex digits")));
        }
    }
    let names: BTreeSet<&str> = vectors.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), vectors.len(), "two vectors of {file} have one name");
    assert!(!vectors.is_empty(), "{file} has no vectors");
    vectors
}

fn headers(pairs: &[(&'static str, &'static str)]) -> Headers {
    let entry =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    pairs.iter().map(entry).collect()
}

fn open(call: u64, flags: Flags, endpoint: &'static str, payload: &'static [u8]) -> Frame<'static> {
    let open = Open { endpoint, instance: None, timeout: None, headers: Headers::new() };
    Frame::Open { call, flags, open: Ok(open), payload: Bytes::from_static(payload) }
}

fn message(call: u64, flags: Flags, payload: impl Into<Bytes>) -> Frame<'static> {
    Frame::Message { call, flags, payload: payload.into() }
}

fn end(call: u64, count: u64, status: Option<Status>) -> Frame<'static> {
    Frame::End { call, not_executed: false, end: End { count, status, trailers: Ok(Headers::new()) } }
}

/// What each vector of frames.txt means.
fn meaning(name: &str) -> Frame<'static> {
    const DOUBLE: &str = "demo.math.double";
    match name {
        "open-unary" => open(1, Flags::END, DOUBLE, &[21]),
        "open-full" => Frame::Open {
            call: 3,
            flags: Flags::MORE,
            open: Ok(Open {
                endpoint: DOUBLE,
                instance: InstanceId::new(0x1f),
                timeout: Some(Duration::from_millis(1500)),
                headers: headers(&[("traceparent", "00-01-02-00"), ("x-tag", "a")]),
            }),
            payload: (0..=255).collect::<Vec<u8>>().into(),
        },
        "open-stream" => open(5, Flags::NO_MESSAGE, DOUBLE, b""),
        "open-first" => open(7, Flags::NONE, DOUBLE, b"one"),
        "message-only" => message(1, Flags::END, &[42][..]),
        "message" => message(5, Flags::NONE, "token"),
        "message-empty" => message(5, Flags::NONE, ""),
        "message-chunk" => message(3, Flags::MORE, vec![0xab; MIN_CHUNK]),
        "end-orderly" => end(5, 3, None),
        "end-trailers" => {
            let trailers = Ok(headers(&[("x-tokens", "3")]));
            Frame::End { call: 5, not_executed: false, end: End { count: 3, status: None, trailers } }
        }
        "end-refused" => {
            let status = Status::resource_exhausted("queue full").with_details(&b"q8"[..]);
            let status = Some(status.with_retry_after(Duration::from_millis(250)));
            Frame::End { call: 9, not_executed: true, end: End { count: 0, status, trailers: Ok(Headers::new()) } }
        }
        "end-unknown-code" => end(9, 0, Some(Status::new(Code(999), ""))),
        "accept" => Frame::Accept { call: 5 },
        "headers" => Frame::Headers { call: 5, headers: Ok(headers(&[("x-tag", "a")])) },
        "headers-none" => Frame::Headers { call: 5, headers: Ok(Headers::new()) },
        "cancel-stop" => Frame::Cancel { call: 5, cancel: Cancel::Stop },
        "cancel-abort" => Frame::Cancel { call: 5, cancel: Cancel::Abort(Code::DEADLINE_EXCEEDED) },
        "credit" => Frame::Credit { call: 5, bytes: 524_288 },
        "ping" => Frame::Ping(*b"keepaliv"),
        "pong" => Frame::Pong(*b"keepaliv"),
        "goaway" => Frame::GoAway(GoAway {
            last_call: 7,
            code: Code::OK,
            grace: Duration::from_secs(30),
            text: "draining".to_owned(),
        }),
        "unknown-skipped" => Frame::Skipped(Kind(0x90)),
        _ => panic!("no meaning is known for the vector {name}"),
    }
}

#[test]
fn frames_are_read_and_written_byte_for_byte() {
    for (name, bytes) in read("frames.txt") {
        let expected = meaning(&name);
        parse(&bytes, |frame| assert_eq!(frame, expected, "{name}")).unwrap_or_else(|error| panic!("{name}: {error}"));
        if !matches!(expected, Frame::Skipped(_)) {
            assert_eq!(encode(&expected), bytes, "{name}");
        }
    }
}

/// A HELLO as the vectors have it, behind its preface.
fn hello(name: &str) -> Hello {
    match name {
        "hello" => Hello { agent: "plane/0.1.0".to_owned(), ..Hello::default() },
        "hello-older" => Hello { credit: 65_536, agent: "plane/0.0.1".to_owned(), ..Hello::default() },
        "hello-newer" => Hello {
            version_max: 3,
            max_message: 64 << 20,
            max_frame: 1 << 20,
            credit: 2 << 20,
            features: 5,
            agent: "plane/3.0.0".to_owned(),
            ..Hello::default()
        },
        "hello-empty" => Hello::default(),
        _ => panic!("no meaning is known for the vector {name}"),
    }
}

/// An older peer leaves fields out, a newer one has fields and versions that this one does not know: both can meet it.
#[test]
fn peers_of_other_versions_are_understood() {
    for (name, bytes) in read("hello.txt") {
        let frame = bytes.strip_prefix(&PREFACE).expect("the preface");
        let expected = hello(&name);
        let read = parse(frame, |frame| match frame {
            Frame::Hello(hello) => hello,
            other => panic!("{name}: {other:?}"),
        });
        assert_eq!(read.as_ref(), Ok(&expected), "{name}");
        if name == "hello" {
            let mut written = BytesMut::new();
            expected.encode(&mut written);
            assert_eq!(written, bytes, "{name}");
        }
    }
}

/// Threats A4, A6, A9, A10, A29: each is an error of the connection with a code for the other side.
#[test]
fn what_no_correct_peer_sends_is_refused() {
    for (name, bytes) in read("refused.txt") {
        let mut decoder = Decoder::new(FrameLimits::default(), 0);
        decoder.extend(&bytes);
        let refused = match decoder.frames() {
            Err(error) => error,
            Ok(Some(mut frames)) => match frames.next(|frame| format!("{frame:?}")) {
                Some(Err(error)) => error,
                other => panic!("{name}: {other:?}"),
            },
            Ok(None) => panic!("{name} is incomplete"),
        };
        assert_eq!(refused.code(), Code::PROTOCOL, "{name}");
    }
}

#[test]
fn the_calls_of_the_text_are_what_it_says() {
    let expected = [
        ("unary 1 dialler", Kind::OPEN, 1, Flags::END),
        ("unary 2 listener", Kind::MESSAGE, 1, Flags::END),
        ("stream 1 dialler", Kind::OPEN, 3, Flags::END),
        ("stream 2 listener", Kind::ACCEPT, 3, Flags::NONE),
        ("stream 3 listener", Kind::HEADERS, 3, Flags::NONE),
        ("stream 4 listener", Kind::MESSAGE, 3, Flags::NONE),
        ("stream 5 listener", Kind::MESSAGE, 3, Flags::NONE),
        ("stream 6 dialler", Kind::CANCEL, 3, Flags::NONE),
        ("stream 7 listener", Kind::MESSAGE, 3, Flags::NONE),
        ("stream 8 listener", Kind::END, 3, Flags::NONE),
    ];
    let vectors = read("calls.txt");
    assert_eq!(vectors.len(), expected.len());
    for ((name, bytes), (expected, kind, call, flags)) in vectors.iter().zip(expected) {
        let head = Head::decode(bytes).expect("a whole head");
        assert_eq!((name.as_str(), head.kind, head.call, head.flags), (expected, kind, call, flags));
        let again = parse(bytes, |frame| encode(&frame)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(again, *bytes, "{name}");
    }
}

/// The blocks of the text that are bytes: lines that begin with them.
fn examples() -> Vec<Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let text = std::fs::read_to_string(path).expect("the text");
    let bytes = |line: &str| {
        let digits = line.split(' ').take_while(|word| word.len() == 2 && u8::from_str_radix(word, 16).is_ok());
        digits.map(|word| u8::from_str_radix(word, 16).expect("checked")).collect::<Vec<u8>>()
    };
    let blocks = text.split("```").skip(1).step_by(2);
    blocks.map(|block| block.lines().flat_map(bytes).collect()).filter(|block: &Vec<u8>| !block.is_empty()).collect()
}

#[test]
fn the_examples_of_the_text_are_what_it_says() {
    let mut read = Vec::new();
    for block in examples() {
        let mut decoder = Decoder::new(FrameLimits::default(), 0);
        decoder.extend(&block);
        let mut frames = decoder.frames().expect("correct frames").expect("whole frames");
        let mut written = BytesMut::new();
        while let Some(frame) = frames.next(|frame| (encode(&frame), Head::decode(&encode(&frame)))) {
            let (bytes, head) = frame.expect("a correct frame");
            written.extend_from_slice(&bytes);
            read.extend(head.map(|head| (head.kind, head.call)));
        }
        assert_eq!(written, block);
        assert_eq!(decoder.partial(), 0);
    }
    let unary = [(Kind::OPEN, 1), (Kind::MESSAGE, 1)];
    let stream = [(Kind::ACCEPT, 3), (Kind::HEADERS, 3), (Kind::MESSAGE, 3), (Kind::MESSAGE, 3), (Kind::END, 3)];
    assert_eq!(read, [&unary[..], &stream].concat());
}
