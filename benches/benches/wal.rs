//! The write-ahead log alone, on the disk of the temporary directory: batches of entries, each batch
//! one write and one sync.
#![allow(clippy::unwrap_used, reason = "a benchmark ends where it is surprised")]

use std::sync::{Arc, mpsc};
use std::thread;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use raft::vfs::RealFs;
use raft::wal::{Options, Wal, WalEntry};

/// Entries that are appended together.
const BATCHES: [u64; 3] = [1, 64, 1000];
const PAYLOAD_BYTES: usize = 300;

fn entries(from: u64, count: u64) -> Vec<WalEntry> {
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
    let entry = |index| WalEntry {
        index,
        log_id: Bytes::from_static(b"1-1-0000000"),
        payload: payload.clone(),
    };
    (from..from + count).map(entry).collect()
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wal append");
    for no_fsync in [true, false] {
        for batch in BATCHES {
            let name = if no_fsync { "without sync" } else { "with sync" };
            group.throughput(Throughput::Elements(batch));
            group.bench_function(BenchmarkId::new(name, batch), |bencher| {
                let dir = tempfile::tempdir().unwrap();
                let options = Options { no_fsync, ..Options::default() };
                let opened = Wal::create_or_open(
                    Arc::new(RealFs),
                    dir.path(),
                    Bytes::from_static(b"bench"),
                    options,
                );
                let (wal, _, writer) = opened.unwrap();
                let running = thread::spawn(|| block_on(writer.run()));
                bencher.iter(|| {
                    let (done, told) = mpsc::channel();
                    let done = Box::new(move |outcome| done.send(outcome).unwrap());
                    let next = wal.next_index();
                    wal.append(entries(next, batch), done);
                    told.recv().unwrap().unwrap();
                    // What is behind is given back, so that a long run fills no disk.
                    wal.purge(next, Bytes::from_static(b"1-1-0000000"), Box::new(|_| ()));
                });
                wal.close();
                running.join().unwrap().unwrap();
            });
        }
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
