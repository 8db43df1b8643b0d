//! What callers are told about calls that did not end well. A wrong answer here makes a retry run a call twice.

use std::time::Duration;

use bytes::BytesMut;
use plane_core::frame::{Flags, GoAway, encode_end, encode_go_away, encode_headers};
use plane_core::{Body, Code, Delivery, Error, ErrorKind, Headers, Request, RequestPlaneClient, Status};
use plane_tcp::{ClientConfig, TcpClient};
use plane_testkit::peer::{Peer, PeerListener};

use crate::world::{client, echo, endpoint, soon};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// One connection, so that a retry has to open another.
fn single() -> Arc<TcpClient> {
    client(ClientConfig::default().pool_size(1).expect("in range"))
}

fn spawn(
    client: &Arc<TcpClient>,
    listener: &PeerListener,
    body: impl Into<Body>,
) -> JoinHandle<Result<bytes::Bytes, Error>> {
    let (client, address, body) = (client.clone(), listener.address(), body.into());
    tokio::spawn(async move { echo(&client, &address, body).await })
}

fn go_away(last_call: u64) -> GoAway {
    GoAway { last_call, code: Code::OK, grace: Duration::from_secs(1), text: "draining".to_owned() }
}

async fn refused(call: JoinHandle<Result<bytes::Bytes, Error>>) -> (ErrorKind, Delivery) {
    let error = soon(call).await.expect("no panic").expect_err("no answer");
    (error.kind(), error.delivery())
}

/// Case A12: sent and not answered when the connection closes.
#[tokio::test]
async fn a_lost_connection_leaves_it_unknown() {
    for reset in [false, true] {
        let (client, listener) = (single(), PeerListener::bind().await);
        let call = spawn(&client, &listener, "hi");
        let mut peer = listener.accept().await;
        peer.expect_open().await;
        if reset {
            peer.reset()
        } else {
            drop(peer)
        }
        assert_eq!(refused(call).await, (ErrorKind::Disconnected, Delivery::Unknown));
    }
}

/// Case A5: every call of the connection gets the error of its own: answered, begun, unanswered.
#[tokio::test]
async fn each_call_of_a_lost_connection_gets_its_own_delivery() {
    let (client, listener) = (single(), PeerListener::bind().await);
    let first = spawn(&client, &listener, "answered");
    let mut peer = listener.accept().await;
    let (answered, _, _) = peer.expect_open().await;
    let second = spawn(&client, &listener, "begun");
    let (begun, _, _) = peer.expect_open().await;
    let third = spawn(&client, &listener, "unanswered");
    peer.expect_open().await;
    peer.message(answered, Flags::END, b"yes").await;
    peer.send(|out| encode_headers(out, begun, &Headers::new())).await;
    assert_eq!(soon(first).await.expect("no panic").expect("an answer"), "yes");
    drop(peer);
    assert_eq!(refused(second).await, (ErrorKind::Disconnected, Delivery::Executed));
    assert_eq!(refused(third).await, (ErrorKind::Disconnected, Delivery::Unknown));
}

/// Cases A12 and A19: what a GOAWAY excludes was not executed and is sent again, once, elsewhere; what it includes ends
/// on the old connection; nothing new is sent there.
#[tokio::test]
async fn calls_refused_by_a_goaway_go_elsewhere() {
    let (client, listener) = (single(), PeerListener::bind().await);
    let kept = spawn(&client, &listener, "kept");
    let mut old = listener.accept().await;
    let (kept_id, _, _) = old.expect_open().await;
    let refused = spawn(&client, &listener, "refused");
    old.expect_open().await;
    old.send(|out| encode_go_away(out, &go_away(kept_id))).await;
    let mut new = listener.accept().await;
    let (id, flags, message) = new.expect_open().await;
    assert_eq!((flags, &message[..]), (Flags::END, &b"refused"[..]));
    new.message(id, Flags::END, b"elsewhere").await;
    assert_eq!(soon(refused).await.expect("no panic").expect("an answer"), "elsewhere");
    let later = spawn(&client, &listener, "later");
    let (id, _, _) = new.expect_open().await;
    new.message(id, Flags::END, b"also elsewhere").await;
    assert_eq!(soon(later).await.expect("no panic").expect("an answer"), "also elsewhere");
    old.message(kept_id, Flags::END, b"here").await;
    assert_eq!(soon(kept).await.expect("no panic").expect("an answer"), "here");
    // The old connection has nothing left to do: not a frame came, and the client closes it.
    assert_eq!(old.next().await, None);
}

/// Case A12: a call that was not refused by the GOAWAY before the connection was lost may have run.
#[tokio::test]
async fn a_goaway_does_not_speak_for_the_calls_before_it() {
    let (client, listener) = (single(), PeerListener::bind().await);
    let call = spawn(&client, &listener, "hi");
    let mut peer = listener.accept().await;
    let (id, _, _) = peer.expect_open().await;
    peer.send(|out| encode_go_away(out, &go_away(id))).await;
    drop(peer);
    assert_eq!(refused(call).await, (ErrorKind::Disconnected, Delivery::Unknown));
}

/// Why a server ends a connection is what the callers on it are told.
#[tokio::test]
async fn the_reason_of_a_goaway_reaches_the_callers() {
    let (client, listener) = (single(), PeerListener::bind().await);
    let call = spawn(&client, &listener, "hi");
    let mut peer = listener.accept().await;
    let (id, _, _) = peer.expect_open().await;
    let reason = GoAway { code: Code::ENHANCE_YOUR_CALM, text: "too many pings".to_owned(), ..go_away(id) };
    peer.send(|out| encode_go_away(out, &reason)).await;
    drop(peer);
    let error = soon(call).await.expect("no panic").expect_err("no answer");
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Disconnected, Delivery::Unknown));
    let text = error.to_string();
    assert!(text.contains("ENHANCE_YOUR_CALM") && text.contains("too many pings"), "{text}");
}

/// Case A12: a refusal says so, and is the callers' to retry; a status after a start is no refusal.
#[tokio::test]
async fn a_status_says_whether_a_handler_was_started() {
    for (flags, delivery) in [(Flags::NOT_EXECUTED, Delivery::NotExecuted), (Flags::NONE, Delivery::Executed)] {
        let (client, listener) = (single(), PeerListener::bind().await);
        let call = spawn(&client, &listener, "hi");
        let mut peer = listener.accept().await;
        let (id, _, _) = peer.expect_open().await;
        let status = Status::resource_exhausted("full");
        peer.send(|out| encode_end(out, id, flags, 0, Some(&status), None)).await;
        assert_eq!(refused(call).await, (ErrorKind::ResourceExhausted, delivery));
    }
}

/// A stream that ends with another number of messages than came is no end.
#[tokio::test]
async fn an_end_with_a_wrong_count_is_truncated() {
    for count in [0, 2, u64::MAX] {
        let (client, listener) = (single(), PeerListener::bind().await);
        let call = spawn(&client, &listener, "hi");
        let mut peer = listener.accept().await;
        let (id, _, _) = peer.expect_open().await;
        peer.message(id, Flags::NONE, b"one").await;
        peer.end(id, count).await;
        assert_eq!(refused(call).await, (ErrorKind::Truncated, Delivery::Executed));
    }
}

/// Threats A11, A13 and A15, seen from the caller: a server that breaks the rules is told, and every call on the
/// connection ends as a protocol error.
#[tokio::test]
async fn a_server_that_breaks_the_rules_is_told() {
    let violations: [fn(&mut BytesMut); 4] = [
        |out| Peer::write_open(out, 2, &endpoint("echo"), Flags::END, b""),
        |out| plane_core::frame::encode_message_head(out, 99, Flags::NONE, 0),
        |out| plane_core::frame::encode_cancel(out, 1, plane_core::frame::Cancel::Stop),
        |out| {
            encode_headers(out, 1, &Headers::new());
            encode_headers(out, 1, &Headers::new());
        },
    ];
    for violation in violations {
        let (client, listener) = (single(), PeerListener::bind().await);
        let call = spawn(&client, &listener, "hi");
        let mut peer = listener.accept().await;
        peer.expect_open().await;
        peer.send(violation).await;
        assert_eq!(peer.expect_go_away().await.code, Code::PROTOCOL);
        peer.expect_closed().await;
        assert_eq!(refused(call).await.0, ErrorKind::Protocol);
    }
}

/// What was on its way when a deadline ended the call is bounded by its credit; it is no abuse and disturbs nobody.
#[tokio::test]
async fn a_window_behind_a_deadline_disturbs_nobody() {
    let (client, listener) = (single(), PeerListener::bind().await);
    let address = listener.address();
    let mut ids = Vec::new();
    let mut calls = Vec::new();
    for number in 0..3 {
        let (client, address) = (client.clone(), address.clone());
        let request = Request::new(endpoint("echo"), "hi").with_timeout(Duration::from_secs(1));
        calls.push(tokio::spawn(async move { client.call(&address, request).await.map(|_| number) }));
    }
    let mut peer = listener.accept().await;
    for _ in 0..calls.len() {
        ids.push(peer.expect_open().await.0);
    }
    for call in calls {
        let error = soon(call).await.expect("no panic").expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    }
    for id in ids {
        let mut out = BytesMut::new();
        for _ in 0..16_000 {
            plane_core::frame::encode_message_head(&mut out, id, Flags::NONE, 1);
            out.extend_from_slice(b"x");
        }
        encode_end(&mut out, id, Flags::NONE, 16_000, None, None);
        peer.send_bytes(&out).await;
    }
    let call = spawn(&client, &listener, "after");
    loop {
        if let plane_testkit::peer::Seen::Open { call, .. } = peer.next().await.expect("the connection goes on") {
            peer.message(call, Flags::END, b"fine").await;
            break;
        }
    }
    assert_eq!(soon(call).await.expect("no panic").expect("an answer"), "fine");
}
