//! Typed calls: payloads as values instead of bytes.
//!
//! A handler made by [`unary`] or [`streaming`] is given its request decoded, and answers in the [`Codec`] that it was
//! asked in. A caller makes a [`request`], sends it with whatever makes calls, and reads the answer as a
//! [`TypedResponse`]:
//!
//! ```
//! # async fn example(client: &dyn plane_core::RequestPlaneClient, address: &plane_core::Address)
//! # -> Result<(), plane_core::Error> {
//! use plane_core::typed::{self, Codec, TypedResponse};
//! let endpoint = "demo.math.double".parse().expect("a valid name");
//! let response = client.call(address, typed::request(endpoint, &21_u64, Codec::MsgPack)?).await?;
//! let answer: u64 = TypedResponse::new(response)?.message().await?;
//! # Ok(()) }
//! ```
//!
//! # Layout
//! - `codec`: how a payload is encoded, and how that is told ([`Codec`]).
//! - `handler`: typed functions as handlers ([`unary`], [`streaming`]).
//! - `caller`: typed requests and answers ([`request`], [`TypedResponse`]).

mod codec;
pub use codec::{Codec, Undecodable};

mod handler;
pub use handler::{streaming, unary};

mod caller;
pub use caller::{TypedResponse, request, request_stream};
