//! Doors for fuzzing, which are there only under `cfg(fuzzing)`: what this crate makes of whatever comes from NATS
//! (crates/plane-fuzz).

use async_nats::HeaderMap;
use bytes::Bytes;
use plane_core::{Code, HeaderLimits, Status};

pub use crate::client::fuzzing::replies;
use crate::flow::{Incoming, Outgoing};
use crate::pack::Pack;
use crate::status::End;
use crate::{head, subject};

/// Reads subjects of any text.
///
/// # Panics
/// If what is read does not lead back to the subject.
pub fn subjects(text: &str) {
    match subject::parse(text) {
        subject::Addressed::Call(endpoint, instance) => {
            assert!(text.starts_with(endpoint) && endpoint.matches('.').count() == 2);
            assert_eq!(instance.is_some(), text.len() > endpoint.len());
        }
        subject::Addressed::Control(id) => assert!(!id.contains('.')),
        subject::Addressed::PassedOn(caller) => assert!(text.ends_with(caller)),
        subject::Addressed::Probe(_) | subject::Addressed::Strange => {}
    }
    if let Some((control, number)) = subject::numbered(text) {
        assert_eq!(subject::numbered(&subject::payload_reply(control, number)), Some((control, number)));
    }
    if let Some(id) = subject::request_id_of(text) {
        assert!(plane_core::check_token(&id).is_ok());
    }
    if let Some(server) = subject::server_of(text) {
        assert!(subject::is_server_address(server) && subject::is_address(server));
    }
    if subject::is_subject(text) {
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{text:?}");
        let server = subject::server_address(text, 7);
        let returned = subject::passed_on(&server, "_INBOX.x.1");
        assert_eq!(subject::caller_behind(text, &returned), Some("_INBOX.x.1"));
    }
}

/// Headers of lines `name:value`, as far as they can be any.
pub(crate) fn headers_of(text: &str) -> HeaderMap {
    use std::str::FromStr;
    let mut headers = HeaderMap::new();
    for line in text.lines().take(200) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let parsed = (async_nats::HeaderName::from_str(name), async_nats::HeaderValue::from_str(value));
        if let (Ok(name), Ok(value)) = parsed {
            headers.append(name, value);
        }
    }
    headers
}

/// Reads headers and ends of any text, and writes them again.
///
/// # Panics
/// If something is lost on the way there and back, or limits do not hold.
pub fn heads(text: &str) {
    let headers = headers_of(text);
    let limits = HeaderLimits::default();
    let application = head::application(&headers);
    if head::check_limits(&headers, limits).is_ok() {
        assert!(application.len() <= limits.count && plane_core::frame::block_len(&application) <= limits.bytes);
    }
    let mut again = HeaderMap::new();
    head::add_application(&mut again, &application);
    assert_eq!(head::application(&again), application);
    let Some(end) = End::decode(&headers, &Bytes::from(text.as_bytes().to_vec())) else { return };
    let (wire, payload) = end.encode(1 << 20);
    let read = End::decode(&wire, &payload).expect("what was written is read");
    assert_eq!((read.payloads, read.messages, read.not_executed), (end.payloads, end.messages, end.not_executed));
    assert_eq!(read.status.map(|status| status.code()), end.status.as_ref().map(Status::code));
    let (wire, payload) = end.encode(2_048);
    assert!(head::wire_len(&wire) + payload.len() <= 2_048 + head::OWN_BYTES, "{}", head::wire_len(&wire));
}

/// Takes payloads in that come in any order and with any sizes.
///
/// # Panics
/// If more is held than was granted, or a message comes out that did not come in.
pub fn payloads(data: &[u8]) {
    const WINDOW: u32 = 2_048;
    const PAYLOAD: usize = 512;
    let mut incoming = Incoming::new(WINDOW, PAYLOAD, 5_000);
    let mut outgoing = Outgoing::new(WINDOW);
    let (mut came, mut read) = (0_usize, 0_usize);
    let mut rest = data;
    while let [what, size, more @ ..] = rest {
        rest = more;
        let payload = Bytes::from(vec![1; usize::from(*size) * 4]);
        came += payload.len();
        let number = if what & 0x40 == 0 { outgoing.send(payload.len(), false) } else { u64::from(what & 0x0f) };
        let pushed = match what & 0x30 {
            0x00 => incoming.push(number, false, payload),
            0x10 => incoming.push(number, true, payload),
            0x20 => {
                let cut = more.iter().position(|byte| *byte == 0).unwrap_or(more.len());
                rest = &more[cut..];
                incoming.push_some(number, &String::from_utf8_lossy(&more[..cut]), payload)
            }
            _ => {
                read += incoming.pop().map_or(0, |message| message.len());
                if let Some(credit) = incoming.take_credit() {
                    outgoing.grant(credit);
                }
                Ok(())
            }
        };
        assert!(read <= came);
        if let Err(status) = pushed {
            let known = [Code::DATA_LOSS, Code::MESSAGE_TOO_LARGE, Code::FLOW_CONTROL];
            assert!(known.contains(&status.code()), "{status}");
            return;
        }
    }
    // Whatever it says, it says it without a panic.
    let _ = incoming.check_end(outgoing.payloads, outgoing.messages);
    incoming.close();
}

/// Packs messages of these sizes and takes them out again.
///
/// # Panics
/// If another message comes out than went in.
pub fn packs(data: &[u8]) {
    let mut pack = Pack::new(4_096);
    let mut messages = Vec::new();
    for size in data {
        let message = Bytes::from(vec![*size; usize::from(*size)]);
        if pack.push(message.clone()).is_err() {
            break;
        }
        messages.push(message);
    }
    if messages.is_empty() {
        return;
    }
    let mut headers = HeaderMap::new();
    let payload = pack.take(&mut headers);
    assert!(head::wire_len(&headers) + payload.len() <= 4_096);
    let mut incoming = Incoming::new(1 << 20, 4_096, 4_096);
    let sizes = headers.get(head::SIZES).expect("they have sizes").as_str();
    incoming.push_some(0, sizes, payload).expect("what was packed");
    assert_eq!(std::iter::from_fn(|| incoming.pop()).collect::<Vec<_>>(), messages);
}
