//! Random clusters, step by step beside the reference.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::node::NodeInfo;
use super::super::pod::PodInfo;
use super::super::verdict::Verdict;
use super::reference::World;
use super::*;

const SEEDS: u64 = 150;
const STEPS: usize = 80;

/// One of some, or none.
fn maybe<T: Clone>(random: &mut StdRng, chance: f64, all: &[T]) -> Option<T> {
    random.random_bool(chance).then(|| all[random.random_range(0..all.len())].clone())
}

fn random_node(random: &mut StdRng, name: &str) -> Node {
    let zone = maybe(random, 0.9, &["1", "2", "3"]);
    let rack = maybe(random, 0.7, &["r", "s", "t", "u", "v", "w"]);
    let taint = maybe(random, 0.2, &["red", "blue"]);
    let taints = taint.map(|value| json!([{"key": "t", "value": value, "effect": "NoSchedule"}]));
    let cpu = random.random_range(1..8);
    let cordoned = random.random_bool(0.1);
    let more = json!({
        "metadata": {"labels": {"zone": zone, "rack": rack}},
        "spec": {"taints": taints, "unschedulable": cordoned},
        "status": {"allocatable": {"pods": "6"}},
    });
    node(name, &cpu.to_string(), "8Gi", more)
}

fn selector(random: &mut StdRng) -> Value {
    match maybe(random, 0.8, &["a", "b", "c"]) {
        Some(app) => json!({"matchLabels": {"app": app}}),
        None => json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}),
    }
}

fn topology(random: &mut StdRng) -> &'static str {
    ["zone", "rack", "kubernetes.io/hostname"][random.random_range(0..3)]
}

fn affinity(random: &mut StdRng) -> Value {
    let namespaces = maybe(random, 0.3, &[json!({}), json!({"matchLabels": {"team": "one"}})]);
    let term = json!({
        "topologyKey": topology(random),
        "labelSelector": selector(random),
        "namespaceSelector": namespaces,
    });
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]});
    let preferred = json!({"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 10, "podAffinityTerm": term},
    ]});
    let rule = if random.random_bool(0.7) { required } else { preferred };
    let kind = if random.random_bool(0.3) { "podAffinity" } else { "podAntiAffinity" };
    json!({kind: rule})
}

fn random_pod(random: &mut StdRng, name: &str) -> Pod {
    let app = maybe(random, 0.9, &["a", "b", "c"]);
    let namespace = ["default", "other"][random.random_range(0..2)];
    let cpu = random.random_range(0..4);
    let port = maybe(random, 0.15, &[80, 81]);
    let ports = port.map(|port| json!([{"containerPort": port, "hostPort": port}]));
    let tolerations = maybe(random, 0.3, &["red", "blue"])
        .map(|value| json!([{"key": "t", "operator": "Equal", "value": value}]));
    let select = maybe(random, 0.2, &["1", "2"]).map(|zone| json!({"zone": zone}));
    let affinity = random.random_bool(0.4).then(|| affinity(random));
    let spread = random.random_bool(0.3).then(|| {
        json!([{
            "maxSkew": random.random_range(1..3), "topologyKey": topology(random),
            "whenUnsatisfiable": maybe(random, 0.2, &["ScheduleAnyway"]).unwrap_or("DoNotSchedule"),
            "labelSelector": selector(random),
            "minDomains": maybe(random, 0.2, &[2, 4]),
            "nodeTaintsPolicy": maybe(random, 0.3, &["Honor"]),
            "nodeAffinityPolicy": maybe(random, 0.3, &["Ignore"]),
        }])
    });
    let more = json!({
        "metadata": {"namespace": namespace, "labels": {"app": app}},
        "spec": {
            "containers": [{
                "name": "main", "ports": ports, "resources": {"requests": {"cpu": cpu.to_string()}},
            }],
            "priority": random.random_range(0..3), "tolerations": tolerations,
            "nodeSelector": select, "affinity": affinity, "topologySpreadConstraints": spread,
        },
    });
    pod(name, json!({}), more)
}

/// A planner and the world that it was told of.
struct Pair {
    planner: Planner,
    world: World,
    random: StdRng,
    step: usize,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut planner = Planner::new(Strategy::default());
        // Every domain large, every one small, and both.
        planner.large_max = [32, 0, 4][usize::try_from(seed % 3).unwrap()];
        Self { planner, world: World::default(), random: StdRng::seed_from_u64(seed), step: 0 }
    }

    fn step(&mut self) {
        self.step += 1;
        match self.random.random_range(0..20) {
            0..3 => self.set_node(),
            3 => self.remove_node(),
            4..6 => self.remove_pod(),
            6 => self.set_namespace(),
            7 => self.terminate(),
            _ => self.place(),
        }
    }

    fn set_node(&mut self) {
        let name = format!("n{}", self.random.random_range(0..10));
        let node = random_node(&mut self.random, &name);
        self.planner.set_node(&node);
        self.world.nodes.insert(name, NodeInfo::new(&node));
    }

    fn remove_node(&mut self) {
        let name = format!("n{}", self.random.random_range(0..10));
        self.planner.remove_node(&name);
        self.world.nodes.remove(&name);
    }

    fn any_pod(&mut self) -> Option<PodKey> {
        let count = self.world.pods.len();
        (count > 0).then(|| {
            let at = self.random.random_range(0..count);
            self.world.pods.keys().nth(at).unwrap().clone()
        })
    }

    fn remove_pod(&mut self) {
        let Some(key) = self.any_pod() else { return };
        self.planner.remove_pod(&key);
        self.world.pods.remove(&key);
    }

    fn terminate(&mut self) {
        let Some(key) = self.any_pod() else { return };
        let pod = self.world.pods.get_mut(&key).unwrap();
        pod.is_terminating = true;
        self.planner.set_pod_info(pod.clone());
    }

    fn set_namespace(&mut self) {
        let team = maybe(&mut self.random, 0.7, &["one", "two"]).unwrap_or_default();
        let labels = select::Labels::from([("team".to_owned(), team.to_owned())]);
        self.planner.set_namespace("other", labels.clone());
        self.world.namespaces.insert("other".to_owned(), labels);
    }

    /// Compares what is said of every node, and places the pod.
    fn place(&mut self) {
        let pod = random_pod(&mut self.random, &format!("p{}", self.step));
        let mut info = PodInfo::new(&pod);
        self.planner.set_pod(&pod);
        let class = self.planner.cluster.pod(&info.key).unwrap().class;
        let mut fitting = Vec::new();
        for name in self.world.nodes.keys() {
            let wanted = self.world.fits(&info, name);
            let slot = self.planner.cluster.slot(name).unwrap();
            let verdict = self.planner.verdict(class, slot);
            assert_eq!(verdict == Verdict::Fits, wanted, "{name} at {}: {verdict:?}", self.step);
            fitting.extend(wanted.then(|| name.clone()));
        }
        let placement = self.planner.place(&info.key);
        assert_eq!(placement.is_some(), !fitting.is_empty());
        let Some(placement) = placement else {
            assert!(self.planner.explain(&info.key).contains("nodes"));
            self.check_preemption(&info);
            self.planner.remove_pod(&info.key);
            return;
        };
        self.planner.assume(&info.key, &placement.node);
        info.node = Some(placement.node.to_string());
        if self.random.random_bool(0.5) {
            self.planner.set_pod_info(info.clone());
        }
        self.world.pods.insert(info.key.clone(), info);
        self.check_points(class);
    }

    /// What is kept up change by change is what is worked out at once.
    fn check_points(&mut self, class: usize) {
        let (cluster, candidates) = self.planner.candidates(class);
        let kept: Vec<_> = cluster.nodes().map(|slot| candidates.points(cluster, slot)).collect();
        let mut fresh = self.planner.clone();
        fresh.forget_candidates();
        let (cluster, candidates) = fresh.candidates(class);
        let anew: Vec<_> = cluster.nodes().map(|slot| candidates.points(cluster, slot)).collect();
        assert_eq!(kept, anew);
    }

    /// If others make way, the pod fits; and asking has changed nothing.
    fn check_preemption(&mut self, info: &PodInfo) {
        let Ok(way) = self.planner.make_way(&info.key) else { return };
        assert!(self.planner.place(&info.key).is_none());
        let mut victims = Vec::new();
        for (key, _) in &way.victims {
            let victim = self.world.pods.remove(key).unwrap();
            assert!(victim.shape.priority < info.shape.priority);
            victims.push(victim);
        }
        assert!(self.world.fits(info, &way.node), "at {}", self.step);
        // Where others must be near, or spread with, one less can be worse.
        let is_plain = info.shape.affinity.is_empty() && info.shape.spread.is_empty();
        for victim in &victims {
            self.world.pods.insert(victim.key.clone(), victim.clone());
            assert!(!is_plain || !self.world.fits(info, &way.node), "more than have to go");
            self.world.pods.remove(&victim.key);
        }
        self.world.pods.extend(victims.into_iter().map(|victim| (victim.key.clone(), victim)));
    }
}

#[test]
fn the_planner_says_what_the_reference_says() {
    // Proves the filters, the counts behind them and the order of candidates: in random clusters
    // that change at random, every node is judged as by rules that look at everything, so that
    // nothing is ever overcommitted; and whoever makes way makes enough of it, and not too much.
    for seed in 0..SEEDS {
        let mut pair = Pair::new(seed);
        (0..STEPS).for_each(|_| pair.step());
        assert!(!pair.world.pods.is_empty(), "seed {seed}");
    }
}
