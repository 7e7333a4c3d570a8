//! Every coin that is thrown in a simulated world, from one seed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

/// Clones share the coins.
#[derive(Clone)]
pub struct Chance(Arc<Mutex<StdRng>>);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// True so many times in a thousand.
    pub fn one_in_thousand(&self, times: u32) -> bool {
        times > 0 && self.0.lock().random_range(0..1000) < times
    }

    pub fn number(&self, range: Range<u64>) -> u64 {
        self.0.lock().random_range(range)
    }

    pub fn index(&self, len: usize) -> usize {
        self.0.lock().random_range(0..len)
    }

    pub fn signed(&self, most: i64) -> i64 {
        self.0.lock().random_range(-most..=most)
    }

    pub fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_micros(self.number(range.start * 1000..range.end * 1000))
    }

    /// One of them; `None`: there are none.
    pub fn pick<T: Copy>(&self, from: &[T]) -> Option<T> {
        from.choose(&mut *self.0.lock()).copied()
    }

    pub fn shuffle<T>(&self, what: &mut [T]) {
        what.shuffle(&mut *self.0.lock());
    }
}
