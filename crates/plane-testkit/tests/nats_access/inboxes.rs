//! Threat E13: who can listen to the answers of whom.

use async_nats::{Client, Event, ServerError, Subscriber};
use futures_util::StreamExt;
use plane_core::ErrorKind;
use plane_nats::{Credentials, NatsConfig};
use plane_testkit::nats::NatsServer as Nats;
use tokio::sync::mpsc;

use crate::world::{at_once, bind, call, client, config, nats, register};

/// What docs/nats.md asks for, and a neighbour who may use the inbox prefix that is everybody's by default.
const USERS: &str = "authorization { users = [
    { user: server, password: x, permissions: { publish: [\"plane.>\", \"inbox.>\", \"_INBOX.>\"], subscribe: [\"plane.>\", \"$SRV.>\"] } }
    { user: caller, password: x, permissions: { publish: [\"plane.test.access.echo\", \"plane.*.test.access.echo\", \"plane.*.*\"], subscribe: [\"inbox.caller.>\"] } }
    { user: careless, password: x, permissions: { publish: [\"plane.>\"], subscribe: [\"_INBOX.>\"] } }
    { user: neighbour, password: x, permissions: { publish: [\"neighbour.>\", \"_INBOX.>\"], subscribe: [\"_INBOX.>\"] } } ] }";

fn config_of(nats: &Nats, user: &str) -> NatsConfig {
    config(nats).credentials(Credentials::UserPassword { user: user.to_owned(), password: "x".to_owned() })
}

/// A plain client of the user `neighbour`, and what it is denied.
async fn neighbour(nats: &Nats) -> (Client, mpsc::Receiver<String>) {
    let (tell, denied) = mpsc::channel(16);
    let options = async_nats::ConnectOptions::with_user_and_password("neighbour".to_owned(), "x".to_owned());
    let options = options.event_callback(move |event| {
        let tell = tell.clone();
        async move {
            if let Event::ServerError(ServerError::Other(text)) = event {
                tell.send(text).await.unwrap();
            }
        }
    });
    (at_once(options.connect(nats.url())).await.unwrap(), denied)
}

/// What has come to this ear by now: everything before a message that the neighbour sends to itself.
async fn heard(neighbour: &Client, ear: &mut Subscriber) -> Vec<String> {
    neighbour.publish("_INBOX.neighbour.end", "".into()).await.unwrap();
    let mut heard = Vec::new();
    loop {
        let message = at_once(ear.next()).await.unwrap();
        if &*message.subject == "_INBOX.neighbour.end" {
            return heard;
        }
        heard.push(message.subject.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_listens_to_the_inbox_of_another_user() {
    let nats = nats(USERS);
    let server = bind(config_of(&nats, "server")).await.unwrap();
    let _registration = register(&server, "echo").await.unwrap();
    let (plain, mut denied) = neighbour(&nats).await;
    let mut ear = plain.subscribe("_INBOX.>").await.unwrap();
    // Anything that would reach further is refused.
    for wide in [">", "inbox.>", "inbox.caller.>", "inbox.*.*.*", "*.caller.>"] {
        let _refused = plain.subscribe(wide).await.unwrap();
        let text = at_once(denied.recv()).await.unwrap();
        assert!(text.to_lowercase().contains("permissions violation for subscription"), "{text}");
    }
    // An inbox prefix that the user has for itself.
    let caller = client(config_of(&nats, "caller").inbox_prefix("inbox.caller").unwrap());
    call(&caller, "echo").await.unwrap();
    assert_eq!(call(&caller, "secret").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(heard(&plain, &mut ear).await, [""; 0]);
    // The one that everybody has by default: this is what the other is for.
    call(&client(config_of(&nats, "careless")), "echo").await.unwrap();
    let overheard = heard(&plain, &mut ear).await;
    assert!(overheard.len() == 1 && overheard[0].starts_with("_INBOX."), "{overheard:?}");
}
