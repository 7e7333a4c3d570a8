//! Which keys lately came and went, so that counting at a recent revision needs no walk.

use std::collections::VecDeque;

use crate::key_range::KeyRange;

/// Most births and deaths remembered. A list of 500 keys a page stays cheap for as long as it
/// takes to make so many changes.
const BIRTHS_MAX: usize = 16 << 10;

/// Most bytes of keys remembered.
const BYTES_MAX: usize = 4 << 20;

/// Invariant: every birth and death after `floor` is in `ring`, ascending.
pub(crate) struct Births {
    floor: i64,
    ring: VecDeque<Birth>,
    bytes: usize,
}

struct Birth {
    main: i64,
    key: Box<[u8]>,
    /// It came (else it went).
    born: bool,
}

impl Births {
    pub(crate) fn new(floor: i64) -> Self {
        Births { floor, ring: VecDeque::new(), bytes: 0 }
    }

    pub(crate) fn record(&mut self, main: i64, key: &[u8], born: bool) {
        self.bytes += key.len();
        self.ring.push_back(Birth { main, key: key.into(), born });
        while self.ring.len() > BIRTHS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.ring.pop_front() else { return };
            self.bytes -= oldest.key.len();
            self.floor = oldest.main;
        }
    }

    /// How many keys of `range` there were at `at`, if there are `now` of them; `None` if that
    /// is too long ago.
    pub(crate) fn count_then(&self, range: &KeyRange, at: i64, now: usize) -> Option<usize> {
        if at < self.floor {
            return None;
        }
        let later = self.ring.partition_point(|birth| birth.main <= at);
        let mut then = now.cast_signed();
        for birth in self.ring.range(later..).filter(|birth| range.contains(&birth.key)) {
            then += if birth.born { -1 } else { 1 };
        }
        Some(usize::try_from(then).expect("births and deaths match the index"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_then_is_the_count_now_less_births_plus_deaths() {
        // Only changes behind the revision and inside the range matter.
        let mut births = Births::new(1);
        births.record(2, b"a", true);
        births.record(3, b"b", true);
        births.record(4, b"a", false);
        births.record(4, b"z", true);
        let range = KeyRange::new(b"a", b"c");
        let counts: Vec<_> = (1..=4).map(|at| births.count_then(&range, at, 1)).collect();
        assert_eq!(counts, [Some(0), Some(1), Some(2), Some(1)]);
        assert_eq!(births.count_then(&range, 0, 1), None);
    }

    #[test]
    fn what_was_forgotten_is_not_guessed() {
        // Beyond the bound the floor rises with what is dropped.
        let mut births = Births::new(1);
        for main in 2..BIRTHS_MAX as i64 + 10 {
            births.record(main, b"k", main % 2 == 0);
        }
        let range = KeyRange::everything();
        assert_eq!(births.count_then(&range, 8, 0), None);
        assert_eq!(births.count_then(&range, 9, 0), Some(0));
    }
}
