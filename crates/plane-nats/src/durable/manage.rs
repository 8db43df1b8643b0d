//! What an operator does with stored requests: look, replay, requeue ([`RequestStore`]).

use std::time::{Instant, SystemTime};

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use plane_core::{Delivery, EndpointId, Error, ErrorKind};

use super::api::Failure;
use super::dead::{self, DeadLetter};
use super::store::Store;
use super::wire::Wanted;
use crate::connection::NatsConnection;
use crate::head;

/// The stored requests and dead letters of one prefix.
#[derive(Debug)]
pub struct RequestStore {
    store: Store,
}

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayFrom {
    /// At this place in the store, or at the first after it.
    Sequence(u64),
    /// At the first request that was stored then or later, on the NATS server's clock.
    Time(SystemTime),
}

/// How far a replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Replayed {
    /// Requests stored again so far.
    pub requests: u64,
    /// The place of the last of them. After an error, a replay from the next goes on.
    pub last: u64,
    /// Where it ends: the last place when it began.
    pub until: u64,
}

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreStats {
    /// Requests that are stored, answered or not.
    pub stored: u64,
    /// Of those, the ones that were not answered yet and whose endpoint has had a server.
    pub pending: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of the stored requests.
    pub bytes: u64,
    /// Bytes that the stored requests may take.
    pub max_bytes: u64,
}

fn failed(what: &'static str) -> impl Fn(Failure) -> Error {
    move |failure| failure.into_error(what, Delivery::Unknown)
}

impl RequestStore {
    /// The store of the connection's prefix, made if it is not there.
    ///
    /// # Errors
    /// `InvalidArgument` unless the connection's settings have [`NatsDelivery::JetStream`](crate::NatsDelivery);
    /// `FailedPrecondition` naming a setting that differs from the store that is there; what connecting can fail with.
    pub async fn open(connection: &NatsConnection) -> Result<Self, Error> {
        let store = Self::of(connection)?;
        store.store.ensure().await?;
        Ok(store)
    }

    /// Changes the store that is there to the connection's settings. Where it keeps its files cannot be changed.
    ///
    /// # Errors
    /// As [`open`](Self::open); `FailedPrecondition` if the NATS server does not allow the change.
    pub async fn apply(connection: &NatsConnection) -> Result<Self, Error> {
        let store = Self::of(connection)?;
        store.store.apply().await?;
        Ok(store)
    }

    fn of(connection: &NatsConnection) -> Result<Self, Error> {
        let store = Store::of(connection).ok_or_else(|| {
            let what = "there is no store with core delivery: set DYN_NATS_DELIVERY=jetstream";
            Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what)
        })?;
        Ok(Self { store })
    }

    /// What the store holds.
    ///
    /// # Errors
    /// Why JetStream did not say.
    pub async fn stats(&self) -> Result<StoreStats, Error> {
        let failed = failed("count the stored requests");
        let names = self.store.names();
        let requests = self.store.stream(&names.requests).await.map_err(&failed)?;
        let dead = self.store.stream(&names.dead).await.map_err(&failed)?;
        let consumers = self.store.consumers().await.map_err(&failed)?;
        Ok(StoreStats {
            stored: requests.state.messages,
            pending: consumers.iter().map(|consumer| consumer.waiting + consumer.unacked).sum(),
            dead: dead.state.messages,
            bytes: requests.state.bytes,
            max_bytes: u64::try_from(requests.config.max_bytes).unwrap_or(0),
        })
    }

    /// Stores the requests of an endpoint again, answered or not, from there up to the last one that is stored now.
    ///
    /// Each becomes a new request without a caller and a deadline, which says in `Plane-Origin` what it repeats.
    /// `progress` hears after each how far it is.
    ///
    /// # Errors
    /// `ResourceExhausted` once the store is full; else why JetStream did not do it. What was replayed by then stays.
    ///
    /// # Cancel safety
    /// If the future is dropped, what `progress` has heard was done, and perhaps one request more.
    pub async fn replay(
        &self,
        endpoint: &EndpointId,
        from: ReplayFrom,
        mut progress: impl FnMut(Replayed),
    ) -> Result<Replayed, Error> {
        let failed = failed("read the stored requests");
        let names = self.store.names();
        let until = self.store.stream(&names.requests).await.map_err(&failed)?.state.last;
        let subject = names.request_subject(Some(endpoint));
        let mut next = match from {
            ReplayFrom::Sequence(sequence) => sequence.max(1),
            ReplayFrom::Time(time) => self.first_since(&subject, time, until).await.map_err(&failed)?,
        };
        let run = fastrand::u64(..);
        let mut done = Replayed { requests: 0, last: 0, until };
        while let Some(message) = self.next(&names.requests, &subject, next).await.map_err(&failed)? {
            if message.sequence > until {
                break;
            }
            let id = format!("replay-{run:016x}-{}", message.sequence);
            let origin = format!("stored {}", message.sequence);
            self.store_again(endpoint, &id, &origin, &message.headers, message.payload).await?;
            done.requests += 1;
            done.last = message.sequence;
            next = message.sequence + 1;
            progress(done);
        }
        Ok(done)
    }

    /// The dead letters of an endpoint, or of all, in order: at most `limit`, after the one at this place (0 for all).
    ///
    /// # Errors
    /// Why JetStream did not say.
    pub async fn dead_letters(
        &self,
        endpoint: Option<&EndpointId>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let failed = failed("read the dead letters");
        let names = self.store.names();
        let subject = names.dead_subject(endpoint);
        let (mut letters, mut next) = (Vec::new(), after.saturating_add(1));
        while letters.len() < limit {
            let Some(message) = self.next(&names.dead, &subject, next).await.map_err(&failed)? else { break };
            next = message.sequence + 1;
            match dead::read(names, &message) {
                Some(letter) => letters.push(letter),
                None => tracing::warn!(sequence = message.sequence, "what is no dead letter is among them"),
            }
        }
        Ok(letters)
    }

    /// Stores the request of a dead letter again, as a new request with all its attempts, and removes the letter. Done
    /// twice it is done once.
    ///
    /// # Errors
    /// `NotFound` if there is no such letter; `ResourceExhausted` if the store is full; else why JetStream did not do it.
    pub async fn requeue(&self, sequence: u64) -> Result<(), Error> {
        let failed = failed("requeue the dead letter");
        let names = self.store.names();
        let wanted = Wanted { sequence: Some(sequence), ..Wanted::default() };
        let message = self.store.find(&names.dead, &wanted).await.map_err(&failed)?;
        let letter = message.as_ref().and_then(|message| dead::read(names, message).zip(Some(message)));
        let Some((letter, message)) = letter else {
            let what = format!("there is no dead letter {sequence}");
            return Err(Error::new(ErrorKind::NotFound, Delivery::NotExecuted, what));
        };
        // Always the same for one letter, so that a second try before it is removed stores nothing new.
        let died = letter.died.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let (id, origin) = (format!("requeue-{sequence}-{died:x}"), format!("dead {sequence}"));
        self.store_again(&letter.endpoint, &id, &origin, &message.headers, letter.payload).await?;
        self.store.delete(&names.dead, sequence).await.map_err(&failed)
    }

    /// Requeues the dead letters that an endpoint, or all of them, has now; returns how many.
    ///
    /// # Errors
    /// As [`requeue`](Self::requeue). What was requeued by then stays so.
    pub async fn requeue_all(&self, endpoint: Option<&EndpointId>) -> Result<u64, Error> {
        let failed = failed("read the dead letters");
        let names = self.store.names();
        let until = self.store.stream(&names.dead).await.map_err(&failed)?.state.last;
        let subject = names.dead_subject(endpoint);
        let (mut requeued, mut next) = (0, 1);
        while let Some(message) = self.next(&names.dead, &subject, next).await.map_err(&failed)? {
            if message.sequence > until {
                break;
            }
            next = message.sequence + 1;
            if dead::read(names, &message).is_some() {
                self.requeue(message.sequence).await?;
                requeued += 1;
            }
        }
        Ok(requeued)
    }

    async fn store_again(
        &self,
        endpoint: &EndpointId,
        id: &str,
        origin: &str,
        headers: &HeaderMap,
        payload: Bytes,
    ) -> Result<(), Error> {
        let mut headers = dead::own_headers(headers);
        head::set(&mut headers, head::ORIGIN, origin);
        let until = Instant::now() + self.store.connection().config().request_timeout;
        self.store.put_request(endpoint, id, headers, payload, until).await?;
        Ok(())
    }

    async fn next(&self, stream: &str, subject: &str, from: u64) -> Result<Option<StreamMessage>, Failure> {
        let wanted = Wanted { next_of: Some(subject), sequence: Some(from), ..Wanted::default() };
        self.store.find(stream, &wanted).await
    }

    /// The place of the first request of a subject that was stored then or later, by halves; one past the end if none.
    async fn first_since(&self, subject: &str, time: SystemTime, until: u64) -> Result<u64, Failure> {
        let (mut low, mut high) = (1, until + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.next(&self.store.names().requests, subject, middle).await? {
                Some(found) if SystemTime::from(found.time) < time => low = found.sequence + 1,
                // Those from the middle up to it are of other subjects.
                _ => high = middle,
            }
        }
        Ok(low)
    }
}
