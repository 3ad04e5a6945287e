use super::*;
use crate::RepoType;

const NOW: u64 = 1_000;

fn repo(name: &str) -> RepoKey {
    RepoKey { kind: RepoType::Model, id: name.parse().unwrap() }
}

/// Two users, `alice` in `lab` and `bob` in nothing, tokens of each kind, and what anonymous requests may do.
fn guard(anonymous: Option<Anonymous>) -> Guard {
    let token = |secret, permission| Token::new(secret, permission);
    let mut expired = token("expired", Permission::Admin).of_user("alice");
    expired.expires = Some(NOW);
    Guard::new(&Access {
        anonymous,
        users: vec![User::new("alice").with_organizations(["lab"])],
        tokens: vec![
            token("alice", Permission::Write).of_user("alice"),
            token("alice reads", Permission::Read).of_user("alice"),
            token("alice tiny", Permission::Write).of_user("alice").only_for(["lab/tiny"]).unwrap(),
            token("bob", Permission::Write).of_user("bob"),
            token("deploy", Permission::Write).only_for(["lab/*", "gpt2"]).unwrap(),
            token("nobody", Permission::Write),
            token("admin", Permission::Admin),
            expired,
        ],
    })
}

struct Case<'a> {
    guard: &'a Guard,
    who: &'a str,
    repo: &'a str,
}

impl Case<'_> {
    fn verdict(&self, action: Action, kind: Option<Kind>) -> Verdict {
        self.verdict_on(action, kind.map(record).as_ref())
    }

    fn verdict_on(&self, action: Action, record: Option<&RepoRecord>) -> Verdict {
        let token = Some(self.who).filter(|who| !who.is_empty());
        let who = self.guard.who(token, NOW).unwrap();
        self.guard.permits(&who, action, &repo(self.repo), record)
    }

    #[track_caller]
    fn check(&self, action: Action, kind: Option<Kind>, expected: Verdict) {
        let found = self.verdict(action, kind);
        assert_eq!(expected, found, "{} wants to {action:?} {}", self.who, self.repo);
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Public,
    Private,
    Gated,
}

fn record(kind: Kind) -> RepoRecord {
    let gated = if matches!(kind, Kind::Gated) { Gated::Manual } else { Gated::No };
    RepoRecord { private: matches!(kind, Kind::Private), gated, ..RepoRecord::default() }
}

const PUBLIC: Option<Kind> = Some(Kind::Public);
const PRIVATE: Option<Kind> = Some(Kind::Private);
const GATED: Option<Kind> = Some(Kind::Gated);
const ALL: [Action; 5] = [Action::Read, Action::Content, Action::Propose, Action::Write, Action::Admin];

#[test]
fn given_no_users_and_tokens_when_asked_then_everything_but_what_is_private_or_gated_is_open() {
    let guard = Guard::new(&Access::default());
    for who in ["", "any token"] {
        let case = Case { guard: &guard, who, repo: "lab/tiny" };
        for action in ALL {
            case.check(action, PUBLIC, Verdict::Allowed);
            case.check(action, PRIVATE, Verdict::Missing);
            case.check(action, None, Verdict::Missing);
        }
        case.check(Action::Create, None, Verdict::Allowed);
        case.check(Action::Content, GATED, Verdict::Gated);
        case.check(Action::Read, GATED, Verdict::Allowed);
    }
}

#[test]
fn given_a_token_when_unknown_or_expired_then_bad_credentials() {
    let guard = guard(None);
    for token in ["", "alic", "alice ", "expired"] {
        assert_eq!(Err(BadCredentials), guard.who(Some(token), NOW).map(|_| ()), "{token}");
    }
    assert!(guard.who(Some("expired"), NOW - 1).unwrap().is_admin());
}

#[test]
fn given_a_public_repository_when_asked_then_everyone_reads_and_its_namespace_writes() {
    let guard = guard(None);
    let not_here = Verdict::Forbidden("the token allows no writing in this namespace");
    for (who, writes) in [
        ("", Verdict::NeedsToken),
        ("alice", Verdict::Allowed),
        ("alice reads", Verdict::Forbidden(READ_ONLY)),
        ("alice tiny", Verdict::Allowed),
        ("bob", not_here),
        ("deploy", Verdict::Allowed),
        ("nobody", not_here),
        ("admin", Verdict::Allowed),
    ] {
        let case = Case { guard: &guard, who, repo: "lab/tiny" };
        case.check(Action::Read, PUBLIC, Verdict::Allowed);
        case.check(Action::Content, PUBLIC, Verdict::Allowed);
        for action in [Action::Write, Action::Admin] {
            case.check(action, PUBLIC, writes);
        }
        case.check(Action::Create, None, writes);
    }
    // Everybody with a token to write may propose.
    Case { guard: &guard, who: "bob", repo: "lab/tiny" }.check(Action::Propose, PUBLIC, Verdict::Allowed);
    let reader = Case { guard: &guard, who: "alice reads", repo: "lab/tiny" };
    reader.check(Action::Propose, PUBLIC, Verdict::Forbidden(READ_ONLY));
}

#[test]
fn given_namespaces_when_written_to_then_only_ones_own() {
    let guard = guard(None);
    let not_here = Verdict::Forbidden("the token allows no writing in this namespace");
    for (who, name, expected) in [
        ("alice", "alice/a", Verdict::Allowed),
        ("alice", "lab/a", Verdict::Allowed),
        ("alice", "bob/a", not_here),
        ("alice", "labs/a", not_here),
        ("alice", "gpt2", not_here),
        ("alice", "alice", not_here),
        ("alice tiny", "lab/other", not_here),
        ("bob", "bob/a", Verdict::Allowed),
        ("deploy", "gpt2", Verdict::Allowed),
        ("deploy", "gpt3", not_here),
        ("admin", "gpt2", Verdict::Allowed),
        ("admin", "anyone/a", Verdict::Allowed),
    ] {
        Case { guard: &guard, who, repo: name }.check(Action::Create, None, expected);
    }
}

#[test]
fn given_a_private_repository_when_asked_by_others_then_exactly_as_if_it_were_missing() {
    for anonymous in [None, Some(Anonymous::None), Some(Anonymous::Read), Some(Anonymous::Write)] {
        let guard = guard(anonymous);
        for (who, sees) in [
            ("", false),
            ("alice", true),
            ("alice reads", true),
            ("alice tiny", false),
            ("bob", false),
            ("deploy", true),
            ("nobody", false),
            ("admin", true),
        ] {
            let case = Case { guard: &guard, who, repo: "lab/secret" };
            for action in ALL {
                match sees {
                    false => case.check(action, PRIVATE, case.verdict(action, None)),
                    true => assert_ne!(Verdict::Missing, case.verdict(action, PRIVATE), "{who} {action:?}"),
                }
            }
        }
    }
}

#[test]
fn given_a_gated_repository_when_asked_then_content_for_owners_and_those_let_in() {
    let guard = guard(None);
    let letting_in = RepoRecord { readers: ["bob".to_owned()].into(), ..record(Kind::Gated) };
    for (who, alone, with_readers) in [
        ("", Verdict::Gated, Verdict::Gated),
        ("alice", Verdict::Allowed, Verdict::Allowed),
        ("alice reads", Verdict::Allowed, Verdict::Allowed),
        ("alice tiny", Verdict::Gated, Verdict::Gated),
        ("bob", Verdict::Gated, Verdict::Allowed),
        ("nobody", Verdict::Gated, Verdict::Gated),
        ("admin", Verdict::Allowed, Verdict::Allowed),
    ] {
        let case = Case { guard: &guard, who, repo: "lab/gated" };
        case.check(Action::Read, GATED, Verdict::Allowed);
        case.check(Action::Content, GATED, alone);
        assert_eq!(with_readers, case.verdict_on(Action::Content, Some(&letting_in)), "{who}");
    }
    Case { guard: &guard, who: "bob", repo: "lab/gated" }.check(Action::Propose, GATED, Verdict::Gated);
}

#[test]
fn given_nothing_for_anonymous_when_asked_without_a_token_then_always_for_one() {
    let guard = guard(Some(Anonymous::None));
    let case = Case { guard: &guard, who: "", repo: "lab/tiny" };
    for kind in [PUBLIC, PRIVATE, GATED, None] {
        for action in ALL {
            case.check(action, kind, Verdict::NeedsToken);
        }
    }
    assert_eq!(Verdict::NeedsToken, guard.permits_any(&Who::ANONYMOUS));
    // A token for some repositories shows no others where nobody sees them without one.
    Case { guard: &guard, who: "alice tiny", repo: "bob/a" }.check(Action::Read, PUBLIC, Verdict::Missing);
    Case { guard: &guard, who: "bob", repo: "lab/tiny" }.check(Action::Read, PUBLIC, Verdict::Allowed);
}

#[test]
fn given_tokens_and_users_when_shown_then_without_what_they_are_recognised_by() {
    let token = Token::new("sesame", Permission::Read);
    assert!(!format!("{token:?}").contains(&token.name()));
    assert!(Token::new("x", Permission::Read).only_for(["lab/["]).is_err());
    assert_eq!(8, token.name().len());
}
