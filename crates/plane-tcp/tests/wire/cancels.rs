//! Case A22: calls that are given up, at each of their stages; each releases everything.

use std::time::Duration;

use plane_core::frame::{Cancel, Flags, Hello};
use plane_core::{Body, Code, ErrorKind, Request, RequestPlaneClient, RequestPlaneServer};
use plane_tcp::{ClientConfig, TcpClient};
use plane_testkit::peer::{PeerListener, Seen};

use crate::world::{Event, World, client, endpoint, soon, until};

async fn nothing_left(client: &TcpClient) {
    until(|| client.stats().in_flight == 0).await;
    let stats = client.stats();
    assert_eq!((stats.started, stats.completed + stats.failed + stats.cancelled), (stats.started, stats.started));
}

/// Given up while the connection is dialled: nothing was sent, and the connection serves the next call.
#[tokio::test]
async fn during_the_dial() {
    let listener = PeerListener::bind().await;
    let (client, address) = (client(ClientConfig::default()), listener.address());
    let (caller, to) = (client.clone(), address.clone());
    let call = tokio::spawn(async move { caller.call(&to, Request::new(endpoint("echo"), "gone")).await.map(drop) });
    let silent = listener.accept_silent();
    let mut peer = soon(silent).await;
    call.abort();
    assert!(soon(call).await.expect_err("aborted").is_cancelled());
    nothing_left(&client).await;
    peer.send(|out| plane_core::frame::Hello::default().encode(out)).await;
    peer.expect_hello().await;
    let caller = client.clone();
    let call = tokio::spawn(async move { crate::world::echo(&caller, &address, "next").await });
    let (id, _, message) = peer.expect_open().await;
    assert_eq!(message, "next");
    peer.message(id, Flags::END, b"ok").await;
    assert_eq!(soon(call).await.expect("no panic").expect("an answer"), "ok");
}

/// Given up before the answer, and in the middle of it: the handler hears of it, and the next call is served.
#[tokio::test]
async fn before_the_answer_and_in_the_middle_of_it() {
    let mut world = World::start().await;
    let client = client(ClientConfig::default());
    let (caller, to) = (client.clone(), world.address.clone());
    let call = tokio::spawn(async move { caller.call(&to, Request::new(endpoint("hang"), "hi")).await.map(drop) });
    assert_eq!(soon(world.events.recv()).await, Some(Event::Started));
    call.abort();
    assert_eq!(soon(world.events.recv()).await, Some(Event::Dropped));
    nothing_left(&client).await;

    let (sender, body) = Body::channel(1);
    let call = client.call(&world.address, Request::new(endpoint("echo"), body));
    let (response, sent) = soon(async { tokio::join!(call, sender.send("one")) }).await;
    sent.expect("a reader");
    let mut response = response.expect("an answer");
    assert_eq!(response.next().await.expect("a message").expect("no error"), "one");
    drop(response);
    nothing_left(&client).await;
    until(|| world.server.stats().in_flight == 0).await;
    assert_eq!(world.server.stats().cancelled, 2);
}

/// Given up on the wire: one CANCEL, and the call counts until the server has ended it; after the end there is none.
#[tokio::test]
async fn a_cancelled_call_counts_until_its_end() {
    let listener = PeerListener::bind().await;
    let config = ClientConfig::default().pool_size(1).expect("in range");
    let (client, address) = (client(config), listener.address());
    let (caller, to) = (client.clone(), address.clone());
    let call = tokio::spawn(async move { caller.call(&to, Request::new(endpoint("echo"), "1")).await.map(drop) });
    let one = plane_core::frame::Hello { max_calls: 1, ..Default::default() };
    let mut peer = listener.accept_with(&one).await;
    let (first, _, _) = peer.expect_open().await;
    call.abort();
    assert_eq!(peer.expect().await, Seen::Cancel { call: first, cancel: Cancel::Abort(Code::CANCELLED) });
    let caller = client.clone();
    let next = tokio::spawn(async move { crate::world::echo(&caller, &address, "2").await });
    // A ping that is answered shows that no OPEN was sent meanwhile: `expect` skips neither.
    peer.send(|out| plane_core::frame::encode_ping(out, *b"12345678")).await;
    assert_eq!(peer.expect().await, Seen::Other(format!("{:?}", plane_core::frame::Frame::Pong(*b"12345678"))));
    peer.end(first, 0).await;
    let (second, _, message) = peer.expect_open().await;
    assert_eq!(message, "2");
    peer.message(second, Flags::END, b"ok").await;
    assert_eq!(soon(next).await.expect("no panic").expect("an answer"), "ok");
    nothing_left(&client).await;
}

/// An answer that crosses the caller's deadline on its way gives the call's place back, whatever part of it came before
/// and however it ends, and is not held against the server.
#[tokio::test]
async fn an_answer_that_crosses_a_deadline_frees_its_place() {
    let client = client(ClientConfig::default().pool_size(1).expect("in range"));
    let listener = PeerListener::bind().await;
    let address = listener.address();
    let ask = |timeout| {
        let (client, address) = (client.clone(), address.clone());
        let request = Request::new(endpoint("echo"), "hi").with_timeout(timeout);
        tokio::spawn(async move { client.call(&address, request).await?.message().await })
    };
    let one_at_a_time = Hello { max_calls: 1, ..Hello::default() };
    let first = ask(Duration::from_secs(60));
    let mut peer = listener.accept_with(&one_at_a_time).await;
    let (call, _, _) = peer.expect_open().await;
    peer.message(call, Flags::END, b"first").await;
    soon(first).await.expect("no panic").expect("an answer");
    for ending in 0..4 {
        let late = ask(Duration::from_millis(30));
        let (call, _, _) = peer.expect_open().await;
        if ending % 2 == 1 {
            peer.message(call, Flags::MORE, &[1; 300]).await;
        }
        let error = soon(late).await.expect("no panic").expect_err("no answer in time");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(matches!(peer.expect().await, Seen::Cancel { .. }));
        // What a server sends that had not read the cancel yet.
        if ending < 2 {
            peer.message(call, Flags::END, b"late").await;
        } else {
            peer.message(call, Flags::MORE, &[1; 300]).await;
            peer.end(call, 0).await;
        }
        // The only place is free again, on the same connection.
        let answered = ask(Duration::from_secs(60));
        let (call, _, _) = peer.expect_open().await;
        peer.message(call, Flags::END, b"in time").await;
        assert_eq!(soon(answered).await.expect("no panic").expect("an answer"), "in time");
    }
    assert_eq!(client.stats().dials, 1);
}
