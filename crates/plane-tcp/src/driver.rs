//! The task that reads a connection, writes what others staged, and keeps its time.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use plane_core::frame::Decoder;
use plane_core::{ErrorKind, Refusal};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep_until};
use tokio_util::io::poll_read_buf;

use crate::failure::Failure;
use crate::linger::LINGER;
use crate::link::{Flushed, Link};
use crate::proto::{Opened, Stall};
use crate::socket::ReadHalf;
use crate::watch::{Look, Watch};

/// Rounds of reading and writing before other tasks of the thread have their turn.
const ROUNDS: usize = 16;

/// Bytes that are read before those who wait for them have their turn: the first of many items is to be seen while the
/// last are still on their way.
const ENOUGH: usize = 256 * 1024;

/// Bytes that one look takes at a time.
const LOOK: usize = 64 * 1024;

/// Looks that find something before other tasks of the thread have their turn.
const LOOKS: usize = 4;

/// Bytes that are dropped at a time while a connection ends.
const LINGER_READ: usize = 16 * 1024;

/// Starts the handlers of the calls that one read brought.
pub(crate) trait Start: Unpin {
    /// Whether this side has handlers. What calls brought is mostly done with once it was started, so that what comes next may
    /// be looked for; what answers brought is for callers that are to run first.
    const SERVES: bool;

    fn start(&mut self, link: &Arc<Link>, opened: &mut Vec<Opened>, cx: &mut Context<'_>);

    /// No calls have come for a while: it holds no more than it must.
    fn rest(&mut self) {}
}

/// The dialler's side has no handlers.
#[derive(Debug)]
pub(crate) struct NoHandlers;

impl Start for NoHandlers {
    const SERVES: bool = false;

    fn start(&mut self, _: &Arc<Link>, opened: &mut Vec<Opened>, _: &mut Context<'_>) {
        opened.clear();
    }
}

/// Reads, writes and keeps time for one connection until it ends.
#[derive(Debug)]
pub(crate) struct LinkDriver<S> {
    link: Arc<Link>,
    socket: ReadHalf,
    decoder: Decoder,
    start: S,
    opened: Vec<Opened>,
    timer: Pin<Box<Sleep>>,
    armed: Instant,
    watch: Watch,
    /// Others were given the chance to stage more before this writes.
    yielded: bool,
    /// Others were woken since this runs.
    woke: bool,
    /// When nothing more came from the other side although answers may still go there.
    half_closed: Option<Instant>,
    /// A frame that has begun to come.
    frame: Stall,
    /// Bytes that the other side does not take.
    write: Stall,
    /// Bytes that it had taken at the last look.
    written: u64,
    /// Why nothing can be written any more. What the other side said before is read first: a GOAWAY among it says which
    /// calls did not run.
    unwritable: Option<Failure>,
    /// Frames may have come behind the HELLO, in the same read.
    fresh: bool,
    /// The connection has failed; what still comes is dropped, so that the last frames are read before a reset.
    lingering: bool,
}

thread_local! {
    /// What a look reads into; no look lasts longer than one turn of its task.
    static LOOKED_AT: RefCell<Box<[u8]>> = RefCell::new(vec![0; LOOK].into());
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl<S: Start> LinkDriver<S> {
    pub(crate) fn new(link: Arc<Link>, socket: ReadHalf, decoder: Decoder, start: S, watch: Watch) -> Self {
        let (armed, abuse) = link.with(|connection| (connection.arm_timer(), connection.settings.abuse));
        Self {
            link,
            socket,
            decoder,
            start,
            opened: Vec::new(),
            timer: Box::pin(sleep_until(armed.into())),
            armed,
            watch,
            yielded: false,
            woke: false,
            half_closed: None,
            frame: Stall::new(abuse.frame_timeout),
            write: Stall::new(abuse.write_timeout),
            written: 0,
            unwritable: None,
            fresh: true,
            lingering: false,
        }
    }

    fn run(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let mut others = self.link.driver_runs(cx.waker());
        if let Some(failure) = self.link.peek(|connection| connection.failure.clone()) {
            return Poll::Ready(Err(failure));
        }
        if std::mem::take(&mut self.fresh) {
            self.handle_frames(cx)?;
        }
        self.poll_timer(cx)?;
        self.woke = false;
        let mut taken = 0;
        let mut looks = 0;
        for _ in 0..ROUNDS {
            let read = match self.poll_read(cx) {
                Err(failure) => return Poll::Ready(Err(self.unwritable.take().unwrap_or(failure))),
                Ok(read) => read,
            };
            if let Poll::Ready(bytes) = read {
                taken += bytes;
            }
            if self.half_closed.is_some()
                && let Some(failure) = self.unwritable.take()
            {
                return Poll::Ready(Err(failure));
            }
            // Woken by the first of several senders: the others are about to stage their bytes too. Without this a
            // batch is one frame.
            if others && read.is_pending() && !std::mem::replace(&mut self.yielded, true) {
                return self.give_way(cx);
            }
            self.yielded = false;
            let written = if self.unwritable.is_some() {
                Poll::Pending
            } else {
                self.poll_write(cx).or_else(|failure| self.read_on(failure))?
            };
            if self.link.peek(|connection| connection.is_finished()) && written.is_ready() {
                return Poll::Ready(Ok(()));
            }
            let eager = self.watch.is_promising();
            if read.is_pending() && self.link.driver_waits(written.is_pending(), eager) {
                self.watch.note_wait(now());
                // Callers that were answered are to run now.
                let looks_now = eager && written.is_ready() && (S::SERVES || !self.woke);
                let found = if looks_now { self.look(cx)? } else { 0 };
                if found == 0 {
                    return self.rest(cx);
                }
                taken += found;
                looks += 1;
                others = false;
            }
            if taken >= ENOUGH || looks >= LOOKS {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lets others stage what they have before this writes.
    fn give_way(&self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if S::SERVES {
            // Handlers that give way themselves, for example before each item, come back together, after the runtime has
            // looked for what else there is. So does this, and finds what all of them have.
            let _ = pin!(yield_now()).poll(cx);
        } else {
            // Callers that were answered together are in the queue already: this goes behind them.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Looks for what comes next, and handles it if it comes soon. Callers and handlers write and wake this task meanwhile
    /// as if it slept. Returns how many bytes came.
    fn look(&mut self, cx: &mut Context<'_>) -> Result<usize, Failure> {
        if self.half_closed.is_some() || !self.socket.can_look() || self.link.driver_is_wanted() {
            return Ok(0);
        }
        let mut look = Look::new(now());
        let mut found = 0;
        loop {
            match self.read_now() {
                // The end of what comes is the runtime's to find.
                Ok(0) => break,
                Ok(bytes) => {
                    found += bytes;
                    if bytes == LOOK && found < ENOUGH {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // What came before it is handled first; then the runtime finds the end.
                Err(error) if found == 0 => return Err(self.lost(&error)),
                Err(_) => {}
            }
            let now = now();
            if !self.watch.goes_on(&mut look, now, found > 0) || self.link.driver_is_wanted() {
                break;
            }
            self.watch.between().pass();
        }
        if found > 0 {
            self.link.driver_runs(cx.waker());
            self.handle_frames(cx)?;
        }
        Ok(found)
    }

    /// Reads what is there, whatever the runtime knows of it.
    fn read_now(&mut self) -> io::Result<usize> {
        LOOKED_AT.with_borrow_mut(|buffer| {
            let bytes = self.socket.read_now(buffer)?;
            self.decoder.extend(&buffer[..bytes]);
            Ok(bytes)
        })
    }

    /// Before it waits: arms the timer for what is due earlier than it was armed for.
    fn rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let next = self.link.with(|connection| connection.arm_timer());
        let next = [Some(next), self.frame.due(), self.write.due()].into_iter().flatten().min().unwrap_or(next);
        if next < self.armed {
            self.arm(next);
            ready!(self.timer.as_mut().poll(cx));
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn arm(&mut self, at: Instant) {
        self.armed = at;
        self.timer.as_mut().reset(at.into());
    }

    /// The timer may fire early, because what it was armed for has moved: then it is armed again.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = now();
            // A connection that was quiet since the timer was armed holds no buffer.
            self.decoder.rest();
            self.opened = Vec::new();
            self.start.rest();
            if self.frame.is_over(now) {
                let what = format!("a frame was not whole after {:?}", self.frame.limit());
                return Err(Failure::violation(plane_core::Code::PROTOCOL, what).because(Refusal::FrameTimeout));
            }
            if self.write.is_over(now) {
                self.check_write(now)?;
            }
            let half_closed = self.half_closed;
            let next = self.link.with(|connection| match half_closed {
                Some(since) => connection.handle_half_closed(now, since).map(|()| now + HALF_CLOSED_CHECK),
                None => connection.handle_timeout(now).map(|()| connection.arm_timer()),
            })?;
            self.arm(next.max(now));
        }
        Ok(())
    }

    /// The other side takes no bytes, unless somebody else has written some since the last look.
    fn check_write(&mut self, now: Instant) -> Result<(), Failure> {
        if matches!(self.link.flush(), Ok(Flushed::Blocked { written }) if written == self.written) {
            let what = format!("the other side took no bytes for {:?}", self.write.limit());
            return Err(Failure::new(ErrorKind::Disconnected, what).because(Refusal::WriteTimeout));
        }
        self.write.note_progress();
        self.write.note_unfinished(now);
        Ok(())
    }

    /// Handles what one read brings, which is so many bytes. Ready means that more may be there.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<usize>, Failure> {
        if self.half_closed.is_some() {
            return Ok(Poll::Pending);
        }
        let Poll::Ready(read) = poll_read_buf(Pin::new(&mut self.socket), cx, self.decoder.buffer()) else {
            return Ok(Poll::Pending);
        };
        let read = read.map_err(|error| self.lost(&error))?;
        if read == 0 {
            return self.end_of_input().map(|()| Poll::Pending);
        }
        self.decoder.note_read(read);
        self.handle_frames(cx)?;
        Ok(Poll::Ready(read))
    }

    fn handle_frames(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let now = now();
        let mut whole = false;
        let mut brought = 0;
        while let Some(frames) = self.decoder.frames()? {
            whole = true;
            let (opened, woke) = (&mut self.opened, &mut self.woke);
            self.link.with(|connection| {
                let handled = connection.handle(now, frames);
                std::mem::swap(opened, &mut connection.opened);
                *woke |= connection.woken > 0;
                handled
            })?;
            if !self.opened.is_empty() {
                brought += self.opened.len();
                self.start.start(&self.link, &mut self.opened, cx);
            }
        }
        let lone = brought <= 1 && self.link.peek(|connection| connection.in_flight <= 1);
        self.watch.note_read(now, lone, Arc::as_ptr(&self.link).addr());
        let unfinished = self.decoder.partial() > 0;
        if whole || !unfinished {
            self.frame.note_progress();
        } else {
            // A large frame may take longer than the keepalive on a slow way; any byte is a sign of life.
            self.link.with(|connection| connection.note_received(now));
        }
        if unfinished {
            self.frame.note_unfinished(now);
        }
        Ok(())
    }

    /// A peer that has only closed its half still gets its answers. One that is gone resets the connection once
    /// something is sent to it, so that is done at once.
    fn end_of_input(&mut self) -> Result<(), Failure> {
        let over = self.link.peek(|connection| {
            let what = || format!("{} closed the connection{}", connection.peer.address, connection.said());
            (!connection.answers_calls()).then(what)
        });
        if let Some(what) = over {
            return Err(Failure::new(ErrorKind::Disconnected, what));
        }
        let now = now();
        self.half_closed = Some(now);
        self.link.with(|connection| {
            connection.ping(now);
            connection.half_close();
        });
        self.arm(now + HALF_CLOSED_CHECK);
        Ok(())
    }

    /// Pending means that the socket takes no more for now.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        loop {
            match self.link.flush().map_err(|error| self.lost(&error))? {
                Flushed::All => {
                    self.write.note_progress();
                    return Ok(Poll::Ready(()));
                }
                Flushed::Blocked { written } => {
                    // On a busy connection there is always more to send than the socket takes at once.
                    if std::mem::replace(&mut self.written, written) != written {
                        self.write.note_progress();
                    }
                    match self.link.socket().poll_ready(cx) {
                        Poll::Ready(ready) => ready.map_err(|error| self.lost(&error))?,
                        Poll::Pending => {
                            self.write.note_unfinished(now());
                            return Ok(Poll::Pending);
                        }
                    }
                }
            }
        }
    }

    /// Nothing can be written any more. What the other side said before is read first, unless that is all of it.
    fn read_on(&mut self, failure: Failure) -> Result<Poll<()>, Failure> {
        if self.half_closed.is_some() {
            return Err(failure);
        }
        self.unwritable = Some(failure);
        Ok(Poll::Pending)
    }

    /// Drops what comes until the other side has closed as well, or its time is over.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            if self.timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut dropped = BytesMut::with_capacity(LINGER_READ);
            match ready!(poll_read_buf(Pin::new(&mut self.socket), cx, &mut dropped)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn lost(&self, error: &io::Error) -> Failure {
        let what = self.link.peek(|connection| {
            format!("the connection to {} was lost: {error}{}", connection.peer.address, connection.said())
        });
        Failure::new(ErrorKind::Disconnected, what)
    }
}

/// How often a peer that has closed its half is asked whether it is still there.
const HALF_CLOSED_CHECK: Duration = Duration::from_millis(100);

impl<S: Start> Future for LinkDriver<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.lingering {
            return self.linger(cx);
        }
        let ended = ready!(self.run(cx));
        if let Err(failure) = ended {
            let (peer, refusals) = self.link.peek(|connection| (connection.peer.clone(), connection.refusals.clone()));
            self.lingering = failure.tell.is_some();
            tracing::debug!(peer = %peer.address, reason = %failure.text, "a connection ended");
            if let Some(refusal) = failure.refusal {
                refusals.note(now(), refusal, &peer.address, &failure.text);
            }
            self.link.fail(failure);
            // The last word, if the socket takes it; nobody waits for more.
            if let Err(error) = self.link.flush() {
                tracing::trace!(%error, "the last frames were not written");
                self.lingering = false;
            }
        }
        if self.lingering {
            self.link.socket().finish();
            self.arm(now() + LINGER);
            return self.linger(cx);
        }
        Poll::Ready(())
    }
}

/// However the driver ends, even by the runtime's shutdown, nobody waits for it any more.
impl<S> Drop for LinkDriver<S> {
    fn drop(&mut self) {
        self.link.fail(Failure::new(ErrorKind::Disconnected, "the connection was closed"));
        self.link.end();
    }
}

#[cfg(test)]
mod tests;
