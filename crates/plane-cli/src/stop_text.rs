//! Ends an answer before the first of its stop texts ([`StopText`]).

/// Watches text go by for the stop texts of a request.
///
/// Text that may turn out to be the beginning of one is held back until that is known.
#[derive(Debug)]
pub(crate) struct StopText {
    stops: Vec<String>,
    held: String,
}

/// What may be shown after a piece of text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Text that belongs to the answer.
    pub(crate) text: String,
    /// Whether the answer ends here.
    pub(crate) stopped: bool,
}

impl StopText {
    /// Watches for these texts; empty ones are ignored.
    pub(crate) fn new(stops: &[String]) -> Self {
        Self { stops: stops.iter().filter(|stop| !stop.is_empty()).cloned().collect(), held: String::new() }
    }

    /// Takes a piece of text.
    pub(crate) fn push(&mut self, text: &str) -> Shown {
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            return Shown { text: std::mem::take(&mut self.held), stopped: true };
        }
        let rest = self.held.split_off(self.held.len() - self.possible_beginning());
        Shown { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// What was held back when the answer ended for another reason.
    pub(crate) fn finish(self) -> String {
        self.held
    }

    /// The length of the longest end of the text that begins a stop text.
    fn possible_beginning(&self) -> usize {
        let longest = |stop: &String| {
            let begins = |len: &usize| stop.is_char_boundary(*len) && self.held.ends_with(&stop[..*len]);
            (1..stop.len()).rev().find(begins).unwrap_or(0)
        };
        self.stops.iter().map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut watch = StopText::new(&stops);
        let mut out = String::new();
        for piece in pieces {
            let shown = watch.push(piece);
            out.push_str(&shown.text);
            if shown.stopped {
                return (out, true);
            }
        }
        (out + &watch.finish(), false)
    }

    #[test]
    fn a_stop_text_split_over_pieces_is_found() {
        assert_eq!(run(&["END"], &["one E", "N", "D two"]), ("one ".to_owned(), true));
        assert_eq!(run(&["b", "ab"], &["xa", "b"]), ("x".to_owned(), true));
        assert_eq!(run(&["é!"], &["caf", "é", "!"]), ("caf".to_owned(), true));
    }

    #[test]
    fn what_only_began_like_one_is_shown() {
        assert_eq!(run(&["END"], &["EN", "E", "EN"]), ("ENEEN".to_owned(), false));
        assert_eq!(run(&["ééx"], &["éé", "éé"]), ("éééé".to_owned(), false));
        assert_eq!(run(&[""], &["a", "b"]), ("ab".to_owned(), false));
    }
}
