//! Who is taken for dead, and who is not.

use std::time::Duration;

use bytes::BytesMut;
use plane_core::frame::{Flags, encode_message_head};
use plane_core::{Request, RequestPlaneClient};
use plane_tcp::{ClientConfig, ConnectionConfig};
use plane_testkit::peer::PeerListener;

use crate::world::{client, endpoint, soon};

/// A slow way may take longer for one frame than the keepalive waits: any byte is a sign of life.
#[tokio::test]
async fn a_frame_that_comes_slowly_is_a_sign_of_life() {
    let patience = Duration::from_millis(500);
    let connection = ConnectionConfig::default().keepalive(patience, patience).expect("in range");
    let client = client(ClientConfig::default().connection(connection));
    let listener = PeerListener::bind().await;
    let address = listener.address();
    let calling = tokio::spawn(async move {
        let request = Request::new(endpoint("slow"), "question");
        client.call(&address, request).await?.message().await
    });
    let mut peer = listener.accept().await;
    let (call, ..) = peer.expect_open().await;
    let mut head = BytesMut::new();
    encode_message_head(&mut head, call, Flags::END, 20);
    peer.send_bytes(&head).await;
    // Twice as long as a silent peer is waited for, and no answer to a ping meanwhile.
    for _ in 0..20 {
        tokio::time::sleep(2 * patience / 10).await;
        peer.send_bytes(b"x").await;
    }
    assert_eq!(soon(calling).await.expect("no panic").expect("an answer"), [b'x'; 20][..]);
}
