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
use crate::server::streaming::Line;

/// Polls each handler once in the connection's own task, so that an answer that is ready leaves with its neighbours
/// and costs no task. One that is pending, or has been slow before, runs in a task of its own.
#[derive(Debug)]
pub(crate) struct Handlers {
    accept_notice: Duration,
    /// Answers of one message, from handlers that were ready at once, and the calls that they end.
    answers: Vec<(u64, Bytes)>,
    answered: Vec<Admitted>,
    /// Whose handlers were polled, each once, and how many were.
    paces: Vec<Pace>,
    polled: u32,
}

impl Start for Handlers {
    const SERVES: bool = true;

    fn start(&mut self, link: &Arc<Link>, opened: &mut Vec<Opened>, cx: &mut Context<'_>) {
        let began = Instant::now();
        for opened in opened.drain(..) {
            let answering = if opened.admitted.is_running() && opened.admitted.pace().is_quick() {
                self.note(opened.admitted.pace());
                self.poll_once(link, opened, cx)
            } else {
                Answering::new(link.clone(), opened, self.accept_notice)
            };
            if let Some(answering) = answering {
                answering.announce();
                tokio::spawn(answering);
            }
        }
        self.send(link);
        self.judge(began);
    }

    fn rest(&mut self) {
        *self = Self::new(self.accept_notice);
    }
}

impl Handlers {
    pub(crate) fn new(accept_notice: Duration) -> Self {
        Self { accept_notice, answers: Vec::new(), answered: Vec::new(), paces: Vec::new(), polled: 0 }
    }

    /// Starts a handler that is trusted and polls it, with as little around it as can be: most answers are ready then.
    /// Gives what is left to do.
    fn poll_once(&mut self, link: &Arc<Link>, opened: Opened, cx: &mut Context<'_>) -> Option<Answering> {
        let Opened { call, admitted, headers, only, context } = opened;
        let request = request(link, call, headers, only, &context);
        let mut running = None;
        let mut polled = Poll::Pending;
        // What is made goes where it is needed, and not through the results of what makes it. The future stays outside: its
        // destructor may panic as well.
        let contained = contain_panic(|| {
            let running = running.insert(admitted.handler().call(request, context));
            polled = running.as_mut().poll(cx);
        });
        let answer = match (contained, polled) {
            (Err(status), _) => Some(Err(status)),
            (Ok(()), Poll::Ready(answer)) => Some(answer),
            (Ok(()), Poll::Pending) => None,
        };
        let stage = match running {
            Some(running) if answer.is_none() => Stage::Handler(running),
            running => {
                discard(running);
                Stage::Done
            }
        };
        let answer = match answer {
            Some(Ok(Response { headers, body })) if headers.is_empty() => match body.into_one() {
                Ok(message) => {
                    self.answers.push((call, message));
                    self.answered.push(admitted);
                    return None;
                }
                Err(body) => Some(Ok(Response { headers, body })),
            },
            answer => answer,
        };
        let Some(canceller) = link.peek(|connection| connection.canceller(call)) else {
            // The call is over, so nobody hears of the rest.
            discard((stage, answer));
            return None;
        };
        let accept_notice = self.accept_notice;
        let admitted = Some(admitted);
        let line = Line { link: link.clone(), call, canceller };
        let mut answering = Answering { line, accept_notice, pace: None, admitted, stage };
        if let Some(answer) = answer {
            answering.conclude(answer);
            if answering.poll_stage(cx).is_ready() {
                return None;
            }
        }
        Some(answering)
    }

    /// Sends what the handlers of one read answered, at one go.
    fn send(&mut self, link: &Link) {
        let Self { answers, answered, .. } = self;
        if answers.is_empty() {
            return;
        }
        link.with(|connection| {
            for ((call, message), admitted) in answers.drain(..).zip(&mut *answered) {
                let outcome = match connection.send(call, message, true) {
                    Ok(()) => Outcome::Completed,
                    Err(error) => {
                        let status = error.status();
                        let outcome = Outcome::of(&status);
                        connection.finish(call, Ending::failed(status));
                        outcome
                    }
                };
                admitted.conclude(outcome);
            }
        });
        Admitted::finish_all(answered);
    }

    fn note(&mut self, pace: &Pace) {
        self.polled += 1;
        if !self.paces.iter().any(|known| known.is_same(pace)) {
            self.paces.push(pace.clone());
        }
    }

    /// Handlers that one read started are timed together: the clock is read twice for all. One that is slow holds its
    /// neighbours up, and all of them are on probation again until it is known which.
    fn judge(&mut self, began: Instant) {
        let polled = std::mem::take(&mut self.polled);
        if polled > 0 {
            let took = began.elapsed() / polled.div_ceil(16);
            self.paces.drain(..).for_each(|pace| pace.note(took));
        }
    }
}
