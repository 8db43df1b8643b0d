//! Errors survive the hop whole, and a handler that breaks breaks alone.

use std::task::Poll;
use std::time::Duration;

use plane_core::{Body, Code, Context, Delivery, Error, ErrorKind, Handler, Request, Response, Status, handler_fn};

use super::payload::Nonce;
use super::plane::Plane;
use super::world::{World, call, echo};

fn answers(status: Status) -> impl Handler {
    handler_fn(move |_, _| std::future::ready(Err(status.clone())))
}

/// Case C3.
pub async fn code_text_details_and_retry_after_survive<P: Plane>() {
    let mut world = World::<P>::start().await;
    let status = Status::resource_exhausted("the batch of 8 is full \u{1f600}")
        .with_details(&b"\x00\xffbatch"[..])
        .with_retry_after(Duration::from_millis(1_500));
    let full = world.serve("full", answers(status.clone())).await;
    let error = world.error(Request::new(full, "go")).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ResourceExhausted, Delivery::Executed));
    assert_eq!(error.status(), Some(&status));
}

/// Case C3: a code that the receiver does not know degrades, still typed.
pub async fn an_unknown_code_is_kept<P: Plane>() {
    let mut world = World::<P>::start().await;
    let odd = world.serve("odd", answers(Status::new(Code(4_242), "from the future"))).await;
    let error = world.error(Request::new(odd, "go")).await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unknown, Code(4_242)));
}

pub async fn every_code_keeps_its_kind<P: Plane>() {
    let mut world = World::<P>::start().await;
    let handler = handler_fn(|request: Request, _| async move {
        let message = request.body.message().await.map_err(Status::from)?;
        Err(Status::new(Code(u16::from(message[0])), "as asked"))
    });
    let answers = world.serve("answers", handler).await;
    for code in 1..=16_u8 {
        let error = world.error(Request::new(answers.clone(), vec![code])).await;
        let code = Code(code.into());
        assert_eq!((error.code(), error.kind()), (code, ErrorKind::from(code)));
    }
}

pub async fn the_longest_status_survives<P: Plane>() {
    let mut world = World::<P>::start().await;
    let status = Status::internal("t".repeat(Status::MAX_MESSAGE)).with_details(vec![7; Status::MAX_DETAILS]);
    let long = world.serve("long", answers(status.clone())).await;
    assert_eq!(world.error(Request::new(long, "go")).await.status(), Some(&status));
}

/// A hop that passes an error on changes nothing about it.
pub async fn a_status_passes_two_hops_unchanged<P: Plane>() {
    let mut world = World::<P>::start().await;
    let status = Status::new(Code::FAILED_PRECONDITION, "no model loaded").with_details(&b"m"[..]);
    let leaf = world.serve("leaf", answers(status.clone())).await;
    let (client, address) = (world.client.clone(), world.server.address());
    let middle = handler_fn(move |request: Request, _: Context| {
        let onward = call(&client, address.clone(), Request::new(leaf.clone(), request.body));
        async move { Ok(onward.await?) }
    });
    let middle = world.serve("middle", middle).await;
    assert_eq!(world.error(Request::new(middle, "go")).await.status(), Some(&status));
}

async fn assert_panic_is_internal<P: Plane>(handler: impl Handler, before: u64) {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    let panics = world.serve("panics", handler).await;
    let ended = world.read(Request::new(panics, "go")).await;
    assert_eq!(ended.messages.len() as u64, before);
    let error = ended.error.unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Internal, Delivery::Executed));
    world.still_answers(&echo).await;
    let (_, server) = world.settle().await;
    assert_eq!((server.in_flight, server.failed), (0, 1));
}

/// Case C1.
pub async fn a_panic_before_the_answer_is_internal<P: Plane>() {
    let handler = handler_fn(|_, _| async {
        tokio::task::yield_now().await;
        assert!(std::hint::black_box(false), "the handler breaks on purpose");
        Ok(Response::default())
    });
    assert_panic_is_internal::<P>(handler, 0).await;
}

pub async fn a_panic_in_the_first_instant_is_internal<P: Plane>() {
    let handler = handler_fn(|_, _| {
        assert!(std::hint::black_box(false), "the handler breaks on purpose");
        async { Ok(Response::default()) }
    });
    assert_panic_is_internal::<P>(handler, 0).await;
}

/// Panics after `count` messages: in the middle of the stream, or where its end would be.
fn panics_after(count: u64) -> impl Handler {
    handler_fn(move |_, _| async move {
        let mut sent = 0;
        let stream = futures_util::stream::poll_fn(move |_| -> Poll<Option<Result<String, Error>>> {
            assert!(sent < count, "the handler breaks on purpose");
            sent += 1;
            Poll::Ready(Some(Ok(format!("message {sent}"))))
        });
        Ok(Response::new(Body::stream(stream)))
    })
}

pub async fn a_panic_during_the_stream_is_internal<P: Plane>() {
    assert_panic_is_internal::<P>(panics_after(3), 3).await;
}

pub async fn a_panic_instead_of_the_first_message_is_internal<P: Plane>() {
    assert_panic_is_internal::<P>(panics_after(0), 0).await;
}

pub async fn a_panic_leaves_neighbours_alone<P: Plane>() {
    let mut world = World::<P>::start().await;
    let nonce = Nonce::fresh();
    let many =
        world.serve("many", handler_fn(move |_, _| async move { Ok(Response::new(nonce.stream(50, 64))) })).await;
    let panics = world.serve("panics", panics_after(1)).await;
    let mut neighbour = world.call(Request::new(many, "go")).await.unwrap();
    assert_eq!(neighbour.next().await.unwrap().unwrap(), nonce.message(0, 64));
    assert!(world.read(Request::new(panics, "go")).await.error.is_some());
    for index in 1..50 {
        assert_eq!(neighbour.next().await.unwrap().unwrap(), nonce.message(index, 64));
    }
    assert!(neighbour.next().await.is_none());
}
