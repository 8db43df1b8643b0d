//! Takes in what comes to a server, and takes calls on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Message, StatusCode, Subject};
use bytes::Bytes;
use parking_lot::Mutex;
use plane_core::{
    Admitted, Body, CallInfo, Canceller, Code, Context, Delivery, Endpoints, Error, ErrorKind, InstanceId, Peer,
    Request, Status,
};
use rustc_hash::FxHashMap;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::answer::{Running, Work};
use super::asked::{Asked, Kind};
use super::call::Call;
use super::callers::Callers;
use super::calls::Calls;
use super::quick;
use crate::connection::{NatsConnection, Outbound};
use crate::controls::Controls;
use crate::flow::Incoming;
use crate::secret::secret_token;
use crate::status::End;
use crate::subject::{self, Addressed};

/// What the run of a stored request needs of its server.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) address: String,
    pub(super) calls: Arc<Calls>,
    pub(super) peer: Arc<Peer>,
}

/// Subjects that NATS does not let this side use.
pub(super) type Denied = broadcast::Receiver<Arc<str>>;

/// What a server and its driver share.
#[derive(Debug)]
pub(super) struct Core {
    connection: NatsConnection,
    address: String,
    endpoints: Endpoints,
    calls: Arc<Calls>,
    controls: Arc<Controls>,
    /// Who waits to hear a message of its own.
    probes: Mutex<FxHashMap<u64, oneshot::Sender<()>>>,
    /// What is being told to those who were refused.
    refusals: TaskTracker,
    callers: Callers,
    peer: Arc<Peer>,
}

impl Core {
    pub(super) fn new(connection: NatsConnection, address: String, endpoints: Endpoints) -> Self {
        Self {
            connection,
            address,
            endpoints,
            calls: Arc::default(),
            controls: Arc::default(),
            probes: Mutex::default(),
            refusals: TaskTracker::new(),
            callers: Callers::default(),
            peer: Arc::new(Peer::new("nats", "")),
        }
    }

    pub(super) fn connection(&self) -> &NatsConnection {
        &self.connection
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    pub(super) fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    pub(super) fn callers(&self) -> &Callers {
        &self.callers
    }

    pub(super) fn controls(&self) -> &Controls {
        &self.controls
    }

    /// What a stored request's run needs.
    pub(super) fn parts(&self) -> Parts {
        Parts { address: self.address.clone(), calls: self.calls.clone(), peer: self.peer.clone() }
    }

    /// What is still to be said when the server ends.
    pub(super) fn tracker(&self) -> &TaskTracker {
        &self.refusals
    }

    /// Sends a message to itself and waits until it comes: then NATS has handled everything before it. Fails if NATS
    /// says before that that this server may not use one of these subjects, or its own.
    pub(super) async fn hear_itself(&self, denied: &mut Denied, subjects: &[String]) -> Result<(), Error> {
        let nonce = fastrand::u64(..);
        let (heard, hearing) = oneshot::channel();
        self.probes.lock().insert(nonce, heard);
        let subject = subject::probe(&self.address, nonce).into();
        let probe = Outbound { subject, reply: None, headers: None, payload: Bytes::new() };
        let limit = self.connection.config().request_timeout;
        let heard = async {
            self.connection.publish(probe).await?;
            // The sender is kept until it was heard.
            let _ = hearing.await;
            Ok(())
        };
        let result = tokio::select! {
            biased;
            error = self.denial(denied, subjects) => Ok(Err(error)),
            heard = tokio::time::timeout(limit, heard) => heard,
        };
        self.probes.lock().remove(&nonce);
        result.unwrap_or_else(|_| {
            let what =
                format!("the server did not hear itself on NATS within {limit:?}; may it use {}.>?", self.address);
            Err(Error::new(ErrorKind::Unavailable, Delivery::NotSent, what))
        })
    }

    /// Waits until NATS says that this server may not use one of these subjects, or its own.
    async fn denial(&self, denied: &mut Denied, subjects: &[String]) -> Error {
        loop {
            match denied.recv().await {
                Ok(subject) if subject.starts_with(&self.address) || subjects.iter().any(|own| **own == *subject) => {
                    let what = format!("the NATS server does not let this side use {subject}; see its permissions");
                    return Error::new(ErrorKind::PermissionDenied, Delivery::NotSent, what);
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Waits until everything has come in that NATS sent so far; it needs none of the server's subscriptions.
    pub(super) async fn round_trip(&self, at_most: Duration) -> Result<(), Error> {
        let subject = subject::probe(&self.address, fastrand::u64(..));
        self.connection.round_trip(subject, at_most).await
    }

    /// Takes in one message of the server's own subscription.
    pub(super) fn take(&self, message: Message) {
        let subject = message.subject.clone();
        match self.addressed(&subject) {
            Addressed::Probe(subject::HAIL) => {
                if let Some(reply) = &message.reply {
                    self.callers.hear(reply, Instant::now());
                }
            }
            Addressed::Probe(nonce) => {
                if let Some(heard) = self.probes.lock().remove(&nonce) {
                    // Whoever waited may have given up.
                    let _ = heard.send(());
                }
            }
            Addressed::Control(id) => self.calls.take(id, message),
            Addressed::Call(endpoint, instance) => {
                if let Err(status) = self.take_call(endpoint, instance, &message) {
                    self.refuse(message.reply, status);
                }
            }
            Addressed::PassedOn(caller) => self.take_back(caller, message.status),
            Addressed::Strange => tracing::debug!(%subject, "a message that no call has"),
        }
    }

    /// Takes in one message of a subject that other servers share, unless this one does not serve it any more.
    pub(super) fn offer(&self, message: &Message) -> bool {
        let Addressed::Call(endpoint, instance) = self.addressed(&message.subject) else { return true };
        match self.take_call(endpoint, instance, message) {
            Err(status) if matches!(status.code(), Code::NOT_FOUND | Code::UNAVAILABLE) => return false,
            Err(status) => self.refuse(message.reply.clone(), status),
            Ok(()) => {}
        }
        true
    }

    fn addressed<'a>(&self, subject: &'a Subject) -> Addressed<'a> {
        let prefix = &self.connection.config().prefix;
        let below = |start: &str| subject.strip_prefix(start).and_then(|rest| rest.strip_prefix('.'));
        below(&self.address).or_else(|| below(prefix)).map_or(Addressed::Strange, subject::parse)
    }

    /// Whom to answer, if another server has given the call back.
    fn caller_behind(&self, reply: &Subject) -> Option<Subject> {
        subject::caller_behind(&self.connection.config().prefix, reply).map(Subject::from)
    }

    fn take_call(&self, endpoint: &str, instance: Option<InstanceId>, message: &Message) -> Result<(), Status> {
        let Some(reply) = &message.reply else {
            // Nobody would hear the answer, nor the refusal.
            tracing::debug!(endpoint, "a request without a reply subject");
            return Ok(());
        };
        let asked = Asked::read(message.headers.as_ref(), self.connection.config().headers);
        let asked = asked.map_err(|(refusal, status)| {
            self.endpoints.refuse(refusal, &self.peer, &status);
            status
        })?;
        let admitted = self.endpoints.admit(endpoint, instance, &self.peer)?;
        let behind = self.caller_behind(reply);
        self.start(admitted, behind.as_ref().unwrap_or(reply), asked, message.payload.clone())
    }

    /// Gives a call that came to a subject shared with other servers back to NATS, for another one. The subscription
    /// must have been ended before. If there is no other one, NATS tells this server, as the caller is not the sender.
    pub(super) async fn pass_on(&self, message: Message) {
        let Message { subject, reply, headers, payload, .. } = message;
        let Some(reply) = reply else { return };
        let caller = self.caller_behind(&reply).unwrap_or(reply);
        let reply = Some(subject::passed_on(&self.address, &caller).into());
        // Without a connection the caller ends the call by itself.
        let _ = self.connection.publish(Outbound { subject, reply, headers, payload }).await;
    }

    /// Refuses a call that was given back, if NATS says that nobody else takes it.
    fn take_back(&self, caller: &str, said: Option<StatusCode>) {
        if said == Some(StatusCode::NO_RESPONDERS) {
            let status = Status::unavailable("the server that the call came to leaves, and there is no other one");
            self.refuse(Some(caller.into()), status);
        }
    }

    fn refuse(&self, reply: Option<Subject>, status: Status) {
        let Some(reply) = reply else { return };
        let reply = self.caller_behind(&reply).unwrap_or(reply);
        let (headers, payload) = End::refused(status).encode(self.connection.max_payload());
        let connection = self.connection.clone();
        let refusal = Outbound { subject: reply, reply: None, headers: Some(headers), payload };
        // Reading goes on meanwhile: whoever is refused must not hold up those who are not.
        self.refusals.spawn(async move {
            // Without a connection the caller ends the call by itself.
            let _ = connection.publish(refusal).await;
        });
    }

    fn start(&self, admitted: Admitted, reply: &Subject, asked: Asked<'_>, payload: Bytes) -> Result<(), Status> {
        let Asked { id, headers, deadline, credit, body } = asked;
        let instance = admitted.instance();
        let (context, canceller) = Context::new(CallInfo {
            endpoint: instance.endpoint.clone(),
            instance: instance.id,
            peer: self.peer.clone(),
            deadline,
        });
        let streams = body == Kind::Stream;
        let body = if body == Kind::None { Body::empty() } else { payload.into() };
        let (endpoint, instance) = (context.endpoint().clone(), Some(context.instance()));
        let mut request = Request { endpoint, instance, headers, deadline, body };
        if id.is_none() && !streams && quick::is_trusted(&admitted, &context) {
            let parts = (context.clone(), &canceller);
            let Some((admitted, left)) = quick::answer(&self.connection, reply, admitted, request, parts) else {
                return Ok(());
            };
            let call = self.call(reply, id, canceller, credit, None);
            let running = self.enter(admitted, call, context, streams)?;
            tokio::spawn(running.run(Work::Started(left)));
            return Ok(());
        }
        let call = self.call(reply, id, canceller, credit, streams.then(|| self.incoming()));
        let running = self.enter(admitted, call, context, streams)?;
        if streams {
            request.body = running.call.request_body(&self.controls);
        }
        tokio::spawn(running.run(Work::Request(request)));
        Ok(())
    }

    fn incoming(&self) -> Incoming {
        let config = self.connection.config();
        Incoming::new(config.credit, self.connection.max_payload(), config.max_message)
    }

    /// A call under the id that it is given, or else one that is not taken.
    fn call(
        &self,
        reply: &Subject,
        given: Option<&str>,
        canceller: Canceller,
        credit: u32,
        incoming: Option<Incoming>,
    ) -> Call {
        let known = given.map(str::to_owned);
        let known = known.or_else(|| subject::request_id_of(reply).filter(|id| !self.calls.has(id)));
        let id = known.unwrap_or_else(secret_token);
        let control = subject::control(&self.address, &id).into();
        Call::new(reply.clone(), control, canceller, credit, incoming)
    }

    /// Puts a call in the table.
    fn enter(&self, admitted: Admitted, call: Call, context: Context, streams: bool) -> Result<Running, Status> {
        let call = Arc::new(call);
        let Some(entry) = self.calls.enter(&call) else {
            return Err(Status::new(Code::ALREADY_EXISTS, format!("the call {} is in flight already", call.id())));
        };
        let request_credit = streams.then_some(self.connection.config().credit);
        Ok(Running {
            connection: self.connection.clone(),
            call,
            context,
            request_credit,
            admitted,
            stored: None,
            entry,
        })
    }

    /// No answer can reach its caller any more.
    pub(super) fn lose_connection(&self) {
        self.controls.clear();
        self.calls.lose_callers();
    }

    /// Nothing is taken in any more; what is still to be said is written.
    pub(super) async fn end(&self, at_most: Duration) {
        self.refusals.close();
        let said = async {
            self.controls.tell(&self.connection).await;
            self.refusals.wait().await;
        };
        // Of a lost connection nothing more can be had.
        let _ = tokio::time::timeout(at_most, said).await;
        self.connection.flush(at_most).await;
    }
}
