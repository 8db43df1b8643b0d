//! The messages of one direction of a call ([`Body`]): none, exactly one, or a stream of them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use pin_project_lite::pin_project;
use tokio::sync::mpsc;

use crate::error::{Delivery, Error, ErrorKind};
use crate::headers::Headers;
use crate::status::Status;

/// The messages of one direction of a call.
///
/// A body that is one message costs no allocation and travels in one frame. As a [`Stream`] it gives its messages in
/// order; the stream ends with `None` only after the far side's explicit end marker, otherwise with an error.
/// Dropping the body of a response that has not ended aborts the call.
pub struct Body(Inner);

enum Inner {
    Empty,
    One(Bytes),
    Stream(Pin<Box<dyn MessageStream>>),
}

/// A source of messages with the two things that a plain [`Stream`] lacks: an early end and trailers.
pub trait MessageStream: Send {
    /// The next message, or `None` after the orderly end.
    fn poll_message(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>>;

    /// Asks for an early, orderly end: messages may still come. A hop that passes a body on passes this on with it.
    fn stop(self: Pin<&mut Self>) {}

    /// Headers that came with the end. `None` before the end.
    fn trailers(self: Pin<&mut Self>) -> Option<Headers> {
        None
    }
}

impl Body {
    /// No message at all.
    #[must_use]
    pub fn empty() -> Self {
        Self(Inner::Empty)
    }

    /// The messages of `stream`. Its first error ends the call with that error.
    pub fn stream<S, B, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Into<Bytes>,
        E: Into<Error>,
    {
        Self::from_messages(FromStream { stream, ended: false })
    }

    /// The messages of a transport or of an adapter that passes stop and trailers on.
    pub fn from_messages(messages: impl MessageStream + 'static) -> Self {
        Self(Inner::Stream(Box::pin(messages)))
    }

    /// A sender and the body of what is sent. At most `buffer` messages (at least one) wait between them.
    ///
    /// The body ends in order when [`BodySender::finish`] is called. A sender that is merely dropped was lost in the
    /// middle of its work, so the body then ends with [`ErrorKind::Truncated`].
    #[must_use]
    pub fn channel(buffer: usize) -> (BodySender, Self) {
        let (sender, receiver) = mpsc::channel(buffer.max(1));
        (BodySender { sender }, Self::from_messages(Channel { receiver, ended: false }))
    }

    /// The only message, if the body is known to be exactly one already.
    #[must_use]
    pub fn as_one(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::One(message) => Some(message),
            _ => None,
        }
    }

    /// The only message, or the body back if it is none or a stream.
    ///
    /// # Errors
    /// The body itself.
    pub fn into_one(self) -> Result<Bytes, Self> {
        match self.0 {
            Inner::One(message) => Ok(message),
            inner => Err(Self(inner)),
        }
    }

    /// Whether the body is known to have no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Inner::Empty)
    }

    /// The same body again, for another try; `None` for a stream, which can be read only once.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        match &self.0 {
            Inner::Empty => Some(Self::empty()),
            Inner::One(message) => Some(message.clone().into()),
            Inner::Stream(_) => None,
        }
    }

    /// The next message, or `None` after the orderly end.
    ///
    /// # Errors
    /// What ended the call. Nothing comes after an error.
    ///
    /// # Cancel safety
    /// No message is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|cx| self.poll_message(cx)).await
    }

    /// The next message, for those who write futures by hand.
    pub fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        // In place: a stream is polled for each of its messages.
        match &mut self.0 {
            Inner::Stream(stream) => stream.as_mut().poll_message(cx),
            Inner::Empty => Poll::Ready(None),
            Inner::One(message) => {
                let message = std::mem::take(message);
                self.0 = Inner::Empty;
                Poll::Ready(Some(Ok(message)))
            }
        }
    }

    /// Exactly one message.
    ///
    /// # Errors
    /// What ended the call, or [`ErrorKind::Protocol`] if there is no message or more than one.
    pub async fn message(mut self) -> Result<Bytes, Error> {
        let wrong = |what| Error::new(ErrorKind::Protocol, Delivery::Executed, what);
        let first = self.next().await.ok_or_else(|| wrong("expected one message, the body has none"))??;
        match self.next().await {
            None => Ok(first),
            Some(Ok(_)) => Err(wrong("expected one message, the body has more: read it as a stream")),
            Some(Err(error)) => Err(error),
        }
    }

    /// Asks for an early, orderly end: messages already on their way still come.
    pub fn stop(&mut self) {
        if let Inner::Stream(stream) = &mut self.0 {
            stream.as_mut().stop();
        }
    }

    /// Headers that came with the end; `None` before the end or if there were none.
    pub fn trailers(&mut self) -> Option<Headers> {
        match &mut self.0 {
            Inner::Stream(stream) => stream.as_mut().trailers(),
            _ => None,
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_message(cx)
    }
}

macro_rules! one_message_from {
    ($($type:ty),*) => {
        $(impl From<$type> for Body {
            fn from(message: $type) -> Self {
                Self(Inner::One(message.into()))
            }
        })*
    };
}

one_message_from!(Bytes, Vec<u8>, String, &'static str, &'static [u8]);

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Empty => f.write_str("Body(empty)"),
            Inner::One(message) => write!(f, "Body({} bytes)", message.len()),
            Inner::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

pin_project! {
    struct FromStream<S> {
        #[pin]
        stream: S,
        ended: bool,
    }
}

impl<S, B, E> MessageStream for FromStream<S>
where
    S: Stream<Item = Result<B, E>> + Send,
    B: Into<Bytes>,
    E: Into<Error>,
{
    fn poll_message(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let this = self.project();
        if *this.ended {
            return Poll::Ready(None);
        }
        let polled = this.stream.poll_next(cx);
        *this.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled.map(|item| item.map(|item| item.map(Into::into).map_err(Into::into)))
    }
}

enum Sent {
    Message(Bytes),
    Failed(Error),
    Finished,
}

struct Channel {
    receiver: mpsc::Receiver<Sent>,
    ended: bool,
}

impl MessageStream for Channel {
    fn poll_message(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(sent) = self.receiver.poll_recv(cx) else { return Poll::Pending };
        self.ended = !matches!(sent, Some(Sent::Message(_)));
        Poll::Ready(match sent {
            Some(Sent::Message(message)) => Some(Ok(message)),
            Some(Sent::Failed(error)) => Some(Err(error)),
            Some(Sent::Finished) => None,
            None => {
                let what = "the sender of the stream was dropped before it finished";
                Some(Err(Error::new(ErrorKind::Truncated, Delivery::Executed, what)))
            }
        })
    }
}

/// Sends the messages of a [`Body::channel`].
#[derive(Debug)]
pub struct BodySender {
    sender: mpsc::Sender<Sent>,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Message(_) => "Message",
            Self::Failed(_) => "Failed",
            Self::Finished => "Finished",
        })
    }
}

impl BodySender {
    /// Sends one message; waits while the buffer is full.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] if nobody reads the body any more.
    ///
    /// # Cancel safety
    /// The message was not sent if the future is dropped.
    pub async fn send(&self, message: impl Into<Bytes>) -> Result<(), Error> {
        self.put(Sent::Message(message.into())).await
    }

    /// Ends the body in order.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] if nobody reads the body any more.
    pub async fn finish(self) -> Result<(), Error> {
        self.put(Sent::Finished).await
    }

    /// Ends the body with an error.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] if nobody reads the body any more.
    pub async fn fail(self, status: Status) -> Result<(), Error> {
        self.put(Sent::Failed(status.into())).await
    }

    /// Waits until nobody reads the body any more.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    async fn put(&self, sent: Sent) -> Result<(), Error> {
        let gone = |_| Error::new(ErrorKind::Cancelled, Delivery::Unknown, "nobody reads the stream any more");
        self.sender.send(sent).await.map_err(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_message_is_one_message() {
        assert_eq!(Body::from("a").message().await.unwrap(), "a");
        assert_eq!(Body::empty().message().await.unwrap_err().kind(), ErrorKind::Protocol);
        let (sender, body) = Body::channel(3);
        sender.send("a").await.unwrap();
        sender.send("b").await.unwrap();
        sender.finish().await.unwrap();
        assert_eq!(body.message().await.unwrap_err().kind(), ErrorKind::Protocol);
    }

    #[tokio::test]
    async fn a_lost_sender_never_looks_like_an_end() {
        let (sender, mut body) = Body::channel(1);
        sender.send("a").await.unwrap();
        drop(sender);
        assert_eq!(body.next().await.unwrap().unwrap(), "a");
        assert_eq!(body.next().await.unwrap().unwrap_err().kind(), ErrorKind::Truncated);
        assert!(body.next().await.is_none());
    }

    #[tokio::test]
    async fn a_failed_sender_gives_its_status() {
        let (sender, mut body) = Body::channel(1);
        sender.fail(Status::not_found("x")).await.unwrap();
        assert_eq!(body.next().await.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn nobody_reads() {
        let (sender, body) = Body::channel(1);
        drop(body);
        assert_eq!(sender.send("a").await.unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
