//! What a call may be made of.

use bytes::Bytes;
use plane_core::{Body, EndpointId, Request};

/// What [`EndpointClient::call`](crate::EndpointClient::call) takes: a whole [`Request`], or just its body.
pub trait IntoRequest {
    /// The request to `endpoint`.
    fn into_request(self, endpoint: &EndpointId) -> Request;
}

impl IntoRequest for Request {
    fn into_request(self, _endpoint: &EndpointId) -> Request {
        self
    }
}

macro_rules! bodies {
    ($($body:ty),*) => {
        $(impl IntoRequest for $body {
            fn into_request(self, endpoint: &EndpointId) -> Request {
                Request::new(endpoint.clone(), self)
            }
        })*
    };
}

bodies!(Body, Bytes, Vec<u8>, String, &'static str, &'static [u8]);
