use std::collections::BTreeSet;

use api::etcdserverpb::{AlarmMember, AlarmType};

/// Raised alarms, by type and then by member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alarms(BTreeSet<(i32, u64)>);

impl Alarms {
    pub(crate) fn is_raised(&self, alarm: AlarmType) -> bool {
        !self.of_type(alarm as i32).is_empty()
    }

    /// Those of one type; of all types for `NONE`.
    pub(crate) fn of_type(&self, alarm: i32) -> Vec<AlarmMember> {
        let wanted = |(kind, _): &&(i32, u64)| alarm == AlarmType::None as i32 || *kind == alarm;
        self.0.iter().filter(wanted).map(|(kind, member)| alarm_of(*kind, *member)).collect()
    }

    pub(crate) fn raise(&mut self, alarm: i32, member: u64) -> AlarmMember {
        self.0.insert((alarm, member));
        alarm_of(alarm, member)
    }

    pub(crate) fn disarm(&mut self, alarm: i32, member: u64) -> Option<AlarmMember> {
        self.0.remove(&(alarm, member)).then(|| alarm_of(alarm, member))
    }
}

fn alarm_of(alarm: i32, member_id: u64) -> AlarmMember {
    AlarmMember { member_id, alarm }
}
