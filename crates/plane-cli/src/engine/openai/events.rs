//! Server-sent events out of the bytes of an answer.

use plane_core::Status;

/// The longest event that is kept while it is incomplete, in bytes.
const MAX_EVENT: usize = 4 * 1024 * 1024;

/// Collects bytes and gives the data of whole events. Comments, names and ids of events are skipped.
#[derive(Debug, Default)]
pub(super) struct Events {
    unread: Vec<u8>,
    data: Option<String>,
}

impl Events {
    /// Takes more bytes of the answer.
    ///
    /// # Errors
    /// An event that does not end.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> Result<(), Status> {
        self.unread.extend_from_slice(bytes);
        if self.unread.len() + self.data.as_ref().map_or(0, String::len) > MAX_EVENT {
            return Err(Status::unavailable(format!("the upstream sent an event of more than {MAX_EVENT} bytes")));
        }
        Ok(())
    }

    /// The data of the next whole event.
    pub(super) fn next(&mut self) -> Option<String> {
        while let Some(line) = self.next_line() {
            if line.is_empty() {
                if let Some(data) = self.data.take() {
                    return Some(data);
                }
            } else if let Some(value) = line.strip_prefix("data:") {
                let value = value.strip_prefix(' ').unwrap_or(value);
                match &mut self.data {
                    None => self.data = Some(value.to_owned()),
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                }
            }
        }
        None
    }

    /// A line without its end, which is LF or CR LF.
    fn next_line(&mut self) -> Option<String> {
        let end = self.unread.iter().position(|byte| *byte == b'\n')?;
        let mut line: Vec<u8> = self.unread.drain(..=end).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(String::from_utf8_lossy(&line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, step: usize) -> Vec<String> {
        let mut events = Events::default();
        let mut out = Vec::new();
        for bytes in text.as_bytes().chunks(step) {
            events.extend(bytes).unwrap();
            out.extend(std::iter::from_fn(|| events.next()));
        }
        out
    }

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let text = ": hi\r\n\r\nevent: x\r\ndata: {\"é\":1}\r\n\r\ndata:a\ndata: b\n\n\n\ndata: unfinished\n";
        for step in 1..text.len() {
            assert_eq!(read(text, step), ["{\"é\":1}", "a\nb"], "{step} bytes at a time");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut events = Events::default();
        events.extend(&vec![b'x'; MAX_EVENT]).unwrap();
        assert!(events.extend(b"x").is_err());
    }
}
