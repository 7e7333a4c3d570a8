//! A member's disk and engine, which outlive its node.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use api::berthpb::{Command, command::Op};
use api::etcdserverpb::{PutRequest, RangeRequest};
use bytes::Bytes;
use openraft_rt_tokio::TokioRuntime;
use parking_lot::Mutex;
use store::engine::{Batch, Engine, MemEngine};
use store::{Applied, Reader};
use tokio::runtime::{Builder, Runtime};

use super::faults::FaultyFs;
use crate::vfs::{CrashFs, CrashRule};
use crate::{Config, EngineSource, Error, InitialMember, Node, Surroundings};

pub(super) type TestNode = Node<TokioRuntime>;

/// The files and the engine of one member.
pub(super) struct Home {
    pub(super) fs: CrashFs,
    pub(super) engines: Engines,
    pub(super) config: Config,
    /// The same files with faults, if it has a log that is written on a thread.
    pub(super) disk: Option<FaultyFs>,
}

/// The engine in memory; clones share it. It counts how often it was destroyed.
#[derive(Clone, Default)]
pub(super) struct Engines(Arc<Mutex<(Arc<MemEngine>, usize)>>);

impl EngineSource for Engines {
    fn open(&mut self) -> io::Result<Arc<dyn Engine>> {
        Ok(self.0.lock().0.clone())
    }

    fn destroy(&mut self) -> io::Result<()> {
        let mut engine = self.0.lock();
        *engine = (Arc::new(MemEngine::new()), engine.1 + 1);
        Ok(())
    }
}

impl Engines {
    /// Loses everything, unnoticed.
    pub(super) fn lose(&self) {
        self.0.lock().0 = Arc::new(MemEngine::new());
    }

    /// Loses the value that was written at `revision`, unnoticed.
    pub(super) fn lose_value(&self, revision: i64) {
        let mut lost = Batch::default();
        lost.delete([b"v", &store::Revision::new(revision, 0).to_bytes()[..]].concat());
        self.0.lock().0.apply(lost).unwrap();
    }

    /// Changes the value that was written at `revision`, unnoticed.
    pub(super) fn change_value(&self, revision: i64) {
        let key = [b"v", &store::Revision::new(revision, 0).to_bytes()[..]].concat();
        let engine = self.0.lock().0.clone();
        let mut value = engine.get(&key).unwrap().expect("the value is there").to_vec();
        value[0] ^= 1;
        let mut changed = Batch::default();
        changed.put(Bytes::from(key), Bytes::from(value));
        engine.apply(changed).unwrap();
    }

    /// How often the node did away with it.
    pub(super) fn destroyed(&self) -> usize {
        self.0.lock().1
    }

    /// A copy of what is in it now.
    pub(super) fn copy(&self) -> Arc<MemEngine> {
        Arc::new((*self.0.lock().0).clone())
    }

    pub(super) fn put_back(&self, engine: Arc<MemEngine>) {
        self.0.lock().0 = engine;
    }
}

impl Home {
    pub(super) fn new() -> Home {
        let member = InitialMember { id: 0x3e, name: "m".into(), peer_urls: Vec::new() };
        let config = Config {
            snapshot_bytes_per_s_max: None,
            ..Config::new(PathBuf::from("/data"), 0xc1, 0x3e, vec![member])
        };
        Home { fs: CrashFs::new(), engines: Engines::default(), config, disk: None }
    }

    /// After a power failure by `rule`. What the old process still has in hand reaches neither the
    /// files nor the engine.
    pub(super) fn crash(&mut self, rule: CrashRule) {
        self.fs = self.fs.crash(rule);
        self.engines.put_back(self.engines.copy());
    }

    /// With the log on a thread, as in production.
    pub(super) async fn start(&self) -> Result<TestNode, Error> {
        let mut surroundings = Surroundings::real(&self.config);
        surroundings.vfs = Arc::new(self.fs.clone());
        surroundings.engines = Box::new(self.engines.clone());
        Node::start_in(self.config.clone(), surroundings).await
    }

    /// With everything on the runtime, so that its clock may be paused.
    pub(super) async fn start_on_runtime(&self) -> Result<TestNode, Error> {
        let vfs = Arc::new(self.fs.clone());
        let surroundings =
            Surroundings::on_runtime::<TokioRuntime>(vfs, Box::new(self.engines.clone()));
        Node::start_in(self.config.clone(), surroundings).await
    }
}

/// A runtime that can be dropped, with all that runs on it, as if the process were killed.
pub(super) fn process() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(super) fn put(key: &str, value: &str) -> Command {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    let put = PutRequest { key, value, ..PutRequest::default() };
    Command { principal: None, origin: None, op: Some(Op::Put(put)) }
}

pub(super) async fn write(node: &TestNode, key: &str, value: &str) -> Applied {
    let applied = node.propose(put(key, value)).await.unwrap();
    applied.result.as_ref().unwrap();
    applied
}

pub(super) fn get(reader: &Reader, key: &str) -> Option<String> {
    let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    let found = reader.range(None, &request).unwrap().kvs.pop()?;
    Some(String::from_utf8(found.value.to_vec()).unwrap())
}
