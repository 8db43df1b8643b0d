//! Everything at once, drawn by a seed: no answer reaches another call, every call ends, nothing is left.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use plane_core::{Address, Body, ErrorKind, Request, RequestPlaneClient, Status, handler_fn};

use super::payload::Nonce;
use super::plane::{Limits, Plane};
use super::world::{Ended, World, call, echo, read, read_on};

/// Callers at once, and calls of each.
const CALLERS: u64 = 24;
const CALLS: u32 = 40;

/// What one caller needs.
struct Caller {
    client: Arc<dyn RequestPlaneClient>,
    address: Address,
    echo: plane_core::EndpointId,
    hang: plane_core::EndpointId,
    random: Rng,
}

impl Caller {
    fn call(&self, request: Request) -> impl Future<Output = Result<plane_core::Response, plane_core::Error>> + use<> {
        call(&self.client, self.address.clone(), request)
    }

    /// A request whose messages, read back whole, are `expected`.
    fn request(&mut self) -> (Request, Vec<bytes::Bytes>) {
        let nonce = Nonce::fresh();
        let size = *self.random.choice(&[0, 1, 64, 1_000, 5_000, 70_000, 300_000]).unwrap_or(&0);
        if self.random.bool() {
            return (Request::new(self.echo.clone(), nonce.message(0, size)), nonce.messages(1, size));
        }
        let count = self.random.u64(0..20);
        (Request::new(self.echo.clone(), nonce.stream(count, size)), nonce.messages(count, size))
    }

    async fn one_call(&mut self) {
        match self.random.u8(0..6) {
            0..=2 => {
                let (request, expected) = self.request();
                read(self.call(request)).await.assert_complete(&expected);
            }
            // Leaves after some messages: what came is its own, in order.
            3 => {
                let (request, expected) = self.request();
                let mut response = self.call(request).await.unwrap();
                for expected in expected.iter().take(self.random.usize(0..4)) {
                    assert!(response.next().await.unwrap().unwrap() == expected, "another call's message");
                }
            }
            // A deadline that may come at any time.
            4 => {
                let (request, expected) = self.request();
                let timeout = Duration::from_micros(self.random.u64(0..20_000));
                let Ended { messages, error } = read(self.call(request.with_timeout(timeout))).await;
                assert!(expected.starts_with(&messages), "another call's message");
                match error {
                    None => assert_eq!(messages.len(), expected.len()),
                    Some(error) => assert_eq!(error.kind(), ErrorKind::DeadlineExceeded),
                }
            }
            // Asks for an early end, reads it, or gives up a handler that never answers.
            _ if self.random.bool() => {
                let (request, expected) = self.request();
                let mut response = self.call(request).await.unwrap();
                response.stop();
                assert!(expected.starts_with(&read_on(response).await.messages), "another call's message");
            }
            _ => {
                let call = self.call(Request::new(self.hang.clone(), "never"));
                let patience = Duration::from_micros(self.random.u64(0..5_000));
                assert!(tokio::time::timeout(patience, call).await.is_err(), "it never answers");
            }
        }
    }
}

/// Promises G1, G2 and G5: each call ends once, nothing is left, and no answer reaches another caller.
pub async fn a_storm_leaves_nothing_behind<P: Plane>() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed:#x}");
    let mut world = World::<P>::with(Limits { window: 100_000, ..Limits::default() }).await;
    let echo = world.serve("echo", echo()).await;
    let hang = world.serve("hang", handler_fn(|_, _| std::future::pending::<Result<_, Status>>())).await;
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let mut caller = Caller {
                client: world.client.clone(),
                address: world.server.address(),
                echo: echo.clone(),
                hang: hang.clone(),
                random: Rng::with_seed(seed.wrapping_add(number)),
            };
            tokio::spawn(async move {
                for _ in 0..CALLS {
                    caller.one_call().await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    world.still_answers(&echo).await;
    let (client, server) = world.settle().await;
    assert_eq!(client.started, client.completed + client.failed + client.cancelled);
    assert_eq!(server.started, server.completed + server.failed + server.cancelled);
    assert_eq!((client.in_flight, server.in_flight, server.queued), (0, 0, 0));
}

/// Bodies that are dropped unread on both sides, beside calls that are read.
pub async fn unread_bodies_leave_nothing_behind<P: Plane>() {
    let mut world = World::<P>::start().await;
    let ignore = world.serve("ignore", handler_fn(|_, _| async { Ok(plane_core::Response::new("ignored")) })).await;
    let echo = world.serve("echo", echo()).await;
    for round in 0..200 {
        let nonce = Nonce::fresh();
        let body: Body = nonce.stream(round % 5, 40_000);
        let answer = world.read(Request::new(ignore.clone(), body)).await;
        answer.assert_complete(&["ignored".into()]);
    }
    world.still_answers(&echo).await;
    let (client, server) = world.settle().await;
    assert_eq!((client.completed, client.in_flight, server.in_flight), (201, 0, 0));
}
