//! One end of a simulated connection: what `driver` and `link` do with sockets and a clock, on wires and virtual time.

use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use plane_core::frame::Decoder;
use plane_core::{Code, ErrorKind};

use crate::config::ConnectionConfig;
use crate::failure::Failure;
use crate::proto::{Batch, Connection, Opened, Stall};
use crate::simulation::wire::{Got, Wire};

const HALF_CLOSED_CHECK: Duration = Duration::from_millis(100);
const LINGER: Duration = Duration::from_secs(1);

/// What a decoder has ready for one read at most: it doubles the room of a connection that keeps filling it.
const LARGEST_READ: usize = 512 * 1024;

/// What one end does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The connection has failed and the other end was told why; what still comes is dropped.
    Lingers(Instant),
    Closed,
}

/// One end.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) connection: Connection,
    decoder: Decoder,
    batch: Batch,
    frame: Stall,
    write: Stall,
    phase: Phase,
    /// Since when nothing more comes although answers may still go there, and when the other end is asked next.
    half_closed: Option<(Instant, Instant)>,
    /// Why nothing can be written any more; what came before is read first.
    unwritable: Option<Failure>,
    /// It does nothing before this, as a process that was stopped.
    frozen_until: Option<Instant>,
}

impl Side {
    pub(super) fn new(connection: Connection, config: &ConnectionConfig) -> Self {
        Self {
            connection,
            decoder: Decoder::new(config.frame_limits(), config.shrink_message),
            batch: Batch::default(),
            frame: Stall::new(config.abuse.frame_timeout),
            write: Stall::new(config.abuse.write_timeout),
            phase: Phase::Open,
            half_closed: None,
            unwritable: None,
            frozen_until: None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    pub(super) fn freeze(&mut self, until: Instant) {
        self.frozen_until = self.frozen_until.max(Some(until));
    }

    /// When it runs again, if it does not now.
    pub(super) fn frozen(&self, now: Instant) -> Option<Instant> {
        self.frozen_until.filter(|until| *until > now)
    }

    /// Whether it has nothing to write, or cannot.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_closed() || (self.batch.is_empty() && !self.connection.wants_to_write())
    }

    /// Whether a look at what comes makes sense.
    pub(super) fn reads(&self) -> bool {
        match self.phase {
            Phase::Open => self.half_closed.is_none(),
            Phase::Lingers(_) => true,
            Phase::Closed => false,
        }
    }

    /// Whether it has something to write. Without room it tries once, and knows then that it waits.
    pub(super) fn writes(&self, room: bool) -> bool {
        (room || self.write.due().is_none())
            && self.phase == Phase::Open
            && self.unwritable.is_none()
            && (!self.batch.is_empty() || self.connection.wants_to_write() || self.connection.is_finished())
    }

    /// When time has something to do with it next.
    pub(super) fn next_timeout(&mut self) -> Option<Instant> {
        match self.phase {
            Phase::Closed => None,
            Phase::Lingers(until) => Some(until),
            Phase::Open => {
                let next = match self.half_closed {
                    Some((_, check)) => check,
                    None => self.connection.arm_timer(),
                };
                [Some(next), self.frame.due(), self.write.due()].into_iter().flatten().min()
            }
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Wire, rng: &mut Rng) {
        match self.phase {
            Phase::Lingers(until) if until <= now => self.close(now, out, rng),
            Phase::Open => {
                let due = self.check_time(now);
                self.ended(now, due, out, rng);
            }
            _ => {}
        }
    }

    fn check_time(&mut self, now: Instant) -> Result<(), Failure> {
        self.decoder.rest();
        if self.frame.is_over(now) {
            return Err(Failure::violation(Code::PROTOCOL, "a frame was not whole in time"));
        }
        if self.write.is_over(now) {
            return Err(Failure::new(ErrorKind::Disconnected, "the other side took no bytes"));
        }
        match &mut self.half_closed {
            Some((since, check)) if *check <= now => {
                *check = now + HALF_CLOSED_CHECK;
                let since = *since;
                self.connection.handle_half_closed(now, since)
            }
            Some(_) => Ok(()),
            None => self.connection.handle_timeout(now),
        }
    }

    /// How many bytes one read may bring.
    pub(super) fn read_size(&mut self) -> usize {
        let buffer = self.decoder.buffer();
        buffer.capacity() - buffer.len()
    }

    /// Takes what came off the wire; gives the calls that it opened.
    pub(super) fn read(&mut self, now: Instant, got: Got, out: &mut Wire, rng: &mut Rng) -> Vec<Opened> {
        if let Phase::Lingers(_) = self.phase {
            if !matches!(got, Got::Bytes(_)) {
                self.close(now, out, rng);
            }
            return Vec::new();
        }
        let read = match got {
            Got::Bytes(bytes) => self.handle_bytes(now, &bytes),
            Got::Closed => self.end_of_input(now),
            Got::Reset => Err(Failure::new(ErrorKind::Disconnected, "the connection was reset")),
        };
        let read = read.map_err(|failure| self.unwritable.take().unwrap_or(failure));
        self.ended(now, read, out, rng);
        std::mem::take(&mut self.connection.opened)
    }

    fn handle_bytes(&mut self, now: Instant, bytes: &Bytes) -> Result<(), Failure> {
        self.decoder.buffer().extend_from_slice(bytes);
        self.decoder.note_read(bytes.len());
        let mut whole = false;
        while let Some(frames) = self.decoder.frames()? {
            whole = true;
            self.connection.handle(now, frames)?;
        }
        let unfinished = self.decoder.partial() > 0;
        if whole || !unfinished {
            self.frame.note_progress();
        } else {
            self.connection.note_received(now);
        }
        if unfinished {
            self.frame.note_unfinished(now);
        }
        Ok(())
    }

    fn end_of_input(&mut self, now: Instant) -> Result<(), Failure> {
        if !self.connection.answers_calls() {
            return Err(Failure::new(ErrorKind::Disconnected, "the other side closed the connection"));
        }
        self.half_closed = Some((now, now + HALF_CLOSED_CHECK));
        self.connection.ping(now);
        self.connection.half_close();
        self.unwritable.take().map_or(Ok(()), Err)
    }

    /// Writes what the wire takes, at most `most` bytes. `gone` says that nobody reads at its other end.
    pub(super) fn write(&mut self, now: Instant, most: usize, gone: bool, out: &mut Wire, rng: &mut Rng) {
        if gone {
            let failure = Failure::new(ErrorKind::Disconnected, "the connection was lost while writing");
            if self.half_closed.is_some() {
                return self.ended(now, Err(failure), out, rng);
            }
            self.unwritable = Some(failure);
            return;
        }
        if self.flush(now, most, out, rng) && self.connection.is_finished() {
            self.connection.fail(Failure::new(ErrorKind::Disconnected, "the connection was closed"));
            self.close(now, out, rng);
        }
    }

    /// Whether everything is written.
    fn flush(&mut self, now: Instant, most: usize, out: &mut Wire, rng: &mut Rng) -> bool {
        if self.batch.is_empty() {
            self.connection.transmit(&mut self.batch);
        }
        let room = out.room().min(most);
        if room > 0 && !self.batch.is_empty() {
            let take = |slices: &[std::io::IoSlice<'_>]| {
                let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(room).collect();
                let taken = all.len();
                out.send(now, rng, all.into());
                Ok::<_, ()>(taken)
            };
            let taken = self.batch.write_with(take).unwrap_or_default();
            self.batch.advance(taken);
            self.write.note_progress();
        }
        if !self.batch.is_empty() && out.room() == 0 {
            self.write.note_unfinished(now);
        }
        self.batch.is_empty() && !self.connection.wants_to_write()
    }

    fn ended(&mut self, now: Instant, ended: Result<(), Failure>, out: &mut Wire, rng: &mut Rng) {
        if let Err(failure) = ended {
            self.fail(now, failure, out, rng);
        }
    }

    /// Ends the connection, with a last word if there is one.
    pub(super) fn fail(&mut self, now: Instant, failure: Failure, out: &mut Wire, rng: &mut Rng) {
        let tells = failure.tell.is_some();
        self.connection.fail(failure);
        let written = self.unwritable.is_none() && self.flush(now, usize::MAX, out, rng);
        if tells && written {
            out.close(now, rng);
            self.phase = Phase::Lingers(now + LINGER);
        } else {
            self.close(now, out, rng);
        }
    }

    fn close(&mut self, now: Instant, out: &mut Wire, rng: &mut Rng) {
        self.phase = Phase::Closed;
        out.close(now, rng);
    }

    /// Who is to be woken after what was done.
    pub(super) fn wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.connection.wake)
    }

    /// What it holds for its calls must stay within what the settings allow.
    pub(super) fn check_memory(&self, largest_frame: usize) {
        let Connection { outbox, settings, calls, .. } = &self.connection;
        let most = settings.unwritten + 3 * largest_frame;
        assert!(outbox.staged() <= most, "{} bytes staged, {most} allowed", outbox.staged());
        let mut all = 0;
        for (id, call) in calls.iter() {
            let (held, credit) = call.receiving.account();
            let window = u64::from(settings.credit);
            assert!(held + credit <= window, "call {id} holds {held} bytes of credit beside {credit} of {window}");
            let unread = call.receiving.bytes();
            let most = settings.credit as usize + settings.max_message;
            assert!(unread <= most, "call {id} holds {unread} bytes, {most} allowed");
            all += unread;
        }
        let windows = calls.len() * settings.credit as usize;
        // A message whose reader was woken for it and has not come back is no reason to keep others waiting.
        let whole = calls.values().filter(|call| call.receiving.is_readable()).count();
        let most = windows + settings.large_messages + (1 + whole) * settings.max_message;
        assert!(all <= most, "{} calls hold {all} bytes, {most} allowed", calls.len());
        let most = 2 * largest_frame + LARGEST_READ;
        assert!(self.decoder.capacity() <= most, "the decoder holds {} bytes", self.decoder.capacity());
    }

    /// Once no call is left, nothing of any may be.
    pub(super) fn check_empty(&self, name: &str) {
        let Connection { calls, in_flight, ready, crowded, opened, wake, reassembly, .. } = &self.connection;
        assert!(calls.is_empty(), "the {name} still has {calls:?}");
        assert_eq!(reassembly.lent(), 0, "lent to nobody at the {name}");
        assert_eq!((*in_flight, opened.len(), wake.len()), (0, 0, 0), "in flight, opened, to be woken at the {name}");
        // What a closed connection had to write it keeps until it is dropped.
        assert!(self.is_closed() || (ready.is_empty() && crowded.is_empty()), "{ready:?} {crowded:?} at the {name}");
    }
}
