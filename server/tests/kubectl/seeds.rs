//! The files that users have, end to end.

use testkit::eventually;

use crate::stage::{SOON_S, Stage, seed};

#[tokio::test]
async fn the_seeds_files_run() {
    // Shows the seeds' pod, deployment and service as they are: created, described, two pods that
    // want one port of the host honestly told apart, scaled by replace, a new image by apply, undone.
    let stage = Stage::start().await;
    let (pod, deployment, service) = (seed("pod"), seed("deployment"), seed("service"));
    stage.ok(&["create", "-f", &pod]).await;
    let created = stage.run(&["create", "-f", &deployment, "--validate=false"]).await;
    assert_eq!(created.code, Some(0), "{}", created.stderr);
    assert!(created.stderr.contains("hostPort"), "the mended port is told of: {}", created.stderr);
    stage.ok(&["create", "-f", &service]).await;
    let pods = ["get", "pods", "-l", "app=eurekaserver"];
    stage.shows(&pods, "Running").await;
    stage.shows(&pods, "Pending").await;
    stage.shows(&["describe", "pods", "-l", "app=eurekaserver"], "free ports").await;
    let described = stage.ok(&["describe", "deployment", "eurekaserver-deploy"]).await;
    assert!(described.contains("1 max unavailable, 1 max surge"), "{described}");
    stage.shows(&["get", "endpoints", "webapp"], ":8761").await;

    let file = std::fs::read_to_string(&deployment).unwrap();
    let no_port = file.replace("            - hostPort: 8761\n", "");
    stage.replaces(&no_port.replace("replicas: 2", "replicas: 5")).await;
    stage.ok(&["rollout", "status", "deploy/eurekaserver-deploy", "--timeout=50s"]).await;
    // Those of before may be on their way out for a moment more.
    eventually("five pods", SOON_S, async || {
        let list = stage.ok(&pods).await;
        if list.matches("1/1").count() == 5 { Ok(()) } else { Err(list) }
    })
    .await;
    let image = "-o=jsonpath={.spec.template.spec.containers[0].image}";
    let get = ["get", "deploy", "eurekaserver-deploy", image];
    let apply = ["apply", "-f", "-", "--validate=false"];
    stage.ok_with(&apply, &no_port.replace("/eureka\n", "/eureka:2\n")).await;
    stage.ok(&["rollout", "status", "deploy/eurekaserver-deploy", "--timeout=50s"]).await;
    assert_eq!(stage.ok(&get).await, "centos-master:5000/eureka:2");
    stage.ok(&["rollout", "undo", "deploy/eurekaserver-deploy"]).await;
    assert_eq!(stage.ok(&get).await, "centos-master:5000/eureka");
    stage.ok(&["delete", "-f", &pod, "--timeout=50s"]).await;
}
