//! Pods that run to their end: Jobs.
//!
//! A pod that has ended is counted once: the status keeps the uids of those that are counted and
//! still there (Kubernetes' field for it is `uncountedTerminatedPods`; here they are counted), in
//! the same write as the count.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::{EnvVar, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};

use super::action::{Plan, reference};
use super::model::names::Fresh;
use super::model::{owners, pods};
use crate::objects::limits::INDEXES_MAX;

const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const UID: &str = "batch.kubernetes.io/controller-uid";
const NAME: &str = "batch.kubernetes.io/job-name";
/// Failures if the job does not say.
const BACKOFF_LIMIT: i32 = 6;
/// The pause after a failure; it doubles up to the longest.
const BACKOFF_S: i64 = 10;
const BACKOFF_S_MAX: i64 = 360;
/// Pods made in one go.
const BURST_MAX: usize = 500;

/// What is seen.
pub(crate) struct Observed<'a> {
    /// Pods whose controller this is.
    pub(crate) pods: &'a [&'a Pod],
    /// The revision of the view.
    pub(crate) revision: i64,
    pub(crate) is_taken: &'a dyn Fn(&str) -> bool,
    pub(crate) is_namespace_ending: bool,
}

struct Work<'a> {
    job: &'a Job,
    spec: &'a JobSpec,
    seen: &'a Observed<'a>,
    status: JobStatus,
    now: Timestamp,
    plan: Plan,
}

/// Whether a job is over: `Complete` or `Failed`, and since when.
pub(crate) fn finished(job: &Job) -> Option<(&str, Timestamp)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let is_end = |one: &&JobCondition| {
        matches!(one.type_.as_str(), "Complete" | "Failed") && one.status == "True"
    };
    let end = conditions.iter().find(is_end)?;
    let since = end.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0);
    Some((&end.type_, since))
}

pub(crate) fn plan(job: &Job, seen: &Observed<'_>, now: Timestamp) -> Plan {
    let Some(spec) = &job.spec else { return Plan::default() };
    let status = job.status.clone().unwrap_or_default();
    let mut work = Work { job, spec, seen, status, now, plan: Plan::default() };
    if owners::is_deleting(&job.metadata) {
        return work.plan;
    }
    if let Some((_, since)) = finished(job) {
        work.forget(since);
        return work.plan;
    }
    if spec.selector.is_none() {
        work.select();
        return work.plan;
    }
    work.run();
    work.finish()
}

impl Work<'_> {
    /// Deletes a finished job when its time is over.
    fn forget(&mut self, since: Timestamp) {
        let Some(ttl_s) = self.spec.ttl_seconds_after_finished else { return };
        let at = since.checked_add(SignedDuration::from_secs(ttl_s.max(0).into()));
        match at {
            Ok(at) if at > self.now => self.plan.look_at(at),
            _ => self.plan.delete(self.job),
        }
    }

    /// Clients find a job's pods by its selector.
    fn select(&mut self) {
        let mut job = self.job.clone();
        let own = self.labels();
        if let Some(spec) = &mut job.spec {
            let uid = own.iter().filter(|(key, _)| key == UID).cloned().collect();
            spec.selector =
                Some(LabelSelector { match_labels: Some(uid), ..LabelSelector::default() });
            let template = spec.template.metadata.get_or_insert_default();
            template.labels.get_or_insert_default().extend(own);
        }
        self.plan.update(job);
    }

    fn labels(&self) -> [(String, String); 4] {
        let meta = &self.job.metadata;
        let (uid, name) = (owners::uid(meta), owners::name(meta));
        [(UID, uid), ("controller-uid", uid), (NAME, name), ("job-name", name)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
    }

    fn active(&self) -> Vec<&Pod> {
        self.seen.pods.iter().copied().filter(|pod| pods::is_active(pod)).collect()
    }

    fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    fn run(&mut self) {
        if self.spec.suspend == Some(true) {
            return self.suspend();
        }
        self.resume();
        self.count();
        let started = self.status.start_time.get_or_insert(Time(self.now)).0;
        if let Some(limit_s) = self.spec.active_deadline_seconds {
            let at = started.checked_add(SignedDuration::from_secs(limit_s));
            match at {
                Ok(at) if at > self.now => self.plan.look_at(at),
                _ => {
                    let message = "Job was active longer than specified deadline";
                    return self.fail("DeadlineExceeded", message);
                }
            }
        }
        let active = self.active();
        let retries: i32 = active.iter().map(|pod| pods::restarts(pod)).sum();
        let is_restarted =
            self.spec.template.spec.as_ref().and_then(|spec| {
                spec.restart_policy.as_deref().map(|policy| policy == "OnFailure")
            });
        let failed = self.status.failed.unwrap_or(0);
        let retries = if is_restarted == Some(true) { retries } else { 0 };
        if failed + retries > self.spec.backoff_limit.unwrap_or(BACKOFF_LIMIT) {
            let message = "Job has reached the specified backoff limit";
            return self.fail("BackoffLimitExceeded", message);
        }
        if self.is_complete(active.len()) {
            return self.complete();
        }
        self.balance();
    }

    fn suspend(&mut self) {
        let active: Vec<Pod> = self.active().into_iter().cloned().collect();
        active.into_iter().for_each(|pod| self.plan.delete(pod));
        self.count();
        self.status.start_time = None;
        self.set("Suspended", "True", "JobSuspended", "Job suspended");
    }

    fn resume(&mut self) {
        let conditions = self.status.conditions.iter().flatten();
        let mut suspended = conditions.filter(|one| one.type_ == "Suspended");
        if suspended.any(|one| one.status == "True") {
            self.set("Suspended", "False", "JobResumed", "Job resumed");
        }
    }

    /// Counts what has ended since the last time.
    fn count(&mut self) {
        let counted = self.status.uncounted_terminated_pods.take().unwrap_or_default();
        let tally = |before: Option<i32>, counted: Option<Vec<String>>, ended: Vec<String>| {
            let counted: BTreeSet<String> = counted.unwrap_or_default().into_iter().collect();
            let new = ended.iter().filter(|uid| !counted.contains(*uid)).count();
            let total = before.unwrap_or(0) + i32::try_from(new).unwrap_or(0);
            ((total != 0).then_some(total), Some(ended).filter(|ended| !ended.is_empty()))
        };
        let uids = |test: &dyn Fn(&Pod) -> bool| {
            let ended = self.seen.pods.iter().filter(|pod| test(pod));
            let mut uids: Vec<String> =
                ended.map(|pod| owners::uid(&pod.metadata).to_owned()).collect();
            uids.sort_unstable();
            uids
        };
        let (succeeded, succeeded_uids) =
            tally(self.status.succeeded, counted.succeeded, uids(&pods::has_succeeded));
        let (failed, failed_uids) =
            tally(self.status.failed, counted.failed, uids(&pods::has_failed));
        self.status.succeeded = succeeded;
        self.status.failed = failed;
        let counted = UncountedTerminatedPods { succeeded: succeeded_uids, failed: failed_uids };
        self.status.uncounted_terminated_pods =
            Some(counted).filter(|one| one.succeeded.is_some() || one.failed.is_some());
        if self.is_indexed() {
            self.note_indexes();
        }
    }

    /// Indexes that are done, those of pods that are gone too.
    fn note_indexes(&mut self) {
        let mut done = parse_indexes(self.status.completed_indexes.as_deref().unwrap_or_default());
        let succeeded = self.seen.pods.iter().filter(|pod| pods::has_succeeded(pod));
        done.extend(succeeded.filter_map(|pod| index(pod)));
        self.status.succeeded = i32::try_from(done.len()).ok().filter(|count| *count > 0);
        self.status.completed_indexes = Some(spell_indexes(&done)).filter(|all| !all.is_empty());
    }

    fn is_complete(&self, active: usize) -> bool {
        let succeeded = self.status.succeeded.unwrap_or(0);
        match self.spec.completions {
            Some(completions) => succeeded >= completions,
            // A queue of work: the first success says that it is empty.
            None => succeeded > 0 && active == 0,
        }
    }

    fn balance(&mut self) {
        let parallelism = self.spec.parallelism.unwrap_or(1).max(0);
        let succeeded = self.status.succeeded.unwrap_or(0);
        let wanted = match self.spec.completions {
            Some(completions) => parallelism.min(completions - succeeded),
            None if succeeded > 0 => 0,
            None => parallelism,
        };
        let wanted = usize::try_from(wanted).unwrap_or(0);
        let mut active: Vec<Pod> = self.active().into_iter().cloned().collect();
        if active.len() > wanted && self.spec.completions.is_some() || parallelism == 0 {
            active.sort_by_cached_key(|pod| (pods::is_ready(pod), pods::node(pod).is_some()));
            let excess = active.len().saturating_sub(wanted);
            active.into_iter().take(excess).for_each(|pod| self.plan.delete(pod));
        } else if active.len() < wanted && !self.seen.is_namespace_ending {
            self.grow((wanted - active.len()).min(BURST_MAX), &active);
        }
    }

    fn grow(&mut self, missing: usize, active: &[Pod]) {
        if let Some(until) = self.held_until().filter(|until| *until > self.now) {
            return self.plan.look_at(until);
        }
        let meta = &self.job.metadata;
        let base = owners::name(meta);
        let fresh = Fresh { base, uid: owners::uid(meta), revision: self.seen.revision };
        let names: Vec<String> = fresh.names(self.seen.is_taken).take(missing).collect();
        let mut indexes = self.free_indexes(active).into_iter();
        for name in names {
            let index = indexes.next();
            if self.is_indexed() && index.is_none() {
                return;
            }
            let message = format!("Created pod: {name}");
            let pod = self.pod(name, index);
            self.plan.create(pod);
            self.plan.tell(&reference(self.job), "SuccessfulCreate", message);
        }
    }

    /// The lowest indexes that nobody works at.
    fn free_indexes(&self, active: &[Pod]) -> Vec<i32> {
        if !self.is_indexed() {
            return Vec::new();
        }
        let mut busy = parse_indexes(self.status.completed_indexes.as_deref().unwrap_or_default());
        busy.extend(active.iter().filter_map(index));
        let wanted = usize::try_from(self.spec.parallelism.unwrap_or(1)).unwrap_or(0);
        let all = 0..self.spec.completions.unwrap_or(0).min(INDEXES_MAX);
        all.filter(|one| !busy.contains(one)).take(wanted).collect()
    }

    fn held_until(&self) -> Option<Timestamp> {
        let failed = self.seen.pods.iter().filter(|pod| pods::has_failed(pod));
        let last = failed.map(|pod| pods::finished_at(pod)).max()?;
        let doublings = u32::try_from(self.status.failed.unwrap_or(1) - 1).unwrap_or(0).min(10);
        let pause_s = (BACKOFF_S << doublings).min(BACKOFF_S_MAX);
        last.checked_add(SignedDuration::from_secs(pause_s)).ok()
    }

    fn pod(&self, name: String, index: Option<i32>) -> Pod {
        let namespace = owners::namespace(&self.job.metadata);
        let owner = owners::reference("batch/v1", "Job", &self.job.metadata);
        let mut pod = pods::from_template(&self.spec.template, namespace, name, owner);
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.extend(self.labels());
        let Some(index) = index.map(|index| index.to_string()) else { return pod };
        labels.insert(INDEX.into(), index.clone());
        pod.metadata.annotations.get_or_insert_default().insert(INDEX.into(), index.clone());
        let spec = pod.spec.get_or_insert_default();
        spec.hostname = Some(format!("{}-{index}", owners::name(&self.job.metadata)));
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten())
        {
            container.env.get_or_insert_default().push(EnvVar {
                name: "JOB_COMPLETION_INDEX".into(),
                value: Some(index.clone()),
                ..EnvVar::default()
            });
        }
        pod
    }

    fn complete(&mut self) {
        let active: Vec<Pod> = self.active().into_iter().cloned().collect();
        active.into_iter().for_each(|pod| self.plan.delete(pod));
        self.status.completion_time = Some(Time(self.now));
        let message = "Reached expected number of succeeded pods";
        self.set("SuccessCriteriaMet", "True", "CompletionsReached", message);
        self.set("Complete", "True", "CompletionsReached", message);
        self.plan.tell(&reference(self.job), "Completed", "Job completed".into());
    }

    fn fail(&mut self, reason: &'static str, message: &str) {
        let active: Vec<Pod> = self.active().into_iter().cloned().collect();
        active.into_iter().for_each(|pod| self.plan.delete(pod));
        self.set("FailureTarget", "True", reason, message);
        self.set("Failed", "True", reason, message);
        self.plan.warn(&reference(self.job), reason, message.to_owned());
    }

    fn set(&mut self, kind: &str, is: &str, reason: &str, message: &str) {
        let conditions = self.status.conditions.get_or_insert_default();
        if conditions.iter().any(|one| one.type_ == kind && one.status == is) {
            return;
        }
        conditions.retain(|one| one.type_ != kind);
        conditions.push(JobCondition {
            type_: kind.into(),
            status: is.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_probe_time: Some(Time(self.now)),
            last_transition_time: Some(Time(self.now)),
        });
    }

    fn finish(mut self) -> Plan {
        let is_over =
            self.status.conditions.iter().flatten().any(|one| {
                matches!(one.type_.as_str(), "Complete" | "Failed") && one.status == "True"
            });
        let count = |count: usize| i32::try_from(count).ok();
        let active = if is_over { 0 } else { self.active().len() };
        let ready = self.active().iter().filter(|pod| pods::is_ready(pod)).count();
        self.status.active = count(active).filter(|count| *count > 0);
        self.status.ready = count(if is_over { 0 } else { ready });
        if let Some((_, since)) = finished(self.job) {
            self.forget(since);
        }
        if Some(&self.status) != self.job.status.as_ref() {
            self.plan.update(Job { status: Some(self.status), ..self.job.clone() });
        }
        self.plan
    }
}

fn index(pod: &Pod) -> Option<i32> {
    owners::annotation(&pod.metadata, INDEX)?.parse().ok()
}

/// `0-2,5`.
fn parse_indexes(text: &str) -> BTreeSet<i32> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            indexes.extend(first.max(0)..=last.min(INDEXES_MAX));
        }
    }
    indexes
}

fn spell_indexes(indexes: &BTreeSet<i32>) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    let spell = |(first, last): (i32, i32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.into_iter().map(spell).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
