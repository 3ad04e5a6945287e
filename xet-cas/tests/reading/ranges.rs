//! Which bytes come, and what is fetched for them.

use futures::StreamExt as _;
use testkit::{Fault, Rule};
use xet_cas::client::{Content, Error, ReadEvent, ReadOptions};

use super::lab::{DATA, Lab, OfXorb, RECONSTRUCTIONS, Run, Script, TOKEN, Xorb, all, noted, one, sha256};

#[tokio::test(flavor = "multi_thread")]
async fn given_any_range_when_read_then_exactly_those_bytes_and_no_more_chunks_than_hold_them() {
    let lab = Lab::new().await;
    let (file, content) = &lab.large;
    let size = content.len();
    for (start, end) in [(0, 1), (0, size), (1, size - 1), (size - 1, size), (70_000, 70_001), (999_999, 1_500_000)] {
        let before: u64 = lab.seen(DATA).iter().map(|seen| seen.sent_bytes()).sum();

        let read = lab.read(start as u64..end as u64).await.unwrap();

        assert!(read == content[start..end], "{start}..{end}");
        let fetched: u64 = lab.seen(DATA).iter().map(|seen| seen.sent_bytes()).sum::<u64>() - before;
        assert!(fetched < (end - start) as u64 + 3 * 131_072 || end - start > size / 2, "{start}..{end}: {fetched}");
    }
    for empty in [5..5, file.size..file.size + 9] {
        let asked = lab.faulty.requests().len();
        assert!(lab.read(empty).await.unwrap().is_empty());
        assert_eq!(asked, lab.faulty.requests().len());
    }
    assert_eq!(content[size - 10..], lab.read(file.size - 10..=u64::MAX).await.unwrap()[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_regular_file_when_read_then_its_range_is_asked_for_or_what_is_before_it_passed_over() {
    let lab = Lab::new().await;
    let (file, content) = &lab.regular;
    let read = |start: u64, end: u64| all(lab.hub.read(&lab.commit, file, start..end, &ReadOptions::default()));

    assert!(read(0, u64::MAX).await.unwrap() == *content);
    assert_eq!(content[700..1_300], read(700, 1_300).await.unwrap()[..]);
    assert_eq!(Some("bytes=700-1299"), lab.seen("/resolve/").last().unwrap().header("range"));
    lab.faulty.add(Rule::path_contains("/resolve/", Fault::IgnoreRange));
    assert_eq!(content[700..1_300], read(700, 1_300).await.unwrap()[..]);
    assert!(read(1, u64::MAX).await.unwrap() == content[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_large_file_without_xet_when_read_then_verified_by_its_sha256_and_gone_on_with_after_a_break() {
    let lab = Lab::new().await;
    let (mut file, content) = lab.large.clone();
    file.content = Content::Lfs { sha256: sha256(&content) };
    lab.faulty.add(Rule::path_contains("signature=", Fault::TruncateAfter(400_000)).times(2));

    let read = all(lab.hub.read(&lab.commit, &file, .., &ReadOptions::default())).await.unwrap();

    assert!(read == content);
    // Not the grants of uploads, which are signed too.
    let ranges = lab.seen("large.bin?");
    assert_eq!(Some("bytes=400000-2399999"), ranges[1].header("range"), "it begins anew");
    lab.faulty.clear();
    file.content = Content::Lfs { sha256: sha256(b"another") };
    let error = all(lab.hub.read(&lab.commit, &file, .., &ReadOptions::default())).await.unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
    let part = all(lab.hub.read(&lab.commit, &file, 1.., &ReadOptions::default())).await;
    assert!(part.is_ok(), "a part cannot be checked");
}

/// The same chunks of the same xorbs again and again, in an order that keeps nothing from being needed later.
fn tangled() -> (Vec<Xorb>, Vec<OfXorb<Run>>) {
    let xorbs: Vec<Xorb> = (0..12).map(|seed| Xorb::new(seed, &[30_000, 9_000, 50_000, 8_192])).collect();
    let terms = (0..60).map(|i| (i * 7 % 12, i % 3..i % 3 + 1 + i % 2)).collect();
    (xorbs, terms)
}

#[tokio::test(flavor = "multi_thread")]
async fn given_terms_that_share_entries_when_read_then_each_is_fetched_once_or_as_memory_allows() {
    let (xorbs, terms) = tangled();
    let entries: Vec<OfXorb<Vec<Run>>> = (0..12).map(|xorb| (xorb, one(0..4))).collect();
    for (ahead, is_once) in [(256 << 20, true), (0, false), (1 << 20, false)] {
        let script = Script::new(&xorbs, &terms, &entries).await;
        script.give_answer();
        xorbs.iter().enumerate().for_each(|(at, xorb)| script.give_data(at, "x/y", xorb.records.clone()));
        let mut options = ReadOptions::default();
        options.ahead_bytes_max = ahead;

        let read = all(script.reader(|_| {}, &options).await).await.unwrap();

        assert!(read == script.content, "{ahead}");
        let fetched = script.requests("/data/");
        assert!(if is_once { fetched == 12 } else { fetched > 20 }, "{ahead}: {fetched}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_many_reads_of_a_commit_when_read_then_one_token_and_version_2_is_tried_once() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains("/v2/reconstructions/", Fault::status(404)));
    for start in 0..3 {
        assert!(lab.read(start..).await.unwrap() == lab.large.1[start as usize..]);
    }

    assert_eq!(1, lab.seen(TOKEN).len());
    assert_eq!((1, 3), (lab.seen("/v2/reconstructions/").len(), lab.seen("/v1/reconstructions/").len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_one_entry_for_many_terms_when_read_then_fetched_once() {
    let lab = Lab::new().await;

    assert!(lab.read(..).await.unwrap() == lab.large.1);

    assert_eq!(1, lab.seen(DATA).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_expired_url_when_read_then_asked_for_anew_twice_at_most() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains(DATA, Fault::status(403)).times(2));
    assert!(lab.read(5..).await.unwrap() == lab.large.1[5..]);
    assert_eq!(3, lab.seen(RECONSTRUCTIONS).len());

    lab.faulty.add(Rule::path_contains(DATA, Fault::status(403)));
    let error = lab.read(..).await.unwrap_err();
    assert!(matches!(error, Error::UrlExpired { .. }), "{error}");
    assert_eq!(6, lab.seen(RECONSTRUCTIONS).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_futures_that_are_dropped_when_read_on_then_nothing_is_lost() {
    let lab = Lab::new().await;
    let mut reader = lab.hub.read(&lab.commit, &lab.large.0, .., &ReadOptions::default());
    let mut read = Vec::new();
    loop {
        // Polled once, and dropped if it is not ready.
        let next = futures::future::poll_immediate(reader.next()).await;
        match next {
            Some(Some(piece)) => read.extend_from_slice(&piece.unwrap()),
            Some(None) => break,
            None => tokio::task::yield_now().await,
        }
    }
    assert!(read == lab.large.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_observer_when_read_then_told_every_step_up_to_the_end() {
    let lab = Lab::new().await;
    let (options, events) = noted();

    all(lab.hub.read(&lab.commit, &lab.large.0, 100..2_000_000, &options)).await.unwrap();

    let events = events.lock().unwrap();
    let steps: Vec<(u64, u64, u64)> = events
        .iter()
        .map(|event| match event {
            ReadEvent::Progress { bytes, total_bytes, wire_bytes } => (*bytes, *total_bytes, *wire_bytes),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(steps.len() > 10 && steps.is_sorted() && steps.iter().all(|step| step.1 == 1_999_900), "{steps:?}");
    let last = steps.last().unwrap();
    assert_eq!((1_999_900, lab.seen(DATA)[0].sent_bytes()), (last.0, last.2));
}
