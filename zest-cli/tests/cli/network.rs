//! What origins and networks do wrong.

use testkit::{Fault, Rule};

use crate::lab::{ENTRY_PATH, Lab, REPO, finish};

#[tokio::test(flavor = "multi_thread")]
async fn given_no_origin_when_pulled_then_a_network_error() {
    let lab = Lab::new().await;

    let said = lab.zest(&["pull", REPO, "--endpoint", "http://127.0.0.1:1"]).await;

    said.assert_failed(5, "cannot connect");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_entry_that_stalls_once_when_pulled_then_it_is_replaced() {
    let lab = Lab::new().await;
    // Every entry is longer than this, also one that holds a single compressed chunk.
    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::StallAfter(16)).times(1));

    let said = lab.pull().await;

    said.assert_ok();
    lab.assert_pulled();
    assert!(said.events().iter().any(|event| event["event"] == "retry"), "{}", said.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_data_that_never_comes_when_pulled_then_it_ends_in_time_with_a_network_error() {
    for fault in [Fault::StallAfter(0), Fault::NeverAnswer, Fault::Trickle { bytes_per_second: 1 }, Fault::Reset] {
        let lab = Lab::new().await;

        let said = lab.pull_with(ENTRY_PATH, fault).await;

        lab.assert_failed(&said, 5, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_data_cut_short_when_pulled_then_fetched_again_or_given_up() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::TruncateAfter(50_000)).times(2));
    lab.pull().await.assert_ok();
    lab.assert_pulled();

    let lab = Lab::new().await;
    let said = lab.pull_with(ENTRY_PATH, Fault::TruncateAfter(7)).await;
    lab.assert_failed(&said, 5, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_entry_that_always_breaks_later_when_pulled_then_what_arrived_counts() {
    let lab = Lab::new().await;
    // Every answer breaks off after half a megabyte more than the one before brought.
    for round in 1..20 {
        lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::TruncateAfter(round * 500_000)).times(1));
    }

    lab.pull().await.assert_ok();

    lab.assert_pulled();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_flipped_bit_in_every_answer_when_pulled_then_the_file_does_not_appear() {
    let lab = Lab::new().await;

    // Inside the first chunk's payload: random bytes, so stored as they are.
    let said = lab.pull_with(ENTRY_PATH, Fault::FlipBit { offset: 5_000 }).await;

    lab.assert_failed(&said, 6, "");
    lab.assert_no_partial_files();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_flipped_bit_once_when_pulled_then_the_file_is_fetched_again() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::FlipBit { offset: 5_000 }).times(1));

    let said = lab.pull().await;

    lab.assert_pulled();
    // Bytes that were wrong count as traffic only.
    let summary = said.summary();
    let sources = summary["file_bytes"].as_object().unwrap().values().map(|bytes| bytes.as_u64().unwrap());
    let bytes = lab.model_files().iter().map(|file| file.len() as u64).sum::<u64>();
    assert_eq!(bytes, sources.sum::<u64>(), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_changed_regular_file_when_pulled_then_it_does_not_appear() {
    let lab = Lab::new().await;

    let said = lab.pull_with("/resolve/", Fault::FlipBit { offset: 0 }).await;

    lab.assert_failed(&said, 6, "failed verification");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_html_in_place_of_answers_when_pulled_then_said_so() {
    for path in ["/revision/", "/tree/"] {
        let lab = Lab::new().await;

        let said = lab.pull_with(path, Fault::Html).await;

        lab.assert_failed(&said, 5, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_html_in_place_of_data_when_pulled_then_refused() {
    let lab = Lab::new().await;

    let said = lab.pull_with(ENTRY_PATH, Fault::Html).await;

    lab.assert_failed(&said, 5, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_only_version_1_when_pulled_then_it_is_used() {
    for status in [404, 501] {
        let lab = Lab::new().await;
        lab.faulty.add(Rule::path_contains("/v2/reconstructions/", Fault::status(status)));

        lab.pull().await.assert_ok();

        lab.assert_pulled();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_data_answered_with_200_when_pulled_then_taken() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::RangeAs200));

    lab.pull().await.assert_ok();

    lab.assert_pulled();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_another_range_than_asked_when_pulled_then_refused() {
    let lab = Lab::new().await;

    let said = lab.pull_with(ENTRY_PATH, Fault::WrongContentRange).await;

    lab.assert_failed(&said, 5, "was asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_expired_url_when_pulled_then_asked_again_and_given_up_in_the_end() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::status(403)).times(2));
    lab.pull().await.assert_ok();
    lab.assert_pulled();

    let lab = Lab::new().await;
    let said = lab.pull_with(ENTRY_PATH, Fault::status(403)).await;
    lab.assert_failed(&said, 5, "signed URL was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_busy_server_when_pulled_then_its_wish_is_obeyed_within_bounds() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains("/tree/", Fault::status_with(429, &[("Retry-After", "0")])).times(1));
    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::status(503)).times(1));
    lab.pull().await.assert_ok();
    lab.assert_pulled();

    let lab = Lab::new().await;
    let said = lab.pull_with("/tree/", Fault::status_with(429, &[("Retry-After", "86400")])).await;
    lab.assert_failed(&said, 5, "86400 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_one_file_that_fails_when_pulled_then_the_others_are_kept_and_no_ref_is_written() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains("config.json", Fault::status(404)));

    let said = lab.pull().await;

    lab.assert_failed(&said, 4, "config.json");
    lab.faulty.clear();
    let summary = lab.pull().await.summary();
    assert!(summary["file_bytes"]["local"].as_u64() > summary["file_bytes"]["cdn"].as_u64(), "{summary}");
    lab.assert_pulled();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_proxy_in_the_environment_when_pulled_then_everything_goes_through_it() {
    let lab = Lab::new().await;

    // A name that only the proxy can reach.
    let mut command = lab.command(&["pull", REPO, "--endpoint", "http://hub.invalid"]);
    let said = finish(command.env("HTTP_PROXY", lab.faulty.url()).spawn().unwrap()).await;

    said.assert_ok();
    lab.assert_pulled();
    assert!(lab.faulty.requests().iter().all(|seen| seen.header("host") == Some("hub.invalid")));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_reconstruction_of_another_file_when_pulled_then_the_file_does_not_appear() {
    let lab = Lab::new().await;
    let swap = Fault::rewrite(|body| {
        let mut answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        if let Some(terms) = answer["terms"].as_array_mut() {
            terms.reverse();
        }
        serde_json::to_vec(&answer).unwrap().into()
    });

    let said = lab.pull_with("/reconstructions/", swap).await;

    lab.assert_failed(&said, 6, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_large_files_without_xet_when_pulled_then_checked_by_their_sha256() {
    let without_xet = || {
        Fault::rewrite(|body| {
            let mut entries: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
            entries
                .iter_mut()
                .filter_map(serde_json::Value::as_object_mut)
                .for_each(|entry| drop(entry.remove("xetHash")));
            serde_json::to_vec(&entries).unwrap().into()
        })
    };
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains("/tree/", without_xet()));
    lab.pull().await.assert_ok();
    lab.assert_pulled();
    assert!(!lab.faulty.requests().iter().any(|seen| seen.target.contains("/reconstructions/")));

    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains("/tree/", without_xet()));
    let said = lab.pull_with("model-00001-of-00002.safetensors", Fault::FlipBit { offset: 1_000_000 }).await;
    lab.assert_failed(&said, 6, "failed verification");
}

/// Every path that a token is sent on.
#[tokio::test(flavor = "multi_thread")]
async fn given_a_redirect_of_any_request_to_another_host_when_pulled_then_no_token_follows() {
    let lab = Lab::with_token(Some("hf_right")).await;
    for path in ["/revision/", "/tree/", "/xet-read-token/", "/reconstructions/", ENTRY_PATH] {
        let elsewhere = testkit::Sink::start().await.unwrap();
        lab.faulty.clear();
        lab.faulty.add(Rule::path_contains(path, Fault::redirect_to(format!("{}/x", elsewhere.url()))));

        let mut command = lab.command(&["pull", REPO]);
        let said = finish(command.env("HF_TOKEN", "hf_right").spawn().unwrap()).await;

        drop(std::fs::remove_dir_all(lab.home()));
        // Without the CAS the files come from the Hub as they are.
        assert_eq!(matches!(path, "/xet-read-token/" | "/reconstructions/"), said.code == Some(0), "{path}");
        let seen = elsewhere.requests();
        assert!(!seen.is_empty(), "{path}: {}", said.stderr);
        assert!(seen.iter().all(|request| request.header("authorization").is_none()), "{path}");
    }
}

/// What makes a pull slower than it should be is told with its cause, and shown at `-v`.
#[tokio::test(flavor = "multi_thread")]
async fn given_trouble_that_a_pull_stands_when_pulled_with_v_then_every_cause_is_shown() {
    let wait = [("Retry-After", "1")];
    for (path, fault, cause) in [
        ("/tree/", Fault::status_with(429, &wait), "429"),
        ("/reconstructions/", Fault::status(503), "503"),
        (ENTRY_PATH, Fault::status(403), "refused"),
        (ENTRY_PATH, Fault::status(502), "502"),
        (ENTRY_PATH, Fault::StallAfter(16), "0.5 s"),
        (ENTRY_PATH, Fault::FlipBit { offset: 12 }, ""),
        ("/resolve/", Fault::NeverAnswer, "the answer"),
    ] {
        let lab = Lab::new().await;
        lab.faulty.add(Rule::path_contains(path, fault.clone()).times(1));

        let said = lab.zest(&["-v", "pull", REPO, "--format", "json"]).await;

        said.assert_ok();
        let events = said.events();
        let retries: Vec<_> = events.iter().filter(|event| event["event"] == "retry").collect();
        let is_told = retries.iter().any(|event| event["reason"].as_str().unwrap().contains(cause));
        assert!(is_told, "{path}, {fault:?}: {retries:?}");
        let reason = said.stderr.lines().any(|line| line.contains(cause) && line.contains("INFO"));
        assert!(reason, "{path}, {fault:?}: {}", said.stderr);
    }
}
