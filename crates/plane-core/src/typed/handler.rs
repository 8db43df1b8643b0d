//! Typed functions as handlers.

use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

use bytes::Bytes;
use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::Codec;
use crate::body::{Body, MessageStream};
use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::handler::{Handler, handler_fn};
use crate::message::{Request, Response};
use crate::status::Status;

/// A handler that answers one value with one value.
///
/// A request that cannot be decoded is answered with [`Code::INVALID_ARGUMENT`](crate::Code::INVALID_ARGUMENT), naming
/// the type, the position and the reason; `function` is then not called.
///
/// ```
/// use plane_core::{typed, Context, Status};
/// let double = typed::unary(|n: u64, _: Context| async move {
///     n.checked_mul(2).ok_or_else(|| Status::invalid_argument("too large to double"))
/// });
/// # let _: &dyn plane_core::Handler = &double;
/// ```
pub fn unary<T, U, F, Fut>(function: F) -> impl Handler
where
    T: DeserializeOwned + Send + 'static,
    U: Serialize + 'static,
    F: Fn(T, Context) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<U, Status>> + Send + 'static,
{
    handler_fn(move |request, context| {
        let function = function.clone();
        async move {
            let (value, codec) = decode(request).await?;
            let answer = function(value, context).await?;
            Ok(answer_in(codec, encode(codec, &answer)?.into()))
        }
    })
}

/// A handler that answers one value with a stream of values.
///
/// The first error of the stream, or the first value that cannot be encoded, ends the call at that place. Requests
/// that cannot be decoded are answered as by [`unary`].
pub fn streaming<T, U, S, F, Fut>(function: F) -> impl Handler
where
    T: DeserializeOwned + Send + 'static,
    U: Serialize + 'static,
    S: Stream<Item = Result<U, Status>> + Send + 'static,
    F: Fn(T, Context) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<S, Status>> + Send + 'static,
{
    handler_fn(move |request, context| {
        let function = function.clone();
        async move {
            let (value, codec) = decode(request).await?;
            let stream = Box::pin(function(value, context).await?);
            Ok(answer_in(codec, Body::from_messages(Encoded { stream, codec, ended: false })))
        }
    })
}

async fn decode<T: DeserializeOwned>(request: Request) -> Result<(T, Codec), Status> {
    let codec = Codec::of(&request.headers)?;
    let message = request.body.message().await.map_err(|error| match error.kind() {
        // No message, or more than one: nothing is wrong with the connection.
        ErrorKind::Protocol if error.status().is_none() => Status::invalid_argument(error.message().to_owned()),
        _ => Status::from(error),
    })?;
    let value = codec.decode(&message).map_err(|undecodable| Status::invalid_argument(undecodable.to_string()))?;
    Ok((value, codec))
}

/// The caller cannot help it that the answer cannot be encoded.
fn encode<U: Serialize>(codec: Codec, value: &U) -> Result<Bytes, Status> {
    codec.encode(value).map_err(|error| Status::internal(error.message().to_owned()))
}

fn answer_in(codec: Codec, body: Body) -> Response {
    let mut response = Response::new(body);
    codec.tell(&mut response.headers);
    response
}

/// The values of a stream, encoded as they are taken.
struct Encoded<S> {
    stream: Pin<Box<S>>,
    codec: Codec,
    ended: bool,
}

impl<S, U> MessageStream for Encoded<S>
where
    S: Stream<Item = Result<U, Status>> + Send,
    U: Serialize,
{
    fn poll_message(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(item) = self.stream.as_mut().poll_next(cx) else { return Poll::Pending };
        let message = item.map(|item| item.and_then(|value| encode(self.codec, &value)).map_err(Error::from));
        self.ended = !matches!(message, Some(Ok(_)));
        Poll::Ready(message)
    }
}
