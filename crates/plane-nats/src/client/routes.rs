//! Which call an answer belongs to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_nats::{Message, StatusCode};
use parking_lot::Mutex;
use plane_core::{Code, Delivery, DrainReport, Error, ErrorKind};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::Notify;

use super::call::{Call, Heard};
use crate::controls::Controls;
use crate::subject;

/// The calls in flight, by the last token of the subject that their answers come to.
#[derive(Debug)]
pub(super) struct Routes {
    table: Mutex<Table>,
    next: AtomicU64,
    limit: usize,
    /// What the ids of its requests begin with.
    token: String,
    empty: Notify,
    /// Rung by the first call after an idle time.
    used: Notify,
    /// Messages that belonged to no call.
    strays: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    calls: FxHashMap<u64, Arc<Call>>,
    closed: bool,
    /// The NATS server does not let this side listen for answers.
    deaf: bool,
    /// Somebody waits for the first call.
    idle: bool,
    /// The caller of the only call reads the inbox itself.
    heard_alone: bool,
}

impl Routes {
    pub(super) fn new(limit: usize, token: String) -> Self {
        Self {
            table: Mutex::default(),
            next: AtomicU64::new(1),
            limit,
            token,
            empty: Notify::new(),
            used: Notify::new(),
            strays: AtomicU64::new(0),
        }
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Puts a call in the table; whether it is the only one.
    pub(super) fn insert(&self, call: &Arc<Call>) -> Result<bool, Error> {
        let mut table = self.table.lock();
        if table.closed {
            return Err(Error::new(ErrorKind::Cancelled, Delivery::NotSent, "the client is closed"));
        }
        if table.deaf {
            return Err(deaf(Delivery::NotSent));
        }
        if table.calls.len() >= self.limit {
            let what = format!("{} calls are in flight, as many as may be (NatsConfig::max_calls)", self.limit);
            return Err(Error::new(ErrorKind::ResourceExhausted, Delivery::NotSent, what));
        }
        table.calls.insert(call.id, call.clone());
        let first = std::mem::take(&mut table.idle);
        let alone = table.calls.len() == 1;
        drop(table);
        if first {
            self.used.notify_one();
        }
        Ok(alone)
    }

    /// Lets the caller of the only call read the inbox; whether there is just one.
    pub(super) fn hear_alone(&self) -> bool {
        let mut table = self.table.lock();
        let is_alone = table.calls.len() == 1;
        // Only whoever wakes the task takes this back: a second call that has just come will, and must find it.
        table.heard_alone |= is_alone;
        is_alone
    }

    /// Lets one task read the inbox for all calls; whether a caller did.
    pub(super) fn hear_together(&self) -> bool {
        std::mem::take(&mut self.table.lock().heard_alone)
    }

    pub(super) fn remove(&self, id: u64) {
        let mut table = self.table.lock();
        table.calls.remove(&id);
        let last = table.calls.is_empty();
        drop(table);
        if last {
            self.empty.notify_waiters();
        }
    }

    /// Takes in one message of the inbox.
    pub(super) fn take(&self, message: Message, controls: &Controls) {
        let token = message.subject.rsplit('.').next().unwrap_or_default();
        if token.starts_with(subject::SERVER) {
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                self.lose_server(token);
            }
            return;
        }
        let id = subject::call_number(token);
        let call = id.and_then(|id| self.table.lock().calls.get(&id).cloned());
        if let Some(call) = call {
            match call.take(message) {
                Heard::GoesOn => {}
                Heard::Late => _ = self.strays.fetch_add(1, Ordering::Relaxed),
                Heard::Broken(code) => {
                    if let Some(control) = call.control() {
                        controls.abort(&control, code);
                    }
                }
            }
            return;
        }
        self.strays.fetch_add(1, Ordering::Relaxed);
        // Its caller went away before it was known who answers; now it is. Nobody else's call can be named this way.
        if let (Some(id), Some(reply)) = (id, message.reply) {
            let control = subject::numbered(&reply).map_or(reply.as_str(), |(control, _)| control);
            if control.rsplit('.').next() == Some(&*self.request_id(id)) {
                controls.abort(&control.into(), Code::CANCELLED);
            }
        }
    }

    /// What servers know a call as.
    pub(super) fn request_id(&self, id: u64) -> String {
        subject::request_id(&self.token, id)
    }

    /// Waits until there is a call.
    pub(super) async fn wait_until_used(&self) {
        loop {
            // Only after an idle time: whoever makes a call does not wake the reader otherwise.
            {
                let mut table = self.table.lock();
                table.idle = table.calls.is_empty();
                if !table.idle {
                    return;
                }
            }
            self.used.notified().await;
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Call>> {
        self.table.lock().calls.values().cloned().collect()
    }

    /// Ends every call whose caller waits for it.
    pub(super) fn fail_all(&self, controls: &Controls, error: impl Fn(&Call) -> Error) {
        for call in self.all() {
            if call.fail(error(&call))
                && let Some(control) = call.control()
            {
                controls.abort(&control, Code::CANCELLED);
            }
        }
    }

    /// Every call so far has a number below this.
    pub(super) fn latest(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// The servers of the calls in flight with numbers below this.
    pub(super) fn servers_since(&self, number: u64) -> FxHashSet<String> {
        let is_older = |call: &Arc<Call>| call.id < number;
        let servers = self.all().into_iter().filter(is_older).filter_map(|call| call.control());
        servers.filter_map(|control| subject::server_of(&control).map(str::to_owned)).collect()
    }

    /// Ends the calls of a server that is not connected to NATS any more.
    fn lose_server(&self, token: &str) {
        for call in self.all() {
            let control = call.control();
            let server = control.as_deref().and_then(subject::server_of);
            if server.is_some_and(|server| server.rsplit('.').next() == Some(token)) {
                let what = "the server of the call is gone: NATS says that it is not connected any more";
                call.lose_server(Error::new(ErrorKind::Disconnected, call.delivery(), what));
            }
        }
    }

    /// Ends every call that the connection carried. What is stored is still run, and its answer is kept.
    pub(super) fn lose_connection(&self) {
        for call in self.all().into_iter().filter(|call| !call.outlives_connection()) {
            call.fail(disconnected(&call));
        }
    }

    /// Ends the calls to a subject that the NATS server does not let this side use.
    pub(super) fn deny(&self, subject: &str) {
        if subject.strip_suffix(".*").is_some_and(|inbox| inbox.ends_with(&self.token)) {
            self.table.lock().deaf = true;
            for call in self.all() {
                call.fail(deaf(Delivery::Unknown));
            }
        }
        for call in self.all().into_iter().filter(|call| call.subject.as_str() == subject) {
            let what = format!("the NATS server does not let this side publish to {subject}; see its permissions");
            call.fail(Error::new(ErrorKind::PermissionDenied, Delivery::NotExecuted, what));
        }
    }

    /// With a new connection, NATS says anew what it does not allow.
    pub(super) fn hope(&self) {
        self.table.lock().deaf = false;
    }

    pub(super) fn close(&self) {
        self.table.lock().closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.table.lock().closed
    }

    pub(super) fn len(&self) -> usize {
        self.table.lock().calls.len()
    }

    /// Messages so far that belonged to no call.
    pub(super) fn strays(&self) -> u64 {
        self.strays.load(Ordering::Relaxed)
    }

    /// Waits until no call is in flight, at most until `deadline`.
    pub(super) async fn wait_until_empty(&self, deadline: Instant) -> DrainReport {
        let before = self.len();
        let empty = async {
            loop {
                let bell = self.empty.notified();
                if self.len() == 0 {
                    return;
                }
                bell.await;
            }
        };
        // Whether it was in time shows in the table.
        let _ = tokio::time::timeout_at(deadline.into(), empty).await;
        let left = self.len();
        DrainReport::new(before.saturating_sub(left) as u64, left as u64)
    }
}

fn deaf(delivery: Delivery) -> Error {
    let what = "the NATS server does not let this side listen for answers; see its permissions and \
                DYN_NATS_INBOX_PREFIX";
    Error::new(ErrorKind::PermissionDenied, delivery, what)
}

/// What a call ends with when the connection is lost.
fn disconnected(call: &Call) -> Error {
    let what = "the connection to NATS was lost while the call was in flight";
    Error::new(ErrorKind::Disconnected, call.delivery(), what)
}
