//! Calls that are stored on the way (docs/nats.md, "Durable delivery").

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use plane_core::{Body, CallCount, Delivery, EndpointId, Error, ErrorKind, Headers, Request, Response, check_token};
use tokio::sync::watch;

use super::NatsClient;
use super::answer::Answer;
use super::call::Call;
use crate::connection::over_payload;
use crate::durable::Store;
use crate::flow::Incoming;
use crate::{head, subject};

/// The application's header that makes two requests of an endpoint one.
const KEY: &str = "idempotency-key";

/// What a stored request needs beside the application's headers, as itself and as a dead letter with its reason.
const OWN_BYTES: usize = 2_048;

/// How long a caller waits before it looks for its answer again, if that failed.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

fn refuse(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what.into())
}

/// Whether a stored call can be made at this address.
pub(super) fn check(prefix: &str, at: &str, request: &Request) -> Result<(), Error> {
    if at != prefix {
        let what = format!(
            "nats://{at} is not nats://{prefix}: with DYN_NATS_DELIVERY=jetstream, calls go to the store of the \
             prefix (DYN_NATS_PREFIX), not to a certain server"
        );
        return Err(refuse(what));
    }
    if let Some(instance) = request.instance {
        let what = format!(
            "a call to instance {instance} alone cannot be stored: with DYN_NATS_DELIVERY=jetstream, any \
             server of the endpoint may answer"
        );
        return Err(refuse(what));
    }
    Ok(())
}

/// What the request is known as if the application says so.
fn key(headers: &Headers) -> Result<Option<&str>, Error> {
    let Some(key) = headers.get(KEY) else { return Ok(None) };
    let key = std::str::from_utf8(key.as_bytes()).unwrap_or("\u{fffd}");
    check_token(key).map_err(|error| refuse(format!("{KEY}: {error}")))?;
    Ok(Some(key))
}

impl NatsClient {
    /// Stores the request, and waits until its answer begins.
    pub(super) async fn make_stored(
        &self,
        store: &Store,
        request: Request,
        count: CallCount,
    ) -> Result<Response, Error> {
        let Request { endpoint, headers, deadline, body, .. } = request;
        let config = self.connection.config();
        let number = self.shared.routes.next_id();
        let subject = store.names().request_subject(Some(&endpoint)).into();
        let incoming = Incoming::new(config.credit, self.connection.max_payload(), config.max_message);
        let call = Arc::new(Call::new(number, subject, None, incoming, config.headers).stored());
        // Nothing is heard of a request that has left the store.
        let give_up = deadline.or_else(|| Instant::now().checked_add(store.config().max_age));
        let answer = Answer::new(self.shared.clone(), call.clone(), give_up, count);
        if let Err(error) = self.shared.routes.insert(&call) {
            return Err(answer.not_sent(error));
        }
        self.shared.inbox.give_back(&self.shared.routes);
        let mut wire = HeaderMap::new();
        head::add_application(&mut wire, &headers);
        let made = key(&headers).and_then(|key| Ok((key, self.stored_payload(&mut wire, body)?)));
        let (key, payload) = match made {
            Ok(made) => made,
            Err(error) => return Err(answer.not_sent(error)),
        };
        let id = key.map_or_else(|| self.shared.routes.request_id(number), str::to_owned);
        head::set(&mut wire, head::VERSION, head::CURRENT);
        head::set(&mut wire, head::REQUEST_ID, &id);
        self.add_own_headers(&mut wire, deadline);
        head::set(&mut wire, head::REPLY, subject::inbox(&self.inbox, number));
        let connects = self.connection.connects();
        let by = Instant::now() + config.request_timeout;
        let storing =
            store.put_request(&endpoint, &id, wire, payload, deadline.map_or(by, |deadline| deadline.min(by)));
        let stored = tokio::select! {
            biased;
            stored = storing => stored,
            // Then it was stored, whether NATS still says so or not.
            () = poll_fn(|cx| call.poll_heard(cx)) => return answer.begin().await,
        };
        let is_duplicate = match stored {
            Ok(stored) => stored.duplicate,
            Err(error) => return Err(answer.not_sent(error)),
        };
        let following = Following { is_duplicate, store, endpoint: &endpoint, id: &id, call: &call, connects };
        tokio::select! {
            biased;
            response = answer.begin() => response,
            never = following.run() => match never {},
        }
    }

    /// A stored request is one message of NATS.
    fn stored_payload(&self, wire: &mut HeaderMap, body: Body) -> Result<Bytes, Error> {
        let limit = self.connection.max_payload();
        match body.into_one() {
            Ok(message) if head::wire_len(wire) + OWN_BYTES + message.len() <= limit => Ok(message),
            Ok(_) => Err(over_payload(limit)),
            Err(body) if body.is_empty() => {
                head::set(wire, head::BODY, head::BODY_NONE);
                Ok(Bytes::new())
            }
            Err(_) => {
                let what = "a request that streams its messages cannot be stored: send one message, or set \
                            DYN_NATS_DELIVERY=core";
                Err(refuse(what))
            }
        }
    }
}

/// Finds the answer of a stored request where it does not come by itself: what was sent while the connection was lost,
/// and what another caller with the same id is sent.
struct Following<'a> {
    /// Whether another caller's request was stored first.
    is_duplicate: bool,
    store: &'a Store,
    endpoint: &'a EndpointId,
    id: &'a str,
    call: &'a Call,
    connects: watch::Receiver<u64>,
}

impl Following<'_> {
    /// Follows until it is dropped.
    async fn run(self) -> Infallible {
        let is_duplicate = self.is_duplicate;
        let (mut connects, mut kept) = (self.connects.clone(), None);
        let mut looks = is_duplicate;
        loop {
            if is_duplicate && kept.is_none() {
                // Before it looks, so that what is kept in between comes.
                kept = self.listen().await;
            }
            if looks {
                looks = self.look().await.is_err();
            }
            let is_deaf = is_duplicate && kept.is_none();
            tokio::select! {
                _ = connects.changed() => looks = true,
                () = self.hear(&mut kept) => {}
                () = tokio::time::sleep(LOOK_AGAIN), if looks || is_deaf => looks = true,
            }
        }
    }

    async fn listen(&self) -> Option<Subscriber> {
        let client = self.store.connection().client().await.ok()?;
        client.subscribe(self.store.names().answer_subject(self.endpoint, self.id)).await.ok()
    }

    /// Takes the answer if it is known.
    async fn look(&self) -> Result<(), ()> {
        let kept = self.store.answer(self.endpoint, self.id).await.map_err(|failure| {
            tracing::debug!(?failure, "the answer of a stored request could not be looked up");
        })?;
        if let Some(kept) = kept {
            self.take(kept.headers, kept.payload);
        }
        Ok(())
    }

    async fn hear(&self, kept: &mut Option<Subscriber>) {
        let message = match kept {
            Some(subscriber) => subscriber.next().await,
            None => pending().await,
        };
        match message {
            Some(message) => self.take(message.headers.unwrap_or_default(), message.payload),
            None => *kept = None,
        }
    }

    fn take(&self, headers: HeaderMap, payload: Bytes) {
        if headers.get(head::GIVEN_BACK).is_some() {
            // A server that leaves says with this that it has not run the request; that is no answer.
            return;
        }
        if headers.get(head::BEGIN).is_some() && !self.is_duplicate {
            let what =
                "the connection to NATS was lost while the answer was streamed, and what is streamed is not kept";
            self.call.fail(Error::new(ErrorKind::Disconnected, Delivery::Executed, what));
            return;
        }
        self.call.take_kept(&headers, payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_tokens() {
        let mut headers = Headers::new();
        assert_eq!(key(&headers).unwrap(), None);
        headers.insert(KEY, "order-7".parse().unwrap());
        assert_eq!(key(&headers).unwrap(), Some("order-7"));
        for bad in ["", "a.b", "a b", "*", ">", &"x".repeat(65)] {
            headers.insert(KEY, bad.parse().unwrap());
            assert_eq!(key(&headers).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }
}
