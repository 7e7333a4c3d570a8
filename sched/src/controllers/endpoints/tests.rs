use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::super::model::testing::{at, pod, ready};
use super::*;

fn service() -> Service {
    let port = |name: &str, port, target| ServicePort {
        name: Some(name.into()),
        port,
        target_port: Some(target),
        ..ServicePort::default()
    };
    Service {
        metadata: ObjectMeta {
            name: Some("web".into()),
            namespace: Some("shop".into()),
            uid: Some("uid-web".into()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            selector: Some([("app".to_owned(), "web".to_owned())].into()),
            ports: Some(vec![
                port("http", 80, IntOrString::String("http".into())),
                port("admin", 81, IntOrString::Int(9000)),
            ]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn member(name: &str, address: &str, http: i32) -> Pod {
    let mut pod = ready(pod(name), at(0));
    pod.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into());
    pod.status.as_mut().unwrap().pod_ip = Some(address.into());
    let port = ContainerPort {
        name: Some("http".into()),
        container_port: http,
        ..ContainerPort::default()
    };
    let container = Container { ports: Some(vec![port]), ..Container::default() };
    pod.spec = Some(PodSpec { containers: vec![container], ..PodSpec::default() });
    pod
}

fn unready(mut pod: Pod) -> Pod {
    pod.status.as_mut().unwrap().conditions = None;
    pod
}

/// What a plan on nothing makes.
fn made(pods: &[Pod]) -> (Vec<EndpointSlice>, Endpoints, BTreeMap<String, String>) {
    let pods: Vec<&Pod> = pods.iter().collect();
    let seen = Observed { pods: &pods, slices: &[], endpoints: None, records: &BTreeMap::new() };
    let plan = plan(&service(), &seen, "cluster.local");
    let (mut slices, mut endpoints, mut records) = (Vec::new(), None, BTreeMap::new());
    for action in plan.actions {
        match action {
            Action::Create(Object::EndpointSlice(slice)) => slices.push(*slice),
            Action::Create(Object::Endpoints(one)) => endpoints = Some(*one),
            Action::Record(list) => {
                records.extend(list.into_iter().map(|(key, value)| (key, value.unwrap())));
            }
            other => panic!("{other:?}"),
        }
    }
    (slices, endpoints.unwrap(), records)
}

#[test]
fn ready_pods_are_endpoints_and_the_others_say_what_they_are() {
    // Proves the conditions of each kind of pod, in slices, in Endpoints and in records.
    let mut stopping = member("c", "10.1.0.3", 8080);
    stopping.metadata.deletion_timestamp = Some(Time(at(5)));
    let mut homeless = member("d", "", 8080);
    homeless.status.as_mut().unwrap().pod_ip = None;
    let pods =
        [member("a", "10.1.0.1", 8080), unready(member("b", "10.1.0.2", 8080)), stopping, homeless];
    let (slices, endpoints, records) = made(&pods);
    let found: Vec<_> = slices[0]
        .endpoints
        .iter()
        .map(|one| {
            let conditions = one.conditions.clone().unwrap();
            let all = (conditions.ready, conditions.serving, conditions.terminating);
            (one.addresses[0].as_str(), all)
        })
        .collect();
    let some = |ready, serving, terminating| (Some(ready), Some(serving), Some(terminating));
    assert_eq!(
        found,
        [
            ("10.1.0.1", some(true, true, false)),
            ("10.1.0.2", some(false, false, false)),
            ("10.1.0.3", some(false, true, true)),
        ]
    );
    assert_eq!(service_of(&slices[0]), Some("web"));
    let subset = &endpoints.subsets.unwrap()[0];
    assert_eq!(subset.addresses.as_ref().unwrap().len(), 1);
    assert_eq!(subset.not_ready_addresses.as_ref().unwrap().len(), 1);
    assert_eq!(records.len(), 2);
    let prefix = "/skydns/local/cluster/svc/shop/web/";
    assert!(records.keys().all(|key| key.starts_with(prefix)), "{records:?}");
    assert!(records.values().any(|record| record.contains("\"port\":9000")));
}

#[test]
fn a_named_port_is_looked_up_in_each_pod() {
    // Proves that pods which call different numbers by one name are in different slices.
    let (slices, _, _) = made(&[member("a", "10.1.0.1", 8080), member("b", "10.1.0.2", 9090)]);
    let mut ports: Vec<_> = slices
        .iter()
        .map(|slice| {
            let ports = slice.ports.as_ref().unwrap();
            (ports[0].name.clone().unwrap(), ports[0].port.unwrap(), slice.endpoints.len())
        })
        .collect();
    ports.sort();
    assert_eq!(ports, [("http".to_owned(), 8080, 1), ("http".to_owned(), 9090, 1)]);
}

#[test]
fn one_pod_changes_one_slice() {
    // Proves that of 250 endpoints in three slices, the end of one touches one slice, and that what
    // is as it should be is left alone.
    let all: Vec<Pod> =
        (0..250).map(|at| member(&format!("p{at:03}"), &format!("10.1.1.{at}"), 80)).collect();
    let (slices, endpoints, records) = made(&all);
    assert_eq!(slices.len(), 3);
    let replan = |pods: &[Pod]| {
        let pods: Vec<&Pod> = pods.iter().collect();
        let slices: Vec<_> = slices.iter().collect();
        let endpoints = Some(&endpoints);
        let seen = Observed { pods: &pods, slices: &slices, endpoints, records: &records };
        plan(&service(), &seen, "cluster.local").actions
    };
    assert!(replan(&all).is_empty());
    let actions = replan(&[&all[..120], &all[121..]].concat());
    let slices =
        actions.iter().filter(|action| matches!(action, Action::Update(Object::EndpointSlice(_))));
    assert_eq!(slices.count(), 1);
}

#[test]
fn a_service_that_is_gone_leaves_nothing() {
    // Proves that slices, Endpoints and records go with the Service, but not Endpoints that
    // somebody else wrote.
    let (slices, endpoints, records) = made(&[member("a", "10.1.0.1", 80)]);
    let slices: Vec<_> = slices.iter().collect();
    let foreign = Endpoints::default();
    for (endpoints, expected) in [(&endpoints, 3), (&foreign, 2)] {
        let endpoints = Some(endpoints);
        let seen = Observed { pods: &[], slices: &slices, endpoints, records: &records };
        assert_eq!(plan_absent(&seen).actions.len(), expected);
    }
}
