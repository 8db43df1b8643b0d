//! An answer of many messages on its way from its handler to the caller.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use plane_core::{Body, Canceller, Code, Headers, Status, check_headers, contain_panic};

use crate::link::Link;
use crate::proto::SendError;

/// Messages of a stream that are sent before others have their turn.
const ITEMS_A_TURN: usize = 64;

/// Messages that are ready at the same moment are sent together, up to so many, because the connection is locked for it.
const TOGETHER: usize = 16;

/// So many bytes are enough to send: what a handler made and the connection has no room for yet is to stay small.
const ENOUGH: usize = 4 * 1024;

/// The caller of one call, as those who answer it see it.
pub(super) struct Line {
    pub(super) link: Arc<Link>,
    pub(super) call: u64,
    pub(super) canceller: Canceller,
}

impl Line {
    /// What a handler answers with must pass the same checks as what a caller sends.
    pub(super) fn check(&self, headers: &Headers) -> Result<(), Status> {
        let limits = self.link.peek(|connection| connection.settings.headers);
        check_headers(headers, limits).map_err(|error| {
            let code = if error.is_limit() { Code::HEADERS_TOO_LARGE } else { Code::INTERNAL };
            Status::new(code, format!("the handler's answer: {error}"))
        })
    }
}

/// A body that is being sent.
pub(super) struct Streaming {
    headers: Headers,
    body: Body,
    /// The far side knows that the answer has begun.
    begun: bool,
    /// Messages that were taken from the body and not yet sent: the next, and those behind it.
    held: Option<Bytes>,
    behind: VecDeque<Bytes>,
    /// How the body ended behind them.
    ended: Option<Result<(), Status>>,
    /// The caller asked for an early end, and the body knows.
    stopped: bool,
}

impl Streaming {
    pub(super) fn new(headers: Headers, body: Body) -> Self {
        Self { headers, body, begun: false, held: None, behind: VecDeque::new(), ended: None, stopped: false }
    }

    /// Sends what is ready. Gives the trailers once all of it is sent.
    pub(super) fn poll(&mut self, line: &Line, cx: &mut Context<'_>) -> Poll<Result<Option<Headers>, Status>> {
        if !self.stopped && line.canceller.is_stopped() {
            self.stopped = true;
            contain_panic(|| self.body.stop())?;
        }
        for _ in 0..ITEMS_A_TURN / TOGETHER {
            let more = if self.held.is_none() { self.poll_fill(line, cx) } else { Poll::Ready(()) };
            if self.held.is_some() {
                ready!(self.poll_held(line, cx))?;
            }
            if let Some(ended) = self.ended.take() {
                return Poll::Ready(ended.and_then(|()| self.trailers(line)));
            }
            if more.is_pending() {
                self.begin(line);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes messages that are ready from the body, or its end. Pending means that it has no more for now.
    fn poll_fill(&mut self, line: &Line, cx: &mut Context<'_>) -> Poll<()> {
        let filled = ready!(line.canceller.poll(cx, |cx| self.fill(cx)));
        if let Err(status) = filled {
            // What came before it is sent all the same.
            self.ended = Some(Err(status));
        }
        Poll::Ready(())
    }

    /// What is the application's of that.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = 0;
        while self.behind.len() < TOGETHER - 1 && bytes < ENOUGH {
            match ready!(self.body.poll_message(cx)) {
                Some(Ok(message)) => {
                    bytes += message.len();
                    if self.held.is_none() {
                        self.held = Some(message);
                    } else {
                        self.behind.push_back(message);
                    }
                }
                Some(Err(error)) => self.ended = Some(Err(error.into())),
                None => self.ended = Some(Ok(())),
            }
            if self.ended.is_some() {
                break;
            }
        }
        Poll::Ready(())
    }

    /// Sends the messages that wait. An abort reaches a handler that is blocked here as well.
    fn poll_held(&mut self, line: &Line, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if !self.headers.is_empty() {
            self.begin(line);
        }
        let Self { held, behind, .. } = self;
        let sent = line.link.with(|connection| {
            while held.is_some() {
                ready!(connection.poll_send(line.call, held, cx))?;
                if let Some(next) = behind.pop_front() {
                    *held = Some(next);
                }
            }
            Poll::Ready(Ok::<_, SendError>(()))
        });
        match sent {
            Poll::Ready(Ok(())) => {
                self.begun = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.status())),
            Poll::Pending => line.canceller.poll(cx, |_| Poll::Pending),
        }
    }

    /// Tells the caller that the answer has begun, with its headers, while the first message takes its time.
    fn begin(&mut self, line: &Line) {
        if !std::mem::replace(&mut self.begun, true) {
            line.link.with(|connection| connection.begin(line.call, &self.headers));
        }
    }

    fn trailers(&mut self, line: &Line) -> Result<Option<Headers>, Status> {
        if !self.headers.is_empty() {
            self.begin(line);
        }
        let trailers = contain_panic(|| self.body.trailers())?.filter(|trailers| !trailers.is_empty());
        if let Some(trailers) = &trailers {
            line.check(trailers)?;
        }
        Ok(trailers)
    }
}
