//! How calls that the other side opens are taken on or refused, and how their handlers are told to end.

use std::time::Instant;

use bytes::Bytes;
use plane_core::frame::{Cancel, Flags, FrameError, Kind, Open, encode_end};
use plane_core::{AbortReason, Admitted, Canceller, Code, Instance, Refusal, Status};

use crate::failure::Failure;
use crate::proto::call::{Call, Handling, Opened, Role};
use crate::proto::connection::{Connection, Settings, Side};
use crate::proto::receiving::{MESSAGE_COST, cost, too_large};

impl Connection {
    pub(crate) fn on_open(
        &mut self,
        now: Instant,
        id: u64,
        flags: Flags,
        open: Result<Open<'_>, Status>,
        payload: Bytes,
    ) -> Result<(), Failure> {
        let Side::Listener(endpoints) = &self.side else { return Err(self.wrong_side(Kind::OPEN)) };
        if id.is_multiple_of(2) || id <= self.last_call {
            return Err(FrameError::CallId { kind: Kind::OPEN, call: id }.into());
        }
        // Also when the call is not looked at: what follows it on its way must be known as belonging to it.
        self.last_call = id;
        if self.failure.is_some() || self.retired {
            // The caller knows from the GOAWAY that this call is not looked at.
            self.expect_strays();
            return self.stray(now);
        }
        if cost(&payload) > self.settings.credit {
            return Err(self.over_credit(id));
        }
        let open = match open {
            Ok(open) => open,
            Err(status) => {
                let limit = status.code() == Code::HEADERS_TOO_LARGE;
                let refusal = if limit { Refusal::Headers } else { Refusal::InvalidCall };
                endpoints.refuse(refusal, &self.peer, &status);
                return self.refuse(id, flags, &status);
            }
        };
        if let Err((refusal, status)) = self.check_room(&payload) {
            endpoints.refuse(refusal, &self.peer, &status);
            return self.refuse(id, flags, &status);
        }
        match endpoints.admit_after(&mut self.called, open.endpoint, open.instance, &self.peer) {
            Ok(admitted) => self.take_on(now, id, flags, admitted, open, payload),
            Err(status) => self.refuse(id, flags, &status),
        }
    }

    /// The limits of this connection, as opposed to those of the whole server.
    fn check_room(&self, payload: &Bytes) -> Result<(), (Refusal, Status)> {
        let Settings { max_calls, max_message, .. } = self.settings;
        if self.in_flight >= max_calls as usize {
            let what = format!("the connection has {max_calls} calls in flight (max_calls)");
            return Err((Refusal::Calls, Status::resource_exhausted(what)));
        }
        if payload.len() > max_message {
            return Err((Refusal::Message, too_large(max_message)));
        }
        Ok(())
    }

    /// Ends a call without a handler. What a dialler that does not read its refusals is owed has a bound.
    fn refuse(&mut self, id: u64, flags: Flags, status: &Status) -> Result<(), Failure> {
        let limit = self.settings.abuse.unread_refusals;
        if self.outbox.staged() > self.settings.unwritten.saturating_add(limit) {
            let budget = format!("{limit} bytes beyond what a connection may hold unwritten");
            return Err(Failure::calm(Refusal::UnreadRefusals, "unread refusals", &budget));
        }
        self.outbox.push(|out| encode_end(out, id, Flags::NOT_EXECUTED, 0, Some(status), None), &Bytes::new());
        if flags.has(Flags::END) {
            // Its request was whole: only a stop and an abort can be on their way.
            self.budgets.strays.grant(2);
        } else {
            self.expect_strays();
        }
        Ok(())
    }

    /// A call was refused or answered before its request had ended: a window of its messages may be on its way.
    pub(crate) fn expect_strays(&mut self) {
        self.budgets.strays.grant(self.settings.credit / MESSAGE_COST + 8);
    }

    fn take_on(
        &mut self,
        now: Instant,
        id: u64,
        flags: Flags,
        admitted: Admitted,
        open: Open<'_>,
        payload: Bytes,
    ) -> Result<(), Failure> {
        let deadline = open.timeout.and_then(|timeout| now.checked_add(timeout));
        let Instance { endpoint, id: instance, .. } = admitted.instance();
        let (context, canceller) = self.contexts.make(endpoint, *instance, &self.peer, deadline);
        let whole = flags.has(Flags::END);
        let role = Role::Handler(Handling { canceller, notice_at: None, begun: false });
        let mut call = self.calls.make(self.windows(), deadline, role);
        call.ended = whole;
        self.calls.insert(id, call);
        self.in_flight += 1;
        self.clock.idle_since = None;
        self.note_due(deadline);
        let only = if whole {
            self.beside.note(flags);
            Some(payload)
        } else {
            if !flags.has(Flags::NO_MESSAGE) {
                self.on_message(now, id, flags, payload)?;
                // It may have been refused.
                if !self.calls.contains_key(&id) {
                    return Ok(());
                }
            }
            None
        };
        self.opened.push(Opened { call: id, admitted, headers: open.headers, only, context });
        Ok(())
    }

    pub(crate) fn on_cancel(&mut self, now: Instant, id: u64, cancel: Cancel) -> Result<(), Failure> {
        if matches!(self.side, Side::Dialler(_)) {
            return Err(self.wrong_side(Kind::CANCEL));
        }
        let Some(call) = self.calls.get_mut(id) else { return self.unknown(now, Kind::CANCEL, id) };
        let Role::Handler(handling) = &mut call.role else { return Ok(()) };
        match cancel {
            Cancel::Stop if handling.canceller.is_stopped() => return self.stray(now),
            Cancel::Abort(_) if handling.canceller.abort_reason().is_some() => return self.stray(now),
            Cancel::Stop => handling.canceller.stop(),
            Cancel::Abort(code) => {
                // To leave a stream is honest work; to open calls for nothing is what must not pay.
                if !handling.begun && !self.budgets.cancels.spend(now) {
                    let rate = self.settings.abuse.aborts;
                    let budget = format!("twice max_calls, but at least {rate}, beyond those answered");
                    return Err(Failure::calm(Refusal::Aborts, "aborted calls", &budget));
                }
                // Both sides watch the deadline; whoever is first, the handler sees the same reason.
                let late = code == Code::DEADLINE_EXCEEDED;
                let reason = if late { AbortReason::DeadlineExceeded } else { AbortReason::Cancelled };
                handling.canceller.abort(reason);
                self.end_aborted(id, reason);
            }
        }
        Ok(())
    }

    /// The handler was told to drop its work. If it has ended already, what waits to be sent is dropped here.
    pub(crate) fn end_aborted(&mut self, id: u64, reason: AbortReason) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.receiving.discard();
        // A handler that looks once more must not take what is left of its request for all of it.
        call.outcome = Some(Err(reason.status().into()));
        call.sending.cut();
        self.wake.extend(call.sender.take());
        self.wake.extend(call.reader.take());
        if call.sending.is_finished() {
            let status = reason.status();
            self.outbox.push(|out| encode_end(out, id, Flags::NONE, 0, Some(&status), None), &Bytes::new());
            self.remove(id);
        }
    }

    /// What tells the handler of a call to end; `None` once the call is over.
    pub(crate) fn canceller(&self, id: u64) -> Option<Canceller> {
        match &self.calls.get(&id)?.role {
            Role::Handler(handling) => Some(handling.canceller.clone()),
            Role::Caller(_) => None,
        }
    }

    /// Tells every handler to drop its work.
    pub(crate) fn abort_all(&mut self, reason: AbortReason) {
        let ids: Vec<u64> = self.calls.keys().copied().collect();
        for id in ids {
            if let Some(handling) = self.calls.get_mut(id).and_then(Call::handling) {
                handling.canceller.abort(reason);
                self.end_aborted(id, reason);
            }
        }
    }
}
