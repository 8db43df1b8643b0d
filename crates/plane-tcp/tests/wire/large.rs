//! Messages larger than their windows: how much of them a server takes before they are read.

use bytes::Bytes;
use plane_core::frame::Flags;
use plane_tcp::{ClientConfig, ConnectionConfig};
use plane_testkit::peer::{Peer, Seen};
use tokio::task::JoinSet;

use crate::world::{World, client, echo, endpoint, soon};

const CHUNK: usize = 16 << 10;
const WINDOW: usize = 64 << 10;
const LIMIT: usize = 1 << 20;
const CALLS: usize = 50;

/// What a chunk costs beside its bytes.
const COST: usize = 64;

fn limited() -> ConnectionConfig {
    ConnectionConfig::default().credit(64 << 10).expect("in range").large_messages(LIMIT)
}

/// The call at a place: the first is 1, the next 3.
fn id(place: usize) -> u64 {
    2 * place as u64 + 1
}

/// A peer that sends as much as it is let, on several calls.
struct Sender {
    peer: Peer,
    /// What each call may send still.
    credit: Vec<usize>,
}

impl Sender {
    /// Opens one more call and returns its place.
    async fn open(&mut self, name: &str, flags: Flags) -> usize {
        let place = self.credit.len();
        self.credit.push(WINDOW);
        self.peer.open(id(place), &endpoint(name), flags, b"").await;
        place
    }

    /// Sends up to this many bytes of one message, as long as there is credit; returns how many.
    async fn send(&mut self, place: usize, most: usize) -> usize {
        let mut sent = 0;
        while sent < most && self.credit[place] >= CHUNK + COST {
            self.peer.message(id(place), Flags::MORE, &[7; CHUNK]).await;
            self.credit[place] -= CHUNK + COST;
            sent += CHUNK;
        }
        sent
    }

    /// Takes in the credit that comes for what was sent so far; whether there was any.
    async fn settle(&mut self) -> bool {
        let mut any = false;
        let last = id(self.open("deaf", Flags::END).await);
        loop {
            match self.peer.next().await.expect("a frame") {
                Seen::Credit { call, bytes } => {
                    self.credit[usize::try_from(call / 2).expect("a small id")] += bytes as usize;
                    any = true;
                }
                // It is answered after what came before it, and credit goes before messages.
                Seen::Message { call, .. } if call == last => return any,
                Seen::Accept { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Promise G3, threat A23: fifty messages of any length that nobody reads take their windows and the limit beyond them,
/// all together. One that somebody waits for comes whole beside them.
#[tokio::test]
async fn large_messages_that_nobody_reads_take_what_they_may() {
    let world = World::with_connection(limited()).await;
    let mut sender = Sender { peer: Peer::dial(&world.address).await, credit: Vec::new() };
    for _ in 0..CALLS {
        sender.open("hang", Flags::NO_MESSAGE).await;
    }
    let mut taken = 0;
    loop {
        for place in 0..CALLS {
            taken += sender.send(place, usize::MAX).await;
        }
        if !sender.settle().await {
            break;
        }
    }
    let most = CALLS * WINDOW + LIMIT;
    assert!(taken > LIMIT && taken <= most, "{taken} bytes were taken, {most} at most");
    let count = sender.open("count", Flags::NO_MESSAGE).await;
    let mut sent = 0;
    while sent < LIMIT {
        sent += sender.send(count, LIMIT - sent).await;
        sender.settle().await;
    }
    sender.peer.message(id(count), Flags::NONE, b"").await;
    sender.peer.end(id(count), 1).await;
    let (_, answer) = sender.peer.expect_message(id(count)).await;
    assert_eq!(answer, format!("1 messages, {LIMIT} bytes"), "it was counted whole");
    world.still_answers().await;
}

/// Calls that send more than a server holds at once wait for one another, and all are answered.
#[tokio::test]
async fn large_messages_take_turns() {
    let world = World::with_connection(limited()).await;
    let client = client(ClientConfig::default());
    let message = Bytes::from(vec![7; 2 * LIMIT]);
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (client, address, message) = (client.clone(), world.address.clone(), message.clone());
        calls.spawn(async move { echo(&client, &address, message).await });
    }
    while let Some(answer) = soon(calls.join_next()).await {
        assert_eq!(answer.expect("no panic").expect("an answer"), message);
    }
}
