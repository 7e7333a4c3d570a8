//! What a name turns out to be.

use std::collections::HashSet;
use std::net::IpAddr;

use hickory_proto::rr::rdata::{CNAME, SRV};
use hickory_proto::rr::{Name, RData, Record};
use rand::seq::SliceRandom;

use super::address;

/// What a message has room for: 65,535 bytes, of which the smallest record takes 16.
pub(super) const RECORDS_MAX: usize = 4096;

/// The answer to one question, before it becomes a message.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) exists: bool,
    pub(super) answers: Vec<Record>,
    /// Addresses of what the answers point at.
    pub(super) extra: Vec<Record>,
    /// Names that answers point at and that others know.
    pub(super) elsewhere: Vec<Name>,
    /// Still to be followed.
    pub(super) aliases: Vec<Alias>,
    /// Targets of service records whose addresses are still to be found.
    pub(super) targets: Vec<Name>,
    answered: HashSet<IpAddr>,
    told: HashSet<(Name, IpAddr)>,
}

/// One of the names that a name stands for.
#[derive(Debug)]
pub(super) struct Alias {
    pub(super) record: Record,
    pub(super) target: Name,
    /// Whether it is told of although it leads nowhere.
    pub(super) may_dangle: bool,
}

impl Outcome {
    /// There is no such name.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// The name exists; so far there is nothing of the type that was asked for.
    pub(super) fn empty() -> Self {
        Self { exists: true, ..Self::default() }
    }

    /// An address of the name that was asked for. Two instances on one machine are one address.
    pub(super) fn address(&mut self, owner: &Name, ttl_s: u32, address: IpAddr) {
        if self.answered.insert(address) {
            self.answers.push(Record::from_rdata(owner.clone(), ttl_s, address::rdata(address)));
        }
    }

    /// An alias that is itself what was asked for.
    pub(super) fn cname(&mut self, owner: &Name, ttl_s: u32, target: Name) {
        self.answers.push(Record::from_rdata(owner.clone(), ttl_s, RData::CNAME(CNAME(target))));
    }

    /// An alias that counts for what it leads to.
    pub(super) fn alias(&mut self, owner: &Name, ttl_s: u32, target: Name, may_dangle: bool) {
        let rdata = RData::CNAME(CNAME(target.clone()));
        let record = Record::from_rdata(owner.clone(), ttl_s, rdata);
        self.aliases.push(Alias { record, target, may_dangle });
    }

    /// Whether an alias of this name is worth telling of.
    pub(super) fn leads_somewhere(&self) -> bool {
        !self.elsewhere.is_empty() || !self.answers.iter().all(is_alias)
    }

    /// A service record.
    pub(super) fn srv(&mut self, owner: &Name, ttl_s: u32, srv: SRV) {
        self.answers.push(Record::from_rdata(owner.clone(), ttl_s, RData::SRV(srv)));
    }

    /// Addresses of the target of a service record, where they are known.
    pub(super) fn target_at(&mut self, target: &Name, ttl_s: u32, addresses: &[IpAddr]) {
        for address in addresses {
            if self.told.insert((target.clone(), *address)) {
                let rdata = address::rdata(*address);
                self.extra.push(Record::from_rdata(target.clone(), ttl_s, rdata));
            }
        }
    }

    /// Addresses of a target, and the aliases on the way to them, which both families share.
    pub(super) fn add_extra(&mut self, records: Vec<Record>) {
        for record in records {
            if !is_alias(&record) || !self.extra.contains(&record) {
                self.extra.push(record);
            }
        }
    }

    /// Another order each time, since clients take the first.
    pub(super) fn rotate(&mut self) {
        // A chain of aliases must be read in order.
        if self.answers.len() > 1 && !self.answers.iter().any(is_alias) {
            self.answers.shuffle(&mut rand::rng());
        }
    }
}

fn is_alias(record: &Record) -> bool {
    matches!(record.data, RData::CNAME(_))
}
