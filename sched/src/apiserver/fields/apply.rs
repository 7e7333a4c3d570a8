//! A write that says what its manager wants to be so, and nothing of the rest.

use serde_json::Value;

use super::changes::compare;
use super::collect::collect;
use super::conflict::Conflict;
use super::merge::merge;
use super::owners::{Operation, Owners, Writer};
use super::remove::remove;
use super::set::FieldSet;
use super::step;
use super::update::{NOBODYS, update};

/// Who has the fields of an object that was stored without owners.
const BEFORE: &str = "before-first-apply";

/// What may be taken from others.
#[derive(Clone, Debug)]
pub(in super::super) enum Takes {
    Everything,
    These(FieldSet),
}

/// An object as it is to be, and who has its fields then.
#[derive(Clone, Debug)]
pub(in super::super) struct Applied {
    pub(in super::super) value: Value,
    pub(in super::super) owners: Owners,
}

/// Puts `config` into `live`, and takes out of it what the writer applied before, applies no
/// longer, and nobody else has.
///
/// # Errors
/// The fields that others have, want to be otherwise, and that may not be taken.
pub(in super::super) fn apply(
    live: &Value,
    config: &Value,
    owners: Owners,
    writer: &Writer,
    takes: &Takes,
) -> Result<Applied, Vec<Conflict>> {
    let mut owners = if owners.entries.is_empty() { unmanaged(live, writer) } else { owners };
    let at = owners.entries.iter().position(|entry| entry.is_of(writer));
    let last = at.map(|at| owners.entries.remove(at).fields);
    let own = collect(config);
    let value = prune(merge(live, config), last.as_ref(), &own, &owners);
    let changes = compare(live, &value);
    let said = changes.said();
    let conflicts = conflicts(&owners, &said, takes);
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    owners.take(&changes.all());
    let own = own.minus(&NOBODYS);
    if !own.is_empty() {
        owners.entries.push(writer.entry(own));
    }
    owners.sort();
    Ok(Applied { value, owners })
}

/// What is there belongs to somebody without a name.
fn unmanaged(live: &Value, writer: &Writer) -> Owners {
    let before =
        Writer { manager: BEFORE.to_owned(), operation: Operation::Update, ..writer.clone() };
    update(None, live, Owners::default(), &before)
}

fn conflicts(owners: &Owners, said: &FieldSet, takes: &Takes) -> Vec<Conflict> {
    let Takes::These(allowed) = takes else { return Vec::new() };
    let mut conflicts = Vec::new();
    for entry in &owners.entries {
        for path in entry.fields.common(said).minus(allowed).paths() {
            conflicts.push(Conflict { owner: entry.describe(), path: step::show(&path) });
        }
    }
    conflicts
}

/// Takes out of the merged document what only the last application named.
fn prune(merged: Value, last: Option<&FieldSet>, own: &FieldSet, owners: &Owners) -> Value {
    let Some(last) = last else { return merged };
    let last = last.with_parents();
    let managed = owners.entries.iter().fold(own.clone(), |all, entry| all.union(&entry.fields));
    let all = collect(&merged).with_parents();
    let fields = |value: &Value| collect(value).with_parents();
    // Without all that was applied, but with what somebody has.
    let kept = fields(&remove(&merged, &last, &managed)).union(&managed.with_parents());
    let kept = fields(&remove(&merged, &all.minus(&kept), &managed));
    // Of what is gone then, only what was the writer's goes: the rest is nobody's.
    let mut gone = all.minus(&kept).common(&last);
    // Below these, controllers and agents write beside it, who own nothing: only single values go.
    let values = collect(&merged).leaves();
    gone.confine("metadata", &values);
    gone.confine("status", &values);
    remove(&merged, &gone, &managed)
}
