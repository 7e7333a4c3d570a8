use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::action::Action;
use super::super::kinds::Object;
use super::super::model::testing::{at, in_phase};
use super::*;

struct Cluster {
    job: Job,
    pods: Vec<Pod>,
    revision: i64,
    second: i64,
    is_deleted: bool,
}

impl Cluster {
    fn new(spec: JobSpec) -> Self {
        let job = Job {
            metadata: ObjectMeta {
                name: Some("sum".into()),
                namespace: Some("shop".into()),
                uid: Some("uid-sum".into()),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
            status: None,
        };
        Self { job, pods: Vec::new(), revision: 0, second: 0, is_deleted: false }
    }

    fn step(&mut self) {
        self.revision += 1;
        let pods: Vec<&Pod> = self.pods.iter().collect();
        let seen = Observed {
            pods: &pods,
            revision: self.revision,
            is_taken: &|_| false,
            is_namespace_ending: false,
        };
        for action in plan(&self.job, &seen, at(self.second)).actions {
            match action {
                Action::Create(Object::Pod(mut pod)) => {
                    pod.metadata.uid = pod.metadata.name.clone();
                    pod.metadata.creation_timestamp = Some(Time(at(self.second)));
                    self.pods.push(*pod);
                }
                Action::Update(Object::Job(job)) => self.job = *job,
                Action::Delete(removal) if removal.id.resource == "jobs" => self.is_deleted = true,
                Action::Delete(removal) => {
                    self.pods.retain(|pod| pod.metadata.name.as_deref() != Some(&removal.id.name));
                }
                _ => {}
            }
        }
        self.second += 1;
    }

    fn steps(&mut self, count: usize) {
        (0..count).for_each(|_| self.step());
    }

    fn end_all(&mut self, phase: &str) {
        for pod in &mut self.pods {
            if pods::is_active(pod) {
                *pod = in_phase(pod.clone(), phase);
            }
        }
    }

    fn active(&self) -> usize {
        self.pods.iter().filter(|pod| pods::is_active(pod)).count()
    }

    fn status(&self) -> &JobStatus {
        self.job.status.as_ref().unwrap()
    }

    fn end(&self) -> Option<&str> {
        finished(&self.job).map(|(end, _)| end)
    }
}

fn spec(completions: i32, parallelism: i32) -> JobSpec {
    JobSpec { completions: Some(completions), parallelism: Some(parallelism), ..JobSpec::default() }
}

#[test]
fn as_many_as_asked_for_come_to_their_end() {
    // Proves completions and parallelism, and that a pod is counted once though it goes away.
    let mut cluster = Cluster::new(spec(5, 2));
    let mut rounds = 0;
    while cluster.end().is_none() && rounds < 20 {
        cluster.steps(3);
        assert!(cluster.active() <= 2);
        cluster.end_all("Succeeded");
        cluster.step();
        // Somebody cleans up.
        cluster.pods.retain(pods::is_active);
        rounds += 1;
    }
    assert_eq!(cluster.end(), Some("Complete"));
    assert_eq!(cluster.status().succeeded, Some(5));
    assert_eq!(rounds, 3);
}

#[test]
fn failures_are_tried_again_ever_later_up_to_the_limit() {
    // Proves backoffLimit and the pauses, and that nothing runs afterwards.
    let mut cluster = Cluster::new(JobSpec { backoff_limit: Some(2), ..spec(1, 1) });
    let mut starts = Vec::new();
    for second in 0..200 {
        cluster.step();
        if cluster.active() > 0 {
            starts.push(second);
            cluster.end_all("Failed");
        }
    }
    assert_eq!(starts.len(), 3);
    assert!(starts[1] - starts[0] >= 10 && starts[2] - starts[1] >= 20, "{starts:?}");
    assert_eq!(cluster.end(), Some("Failed"));
    assert_eq!(cluster.status().failed, Some(3));
}

#[test]
fn time_ends_a_job_and_takes_it_away() {
    // Proves activeDeadlineSeconds and ttlSecondsAfterFinished.
    let mut cluster = Cluster::new(JobSpec {
        active_deadline_seconds: Some(20),
        ttl_seconds_after_finished: Some(30),
        ..spec(1, 1)
    });
    cluster.steps(15);
    assert_eq!((cluster.active(), cluster.end()), (1, None));
    cluster.steps(15);
    assert_eq!((cluster.active(), cluster.end()), (0, Some("Failed")));
    assert!(!cluster.is_deleted);
    cluster.steps(30);
    assert!(cluster.is_deleted);
}

#[test]
fn suspended_jobs_wait() {
    // Proves that suspend stops the pods and resume brings them back.
    let mut cluster = Cluster::new(spec(3, 3));
    cluster.steps(3);
    cluster.job.spec.as_mut().unwrap().suspend = Some(true);
    cluster.steps(3);
    assert_eq!(cluster.active(), 0);
    cluster.job.spec.as_mut().unwrap().suspend = Some(false);
    cluster.steps(3);
    assert_eq!(cluster.active(), 3);
}

#[test]
fn each_index_is_done_once() {
    // Proves Indexed completion: every index runs, one that failed runs again, and their ranges.
    let mut cluster =
        Cluster::new(JobSpec { completion_mode: Some("Indexed".into()), ..spec(4, 2) });
    cluster.steps(3);
    let failed = cluster.pods[0].clone();
    cluster.end_all("Succeeded");
    cluster.pods[0] = in_phase(failed, "Failed");
    cluster.steps(2);
    assert_eq!(cluster.status().completed_indexes.as_deref(), Some("1"));
    for _ in 0..4 {
        cluster.steps(20);
        cluster.end_all("Succeeded");
    }
    cluster.steps(2);
    assert_eq!(cluster.end(), Some("Complete"));
    assert_eq!(cluster.status().completed_indexes.as_deref(), Some("0-3"));
    assert_eq!(parse_indexes("0-2,5"), [0, 1, 2, 5].into());
}
