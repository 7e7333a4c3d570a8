//! The state from what the engine holds; values stay where they are.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::records::{self, Mark};
use crate::auth::{self, AuthState};
use crate::engine::Engine;
use crate::index::{Builder, History};
use crate::state::{Alarms, Births, Leases, State, live_bytes_of};
use crate::{Entry, Error, v2};

/// Loads everything; a fresh state from an empty engine.
pub(crate) fn load(engine: &dyn Engine) -> Result<State, Error> {
    let Some(mark) = engine.get(records::MARK_KEY)? else {
        return if is_empty(engine)? { Ok(State::default()) } else { Err(damaged("no mark")) };
    };
    let mark = Mark::decode(&mark).ok_or_else(|| damaged("the mark"))?;
    let mut state = State {
        revision: mark.revision,
        compact_revision: mark.compact_revision,
        position: mark.position,
        membership: engine.get(records::MEMBERSHIP_KEY)?,
        leases: load_leases(engine)?,
        alarms: load_alarms(engine)?,
        auth: Arc::new(load_auth(engine)?),
        births: Births::new(mark.revision),
        ..State::default()
    };
    each(engine, v2::records::PREFIX, |key, record| state.v2.load(key, record))?;
    if let Some(record) = engine.get(records::MEMBERS_KEY)? {
        state.members = records::decode_members(&record).ok_or_else(|| damaged("members"))?;
    }
    let versions = load_versions(engine, mark.revision)?;
    build_index(&mut state, versions)?;
    Ok(state)
}

/// A key and one of its versions.
type Version = (Box<[u8]>, Entry);

fn is_empty(engine: &dyn Engine) -> Result<bool, Error> {
    let mut is_empty = true;
    engine.scan(&[], &[u8::MAX], &mut |_, _| {
        is_empty = false;
        ControlFlow::Break(())
    })?;
    Ok(is_empty)
}

/// Visits the records whose key begins with `prefix` until one is refused, which is damage.
fn each(
    engine: &dyn Engine,
    prefix: u8,
    mut take: impl FnMut(&[u8], &[u8]) -> Option<()>,
) -> Result<(), Error> {
    let mut refused = None;
    engine.scan(&[prefix], &[prefix + 1], &mut |key, record| match take(key, record) {
        Some(()) => ControlFlow::Continue(()),
        None => {
            refused = Some(damaged(&format!("record {}", key.escape_ascii())));
            ControlFlow::Break(())
        }
    })?;
    refused.map_or(Ok(()), Err)
}

fn load_leases(engine: &dyn Engine) -> Result<Leases, Error> {
    let mut leases = Leases::default();
    each(engine, records::LEASE_PREFIX, |key, record| {
        let (id, term) = records::decode_lease(key, record)?;
        leases.grant(id, term);
        Some(())
    })?;
    Ok(leases)
}

fn load_alarms(engine: &dyn Engine) -> Result<Alarms, Error> {
    let mut alarms = Alarms::default();
    if let Some(record) = engine.get(records::ALARMS_KEY)? {
        for raised in records::decode_alarms(&record).ok_or_else(|| damaged("alarms"))? {
            alarms.raise(raised.alarm, raised.member_id);
        }
    }
    Ok(alarms)
}

fn load_auth(engine: &dyn Engine) -> Result<AuthState, Error> {
    let mut found = Vec::new();
    each(engine, auth::PREFIX[0], |key, record| {
        found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(record)));
        Some(())
    })?;
    AuthState::load(found)
}

/// All versions, in the order of their revisions.
fn load_versions(engine: &dyn Engine, newest: i64) -> Result<Vec<Version>, Error> {
    let mut versions = Vec::new();
    each(engine, records::VERSION_PREFIX, |key, record| {
        let revision = records::revision_of_key(key)?;
        let (key, entry) = records::decode_version(revision, record)?;
        (revision.main <= newest).then_some(())?;
        versions.push((key.into(), entry));
        Some(())
    })?;
    Ok(versions)
}

fn build_index(state: &mut State, versions: Vec<Version>) -> Result<(), Error> {
    let mut builder = Builder::default();
    let mut open: Option<(Box<[u8]>, History)> = None;
    for (key, entry) in in_order_of_keys(versions) {
        state.live_bytes += live_bytes_of(&key, &entry);
        match &mut open {
            Some((open_key, history)) if *open_key == key => {
                if !history.can_push(&entry) {
                    return Err(damaged(&format!("versions of {}", key.escape_ascii())));
                }
                history.push(entry);
            }
            _ => {
                if let Some((key, history)) = open.take() {
                    finish_key(state, &mut builder, key, history)?;
                }
                let mut history = History::default();
                history.push(entry);
                open = Some((key, history));
            }
        }
    }
    if let Some((key, history)) = open {
        finish_key(state, &mut builder, key, history)?;
    }
    state.index = builder.finish();
    Ok(())
}

/// Sorts by key, then revision. Most of a comparison is in eight bytes behind what all keys have
/// in common: so a million keys are sorted without touching most of them.
fn in_order_of_keys(versions: Vec<Version>) -> impl Iterator<Item = Version> {
    let common = match versions.first() {
        Some((first, _)) => versions.iter().fold(first.len(), |common, (key, _)| {
            key.iter().zip(&first[..common]).take_while(|(a, b)| a == b).count()
        }),
        None => 0,
    };
    let mut keyed: Vec<_> = versions
        .into_iter()
        .map(|(key, entry)| (eight_bytes(&key[common..]), key, entry))
        .collect();
    keyed.sort_unstable_by(|a, b| {
        a.0.cmp(&b.0).then_with(|| a.1.cmp(&b.1)).then_with(|| a.2.revision.cmp(&b.2.revision))
    });
    keyed.into_iter().map(|(_, key, entry)| (key, entry))
}

fn eight_bytes(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = key.len().min(8);
    first[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(first)
}

fn finish_key(
    state: &mut State,
    builder: &mut Builder,
    key: Box<[u8]>,
    history: History,
) -> Result<(), Error> {
    let lease = history.current().map_or(0, |entry| entry.lease);
    if lease != 0 && !state.leases.attach(lease, &key) {
        return Err(damaged(&format!("the lease of {} is not there", key.escape_ascii())));
    }
    builder.push(key, history);
    Ok(())
}

fn damaged(what: &str) -> Error {
    Error::Engine(format!("what the engine holds is damaged: {what}"))
}
