//! Headers reach the other side unchanged, within limits that are the same everywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderName, HeaderValue};
use plane_core::{
    Body, Delivery, Error, ErrorKind, Handler, HeaderLimits, Headers, MessageStream, Request, Response, handler_fn,
};

use super::plane::Plane;
use super::world::{World, echo};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn headers(pairs: &[(&str, &[u8])]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a valid name");
        headers.append(name, HeaderValue::from_bytes(value).expect("a valid value"));
    }
    headers
}

fn with(endpoint: &plane_core::EndpointId, headers: Headers) -> Request {
    let mut request = Request::new(endpoint.clone(), "go");
    request.headers = headers;
    request
}

/// Case C12.
pub async fn headers_echo_unchanged<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    let sent = headers(&[
        ("traceparent", TRACEPARENT.as_bytes()),
        ("x-tag", b"first"),
        ("x-tag", b"second"),
        ("x-empty", b""),
        ("x-utf8", "h\u{e9}llo \u{1f600}".as_bytes()),
    ]);
    let response = world.call(with(&echo, sent.clone())).await.unwrap();
    assert_eq!(response.headers, sent);
}

/// Case C12: the handler sees them, not just the answer.
pub async fn traceparent_reaches_the_handler<P: Plane>() {
    let mut world = World::<P>::start().await;
    let handler = handler_fn(|request: Request, _| async move {
        let seen = request.headers.get("traceparent").map(|value| value.as_bytes().to_vec());
        Ok(Response::new(seen.unwrap_or_default()))
    });
    let tells = world.serve("tells", handler).await;
    let request = with(&tells, headers(&[("traceparent", TRACEPARENT.as_bytes())]));
    assert_eq!(world.call(request).await.unwrap().message().await.unwrap(), TRACEPARENT);
}

/// A handler that tells whether it ever ran.
fn marks(ran: &Arc<AtomicBool>) -> impl Handler {
    let ran = ran.clone();
    handler_fn(move |_, _| {
        ran.store(true, Ordering::SeqCst);
        async { Ok(Response::default()) }
    })
}

/// Case A8: 17 KiB, 10,000 headers, a reserved name, an opaque value; each is refused before it is sent.
pub async fn headers_that_cannot_be_sent_are_refused_at_once<P: Plane>() {
    let mut world = World::<P>::start().await;
    let ran = Arc::new(AtomicBool::new(false));
    let never = world.serve("never", marks(&ran)).await;
    let many: Vec<(&str, &[u8])> = vec![("x", b""); 10_000];
    let cases = [
        (headers(&[("x", &[b'a'; 17 * 1024])]), ErrorKind::MessageTooLarge),
        (headers(&many), ErrorKind::MessageTooLarge),
        (headers(&[("plane-timeout", b"1")]), ErrorKind::InvalidArgument),
        (headers(&[("x", b"\xff")]), ErrorKind::InvalidArgument),
        (headers(&[("x", b"a\tb")]), ErrorKind::InvalidArgument),
    ];
    for (headers, kind) in cases {
        let error = world.error(with(&never, headers)).await;
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::NotSent));
    }
    assert!(!ran.load(Ordering::SeqCst));
}

pub async fn headers_at_the_limits_pass<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    let HeaderLimits { count, bytes } = HeaderLimits::default();
    let many: Vec<(&str, &[u8])> = vec![("x", b"1"); count];
    // One header takes 3 bytes beside its name and value.
    let large = vec![b'a'; bytes - 4];
    for sent in [headers(&many), headers(&[("x", &large)])] {
        assert_eq!(world.call(with(&echo, sent.clone())).await.unwrap().headers, sent);
    }
}

/// The same limits hold for answers; only that call fails.
pub async fn an_answer_with_bad_headers_is_a_typed_error<P: Plane>() {
    let mut world = World::<P>::start().await;
    let echo = world.serve("echo", echo()).await;
    let answers = |sent: Headers| {
        handler_fn(move |_, _| {
            let headers = sent.clone();
            async move { Ok(Response { headers, body: "never seen".into() }) }
        })
    };
    let large = world.serve("large", answers(headers(&[("x", &[b'a'; 17 * 1024])]))).await;
    let reserved = world.serve("reserved", answers(headers(&[("plane-x", b"1")]))).await;
    let error = world.error(Request::new(large, "go")).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::MessageTooLarge, Delivery::Executed));
    assert_eq!(world.error(Request::new(reserved, "go")).await.delivery(), Delivery::Executed);
    world.still_answers(&echo).await;
}

struct WithTrailers {
    messages: Vec<&'static str>,
    trailers: Option<Headers>,
}

impl MessageStream for WithTrailers {
    fn poll_message(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<bytes::Bytes, Error>>> {
        std::task::Poll::Ready(self.messages.pop().map(|message| Ok(message.into())))
    }

    fn trailers(mut self: std::pin::Pin<&mut Self>) -> Option<Headers> {
        if self.messages.is_empty() { self.trailers.take() } else { None }
    }
}

pub async fn trailers_come_with_the_end<P: Plane>() {
    let mut world = World::<P>::start().await;
    let sent = headers(&[("x-usage", b"tokens=7")]);
    let trailers = sent.clone();
    let handler = handler_fn(move |_, _| {
        let body = WithTrailers { messages: vec!["b", "a"], trailers: Some(trailers.clone()) };
        async move { Ok(Response::new(Body::from_messages(body))) }
    });
    let usage = world.serve("usage", handler).await;
    let mut response = world.call(Request::new(usage, "go")).await.unwrap();
    assert_eq!(response.next().await.unwrap().unwrap(), "a");
    assert_eq!(response.body.trailers(), None);
    assert_eq!(response.next().await.unwrap().unwrap(), "b");
    assert!(response.next().await.is_none());
    assert_eq!(response.body.trailers(), Some(sent));
}
