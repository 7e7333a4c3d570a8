//! `berth services`: what is registered, and how it is.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use comfy_table::{Table, presets};
use sched::discovery::survey::{Row, Survey};
use sched::kv::grpc::ATTEMPT_MAX;

use super::store;
use crate::ctl::args::{Format, Global};
use crate::ctl::failure::Failure;

/// Changes within this time are shown together.
const BURST: Duration = Duration::from_millis(100);

/// Lists the instances of all services, or of one, with their health, their age, and how long their
/// leases last.
#[derive(Debug, Parser)]
#[command(name = "berth services", disable_version_flag = true)]
pub(super) struct Services {
    #[command(flatten)]
    global: Global,
    /// Of this service alone
    name: Option<String>,
    /// Print again whenever something changes
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(flags: Services) -> Result<ExitCode, Failure> {
    if flags.global.write_out == Format::Fields {
        return Err(Failure::bad_args("services are printed as simple, table or json"));
    }
    let mut survey = Survey::new(store::open(flags.global.clone(), ATTEMPT_MAX)?);
    survey.changed().await.map_err(|error| store::failed(&error))?;
    print(&survey, &flags).await?;
    if !flags.watch {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        if let Err(error) = survey.changed().await {
            eprintln!("Warning: this may be out of date: {error}");
            continue;
        }
        let burst = tokio::time::Instant::now() + BURST;
        // Whatever is wrong meanwhile is told at the next round.
        while let Ok(Ok(())) = tokio::time::timeout_at(burst, survey.changed()).await {}
        if let Err(failure) = print(&survey, &flags).await {
            eprintln!("Warning: {}", failure.message);
        }
    }
}

async fn print(survey: &Survey, flags: &Services) -> Result<(), Failure> {
    let rows = survey.rows(flags.name.as_deref()).await.map_err(|error| store::failed(&error))?;
    if flags.global.write_out == Format::Json {
        let line =
            serde_json::to_string(&rows).map_err(|error| Failure::error(error.to_string()))?;
        println!("{line}");
        return Ok(());
    }
    if flags.watch && std::io::stdout().is_terminal() {
        // Clears the screen, as `watch` does.
        print!("\x1b[2J\x1b[H");
    }
    println!("{}", table(&rows));
    Ok(())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["SERVICE", "INSTANCE", "ADDRESS", "HEALTH", "AGE", "TTL LEFT", "TAGS"]);
    for row in rows {
        let health = match row.output.as_str() {
            "" => row.health.name().to_owned(),
            output => format!("{} ({output})", row.health.name()),
        };
        let left = row.ttl_left_s.map_or("-".to_owned(), |left| format!("{left}s"));
        let tags = row.tags.join(",");
        let (service, instance) = (row.service.clone(), row.instance.clone());
        table.add_row([service, instance, row.address.clone(), health, age(row), left, tags]);
    }
    table
}

fn age(row: &Row) -> String {
    let since = row.registered_at.map(|since| UNIX_EPOCH + Duration::from_secs(since));
    let age = since.and_then(|since| SystemTime::now().duration_since(since).ok());
    let Some(age) = age else { return "-".to_owned() };
    humantime::format_duration(Duration::from_secs(age.as_secs())).to_string()
}
