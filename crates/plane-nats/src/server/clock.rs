//! What keeps time for a call: its deadline, and when its caller is told that it goes on.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use plane_core::{AbortReason, Status};
use tokio::time::Sleep;

use super::call::Call;
use super::saying::{outbound, say};
use crate::connection::NatsConnection;
use crate::head;

/// What keeps time for a call.
pub(super) struct Clock {
    pub(super) deadline: Option<Pin<Box<Sleep>>>,
    /// When the caller is told next that the call goes on; `None` before the handler was started.
    pub(super) beat: Option<Pin<Box<Sleep>>>,
    /// When the caller was last told something.
    pub(super) said: Option<tokio::time::Instant>,
    pub(super) interval: Duration,
}

impl Clock {
    /// Something was said just now.
    pub(super) fn beat_later(&mut self) {
        self.said = Some(tokio::time::Instant::now());
    }

    /// Whether a beat is due now, or when it will be. A timer that is set anew for each message would cost more.
    fn is_due(&mut self) -> bool {
        let now = tokio::time::Instant::now();
        let next = self.said.map(|said| said + self.interval).filter(|next| *next > now);
        if let Some(beat) = &mut self.beat {
            beat.as_mut().reset(next.unwrap_or(now + self.interval));
        }
        next.is_none()
    }

    /// Waits for the next thing to do.
    async fn tick(&mut self) -> Tick {
        let Self { deadline, beat, .. } = self;
        tokio::select! {
            biased;
            () = or_never(deadline) => Tick::Deadline,
            () = or_never(beat) => Tick::Beat,
        }
    }
}

enum Tick {
    Deadline,
    Beat,
}

async fn or_never(sleep: &mut Option<Pin<Box<Sleep>>>) {
    match sleep {
        Some(sleep) => sleep.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Waits for work of the call, its application's code contained, and keeps time meanwhile.
pub(super) async fn attend<F: Future + ?Sized>(
    connection: &NatsConnection,
    call: &Call,
    clock: &mut Clock,
    mut work: Pin<&mut F>,
) -> Result<F::Output, Status> {
    loop {
        let polled = poll_fn(|cx| call.canceller.poll(cx, |cx| work.as_mut().poll(cx)));
        tokio::select! {
            biased;
            done = polled => return done,
            tick = clock.tick() => match tick {
                Tick::Deadline => {
                    clock.deadline = None;
                    call.canceller.abort(AbortReason::DeadlineExceeded);
                }
                Tick::Beat if !clock.is_due() => {}
                Tick::Beat => {
                    if say(connection, call, outbound(call, head::only(head::BEAT, 1), Bytes::new()), true).await.is_err() {
                        // The handler is told, rather than dropped without a word.
                        call.canceller.abort(AbortReason::Disconnected);
                    }
                }
            },
        }
    }
}
