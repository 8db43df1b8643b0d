//! Which run of a stored request an answer belongs to: a request whose server died is run again by another.

use async_nats::HeaderMap;

use crate::head;

/// The runs of one stored request, as its caller hears of them.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// How often the request had been given to servers, and the mark of this run.
    current: Option<(u64, Box<str>)>,
    /// Whether the application has had a message: then another run cannot take this one's place.
    pub(super) is_read: bool,
}

/// What a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    Same,
    Next,
    Past,
}

impl Runs {
    /// Sorts a message in. One that says nothing belongs to whatever runs.
    pub(super) fn place(&mut self, headers: &HeaderMap) -> Run {
        let Some(mark) = headers.get(head::ATTEMPT) else { return Run::Same };
        let attempt = mark.as_str().split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        match &self.current {
            Some((_, current)) if **current == *mark.as_str() => return Run::Same,
            Some((current, _)) if attempt < *current => return Run::Past,
            _ => {}
        }
        let is_first = self.current.replace((attempt, mark.as_str().into())).is_none();
        if is_first { Run::Same } else { Run::Next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_runs_take_over_and_earlier_ones_are_over() {
        let mut runs = Runs::default();
        let mut place = |mark: &str| runs.place(&head::only(head::ATTEMPT, mark));
        assert_eq!(
            [place("1.a"), place("1.a"), place("3.b"), place("1.a")],
            [Run::Same, Run::Same, Run::Next, Run::Past]
        );
        // After a loss of its memory NATS may count from one again: it is another run all the same.
        assert_eq!([place("3.c"), place("3.c")], [Run::Next, Run::Same]);
        assert_eq!(runs.place(&HeaderMap::new()), Run::Same);
    }
}
