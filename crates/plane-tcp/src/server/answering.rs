//! Runs the handler of one call and sends what it answers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plane_core::{
    AbortReason, Admitted, Body, BoxFuture, Headers, Outcome, Pace, Request, Response, Status, contain_panic,
};

use crate::call::Incoming;
use crate::link::Link;
use crate::proto::{Ending, Opened};
use crate::server::streaming::{Line, Streaming};

/// What a handler is called with.
#[inline]
pub(super) fn request(
    link: &Arc<Link>,
    call: u64,
    headers: Headers,
    only: Option<Bytes>,
    context: &plane_core::Context,
) -> Request {
    let body = match only {
        Some(message) => message.into(),
        None => Body::from_messages(Incoming::new(link.clone(), call)),
    };
    let mut request = Request::new(context.endpoint().clone(), body);
    request.instance = Some(context.instance());
    request.headers = headers;
    request.deadline = context.deadline();
    request
}

/// Drops what belongs to the application, whose destructors may panic.
pub(super) fn discard<T>(value: T) {
    if let Err(status) = contain_panic(|| drop(value)) {
        tracing::error!(%status, "a handler panicked while it was dropped");
    }
}

/// The work for one call, from its handler's start to the last message.
pub(super) struct Answering {
    pub(super) line: Line,
    pub(super) accept_notice: Duration,
    /// Told how long the first poll in a task of its own took.
    pub(super) pace: Option<Pace>,
    /// `None` while it waits in the queue, and after the end.
    pub(super) admitted: Option<Admitted>,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    /// Others have their turn first.
    Queued(BoxFuture<'static, Admitted>, Box<(Request, plane_core::Context)>),
    Start(Box<(Request, plane_core::Context)>),
    Handler(BoxFuture<'static, Result<Response, Status>>),
    Streaming(Streaming),
    Done,
}

impl Answering {
    /// The work for a call whose handler is started in a task of its own, or waits for its turn; none if the call is over.
    pub(super) fn new(link: Arc<Link>, opened: Opened, accept_notice: Duration) -> Option<Self> {
        let Opened { call, mut admitted, headers, only, context } = opened;
        let canceller = link.peek(|connection| connection.canceller(call))?;
        let request = request(&link, call, headers, only, &context);
        let on_probation = !admitted.pace().is_quick();
        let pace = on_probation.then(|| admitted.pace().clone());
        let parts = Box::new((request, context));
        let (admitted, stage) = if admitted.is_running() {
            (Some(admitted), Stage::Start(parts))
        } else {
            let turn = Box::pin(async move {
                admitted.turn().await;
                admitted
            });
            (None, Stage::Queued(turn, parts))
        };
        Some(Self { line: Line { link, call, canceller }, accept_notice, pace, admitted, stage })
    }

    /// Lets the caller know, unless it is answered before, that its handler was started.
    pub(super) fn announce(&self) {
        if self.admitted.is_some() {
            let at = now() + self.accept_notice;
            self.line.link.with(|connection| connection.notice_at(self.line.call, at));
        }
    }

    pub(super) fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // A stream stays where it is: it is polled for each of its messages.
            if let Stage::Streaming(streaming) = &mut self.stage {
                let ended = ready!(streaming.poll(&self.line, cx));
                discard(std::mem::replace(&mut self.stage, Stage::Done));
                self.end_stream(ended);
            }
            match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Queued(turn, parts) => ready!(self.poll_queued(turn, parts, cx)),
                Stage::Start(parts) => {
                    let (request, context) = *parts;
                    self.start(request, context);
                }
                Stage::Handler(handler) => ready!(self.poll_handler(handler, cx)),
                streaming @ Stage::Streaming(_) => self.stage = streaming,
                Stage::Done => return Poll::Ready(()),
            }
        }
    }

    fn poll_queued(
        &mut self,
        mut turn: BoxFuture<'static, Admitted>,
        parts: Box<(Request, plane_core::Context)>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let late = parts.0.deadline.is_some_and(|deadline| deadline <= now());
        match self.line.canceller.poll(cx, |cx| turn.as_mut().poll(cx)) {
            Poll::Pending => {
                self.stage = Stage::Queued(turn, parts);
                return Poll::Pending;
            }
            Poll::Ready(Ok(admitted)) if late || self.line.canceller.abort_reason().is_some() => {
                self.admitted = Some(admitted);
                self.refuse(AbortReason::DeadlineExceeded.status());
            }
            Poll::Ready(Ok(admitted)) => {
                self.admitted = Some(admitted);
                self.announce();
                self.stage = Stage::Start(parts);
            }
            Poll::Ready(Err(status)) => self.refuse(status),
        }
        Poll::Ready(())
    }

    fn start(&mut self, request: Request, context: plane_core::Context) {
        let Some(admitted) = &self.admitted else { return };
        let handler = admitted.handler();
        match contain_panic(|| handler.call(request, context)) {
            Ok(running) => self.stage = Stage::Handler(running),
            Err(status) => self.fail(status),
        }
    }

    fn poll_handler(
        &mut self,
        mut handler: BoxFuture<'static, Result<Response, Status>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Poll::Ready(answered) = self.line.canceller.poll(cx, |cx| handler.as_mut().poll(cx)) else {
            self.stage = Stage::Handler(handler);
            return Poll::Pending;
        };
        discard(handler);
        self.conclude(answered.and_then(|answered| answered));
        Poll::Ready(())
    }

    /// The handler has ended, perhaps with a stream.
    pub(super) fn conclude(&mut self, answered: Result<Response, Status>) {
        match answered {
            Ok(response) => self.answer(response),
            Err(status) => self.fail(status),
        }
    }

    fn answer(&mut self, response: Response) {
        let Response { headers, body } = response;
        if !headers.is_empty()
            && let Err(status) = self.line.check(&headers)
        {
            return self.fail(status);
        }
        match body.into_one() {
            Ok(message) => {
                let sent = self.line.link.with(|connection| {
                    if !headers.is_empty() {
                        connection.begin(self.line.call, &headers);
                    }
                    connection.send(self.line.call, message, true)
                });
                match sent {
                    Ok(()) => self.count(Outcome::Completed),
                    Err(error) => self.fail(error.status()),
                }
            }
            Err(body) => {
                self.stage = Stage::Streaming(Streaming::new(headers, body));
            }
        }
    }

    fn end_stream(&mut self, ended: Result<Option<Headers>, Status>) {
        match ended {
            Ok(trailers) => {
                let ending = Ending { trailers, ..Ending::orderly() };
                self.line.link.with(|connection| connection.finish(self.line.call, ending));
                self.count(Outcome::Completed);
            }
            Err(status) => self.fail(status),
        }
    }

    /// No handler was started.
    fn refuse(&mut self, status: Status) {
        let ending = Ending { status: Some(status), trailers: None, not_executed: true };
        self.line.link.with(|connection| connection.finish(self.line.call, ending));
        self.count(Outcome::Cancelled);
    }

    fn fail(&mut self, status: Status) {
        let outcome = self.line.canceller.abort_reason().map_or_else(|| Outcome::of(&status), |_| Outcome::Cancelled);
        self.line.link.with(|connection| connection.finish(self.line.call, Ending::failed(status)));
        self.count(outcome);
    }

    fn count(&mut self, outcome: Outcome) {
        if let Some(admitted) = self.admitted.take() {
            admitted.finish(outcome);
        }
    }
}

impl Future for Answering {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pace) = self.pace.take().filter(|_| matches!(self.stage, Stage::Start(_))) else {
            return self.poll_stage(cx);
        };
        let began = Instant::now();
        let polled = self.poll_stage(cx);
        pace.note(began.elapsed());
        polled
    }
}

/// A task that ends early, by the runtime's shutdown, still tells its caller that nothing more comes.
impl Drop for Answering {
    fn drop(&mut self) {
        if !matches!(self.stage, Stage::Done) {
            let status = Status::unavailable("the server shut down before the handler finished");
            self.line.link.with(|connection| connection.finish(self.line.call, Ending::failed(status)));
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
