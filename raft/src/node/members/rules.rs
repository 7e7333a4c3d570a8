//! Which changes are refused, as etcd 3.7 refuses them, in its order.

use api::berthpb::members_answer::Refused;
use api::berthpb::members_question::Change;
use api::berthpb::{AddMember, UpdateMember};
use api::etcdserverpb::Member;

/// What the leader was configured to refuse.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) strict: bool,
    pub(crate) learners_max: usize,
}

/// What the leader knows when it judges.
pub(super) struct Situation<'a> {
    pub(super) members: &'a [Member],
    /// Whether a member answers the leader now; it does itself.
    pub(super) is_active: &'a dyn Fn(u64) -> bool,
    /// Whether a learner's log is near the leader's.
    pub(super) has_caught_up: &'a dyn Fn(u64) -> bool,
    pub(super) was_removed: &'a dyn Fn(u64) -> bool,
}

impl Rules {
    pub(super) fn judge(&self, change: &Change, now: &Situation<'_>) -> Result<(), Refused> {
        match change {
            Change::Add(add) => self.add(add, now),
            Change::Promote(promote) => self.promote(promote.id, now),
            Change::Update(update) => now.update(update),
            Change::Remove(remove) => self.remove(remove.id, now),
        }
    }

    fn add(&self, add: &AddMember, now: &Situation<'_>) -> Result<(), Refused> {
        if self.strict {
            now.check_growth(add.is_learner)?;
        }
        if now.find(add.id).is_some() || (now.was_removed)(add.id) {
            return Err(Refused::IdExists);
        }
        if now.has_urls(&add.peer_urls, None) {
            return Err(Refused::PeerUrlsExist);
        }
        let learners = now.members.iter().filter(|member| member.is_learner).count();
        let full = add.is_learner && learners >= self.learners_max;
        refuse_if(full, Refused::TooManyLearners)
    }

    fn promote(&self, id: u64, now: &Situation<'_>) -> Result<(), Refused> {
        let member = now.find(id).ok_or(Refused::NotFound)?;
        refuse_if(!member.is_learner, Refused::NotLearner)?;
        refuse_if(!(now.has_caught_up)(id), Refused::NotReady)?;
        let (started, voters) = now.started(None);
        // The learner itself counts as started: it has caught up.
        let enough = started + 1 >= majority(voters + 1);
        refuse_if(self.strict && !enough, Refused::NotEnoughStarted)
    }

    fn remove(&self, id: u64, now: &Situation<'_>) -> Result<(), Refused> {
        let member = now.find(id).ok_or(Refused::NotFound)?;
        if member.is_learner {
            return Ok(());
        }
        let (started, voters) = now.started(Some(id));
        // Not even who may do harm can leave a cluster without any voter: it would be none.
        refuse_if(voters == 0, Refused::NotEnoughStarted)?;
        if !self.strict {
            return Ok(());
        }
        refuse_if(started < majority(voters), Refused::NotEnoughStarted)?;
        // One that does not answer may go.
        if !(now.is_active)(id) {
            return Ok(());
        }
        refuse_if(now.active() - 1 < majority(voters), Refused::Unhealthy)
    }
}

impl Situation<'_> {
    fn find(&self, id: u64) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.is_learner)
    }

    /// How many voters have a name, which who was added gets when it first runs, and how many there
    /// are, but for one.
    fn started(&self, but: Option<u64>) -> (usize, usize) {
        let counted = || self.voters().filter(|member| Some(member.id) != but);
        (counted().filter(|member| !member.name.is_empty()).count(), counted().count())
    }

    /// How many voters are there.
    fn active(&self) -> usize {
        self.voters().filter(|member| (self.is_active)(member.id)).count()
    }

    /// Whether a majority is left when one more member is there that does not run. Without another
    /// member there is nobody to miss.
    fn check_growth(&self, is_learner: bool) -> Result<(), Refused> {
        let (started, voters) = self.started(None);
        if voters == 1 && (is_learner || started == 1) {
            return Ok(());
        }
        let enough = is_learner || started >= majority(voters + 1);
        refuse_if(!enough, Refused::NotEnoughStarted)?;
        refuse_if(self.active() < majority(voters + 1), Refused::Unhealthy)
    }

    fn has_urls(&self, urls: &[String], but: Option<u64>) -> bool {
        let others = self.members.iter().filter(|member| Some(member.id) != but);
        others.flat_map(|member| &member.peer_urls).any(|url| urls.contains(url))
    }

    fn update(&self, update: &UpdateMember) -> Result<(), Refused> {
        refuse_if(self.find(update.id).is_none(), Refused::NotFound)?;
        refuse_if(self.has_urls(&update.peer_urls, Some(update.id)), Refused::PeerUrlsExist)
    }
}

fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

fn refuse_if(condition: bool, refused: Refused) -> Result<(), Refused> {
    if condition { Err(refused) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::berthpb::{PromoteMember, RemoveMember};

    /// Members by what is special about them: `s`tarted, `u`nstarted, `d`own, `l`earner.
    fn members(kinds: &str) -> Vec<Member> {
        let member = |(place, kind): (usize, char)| Member {
            id: place as u64 + 1,
            peer_urls: vec![format!("http://m{}", place + 1)],
            name: if kind == 'u' { String::new() } else { "m".into() },
            is_learner: kind == 'l',
            ..Member::default()
        };
        kinds.chars().enumerate().map(member).collect()
    }

    fn judged(kinds: &str, change: &Change) -> Result<(), Refused> {
        judged_by(Rules { strict: true, learners_max: 1 }, kinds, change)
    }

    fn judged_by(rules: Rules, kinds: &str, change: &Change) -> Result<(), Refused> {
        let place = |id: u64| usize::try_from(id).unwrap() - 1;
        let down = |id: u64| matches!(kinds.as_bytes()[place(id)], b'd' | b'u');
        let now = Situation {
            members: &members(kinds),
            is_active: &|id| !down(id),
            has_caught_up: &|_| kinds.contains('s'),
            was_removed: &|id| id == 77,
        };
        rules.judge(change, &now)
    }

    fn promote(id: u64) -> Change {
        Change::Promote(PromoteMember { id })
    }

    fn add(id: u64, is_learner: bool) -> Change {
        Change::Add(AddMember { peer_urls: vec!["http://new".into()], is_learner, id })
    }

    #[test]
    fn adding_never_takes_the_majority_away() {
        // Proves etcd's rules for new members: enough started, all voters reachable, few learners.
        for (kinds, is_learner, expected) in [
            ("s", false, Ok(())),
            ("s", true, Ok(())),
            ("ss", false, Ok(())),
            ("sss", false, Ok(())),
            ("su", false, Err(Refused::NotEnoughStarted)),
            ("ssu", false, Err(Refused::NotEnoughStarted)),
            ("ssu", true, Err(Refused::Unhealthy)),
            ("sd", false, Err(Refused::Unhealthy)),
            ("ssd", false, Err(Refused::Unhealthy)),
            ("ssd", true, Err(Refused::Unhealthy)),
            ("ssssd", false, Ok(())),
            ("sssdd", false, Err(Refused::Unhealthy)),
            ("ssl", false, Ok(())),
            ("ssl", true, Err(Refused::TooManyLearners)),
        ] {
            assert_eq!(judged(kinds, &add(9, is_learner)), expected, "{kinds} {is_learner}");
        }
        assert_eq!(judged("ss", &add(2, false)), Err(Refused::IdExists));
        assert_eq!(judged("ss", &add(77, false)), Err(Refused::IdExists), "it was removed");
        let taken = AddMember { peer_urls: vec!["http://m1".into()], is_learner: false, id: 9 };
        assert_eq!(judged("ss", &Change::Add(taken)), Err(Refused::PeerUrlsExist));
    }

    #[test]
    fn removing_never_takes_the_majority_away() {
        // Proves that what is down may go, and that what keeps the cluster alive may not.
        let remove = |id| Change::Remove(RemoveMember { id });
        assert_eq!(judged("sss", &remove(1)), Ok(()));
        assert_eq!(judged("ssd", &remove(3)), Ok(()));
        assert_eq!(judged("ssd", &remove(1)), Err(Refused::Unhealthy));
        assert_eq!(judged("su", &remove(1)), Err(Refused::NotEnoughStarted));
        assert_eq!(judged("su", &remove(2)), Ok(()));
        assert_eq!(judged("s", &remove(1)), Err(Refused::NotEnoughStarted));
        assert_eq!(judged("s", &remove(5)), Err(Refused::NotFound));
        assert_eq!(judged("sdl", &remove(3)), Ok(()));
        assert_eq!(judged("sssdd", &remove(1)), Err(Refused::Unhealthy));
        assert_eq!(judged("ssssd", &remove(1)), Ok(()));
    }

    #[test]
    fn who_lifts_the_checks_may_do_harm_but_not_end_the_cluster() {
        // Proves that --strict-reconfig-check=false lifts the checks for a majority and no others.
        let lax = Rules { strict: false, learners_max: 1 };
        let remove = |id| Change::Remove(RemoveMember { id });
        assert_eq!(judged_by(lax, "ssd", &remove(1)), Ok(()));
        assert_eq!(judged_by(lax, "suu", &add(9, false)), Ok(()));
        assert_eq!(judged_by(lax, "s", &remove(1)), Err(Refused::NotEnoughStarted));
        assert_eq!(judged_by(lax, "sl", &remove(1)), Err(Refused::NotEnoughStarted));
        assert_eq!(judged_by(lax, "sl", &add(9, true)), Err(Refused::TooManyLearners));
        assert_eq!(judged_by(lax, "dl", &promote(2)), Err(Refused::NotReady));
    }

    #[test]
    fn only_a_learner_that_caught_up_is_promoted() {
        // Proves the three refusals, and that the promoted one counts as started.
        assert_eq!(judged("ssl", &promote(3)), Ok(()));
        assert_eq!(judged("ssl", &promote(1)), Err(Refused::NotLearner));
        assert_eq!(judged("ssl", &promote(8)), Err(Refused::NotFound));
        assert_eq!(judged("dl", &promote(2)), Err(Refused::NotReady));
        assert_eq!(judged("sl", &promote(2)), Ok(()));
        assert_eq!(judged("suul", &promote(4)), Err(Refused::NotEnoughStarted));
    }

    #[test]
    fn addresses_are_changed_unless_they_are_taken() {
        // Proves that a member may keep its own address, and not take another's.
        let update =
            |id, url: &str| Change::Update(UpdateMember { id, peer_urls: vec![url.to_owned()] });
        assert_eq!(judged("ss", &update(1, "http://m1")), Ok(()));
        assert_eq!(judged("ss", &update(1, "http://m2")), Err(Refused::PeerUrlsExist));
        assert_eq!(judged("ss", &update(5, "http://x")), Err(Refused::NotFound));
    }
}
