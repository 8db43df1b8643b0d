//! Endpoints, instances and addresses.

use plane_core::{Address, EndpointId, InstanceId, MAX_ENDPOINT};

/// Reads the text as each of them.
///
/// # Panics
/// If what is read is shown as something else, or a refusal shows a control character.
pub fn names(text: &str) {
    match text.parse::<EndpointId>() {
        Ok(endpoint) => {
            assert_eq!(endpoint.as_str(), text);
            assert!(text.len() <= MAX_ENDPOINT);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{text:?}");
            let tokens = [endpoint.namespace(), endpoint.component(), endpoint.endpoint()];
            assert_eq!(tokens.join("."), text);
        }
        Err(error) => printable(&error.to_string()),
    }
    match text.parse::<InstanceId>() {
        Ok(instance) => assert_eq!(instance.to_string().parse(), Ok(instance)),
        Err(error) => printable(&error.to_string()),
    }
    match text.parse::<Address>() {
        Ok(address) => {
            let shown = address.to_string();
            assert_eq!(shown.parse::<Address>().expect("it was one"), address);
        }
        Err(error) => printable(&error.to_string()),
    }
}

fn printable(message: &str) {
    assert!(!message.chars().any(char::is_control) && message.len() < 4 << 10, "{message:?}");
}
