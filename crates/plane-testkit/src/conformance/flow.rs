//! A slow reader slows its own stream alone, in bounded memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use plane_core::{Body, Request, Response, Status, handler_fn};

use super::payload::Nonce;
use super::plane::{Limits, Plane};
use super::world::{World, echo, read_on};

const CHUNK: usize = 64 * 1024;
const CHUNKS: u64 = 1_024;

/// What may be produced and unread: a window, what the transport holds unwritten, and the system's own buffers.
const BOUND: u64 = 24 * 1024 * 1024;

pub async fn a_slow_reader_holds_its_producer_and_nobody_else<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    let (nonce, produced) = (Nonce::fresh(), Arc::new(AtomicU64::new(0)));
    let counter = produced.clone();
    let handler = handler_fn(move |_, _| {
        let counter = counter.clone();
        let messages = (0..CHUNKS).map(move |index| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Status>(nonce.message(index, CHUNK))
        });
        async move { Ok(Response::new(Body::stream(futures_util::stream::iter(messages)))) }
    });
    let large = world.serve("large", handler).await;
    let mut slow = world.call(Request::new(large, "go")).await.unwrap();
    assert_eq!(slow.next().await.unwrap().unwrap(), nonce.message(0, CHUNK));

    // Time for the producer to run ahead if nothing held it: its neighbours' round trips.
    for _ in 0..300 {
        world.still_answers(&echo).await;
    }
    let ahead = produced.load(Ordering::SeqCst) * CHUNK as u64;
    assert!(ahead <= BOUND, "{ahead} bytes were produced, one message was read");

    let rest = read_on(slow).await;
    assert!(rest.error.is_none(), "{:?}", rest.error);
    assert_eq!(rest.messages.len() as u64, CHUNKS - 1);
    assert!(rest.messages.iter().zip(1..).all(|(message, index)| *message == nonce.message(index, CHUNK)));
}

/// The other direction: a handler that reads nothing holds its caller's messages back.
pub async fn a_handler_that_does_not_read_holds_its_caller<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    let hang = world
        .serve(
            "hang",
            handler_fn(|request: Request, context: plane_core::Context| async move {
                let reason = context.aborted().await;
                drop(request);
                Err(reason.status())
            }),
        )
        .await;
    let (nonce, produced) = (Nonce::fresh(), Arc::new(AtomicU64::new(0)));
    let counter = produced.clone();
    let messages = (0..CHUNKS).map(move |index| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Status>(nonce.message(index, CHUNK))
    });
    let call = world.spawn(Request::new(hang, Body::stream(futures_util::stream::iter(messages))));
    for _ in 0..300 {
        world.still_answers(&echo).await;
    }
    let ahead = produced.load(Ordering::SeqCst) * CHUNK as u64;
    assert!(ahead <= BOUND, "{ahead} bytes were produced, none was read");
    call.abort();
    let (_, server) = world.settle().await;
    assert_eq!(server.in_flight, 0);
}

/// Case A20: credit comes back from bodies that nobody reads.
pub async fn a_handler_that_never_reads_its_body_leaks_nothing<P: Plane>() {
    let mut world = World::<P>::with(Limits { window: 16 * 1024, connections: 1, ..Limits::default() }).await;
    let deaf = world.serve("deaf", handler_fn(|_, _| async { Ok(Response::new("done")) })).await;
    let echo = world.serve("echo", echo()).await;
    let nonce = Nonce::fresh();
    for _ in 0..500 {
        // Four windows: most of it is never wanted.
        let ended = world.read(Request::new(deaf.clone(), nonce.stream(16, 4_096))).await;
        ended.assert_complete(&["done".into()]);
    }
    world.read(Request::new(echo, nonce.stream(64, 4_096))).await.assert_complete(&nonce.messages(64, 4_096));
    let (client, server) = world.settle().await;
    assert_eq!((client.in_flight, client.failed, server.in_flight, server.failed), (0, 0, 0, 0));
}

/// Case C7 for bytes: responses dropped with messages unread return what they held.
pub async fn a_response_dropped_unread_leaks_nothing<P: Plane>() {
    let mut world = World::<P>::with(Limits { window: 16 * 1024, connections: 1, ..Limits::default() }).await;
    let nonce = Nonce::fresh();
    let handler = handler_fn(move |_, _| async move { Ok(Response::new(nonce.stream(64, 4_096))) });
    let many = world.serve("many", handler).await;
    for _ in 0..500 {
        let mut response = world.call(Request::new(many.clone(), "go")).await.unwrap();
        assert_eq!(response.next().await.unwrap().unwrap(), nonce.message(0, 4_096));
    }
    world.read(Request::new(many, "go")).await.assert_complete(&nonce.messages(64, 4_096));
    let (client, server) = world.settle().await;
    assert_eq!((client.failed, client.in_flight, server.in_flight), (0, 0, 0));
}

pub async fn many_streams_at_once_keep_their_messages_apart<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    let streams: Vec<_> = (0..64)
        .map(|_| {
            let nonce = Nonce::fresh();
            (nonce, world.spawn_read(Request::new(echo.clone(), nonce.stream(128, 64))))
        })
        .collect();
    for (nonce, stream) in streams {
        stream.await.unwrap().assert_complete(&nonce.messages(128, 64));
    }
}

/// A large message and small ones on the same connections do not mix.
pub async fn large_and_small_messages_keep_apart<P: Plane>() {
    let mut world = World::<P>::with(Limits { connections: 1, ..Limits::default() }).await;
    let echo = world.serve("echo", echo()).await;
    let sizes = [8 * 1024 * 1024, 17, 300_000, 1, 2 * 1024 * 1024 + 1, 4_096];
    let calls: Vec<_> = sizes
        .into_iter()
        .cycle()
        .take(24)
        .map(|size| {
            let message: Bytes = Nonce::fresh().message(0, size);
            (message.clone(), world.spawn_read(Request::new(echo.clone(), message)))
        })
        .collect();
    for (message, call) in calls {
        call.await.unwrap().assert_complete(&[message]);
    }
}
