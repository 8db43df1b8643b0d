//! The shapes of OpenAI's HTTP interface.
//!
//! # Layout
//! - `error`: the error object and the HTTP status beside it ([`ApiError`]).
//! - `bounds`: checks of single parameters.
//! - `chat`, `completion`: what the two routes are asked.
//! - `question`: what both amount to ([`Question`]).
//! - `answer`: what both answer, whole or in chunks ([`Answer`]).

mod answer;
mod bounds;
mod chat;
mod completion;
mod error;
mod question;

pub(crate) use answer::Answer;
pub(crate) use error::ApiError;
pub(crate) use question::{Question, Route};
