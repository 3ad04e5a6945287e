//! Requests before [`access`](super::access): who asks, about what, and how a "no" is worded.

use std::sync::Arc;

use axum::http::HeaderMap;

use super::access::{Action, Verdict, Who};
use super::app::{App, unix_now};
use super::refusal::Refusal;
use super::request::credentials;
use super::store::{RepoKey, StoreError};

/// Whose token a request carries. A wrong one is refused, also where none is needed: whoever sends it believes in it.
pub(super) fn who(app: &App, headers: &HeaderMap) -> Result<Who, Refusal> {
    app.guard.who(credentials(headers), unix_now()).map_err(|_| Refusal::wrong_credentials())
}

/// Who asks for something that concerns no repository, if it is for them.
pub(super) fn admit_any(app: &App, headers: &HeaderMap) -> Result<Who, Refusal> {
    let who = who(app, headers)?;
    match app.guard.permits_any(&who) {
        Verdict::Allowed => Ok(who),
        _ => Err(Refusal::no_credentials()),
    }
}

/// Who asks, if they may do this with the repository.
pub(super) async fn admit(app: &Arc<App>, headers: &HeaderMap, repo: &RepoKey, action: Action) -> Result<Who, Refusal> {
    let who = admit_any(app, headers)?;
    // What it is at the Hub behind decides who may see it here.
    match action {
        Action::Read | Action::Content => app.mirror.meet(repo, true).await?,
        Action::Propose | Action::Write => app.mirror.meet(repo, false).await?,
        Action::Admin | Action::Create => {}
    }
    let (asked, key, asker) = (Arc::clone(app), repo.clone(), who.clone());
    let verdict = app.workers.disk(move || {
        // Under a former name it is still that of its owner today; a new one takes the name for itself.
        let key = if action == Action::Create { key } else { asked.store.current_name(key)? };
        let record = asked.store.repo(&key)?;
        let is_mirrored = record.as_ref().is_some_and(|record| record.mirrored.is_some());
        Ok::<_, StoreError>((asked.guard.permits(&asker, action, &key, record.as_ref()), is_mirrored))
    });
    let (verdict, is_mirrored) = verdict.await?;
    refuse(app, headers, &who, repo, verdict)?;
    if is_mirrored && matches!(action, Action::Propose | Action::Write) {
        return Err(Refusal::forbidden("this is a mirror of a repository of another Hub; change it there"));
    }
    Ok(who)
}

/// A verdict in the Hub's words.
fn refuse(app: &App, headers: &HeaderMap, who: &Who, repo: &RepoKey, verdict: Verdict) -> Result<(), Refusal> {
    match verdict {
        Verdict::Allowed => Ok(()),
        Verdict::NeedsToken => Err(Refusal::no_credentials()),
        Verdict::Missing if who.is_anonymous() && !app.guard.knows_nobody() => {
            Err(Refusal::repo_not_found_without_token(repo.id.as_str()))
        }
        Verdict::Missing => Err(Refusal::repo_not_found(repo.id.as_str())),
        Verdict::Gated => {
            let page = format!("{}/{repo}", app.base_url(headers)?);
            Err(Refusal::gated(who.is_anonymous(), &repo.kind.to_string(), repo.id.as_str(), &page))
        }
        Verdict::Forbidden(reason) => Err(Refusal::forbidden(reason)),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header;
    use tempfile::TempDir;

    use super::*;
    use crate::RepoType;
    use crate::server::store::{Gated, RepoRecord, Store};
    use crate::server::{Access, Config, Permission, Token};

    fn app() -> (Arc<App>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path());
        config.access = Access::default();
        config.access.tokens = ["alice", "bob", "carol"]
            .map(|name| Token::new(name, Permission::Write).of_user(name))
            .into_iter()
            .chain([Token::new("admin", Permission::Admin)])
            .collect();
        let store = Store::open(&config).unwrap();
        (Arc::new(App::new(config, None, store).unwrap()), folder)
    }

    fn headers(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(header::HOST, "hub.example".parse().unwrap())]);
        if !token.is_empty() {
            headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        headers
    }

    fn key(name: &str) -> RepoKey {
        RepoKey { kind: RepoType::Model, id: name.parse().unwrap() }
    }

    async fn answer(app: &Arc<App>, token: &str, repo: &RepoKey, action: Action) -> (u16, &'static str, String) {
        match admit(app, &headers(token), repo, action).await {
            Ok(_) => (200, "", String::new()),
            Err(Refusal { status, code, message, .. }) => (status.as_u16(), code, message),
        }
    }

    #[tokio::test]
    async fn given_a_gated_repository_when_its_files_are_asked_for_then_the_hubs_words_for_all_but_those_let_in() {
        let (app, _folder) = app();
        let repo = key("alice/gated");
        let record = RepoRecord { gated: Gated::Auto, readers: ["carol".to_owned()].into(), ..RepoRecord::default() };
        app.store.create_repo(&repo, record).unwrap();

        for who in ["alice", "carol", "admin"] {
            assert_eq!(200, answer(&app, who, &repo, Action::Content).await.0, "{who}");
        }
        let (status, code, message) = answer(&app, "bob", &repo, Action::Content).await;
        assert_eq!((403, "GatedRepo"), (status, code));
        let words = "Access to model alice/gated is restricted and you are not in the authorized list. Visit \
                     http://hub.example/alice/gated to ask for access.";
        assert_eq!(words, message);
        let (status, code, message) = answer(&app, "", &repo, Action::Content).await;
        assert_eq!((401, "GatedRepo"), (status, code));
        assert!(message.starts_with("Access to model alice/gated is restricted."), "{message}");
        for who in ["", "bob"] {
            assert_eq!(200, answer(&app, who, &repo, Action::Read).await.0, "{who}");
        }
    }

    #[tokio::test]
    async fn given_a_repository_that_moved_when_asked_for_by_its_former_name_then_its_owner_today_counts() {
        let (app, _folder) = app();
        let (before, after) = (key("bob/a"), key("alice/a"));
        app.store.create_repo(&before, RepoRecord { private: true, ..RepoRecord::default() }).unwrap();
        app.store.move_repo(&before, &after).unwrap();

        for repo in [&before, &after] {
            assert_eq!(200, answer(&app, "alice", repo, Action::Write).await.0);
            let (status, code, _) = answer(&app, "bob", repo, Action::Read).await;
            assert_eq!((404, "RepoNotFound"), (status, code));
        }
    }
}
