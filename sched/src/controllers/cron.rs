//! Jobs at their time: CronJobs.
//!
//! The job of a time has that time in its name, so no time gets two, whoever plans.

use std::str::FromStr;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::action::{Plan, reference};
use super::jobs;
use super::model::{names, owners};

/// Jobs kept if the cron job does not say.
const SUCCEEDED_KEPT: i32 = 3;
const FAILED_KEPT: i32 = 1;
/// The time that a job is for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

pub(crate) fn plan(cron: &CronJob, jobs: &[&Job], now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = &cron.spec else { return plan };
    let mut status = cron.status.clone().unwrap_or_default();
    note(&mut status, jobs);
    if !owners::is_deleting(&cron.metadata) {
        forget(spec, jobs, &mut plan);
        if spec.suspend != Some(true) {
            schedule(cron, spec, jobs, &mut status, now, &mut plan);
        }
    }
    if Some(&status) != cron.status.as_ref() {
        plan.update(CronJob { status: Some(status), ..cron.clone() });
    }
    plan
}

/// What runs, and when the last one was done.
fn note(status: &mut CronJobStatus, jobs: &[&Job]) {
    let active = jobs.iter().filter(|job| jobs::finished(job).is_none());
    let active: Vec<ObjectReference> =
        active.map(|job| ObjectReference { resource_version: None, ..reference(*job) }).collect();
    status.active = Some(active).filter(|active| !active.is_empty());
    let done = jobs.iter().filter_map(|job| match jobs::finished(job)? {
        ("Complete", at) => Some(at),
        _ => None,
    });
    if let Some(last) = done.max() {
        let known = status.last_successful_time.as_ref().map(|time| time.0);
        status.last_successful_time = known.max(Some(last)).map(Time);
    }
}

/// Deletes finished jobs beyond those that are kept, the oldest first.
fn forget(spec: &CronJobSpec, jobs: &[&Job], plan: &mut Plan) {
    for (end, kept) in [
        ("Complete", spec.successful_jobs_history_limit.unwrap_or(SUCCEEDED_KEPT)),
        ("Failed", spec.failed_jobs_history_limit.unwrap_or(FAILED_KEPT)),
    ] {
        let ended = jobs.iter().filter(|job| jobs::finished(job).is_some_and(|one| one.0 == end));
        let mut ended: Vec<_> = ended.filter(|job| !owners::is_deleting(&job.metadata)).collect();
        ended.sort_by_key(|job| {
            (job.metadata.creation_timestamp.clone(), job.metadata.name.clone())
        });
        let excess = ended.len().saturating_sub(usize::try_from(kept).unwrap_or(0));
        ended.into_iter().take(excess).for_each(|job| plan.delete(*job));
    }
}

fn schedule(
    cron: &CronJob,
    spec: &CronJobSpec,
    jobs: &[&Job],
    status: &mut CronJobStatus,
    now: Timestamp,
    plan: &mut Plan,
) {
    let (pattern, zone) = match read(spec) {
        Ok(read) => read,
        Err(message) => return plan.warn(&reference(cron), "UnparseableSchedule", message),
    };
    let zoned = now.to_zoned(zone);
    if let Ok(next) = pattern.find_next_occurrence(&zoned, false) {
        plan.look_at(next.timestamp());
    }
    let Ok(due) = pattern.find_previous_occurrence(&zoned, true) else { return };
    let due = due.timestamp();
    let made = cron.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let last = status.last_schedule_time.as_ref().map_or(made, |time| time.0);
    if due <= last {
        return;
    }
    let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    if deadline.is_some_and(|deadline| now.duration_since(due) > deadline) {
        let message = format!("Missed the time {due}: the starting deadline is over");
        return plan.warn(&reference(cron), "MissSchedule", message);
    }
    let active: Vec<_> = jobs.iter().filter(|job| jobs::finished(job).is_none()).collect();
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let message = "Not started because the job before is still running".to_owned();
            return plan.tell(&reference(cron), "JobAlreadyActive", message);
        }
        Some("Replace") => active.into_iter().for_each(|job| plan.delete(*job)),
        _ => {}
    }
    let job = job(cron, spec, due);
    let name = owners::name(&job.metadata).to_owned();
    if !jobs.iter().any(|known| owners::name(&known.metadata) == name) {
        plan.create(job);
        plan.tell(&reference(cron), "SuccessfulCreate", format!("Created job {name}"));
    }
    status.last_schedule_time = Some(Time(due));
}

fn read(spec: &CronJobSpec) -> Result<(Cron, TimeZone), String> {
    let pattern = Cron::from_str(&spec.schedule)
        .map_err(|error| format!("schedule {:?}: {error}", spec.schedule))?;
    let zone = match spec.time_zone.as_deref() {
        None => TimeZone::UTC,
        Some(name) => {
            TimeZone::get(name).map_err(|error| format!("time zone {name:?}: {error}"))?
        }
    };
    Ok((pattern, zone))
}

fn job(cron: &CronJob, spec: &CronJobSpec, due: Timestamp) -> Job {
    let given = spec.job_template.metadata.clone().unwrap_or_default();
    // Kubernetes counts minutes; a schedule with seconds needs more.
    let second = due.as_second();
    let number = if second % 60 == 0 { second / 60 } else { second };
    let mut metadata = ObjectMeta {
        name: Some(names::below(owners::name(&cron.metadata), &number.to_string())),
        namespace: cron.metadata.namespace.clone(),
        labels: given.labels,
        annotations: given.annotations,
        owner_references: Some(vec![owners::reference("batch/v1", "CronJob", &cron.metadata)]),
        ..ObjectMeta::default()
    };
    owners::annotate(&mut metadata, SCHEDULED, &due.to_string());
    Job { metadata, spec: spec.job_template.spec.clone(), status: None }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};

    use super::super::action::Action;
    use super::super::kinds::Object;
    use super::*;

    fn time(text: &str) -> Timestamp {
        format!("2026-03-01T{text}Z").parse().unwrap()
    }

    struct Cluster {
        cron: CronJob,
        jobs: Vec<Job>,
        again: Option<Timestamp>,
    }

    impl Cluster {
        fn new(schedule: &str, change: impl FnOnce(&mut CronJobSpec)) -> Self {
            let mut spec = CronJobSpec { schedule: schedule.into(), ..CronJobSpec::default() };
            change(&mut spec);
            let metadata = ObjectMeta {
                name: Some("tick".into()),
                namespace: Some("shop".into()),
                uid: Some("uid-tick".into()),
                creation_timestamp: Some(Time(time("00:00:30"))),
                ..ObjectMeta::default()
            };
            let cron = CronJob { metadata, spec: Some(spec), status: None };
            Self { cron, jobs: Vec::new(), again: None }
        }

        /// Returns the reasons of what was told.
        fn at(&mut self, text: &str) -> Vec<&'static str> {
            let jobs: Vec<&Job> = self.jobs.iter().collect();
            let plan = plan(&self.cron, &jobs, time(text));
            self.again = plan.again;
            let mut reasons = Vec::new();
            for action in plan.actions {
                match action {
                    Action::Create(Object::Job(mut job)) => {
                        job.metadata.creation_timestamp = Some(Time(time(text)));
                        self.jobs.push(*job);
                    }
                    Action::Update(Object::CronJob(cron)) => self.cron = *cron,
                    Action::Delete(removal) => self
                        .jobs
                        .retain(|job| job.metadata.name.as_deref() != Some(&removal.id.name)),
                    Action::Tell(event) => reasons.push(event.reason),
                    other => panic!("{other:?}"),
                }
            }
            reasons
        }

        fn end(&mut self, end: &str) {
            for job in self.jobs.iter_mut().filter(|job| job.status.is_none()) {
                let condition = JobCondition {
                    type_: end.into(),
                    status: "True".into(),
                    ..JobCondition::default()
                };
                let conditions = Some(vec![condition]);
                job.status = Some(JobStatus { conditions, ..JobStatus::default() });
            }
        }
    }

    #[test]
    fn a_job_starts_at_its_time_once() {
        // Proves that nothing starts before its time, that planning again starts nothing more, and
        // that of many missed times the last one alone is made up for.
        let mut cluster = Cluster::new("*/5 * * * *", |_| {});
        cluster.at("00:01:00");
        assert!(cluster.jobs.is_empty());
        assert_eq!(cluster.again, Some(time("00:05:00")));
        assert_eq!(cluster.at("00:05:00"), ["SuccessfulCreate"]);
        assert!(cluster.at("00:05:01").is_empty());
        assert_eq!(cluster.jobs.len(), 1);
        cluster.at("02:01:00");
        assert_eq!(cluster.jobs.len(), 2);
    }

    #[test]
    fn what_still_runs_is_let_run_kept_from_or_replaced() {
        // Proves the three policies.
        for (policy, expected) in [("Allow", 2), ("Forbid", 1), ("Replace", 1)] {
            let mut cluster = Cluster::new("* * * * *", |spec| {
                spec.concurrency_policy = Some(policy.into());
            });
            cluster.at("00:01:00");
            let first = cluster.jobs[0].metadata.name.clone();
            cluster.at("00:02:00");
            assert_eq!(cluster.jobs.len(), expected, "{policy}");
            assert_eq!(cluster.jobs[0].metadata.name == first, policy != "Replace");
        }
    }

    #[test]
    fn history_deadline_suspension_and_bad_schedules() {
        // Proves the history limits, startingDeadlineSeconds, suspend, and a clear word about a
        // schedule or a time zone that cannot be read.
        let mut cluster = Cluster::new("* * * * *", |_| {});
        for minute in 1..=6 {
            cluster.at(&format!("00:0{minute}:00"));
            cluster.end(if minute % 2 == 0 { "Failed" } else { "Complete" });
        }
        cluster.at("00:06:30");
        assert_eq!(cluster.jobs.len(), 4);
        let mut late = Cluster::new("0 * * * *", |spec| spec.starting_deadline_seconds = Some(60));
        assert_eq!(late.at("01:02:00"), ["MissSchedule"]);
        let mut off = Cluster::new("* * * * *", |spec| spec.suspend = Some(true));
        off.at("00:05:00");
        assert!(off.jobs.is_empty());
        for (schedule, zone) in [("often", None), ("* * * * *", Some("Mars/Base"))] {
            let mut bad = Cluster::new(schedule, |spec| spec.time_zone = zone.map(str::to_owned));
            assert_eq!(bad.at("00:05:00"), ["UnparseableSchedule"]);
        }
    }

    #[test]
    fn times_are_of_the_zone() {
        // Proves timeZone: nine o'clock in Tokyo is midnight in UTC.
        let mut cluster =
            Cluster::new("5 9 * * *", |spec| spec.time_zone = Some("Asia/Tokyo".into()));
        cluster.at("00:04:59");
        assert_eq!(cluster.again, Some(time("00:05:00")));
        cluster.at("00:05:00");
        assert_eq!(cluster.jobs.len(), 1);
    }
}
