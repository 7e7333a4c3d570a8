//! Jobs, and budgets for what may be missed.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::ReplicationController;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;
use testkit::eventually;

use crate::crew::{Crew, SOON_S, deployment, template};

fn job(image: &str) -> serde_json::Value {
    json!({
        "completions": 5, "parallelism": 2, "backoffLimit": 0,
        "template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "sum", "image": image}],
        }},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_end_well_or_badly() {
    // Proves that a job reaches its completions, that one which fails says so, and that a cron job
    // starts jobs at its times.
    let crew = Crew::with_controllers(&["n1"]).await;
    for (name, image, expected) in [("good", "sum:1", "Complete"), ("failing", "bad:1", "Failed")] {
        let metadata = json!({"name": name, "namespace": "shop"});
        crew.make::<Job>(json!({"metadata": metadata, "spec": job(image)})).await;
        eventually("the end of the job", SOON_S, async || {
            let status = crew.get::<Job>(name).await.unwrap().status.unwrap_or_default();
            let conditions = status.conditions.iter().flatten();
            let mut ends = conditions.filter(|one| one.status == "True");
            if ends.any(|one| one.type_ == expected) { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    }
    assert_eq!(crew.get::<Job>("good").await.unwrap().status.unwrap().succeeded, Some(5));
    crew.make::<CronJob>(json!({
        "metadata": {"name": "tick", "namespace": "shop"},
        "spec": {"schedule": "* * * * * *", "jobTemplate": {"spec": job("sum:2")}},
    }))
    .await;
    eventually("a job in time", 2 * SOON_S, async || {
        let cron = crew.get::<CronJob>("tick").await.unwrap();
        let status = cron.status.unwrap_or_default();
        let last = status.last_successful_time.clone();
        if last.is_some() { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_say_what_may_be_missed() {
    // Proves that the status of a budget follows the pods, and that a ReplicationController keeps
    // its pods too.
    let crew = Crew::with_controllers(&["n1"]).await;
    crew.make::<PodDisruptionBudget>(json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
    }))
    .await;
    crew.make::<Deployment>(deployment(3, "web:1")).await;
    crew.settles(&[("web:1", 3)]).await;
    let allows = async |expected: i32| {
        eventually("the budget", SOON_S, async || {
            let budget = crew.get::<PodDisruptionBudget>("web").await.unwrap();
            let allowed = budget.status.map(|status| status.disruptions_allowed);
            if allowed == Some(expected) { Ok(()) } else { Err(format!("{allowed:?}")) }
        })
        .await;
    };
    allows(1).await;
    crew.change::<Deployment>("web", |one| one.spec.as_mut().unwrap().replicas = Some(2)).await;
    allows(0).await;
    let mut template = template("old:1");
    template["metadata"]["labels"] = json!({"app": "old"});
    crew.make::<ReplicationController>(json!({
        "metadata": {"name": "old", "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"app": "old"}, "template": template},
    }))
    .await;
    crew.settles(&[("web:1", 2), ("old:1", 2)]).await;
}
