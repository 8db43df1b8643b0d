//! What holds for the in-process transport alone; the rest is the conformance suite's.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{MemClient, MemConfig, MemNetwork, MemServer};
use crate::error::ErrorKind;
use crate::handler::{Handler, handler_fn};
use crate::message::{Request, Response};
use crate::name::{EndpointId, InstanceId};
use crate::status::Status;
use crate::transport::{RequestPlaneClient, RequestPlaneServer};

fn endpoint() -> EndpointId {
    "demo.test.echo".parse().unwrap()
}

fn echo() -> Arc<dyn Handler> {
    Arc::new(handler_fn(|request: Request, _| async move { Ok(Response::new(request.body)) }))
}

fn never() -> Arc<dyn Handler> {
    Arc::new(handler_fn(|_, _| std::future::pending::<Result<Response, Status>>()))
}

fn world() -> (MemNetwork, MemServer, MemClient) {
    let network = MemNetwork::new();
    let server = MemServer::bind(&network, "here", MemConfig::default()).unwrap();
    let client = MemClient::new(&network, MemConfig::default());
    (network, server, client)
}

#[test]
fn a_ready_answer_needs_one_poll_and_no_runtime() {
    let (_network, server, client) = world();
    let mut cx = Context::from_waker(Waker::noop());
    let mut register = server.register(endpoint(), InstanceId::new(1).unwrap(), echo());
    let Poll::Ready(Ok(_registration)) = register.as_mut().poll(&mut cx) else { panic!("not ready") };
    let address = server.address();
    let mut call = client.call(&address, Request::new(endpoint(), "ping"));
    let Poll::Ready(Ok(response)) = call.as_mut().poll(&mut cx) else { panic!("not ready") };
    assert_eq!(response.body.as_one().unwrap(), "ping");
    assert_eq!((client.stats().completed, server.stats().completed), (1, 1));
}

#[test]
fn a_name_is_served_once_and_free_after_its_server() {
    let (network, server, _client) = world();
    let again = || MemServer::bind(&network, "here", MemConfig::default());
    assert_eq!(again().unwrap_err().kind(), ErrorKind::AlreadyExists);
    drop(server);
    assert!(again().is_ok());
}

#[tokio::test]
async fn dropping_a_server_ends_its_calls() {
    let (_network, server, client) = world();
    let _registration = server.register(endpoint(), InstanceId::new(1).unwrap(), never()).await.unwrap();
    let address = server.address();
    let mut call = pin!(client.call(&address, Request::new(endpoint(), "go")));
    let first = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
    assert!(!first);
    drop(server);
    assert_eq!(call.await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!((client.stats().failed, client.stats().in_flight), (1, 0));
}

/// A day's deadline passes in an instant of virtual time, and not before.
#[tokio::test(start_paused = true)]
async fn deadlines_follow_virtual_time() {
    let (_network, server, client) = world();
    let _registration = server.register(endpoint(), InstanceId::new(1).unwrap(), never()).await.unwrap();
    let (began, day) = (tokio::time::Instant::now(), Duration::from_secs(86_400));
    let mut request = Request::new(endpoint(), "go");
    request.deadline = Some((began + day).into_std());
    let error = client.call(&server.address(), request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(began.elapsed() >= day);
}
