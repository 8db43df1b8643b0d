//! What time does with the calls of a connection.

use std::time::Instant;

use plane_core::frame::{encode_accept, encode_ping};
use plane_core::{AbortReason, Code, Delivery, Error, ErrorKind};

use crate::failure::Failure;
use crate::proto::call::Role;
use crate::proto::connection::Connection;

impl Connection {
    /// Bytes came.
    pub(crate) fn note_received(&mut self, now: Instant) {
        self.clock.last_received = now;
        self.clock.ping_sent = None;
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    pub(crate) fn next_timeout(&self) -> Instant {
        let keepalive = match self.clock.ping_sent {
            Some(sent) => sent + self.settings.keepalive_timeout,
            None => self.clock.last_received + self.settings.keepalive_interval,
        };
        let idle = self.clock.idle_since.map(|since| since + self.settings.idle_timeout);
        let word = (self.in_flight > 0).then_some(self.clock.next_word);
        [Some(keepalive), self.clock.next_due, idle, word].into_iter().flatten().min().unwrap_or(keepalive)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; remembers it, so that only an earlier due time wakes
    /// the driver.
    pub(crate) fn arm_timer(&mut self) -> Instant {
        let next = self.next_timeout();
        self.clock.armed = Some(next);
        next
    }

    /// Whether something is due before the timer was armed for.
    pub(crate) fn needs_timer(&self) -> bool {
        match (self.clock.armed, self.clock.next_due) {
            (Some(armed), Some(due)) => due < armed,
            _ => false,
        }
    }

    /// Does what is due.
    ///
    /// # Errors
    /// The other side is dead, or the connection was idle for long enough.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Failure> {
        self.check_peer(now)?;
        self.check_word(now);
        self.check_idle(now)?;
        self.handle_due(now);
        self.reassembly.rest();
        self.contexts.rest();
        self.calls.rest();
        self.wake.shrink_to_fit();
        Ok(())
    }

    /// Does what is due for calls.
    pub(crate) fn handle_due(&mut self, now: Instant) {
        if self.clock.next_due.is_some_and(|due| due <= now) {
            self.handle_due_calls(now);
        }
    }

    fn check_peer(&mut self, now: Instant) -> Result<(), Failure> {
        let quiet = now.saturating_duration_since(self.clock.last_received);
        match self.clock.ping_sent {
            Some(sent) if now >= sent + self.settings.keepalive_timeout => {
                let what = format!("{} did not answer a ping within {:?}", self.peer.address, now - sent);
                Err(Failure::new(ErrorKind::Disconnected, what))
            }
            None if quiet >= self.settings.keepalive_interval => {
                self.ping(now);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A side that only listens says something now and then: what the other side asks may be stuck behind all that it
    /// sends, and it must not take this side for dead meanwhile.
    fn check_word(&mut self, now: Instant) {
        if self.in_flight == 0 || now < self.clock.next_word {
            return;
        }
        let interval = self.settings.keepalive_interval / 2;
        let hears = now.saturating_duration_since(self.clock.last_received) < interval;
        if hears && !self.clock.said {
            encode_ping(self.outbox.control(), *b"keepaliv");
        }
        self.clock.said = false;
        self.clock.next_word = now + interval;
    }

    /// Nothing has come since the other side closed its half, and nothing can: it may still read its answers, but it
    /// cannot answer a ping any more. Each ping finds out whether its host still knows the connection.
    ///
    /// # Errors
    /// A peer that gives no sign of life is given up in the same time as any other.
    pub(crate) fn handle_half_closed(&mut self, now: Instant, since: Instant) -> Result<(), Failure> {
        if now >= since + self.settings.keepalive_interval + self.settings.keepalive_timeout {
            let what = format!("{} closed its half of the connection and gave no sign of life", self.peer.address);
            return Err(Failure::new(ErrorKind::Disconnected, what));
        }
        self.ping(now);
        self.handle_due(now);
        Ok(())
    }

    /// Asks for a sign of life now.
    pub(crate) fn ping(&mut self, now: Instant) {
        self.clock.ping_sent = Some(now);
        encode_ping(self.outbox.control(), *b"keepaliv");
    }

    fn check_idle(&mut self, now: Instant) -> Result<(), Failure> {
        if self.in_flight > 0 {
            self.clock.idle_since = None;
            return Ok(());
        }
        let since = *self.clock.idle_since.get_or_insert(now);
        if now < since + self.settings.idle_timeout {
            return Ok(());
        }
        let text = format!("the connection was idle for {:?}", self.settings.idle_timeout);
        Err(Failure { tell: Some(Code::OK), ..Failure::new(ErrorKind::Unavailable, text) })
    }

    /// One pass over the table whenever the earliest known due time comes; between passes a call costs no timer.
    fn handle_due_calls(&mut self, now: Instant) {
        let due: Vec<u64> =
            self.calls.iter().filter(|(_, call)| call.due().is_some_and(|due| due <= now)).map(|(id, _)| *id).collect();
        for id in due {
            self.handle_due_call(now, id);
        }
        self.clock.next_due = self.calls.values().filter_map(|call| call.due()).min();
    }

    fn handle_due_call(&mut self, now: Instant, id: u64) {
        let delivery = match self.delivery(id) {
            // The connection lives: an OPEN that waits for the writer still goes out, and may be answered.
            Delivery::NotSent => Delivery::Unknown,
            delivery => delivery,
        };
        let Some(call) = self.calls.get_mut(id) else { return };
        let late = call.deadline.is_some_and(|deadline| deadline <= now);
        match &mut call.role {
            Role::Caller(_) => {
                let what = if late {
                    "the deadline of the call passed".to_owned()
                } else {
                    format!("{} did not accept the call in time (DYN_TCP_REQUEST_TIMEOUT)", self.peer.address)
                };
                self.fail_call(id, Error::new(ErrorKind::DeadlineExceeded, delivery, what));
            }
            Role::Handler(handling) if late => {
                call.deadline = None;
                handling.canceller.abort(AbortReason::DeadlineExceeded);
                self.end_aborted(id, AbortReason::DeadlineExceeded);
            }
            Role::Handler(handling) => {
                if handling.notice_at.take().is_some() {
                    encode_accept(self.outbox.control(), id);
                }
            }
        }
    }

    /// Tells the caller at `at` that its call was accepted, unless the answer begins before.
    pub(crate) fn notice_at(&mut self, id: u64, at: Instant) {
        let Some(call) = self.calls.get_mut(id).filter(|call| !call.sending.is_closed()) else { return };
        if let Some(handling) = call.handling() {
            handling.notice_at = Some(at);
            self.note_due(Some(at));
        }
    }
}
