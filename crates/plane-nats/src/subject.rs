//! Subjects, made of checked names only (docs/nats.md, "Subjects").

use plane_core::{EndpointId, InstanceId, check_token};

/// Whether this is one to eight tokens of the characters that names are made of, with dots between them: no wildcard,
/// no space, and none of the characters that the plane marks its own tokens with.
pub(crate) fn is_subject(text: &str) -> bool {
    text.split('.').enumerate().all(|(before, token)| before < 8 && check_token(token).is_ok())
}

/// What the token of a server's own address begins with. No name has this character.
pub(crate) const SERVER: char = '@';

/// What the token of a server's message to itself begins with.
const PROBE: char = '!';

/// Where one server is reached and no other: `<prefix>.@<id>`.
pub(crate) fn server_address(prefix: &str, id: u64) -> String {
    format!("{prefix}.{SERVER}{id:016x}")
}

/// Whether an address can be what subjects of calls begin with: a prefix, with or without a server's own token.
pub(crate) fn is_address(address: &str) -> bool {
    is_subject(address) || is_server_address(address)
}

/// Whether an address is that of one server.
pub(crate) fn is_server_address(address: &str) -> bool {
    address
        .rsplit_once('.')
        .is_some_and(|(prefix, last)| is_subject(prefix) && last.strip_prefix(SERVER).is_some_and(is_server_id))
}

/// Whether this is the number of a server, as opposed to what else the plane marks its own tokens for.
fn is_server_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The subject of a call: the address, then the endpoint, then the instance if a certain one is wanted.
pub(crate) fn call(address: &str, endpoint: &EndpointId, instance: Option<InstanceId>) -> String {
    match instance {
        Some(instance) => format!("{address}.{endpoint}.{instance}"),
        // By far the most frequent, and once for each call.
        None => [address, ".", endpoint.as_str()].concat(),
    }
}

/// What the last token of a subject begins with if it is the number of a call or a payload.
const NUMBERED: char = '+';

/// The subject of the answers to call `number` of the client whose inbox this is.
pub(crate) fn inbox(inbox: &str, number: u64) -> String {
    with_number(inbox, &['.', NUMBERED], number)
}

/// Which call of its client an answer is for, by the last token of the subject that it came to.
pub(crate) fn call_number(token: &str) -> Option<u64> {
    u64::from_str_radix(token.strip_prefix(NUMBERED)?, 16).ok()
}

/// What servers know a call as.
pub(crate) fn request_id(token: &str, number: u64) -> String {
    with_number(token, &['-'], number)
}

/// What a call is known as by its reply subject alone: `<token>-<n>` if that ends with `.<token>.+<n>`. Only who knows
/// the token of an inbox can make this of it.
pub(crate) fn request_id_of(reply: &str) -> Option<String> {
    let (inbox, last) = reply.rsplit_once('.')?;
    let number = last.strip_prefix(NUMBERED)?;
    let (_, token) = inbox.rsplit_once('.')?;
    let id = [token, "-", number].concat();
    check_token(&id).is_ok().then_some(id)
}

/// The subject on which the caller of one call talks to its server.
pub(crate) fn control(server: &str, request_id: &str) -> String {
    format!("{server}.{request_id}")
}

/// The reply subject of payload `number`: that of the call's control, with the number as one more token.
pub(crate) fn payload_reply(control: &str, number: u64) -> String {
    with_number(control, &['.', NUMBERED], number)
}

/// Some text, a mark and a number in hexadecimal. Several for each call: `format!` takes eight times as long.
fn with_number(text: &str, mark: &[char], number: u64) -> String {
    let zeros = (number | 1).leading_zeros() as usize / 4;
    let mut subject = String::with_capacity(text.len() + mark.len() + 2 * size_of::<u64>() - zeros);
    subject.push_str(text);
    subject.extend(mark);
    let digits = number.to_be_bytes().into_iter().flat_map(|byte| [byte >> 4, byte & 0xf]).skip(zeros);
    subject.extend(digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
    subject
}

/// The control subject and the number in the reply subject of a payload; `None` if it has no number.
pub(crate) fn numbered(reply: &str) -> Option<(&str, u64)> {
    let (control, last) = reply.rsplit_once('.')?;
    Some((control, call_number(last)?))
}

/// The subject on which a server hears itself.
pub(crate) fn probe(server: &str, nonce: u64) -> String {
    format!("{server}.{PROBE}{nonce:016x}")
}

/// What no server asks itself.
pub(crate) const HAIL: u64 = 0;

/// The subject by which a caller says that it is there. If the server is not, NATS says so.
pub(crate) fn hail(server: &str) -> String {
    probe(server, HAIL)
}

/// Where NATS says that a server is gone: in the inbox of the caller, under the server's own token.
pub(crate) fn gone_reply(inbox: &str, server: &str) -> String {
    let token = server.rsplit('.').next().unwrap_or(server);
    format!("{inbox}.{token}")
}

/// The address of the server that listens on this control subject.
pub(crate) fn server_of(control: &str) -> Option<&str> {
    control.rsplit_once('.').map(|(server, _)| server).filter(|server| is_server_address(server))
}

/// Where NATS returns a call that a server has given back and that nobody takes: the server can then refuse it.
pub(crate) fn passed_on(server: &str, reply: &str) -> String {
    format!("{server}.{PROBE}.{reply}")
}

/// The caller behind the reply subject of a call that a server has given back; `None` for any other.
pub(crate) fn caller_behind<'a>(prefix: &str, reply: &'a str) -> Option<&'a str> {
    let (server, rest) = reply.strip_prefix(prefix)?.strip_prefix('.')?.split_once('.')?;
    let caller = rest.strip_prefix(PROBE)?.strip_prefix('.')?;
    server.starts_with(SERVER).then_some(caller)
}

/// What a message to a server is, by its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addressed<'a> {
    /// To a call in flight.
    Control(&'a str),
    /// From the server to itself.
    Probe(u64),
    /// A call of the caller at this subject, which this server has given back.
    PassedOn(&'a str),
    /// A call. The endpoint is whatever the subject says; a table of endpoints knows only checked ones.
    Call(&'a str, Option<InstanceId>),
    /// None of these.
    Strange,
}

/// Reads what follows the prefix or the server's address and its dot.
pub(crate) fn parse(rest: &str) -> Addressed<'_> {
    if let Some(caller) = rest.strip_prefix(PROBE).and_then(|rest| rest.strip_prefix('.')) {
        return Addressed::PassedOn(caller);
    }
    let dots = rest.bytes().filter(|byte| *byte == b'.').count();
    match dots {
        0 => match rest.strip_prefix(PROBE) {
            Some(nonce) => u64::from_str_radix(nonce, 16).map_or(Addressed::Strange, Addressed::Probe),
            None => Addressed::Control(rest),
        },
        // NATS says where a payload would have had its answer that nobody listens.
        1 => numbered(rest).map_or(Addressed::Strange, |(id, _)| Addressed::Control(id)),
        2 => Addressed::Call(rest, None),
        3 => {
            let (endpoint, instance) = rest.rsplit_once('.').unwrap_or((rest, ""));
            instance.parse().map_or(Addressed::Strange, |instance| Addressed::Call(endpoint, Some(instance)))
        }
        _ => Addressed::Strange,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_hexadecimal() {
        for number in [0, 1, 0xf, 0x10, 0xabc_def0, u64::MAX - 1, u64::MAX] {
            assert_eq!(request_id("a", number), format!("a-{number:x}"));
            assert_eq!(inbox("a", number), format!("a.+{number:x}"));
        }
    }

    #[test]
    fn the_number_of_a_payload_is_read_from_its_reply_subject() {
        let control = control("plane.@0000000000000007", "a-1");
        for number in [0, 31, u64::MAX] {
            let reply = payload_reply(&control, number);
            assert_eq!(numbered(&reply), Some((control.as_str(), number)));
            assert_eq!(parse(reply.strip_prefix("plane.@0000000000000007.").unwrap()), Addressed::Control("a-1"));
        }
        for other in [control.as_str(), "", "a", "+1", "a.+", "a.+g", "a.1"] {
            assert_eq!(numbered(other), None, "{other}");
        }
    }

    #[test]
    fn a_request_id_is_read_from_a_reply_subject_that_has_one() {
        let reply = inbox("_INBOX.0123abcd", 0x1f);
        assert_eq!(call_number("+1f"), Some(0x1f));
        assert_eq!(request_id_of(&reply).unwrap(), request_id("0123abcd", 0x1f));
        let long = format!("_INBOX.{}.+1", "x".repeat(64));
        for other in ["", "+1", "a.+1", "_INBOX.a.b", "_INBOX.a.1", "_INBOX..+ ", "_INBOX.a.+*", "_INBOX.$x.+1", &long]
        {
            assert_eq!(request_id_of(other), None, "{other}");
        }
    }

    /// Case B8, threat E11.
    #[test]
    fn hostile_subjects_are_refused() {
        let long = "x".repeat(4_096);
        for bad in [
            "", ".", "a.", ".a", "a..b", "a b", "a\r\nb", "a\0b", "*", "a.*", "a.>", ">", "@a", "a.!b", "\u{e9}", &long,
        ] {
            assert!(!is_subject(bad), "{bad:?}");
        }
        assert!(is_subject("plane") && is_subject("plane.eu-1.x_Y"));
        for bad in ["@a", "a.@", "a.@*", "a.@b.c", "a.@b c", "a.@stored", "a.@000000000000000g", "a.@00000000000000001"]
        {
            assert!(!is_address(bad), "{bad:?}");
        }
    }

    #[test]
    fn subjects_are_read_back() {
        let endpoint: EndpointId = "dynamo.backend.generate".parse().unwrap();
        let instance = InstanceId::new(31);
        let server = server_address("plane", 7);
        assert_eq!(server, "plane.@0000000000000007");
        assert!(is_server_address(&server) && !is_server_address("plane"));
        let rest = |subject: &str| subject.strip_prefix(&format!("{server}.")).unwrap().to_owned();
        assert_eq!(parse(&rest(&call(&server, &endpoint, None))), Addressed::Call("dynamo.backend.generate", None));
        let subject = call(&server, &endpoint, instance);
        assert_eq!(subject, "plane.@0000000000000007.dynamo.backend.generate.000000000000001f");
        assert_eq!(parse(&rest(&subject)), Addressed::Call("dynamo.backend.generate", instance));
        assert_eq!(parse(&rest(&control(&server, "a-1"))), Addressed::Control("a-1"));
        assert_eq!(parse(&rest(&probe(&server, 9))), Addressed::Probe(9));
        assert_eq!(server_of(&control(&server, "a-1")), Some(&*server));
        assert_eq!(server_of("plane.a-1"), None);
        assert_eq!(gone_reply("_INBOX.x", &server), "_INBOX.x.@0000000000000007");
        let returned = passed_on(&server, "_INBOX.x.1");
        assert_eq!(parse(&rest(&returned)), Addressed::PassedOn("_INBOX.x.1"));
        assert_eq!(caller_behind("plane", &returned), Some("_INBOX.x.1"));
        for own in ["_INBOX.x.1", "plane.x", "other.@0000000000000007.!._INBOX.x.1", &control(&server, "a-1")] {
            assert_eq!(caller_behind("plane", own), None);
        }
        for strange in ["a.b", "a.b.c.x", "a.b.c.1.2", "!x", "a.b.c.0"] {
            assert_eq!(parse(strange), Addressed::Strange, "{strange}");
        }
    }
}
