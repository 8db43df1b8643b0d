//! A connection, its users, and a peer that says anything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use plane_core::frame::{
    Cancel, Decoder, Flags, FrameLimits, Head, Hello, Kind, OpenFields, encode_cancel, encode_credit, encode_end,
    encode_message_head, encode_open,
};
use plane_core::{
    Address, AdmissionLimits, Admitted, Code, Endpoints, ErrorKind, Headers, InstanceId, Outcome, Peer, Refusals,
    Registration, Response, Status, handler_fn,
};

use crate::config::{AbuseLimits, Rate};
use crate::failure::Failure;
use crate::fuzzing::input::Input;
use crate::fuzzing::ledger::Ledger;
use crate::proto::{Batch, Begun, Connection, Ending, Next, Opening, SendError, Settings, Side};

/// Plays a connection whose peer and users do what the data says, and watches over what must hold whatever they do.
///
/// # Panics
/// If something else holds.
pub fn connection(data: &[u8]) {
    let mut world = World::new(Input::new(data));
    while !world.input.is_empty() && world.connection.failure.is_none() {
        world.step();
        world.check();
    }
    world.end();
}

struct World<'a> {
    input: Input<'a>,
    connection: Connection,
    endpoints: Endpoints,
    decoder: Decoder,
    ledger: Ledger,
    now: Instant,
    fed: usize,
    users: Vec<User>,
    _registration: Registration,
}

/// Who uses one call on this side: its caller or its handler.
struct User {
    call: u64,
    /// The handler's place, until it has answered.
    admitted: Option<Admitted>,
    reads: Reads,
    ahead: VecDeque<Bytes>,
    sends: Sends,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    Waiting,
    Streaming,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sends {
    Nothing,
    Some,
    Done,
}

const NAME: &str = "f.u.z";
const WINDOWS: [u32; 3] = [1024, 4096, 1 << 20];
const LENGTHS: [usize; 8] = [0, 1, 255, 256, 960, 1024, 5_000, 70_000];

fn settings(input: &mut Input<'_>) -> Settings {
    let rate = |at_once| Rate { at_once, per_second: 1 };
    Settings {
        max_message: input.pick(&[100_000, 1000]),
        credit: input.pick(&WINDOWS),
        unwritten: 64 << 10,
        large_messages: 20_000,
        max_calls: input.pick(&[8, 1]),
        headers: plane_core::HeaderLimits::default(),
        keepalive_interval: Duration::from_secs(10),
        keepalive_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(60),
        abuse: AbuseLimits {
            pings: rate(8),
            aborts: rate(4),
            idle_frames: rate(16),
            unread_refusals: 4096,
            ..AbuseLimits::default()
        },
        queue: input.pick(&[u64::MAX, 1]),
    }
}

impl<'a> World<'a> {
    fn new(mut input: Input<'a>) -> Self {
        let now = Instant::now();
        let settings = settings(&mut input);
        let theirs = Hello {
            credit: input.pick(&WINDOWS),
            max_frame: input.pick(&[256 << 10, 32 << 10]),
            max_calls: input.pick(&[8, 1, 0]),
            max_message: input.pick(&[100_000, 1000]),
            ..Hello::default()
        };
        let endpoints = Endpoints::new(AdmissionLimits { running: 4, queued: 2 });
        let handler = Arc::new(handler_fn(|_, _| async { Ok(Response::default()) }));
        let id = InstanceId::new(1).expect("not zero");
        let name = NAME.parse().expect("a good name");
        let registration = endpoints.register(name, id, Address::mem("fuzz"), handler).expect("the first");
        let side = if input.flip() { Side::Dialler(Refusals::default()) } else { Side::Listener(endpoints.clone()) };
        let limits = FrameLimits { max_frame: input.pick(&[256 << 10, 32 << 10]), headers: settings.headers };
        Self {
            input,
            ledger: Ledger::new(&theirs, limits),
            connection: Connection::new(side, settings, theirs, Arc::new(Peer::new("fuzz", "")), now),
            endpoints,
            decoder: Decoder::new(limits, 0),
            now,
            fed: 0,
            users: Vec::new(),
            _registration: registration,
        }
    }

    fn step(&mut self) {
        match self.input.byte() % 20 {
            0 => {
                let length = usize::from(self.input.byte());
                let raw = self.input.bytes(length);
                self.feed(raw);
            }
            1 => self.feed_odd_frame(),
            2 | 3 => self.feed_open(),
            4 | 5 => self.feed_message(),
            6 => self.feed_end(),
            7 => self.feed_small(),
            8 | 9 => self.flush(),
            10 => self.pass_time(),
            11 | 12 => self.open(),
            13 => self.retire(),
            _ => self.use_call(),
        }
    }

    /// What the peer says, as a driver hands it over.
    fn feed(&mut self, bytes: &[u8]) {
        self.fed += bytes.len();
        self.ledger.tell(bytes);
        self.decoder.extend(bytes);
        let handled = loop {
            match self.decoder.frames() {
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
                Ok(Some(frames)) => {
                    if let Err(failure) = self.connection.handle(self.now, frames) {
                        break Err(failure);
                    }
                }
            }
        };
        for opened in self.connection.opened.drain(..) {
            let reads = if opened.only.is_some() { Reads::Done } else { Reads::Streaming };
            let (call, admitted) = (opened.call, Some(opened.admitted));
            self.users.push(User { call, admitted, reads, ahead: VecDeque::new(), sends: Sends::Nothing });
        }
        if let Err(failure) = handled {
            assert!(failure.tell.is_some() && failure.refusal.is_some(), "{failure:?}");
            self.connection.fail(failure);
        }
    }

    fn feed_odd_frame(&mut self) {
        let kind = Kind(self.input.pick(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x7f, 0x80]));
        let flags = Flags(self.input.pick(&[0, 1, 2, 4, 8, 3, 0x80]));
        let call = self.call_id();
        let length = usize::from(self.input.byte());
        let body = self.input.bytes(length);
        let mut out = BytesMut::new();
        Head::new(kind, flags, call, u32::try_from(body.len()).unwrap_or(0)).encode(&mut out);
        out.put_slice(body);
        self.feed(&out);
    }

    fn feed_open(&mut self) {
        let call = self.call_id();
        let flags = self.input.pick(&[Flags::END, Flags::NO_MESSAGE, Flags::NONE, Flags::MORE]);
        let length = if flags == Flags::NO_MESSAGE { 0 } else { self.input.pick(&LENGTHS) };
        let name = self.input.pick(&[NAME, "no.such.one"]).parse().expect("a good name");
        let timeout = self.input.flip().then_some(Duration::from_millis(5));
        let headers = Headers::new();
        let mut out = BytesMut::new();
        let fields = OpenFields { endpoint: &name, instance: None, timeout, headers: &headers };
        encode_open(&mut out, call, flags, &fields, length);
        out.put_bytes(7, length);
        self.feed(&out);
    }

    fn feed_message(&mut self) {
        let (call, flags) = (self.call_id(), self.input.pick(&[Flags::NONE, Flags::MORE, Flags::END]));
        let length = self.input.pick(&LENGTHS);
        let mut out = BytesMut::new();
        encode_message_head(&mut out, call, flags, length);
        out.put_bytes(7, length);
        self.feed(&out);
    }

    fn feed_end(&mut self) {
        let (call, count) = (self.call_id(), u64::from(self.input.byte() % 4));
        let status = self.input.flip().then(|| Status::internal("no"));
        let flags = self.input.pick(&[Flags::NONE, Flags::NONE, Flags::NOT_EXECUTED]);
        let mut out = BytesMut::new();
        encode_end(&mut out, call, flags, count, status.as_ref(), None);
        self.feed(&out);
    }

    fn feed_small(&mut self) {
        let call = self.call_id();
        let mut out = BytesMut::new();
        match self.input.byte() % 4 {
            0 => encode_credit(&mut out, call, self.input.pick(&[1, 511, 512, 1 << 20, 1 << 31])),
            1 => encode_cancel(&mut out, call, Cancel::Stop),
            2 => encode_cancel(&mut out, call, Cancel::Abort(Code::CANCELLED)),
            _ => plane_core::frame::encode_accept(&mut out, call),
        }
        self.feed(&out);
    }

    /// One that is known, the next, or any.
    fn call_id(&mut self) -> u64 {
        let last = self.connection.last_call;
        let choice = self.input.byte();
        match choice % 4 {
            0 => last.saturating_add(2).max(1) | 1,
            1 => last,
            2 => self.users.get(usize::from(choice / 4)).map_or(0, |user| user.call),
            _ => u64::from(choice / 4),
        }
    }

    /// Writes everything, as a driver does whose socket takes all.
    fn flush(&mut self) {
        // Calls that have ended since may stand in the queue: a turn for them alone writes nothing.
        while self.connection.wants_to_write() {
            let mut batch = Batch::default();
            self.connection.transmit(&mut batch);
            let mut written = Vec::new();
            while !batch.is_empty() {
                let taken = batch.write_with(|slices| {
                    slices.iter().for_each(|slice| written.extend_from_slice(slice));
                    Ok::<_, ()>(slices.iter().map(|slice| slice.len()).sum())
                });
                batch.advance(taken.unwrap_or_default());
            }
            self.ledger.hear(&written);
        }
    }

    fn pass_time(&mut self) {
        self.now += Duration::from_millis(self.input.pick(&[1, 10, 1_000, 10_000, 70_000]));
        if self.connection.next_timeout() > self.now {
            return;
        }
        // A call may be due twice, for its notice and for its deadline.
        for _ in 0..3 {
            if let Err(failure) = self.connection.handle_timeout(self.now) {
                return self.connection.fail(failure);
            }
            if self.connection.next_timeout() > self.now {
                return;
            }
        }
        panic!("a timer that is due again and again");
    }

    /// A call of this side.
    fn open(&mut self) {
        if !matches!(self.connection.side, Side::Dialler(_)) {
            return;
        }
        let only = self.input.flip().then(|| Bytes::from(vec![1; self.input.pick(&LENGTHS)]));
        let whole = only.is_some();
        let (name, headers) = (NAME.parse().expect("a good name"), Headers::new());
        let opening = Opening {
            endpoint: &name,
            instance: None,
            headers: &headers,
            deadline: self.input.flip().then(|| self.now + Duration::from_millis(500)),
            accept_by: self.now + Duration::from_secs(10),
            reader: None,
            only: only.as_ref(),
        };
        if let Ok(call) = self.connection.open(self.now, opening) {
            let sends = if whole { Sends::Done } else { Sends::Nothing };
            self.users.push(User { call, admitted: None, reads: Reads::Waiting, ahead: VecDeque::new(), sends });
        }
    }

    fn retire(&mut self) {
        match self.input.byte() % 3 {
            0 => self.connection.go_away(Code::OK, "going", Duration::ZERO),
            1 => self.connection.half_close(),
            _ => self.connection.abort_all(plane_core::AbortReason::Shutdown),
        }
    }

    fn use_call(&mut self) {
        let choice = usize::from(self.input.byte());
        if self.users.is_empty() {
            return;
        }
        let index = choice % self.users.len();
        let mut user = self.users.swap_remove(index);
        match self.input.byte() % 8 {
            0 | 1 => self.read(&mut user),
            2 | 3 => self.send(&mut user),
            4 => self.finish(&mut user),
            5 => self.give_up(&mut user),
            6 => self.answer(&mut user),
            _ => match &user.admitted {
                Some(_) => self.connection.notice_at(user.call, self.now + Duration::from_millis(100)),
                None if user.reads != Reads::Done => self.connection.stop(user.call),
                None => {}
            },
        }
        let is_over = user.reads == Reads::Done && user.sends == Sends::Done && user.admitted.is_none();
        if !is_over {
            self.users.push(user);
        }
    }

    fn read(&mut self, user: &mut User) {
        let cx = Context::from_waker(Waker::noop());
        match user.reads {
            Reads::Waiting => match self.connection.poll_begin(user.call, &cx) {
                Poll::Pending => {}
                Poll::Ready(Ok((_, Begun::Stream))) => user.reads = Reads::Streaming,
                Poll::Ready(Ok((_, Begun::Only(_))) | Err(_)) => user.reads = Reads::Done,
            },
            Reads::Streaming => match self.connection.poll_more(user.call, &mut user.ahead, &cx) {
                Poll::Pending | Poll::Ready(Next::Message(_)) => {}
                Poll::Ready(Next::End(_) | Next::Failed(_)) => user.reads = Reads::Done,
            },
            Reads::Done => {}
        }
    }

    /// A message of a stream, once there is room for it.
    fn send(&mut self, user: &mut User) {
        let message = Bytes::from(vec![2; self.input.pick(&LENGTHS)]);
        let cx = Context::from_waker(Waker::noop());
        if user.sends == Sends::Done || self.connection.poll_send(user.call, &mut None, &cx) != Poll::Ready(Ok(())) {
            return;
        }
        match self.connection.send(user.call, message, false) {
            Ok(()) => user.sends = Sends::Some,
            Err(SendError::TooLarge { .. }) => self.give_up(user),
            Err(SendError::Closed) => panic!("ready and closed"),
        }
    }

    fn finish(&mut self, user: &mut User) {
        if user.sends == Sends::Done {
            return;
        }
        let fails = user.admitted.is_some() && self.input.flip();
        let not_executed = fails && user.sends == Sends::Nothing;
        let status = fails.then(|| Status::internal("failed"));
        self.connection.finish(user.call, Ending { status, trailers: None, not_executed });
        Self::answered(user);
    }

    /// A handler's whole answer, or the beginning of one.
    fn answer(&mut self, user: &mut User) {
        if user.admitted.is_none() || user.sends != Sends::Nothing {
            return;
        }
        if self.input.flip() {
            self.connection.begin(user.call, &Headers::new());
            user.sends = Sends::Some;
            return;
        }
        let message = Bytes::from(vec![3; self.input.pick(&LENGTHS)]);
        if let Err(error) = self.connection.send(user.call, message, true) {
            self.connection.finish(user.call, Ending::failed(error.status()));
        }
        Self::answered(user);
    }

    fn give_up(&mut self, user: &mut User) {
        if user.admitted.is_some() {
            self.connection.discard(user.call);
            if user.sends != Sends::Done {
                self.connection.finish(user.call, Ending::failed(Status::internal("given up")));
            }
        } else if user.reads != Reads::Done {
            self.connection.abandon(user.call, Code::CANCELLED);
        }
        user.reads = Reads::Done;
        Self::answered(user);
    }

    fn answered(user: &mut User) {
        user.sends = Sends::Done;
        if let Some(admitted) = user.admitted.take() {
            admitted.finish(Outcome::Completed);
        }
    }

    /// What holds at any time.
    fn check(&self) {
        let Connection { calls, in_flight, settings, outbox, ready, failure, .. } = &self.connection;
        if failure.is_none() {
            assert!(*in_flight <= calls.len(), "{in_flight} of {} calls count", calls.len());
        }
        assert!(*in_flight <= settings.max_calls.max(self.connection.theirs.max_calls) as usize);
        // Calls that have ended since stand there until the writer's next turn.
        let twice = |call| ready.iter().filter(|other| *other == call).count() > 1;
        assert!(!ready.iter().any(twice), "a call stands twice in the queue");
        let held: usize = calls.values().map(|call| call.receiving.bytes()).sum();
        assert!(held <= self.fed, "{held} bytes are held, {} came", self.fed);
        for call in calls.values() {
            assert!(call.receiving.bytes() <= settings.credit as usize + settings.max_message);
        }
        let windows = calls.len() * settings.credit as usize;
        // A message whose reader was woken for it and has not come back is no reason to keep others waiting.
        let whole = calls.values().filter(|call| call.receiving.is_readable()).count();
        let most = windows + settings.large_messages + (1 + whole) * settings.max_message;
        assert!(held <= most, "{} calls hold {held} bytes, {most} allowed", calls.len());
        assert!(outbox.staged() <= settings.unwritten + (1 << 20), "{} bytes are staged", outbox.staged());
    }

    /// The connection is lost: nothing may be left of its calls.
    fn end(mut self) {
        let was_well = self.connection.failure.is_none();
        self.connection.fail(Failure::new(ErrorKind::Disconnected, "lost"));
        if !was_well {
            self.flush();
        }
        for mut user in std::mem::take(&mut self.users) {
            for _ in 0..=self.fed {
                if user.reads == Reads::Done {
                    break;
                }
                self.read(&mut user);
            }
            assert!(user.reads == Reads::Done || user.admitted.is_some(), "call {} never ends", user.call);
            self.finish(&mut user);
        }
        assert!(self.connection.calls.is_empty(), "{:?}", self.connection.calls.keys());
        assert_eq!(self.connection.in_flight, 0);
        let stats = self.endpoints.stats();
        assert_eq!((stats.in_flight, stats.queued), (0, 0));
        assert_eq!(stats.started, stats.completed + stats.failed + stats.cancelled);
    }
}
