//! A member's disk: files that forget what was not synced, an engine that forgets what was not
//! flushed, and a power supply that fails in the middle of an operation.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use raft::vfs::{CrashFs, CrashRule, Gate, Gated, Operation, Vfs};
use store::engine::CrashEngine;

use crate::chance::Chance;
use crate::runtime::Process;

/// Of a thousand power cuts, so many leave an engine that cannot be opened.
const ENGINES_LOST: u32 = 200;

/// What outlives a member's process.
#[derive(Default)]
pub(crate) struct Disk {
    files: CrashFs,
    engine: Arc<CrashEngine>,
}

/// How a process ended, as far as its disk is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The process alone: what it wrote is there, synced or not.
    Killed,
    /// The machine: what was not synced may be there, or not, or in parts.
    PowerCut,
}

impl Disk {
    pub(crate) fn new() -> Disk {
        Disk::default()
    }

    /// What a process sees of it.
    pub(crate) fn mount(&self, process: Arc<Process>) -> Mounted {
        let power = Power { armed: AtomicBool::new(false), left: AtomicU64::new(0), process };
        Mounted { files: self.files.clone(), power: Arc::new(power) }
    }

    pub(crate) fn engine(&self) -> Arc<CrashEngine> {
        self.engine.clone()
    }

    /// The disk as the next process finds it.
    pub(crate) fn after(&self, end: End, chance: &Chance) -> Disk {
        let pending = self.engine.pending();
        let (files, batches) = match end {
            End::Killed => (self.files.kill(), pending),
            End::PowerCut => {
                let files = self.files.crash(rule(chance, self.files.pending()));
                (files, chance.index(pending + 1))
            }
        };
        let after = Disk { files, engine: Arc::new(self.engine.crash(batches)) };
        let is_whole = end == End::Killed || !chance.one_in_thousand(ENGINES_LOST);
        if is_whole { after } else { after.without_engine() }
    }

    /// The engine is gone altogether, as after a file system check that went badly.
    pub(crate) fn without_engine(self) -> Disk {
        Disk { files: self.files, engine: Arc::default() }
    }
}

fn rule(chance: &Chance, pending: usize) -> CrashRule {
    match chance.index(4) {
        0 => CrashRule::DropAll,
        1 => CrashRule::KeepAll,
        2 => {
            let changes = chance.index(pending + 1);
            CrashRule::KeepPrefix { changes, sectors: chance.index(8) }
        }
        _ => CrashRule::Tear { seed: chance.number(0..u64::MAX) },
    }
}

/// The files while a process runs on them.
pub(crate) struct Mounted {
    files: CrashFs,
    power: Arc<Power>,
}

struct Power {
    armed: AtomicBool,
    /// Operations until it goes.
    left: AtomicU64,
    process: Arc<Process>,
}

impl Mounted {
    pub(crate) fn vfs(&self) -> Arc<dyn Vfs> {
        Arc::new(Gated::new(Arc::new(self.files.clone()), self.power.clone()))
    }

    /// Cuts the power at the operation after the next `operations`: the process dies with it.
    pub(crate) fn cut_power_after(&self, operations: u64) {
        self.files.halt_at(self.files.operations() + operations);
        self.power.left.store(operations, Ordering::Relaxed);
        self.power.armed.store(true, Ordering::Relaxed);
    }

    /// Lets the operation after the next `operations` fail; those after it work again.
    pub(crate) fn fail_after(&self, operations: u64) {
        self.files.fail_at(self.files.operations() + operations);
    }

    /// Nothing fails that has not failed yet.
    pub(crate) fn mend(&self) {
        self.files.fail_at(u64::MAX);
        self.power.armed.store(false, Ordering::Relaxed);
    }
}

impl Gate for Power {
    fn pass(&self, _: Operation, _: &Path) -> io::Result<()> {
        if self.armed.load(Ordering::Relaxed) {
            let left = self.left.load(Ordering::Relaxed);
            match left.checked_sub(1) {
                Some(left) => self.left.store(left, Ordering::Relaxed),
                None => self.process.kill(),
            }
        }
        Ok(())
    }
}
