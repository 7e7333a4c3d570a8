//! The things that are done for a pod, each from its beginning to its end: what takes long and what
//! can fail. What is decided, is decided elsewhere.

use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as Wanted, Pod};
use tokio::sync::watch;

use super::context::Context;
use super::files;
use super::leave::leave;
use super::pod::env::{Facts, Sources, resolve};
use super::pod::events::Events;
use super::pod::expand::expand;
use super::pod::hook::Target;
use super::pod::make::{self, Found};
use super::pod::plan::Lease;
use super::pod::spec;
use super::resolver;
use super::runtime::{Container, Error, Kind, Mount};
use super::services;
use super::volumes::{self, Held, Places};
use crate::objects::{Delete, ErrorKind, Stored};

/// What a container may leave behind to be told.
const MESSAGE_BYTES_MAX: usize = 4096;
/// How long an image may take to come.
const PULL_MAX: Duration = Duration::from_secs(600);
/// What is left to end in after a hook that used up the time.
const AFTER_HOOK: Duration = Duration::from_secs(2);

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// As a container's waiting state has it.
    pub(super) reason: &'static str,
    /// As an event has it.
    pub(super) event: &'static str,
    pub(super) message: String,
}

type Outcome = Result<(), Step>;

fn failed<E: std::fmt::Display>(reason: &'static str, event: &'static str) -> impl Fn(E) -> Step {
    move |error| Step { reason, event, message: error.to_string() }
}

pub(super) async fn sandbox(context: &Context, pod: &Pod) -> Outcome {
    still_held(context)?;
    let spec = make::sandbox(pod);
    context
        .runtime
        .start_sandbox(&spec)
        .await
        .map_err(failed("ContainerCreating", "FailedCreatePodSandBox"))
}

pub(super) async fn stop_sandbox(context: &Context, uid: &str) -> Outcome {
    context.runtime.stop_sandbox(uid).await.map_err(failed("", "FailedKillPod"))
}

pub(super) async fn remove(context: &Context, id: &str) -> Outcome {
    context.runtime.remove_container(id).await.map_err(failed("", "FailedRemove"))
}

/// A container to start.
#[derive(Clone)]
pub(super) struct Start {
    pub(super) pod: Arc<Stored<Pod>>,
    pub(super) name: String,
    pub(super) attempt: u32,
    pub(super) streak: u32,
    pub(super) address: IpAddr,
    /// Whether the pod is being deleted.
    pub(super) ending: watch::Receiver<bool>,
}

/// Volumes, image, variables, container, hook, in this order.
pub(super) async fn start(context: &Arc<Context>, start: &Start, events: &Events) -> Outcome {
    let Some(wanted) = spec::container(&start.pod, &start.name) else { return Ok(()) };
    let places = prepare(context, &start.pod, start.address).await?;
    let mut ending = start.ending.clone();
    tokio::select! {
        outcome = image(context, wanted, events) => outcome?,
        // It may take its time, which a pod that is deleted must not.
        _ = ending.wait_for(|ending| *ending) => return Err(Step {
            reason: "ContainerCreating",
            event: "Killing",
            message: "the pod is being deleted".into(),
        }),
    }
    let config = failed("CreateContainerConfigError", "Failed");
    let sources = Sources::read(&context.objects, spec::namespace(&start.pod), wanted).await;
    let sources = sources.map_err(failed("CreateContainerConfigError", "Failed"))?;
    let services = services::variables(&context.services.read(), &start.pod);
    let address = start.address.to_string();
    let host = context.host.address.to_string();
    let facts = facts(context, &start.pod, &address, &host);
    let env = resolve(wanted, services, &sources, facts).map_err(config)?;
    // Held until the runtime has mounted them.
    let (mounts, held) = mounts(context, start, wanted, places, &env).await?;
    let found = Found {
        attempt: start.attempt,
        streak: start.streak,
        env,
        mounts,
        log_bytes_max: context.settings.log_bytes_max,
        log_files_max: context.settings.log_files_max,
    };
    let spec = make::container(&start.pod, wanted, found);
    // Never closed.
    let _place = context.starts.acquire().await;
    still_held(context)?;
    let started = context.runtime.start_container(&spec).await;
    drop(held);
    let id = started.map_err(|error| not_started(&error))?;
    events.normal(&start.name, "Started", format!("Started container {}", start.name));
    let target = Target {
        runtime: context.runtime.clone(),
        id,
        address: start.address,
        container: wanted.clone(),
    };
    after_start(target, events).await
}

fn not_started(error: &Error) -> Step {
    let reason = match error.kind {
        Kind::NoSuchImage => "ErrImagePull",
        Kind::Invalid => "CreateContainerError",
        _ => "RunContainerError",
    };
    Step { reason, event: "Failed", message: error.to_string() }
}

/// A node that may be losing its lease starts nothing.
fn still_held(context: &Context) -> Outcome {
    match *context.lease.borrow() {
        Lease::Held => Ok(()),
        Lease::Fading => Err(Step {
            reason: "ContainerCreating",
            event: "NodeNotReady",
            message: "the node cannot renew its lease".into(),
        }),
    }
}

async fn after_start(target: Target, events: &Events) -> Outcome {
    let hooks = target.container.lifecycle.clone();
    let Some(hook) = hooks.and_then(|hooks| hooks.post_start) else { return Ok(()) };
    let Err(reason) = target.hook(&hook).await else { return Ok(()) };
    events.warning(&target.container.name, "FailedPostStartHook", reason.clone());
    let grace = Duration::from_secs(2);
    target.runtime.stop_container(&target.id, grace).await.map_err(failed("", "FailedKillPod"))?;
    Err(Step { reason: "PostStartHookError", event: "FailedPostStartHook", message: reason })
}

fn facts<'a>(context: &Context, pod: &'a Pod, pod_ip: &'a str, host_ip: &'a str) -> Facts<'a> {
    Facts {
        pod,
        pod_ip,
        host_ip,
        node_cpu_millis: context.machine.cpu_millis,
        node_memory_bytes: context.machine.memory_bytes,
    }
}

/// Makes the pod's volumes, or brings their files up to date.
async fn prepare(context: &Context, pod: &Pod, address: IpAddr) -> Result<Places, Step> {
    if spec::spec(pod).is_none_or(|spec| spec.volumes.iter().flatten().next().is_none()) {
        return Ok(Places::new());
    }
    let failing = || failed("ContainerCreating", "FailedMount");
    let wanted = volumes::wanted(pod);
    let mut sources = Sources::default();
    for name in &wanted.config_maps {
        let added = sources.add_config_map(&context.objects, spec::namespace(pod), name).await;
        added.map_err(failed("ContainerCreating", "FailedMount"))?;
    }
    for name in &wanted.secrets {
        let added = sources.add_secret(&context.objects, spec::namespace(pod), name).await;
        added.map_err(failed("ContainerCreating", "FailedMount"))?;
    }
    let directory = context.directory(spec::uid(pod)).join("volumes");
    let (pod, machine) = (pod.clone(), context.machine.clone());
    let host = context.host.address.to_string();
    let _alone = context.volumes.lock().await;
    let preparing = tokio::task::spawn_blocking(move || {
        let address = address.to_string();
        let facts = Facts {
            pod: &pod,
            pod_ip: &address,
            host_ip: &host,
            node_cpu_millis: machine.cpu_millis,
            node_memory_bytes: machine.memory_bytes,
        };
        std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        volumes::prepare(&directory, facts, &sources)
    });
    let prepared = preparing.await.map_err(failed("ContainerCreating", "FailedMount"))?;
    prepared.map_err(failing())
}

/// The same for a pod that runs.
pub(super) async fn refresh(context: &Context, pod: &Pod) -> Outcome {
    let observed = context.runtime.observe(spec::uid(pod)).await;
    let observed = observed.map_err(failed("", "FailedMount"))?;
    // Before there is a sandbox nothing is mounted; after it, nothing is to be made again.
    let Some(sandbox) = observed.filter(|sandbox| sandbox.is_ready) else { return Ok(()) };
    let address = sandbox.address.unwrap_or(context.host.address);
    prepare(context, pod, address).await.map(drop)
}

/// Has the image here, as the pod's policy says.
async fn image(context: &Context, wanted: &Wanted, events: &Events) -> Outcome {
    let reference = wanted.image.as_deref().unwrap_or_default();
    let policy = wanted.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
    let here = context.runtime.image(reference).await;
    let here = here.map_err(|error| match error.kind {
        Kind::Invalid => failed("InvalidImageName", "InspectFailed")(error),
        _ => failed("ImageInspectError", "InspectFailed")(error),
    })?;
    match (policy, &here) {
        ("Always", _) | ("IfNotPresent", None) => {}
        ("Never", None) => {
            let message = format!("image \"{reference}\" is not here and its pull policy is Never");
            return Err(Step { reason: "ErrImageNeverPull", event: "ErrImageNeverPull", message });
        }
        _ => return Ok(()),
    }
    let name = &wanted.name;
    events.normal(name, "Pulling", format!("Pulling image \"{reference}\""));
    let pulled = tokio::time::timeout(PULL_MAX, context.runtime.pull(reference)).await;
    let pulled =
        pulled.unwrap_or_else(|_| Err(Error::no_image("the image takes too long to come")));
    match (pulled, here) {
        (Ok(_), _) => {
            events.normal(name, "Pulled", format!("Successfully pulled image \"{reference}\""));
            Ok(())
        }
        // Where no registry can be reached, images are brought by hand.
        (Err(error), Some(_)) => {
            let message = format!("Using the image that is here, as it cannot be pulled: {error}");
            events.normal(name, "Pulled", message);
            Ok(())
        }
        (Err(error), None) => {
            let message = format!("Failed to pull image \"{reference}\": {error}");
            Err(Step { reason: "ErrImagePull", event: "Failed", message })
        }
    }
}

/// What a container mounts, and what must be kept until it has.
async fn mounts(
    context: &Arc<Context>,
    start: &Start,
    wanted: &Wanted,
    places: Places,
    env: &[(String, String)],
) -> Result<(Vec<Mount>, Vec<Held>), Step> {
    if !context.runtime.has_files() {
        return of_volumes(context, start, wanted, &places, env);
    }
    let (context, start, wanted, env) =
        (context.clone(), start.clone(), wanted.clone(), env.to_owned());
    let making = tokio::task::spawn_blocking(move || {
        let (mut mounts, held) = of_volumes(&context, &start, &wanted, &places, &env)?;
        let own = own_files(&context, &start, &wanted, &mounts);
        mounts.extend(own.map_err(failed("CreateContainerError", "Failed"))?);
        Ok((mounts, held))
    });
    making.await.map_err(failed("CreateContainerError", "Failed"))?
}

fn of_volumes(
    context: &Context,
    start: &Start,
    wanted: &Wanted,
    places: &Places,
    env: &[(String, String)],
) -> Result<(Vec<Mount>, Vec<Held>), Step> {
    let lookup = |name: &str| {
        env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    };
    let root = &context.settings.root;
    volumes::mounts(root, &start.pod, wanted, places, |text| expand(text, lookup))
        .map_err(failed("CreateContainerConfigError", "Failed"))
}

/// Writes the agent's own files, but for those in whose places `given` has others, and the one in
/// which a container leaves what is to be told when it ends.
fn own_files(
    context: &Context,
    start: &Start,
    wanted: &Wanted,
    given: &[Mount],
) -> std::io::Result<Vec<Mount>> {
    let directory = context.directory(spec::uid(&start.pod));
    let mut own = resolver::files(context, &directory, &start.pod, start.address)?;
    own.retain(|own| given.iter().all(|mount| mount.target != own.target));
    let message = message_file(context, spec::uid(&start.pod), &start.name, start.attempt);
    message.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(&message, "")?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&message, open)?;
    let target = wanted.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    own.push(Mount { source: message, target: target.to_owned(), read_only: false });
    Ok(own)
}

fn message_file(context: &Context, uid: &str, name: &str, attempt: u32) -> std::path::PathBuf {
    context.directory(uid).join("messages").join(format!("{name}_{attempt}"))
}

/// What a container that has ended left behind to be told.
pub(super) fn message(context: &Context, uid: &str, container: &Container) -> Option<String> {
    let path = message_file(context, uid, &container.name, container.attempt);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(MESSAGE_BYTES_MAX as u64).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned()).filter(|message| !message.is_empty())
}

/// A container to stop.
pub(super) struct Stop {
    pub(super) id: String,
    /// `None`: the pod has it no more.
    pub(super) target: Option<Target>,
    pub(super) grace: Duration,
    /// The pod, if it is to leave its Services first.
    pub(super) leaves: Option<Arc<Stored<Pod>>>,
}

/// Has the pod leave its Services, runs the hook, then asks the container to end, all within the
/// grace.
pub(super) async fn stop(context: &Context, stop: Stop, events: &Events) -> Outcome {
    let Stop { id, target, grace, leaves } = stop;
    let begun = tokio::time::Instant::now();
    if let Some(pod) = leaves {
        leave(context, &pod, grace).await;
    }
    let hooks = target.as_ref().and_then(|target| target.container.lifecycle.clone());
    if let (Some(target), Some(hook)) = (&target, hooks.and_then(|hooks| hooks.pre_stop))
        && !grace.is_zero()
    {
        let left = grace.saturating_sub(begun.elapsed());
        let outcome = match tokio::time::timeout(left, target.hook(&hook)).await {
            Ok(outcome) => outcome,
            Err(_) => Err("it takes longer than the grace period".into()),
        };
        if let Err(reason) = outcome {
            events.warning(&target.container.name, "FailedPreStopHook", reason);
        }
    }
    let left = match grace {
        Duration::ZERO => Duration::ZERO,
        grace => grace.saturating_sub(begun.elapsed()).max(AFTER_HOOK.min(grace)),
    };
    context.runtime.stop_container(&id, left).await.map_err(failed("", "FailedKillPod"))
}

/// Removes what is left of a pod, and then its key.
pub(super) async fn finish(context: &Context, pod: &Pod) -> Outcome {
    let uid = spec::uid(pod);
    context.runtime.remove_pod(uid).await.map_err(failed("", "FailedKillPod"))?;
    let directory = context.directory(uid);
    let removing = tokio::task::spawn_blocking(move || {
        volumes::remove(&directory.join("volumes"))?;
        files::remove_all(&directory)
    });
    let removed = removing.await.map_err(failed("", "FailedKillPod"))?;
    removed.map_err(failed("", "FailedKillPod"))?;
    let name = spec::name(pod);
    let namespace = Some(spec::namespace(pod));
    match context.objects.delete::<Pod>(namespace, name, &Delete::now(uid)).await {
        // Its name may be somebody else's by now.
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict) => Ok(()),
        outcome => outcome.map_err(failed("", "FailedKillPod")),
    }
}

/// Removes a pod that the store knows nothing of.
pub(super) async fn remove_orphan(context: &Arc<Context>, uid: &str) {
    let directory = context.directory(uid);
    if let Err(error) = context.runtime.remove_pod(uid).await {
        return tracing::warn!(uid, "cannot remove a pod that nobody wants: {error}");
    }
    let removed = volumes::remove(&directory.join("volumes"));
    if let Err(error) = removed.and_then(|()| files::remove_all(&directory)) {
        tracing::warn!(uid, "cannot remove the volumes of a pod that nobody wants: {error}");
    }
}
