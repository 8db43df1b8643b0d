//! Who and what must be kept apart.

use std::sync::Arc;

use plane_core::{
    Address, Delivery, ErrorKind, InstanceId, Request, RequestPlaneClient, RequestPlaneServer, Response, handler_fn,
};
use plane_nats::{NatsClient, NatsConnection};
use plane_testkit::nats::NatsServer as Nats;

use crate::world::{World, any, config, endpoint, in_time};

/// Case B9: two deployments on one server.
#[tokio::test]
async fn prefixes_keep_deployments_apart() {
    let nats = Nats::start();
    let one = World::start(config(&nats).prefix("one").unwrap()).await;
    let client = NatsClient::new(&NatsConnection::new(config(&nats)));
    let at = |address: &str| address.parse::<Address>().unwrap();
    in_time(client.call(&at("nats://one"), Request::new(endpoint("echo"), "go"))).await.unwrap();
    let error = in_time(client.call(&at("nats://two"), Request::new(endpoint("echo"), "go"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    drop(one);
    // Case B8: an address that would reach more than it names.
    for bad in ["nats://>", "nats://*", "nats://one.>", "nats://a..b", "nats://one.@*"] {
        let error = client.call(&at(bad), Request::new(endpoint("echo"), "go")).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidArgument, Delivery::NotSent), "{bad}");
    }
}

/// Case B3, threats E15 and E16: what others put into a stream's inbox.
#[tokio::test]
async fn a_missing_payload_is_never_an_end() {
    let nats = Nats::start();
    let plain = async_nats::connect(nats.url()).await.unwrap();
    let mut requests = plain.subscribe("plane.test.nats.scripted").await.unwrap();
    plain.flush().await.unwrap();
    let client = NatsClient::new(&NatsConnection::new(config(&nats)));
    let headers = |pairs: &[(&str, &str)]| {
        let mut headers = async_nats::HeaderMap::new();
        pairs.iter().for_each(|(name, value)| headers.insert(*name, *value));
        headers
    };
    let gap = [headers(&[("Plane-Seq", "0")]), headers(&[("Plane-Seq", "2")])];
    let short =
        [headers(&[("Plane-Seq", "0")]), headers(&[("Plane-Status", "0"), ("Plane-Seq", "2"), ("Plane-Count", "2")])];
    for script in [gap, short] {
        let answer = async {
            let request = futures_util::StreamExt::next(&mut requests).await.unwrap();
            let reply = request.reply.unwrap();
            for headers in script.iter().chain(&script) {
                plain.publish_with_headers(reply.clone(), headers.clone(), "x".into()).await.unwrap();
            }
        };
        let address = any();
        let call = client.call(&address, Request::new(endpoint("scripted"), "go"));
        let (response, ()) = in_time(async { tokio::join!(call, answer) }).await;
        let mut response = response.unwrap();
        assert_eq!(in_time(response.next()).await.unwrap().unwrap(), "x");
        assert_eq!(in_time(response.next()).await.unwrap().unwrap_err().kind(), ErrorKind::Truncated);
        assert!(response.next().await.is_none());
    }
    assert_eq!(client.stats().in_flight, 0);
}

/// Case B10: names that differ in upper and lower case alone.
#[tokio::test]
async fn upper_and_lower_case_names_stay_different() {
    let nats = Nats::start();
    let world = World::start(config(&nats)).await;
    let id = InstanceId::new(1).unwrap();
    let said = |text: &'static str| Arc::new(handler_fn(move |_, _| async move { Ok(Response::new(text)) }));
    let _upper = world.server.register(endpoint("Generate"), id, said("upper")).await.unwrap();
    let _lower = world.server.register(endpoint("generate"), id, said("lower")).await.unwrap();
    for address in [any(), world.server.address()] {
        for (name, expected) in [("Generate", "upper"), ("generate", "lower")] {
            let answer = in_time(world.client.call(&address, Request::new(endpoint(name), "go"))).await.unwrap();
            assert_eq!(in_time(answer.message()).await.unwrap(), expected);
        }
        let error = in_time(world.client.call(&address, Request::new(endpoint("GENERATE"), "go"))).await.unwrap_err();
        assert!(error.delivery().is_retry_safe(), "{error:?}");
    }
}
