//! How many answers in a row change an opinion.

use crate::discovery::layout::Status;

/// Critical at first: nothing is sent work before it has shown that it can do it.
#[derive(Debug)]
pub(super) struct Threshold {
    rise: u32,
    fall: u32,
    status: Status,
    /// Answers in a row that speak against `status`.
    against: u32,
}

impl Threshold {
    /// `rise` and `fall`: at least 1 each; 0 counts as 1.
    pub(super) fn new(rise: u32, fall: u32) -> Self {
        Self { rise, fall, status: Status::Critical, against: 0 }
    }

    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// Takes one answer and returns what is now thought.
    pub(super) fn take(&mut self, good: bool) -> Status {
        let agrees = good == (self.status == Status::Passing);
        self.against = if agrees { 0 } else { self.against + 1 };
        let (needed, other) = match self.status {
            Status::Passing => (self.fall, Status::Critical),
            Status::Critical => (self.rise, Status::Passing),
        };
        if self.against > 0 && self.against >= needed {
            self.status = other;
            self.against = 0;
        }
        self.status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opinions_change_after_enough_answers_in_a_row() {
        // Proves rise and fall, and that one answer in between starts the count anew.
        let mut threshold = Threshold::new(2, 3);
        let mut take = |answers: &str| {
            answers.chars().map(|answer| threshold.take(answer == '+')).last().unwrap()
        };
        assert_eq!(take("+-+"), Status::Critical);
        assert_eq!(take("+"), Status::Passing);
        assert_eq!(take("--+--"), Status::Passing);
        assert_eq!(take("-"), Status::Critical);
        assert_eq!(take("++"), Status::Passing);
    }
}
