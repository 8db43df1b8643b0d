//! Handlers that are ready when they are first polled: they are run where their calls were read.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plane_core::{Admitted, Outcome, Pace, Response, contain_panic};

use crate::driver::Start;
use crate::link::Link;
use crate::proto::{Ending, Opened};
use crate::server::answering::{Answering, Stage, discard, request};

/// Polls each handler once in the connection's own task, so that an answer that is ready leaves with its neighbours
/// and costs no task. One that is pending, or has been slow before, runs in a task of its own.
#[derive(Debug)]
pub(crate) struct Handlers {
    pub(crate) accept_notice: Duration,
}

impl Start for Handlers {
    fn start(&mut self, link: &Arc<Link>, opened: &mut Vec<Opened>, cx: &mut Context<'_>) {
        let mut inline = Inline::begin();
        let mut answered = Vec::new();
        for opened in opened.drain(..) {
            if opened.admitted.is_running() && opened.admitted.pace().is_quick() {
                inline.note(opened.admitted.pace());
                match self.poll_once(link, opened, cx) {
                    Polled::Answered(answer) => answered.push(answer),
                    Polled::Over => {}
                    Polled::Pending(answering) => spawn(*answering),
                }
            } else {
                spawn(Answering::new(link.clone(), opened, self.accept_notice));
            }
        }
        send(link, answered);
        inline.end();
    }
}

/// An answer of one message, from a handler that was ready at once.
struct Answered {
    call: u64,
    message: Bytes,
    admitted: Admitted,
    outcome: Outcome,
}

/// What came of polling a handler once.
enum Polled {
    Answered(Answered),
    /// It answered otherwise, and all of that is sent.
    Over,
    Pending(Box<Answering>),
}

fn spawn(answering: Answering) {
    answering.announce();
    tokio::spawn(answering);
}

/// Sends what the handlers of one read answered, at one go.
fn send(link: &Link, mut answered: Vec<Answered>) {
    if answered.is_empty() {
        return;
    }
    link.with(|connection| {
        for Answered { call, message, outcome, .. } in &mut answered {
            if let Err(error) = connection.send(*call, std::mem::take(message), true) {
                let status = error.status();
                *outcome = Outcome::of(&status);
                connection.finish(*call, Ending::failed(status));
            }
        }
    });
    for Answered { admitted, outcome, .. } in answered {
        admitted.finish(outcome);
    }
}

impl Handlers {
    /// Starts a handler that is trusted and polls it, with as little around it as can be: most answers are ready then.
    fn poll_once(&self, link: &Arc<Link>, opened: Opened, cx: &mut Context<'_>) -> Polled {
        let Opened { call, admitted, headers, only, context, canceller } = opened;
        let request = request(link, call, headers, only, &context);
        let handler = admitted.handler();
        let started = contain_panic(|| handler.call(request, context)).map(|mut running| {
            let polled = contain_panic(|| running.as_mut().poll(cx));
            (running, polled)
        });
        let (stage, answer) = match started {
            Ok((running, Ok(Poll::Pending))) => (Stage::Handler(running), None),
            Ok((running, Ok(Poll::Ready(answer)))) => {
                discard(running);
                (Stage::Done, Some(answer))
            }
            Ok((running, Err(status))) => {
                discard(running);
                (Stage::Done, Some(Err(status)))
            }
            Err(status) => (Stage::Done, Some(Err(status))),
        };
        let answer = match answer {
            Some(Ok(Response { headers, body })) if headers.is_empty() => match body.into_one() {
                Ok(message) => {
                    return Polled::Answered(Answered { call, message, admitted, outcome: Outcome::Completed });
                }
                Err(body) => Some(Ok(Response { headers, body })),
            },
            answer => answer,
        };
        let accept_notice = self.accept_notice;
        let admitted = Some(admitted);
        let mut answering =
            Answering { link: link.clone(), call, canceller, accept_notice, pace: None, admitted, stage };
        if let Some(answer) = answer {
            answering.conclude(answer);
            if answering.poll_stage(cx).is_ready() {
                return Polled::Over;
            }
        }
        Polled::Pending(Box::new(answering))
    }
}

/// The handlers that one read started in the connection's task, timed together: the clock is read twice for all.
struct Inline {
    began: Instant,
    paces: Vec<Pace>,
    handlers: u32,
}

impl Inline {
    fn begin() -> Self {
        Self { began: Instant::now(), paces: Vec::new(), handlers: 0 }
    }

    fn note(&mut self, pace: &Pace) {
        self.handlers += 1;
        if !self.paces.iter().any(|known| known.is_same(pace)) {
            self.paces.push(pace.clone());
        }
    }

    /// A handler that is slow holds its neighbours up, and all of them are on probation again until it is known which.
    fn end(self) {
        if self.handlers > 0 {
            let took = self.began.elapsed() / self.handlers.div_ceil(16);
            for pace in &self.paces {
                pace.note(took);
            }
        }
    }
}
