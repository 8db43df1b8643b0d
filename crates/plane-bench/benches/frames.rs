//! What writing and reading a frame costs, without sockets.

use std::hint::black_box;

use bytes::{BufMut, Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use plane_core::frame::{Decoder, Flags, FrameLimits, OpenFields, encode_message_head, encode_open};
use plane_core::{EndpointId, Headers};

const FRAMES: u64 = 256;
const PAYLOAD: [u8; 128] = [b'x'; 128];

fn open(out: &mut BytesMut, call: u64, endpoint: &EndpointId, headers: &Headers) {
    let fields = OpenFields { endpoint, instance: None, timeout: None, headers };
    encode_open(out, call, Flags::END, &fields, PAYLOAD.len());
    out.put_slice(&PAYLOAD);
}

fn message(out: &mut BytesMut, call: u64) {
    encode_message_head(out, call, Flags::END, PAYLOAD.len());
    out.put_slice(&PAYLOAD);
}

fn encode(criterion: &mut Criterion) {
    let endpoint: EndpointId = "dynamo.backend.generate".parse().expect("a valid name");
    let headers = Headers::new();
    let mut group = criterion.benchmark_group("encode 256 frames of 128 B");
    group.throughput(Throughput::Elements(FRAMES));
    let mut out = BytesMut::with_capacity(1 << 20);
    group.bench_function("OPEN", |bencher| {
        bencher.iter(|| {
            out.clear();
            (0..FRAMES).for_each(|call| open(&mut out, call * 2 + 1, &endpoint, &headers));
            black_box(out.len())
        });
    });
    group.bench_function("MESSAGE", |bencher| {
        bencher.iter(|| {
            out.clear();
            (0..FRAMES).for_each(|call| message(&mut out, call * 2 + 1));
            black_box(out.len())
        });
    });
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let endpoint: EndpointId = "dynamo.backend.generate".parse().expect("a valid name");
    let headers = Headers::new();
    let (mut opens, mut messages) = (BytesMut::new(), BytesMut::new());
    for call in 0..FRAMES {
        open(&mut opens, call * 2 + 1, &endpoint, &headers);
        message(&mut messages, call * 2 + 1);
    }
    let mut group = criterion.benchmark_group("decode 256 frames of 128 B");
    group.throughput(Throughput::Elements(FRAMES));
    for (name, bytes) in [("OPEN", opens.freeze()), ("MESSAGE", messages.freeze())] {
        group.bench_function(name, |bencher| {
            let mut decoder = Decoder::new(FrameLimits::default(), 8 << 20);
            bencher.iter_batched(|| bytes.clone(), |bytes| read_all(&mut decoder, &bytes), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn read_all(decoder: &mut Decoder, bytes: &Bytes) -> u64 {
    decoder.extend(bytes);
    let mut read = 0;
    while let Some(mut frames) = decoder.frames().expect("frames that were encoded here") {
        while let Some(frame) = frames.next(|frame| drop(black_box(frame))) {
            frame.expect("a frame that was encoded here");
            read += 1;
        }
    }
    assert_eq!(read, FRAMES);
    read
}

criterion_group!(benches, encode, decode);
criterion_main!(benches);
