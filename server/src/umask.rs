//! The modes of files that libraries make.

use rustix::fs::Mode;
use rustix::process::umask;

/// From here on whatever this process makes on disk is for its owner alone, whatever it was started
/// with: the engine takes no mode for its files. To be called before there are other threads.
pub(crate) fn tighten() {
    let before = umask(Mode::RWXG | Mode::RWXO);
    umask(before | Mode::RWXG | Mode::RWXO);
}
