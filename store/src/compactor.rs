use crate::Error;

/// Removes compacted versions from memory and engine, in small steps, on a thread of the caller.
pub struct Compactor {}

impl Compactor {
    /// Looks at up to `keys_max` keys. True if there is more to do at once; false if the rest
    /// must wait (for a later compaction, or for a reader that still needs what is next).
    pub fn step(&self, _keys_max: usize) -> Result<bool, Error> {
        unimplemented!()
    }
}
