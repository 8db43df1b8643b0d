//! Takes requests of one endpoint out of the store, only as many as may run ([`Inbound`]).

use std::time::Duration;

use async_nats::{Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use plane_core::{Delivery, EndpointId, Error, ErrorKind};
use tokio::time::Instant;

use super::delivered::Delivered;
use super::names;
use super::store::Store;
use crate::connection::Outbound;

/// How long one question for requests stands.
const STANDS: Duration = Duration::from_secs(5);

/// How much later than that the end of a question is taken for lost.
const GRACE: Duration = Duration::from_secs(2);

/// One endpoint's requests as they come.
#[derive(Debug)]
pub(crate) struct Inbound {
    inbox: String,
    asks: String,
    subscriber: Subscriber,
    /// The number of the last question.
    question: u64,
    /// Until when it stands; `None` if it was answered.
    open_until: Option<Instant>,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Came {
    Request(Box<Delivered>),
    /// Nothing more comes of the last question.
    Nothing,
    /// The question was refused: the stream or its consumer is gone, or has a new leader.
    Gone,
}

impl Inbound {
    /// Listens for what will be asked for.
    pub(crate) async fn open(store: &Store, endpoint: &EndpointId) -> Result<Self, Error> {
        let client = store.connection().client().await?;
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(format!("{inbox}.*")).await.map_err(|error| {
            let what = format!("cannot listen for requests of {endpoint}: {error}");
            Error::new(ErrorKind::Unavailable, Delivery::NotSent, what)
        })?;
        let asks = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", store.names().requests, names::consumer(endpoint));
        Ok(Self { inbox, asks, subscriber, question: 0, open_until: None })
    }

    /// What hears the answers: to be ended by a server that leaves.
    pub(crate) fn subscriber(&mut self) -> &mut Subscriber {
        &mut self.subscriber
    }

    /// Whether a question stands.
    pub(crate) fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    /// Asks for this many requests at most.
    pub(crate) async fn ask(&mut self, store: &Store, requests: usize) -> Result<(), Error> {
        self.question += 1;
        let payload = format!("{{\"batch\":{requests},\"expires\":{}}}", STANDS.as_nanos());
        let question = Outbound {
            subject: self.asks.as_str().into(),
            reply: Some(format!("{}.{}", self.inbox, self.question).into()),
            headers: None,
            payload: Bytes::from(payload),
        };
        store.connection().publish(question).await?;
        self.open_until = Some(Instant::now() + STANDS + GRACE);
        Ok(())
    }

    /// All that was asked for has come, or the connection was lost and the question with it.
    pub(crate) fn close(&mut self) {
        self.open_until = None;
    }

    /// The next thing to come.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Came {
        loop {
            let until = self.open_until;
            let silence = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let came = tokio::select! {
                biased;
                message = self.subscriber.next() => match message {
                    Some(message) => self.read(message),
                    None => Some(Came::Gone),
                },
                () = silence => Some(Came::Nothing),
            };
            if let Some(came) = came {
                if !matches!(came, Came::Request(_)) {
                    self.close();
                }
                return came;
            }
        }
    }

    fn read(&self, message: Message) -> Option<Came> {
        let Some(status) = message.status else {
            return Delivered::read(message).map(|request| Came::Request(Box::new(request)));
        };
        // The end of an earlier question says nothing of this one.
        let question = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        if question != Some(self.question) || status == StatusCode::IDLE_HEARTBEAT {
            return None;
        }
        let is_over = status == StatusCode::NOT_FOUND || status == StatusCode::TIMEOUT;
        Some(if is_over { Came::Nothing } else { Came::Gone })
    }
}
