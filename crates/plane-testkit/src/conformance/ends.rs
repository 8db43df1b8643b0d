//! Every call ends in exactly one of: complete, a status from the far side, or an error.

use plane_core::{Body, Delivery, ErrorKind, Request, Response, Status, handler_fn};

use super::payload::Nonce;
use super::plane::Plane;
use super::world::{World, call, echo, endpoint, instance, read};

pub async fn one_message_is_answered_with_one<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    let nonce = Nonce::fresh();
    let response = world.call(Request::new(echo, nonce.message(0, 100))).await.unwrap();
    assert_eq!(response.message().await.unwrap(), nonce.message(0, 100));
}

pub async fn a_stream_gives_every_message_in_order_and_then_ends<P: Plane>() {
    let mut world = World::<P>::start().await;
    let nonce = Nonce::fresh();
    let many =
        world.serve("many", handler_fn(move |_, _| async move { Ok(Response::new(nonce.stream(1000, 64))) })).await;
    world.read(Request::new(many, "go")).await.assert_complete(&nonce.messages(1000, 64));
}

pub async fn a_stream_of_no_messages_ends_in_order<P: Plane>() {
    let mut world = World::<P>::start().await;
    let none = world.serve("none", handler_fn(|_, _| async { Ok(Response::new(Nonce::fresh().stream(0, 0))) })).await;
    world.read(Request::new(none.clone(), "go")).await.assert_complete(&[]);
    let error = world.call(Request::new(none, "go")).await.unwrap().message().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

pub async fn no_message_and_an_empty_message_differ<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    world.read(Request::new(echo.clone(), Body::empty())).await.assert_complete(&[]);
    world.read(Request::new(echo, "")).await.assert_complete(&["".into()]);
}

pub async fn a_status_may_come_instead_of_an_answer<P: Plane>() {
    let mut world = World::<P>::start().await;
    let refuse = world.serve("refuse", handler_fn(|_, _| async { Err(Status::not_found("no such model")) })).await;
    let error = world.error(Request::new(refuse, "go")).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::Executed));
}

pub async fn a_status_may_come_after_messages<P: Plane>() {
    let mut world = World::<P>::start().await;
    let nonce = Nonce::fresh();
    let handler = handler_fn(move |_, _| async move {
        let (sender, body) = Body::channel(4);
        for message in nonce.messages(3, 64) {
            sender.send(message).await?;
        }
        sender.fail(Status::unavailable("the engine stopped")).await?;
        Ok(Response::new(body))
    });
    let fails = world.serve("fails", handler).await;
    let ended = world.read(Request::new(fails, "go")).await;
    ended.assert_messages(&nonce.messages(3, 64));
    let error = ended.error.unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::Executed));
}

/// A worker's task that dies in the middle of a stream must not look like an end.
pub async fn a_stream_without_an_end_is_truncated<P: Plane>() {
    let mut world = World::<P>::start().await;
    let nonce = Nonce::fresh();
    let handler = handler_fn(move |_, _| async move {
        let (sender, body) = Body::channel(4);
        for message in nonce.messages(2, 64) {
            sender.send(message).await?;
        }
        Ok(Response::new(body))
    });
    let dies = world.serve("dies", handler).await;
    let ended = world.read(Request::new(dies, "go")).await;
    ended.assert_messages(&nonce.messages(2, 64));
    assert_eq!(ended.error.unwrap().kind(), ErrorKind::Truncated);
}

pub async fn an_unknown_endpoint_or_instance_is_not_found<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    let unknown = Request::new(endpoint("unknown"), "go");
    let mut other_case = Request::new(endpoint("ECHO"), "go");
    other_case.instance = Some(instance(1));
    let mut other_instance = Request::new(echo.clone(), "go");
    other_instance.instance = Some(instance(99));
    for request in [unknown, other_case, other_instance] {
        let error = world.error(request).await;
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::NotExecuted));
    }
    world.still_answers(&echo).await;
}

pub async fn an_address_where_nobody_listens_is_unavailable<P: Plane>() {
    let world = World::<P>::start().await;
    let request = Request::new(endpoint("echo"), "go");
    let error = read(call(&world.client, world.plane.nowhere(), request)).await.error.unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
}

pub async fn an_address_of_another_transport_is_refused<P: Plane>() {
    let world = World::<P>::start().await;
    let request = Request::new(endpoint("echo"), "go");
    let error = read(call(&world.client, world.plane.foreign(), request)).await.error.unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidArgument, Delivery::NotSent));
}

pub async fn the_longest_name_works<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve(&"x".repeat(plane_core::MAX_TOKEN), echo()).await;
    world.still_answers(&echo).await;
}
