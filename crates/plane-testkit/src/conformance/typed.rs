//! Typed calls: values instead of bytes, in both codecs.

use std::collections::BTreeMap;

use plane_core::typed::{self, Codec, TypedResponse};
use plane_core::{Context, Delivery, ErrorKind, Request, Response, Status, handler_fn};
use serde::{Deserialize, Serialize};

use super::plane::Plane;
use super::world::World;

const CODECS: [Codec; 2] = [Codec::MsgPack, Codec::Json];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Prompt {
    text: String,
    max_tokens: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Token {
    index: u32,
    text: String,
}

fn prompt() -> Prompt {
    Prompt { text: "h\u{e9}llo".to_owned(), max_tokens: 5 }
}

async fn typed_call<P: Plane, U: serde::de::DeserializeOwned>(world: &World<P>, request: Request) -> TypedResponse<U> {
    TypedResponse::new(world.call(request).await.unwrap()).unwrap()
}

pub async fn a_value_is_answered_in_the_codec_it_came_in<P: Plane>() {
    let mut world = World::<P>::start().await;
    let shout = world
        .serve(
            "shout",
            typed::unary(|mut prompt: Prompt, _: Context| async move {
                prompt.text = prompt.text.to_uppercase();
                Ok(prompt)
            }),
        )
        .await;
    for codec in CODECS {
        let request = typed::request(shout.clone(), &prompt(), codec).unwrap();
        let response = typed_call::<P, Prompt>(&world, request).await;
        assert_eq!(Codec::of(response.headers()).unwrap(), codec);
        assert_eq!(response.message().await.unwrap().text, "H\u{c9}LLO");
    }
}

pub async fn a_stream_of_values_arrives_in_order<P: Plane>() {
    let mut world = World::<P>::start().await;
    let generate = world
        .serve(
            "generate",
            typed::streaming(|prompt: Prompt, _: Context| async move {
                let tokens = (0..prompt.max_tokens).map(move |index| Ok(Token { index, text: prompt.text.clone() }));
                Ok(futures_util::stream::iter(tokens))
            }),
        )
        .await;
    for codec in CODECS {
        let request = typed::request(generate.clone(), &prompt(), codec).unwrap();
        let mut response = typed_call::<P, Token>(&world, request).await;
        for index in 0..5 {
            assert_eq!(response.next().await.unwrap().unwrap(), Token { index, text: prompt().text });
        }
        assert!(response.next().await.is_none());
    }
}

/// Case C2: a typed error within a round trip, and the function is not called.
pub async fn an_undecodable_request_is_invalid<P: Plane>() {
    let mut world = World::<P>::start().await;
    let strict = world.serve("strict", typed::unary(|_: Prompt, _: Context| async { Ok("called") })).await;
    let mut cases = vec![Request::new(strict.clone(), &b"\xc1garbage"[..])];
    for codec in CODECS {
        cases.push(typed::request(strict.clone(), &("wrong", "shape", 3), codec).unwrap());
    }
    let mut odd = Request::new(strict.clone(), "text");
    odd.headers.insert("content-type", http::HeaderValue::from_static("text/plain"));
    cases.push(odd);
    cases.push(Request::new(strict.clone(), plane_core::Body::empty()));
    for request in cases {
        let error = world.error(request).await;
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidArgument, Delivery::Executed));
    }
    let request = typed::request(strict, &vec![1, 2, 3], Codec::Json).unwrap();
    let error = world.error(request).await;
    assert!(error.message().contains("Prompt"), "the expected type is named: {error}");
}

/// Case C2: an encode failure at message 3 is an error at message 3, never a clean end.
pub async fn an_answer_that_cannot_be_encoded_is_an_error_at_its_place<P: Plane>() {
    let mut world = World::<P>::start().await;
    let breaks = world
        .serve(
            "breaks",
            typed::streaming(|(): (), _: Context| async {
                // JSON has no way to write a map whose keys are lists.
                let good = || Ok(BTreeMap::new());
                let bad = Ok::<_, Status>(BTreeMap::from([(vec![1], 1)]));
                Ok(futures_util::stream::iter([good(), good(), bad, good()]))
            }),
        )
        .await;
    let request = typed::request(breaks, &(), Codec::Json).unwrap();
    let ended = world.read(request).await;
    ended.assert_messages(&["{}".into(), "{}".into()]);
    assert_eq!(ended.error.unwrap().kind(), ErrorKind::Internal);
}

pub async fn an_undecodable_answer_is_a_codec_error<P: Plane>() {
    let mut world = World::<P>::start().await;
    let garbage = world.serve("garbage", handler_fn(|_, _| async { Ok(Response::new(&b"\xc1"[..])) })).await;
    let request = typed::request(garbage.clone(), &(), Codec::MsgPack).unwrap();
    let error = typed_call::<P, Token>(&world, request).await.message().await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Codec, Delivery::Executed));
    let request = typed::request(garbage, &(), Codec::MsgPack).unwrap();
    let mut stream = typed_call::<P, Token>(&world, request).await;
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Codec);
    assert!(stream.next().await.is_none());
}

pub async fn a_typed_status_reaches_its_caller<P: Plane>() {
    let mut world = World::<P>::start().await;
    let refuse = world
        .serve("refuse", typed::unary(|_: Prompt, _: Context| async { Err::<(), _>(Status::not_found("no model")) }))
        .await;
    let error = world.error(typed::request(refuse, &prompt(), Codec::MsgPack).unwrap()).await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::Executed));
}
