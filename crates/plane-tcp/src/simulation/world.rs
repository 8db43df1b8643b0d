//! One seed: two ends, two wires, the tasks of both sides, and a clock that only moves when nothing is left to do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use fastrand::Rng;
use plane_core::{AbortReason, Code, ErrorKind};

use crate::failure::Failure;
use crate::proto::Opened;
use crate::simulation::caller::{Caller, Upload};
use crate::simulation::handler::Handler;
use crate::simulation::record::Record;
use crate::simulation::script::Script;
use crate::simulation::setting::{Ends, Fault};
use crate::simulation::side::Side;
use crate::simulation::wire::Wire;

/// Nothing goes on for this long, except what hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// Whether a task was woken since it ran last.
#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Who runs beside the two ends.
enum Actor {
    Caller(Caller),
    Upload(Upload),
    Handler(Handler),
}

struct Task {
    actor: Actor,
    flag: Arc<Flag>,
}

impl Task {
    /// A task that runs at once.
    fn new(actor: Actor) -> Self {
        Self { actor, flag: Arc::new(Flag(AtomicBool::new(true))) }
    }

    fn due(&self) -> Option<Instant> {
        match &self.actor {
            Actor::Caller(caller) => caller.due(),
            Actor::Upload(upload) => upload.due(),
            Actor::Handler(handler) => handler.due(),
        }
    }

    fn is_servers(&self) -> bool {
        matches!(self.actor, Actor::Handler(_))
    }
}

/// What can be done next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Read { server: bool },
    Write { server: bool },
    Timeout { server: bool },
    Run(usize),
    Fault(usize),
}

/// One seed while it runs.
pub(super) struct World {
    rng: Rng,
    start: Instant,
    now: Instant,
    ends: Ends,
    to_server: Wire,
    to_client: Wire,
    tasks: Vec<Task>,
    faults: Vec<(Instant, Fault)>,
    scripts: BTreeMap<u64, Script>,
    record: Record,
}

impl World {
    /// What a seed draws.
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let start = Instant::now();
        let ends = Ends::draw(&mut rng, start);
        let calls = [1, 6, 30][rng.usize(..3)];
        let mut scripts = BTreeMap::new();
        for nonce in 1..=rng.u64(1..=calls) {
            scripts.insert(nonce, Script::draw(&mut rng, nonce, &ends.edges));
        }
        let faults = Fault::draw(&mut rng);
        let wires = [Wire::new(&mut rng), Wire::new(&mut rng)];
        Self::with(rng, start, ends, scripts, wires, faults)
    }

    /// These calls between these ends, on wires to the server and to the client, and what is done to them after a time.
    pub(super) fn with(
        rng: Rng,
        start: Instant,
        ends: Ends,
        scripts: BTreeMap<u64, Script>,
        [to_server, to_client]: [Wire; 2],
        faults: Vec<(Duration, Fault)>,
    ) -> Self {
        let caller =
            |script: &Script| Task::new(Actor::Caller(Caller::new(script.nonce, script.caller.clone(), start)));
        // A ping waits behind what is being written. A way on which that takes too long is as bad as a fault.
        let slow = to_server.slowest() + to_client.slowest() > ends.patience / 8;
        Self {
            tasks: scripts.values().map(caller).collect(),
            record: Record::new(slow, ends.impatient),
            faults: faults.into_iter().map(|(after, fault)| (start + after, fault)).collect(),
            rng,
            start,
            now: start,
            ends,
            to_server,
            to_client,
            scripts,
        }
    }

    /// Runs until nothing goes on any more, then checks what must hold. Gives what happened, and how long the callers
    /// waited.
    pub(super) fn run(mut self) -> (Record, Duration) {
        let mut calls_took = Duration::ZERO;
        while !self.is_over() {
            if self.tasks.iter().any(|task| matches!(task.actor, Actor::Caller(_))) {
                calls_took = self.now - self.start;
            }
            let steps = self.steps();
            if steps.is_empty() {
                self.check_rest();
                self.wait();
            } else {
                let step = steps[self.rng.usize(..steps.len())];
                self.take(step);
                self.record.steps += 1;
            }
        }
        self.check();
        (self.record, calls_took)
    }

    fn is_over(&self) -> bool {
        let Ends { client, server, .. } = &self.ends;
        let closed = client.is_closed() && server.is_closed();
        let quiet = client.is_quiet() && server.is_quiet() && self.to_server.is_empty() && self.to_client.is_empty();
        let open = !client.is_closed() && !server.is_closed();
        self.tasks.is_empty() && self.faults.is_empty() && (closed || (quiet && open))
    }

    fn side(&mut self, server: bool) -> &mut Side {
        if server { &mut self.ends.server } else { &mut self.ends.client }
    }

    fn wire_to(&self, server: bool) -> &Wire {
        if server { &self.to_server } else { &self.to_client }
    }

    /// What could be done now.
    fn steps(&mut self) -> Vec<Step> {
        let now = self.now;
        let mut steps = Vec::new();
        for server in [false, true] {
            let arrived = self.wire_to(server).next_arrival().is_some_and(|at| at <= now);
            let room = self.wire_to(!server).room() > 0;
            let side = self.side(server);
            if side.frozen(now).is_some() {
                continue;
            }
            if arrived && side.reads() {
                steps.push(Step::Read { server });
            }
            if side.writes(room) {
                steps.push(Step::Write { server });
            }
            if side.next_timeout().is_some_and(|at| at <= now) {
                steps.push(Step::Timeout { server });
            }
        }
        for (index, task) in self.tasks.iter().enumerate() {
            let side = if task.is_servers() { &self.ends.server } else { &self.ends.client };
            let woken = task.flag.0.load(Ordering::Relaxed) || task.due().is_some_and(|at| at <= now);
            if woken && side.frozen(now).is_none() {
                steps.push(Step::Run(index));
            }
        }
        let due = |(index, (at, _)): (usize, &(Instant, Fault))| (*at <= now).then_some(Step::Fault(index));
        steps.extend(self.faults.iter().enumerate().filter_map(due));
        steps
    }

    /// Moves the clock to when something happens next.
    fn wait(&mut self) {
        let now = self.now;
        let mut next: Vec<Instant> = self.faults.iter().map(|(at, _)| *at).collect();
        for server in [false, true] {
            let arrival = self.wire_to(server).next_arrival();
            let side = self.side(server);
            let frozen = side.frozen(now);
            let timeout = side.next_timeout();
            let arrival = arrival.filter(|_| side.reads());
            next.extend([arrival, timeout].into_iter().flatten().map(|at| frozen.map_or(at, |until| until.max(at))));
            next.extend(frozen);
        }
        next.extend(self.tasks.iter().filter_map(Task::due));
        let next = next.into_iter().filter(|at| *at > now).min();
        self.now = next.unwrap_or_else(|| panic!("nothing will ever happen again: {:?}", self.record));
        assert!(self.now < self.start + PATIENCE, "it hangs: {:?}", self.record);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Read { server } => self.read(server),
            Step::Write { server } => self.write(server),
            Step::Timeout { server } => {
                let now = self.now;
                let (side, _, out) = parts(&mut self.ends, &mut self.to_server, &mut self.to_client, server);
                side.handle_timeout(now, out, &mut self.rng);
            }
            Step::Run(index) => self.run_task(index),
            Step::Fault(index) => {
                let (_, fault) = self.faults.swap_remove(index);
                self.inflict(fault);
            }
        }
        let largest = self.ends.largest_frame;
        for server in [false, true] {
            for waker in self.side(server).wakers() {
                waker.wake();
            }
            self.side(server).check_memory(largest);
            self.check_blame(server);
        }
    }

    /// Both ends are correct, so neither may find the other wrong.
    fn check_blame(&mut self, server: bool) {
        let blamed = self.side(server).connection.failure.as_ref().filter(|failure| failure.tell.is_some());
        assert!(blamed.is_none_or(|failure| failure.tell == Some(Code::OK)), "a correct peer is blamed: {blamed:?}");
    }

    fn read(&mut self, server: bool) {
        let most = [1, 100, 10_000, usize::MAX][self.rng.usize(..4)];
        let now = self.now;
        let (side, incoming, out) = parts(&mut self.ends, &mut self.to_server, &mut self.to_client, server);
        let Some(got) = incoming.receive(now, most.min(side.read_size())) else { return };
        for opened in side.read(now, got, out, &mut self.rng) {
            self.answer(opened);
        }
    }

    fn answer(&mut self, opened: Opened) {
        let script = &self.scripts[&Handler::nonce_of(&opened.headers)];
        // One that was over with the read that brought it is not started.
        let Some(canceller) = self.ends.server.connection.canceller(opened.call) else { return };
        let mut handler = Handler::new(opened, canceller, script.handler.clone());
        handler.start(self.now, &mut self.ends.server.connection, &mut self.record);
        self.tasks.push(Task::new(Actor::Handler(handler)));
    }

    fn write(&mut self, server: bool) {
        let most = [1, 1_000, usize::MAX, usize::MAX][self.rng.usize(..4)];
        let now = self.now;
        let gone = if server { self.ends.client.is_closed() } else { self.ends.server.is_closed() };
        let (side, _, out) = parts(&mut self.ends, &mut self.to_server, &mut self.to_client, server);
        side.write(now, most, gone, out, &mut self.rng);
    }

    fn run_task(&mut self, index: usize) {
        let Self { tasks, ends, record, now, .. } = self;
        let task = &mut tasks[index];
        task.flag.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(task.flag.clone());
        let mut cx = Context::from_waker(&waker);
        let (client, server) = (&mut ends.client.connection, &mut ends.server.connection);
        let mut upload = None;
        let done = match &mut task.actor {
            Actor::Caller(caller) => {
                let before = caller.call();
                let polled = caller.poll(*now, client, record, &cx);
                if before.is_none() {
                    upload = caller.call().and_then(|call| Upload::of(caller, call));
                }
                polled.is_ready()
            }
            Actor::Upload(upload) => upload.poll(*now, client, record, &cx).is_ready(),
            Actor::Handler(handler) => handler.poll(*now, server, record, &mut cx).is_ready(),
        };
        let caller = match &task.actor {
            Actor::Caller(caller) if done => Some(caller.nonce()),
            _ => None,
        };
        if done {
            tasks.swap_remove(index);
        }
        match caller {
            // The task that sends a request ends with its caller.
            Some(nonce) => {
                tasks.retain(|task| !matches!(&task.actor, Actor::Upload(upload) if upload.nonce() == nonce))
            }
            None => tasks.extend(upload.map(|upload| Task::new(Actor::Upload(upload)))),
        }
    }

    fn inflict(&mut self, fault: Fault) {
        let now = self.now;
        self.record.disturbed |= fault.disturbs();
        self.record.leaving |= !fault.disturbs();
        match fault {
            Fault::Pause { to_server: true, lasts } => self.to_server.pause(now + lasts),
            Fault::Pause { to_server: false, lasts } => self.to_client.pause(now + lasts),
            Fault::Cut { to_server: true } => self.to_server.cut(),
            Fault::Cut { to_server: false } => self.to_client.cut(),
            Fault::Reset => {
                self.to_server.reset(now);
                self.to_client.reset(now);
            }
            Fault::Freeze { server, lasts } => {
                self.record.frozen += lasts;
                self.side(server).freeze(now + lasts);
            }
            Fault::Drain { grace } => {
                self.ends.endpoints.start_draining();
                self.ends.server.connection.go_away(Code::OK, "the server is draining", grace);
            }
            Fault::Abort => self.ends.server.connection.abort_all(AbortReason::Shutdown),
            Fault::Retire => {
                self.ends.client.connection.go_away(Code::OK, "the client was closed", Duration::ZERO);
            }
            Fault::Close => {
                let failure = Failure::new(ErrorKind::Cancelled, "the client was closed");
                self.ends.client.fail(now, failure, &mut self.to_server, &mut self.rng);
            }
        }
    }

    /// While nothing can be done, nobody may have something to do: whoever would get on was not woken.
    fn check_rest(&mut self) {
        for index in (0..self.tasks.len()).rev() {
            let task = &self.tasks[index];
            let side = if task.is_servers() { &self.ends.server } else { &self.ends.client };
            if side.frozen(self.now).is_some() {
                continue;
            }
            let before = (self.tasks.len(), task.due(), self.record.events());
            self.run_task(index);
            let after = (self.tasks.len(), self.tasks.get(index).and_then(Task::due), self.record.events());
            assert_eq!(before, after, "a task was not woken: {:?}", self.record);
        }
    }

    fn check(&self) {
        self.record.check();
        for (name, side) in [("client", &self.ends.client), ("server", &self.ends.server)] {
            side.check_empty(name);
        }
        let stats = self.ends.endpoints.stats();
        assert_eq!((stats.in_flight, stats.queued), (0, 0), "{stats:?}");
        assert_eq!(stats.started, stats.completed + stats.failed + stats.cancelled, "{stats:?}");
    }
}

/// An end, what comes to it and what goes from it.
fn parts<'a>(
    ends: &'a mut Ends,
    to_server: &'a mut Wire,
    to_client: &'a mut Wire,
    server: bool,
) -> (&'a mut Side, &'a mut Wire, &'a mut Wire) {
    if server { (&mut ends.server, to_server, to_client) } else { (&mut ends.client, to_client, to_server) }
}
