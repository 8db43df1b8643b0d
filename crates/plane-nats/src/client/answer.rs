//! The caller's end of a call: it waits for the answer, reads it, and aborts the call when it is dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plane_core::{Body, CallCount, Code, Delivery, Error, ErrorKind, Headers, MessageStream, Outcome, Response};
use tokio::task::AbortHandle;
use tokio::time::Sleep;

use super::call::{Begun, Call, Next};
use super::inbox::Inbox;
use super::routes::Routes;
use crate::controls::Controls;

/// What calls of one client share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) routes: Routes,
    pub(super) inbox: Inbox,
    pub(super) controls: Controls,
    pub(super) request_timeout: Duration,
    /// How long a call that was accepted may be silent.
    pub(super) keepalive: Duration,
}

impl Shared {
    /// Gives up the calls of which nothing was heard for too long, for ever.
    pub(super) async fn end_silent(&self) {
        let patience = self.request_timeout.min(self.keepalive);
        let every = (patience / 16).clamp(Duration::from_millis(5), Duration::from_millis(250));
        loop {
            self.routes.wait_until_used().await;
            tokio::time::sleep(every).await;
            // A caller that read for itself may have stopped doing so; what came since is heard before its time is over.
            self.inbox.give_back(&self.routes);
            let now = Instant::now();
            for call in self.routes.all() {
                let (until, accepted) = call.silent_until(self.request_timeout, self.keepalive);
                if until <= now {
                    let (kind, what) = self.silence(accepted);
                    self.give_up(&call, Code::CANCELLED, kind, what);
                }
            }
        }
    }

    fn silence(&self, accepted: bool) -> (ErrorKind, String) {
        if accepted {
            let limit = self.keepalive;
            (ErrorKind::Disconnected, format!("the server has not said for {limit:?} that the call goes on"))
        } else {
            let limit = self.request_timeout;
            let what = format!("no server accepted the call within {limit:?} (DYN_NATS_REQUEST_TIMEOUT)");
            (ErrorKind::DeadlineExceeded, what)
        }
    }

    fn give_up(&self, call: &Call, code: Code, kind: ErrorKind, what: String) {
        if call.fail(Error::new(kind, call.delivery(), what)) {
            self.tell_server(call, code);
        }
    }

    /// Aborts the handler. If it is not known yet who answers, the next reply of the call tells, and then it is done.
    fn tell_server(&self, call: &Call, code: Code) {
        if let Some(control) = call.control() {
            self.controls.abort(&control, code);
        }
    }
}

/// The caller's end of a call.
#[derive(Debug)]
pub(super) struct Answer {
    shared: Arc<Shared>,
    call: Arc<Call>,
    /// While the answer has not begun and no other call is in flight.
    reads_inbox: bool,
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What sends the request's messages.
    upload: Option<AbortHandle>,
    trailers: Option<Headers>,
    /// Present until the call has ended.
    count: Option<CallCount>,
}

impl Answer {
    pub(super) fn new(shared: Arc<Shared>, call: Arc<Call>, deadline: Option<Instant>, count: CallCount) -> Self {
        Self {
            shared,
            call,
            reads_inbox: false,
            deadline,
            timer: None,
            upload: None,
            trailers: None,
            count: Some(count),
        }
    }

    pub(super) fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// Its caller does nothing but wait for it, so it can read the inbox while it is the only one.
    pub(super) fn reads_inbox(&mut self) {
        self.reads_inbox = true;
    }

    pub(super) fn uploads_with(&mut self, upload: AbortHandle) {
        self.upload = Some(upload);
    }

    /// The call ends before anything of it was sent.
    pub(super) fn not_sent(mut self, error: Error) -> Error {
        self.end(Outcome::Failed);
        error
    }

    /// Waits until the answer begins.
    pub(super) async fn begin(mut self) -> Result<Response, Error> {
        let begun = std::future::poll_fn(|cx| self.poll_begin(cx)).await;
        if !matches!(begun, Ok(Begun::Whole(_))) {
            self.leave_inbox();
        }
        match begun {
            Ok(Begun::Whole(response)) => {
                self.end(Outcome::Completed);
                Ok(response)
            }
            Ok(Begun::Stream(headers)) => Ok(Response { headers, body: Body::from_messages(self) }),
            Err(error) => {
                self.end(Outcome::Failed);
                Err(error)
            }
        }
    }

    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<Begun, Error>> {
        if self.reads_inbox {
            // Else its own answer would wake the task that runs already, and a second thread to run it once more.
            self.call.stop_waiting();
            self.shared.inbox.poll_alone(cx, &self.shared.routes, &self.shared.controls);
        }
        if let Poll::Ready(begun) = self.call.poll_begin(cx) {
            return Poll::Ready(begun);
        }
        if self.poll_expired(cx).is_ready() {
            return self.call.poll_begin(cx);
        }
        Poll::Pending
    }

    /// Gives the call up if its time is over. Silence is noticed elsewhere, for all calls together.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        std::task::ready!(timer.as_mut().poll(cx));
        let what = "the deadline of the call passed";
        self.shared.give_up(&self.call, Code::DEADLINE_EXCEEDED, ErrorKind::DeadlineExceeded, what.to_owned());
        Poll::Ready(())
    }

    /// The task reads what comes from now on.
    fn leave_inbox(&mut self) {
        if std::mem::take(&mut self.reads_inbox) {
            self.shared.inbox.give_back(&self.shared.routes);
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(upload) = self.upload.take() {
            upload.abort();
        }
        self.timer = None;
        if let Some(count) = self.count.take() {
            count.finish(outcome);
            self.shared.routes.remove(self.call.id);
        }
    }
}

impl MessageStream for Answer {
    fn poll_message(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if self.count.is_none() {
            return Poll::Ready(None);
        }
        let (mut next, credit) = self.call.poll_next(cx);
        if let Some((control, credit)) = credit {
            self.shared.controls.credit(&control, None, credit);
        }
        // A deadline that has passed ends a stream whose messages are ready as well.
        if self.poll_expired(cx).is_ready() && next.is_pending() {
            next = self.call.poll_next(cx).0;
        }
        Poll::Ready(match std::task::ready!(next) {
            Next::Message(message) => Some(Ok(message)),
            Next::End(trailers) => {
                self.trailers = trailers;
                self.end(Outcome::Completed);
                None
            }
            Next::Failed(error) => {
                self.end(Outcome::Failed);
                Some(Err(error))
            }
        })
    }

    fn stop(self: Pin<&mut Self>) {
        // Whoever streams an answer has said where it listens.
        if let (Some(control), true) = (self.call.control(), self.count.is_some()) {
            self.shared.controls.stop(&control);
        }
    }

    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }
}

/// The caller went away.
impl Drop for Answer {
    fn drop(&mut self) {
        if self.count.is_none() {
            return;
        }
        // What is late is to be aborted, and somebody has to hear it.
        self.leave_inbox();
        let gone = Error::new(ErrorKind::Cancelled, Delivery::Unknown, "the caller went away");
        if self.call.fail(gone) {
            self.shared.tell_server(&self.call, Code::CANCELLED);
        }
        let outcome = if self.call.is_complete() { Outcome::Completed } else { Outcome::Cancelled };
        self.end(outcome);
    }
}
