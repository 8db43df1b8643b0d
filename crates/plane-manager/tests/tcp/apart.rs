//! Handlers that run on a runtime of their own.

use std::time::{Duration, Instant};

use plane_core::{ErrorKind, Request, Response, handler_fn};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::place::{answer, builder, endpoint, local, manager, named};

fn handlers() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Threat B18: calls are carried by the only thread of this test, and a handler that keeps a thread keeps another one.
#[tokio::test]
async fn a_handler_that_blocks_its_thread_keeps_no_connection_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = handlers();
    let worker = builder(&local(directory.path())).handlers_on(runtime.handle().clone()).build().unwrap();
    let blocking = handler_fn(|_, _| async {
        std::thread::sleep(Duration::from_secs(2));
        Ok(Response::new("done"))
    });
    let _blocking = worker.serve("test.backend.block".parse().unwrap(), blocking).await.unwrap();
    let _named = worker.serve(endpoint(), named("a")).await.unwrap();
    let frontend = manager(&local(directory.path()));
    let (quick, slow) = (frontend.client(endpoint()), frontend.client("test.backend.block".parse().unwrap()));
    assert_eq!(answer(&quick).await, "a");
    let blocked = tokio::spawn(async move { answer(&slow).await });
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(answer(&quick).await, "a");
    }
    // Fifty calls take a fraction of it, even on a machine that is busy.
    assert!(!blocked.is_finished(), "the other calls waited: {:?}", began.elapsed());
    assert_eq!(blocked.await.unwrap(), "done");
    runtime.shutdown_background();
}

#[tokio::test]
async fn aborts_and_panics_are_what_they_are_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = handlers();
    let worker = builder(&local(directory.path())).handlers_on(runtime.handle().clone()).build().unwrap();
    let (started, mut starts) = tokio::sync::mpsc::channel(1);
    let hang = handler_fn(move |_: Request, _| {
        let started = started.clone();
        async move {
            // Dropped with the handler.
            let (held, gone) = oneshot::channel::<()>();
            started.send(gone).await.unwrap();
            std::future::pending::<()>().await;
            drop(held);
            Ok(Response::new(""))
        }
    });
    let _hang = worker.serve(endpoint(), hang).await.unwrap();
    let panics = handler_fn(|_: Request, _| async { panic!("as it was asked to") });
    let _panics = worker.serve("test.backend.panics".parse().unwrap(), panics).await.unwrap();
    let frontend = manager(&local(directory.path()));
    let client = frontend.client(endpoint());
    let call = tokio::spawn(async move { client.call("x").await.map(drop) });
    let gone = starts.recv().await.unwrap();
    call.abort();
    assert!(gone.await.is_err(), "the handler goes on without its caller");
    let error = frontend.client("test.backend.panics".parse().unwrap()).call("x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    runtime.shutdown_background();
}
