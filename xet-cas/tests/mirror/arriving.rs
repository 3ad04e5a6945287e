//! Files that are read while they arrive.

use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use testkit::{Fault, Rule};
use xet_cas::client::Content;

use super::pair::{DATA, Pair, REPO, files, random, read, resolve};

/// Three xorbs as they are packed here, and more than is fetched ahead.
const LARGE: usize = 40 << 20;

/// The xorb that holds the end of the file, at the first origin.
async fn last_xorb(pair: &Pair) -> String {
    let upstream = pair.upstream.as_ref().unwrap();
    let hub = super::pair::hub(&upstream.url());
    let commit = resolve(&hub, "main").await.unwrap();
    let file = files(&hub, &commit).await["large.bin"].clone();
    let Content::Xet { hash, .. } = file.content else { panic!("{file:?}") };
    let token = upstream.cas_token(REPO, "read").await;
    let target = format!("/cas/v2/reconstructions/{hash}");
    let answer = upstream.get(&target).header("authorization", token).send().await.ok().json();
    answer["terms"].as_array().unwrap().last().unwrap()["hash"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_file_half_of_which_has_come_when_read_then_that_half_is_given_and_the_rest_when_it_comes() {
    let pair = Pair::new().await;
    let content = random(1, LARGE);
    pair.publish(&[("large.bin", content.clone())]).await;
    let last = last_xorb(&pair).await;
    pair.faulty.add(Rule::path_contains(last, Fault::NeverAnswer));
    let hub = pair.hub();
    let commit = resolve(&hub, "main").await.unwrap();
    let file = files(&hub, &commit).await["large.bin"].clone();

    // The whole file, as it is.
    let redirect = pair.mirror.get(&format!("/{REPO}/resolve/main/large.bin")).send().await;
    let (mut tasks, plain) = pair.mirror.get(redirect.header("location")).begin().await;
    assert_eq!(LARGE.to_string(), plain.headers()["content-length"].to_str().unwrap());
    let mut body = plain.into_body();
    let mut received = Vec::new();
    while received.len() < 25 << 20 {
        received.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    assert!(received == content[..received.len()]);

    // A range of it through the CAS.
    let part = hub.read(&commit, &file, 1_000..15 << 20, &Default::default());
    let part: Vec<_> = part.map(Result::unwrap).collect().await;
    assert!(part.concat() == content[1_000..15 << 20]);

    // The rest comes.
    pair.faulty.clear();
    while let Some(frame) = body.frame().await {
        received.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    assert!(received == content);
    tasks.abort_all();
    assert!(content == read(&hub, &commit, &file).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_source_that_stops_when_read_then_what_has_come_is_given_before_the_answer_breaks_off() {
    let pair = Pair::new().await;
    let content = random(4, 5 << 20);
    pair.publish(&[("large.bin", content.clone())]).await;
    pair.faulty.add(Rule::path_contains(DATA, Fault::StallAfter(1_000_000)));

    let redirect = pair.mirror.get(&format!("/{REPO}/resolve/main/large.bin")).send().await;
    let (mut tasks, plain) = pair.mirror.get(redirect.header("location")).begin().await;

    // Less than is worked on at once otherwise.
    let mut body = plain.into_body();
    let mut received = Vec::new();
    while received.len() < 700_000 {
        received.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    while let Some(Ok(frame)) = body.frame().await {
        received.extend_from_slice(&frame.into_data().unwrap());
    }
    assert!(received.len() < content.len() && received == content[..received.len()]);
    tasks.abort_all();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_client_that_leaves_when_a_file_has_begun_to_come_then_it_comes_all_the_same() {
    let mut pair = Pair::new().await;
    let content = random(2, 5 << 20);
    pair.publish(&[("large.bin", content.clone())]).await;
    let hub = pair.hub();
    let commit = resolve(&hub, "main").await.unwrap();
    let file = files(&hub, &commit).await["large.bin"].clone();
    pair.faulty.add(Rule::path_contains(DATA, Fault::AnswerAfter(std::time::Duration::from_millis(300))));

    let redirect = pair.mirror.get(&format!("/{REPO}/resolve/main/large.bin")).send().await;
    let (tasks, plain) = pair.mirror.get(redirect.header("location")).begin().await;
    drop((tasks, plain));
    pair.faulty.until_sent(5 << 20).await;

    // It is here as soon as it is verified; whoever asks waits for that.
    assert!(content == read(&hub, &commit, &file).await.unwrap());
    assert_eq!(pair.seen(DATA).len(), 1);
    pair.lose_upstream().await;
    assert!(content == read(&hub, &commit, &file).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_file_that_does_not_come_when_the_origin_is_stopped_then_it_stops_and_can_begin_again() {
    let pair = Pair::new().await;
    let content = random(3, 5 << 20);
    pair.publish(&[("large.bin", content.clone())]).await;
    pair.faulty.add(Rule::path_contains(DATA, Fault::NeverAnswer));
    let redirect = pair.mirror.get(&format!("/{REPO}/resolve/main/large.bin")).send().await;
    let (_tasks, _plain) = pair.mirror.get(redirect.header("location")).begin().await;
    drop((_tasks, _plain));
    pair.faulty.until(|seen| seen.iter().any(|seen| seen.target.contains(DATA))).await;

    let pair = pair.restart().await;

    pair.faulty.clear();
    let hub = pair.hub();
    let commit = resolve(&hub, "main").await.unwrap();
    let file = files(&hub, &commit).await["large.bin"].clone();
    assert!(content == read(&hub, &commit, &file).await.unwrap());
}
