//! What can be called.

use std::sync::Arc;
use std::time::Duration;

use plane_core::{
    AbortReason, Body, Context, EndpointId, InstanceId, Registration, Request, RequestPlaneServer, Response, Status,
    handler_fn,
};
use plane_testkit::conformance::Nonce;
use tokio::sync::mpsc;

/// Between two messages of `ticks`.
const TICK: Duration = Duration::from_millis(5);

/// What a handler saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Started,
    Aborted(AbortReason),
    /// It was aborted, and sent messages all the same.
    SentAfterAbort,
}

pub(crate) fn endpoint(name: &str) -> EndpointId {
    EndpointId::new("test", "faults", name).expect("a valid name")
}

/// A request for `count` messages of `size` bytes from `tokens`; a count of 0 is a stream without end.
pub(crate) fn tokens(count: u64, size: usize) -> Request {
    Request::new(endpoint("tokens"), format!("{count} {size}"))
}

/// A request for a message of `size` bytes from `ticks` every few milliseconds, without end.
pub(crate) fn ticks(size: usize) -> Request {
    Request::new(endpoint("ticks"), size.to_string())
}

/// The messages that `tokens` and `ticks` answer with.
pub(crate) const TOKENS: Nonce = Nonce::of(0x746f_6b65_6e73);

/// Serves `echo`; `drip`, one message and then none; `hang`, which waits to be aborted; `tokens` and `ticks`; `panic`,
/// before or during its answer; `late`, which sends on after its abort; `remaining`, the time that is left; and `block`, which keeps its thread for so many
/// milliseconds.
pub(crate) async fn serve(server: &dyn RequestPlaneServer, report: mpsc::Sender<Seen>) -> Vec<Registration> {
    let echo =
        handler_fn(|request: Request, _| async move { Ok(Response { headers: request.headers, body: request.body }) });
    let hang = {
        let report = report.clone();
        handler_fn(move |_, context: Context| hang(context, report.clone()))
    };
    let late = {
        let report = report.clone();
        handler_fn(move |_, context: Context| send_after_abort(context, report.clone()))
    };
    let drip = handler_fn(move |_, context| drip(context, report.clone()));
    let id = InstanceId::new(1).expect("not zero");
    let mut registrations = Vec::new();
    for (name, handler) in [
        ("echo", Arc::new(echo) as Arc<dyn plane_core::Handler>),
        ("hang", Arc::new(hang)),
        ("drip", Arc::new(drip)),
        ("tokens", Arc::new(handler_fn(|request, _| stream(request)))),
        ("ticks", Arc::new(handler_fn(|request, _| tick(request)))),
        ("panic", Arc::new(handler_fn(|request, _| panic(request)))),
        ("late", Arc::new(late)),
        ("remaining", Arc::new(handler_fn(|_, context| remaining(context)))),
        ("block", Arc::new(handler_fn(|request, _| block(request)))),
    ] {
        registrations.push(server.register(endpoint(name), id, handler).await.expect("the name is free"));
    }
    registrations
}

async fn hang(context: Context, report: mpsc::Sender<Seen>) -> Result<Response, Status> {
    // Nobody may listen any more; that is not what is tested.
    let _ = report.try_send(Seen::Started);
    let reason = context.aborted().await;
    let _ = report.try_send(Seen::Aborted(reason));
    Err(reason.status())
}

async fn drip(context: Context, report: mpsc::Sender<Seen>) -> Result<Response, Status> {
    let (sender, body) = Body::channel(1);
    sender.send("first").await?;
    tokio::spawn(async move {
        let _ = report.try_send(Seen::Started);
        let reason = context.aborted().await;
        let _ = report.try_send(Seen::Aborted(reason));
        drop(sender);
    });
    Ok(Response::new(body))
}

async fn stream(request: Request) -> Result<Response, Status> {
    let asked = request.body.message().await.map_err(Status::from)?;
    let asked = String::from_utf8_lossy(&asked).into_owned();
    let numbers = asked.split_once(' ').and_then(|(count, size)| Some((count.parse().ok()?, size.parse().ok()?)));
    let (count, size) = numbers.ok_or_else(|| Status::invalid_argument("not a count and a size"))?;
    Ok(Response::new(TOKENS.stream(if count == 0 { u64::MAX } else { count }, size)))
}

async fn tick(request: Request) -> Result<Response, Status> {
    let asked = request.body.message().await.map_err(Status::from)?;
    let size = String::from_utf8_lossy(&asked).parse().map_err(|_| Status::invalid_argument("no size"))?;
    let ticking = futures_util::stream::unfold(0, move |index| async move {
        if index > 0 {
            tokio::time::sleep(TICK).await;
        }
        Some((Ok::<_, Status>(TOKENS.message(index, size)), index + 1))
    });
    Ok(Response::new(Body::stream(ticking)))
}

async fn panic(request: Request) -> Result<Response, Status> {
    let asked = request.body.message().await.map_err(Status::from)?;
    if asked != "during" {
        panic!("before the answer, as it was asked to");
    }
    let items = futures_util::stream::unfold(0, |index| async move {
        assert!(index < 3, "during the answer, as it was asked to");
        Some((Ok::<_, Status>("item"), index + 1))
    });
    Ok(Response::new(Body::stream(items)))
}

/// Messages that are sent after the abort.
const AFTER_ABORT: u32 = 10_000;

async fn send_after_abort(context: Context, report: mpsc::Sender<Seen>) -> Result<Response, Status> {
    let (sender, body) = Body::channel(1);
    sender.send("first").await?;
    tokio::spawn(async move {
        context.aborted().await;
        for _ in 0..AFTER_ABORT {
            // It does not listen to what it is told.
            let _ = sender.send("late").await;
        }
        let _ = report.try_send(Seen::SentAfterAbort);
    });
    Ok(Response::new(body))
}

/// The microseconds that are left.
async fn remaining(context: Context) -> Result<Response, Status> {
    let left = context.remaining().ok_or_else(|| Status::invalid_argument("no deadline"))?;
    Ok(Response::new(left.as_micros().to_string()))
}

/// What must not be done in a handler.
async fn block(request: Request) -> Result<Response, Status> {
    let asked = request.body.message().await.map_err(Status::from)?;
    let milliseconds = String::from_utf8_lossy(&asked).parse().map_err(|_| Status::invalid_argument("no number"))?;
    std::thread::sleep(Duration::from_millis(milliseconds));
    Ok(Response::new("done"))
}
