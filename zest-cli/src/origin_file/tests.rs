use super::*;

fn read(text: &str) -> Result<OriginFile, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("origin.toml");
    std::fs::write(folder.path().join("token"), "sesame\n").unwrap();
    std::fs::write(&path, text).unwrap();
    OriginFile::read(&path)
}

#[track_caller]
fn check_refused(text: &str, expected: &str) {
    let failure = read(text).unwrap_err();
    assert!(failure.cause.contains(expected), "`{expected}` is not in: {}", failure.cause);
    assert!(failure.hint.is_some(), "{}", failure.cause);
}

#[test]
fn given_a_whole_file_when_read_then_everything_has_its_place() {
    let file = read(
        r#"
        listen = ["127.0.0.1:1", "[::1]:2"]
        data = "data"
        public_url = "https://hub.example"
        quota = "2TB"
        limit_rate = 1000000
        no_data = true
        connections_max = 10
        connections_per_address_max = 5
        anonymous = "none"
        [[users]]
        name = "alice"
        organizations = ["lab"]
        [[tokens]]
        user = "alice"
        scope = "write"
        sha256 = "5994471ABB01112AFCC18159F6CC74B4F511B99806DA59B3CAF5A9C173CACFC5"
        expires = 2030-01-01
        repositories = ["lab/*"]
        [[tokens]]
        scope = "admin"
        file = "token"
        expires = "2030-01-01T00:00:00Z"
        [rate_limits]
        api = { requests = 500, window = "5m" }
        [garbage]
        interval = "never"
        grace = "2h"
        [mirror]
        endpoint = "https://upstream.example"
        token_file = "token"
        refresh = 60
        "#,
    )
    .unwrap();
    assert_eq!(2, file.listen.len());
    assert!(file.data.as_ref().unwrap().is_absolute());

    let mut config = Config::new("");
    file.fill(&mut config);

    assert_eq!(Some(2_000_000_000_000), config.quota);
    assert_eq!(
        (Some(1_000_000), true, 10, 5),
        (config.limit_rate, config.no_data, config.connections_max, config.connections_per_address_max)
    );
    assert_eq!(Some(Anonymous::None), config.access.anonymous);
    assert_eq!(
        vec![Some(1_893_456_000); 2],
        config.access.tokens.iter().map(|token| token.expires).collect::<Vec<_>>()
    );
    assert_eq!(Some(RateLimit::new(500, Duration::from_secs(300))), config.rate_limits.api);
    assert_eq!((None, Duration::from_secs(7_200)), (config.garbage.interval, config.garbage.grace));
    let mirror = config.mirror.unwrap();
    assert_eq!((Some("sesame"), 60), (mirror.token.as_deref(), mirror.refresh.as_secs()));
}

#[test]
fn given_mistakes_when_read_then_key_line_and_hint_are_told() {
    check_refused("data = 5", "origin.toml:1: data: ");
    check_refused("\nlistn = \"127.0.0.1:1\"", "origin.toml:2: listn: unknown field `listn`");
    check_refused("listen = \"localhost\"", ":1: listen: invalid value: string \"localhost\", expected an address");
    check_refused("listen = [\"127.0.0.1:1\", \"x\"]", ":1: listen");
    check_refused("quota = 0", ":1: quota: ");
    check_refused("quota = \"lots\"", ":1: quota: ");
    check_refused("anonymous = \"all\"", ":1: anonymous: unknown variant `all`");
    check_refused("a b", "origin.toml:1: ");
    check_refused("[garbage]\ngrace = \"soon\"", ":2: garbage.grace: ");
    check_refused("[rate_limits]\napi = { requests = 5 }", ":2: rate_limits.api: missing field `window`");
    check_refused("[mirror]", "missing field `endpoint`");
    check_refused("[[users]]\nname = \"a/b\"", ":1: users[0].name: `a/b` is no name");
    check_refused("[[users]]\nname = \"a\"\n[[users]]\nname = \"a\"", ":3: users[1].name: `a` is there twice");
    check_refused("[[users]]\nname = \"a\"\norganisations = []", ":3: users[0].organisations: unknown field");
    let token = |rest: &str| format!("[[tokens]]\nscope = \"read\"\n{rest}");
    check_refused(&token(""), "tokens[0].sha256: a token has either");
    check_refused(&token("sha256 = \"00\"\nfile = \"token\""), "tokens[0].sha256: a token has either");
    check_refused(&token("sha256 = \"00\""), "tokens[0].sha256: it is no SHA-256");
    check_refused(&token("file = \"token\"\nuser = \"bob\""), "tokens[0].user: there is no user `bob`");
    check_refused(
        &token("file = \"token\"\nrepositories = [\"lab/[\"]"),
        "tokens[0].repositories: `lab/[` is no pattern",
    );
    check_refused(&token("file = \"token\"\nexpires = 2030-01-01T00:00:00"), ":4: tokens[0].expires: ");
    check_refused(&token("file = \"token\"\nexpires = \"soon\""), ":4: tokens[0].expires: ");
    check_refused("[[tokens]]\nscope = \"all\"", ":2: tokens[0].scope: unknown variant `all`");
}

#[test]
fn given_a_secret_in_the_wrong_place_when_refused_then_not_told() {
    let failure = read("[[tokens]]\nscope = \"read\"\nsha256 = \"hf_secret\"").unwrap_err();
    assert!(!failure.cause.contains("hf_secret") && !format!("{:?}", failure.hint).contains("hf_secret"));
}

#[test]
fn given_a_bucket_when_read_then_used_or_refused_as_this_program_was_built() {
    let bucket = "[bucket]\nname = \"models\"\nendpoint = \"http://127.0.0.1:9\"\naccess_key_id = \"id\"\n";
    check_refused(&format!("{bucket}secret_access_key = \"x\""), ":5: bucket");
    let whole = format!("{bucket}secret_access_key_file = \"token\"");
    #[cfg(feature = "s3")]
    {
        let mut config = Config::new("data");
        read(&whole).unwrap().fill(&mut config);
        let bucket = config.bucket.unwrap();
        assert_eq!(("models", "sesame"), (bucket.name.as_str(), bucket.secret_access_key.as_str()));
        assert!(!format!("{bucket:?}").contains("sesame"));
    }
    #[cfg(not(feature = "s3"))]
    check_refused(&whole, "bucket: this zest was built without S3");
}
