//! Texts that must never become part of a subject, and replies that belong to no call.

use std::net::TcpListener;

use futures_util::StreamExt;
use plane_core::{Address, Delivery, EndpointId, ErrorKind, InstanceId, Request, RequestPlaneClient};
use plane_nats::{NatsClient, NatsConfig, NatsConnection};
use plane_testkit::nats::NatsServer as Nats;

use crate::world::{any, config, endpoint, in_time};

/// Wildcards, what ends a line or a token, what the plane and NATS mark their own subjects with, and no token at all.
const HOSTILE: [&str; 24] = [
    "",
    ".",
    "..",
    ".a",
    "a.",
    "a..b",
    "*",
    ">",
    "a.*",
    "a.>",
    "a b",
    " a",
    "a ",
    "a\tb",
    "a\rb",
    "a\nb",
    "a\r\nPUB x 0",
    "a\0b",
    "$SYS",
    "$JS.API",
    "@stored",
    "a.!b",
    "+1",
    "\u{e9}",
];

/// Threat E11: every way by which a text could become a part of a subject has the same rule, before anything is dialled.
#[tokio::test]
async fn what_is_no_subject_never_reaches_nats() {
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let url = format!("nats://{}", trap.local_addr().unwrap());
    let client = NatsClient::new(&NatsConnection::new(NatsConfig::default().servers([url]).unwrap()));
    let long = "x".repeat(4_096);
    for bad in HOSTILE.into_iter().chain([&*long]) {
        assert_eq!(NatsConfig::default().prefix(bad).unwrap_err().setting(), "prefix", "{bad:?}");
        assert_eq!(NatsConfig::default().inbox_prefix(bad).unwrap_err().setting(), "inbox_prefix", "{bad:?}");
        for [namespace, component, name] in [[bad, "b", "c"], ["a", bad, "c"], ["a", "b", bad]] {
            assert!(EndpointId::new(namespace, component, name).is_err(), "{bad:?}");
            assert!(format!("{namespace}.{component}.{name}").parse::<EndpointId>().is_err(), "{bad:?}");
        }
        assert!(bad.parse::<InstanceId>().is_err(), "{bad:?}");
        for address in [bad.to_owned(), format!("plane.{bad}"), format!("{bad}.plane"), format!("plane.@{bad}")] {
            // As a record of discovery could have it, whoever has written that.
            let parsed = format!("nats://{address}").parse::<Address>().into_iter();
            for address in parsed.chain([Address::Nats(address.as_str().into())]) {
                let error = in_time(client.call(&address, Request::new(endpoint("echo"), "go"))).await.unwrap_err();
                let seen = (error.kind(), error.delivery());
                assert_eq!(seen, (ErrorKind::InvalidArgument, Delivery::NotSent), "{address:?}");
                assert!(!error.message().contains(char::is_control), "{error}");
            }
        }
    }
    assert_eq!(trap.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!((client.stats().in_flight, client.stats().dials), (0, 0));
}

/// Threat E16: replies to a call that never was, to one that is over, and a second one to a call that was answered.
#[tokio::test]
async fn replies_that_belong_to_no_call_are_dropped_and_counted() {
    let nats = Nats::start();
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let mut requests = plain.subscribe("plane.test.nats.scripted").await.unwrap();
    plain.flush().await.unwrap();
    let client = NatsClient::new(&NatsConnection::new(config(&nats)));
    let call = || async { client.call(&any(), Request::new(endpoint("scripted"), "go")).await?.message().await };
    let mut left = None;
    tokio::select! {
        ended = call() => panic!("nobody has answered: {ended:?}"),
        request = in_time(requests.next()) => left = left.or(request.unwrap().reply),
    }
    // Its caller is gone now.
    let left = left.unwrap();
    let answer = async {
        let reply = requests.next().await.unwrap().reply.unwrap();
        let (inbox, _) = reply.rsplit_once('.').unwrap();
        for stray in [left.as_str(), &format!("{inbox}.+ffff"), &format!("{inbox}.x"), reply.as_str(), reply.as_str()] {
            let payload = if *stray == *reply { "mine" } else { "of another" };
            plain.publish(stray.to_owned(), payload.into()).await.unwrap();
        }
    };
    let (answered, ()) = in_time(async { tokio::join!(call(), answer) }).await;
    assert_eq!(answered.unwrap(), "mine");
    in_time(async {
        while client.stats().unknown_replies < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // What comes later comes alone: nothing was kept for it.
    let answer = async {
        let reply = requests.next().await.unwrap().reply.unwrap();
        plain.publish(reply, "the next".into()).await.unwrap();
    };
    let (answered, ()) = in_time(async { tokio::join!(call(), answer) }).await;
    assert_eq!(answered.unwrap(), "the next");
    let stats = client.stats();
    assert_eq!((stats.unknown_replies, stats.in_flight), (4, 0));
}
