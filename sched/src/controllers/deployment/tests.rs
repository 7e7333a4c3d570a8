//! Deployments on a cluster in memory, with the planner of the sets beside them.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;

use super::super::model::pods;
use super::super::model::testing::{at, ready};
use super::super::replicas;
use super::super::{action::Action, kinds::Object};
use super::*;

/// A cluster of one deployment. Time goes on by a second with each turn.
struct Cluster {
    deployment: Deployment,
    sets: BTreeMap<String, ReplicaSet>,
    pods: BTreeMap<String, Pod>,
    revision: i64,
    second: i64,
    /// Pods of these images never become ready.
    broken: Vec<&'static str>,
    events: Vec<&'static str>,
}

fn deployment(replicas: i32, image: &str) -> Deployment {
    let labels: selectors::Labels = [("app".to_owned(), "web".to_owned())].into();
    let container =
        Container { name: "web".into(), image: Some(image.into()), ..Container::default() };
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels.clone()), ..ObjectMeta::default() }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    };
    Deployment {
        metadata: ObjectMeta {
            name: Some("web".into()),
            namespace: Some("shop".into()),
            uid: Some("uid-web".into()),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            selector: LabelSelector { match_labels: Some(labels), ..LabelSelector::default() },
            template,
            progress_deadline_seconds: Some(30),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn image(template: &PodTemplateSpec) -> &str {
    let container = template.spec.as_ref().and_then(|spec| spec.containers.first());
    container.and_then(|one| one.image.as_deref()).unwrap_or_default()
}

impl Cluster {
    fn new(deployment: Deployment) -> Self {
        Self {
            deployment,
            sets: BTreeMap::new(),
            pods: BTreeMap::new(),
            revision: 1,
            second: 0,
            broken: Vec::new(),
            events: Vec::new(),
        }
    }

    fn spec(&mut self, change: impl FnOnce(&mut DeploymentSpec)) {
        change(self.deployment.spec.as_mut().unwrap());
        *self.deployment.metadata.generation.as_mut().unwrap() += 1;
    }

    fn set_image(&mut self, image: &str) {
        self.spec(|spec| {
            spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
        });
    }

    fn step_deployment(&mut self) {
        let sets: Vec<&ReplicaSet> = self.sets.values().collect();
        let pods: Vec<&Pod> = self.pods.values().collect();
        let seen = Observed {
            sets: &sets,
            pods: &pods,
            is_taken: &|name| self.sets.contains_key(name),
            is_namespace_ending: false,
        };
        let plan = plan(&self.deployment, &seen, at(self.second));
        self.carry_out(plan);
    }

    fn step_sets(&mut self) {
        for name in self.sets.keys().cloned().collect::<Vec<_>>() {
            let pods: Vec<&Pod> = self.pods.values().collect();
            let seen = replicas::Observed {
                pods: &pods,
                revision: self.revision,
                is_taken: &|name| self.pods.contains_key(name),
                is_namespace_ending: false,
            };
            let plan = replicas::plan_replica_set(&self.sets[&name], &seen, at(self.second));
            self.carry_out(plan);
        }
    }

    /// Pods that were asked to go have gone, and some of the others became ready.
    fn step_pods(&mut self, luck: usize) {
        self.pods.retain(|_, pod| !owners::is_deleting(&pod.metadata));
        let broken = self.broken.clone();
        let is_broken = |pod: &Pod| {
            let image = pod.spec.as_ref().and_then(|spec| spec.containers[0].image.as_deref());
            image.is_some_and(|image| broken.contains(&image))
        };
        let waiting = self.pods.values_mut().filter(|pod| !pods::is_ready(pod) && !is_broken(pod));
        for pod in waiting.take(luck) {
            *pod = ready(pod.clone(), at(self.second));
        }
        self.second += 1;
    }

    fn carry_out(&mut self, plan: Plan) {
        for action in plan.actions {
            self.revision += 1;
            match action {
                Action::Create(object) => self.create(object),
                Action::Update(Object::Deployment(after)) => {
                    let mut after = *after;
                    if after.spec != self.deployment.spec {
                        *after.metadata.generation.as_mut().unwrap() += 1;
                    }
                    self.deployment = after;
                }
                Action::Update(Object::ReplicaSet(set)) => {
                    self.sets.insert(set.metadata.name.clone().unwrap(), *set);
                }
                Action::Update(Object::Pod(pod)) => {
                    self.pods.insert(pod.metadata.name.clone().unwrap(), *pod);
                }
                Action::Delete(removal) if removal.id.resource == "pods" => {
                    let pod = self.pods.get_mut(&removal.id.name).unwrap();
                    pod.metadata.deletion_timestamp = Some(Time(at(self.second)));
                }
                Action::Delete(removal) => drop(self.sets.remove(&removal.id.name)),
                Action::Tell(event) => self.events.push(event.reason),
                other => panic!("{other:?}"),
            }
        }
    }

    fn create(&mut self, object: Object) {
        let fill = |meta: &mut ObjectMeta| {
            meta.uid = Some(format!("uid-{}", self.revision));
            meta.creation_timestamp = Some(Time(at(self.revision)));
        };
        match object {
            Object::ReplicaSet(mut set) => {
                fill(&mut set.metadata);
                let name = set.metadata.name.clone().unwrap();
                assert!(self.sets.insert(name, *set).is_none());
            }
            Object::Pod(mut pod) => {
                fill(&mut pod.metadata);
                let name = pod.metadata.name.clone().unwrap();
                assert!(self.pods.insert(name, *pod).is_none());
            }
            other => panic!("{other:?}"),
        }
    }

    fn turn(&mut self) {
        self.step_deployment();
        self.step_sets();
        self.step_pods(2);
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            self.turn();
        }
    }

    fn available(&self) -> usize {
        self.pods.values().filter(|pod| pods::is_active(pod) && pods::is_ready(pod)).count()
    }

    /// Images of the pods that run, with their number.
    fn running(&self) -> BTreeMap<&str, usize> {
        let mut running = BTreeMap::new();
        for pod in self.pods.values().filter(|pod| pods::is_active(pod)) {
            let container = &pod.spec.as_ref().unwrap().containers[0];
            *running.entry(container.image.as_deref().unwrap()).or_default() += 1;
        }
        running
    }

    fn reason(&self) -> &str {
        let status = self.deployment.status.as_ref().unwrap();
        let conditions = status.conditions.as_ref().unwrap();
        let progressing = conditions.iter().find(|one| one.type_ == "Progressing").unwrap();
        progressing.reason.as_deref().unwrap()
    }

    fn revisions(&self) -> Vec<(i64, &str)> {
        let mut all: Vec<_> = self
            .sets
            .values()
            .map(|set| {
                let template = set.spec.as_ref().unwrap().template.as_ref().unwrap();
                (sets::revision(&set.metadata), image(template))
            })
            .collect();
        all.sort_unstable();
        all
    }
}

#[test]
fn a_new_version_replaces_the_old_one_and_undo_brings_it_back() {
    // Proves a whole rollout with its conditions, and that an undo takes the old set up again
    // under the next number, as `kubectl rollout history` shows it.
    let mut cluster = Cluster::new(deployment(4, "web:1"));
    cluster.settle();
    assert_eq!(cluster.running(), [("web:1", 4)].into());
    assert_eq!(cluster.reason(), "NewReplicaSetAvailable");
    cluster.set_image("web:2");
    cluster.settle();
    assert_eq!(cluster.running(), [("web:2", 4)].into());
    assert_eq!(cluster.revisions(), [(1, "web:1"), (2, "web:2")]);
    cluster.set_image("web:1");
    cluster.settle();
    assert_eq!(cluster.running(), [("web:1", 4)].into());
    assert_eq!(cluster.revisions(), [(2, "web:2"), (3, "web:1")]);
    assert_eq!(sets::revision(&cluster.deployment.metadata), 3);
    let status = cluster.deployment.status.as_ref().unwrap();
    assert_eq!(status.observed_generation, cluster.deployment.metadata.generation);
    assert_eq!(status.updated_replicas, Some(4));
}

#[test]
fn a_settled_deployment_is_left_alone() {
    // Proves that a plan on a settled cluster writes nothing: no loop of writes.
    let mut cluster = Cluster::new(deployment(3, "web:1"));
    cluster.settle();
    let (revision, before) = (cluster.revision, cluster.deployment.clone());
    cluster.settle();
    assert_eq!(cluster.revision, revision);
    assert_eq!(cluster.deployment, before);
}

#[test]
fn a_rollout_that_misses_its_deadline_goes_back() {
    // Proves the way back to the last good version, that the failure is seen before it, that the
    // service goes on meanwhile, and that the setting keeps a failed rollout where it is.
    for (is_off, expected) in [(false, "web:1"), (true, "bad")] {
        let mut cluster = Cluster::new(deployment(4, "web:1"));
        if is_off {
            owners::annotate(&mut cluster.deployment.metadata, retreat::SETTING, "false");
        }
        cluster.settle();
        cluster.broken = vec!["bad"];
        cluster.set_image("bad");
        let mut reasons = Vec::new();
        for _ in 0..200 {
            cluster.turn();
            assert!(cluster.available() >= 3);
            reasons.push(cluster.reason().to_owned());
        }
        assert!(reasons.iter().any(|reason| reason == status::TIMED_OUT));
        let template = &cluster.deployment.spec.as_ref().unwrap().template;
        assert_eq!(image(template), expected);
        assert_eq!(cluster.events.contains(&"RolloutReturned"), !is_off);
        if !is_off {
            assert_eq!(cluster.running(), [("web:1", 4)].into());
            assert_eq!(cluster.reason(), "NewReplicaSetAvailable");
        }
    }
}

#[test]
fn a_first_version_that_fails_has_nowhere_to_go() {
    // Proves that without a good version nothing is put in the place of a bad one.
    let mut cluster = Cluster::new(deployment(2, "bad"));
    cluster.broken = vec!["bad"];
    cluster.settle();
    assert_eq!(cluster.reason(), status::TIMED_OUT);
    assert_eq!(cluster.running(), [("bad", 2)].into());
}

#[test]
fn recreate_never_runs_two_versions() {
    // Proves that the new version waits for the last pod of the old one.
    let mut one = deployment(3, "web:1");
    one.spec.as_mut().unwrap().strategy =
        Some(DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None });
    let mut cluster = Cluster::new(one);
    cluster.settle();
    cluster.set_image("web:2");
    for _ in 0..50 {
        cluster.turn();
        let images: std::collections::BTreeSet<_> = cluster
            .pods
            .values()
            .map(|pod| pod.spec.as_ref().unwrap().containers[0].image.clone())
            .collect();
        assert!(images.len() <= 1, "{images:?}");
    }
    assert_eq!(cluster.running(), [("web:2", 3)].into());
}

#[test]
fn a_paused_deployment_scales_and_waits() {
    // Proves that pause holds a new version back, not a new size, and that resume lets it go.
    let mut cluster = Cluster::new(deployment(2, "web:1"));
    cluster.settle();
    cluster.spec(|spec| spec.paused = Some(true));
    cluster.set_image("web:2");
    cluster.spec(|spec| spec.replicas = Some(5));
    cluster.settle();
    assert_eq!(cluster.running(), [("web:1", 5)].into());
    assert_eq!(cluster.reason(), "DeploymentPaused");
    cluster.spec(|spec| spec.paused = None);
    cluster.settle();
    assert_eq!(cluster.running(), [("web:2", 5)].into());
    assert_eq!(cluster.reason(), "NewReplicaSetAvailable");
}

#[test]
fn old_versions_are_forgotten_beyond_the_limit() {
    // Proves revisionHistoryLimit: the newest old versions are kept.
    let mut cluster = Cluster::new(deployment(1, "web:0"));
    cluster.spec(|spec| spec.revision_history_limit = Some(2));
    for version in 0..5 {
        cluster.set_image(&format!("web:{version}"));
        cluster.settle();
    }
    assert_eq!(cluster.revisions(), [(3, "web:2"), (4, "web:3"), (5, "web:4")]);
}

#[test]
fn a_name_that_a_stranger_has_is_gone_around() {
    // Proves that a set of another owner under the name of a new version does no harm.
    let mut cluster = Cluster::new(deployment(1, "web:1"));
    let hash = template_hash(&cluster.deployment, cluster.deployment.spec.as_ref().unwrap());
    let mut stranger = ReplicaSet::default();
    stranger.metadata.name = Some(format!("web-{hash}"));
    stranger.spec.get_or_insert_default().replicas = Some(0);
    cluster.sets.insert(format!("web-{hash}"), stranger);
    cluster.settle();
    assert_eq!(cluster.running(), [("web:1", 1)].into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_order_of_steps_ends_as_asked(
        replicas in 1_i32..8,
        surge in 0_i32..3,
        unavailable in 0_i32..3,
        steps in prop::collection::vec(0..12_u8, 1..80),
    ) {
        // Proves for any interleaving of the two controllers, pods, changes of version and of
        // size: never fewer available than promised while the size stays, and in the end exactly
        // the pods that were asked for.
        let mut one = deployment(replicas, "web:1");
        one.spec.as_mut().unwrap().strategy = Some(DeploymentStrategy {
            type_: Some("RollingUpdate".into()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::Int(surge)),
                max_unavailable: Some(IntOrString::Int(unavailable)),
            }),
        });
        let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
        let mut cluster = Cluster::new(one);
        cluster.settle();
        let mut version = 1;
        let mut size = replicas;
        let mut enough = usize::try_from((size - unavailable).max(0)).unwrap();
        for step in steps {
            match step {
                0 => {
                    version = version % 4 + 1;
                    cluster.set_image(&format!("web:{version}"));
                }
                1 => {
                    size = size % 7 + 1;
                    cluster.spec(|spec| spec.replicas = Some(size));
                    // Sizes come and go in the middle: the promise holds from the next calm on.
                    cluster.settle();
                    enough = usize::try_from((size - unavailable).max(0)).unwrap();
                }
                2..5 => cluster.step_deployment(),
                5..8 => cluster.step_sets(),
                _ => cluster.step_pods(1),
            }
            prop_assert!(cluster.available() >= enough, "{} < {enough}", cluster.available());
        }
        cluster.settle();
        let image = format!("web:{version}");
        let wanted = usize::try_from(size).unwrap();
        prop_assert_eq!(cluster.running(), [(image.as_str(), wanted)].into());
    }
}
