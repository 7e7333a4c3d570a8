//! How many files this process may have open, connections among them.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Files that connections of clients leave to the log, the store, other members and DNS by TCP. etcd
/// leaves 150; our engine alone keeps about 90 open, and DNS takes up to 100.
const FILES_RESERVED: usize = 250;
/// Even where there are hardly any files somebody can ask what is wrong, at every address: one that
/// waits for its next connection has room for it already.
const CONNECTIONS_MIN: usize = 16;

/// How many connections clients may have open over all addresses. Raises the bound of files as far
/// as the system lets it, as Go does for etcd: the lower one is there for programs that use
/// `select`.
pub(super) fn connections_max() -> usize {
    let mut files = getrlimit(Resource::Nofile);
    if files.current != files.maximum {
        files.current = files.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, files) {
            tracing::warn!(%error, "the bound of open files could not be raised");
        }
    }
    left(getrlimit(Resource::Nofile).current)
}

/// `None`: no bound.
fn left(files: Option<u64>) -> usize {
    let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    files.saturating_sub(FILES_RESERVED).max(CONNECTIONS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_to_others() {
        // Proves what is left of an ordinary bound, of one too small, and of none.
        assert_eq!(left(Some(1024)), 774);
        assert_eq!(left(Some(100)), CONNECTIONS_MIN);
        assert!(left(None) > 1 << 20);
    }
}
