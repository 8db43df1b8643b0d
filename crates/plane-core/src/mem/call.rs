//! One call, from its turn to the end of its answer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::Sleep;

use super::request_body::{Fault, RequestBody, too_large};
use super::running::{Entry, Running};
use crate::body::{Body, MessageStream};
use crate::context::{AbortReason, CallInfo, Canceller, Context, contain_panic};
use crate::endpoints::{Admitted, Outcome};
use crate::error::{Delivery, Error, ErrorKind};
use crate::handler::BoxFuture;
use crate::headers::{HeaderLimits, Headers, check_headers};
use crate::ledger::CallCount;
use crate::message::{Request, Response};
use crate::peer::Peer;
use crate::status::{Code, Status};

/// What both sides agree to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) max_message: usize,
    pub(super) headers: HeaderLimits,
    pub(super) request_timeout: Duration,
}

/// One call. Its caller polls it: first as the future of the answer, then as the body of a streamed answer.
pub(super) struct Call {
    canceller: Canceller,
    context: Context,
    work: Work,
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    fault: Fault,
    terms: Terms,
    trailers: Option<Headers>,
    /// Present until the call has ended.
    books: Option<Books>,
}

enum Work {
    Waiting(Request),
    Handler(BoxFuture<'static, Result<Response, Status>>),
    Body(Body),
    Ended,
}

/// Where the call is counted.
struct Books {
    admitted: Admitted,
    count: CallCount,
    entries: Option<[Entry; 2]>,
}

impl Call {
    pub(super) fn new(request: Request, peer: Arc<Peer>, terms: Terms, admitted: Admitted, count: CallCount) -> Self {
        let deadline = request.deadline;
        let (context, canceller) = Context::new(CallInfo {
            endpoint: admitted.instance().endpoint.clone(),
            instance: admitted.instance().id,
            peer,
            deadline,
        });
        Self {
            fault: Fault::of(&canceller),
            canceller,
            context,
            work: Work::Waiting(request),
            deadline,
            timer: None,
            terms,
            trailers: None,
            books: Some(Books { admitted, count, entries: None }),
        }
    }

    /// Waits for the call's turn and runs its handler until it answers.
    pub(super) async fn run(mut self, tables: [&Running; 2]) -> Result<Response, Error> {
        if let Some(books) = &mut self.books {
            books.entries = Some(tables.map(|table| table.enter(&self.canceller)));
        }
        if let Err(error) = self.take_turn().await {
            self.end(Outcome::Failed, Outcome::Cancelled);
            return Err(error);
        }
        self.start()?;
        match poll_fn(|cx| self.poll_handler(cx)).await {
            Ok(response) => self.answer(response),
            Err(error) => Err(error),
        }
    }

    async fn take_turn(&mut self) -> Result<(), Error> {
        let Some(books) = self.books.as_mut().filter(|books| !books.admitted.is_running()) else { return Ok(()) };
        let accepted_by = tokio::time::Instant::now().into_std().checked_add(self.terms.request_timeout);
        let until = accepted_by.into_iter().chain(self.deadline).min();
        let canceller = &self.canceller;
        let taken = {
            let mut turn = pin!(books.admitted.turn());
            let turn = poll_fn(|cx| canceller.poll(cx, |cx| turn.as_mut().poll(cx)));
            match until {
                Some(until) => tokio::time::timeout_at(until.into(), turn).await,
                None => Ok(turn.await),
            }
        };
        match taken {
            Ok(Ok(())) if self.is_expired() => Err(expired_in_queue(self.terms.request_timeout)),
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => Err(Error::from_status(status, Delivery::NotExecuted)),
            Err(_) => Err(expired_in_queue(self.terms.request_timeout)),
        }
    }

    fn is_expired(&self) -> bool {
        // Tokio's clock, so that virtual time works in tests.
        self.deadline.is_some_and(|deadline| deadline <= tokio::time::Instant::now().into_std())
    }

    fn start(&mut self) -> Result<(), Error> {
        let (Some(books), Work::Waiting(mut request)) = (&self.books, std::mem::replace(&mut self.work, Work::Ended))
        else {
            return Ok(());
        };
        self.timer = self.deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline.into())));
        request.body = RequestBody::watch(request.body, self.terms.max_message, &self.fault);
        let handler = books.admitted.handler().clone();
        let context = self.context.clone();
        match contain_panic(|| handler.call(request, context)) {
            Ok(running) => self.work = Work::Handler(running),
            Err(status) => return Err(self.fail(status)),
        }
        Ok(())
    }

    fn poll_handler(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<Response, Error>> {
        let answered = self.poll_work(cx, |work, cx| match work {
            Work::Handler(handler) => handler.as_mut().poll(cx),
            _ => Poll::Pending,
        });
        answered.map(|answered| answered?.map_err(|status| self.fail(status)))
    }

    /// Polls application code once, and ends the call if it may not go on.
    fn poll_work<T>(
        &mut self,
        cx: &mut task::Context<'_>,
        poll: impl FnOnce(&mut Work, &mut task::Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, Error>> {
        if self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
            self.canceller.abort(AbortReason::DeadlineExceeded);
        }
        let work = &mut self.work;
        let polled = self.canceller.poll(cx, |cx| poll(work, cx));
        // What the handler made of its last poll comes too late: it may be the answer to its own abort.
        if let Some(reason) = self.canceller.abort_reason() {
            let error = self.fault.take().unwrap_or_else(|| aborted(reason));
            self.end(Outcome::Failed, Outcome::Cancelled);
            return Poll::Ready(Err(error));
        }
        polled.map(|polled| polled.map_err(|panicked| self.fail(panicked)))
    }

    /// Hands the answer over; a stream goes on as the body of the response.
    fn answer(mut self, response: Response) -> Result<Response, Error> {
        let Response { headers, body } = response;
        self.check_answer_headers(&headers)?;
        let body = match body.into_one() {
            Ok(message) => {
                self.check_answer(&message)?;
                self.end(Outcome::Completed, Outcome::Completed);
                message.into()
            }
            Err(empty) if empty.is_empty() => {
                self.end(Outcome::Completed, Outcome::Completed);
                empty
            }
            Err(stream) => {
                // The handler's future is gone from here on; what it left behind is its body.
                self.work = Work::Body(stream);
                Body::from_messages(self)
            }
        };
        Ok(Response { headers, body })
    }

    fn check_answer_headers(&mut self, headers: &Headers) -> Result<(), Error> {
        check_headers(headers, self.terms.headers).map_err(|error| {
            // Not INVALID_ARGUMENT: the caller's request is not to blame.
            let code = if error.is_limit() { Code::HEADERS_TOO_LARGE } else { Code::INTERNAL };
            self.fail(Status::new(code, format!("the answer cannot be sent: {error}")))
        })
    }

    fn check_answer(&mut self, message: &Bytes) -> Result<(), Error> {
        if message.len() <= self.terms.max_message {
            return Ok(());
        }
        Err(self.fail(Status::from(too_large(message.len(), self.terms.max_message))))
    }

    /// Ends the call with what the handler, or the server for it, answers.
    fn fail(&mut self, status: Status) -> Error {
        self.end(Outcome::Failed, Outcome::of(&status));
        Error::from_status(status, Delivery::Executed)
    }

    /// Drops the work, then takes the call off the books, so that a drain ends after the last handler.
    fn end(&mut self, client: Outcome, server: Outcome) {
        let work = std::mem::replace(&mut self.work, Work::Ended);
        // Dropping a handler runs application code as well. Its panic is logged there and changes no outcome.
        let _ = contain_panic(|| drop(work));
        self.timer = None;
        if let Some(Books { admitted, count, entries }) = self.books.take() {
            admitted.finish(server);
            count.finish(client);
            drop(entries);
        }
    }
}

impl MessageStream for Call {
    fn poll_message(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if !matches!(self.work, Work::Body(_)) {
            return Poll::Ready(None);
        }
        let polled = self.poll_work(cx, |work, cx| match work {
            Work::Body(body) => body.poll_message(cx).map(|item| match item {
                None => Item::End(body.trailers()),
                Some(item) => Item::Message(item),
            }),
            _ => Poll::Ready(Item::End(None)),
        });
        let Poll::Ready(item) = polled else { return Poll::Pending };
        Poll::Ready(match item {
            Err(error) => Some(Err(error)),
            Ok(Item::Message(Ok(message))) => Some(self.check_answer(&message).map(|()| message)),
            Ok(Item::Message(Err(error))) => Some(Err(self.fail(error.into()))),
            Ok(Item::End(trailers)) => self.finish(trailers).map_or_else(|error| Some(Err(error)), |()| None),
        })
    }

    fn stop(mut self: Pin<&mut Self>) {
        self.canceller.stop();
        let canceller = self.canceller.clone();
        if let Work::Body(body) = &mut self.work
            && contain_panic(|| body.stop()).is_err()
        {
            canceller.abort(AbortReason::Cancelled);
        }
    }

    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }
}

/// What the handler's body gave.
enum Item {
    Message(Result<Bytes, Error>),
    End(Option<Headers>),
}

impl Call {
    fn finish(&mut self, trailers: Option<Headers>) -> Result<(), Error> {
        if let Some(trailers) = &trailers {
            self.check_answer_headers(trailers)?;
        }
        self.end(Outcome::Completed, Outcome::Completed);
        self.trailers = trailers;
        Ok(())
    }
}

/// The caller went away. The handler sees the abort in one last poll, then it is dropped.
impl Drop for Call {
    fn drop(&mut self) {
        if self.books.is_none() {
            return;
        }
        self.canceller.abort(AbortReason::Cancelled);
        let mut cx = task::Context::from_waker(task::Waker::noop());
        let work = &mut self.work;
        let last = self.canceller.poll(&mut cx, |cx| match work {
            Work::Handler(handler) => handler.as_mut().poll(cx).map(|_| false),
            Work::Body(body) => body.poll_message(cx).map(|item| item.is_none()),
            Work::Waiting(_) | Work::Ended => Poll::Pending,
        });
        // A caller that knows how many messages there are may not wait for the end after the last one.
        let complete = matches!(last, Poll::Ready(Ok(true)));
        self.end(Outcome::Cancelled, if complete { Outcome::Completed } else { Outcome::Cancelled });
    }
}

fn expired_in_queue(request_timeout: Duration) -> Error {
    let what = format!(
        "the call waited for its turn until its deadline or the time to be accepted passed \
         (MemConfig::request_timeout, {request_timeout:?}); its handler was not started"
    );
    Error::new(ErrorKind::DeadlineExceeded, Delivery::NotExecuted, what)
}

/// What the caller sees of an abort that it did not cause by going away.
fn aborted(reason: AbortReason) -> Error {
    match reason {
        AbortReason::Shutdown => Error::from_status(reason.status(), Delivery::Executed),
        AbortReason::Cancelled => {
            Error::new(ErrorKind::Cancelled, Delivery::Unknown, "the client was closed before the call ended")
        }
        AbortReason::DeadlineExceeded | AbortReason::Disconnected => {
            let status = reason.status();
            Error::new(ErrorKind::from(status.code()), Delivery::Unknown, status.message().to_owned())
        }
    }
}
