//! alarm list and disarm.

use api::etcdserverpb::alarm_request::AlarmAction;
use api::etcdserverpb::{AlarmMember, AlarmRequest, AlarmResponse, AlarmType};

use super::args::AlarmVerb;
use super::connect::Session;
use super::failure::Outcome;
use super::output::fields::field;
use super::output::{fields, json};

pub(super) async fn alarm(verb: &AlarmVerb, session: &mut Session) -> Outcome {
    let mut client = session.maintenance().await?;
    let action = match verb {
        AlarmVerb::List => AlarmAction::Get,
        AlarmVerb::Disarm => AlarmAction::Deactivate,
    };
    // Member 0 and type NONE stand for all members and all types.
    let request = AlarmRequest { action: action.into(), ..AlarmRequest::default() };
    let response = match action {
        AlarmAction::Deactivate => disarm_all(&mut client, session).await?,
        _ => session.call(client.alarm(request)).await?,
    };
    print(&response, session)
}

/// Disarms what is active, one by one, as etcd's client library does.
async fn disarm_all(
    client: &mut api::etcdserverpb::maintenance_client::MaintenanceClient<
        super::connect::Connection,
    >,
    session: &Session,
) -> Result<AlarmResponse, super::failure::Failure> {
    let get = AlarmRequest { action: AlarmAction::Get.into(), ..AlarmRequest::default() };
    let active = session.call(client.alarm(get)).await?;
    let mut disarmed = AlarmResponse::default();
    for alarm in active.alarms {
        let request = AlarmRequest {
            action: AlarmAction::Deactivate.into(),
            member_id: alarm.member_id,
            alarm: alarm.alarm,
        };
        let response = session.call(client.alarm(request)).await?;
        disarmed.alarms.extend(response.alarms);
    }
    Ok(disarmed)
}

fn print(response: &AlarmResponse, session: &Session) -> Outcome {
    session.out.print(
        || {
            for alarm in &response.alarms {
                println!("memberID:{} alarm:{} ", alarm.member_id, name(alarm));
            }
        },
        || {
            fields::header(response.header.as_ref());
            for alarm in &response.alarms {
                field("MemberID", alarm.member_id);
                field("AlarmType", name(alarm));
                println!();
            }
        },
        || {
            let alarms: Vec<_> = response.alarms.iter().map(alarm_json).collect();
            json::object([
                ("header", json::header(response.header.as_ref())),
                ("alarms", alarms.into()),
            ])
        },
    )
}

fn alarm_json(alarm: &AlarmMember) -> serde_json::Value {
    json::object([("memberID", alarm.member_id.into()), ("alarm", alarm.alarm.into())])
}

fn name(alarm: &AlarmMember) -> &'static str {
    match alarm.alarm() {
        AlarmType::None => "NONE",
        AlarmType::Nospace => "NOSPACE",
        AlarmType::Corrupt => "CORRUPT",
    }
}
