//! One connection at run time: the state that callers and handlers share, and who writes when.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

use parking_lot::Mutex;
use plane_core::{DrainReport, ErrorKind};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::counts::Counts;
use crate::failure::Failure;
use crate::hold::Hold;
use crate::proto::{Batch, Connection};
use crate::socket::WriteHalf;

/// What callers, handlers and the driver of one connection share.
#[derive(Debug)]
pub(crate) struct Link {
    state: Mutex<State>,
    /// What is being written, and the right to write. Never locked while `state` is.
    writing: Mutex<Writing>,
    socket: WriteHalf,
    /// Callers that wait until a connection to this address has room; the dialler's.
    room: Arc<Room>,
    /// Cancelled when the driver has ended and the socket is closed or about to be.
    ended: CancellationToken,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    driver: Driver,
    /// When it was woken by a caller, until it has run and others had the chance to add to what it writes.
    woken_at: Option<Instant>,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
struct Writing {
    batch: Batch,
    /// The socket keeps the last of what it took until it has more, or is told that nothing more comes.
    held: bool,
    hold: Hold,
}

/// Whether the driver must be woken for what was staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    /// It waits and must be woken.
    Idle,
    /// The same, and it looks for the answer to a lone call if it is woken for that.
    Eager,
    /// It was woken by somebody who staged something, and has not run since.
    Woken,
    /// It runs and looks for staged bytes before it waits again.
    Running,
    /// It waits for the socket to take more, so only time is a reason to wake it.
    Blocked,
}

/// A list of so many tasks to wake is kept, until the connection has rested.
const KEPT: usize = 256;

/// What the connections to one address share: callers that wait for room on any of them, and what became of all.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) counts: Arc<Counts>,
    pub(crate) changed: Notify,
    pub(crate) waiting: AtomicUsize,
    /// How a new connection begins to write for callers that wait for room.
    pub(crate) hold: Hold,
}

impl Room {
    /// Something changed that one waiting caller may use.
    pub(crate) fn offer(&self) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.changed.notify_one();
        }
    }
}

/// How far a flush got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    All,
    /// The socket takes no more for now.
    Blocked {
        /// Bytes that it took so far, whoever wrote them.
        written: u64,
    },
}

impl Link {
    pub(crate) fn new(connection: Connection, socket: WriteHalf, room: Arc<Room>) -> Arc<Self> {
        // The driver is about to be spawned, so it need not be woken.
        let state = State { connection, driver: Driver::Running, woken_at: None, waker: None };
        Arc::new(Self {
            state: Mutex::new(state),
            writing: Mutex::new(Writing { hold: room.hold, ..Writing::default() }),
            socket,
            room,
            ended: CancellationToken::new(),
        })
    }

    /// Looks at the connection without changing it.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&Connection) -> T) -> T {
        look(&self.state.lock().connection)
    }

    /// Whether a call can be opened now. Requests that are only queued for the writer are written here: as long as the
    /// socket takes them, many callers at once are no reason to open another connection.
    pub(crate) fn has_room(&self) -> bool {
        let (room, backlog) = self.peek(|connection| (connection.has_room(), connection.has_backlog()));
        room || (backlog && self.make_room() && self.peek(Connection::has_room))
    }

    /// Writes in place, and leaves the rest to the driver: what the socket does not take or holds, or an error. The driver must
    /// look even if it saw nothing staged, because that has moved to the batch.
    fn make_room(&self) -> bool {
        let mut writing = self.writing.lock();
        let written = if writing.hold.next() {
            if !std::mem::replace(&mut writing.held, true) {
                self.socket.hold(true);
            }
            self.write(&mut writing.batch)
        } else {
            let began = Instant::now();
            let written = self.write(&mut writing.batch);
            writing.hold.note_written(began.elapsed());
            written
        };
        let all = matches!(written, Ok(Flushed::All));
        let held = writing.held;
        drop(writing);
        if held || !all {
            self.state.lock().force_wake();
        }
        all
    }

    /// Writes in place. What the socket does not take, or an error, is the driver's.
    fn flush_or_wake(&self) -> bool {
        let all = matches!(self.flush(), Ok(Flushed::All));
        if !all {
            self.state.lock().force_wake();
        }
        all
    }

    /// Changes the connection, then wakes whoever has something to do because of it.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Connection) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state.connection);
        state.wake_driver();
        self.release(state);
        result
    }

    /// The same for a caller that then writes in place if its call is alone: on an idle connection that is
    /// quicker than waking the driver, unless the call is due before the driver's timer fires.
    ///
    /// It is told the time: what is known of it, what the first of those has read whose bytes the driver is about to write
    /// with these, or what the clock says.
    pub(crate) fn with_write<T>(
        &self,
        known: Option<Instant>,
        change: impl FnOnce(&mut Connection, Instant) -> T,
    ) -> T {
        let mut state = self.state.lock();
        let read_by_the_first = state.woken_at;
        let now = known.or(read_by_the_first).unwrap_or_else(|| tokio::time::Instant::now().into_std());
        let result = change(&mut state.connection, now);
        let waits = matches!(state.driver, Driver::Idle | Driver::Eager);
        let alone = waits && state.connection.in_flight == 1 && state.connection.is_alone();
        let eager = alone && state.driver == Driver::Eager;
        if !alone || state.connection.needs_timer() {
            state.wake_driver();
            if state.driver == Driver::Woken {
                state.woken_at = read_by_the_first.or(Some(now));
            }
        }
        self.release(state);
        if alone {
            self.flush_or_wake();
        }
        if eager {
            self.state.lock().force_wake();
        }
        result
    }

    fn release(&self, mut state: parking_lot::MutexGuard<'_, State>) {
        if state.connection.wake.is_empty() && self.room.waiting.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut wake = std::mem::take(&mut state.connection.wake);
        let roomy = self.room.waiting.load(Ordering::Acquire) > 0 && state.connection.has_room();
        drop(state);
        for waker in wake.drain(..) {
            waker.wake();
        }
        if roomy {
            self.room.offer();
        }
        // The list is used again, so that what comes next takes no memory for it.
        if wake.capacity() <= KEPT
            && let Some(mut state) = self.state.try_lock()
            && state.connection.wake.capacity() == 0
        {
            state.connection.wake = wake;
        }
    }

    /// Writes what is staged until there is nothing more or the socket takes no more.
    pub(crate) fn flush(&self) -> io::Result<Flushed> {
        let mut writing = self.writing.lock();
        let flushed = self.write(&mut writing.batch)?;
        if flushed == Flushed::All && std::mem::take(&mut writing.held) {
            self.socket.hold(false);
        }
        Ok(flushed)
    }

    fn write(&self, batch: &mut Batch) -> io::Result<Flushed> {
        loop {
            if batch.is_empty() {
                let mut state = self.state.lock();
                state.connection.transmit(batch);
                self.release(state);
                if batch.is_empty() {
                    return Ok(Flushed::All);
                }
            }
            match batch.write_with(|slices| self.socket.try_write_vectored(slices)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => batch.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Flushed::Blocked { written: batch.written() + self.socket.taken() });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends every call on the connection, which the driver then closes.
    pub(crate) fn fail(&self, failure: Failure) {
        let mut state = self.state.lock();
        state.connection.fail(failure);
        state.force_wake();
        self.release(state);
        // Whoever waits for room must look elsewhere.
        self.room.changed.notify_waiters();
    }

    /// The driver has ended.
    pub(crate) fn end(&self) {
        self.socket.shutdown();
        self.ended.cancel();
    }

    /// Waits until the driver has ended.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// What the client of this connection has done so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.room.counts
    }

    pub(crate) fn socket(&self) -> &WriteHalf {
        &self.socket
    }

    /// The driver runs now. Returns whether it was woken to write what others may be about to add to.
    pub(crate) fn driver_runs(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            None => state.waker = Some(waker.clone()),
        }
        let woken = std::mem::replace(&mut state.driver, Driver::Running) == Driver::Woken;
        if !woken {
            state.woken_at = None;
        }
        woken && !state.connection.is_alone()
    }

    /// The driver waits from now on, unless something was staged meanwhile that it can write. `eager` says that it wants to
    /// look for the answer to a lone call.
    pub(crate) fn driver_waits(&self, blocked: bool, eager: bool) -> bool {
        let mut state = self.state.lock();
        let waits = blocked || !state.connection.wants_to_write();
        if waits {
            state.woken_at = None;
            state.driver = match (blocked, eager) {
                (true, _) => Driver::Blocked,
                (false, true) => Driver::Eager,
                (false, false) => Driver::Idle,
            };
        }
        waits
    }

    /// Whether the driver, which looks for what comes, was woken meanwhile or has nothing to look for.
    pub(crate) fn driver_is_wanted(&self) -> bool {
        let state = self.state.lock();
        !matches!(state.driver, Driver::Idle | Driver::Eager) || !state.connection.expects()
    }
}

/// Waits until these connections, which take no more calls, have ended; then ends the rest.
pub(crate) async fn close_links(links: &[Arc<Link>], deadline: Instant, why: &'static str) -> DrainReport {
    let in_flight = || links.iter().map(|link| link.peek(|connection| connection.in_flight as u64)).sum::<u64>();
    let before = in_flight();
    let all_ended = async {
        for link in links {
            link.ended().await;
        }
    };
    // Whether it was in time shows in the count.
    let _ = tokio::time::timeout_at(deadline.into(), all_ended).await;
    let left = in_flight();
    for link in links {
        link.fail(Failure::new(ErrorKind::Cancelled, why));
    }
    DrainReport::new(before.saturating_sub(left), left)
}

impl State {
    fn wake_driver(&mut self) {
        let wake = match self.driver {
            Driver::Idle | Driver::Eager => self.connection.wants_to_write() || self.connection.needs_timer(),
            Driver::Blocked => self.connection.needs_timer(),
            Driver::Woken | Driver::Running => false,
        };
        if wake {
            self.driver = Driver::Woken;
            self.woken_at = None;
            self.force_wake();
        }
    }

    fn force_wake(&mut self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}
