//! From directories to a state that continues where the last run stopped, or one clear error.
//!
//! The log and the snapshots are the truth, and damage there is fatal. The engine only saves time:
//! on any doubt it is destroyed and rebuilt. Nothing is changed before it is certain that the
//! directories belong to this member.

mod engine;
mod metadata;
mod state;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use engine::{EngineSource, SledSource};

use futures::channel::oneshot;
use openraft::AsyncRuntime;
use store::Store;
use store::engine::Engine;

use crate::codec;
use crate::config::Config;
use crate::error::Error;
use crate::peer::{Identity, NoTransport, Transport};
use crate::restore;
use crate::snapshot::SnapshotDir;
use crate::types::Vote;
use crate::vfs::{Lock, RealFs, Vfs};
use crate::wal::{self, Recovered, Wal, Writer};
pub(crate) use metadata::Metadata;

/// What a node takes from its surroundings. The server uses [`Surroundings::real`].
pub struct Surroundings {
    pub vfs: Arc<dyn Vfs>,
    pub engines: Box<dyn EngineSource>,
    /// The way to other members.
    pub transport: Arc<dyn Transport>,
    /// Starts the log's writer, whose file calls block: on a thread of its own.
    pub run_writer: RunWriter,
    /// Makes the log's segments tell themselves from all others: drawn anew for each start.
    pub log_salt: u64,
}

/// Starts the log's writer, in the runtime's context.
pub type RunWriter = Box<dyn FnOnce(Writer) -> io::Result<Ended> + Send>;

/// Resolves, as cancelled, when the log's writer has ended and released its files.
pub type Ended = oneshot::Receiver<()>;

/// All that a node starts from.
pub(crate) struct Opened {
    pub(crate) wal: Wal,
    /// To be run before anything waits for the log.
    pub(crate) writer: Option<Writer>,
    pub(crate) vote: Option<Vote>,
    /// Who this member is, as its log says.
    pub(crate) identity: Identity,
    pub(crate) store: Store,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) snapshots: SnapshotDir,
    pub(crate) lock: Box<dyn Lock>,
}

impl Opened {
    pub(crate) fn take_writer(&mut self) -> Writer {
        self.writer.take().expect("there is one, and it is taken once, by the start")
    }
}

impl Surroundings {
    /// The machine's files, sled, a thread for the log; and no way to other members.
    pub fn real(config: &Config) -> Surroundings {
        Surroundings {
            vfs: Arc::new(RealFs),
            engines: Box::new(SledSource::new(
                config.data_dir.join("db"),
                config.engine_cache_bytes,
            )),
            transport: Arc::new(NoTransport),
            run_writer: Box::new(run_on_thread),
            log_salt: wal::Options::default().salt_seed,
        }
    }

    /// The same with everything on the runtime `R`: for simulators, whose file calls do not block.
    pub fn on_runtime<R: AsyncRuntime>(
        vfs: Arc<dyn Vfs>,
        engines: Box<dyn EngineSource>,
    ) -> Surroundings {
        let run_writer = |writer: Writer| {
            let (running, ended) = oneshot::channel::<()>();
            drop(R::spawn(async move {
                // Its failure reaches everyone who waits for the log.
                let _ = writer.run().await;
                drop(running);
            }));
            Ok(ended)
        };
        let transport = Arc::new(NoTransport);
        let log_salt = wal::Options::default().salt_seed;
        Surroundings { vfs, engines, transport, run_writer: Box::new(run_writer), log_salt }
    }
}

fn run_on_thread(writer: Writer) -> io::Result<Ended> {
    let (running, ended) = oneshot::channel::<()>();
    let run = move || {
        // Its failure reaches everyone who waits for the log.
        let _ = futures::executor::block_on(writer.run());
        drop(running);
    };
    std::thread::Builder::new().name("wal".into()).spawn(run)?;
    Ok(ended)
}

/// Opens everything. Blocks, for as long as a rebuild takes.
pub(crate) fn open(
    config: &Config,
    vfs: Arc<dyn Vfs>,
    mut engines: Box<dyn EngineSource>,
    log_salt: u64,
) -> Result<Opened, Error> {
    restore::refuse_unfinished(&*vfs, &config.data_dir, &config.wal_dir)?;
    let lock = lock(&*vfs, &config.data_dir)?;
    let snap_dir = config.data_dir.join("snap");
    let cannot_read = format!("the snapshots in {} cannot be read", snap_dir.display());
    let snapshots = SnapshotDir::open(vfs.clone(), snap_dir, config.snapshot_bytes_per_s_max)
        .map_err(|error| Error::Refused(format!("{cannot_read}: {error}")))?;
    check_snapshots(config, &snapshots)?;

    let (wal, recovered, writer) = open_wal(config, vfs, log_salt)?;
    let Metadata { cluster_id, member_id, incarnation } =
        Metadata::decode(&recovered.metadata, &config.wal_dir)?;
    let identity = Identity { cluster_id, member_id, incarnation };
    // A new member's first snapshot is durable a moment before the log knows of it; but the vote of
    // the leader who sent it was saved before.
    let log_is_new = recovered.last.is_none() && recovered.vote.is_none();
    if log_is_new && snapshots.newest().is_some() {
        return Err(Error::Refused(format!(
            "{} holds snapshots, but the log in {} is empty: give the log's directory that belongs \
             to it, or {REPLACE}",
            config.data_dir.display(),
            config.wal_dir.display()
        )));
    }
    let vote = recovered.vote.as_deref().map(codec::decode_vote).transpose();
    let vote = vote.map_err(|error| damaged_log(config, &error))?;
    let sources = state::Sources { config, wal: &wal, log_is_new, snapshots: &snapshots };
    let (store, engine) = sources.open(&mut *engines)?;
    Ok(Opened { wal, writer: Some(writer), vote, identity, store, engine, snapshots, lock })
}

/// Whose log is in `wal_dir`: cluster id and member id; `None` if there is none. Changes nothing.
/// What a member was given at its birth counts from then on, whatever it is told later.
///
/// # Errors
/// [`Error::Refused`]: the log is damaged, of a newer version, or none of berth's.
pub fn identity_in(wal_dir: &Path) -> Result<Option<(u64, u64)>, Error> {
    let found = Wal::metadata(Arc::new(RealFs), wal_dir);
    let found = found.map_err(|error| unusable_log(wal_dir, &error))?;
    let Some(found) = found else { return Ok(None) };
    let found = Metadata::decode(&found, wal_dir)?;
    Ok(Some((found.cluster_id, found.member_id)))
}

fn lock(vfs: &dyn Vfs, data_dir: &Path) -> Result<Box<dyn Lock>, Error> {
    let dir = data_dir.display();
    vfs.create_dir_all(data_dir)
        .map_err(|error| Error::Refused(format!("cannot create {dir}: {error}")))?;
    vfs.lock(&data_dir.join("LOCK")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            Error::Refused(format!("{dir} is in use by another process: stop that one first"))
        }
        _ => Error::Refused(format!("cannot lock {dir}: {error}")),
    })
}

fn check_snapshots(config: &Config, snapshots: &SnapshotDir) -> Result<(), Error> {
    for snapshot in snapshots.all() {
        let cluster_id = snapshot.header().cluster_id;
        if cluster_id != config.cluster_id {
            return Err(Error::Refused(format!(
                "{} belongs to cluster {cluster_id:x}, and this member is of cluster {:x}",
                config.data_dir.display(),
                config.cluster_id
            )));
        }
    }
    Ok(())
}

fn open_wal(
    config: &Config,
    vfs: Arc<dyn Vfs>,
    salt_seed: u64,
) -> Result<(Wal, Recovered, Writer), Error> {
    let own = Metadata {
        cluster_id: config.cluster_id,
        member_id: config.member_id,
        incarnation: config.nonce,
    };
    let options = wal::Options {
        no_fsync: config.unsafe_no_fsync,
        cache_bytes: config.wal_cache_bytes,
        segment_bytes: config.wal_segment_bytes,
        allocate_bytes: config.wal_allocate_bytes,
        salt_seed,
        observer: config.log_observer.as_ref().map(|observer| observer.0.clone()),
    };
    let opened = Wal::create_or_open(vfs, &config.wal_dir, own.encode(), options);
    let opened = opened.map_err(|error| unusable_log(&config.wal_dir, &error))?;
    let found = Metadata::decode(&opened.1.metadata, &config.wal_dir)?;
    own.check(found, &config.wal_dir)?;
    if opened.1.torn_bytes > 0 {
        tracing::warn!(bytes = opened.1.torn_bytes, "cut a write that a crash left unfinished");
    }
    Ok(opened)
}

/// What to do about a log that lost something.
const REPLACE: &str = "remove this member from its cluster and add it again with an empty data \
                       directory, or restore a backup";

fn unusable_log(wal_dir: &Path, error: &wal::Error) -> Error {
    let dir = wal_dir.display();
    Error::Refused(match error.kind() {
        wal::ErrorKind::Corrupt => format!("the log in {dir}: {error}: {REPLACE}"),
        _ => format!("the log in {dir}: {error}"),
    })
}

fn damaged_log(config: &Config, error: &io::Error) -> Error {
    let dir = config.wal_dir.display();
    Error::Refused(format!("the log in {dir} is damaged ({error}): {REPLACE}"))
}
