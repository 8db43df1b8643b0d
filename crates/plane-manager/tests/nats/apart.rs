//! Handlers that run on a runtime of their own.

use std::time::Duration;

use plane_core::{Response, handler_fn};
use plane_manager::{Config, NetworkManager, Strictness};

use crate::place::{Place, answer, endpoint, named};

/// Threat B18: NATS is read and answered by the only thread of this test, and a handler that keeps a thread keeps another one.
#[tokio::test]
async fn a_handler_that_blocks_its_thread_keeps_no_connection_to_nats_waiting() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (url, directory) = (place.nats.url(), place.directory().to_str().unwrap().to_owned());
    let vars = [("DYN_REQUEST_PLANE", "nats"), ("DYN_DISCOVERY_DIR", &directory), ("NATS_SERVER", &url)];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::from_vars(vars, Strictness::Strict).unwrap();
    let worker = NetworkManager::builder().config(config).handlers_on(runtime.handle().clone()).build().unwrap();
    let blocking = handler_fn(|_, _| async {
        std::thread::sleep(Duration::from_secs(2));
        Ok(Response::new("done"))
    });
    let _blocking = worker.serve("test.backend.block".parse().unwrap(), blocking).await.unwrap();
    let _named = worker.serve(endpoint(), named("a")).await.unwrap();
    let frontend = place.manager("nats");
    let (quick, slow) = (frontend.client(endpoint()), frontend.client("test.backend.block".parse().unwrap()));
    assert_eq!(answer(&quick).await, "a");
    let blocked = tokio::spawn(async move { answer(&slow).await });
    for _ in 0..50 {
        assert_eq!(answer(&quick).await, "a");
    }
    // Fifty calls take a fraction of it, even on a machine that is busy.
    assert!(!blocked.is_finished(), "the other calls waited");
    assert_eq!(blocked.await.unwrap(), "done");
    runtime.shutdown_background();
}
