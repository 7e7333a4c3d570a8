//! A berth backup as a snapshot of etcd.

use std::io::{self, Seek, Write};
use std::path::Path;

use api::etcdserverpb::AlarmMember;
use api::leasepb::Lease;
use api::mvccpb::KeyValue;
use bytes::Bytes;
use prost::Message;
use store::Revision;
use store::snapshot::{Auth, Item, Summary, Version};

use super::{
    ALARM, AUTH, AUTH_ENABLED, AUTH_REVISION, CONSISTENT_INDEX, FINISHED_COMPACTION, KEY, LEASE,
    MEMBERSHIP, META, ROLES, SCHEDULED_COMPACTION, TERM, USERS, encode_revision,
};
use crate::bolt::{Builder, PAGE_BYTES};

/// All but the keys: little enough to be kept until they are written.
#[derive(Default)]
struct Rest {
    leases: Vec<Lease>,
    auth: Auth,
    alarms: Vec<AlarmMember>,
}

/// Writes the database that is in `backup`, without the SHA-256 that follows it.
///
/// # Errors
/// One line that names the file.
pub(in crate::snapshot) fn write(
    backup: &Path,
    skip_hash_check: bool,
    out: impl Write + Seek,
) -> Result<Summary, String> {
    let cannot = |error: io::Error| format!("the database cannot be written: {error}");
    let mut builder = Builder::new(out, PAGE_BYTES).map_err(cannot)?;
    let mut rest = Rest::default();
    let mut last = 1;
    let mut keys = builder.bucket(KEY);
    let visited = raft::restore::dissect(backup, skip_hash_check, |item| {
        match item {
            Item::Version { revision, key, version } => {
                last = revision.main;
                let value = encode_version(revision, key, version);
                return keys.put(&encode_revision(revision, version.is_none()), &value);
            }
            Item::Lease { id, ttl_s, remaining_s } => {
                rest.leases.push(Lease { id, ttl: ttl_s, remaining_ttl: remaining_s });
            }
            Item::Auth(auth) => rest.auth = auth,
            Item::Alarms(alarms) => rest.alarms = alarms,
        }
        Ok(())
    });
    let summary = visited.map_err(|error| error.to_string())?;
    if summary.revision > last.max(summary.compact_revision) {
        // etcd takes the newest revision that it finds.
        let (path, revision) = (backup.display(), summary.revision);
        return Err(format!("{path}: nothing was written at its revision {revision}"));
    }
    keys.finish().map_err(cannot)?;
    rest.write(&mut builder, &summary).map_err(cannot)?;
    builder.finish().map_err(cannot)?;
    Ok(summary)
}

/// As etcd's own version of protobuf writes it. Of a deletion only the key is kept.
fn encode_version(revision: Revision, key: &[u8], version: Option<Version<'_>>) -> Vec<u8> {
    let key = Bytes::copy_from_slice(key);
    let kv = version.map_or_else(KeyValue::default, |version| KeyValue {
        create_revision: version.create_revision,
        mod_revision: revision.main,
        version: version.version,
        value: Bytes::copy_from_slice(version.value),
        lease: version.lease,
        ..KeyValue::default()
    });
    KeyValue { key, ..kv }.encode_to_vec()
}

impl Rest {
    fn write<W: Write + Seek>(self, builder: &mut Builder<W>, summary: &Summary) -> io::Result<()> {
        let leases = self.leases.into_iter();
        let leases = leases.map(|lease| (lease.id.to_be_bytes().to_vec(), lease.encode_to_vec()));
        bucket(builder, LEASE, leases)?;
        let auth = [
            (AUTH_ENABLED.to_vec(), vec![u8::from(self.auth.enabled)]),
            (AUTH_REVISION.to_vec(), self.auth.revision.to_be_bytes().to_vec()),
        ];
        bucket(builder, AUTH, auth)?;
        let users = self.auth.users.into_iter();
        bucket(builder, USERS, users.map(|user| (user.name.to_vec(), user.encode_to_vec())))?;
        let roles = self.auth.roles.into_iter();
        bucket(builder, ROLES, roles.map(|role| (role.name.to_vec(), role.encode_to_vec())))?;
        let alarms = self.alarms.into_iter();
        let alarms = alarms.map(|alarm| alarm.encode_to_vec()).filter(|alarm| !alarm.is_empty());
        bucket(builder, ALARM, alarms.map(|alarm| (alarm, Vec::new())))?;
        bucket(builder, META, meta(summary))?;
        MEMBERSHIP.iter().try_for_each(|name| bucket(builder, name, []))
    }
}

fn meta(summary: &Summary) -> Vec<(Vec<u8>, Vec<u8>)> {
    let position = &summary.position;
    let mut found = vec![
        (CONSISTENT_INDEX.to_vec(), position.index.to_be_bytes().to_vec()),
        (TERM.to_vec(), position.term.to_be_bytes().to_vec()),
    ];
    if summary.compact_revision > 0 {
        let compacted = encode_revision(Revision::new(summary.compact_revision, 0), false);
        found.push((FINISHED_COMPACTION.to_vec(), compacted.clone()));
        found.push((SCHEDULED_COMPACTION.to_vec(), compacted));
    }
    found
}

/// A bucket of few keys, in any order.
fn bucket<W: Write + Seek>(
    builder: &mut Builder<W>,
    name: &[u8],
    keys: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
) -> io::Result<()> {
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort();
    let mut tree = builder.bucket(name);
    for (key, value) in keys {
        tree.put(&key, &value)?;
    }
    tree.finish()
}
