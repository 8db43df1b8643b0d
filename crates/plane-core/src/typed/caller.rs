//! Typed requests and answers.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::Codec;
use crate::body::{Body, MessageStream};
use crate::error::{Delivery, Error};
use crate::headers::Headers;
use crate::message::{Request, Response};
use crate::name::EndpointId;

/// A request with one value.
///
/// # Errors
/// [`ErrorKind::Codec`](crate::ErrorKind::Codec), [`Delivery::NotSent`]: the value cannot be encoded.
pub fn request<T: Serialize + ?Sized>(endpoint: EndpointId, value: &T, codec: Codec) -> Result<Request, Error> {
    let mut request = Request::new(endpoint, codec.encode(value)?);
    codec.tell(&mut request.headers);
    Ok(request)
}

/// A request with a stream of values. The first one that cannot be encoded ends the call with that error.
pub fn request_stream<T, S>(endpoint: EndpointId, values: S, codec: Codec) -> Request
where
    T: Serialize + 'static,
    S: Stream<Item = T> + Send + 'static,
{
    let body = Body::from_messages(Encoded { values: Box::pin(values), codec, ended: false });
    let mut request = Request::new(endpoint, body);
    codec.tell(&mut request.headers);
    request
}

struct Encoded<S> {
    values: Pin<Box<S>>,
    codec: Codec,
    ended: bool,
}

impl<S: Stream<Item: Serialize> + Send> MessageStream for Encoded<S> {
    fn poll_message(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(value) = self.values.as_mut().poll_next(cx) else { return Poll::Pending };
        // The call may be under way by the second value.
        let message =
            value.map(|value| self.codec.encode(&value).map_err(|error| error.with_delivery(Delivery::Unknown)));
        self.ended = !matches!(message, Some(Ok(_)));
        Poll::Ready(message)
    }
}

/// An answer whose messages are values. As a [`Stream`] it gives them in order.
///
/// Dropping it before its end aborts the call.
pub struct TypedResponse<U> {
    response: Response,
    codec: Codec,
    ended: bool,
    value: PhantomData<fn() -> U>,
}

impl<U: DeserializeOwned> TypedResponse<U> {
    /// Reads the answer in the codec that its headers name.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`](crate::ErrorKind::Codec) for a content type of no known codec.
    pub fn new(response: Response) -> Result<Self, Error> {
        let codec = Codec::of(&response.headers)?;
        Ok(Self { response, codec, ended: false, value: PhantomData })
    }

    /// The only value of the answer.
    ///
    /// # Errors
    /// What ended the call, [`ErrorKind::Codec`](crate::ErrorKind::Codec) with [`Delivery::Executed`] for a message
    /// that is no `U`, [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if there is no message or more than one.
    pub async fn message(self) -> Result<U, Error> {
        let message = self.response.message().await?;
        Ok(self.codec.decode(&message)?)
    }

    /// The next value, or `None` after the orderly end.
    ///
    /// # Errors
    /// What ended the call, or [`ErrorKind::Codec`](crate::ErrorKind::Codec) for a message that is no `U`, which ends
    /// it as well: the handler is aborted. Nothing comes after an error.
    ///
    /// # Cancel safety
    /// No value is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<U, Error>> {
        poll_fn(|cx| self.poll_value(cx)).await
    }

    fn poll_value(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<U, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(message) = self.response.body.poll_message(cx) else { return Poll::Pending };
        let value = message.map(|message| Ok(self.codec.decode(&message?)?));
        if let Some(Err(_)) = &value {
            self.ended = true;
            self.response.body = Body::empty();
        }
        Poll::Ready(value)
    }
}

impl<U> TypedResponse<U> {
    /// The headers of the answer.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.response.headers
    }

    /// Headers that came with the end; `None` before the end or if there were none.
    pub fn trailers(&mut self) -> Option<Headers> {
        self.response.body.trailers()
    }

    /// Asks the handler to end early and in order; what it still sends comes.
    pub fn stop(&mut self) {
        self.response.stop();
    }
}

impl<U: DeserializeOwned> Stream for TypedResponse<U> {
    type Item = Result<U, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_value(cx)
    }
}

impl<U> fmt::Debug for TypedResponse<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedResponse").field("response", &self.response).field("codec", &self.codec).finish()
    }
}
