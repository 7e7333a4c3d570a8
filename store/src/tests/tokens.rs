//! Tokens made by the log.

use api::berthpb::IssueToken;

use super::*;

fn issue(fixture: &mut Fixture, user: &str) -> Applied {
    fixture.apply(Op::IssueToken(IssueToken { user: user.into(), prefix: "abc".into() }))
}

fn add_user(fixture: &mut Fixture, name: &str, hashed_password: &str) {
    let name = name.to_owned();
    let hashed_password = hashed_password.to_owned();
    let user = pb::AuthUserAddRequest { name, hashed_password, ..Default::default() };
    assert!(fixture.apply(Op::UserAdd(user)).result.is_ok());
}

#[test]
fn a_token_is_the_entry_that_made_it_and_changes_nothing() {
    // The token names its entry, so that every replica gives the same one; neither revision moves,
    // nobody is told, and the mark goes on.
    let mut fixture = Fixture::new();
    add_user(&mut fixture, "root", "hash");
    add_user(&mut fixture, "cert", "");
    assert_eq!(issue(&mut fixture, "root").result, Err(Error::AuthNotEnabled));
    let grant = pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
    assert!(fixture.apply(Op::UserGrantRole(grant)).result.is_ok());
    assert!(fixture.apply(Op::AuthEnable(pb::AuthEnableRequest {})).result.is_ok());
    let auth_revision = fixture.store.reader().auth().revision();
    let hash = fixture.store.reader().hash();

    let applied = issue(&mut fixture, "root");
    let Ok(Response::IssueToken(answer)) = &applied.result else { panic!("{applied:?}") };
    assert_eq!(answer.token, format!("abc.{}", fixture.index));
    assert_eq!(answer.header.as_ref().unwrap().revision, applied.revision);
    assert_eq!((applied.revision, applied.events.len()), (1, 0));
    for nobody in ["gone", "cert", ""] {
        assert_eq!(issue(&mut fixture, nobody).result, Err(Error::AuthFailed), "{nobody}");
    }
    let reader = fixture.store.reader();
    assert_eq!((reader.auth().revision(), reader.hash()), (auth_revision, hash));
    assert_eq!(reader.position().index, fixture.index);
}
