//! What a seed decides before anything runs.

use std::time::Duration;

use crate::chance::Chance;
use crate::network::Weather;

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub members: u64,
    /// Clients that read and write.
    pub clients: usize,
    pub watchers: usize,
    pub lease_holders: usize,
    pub keys: u64,
    /// The longest pause of a client between two operations, in milliseconds.
    pub think_ms_max: u64,
    /// How long there are faults.
    pub faults: Duration,
    pub weather: Weather,
    /// The longest calm between two faults, in milliseconds.
    pub calm_ms_max: u64,
    /// Which faults there may be.
    pub kinds: Vec<Fault>,
    pub drift_ppm_max: i64,
    pub snapshot_log_bytes: u64,
    pub segment_bytes: u64,
    pub checkpoint: Duration,
    pub watch: watch::Options,
    /// One in so many operations of the first client compacts.
    pub compact_every: u64,
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Kill,
    PowerCut,
    /// All at once.
    PowerCutOfAll,
    Pause,
    PauseOfLeader,
    Split,
    Isolation,
    OneWay,
    Storm,
    DiskError,
    EngineLoss,
    Transfer,
    NewMember,
    LostDisk,
}

impl Fault {
    pub const ALL: [Fault; 14] = [
        Fault::Kill,
        Fault::PowerCut,
        Fault::PowerCutOfAll,
        Fault::Pause,
        Fault::PauseOfLeader,
        Fault::Split,
        Fault::Isolation,
        Fault::OneWay,
        Fault::Storm,
        Fault::DiskError,
        Fault::EngineLoss,
        Fault::Transfer,
        Fault::NewMember,
        Fault::LostDisk,
    ];

    /// As the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "process killed",
            Fault::PowerCut => "power cut",
            Fault::PowerCutOfAll => "power cut of all",
            Fault::Pause => "process paused",
            Fault::PauseOfLeader => "leader paused",
            Fault::Split => "network split",
            Fault::Isolation => "member isolated",
            Fault::OneWay => "one way cut",
            Fault::Storm => "network storm",
            Fault::DiskError => "disk error",
            Fault::EngineLoss => "engine lost",
            Fault::Transfer => "leader moved",
            Fault::NewMember => "member added",
            Fault::LostDisk => "disk lost, member replaced",
        }
    }
}

impl Plan {
    pub fn draw(chance: &Chance) -> Plan {
        let members = chance.pick(&[3, 3, 3, 3, 5, 5, 7]).expect("there are some");
        // A run with few kinds of faults goes deeper than one with all.
        let mut kinds = Fault::ALL.to_vec();
        chance.shuffle(&mut kinds);
        kinds.truncate(chance.index(kinds.len()) + 1);
        let buffer = chance.pick(&[600, 4096, 4 << 20]).expect("there are some");
        let watch = watch::Options {
            buffer_bytes_per_stream: buffer,
            ring_bytes: chance.pick(&[0, 2000, 32 << 20]).expect("there are some"),
            inbox_bytes: chance.pick(&[2000, 32 << 20]).expect("there are some"),
            slice_bytes: chance.pick(&[300, 512 << 10]).expect("there are some"),
            slice_revisions: chance.pick(&[1, 7, 1000]).expect("there are some"),
            progress_interval_ms: 2000,
            ..watch::Options::default()
        };
        Plan {
            members,
            clients: 3 + chance.index(4),
            watchers: 1 + chance.index(4),
            lease_holders: 1 + chance.index(3),
            keys: 1 + chance.number(0..12),
            think_ms_max: chance.pick(&[10, 30, 100]).expect("there are some"),
            faults: Duration::from_secs(chance.number(10..40)),
            weather: Weather {
                lost: chance.pick(&[0, 0, 10, 50]).expect("there are some"),
                repeated: chance.pick(&[0, 20, 200]).expect("there are some"),
                broken: chance.pick(&[0, 0, 2]).expect("there are some"),
                delay_ms_max: chance.pick(&[2, 10, 60]).expect("there are some"),
            },
            calm_ms_max: chance.pick(&[500, 2000, 6000]).expect("there are some"),
            kinds,
            drift_ppm_max: chance.pick(&[0, 500, 20_000]).expect("there are some"),
            snapshot_log_bytes: chance
                .pick(&[600, 2_000, 20_000, 1 << 20])
                .expect("there are some"),
            segment_bytes: chance.pick(&[800, 2_500, 30_000]).expect("there are some"),
            checkpoint: Duration::from_secs(chance.number(1..4)),
            watch,
            compact_every: chance.pick(&[10, 50, 300]).expect("there are some"),
        }
    }
}
