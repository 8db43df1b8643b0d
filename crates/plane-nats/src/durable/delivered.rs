//! A stored request that was given to this server, and what it says to JetStream about it ([`Delivered`]).

use std::time::{Duration, SystemTime};

use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;

use crate::connection::{NatsConnection, Outbound};

/// What a stored request's acknowledgements begin with.
const ACKS: &str = "$JS.ACK.";

/// A stored request that was given to this server.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    /// Where it is acknowledged.
    pub(crate) ack: Subject,
    /// Its place in the store.
    pub(crate) sequence: u64,
    /// How often it was given to servers, this time included.
    pub(crate) deliveries: u64,
    /// When it was stored, on the NATS server's clock.
    pub(crate) stored: SystemTime,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// What JetStream is told about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// It is done.
    Done,
    /// It is being worked on.
    GoesOn,
    /// It is to be given to a server again, after this time.
    Again(Duration),
    /// It is never to be given to a server again.
    Never,
}

impl Delivered {
    /// Reads what came; `None` for a message of another kind.
    pub(crate) fn read(message: Message) -> Option<Self> {
        let ack = message.reply?;
        let tokens: Vec<&str> = ack.as_str().strip_prefix(ACKS)?.split('.').collect();
        // Newer servers put the domain and the account before the name of the stream.
        let facts = if tokens.len() >= 9 { tokens.get(4..8)? } else { tokens.get(2..6)? };
        let [deliveries, sequence, _, nanos] = facts else { return None };
        let nanos: u64 = nanos.parse().ok()?;
        Some(Self {
            sequence: sequence.parse().ok()?,
            deliveries: deliveries.parse().ok()?,
            stored: SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos),
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
            ack,
        })
    }

    pub(crate) async fn say(&self, connection: &NatsConnection, word: Word) {
        say(connection, &self.ack, word).await;
    }
}

/// Tells JetStream; a word that is lost makes it give the request to a server again.
pub(crate) async fn say(connection: &NatsConnection, ack: &Subject, word: Word) {
    let payload = match word {
        Word::Done => Bytes::from_static(b"+ACK"),
        Word::GoesOn => Bytes::from_static(b"+WPI"),
        Word::Never => Bytes::from_static(b"+TERM"),
        Word::Again(Duration::ZERO) => Bytes::from_static(b"-NAK"),
        Word::Again(delay) => format!("-NAK {{\"delay\":{}}}", delay.as_nanos()).into(),
    };
    let told = connection.publish(Outbound { subject: ack.clone(), reply: None, headers: None, payload }).await;
    if let Err(error) = told {
        tracing::debug!(%error, "JetStream could not be told about a request");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(reply: &str) -> Message {
        Message {
            subject: "s".into(),
            reply: Some(reply.into()),
            payload: Bytes::new(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        }
    }

    #[test]
    fn both_forms_are_read() {
        for reply in [
            "$JS.ACK.stream.consumer.3.7.1.1000000000.0",
            "$JS.ACK._.hash.stream.consumer.3.7.1.1000000000.0",
            "$JS.ACK.domain.hash.stream.consumer.3.7.1.1000000000.0.token",
        ] {
            let read = Delivered::read(message(reply)).unwrap();
            let stored = read.stored.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!((read.deliveries, read.sequence, stored), (3, 7, Duration::from_secs(1)), "{reply}");
        }
        for reply in ["a.b", "$JS.ACK.", "$JS.ACK.stream.consumer.x.7.1.1.0"] {
            assert!(Delivered::read(message(reply)).is_none(), "{reply}");
        }
    }
}
