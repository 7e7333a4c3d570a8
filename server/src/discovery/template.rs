//! `berth template`: files that follow keys.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use futures::FutureExt;
use sched::discovery::seal::Identities;
use sched::discovery::template::{self, Helpers, Metrics, Outcome, Resource};
use sched::kv::Store;
use sched::kv::grpc::ATTEMPT_MAX;
use tokio::sync::oneshot;

use super::{metrics, store as client};
use crate::ctl::args::Global;
use crate::ctl::failure::{EXIT_ERROR, Failure};
use crate::serve::signals::Signals;

/// Renders files from keys and keeps them up to date, as confd does, from minijinja templates.
///
/// Resources are DIR/conf.d/*.toml with confd's fields, templates lie in DIR/templates.
#[derive(Debug, Parser)]
#[command(name = "berth template", disable_version_flag = true)]
pub(super) struct Template {
    #[command(flatten)]
    global: Global,
    /// The directory with conf.d and templates
    #[arg(long, value_name = "DIR")]
    config: PathBuf,
    /// What stands before every resource's own prefix
    #[arg(long, default_value = "", value_name = "PREFIX")]
    prefix: String,
    /// Render once and end: with status 1 if anything could not be rendered
    #[arg(long, conflicts_with = "watch")]
    onetime: bool,
    /// Render whenever a key changes, until told to stop; this is the default
    #[arg(long)]
    watch: bool,
    /// Write nothing and run nothing: print how the files would differ
    #[arg(long)]
    noop: bool,
    /// Read sealed values with the identities in this file: cget, cgetv and so on
    #[arg(long, value_name = "IDENTITY-FILE")]
    unseal: Option<PathBuf>,
    /// Resolvers that lookupIP, lookupSRV and so on ask, in place of the system's
    #[arg(long, value_delimiter = ',', value_name = "IP[:PORT]", value_parser = super::dns::resolver)]
    resolver: Vec<SocketAddr>,
    /// Serve Prometheus metrics by HTTP on this address
    #[arg(long, value_name = "IP:PORT")]
    listen_metrics: Option<SocketAddr>,
}

pub(super) async fn run(flags: Template) -> Result<ExitCode, Failure> {
    let mut signals = Signals::install().map_err(Failure::error)?;
    let identities = flags.unseal.as_deref().map(Identities::read).transpose();
    let helpers = Helpers {
        identities: identities.map_err(Failure::bad_args)?,
        resolvers: flags.resolver.clone(),
    };
    let resources =
        template::load(&flags.config, &flags.prefix, helpers).map_err(Failure::bad_args)?;
    let store = client::open(flags.global, ATTEMPT_MAX)?;
    // In a task of its own, so that a second signal ends the process whatever is under way.
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        signals.stop().await;
        tell.send(())
    });
    let stop = told.map(|_| ());
    if flags.onetime {
        return once(&store, &resources, flags.noop, stop).await;
    }
    let counted = Metrics::default();
    if let Some(address) = flags.listen_metrics {
        let counted = counted.clone();
        metrics::serve(address, move || counted.render()).await.map_err(Failure::error)?;
    }
    template::run(&store, &resources, flags.noop, &counted, stop).await;
    Ok(ExitCode::SUCCESS)
}

async fn once(
    store: &Store,
    resources: &[Resource],
    noop: bool,
    stop: impl Future<Output = ()>,
) -> Result<ExitCode, Failure> {
    let outcomes = template::once(store, resources, noop, stop).await;
    let Some(outcomes) = outcomes.map_err(|error| client::failed(&error))? else {
        return Ok(ExitCode::from(EXIT_ERROR));
    };
    let mut failed = false;
    for (resource, outcome) in resources.iter().zip(outcomes) {
        match outcome {
            Ok(Outcome::Differs(diff)) => print!("{diff}"),
            Ok(Outcome::Written) => tracing::info!(dest = %resource.dest().display(), "written"),
            Ok(Outcome::Unchanged) => {}
            Err(reason) => {
                failed = true;
                eprintln!("Error: {}: {reason}", resource.dest().display());
            }
        }
    }
    Ok(ExitCode::from(if failed { EXIT_ERROR } else { 0 }))
}
