//! Requests of several messages.

use std::sync::Arc;
use std::time::Instant;

use plane_core::{
    Body, Context, InstanceId, Request, RequestPlaneClient, RequestPlaneServer, Response, Status, handler_fn,
};
use plane_nats::{NatsClient, NatsConnection, NatsServer};
use plane_testkit::nats::NatsServer as Nats;
use tokio::sync::mpsc;

use crate::world::{any, config, endpoint, in_time};

/// What a handler saw of its request.
#[derive(Debug, PartialEq, Eq)]
enum Saw {
    Message,
    /// An end after that, as if it were all.
    End,
    /// An error after that, or it was aborted.
    Abort,
}

/// Tells that its handler did not see the end of its request.
struct Watch(Option<mpsc::Sender<Saw>>);

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            // There is room for all that is told.
            tell.try_send(Saw::Abort).unwrap();
        }
    }
}

/// A caller that goes away in the middle of its request leaves none behind that looks whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_given_up_never_looks_whole() {
    const ROUNDS: usize = 100;
    let nats = Nats::start();
    let connection = NatsConnection::new(config(&nats));
    let (server, driver) = NatsServer::bind(&connection).await.unwrap();
    tokio::spawn(driver);
    let (tell, mut told) = mpsc::channel(3 * ROUNDS);
    let read = handler_fn(move |mut request: Request, _: Context| {
        let tell = tell.clone();
        async move {
            let mut watch = Watch(Some(tell.clone()));
            while let Some(message) = request.body.next().await {
                message?;
                tell.send(Saw::Message).await.unwrap();
            }
            watch.0 = None;
            tell.send(Saw::End).await.unwrap();
            Ok::<_, Status>(Response::new("read"))
        }
    });
    let id = InstanceId::new(1).unwrap();
    let _registration = server.register(endpoint("read"), id, Arc::new(read)).await.unwrap();
    for _ in 0..ROUNDS {
        let client = Arc::new(NatsClient::new(&connection));
        let (sender, body) = Body::channel(2);
        let mut request = Request::new(endpoint("read"), "");
        request.body = body;
        let calling = tokio::spawn({
            let client = client.clone();
            async move { client.call(&any(), request).await.map(drop) }
        });
        sender.send("the first of more").await.unwrap();
        assert_eq!(in_time(told.recv()).await, Some(Saw::Message));
        client.close(Instant::now()).await;
        in_time(calling).await.unwrap().unwrap_err();
        assert_eq!(in_time(told.recv()).await, Some(Saw::Abort));
        // Not before: its end would be one of the request.
        drop(sender);
    }
}
