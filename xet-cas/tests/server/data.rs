//! How a file comes back: reconstructions, signed ranges of xorbs, and plain bytes.

use std::time::Duration;

use serde_json::{Value, json};
use xet_cas::MerkleHashSubtree;
use xet_cas::xorb::Records;

use super::lab::{Lab, file_line};
use super::model::{Upload, random};

const REPO: &str = "lab/tiny";

async fn published() -> (Lab, Upload, String) {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let upload = Upload::mixed(1, 3_000_000);
    upload.publish(&lab, REPO, "model.bin").await;
    let token = lab.cas_token(REPO, "read").await;
    (lab, upload, token)
}

async fn reconstruction(lab: &Lab, token: &str, version: &str, upload: &Upload, range: Option<&str>) -> Value {
    let mut call = lab.get(&format!("/cas/{version}/reconstructions/{}", upload.file)).header("authorization", token);
    if let Some(range) = range {
        call = call.header("range", range);
    }
    call.send().await.ok().json()
}

/// Fetches the entries of a v2 answer and puts the file together from its terms.
async fn assemble(lab: &Lab, answer: &Value) -> Vec<u8> {
    let mut file = Vec::new();
    for term in answer["terms"].as_array().unwrap() {
        let (start, end) = (term["range"]["start"].as_u64().unwrap(), term["range"]["end"].as_u64().unwrap());
        let urls = answer["xorbs"][term["hash"].as_str().unwrap()].as_array().unwrap();
        let entries = urls.iter().map(|url| (url["url"].as_str().unwrap(), &url["ranges"][0]));
        let covering = |range: &Value| {
            range["chunks"]["start"].as_u64() <= Some(start) && Some(end) <= range["chunks"]["end"].as_u64()
        };
        let (url, range) = entries.into_iter().find(|(_, range)| covering(range)).unwrap();
        let bytes = format!("bytes={}-{}", range["bytes"]["start"], range["bytes"]["end"]);
        let data = lab.get(url).header("range", bytes).send().await.ok();
        assert_eq!(206, data.status);

        let first = range["chunks"]["start"].as_u64().unwrap();
        let (from, count) = ((start - first) as usize, (end - start) as usize);
        let mut scratch = Vec::new();
        let before = file.len();
        for record in Records::new(&data.body).skip(from).take(count) {
            file.extend_from_slice(record.unwrap().decode(&mut scratch).unwrap());
        }
        assert_eq!(term["unpacked_length"], json!(file.len() - before));
    }
    file
}

fn without_urls(mut answer: Value) -> Value {
    match &mut answer {
        Value::Object(fields) => {
            fields.remove("url");
            fields.values_mut().for_each(|value| *value = without_urls(value.take()));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| *value = without_urls(value.take())),
        _ => {}
    }
    answer
}

#[tokio::test]
async fn given_an_uploaded_file_when_reconstructed_then_identical() {
    let (lab, upload, token) = published().await;

    let answer = reconstruction(&lab, &token, "v2", &upload, None).await;

    assert_eq!(0, answer["offset_into_first_range"]);
    assert!(upload.content == assemble(&lab, &answer).await);
    let sent: u64 = upload.xorb.records.len() as u64;
    assert_eq!(sent, lab.counters.data_bytes_sent());
    assert_eq!(json!({ "data_bytes": sent }), lab.json("/origin/stats").await);
}

#[tokio::test]
async fn given_byte_ranges_when_reconstructed_then_the_chunks_hold_them_and_both_versions_agree() {
    let (lab, upload, token) = published().await;
    let size = upload.content.len();
    let cases = [
        (0, 0),
        (0, size - 1),
        (1_000_000, 1_000_000),
        (size - 1, size - 1),
        (123_456, 2_345_678),
        (5, size + 1_000_000),
    ];
    for (first, last) in cases {
        let range = format!("bytes={first}-{last}");
        let v1 = reconstruction(&lab, &token, "v1", &upload, Some(&range)).await;
        let v2 = reconstruction(&lab, &token, "v2", &upload, Some(&range)).await;

        let file = assemble(&lab, &v2).await;
        let offset = v2["offset_into_first_range"].as_u64().unwrap() as usize;
        let end = last.min(size - 1) + 1;
        assert!(upload.content[first..end] == file[offset..offset + end - first], "{range}");
        assert_eq!(v1["terms"], v2["terms"]);
        let fetch_info = without_urls(v1["fetch_info"].clone());
        for (xorb, urls) in v2["xorbs"].as_object().unwrap() {
            let converted = urls.as_array().unwrap().iter().map(|url| {
                let range = &url["ranges"][0];
                json!({ "range": range["chunks"], "url_range": range["bytes"] })
            });
            assert_eq!(fetch_info[xorb], converted.collect::<Value>());
        }
    }
}

#[tokio::test]
async fn given_odd_ranges_when_reconstructed_then_as_the_protocol_says() {
    let (lab, upload, token) = published().await;
    let size = upload.content.len();
    let target = format!("/cas/v2/reconstructions/{}", upload.file);
    for range in [&format!("bytes={size}-{size}"), "bytes=9-5", "bytes=0-1,5-6", "lines=1-2", "bytes=-0"] {
        let answer = lab.get(&target).header("authorization", &token).header("range", range).send().await;
        answer.refused(416, "RangeNotSatisfiable");
    }
    for range in ["bytes=-10", &format!("bytes={}-", size - 10)] {
        let answer = reconstruction(&lab, &token, "v2", &upload, Some(range)).await;
        let file = assemble(&lab, &answer).await;
        let offset = answer["offset_into_first_range"].as_u64().unwrap() as usize;
        assert_eq!(upload.content[size - 10..], file[offset..]);
    }
    let empty = "0".repeat(64);
    for range in ["bytes=0-0", "bytes=0-99"] {
        let call = lab.get(&format!("/cas/v1/reconstructions/{empty}")).header("authorization", &token);
        let answer = call.header("range", range).send().await.ok().json();
        assert_eq!(json!({ "offset_into_first_range": 0, "terms": [], "fetch_info": {} }), answer);
    }
}

#[tokio::test]
async fn given_unknown_or_malformed_hashes_when_reconstructed_then_refused() {
    let (lab, _, token) = published().await;
    for version in ["v1", "v2"] {
        let get =
            |hash: &str| lab.get(&format!("/cas/{version}/reconstructions/{hash}")).header("authorization", &token);
        get(&"1".repeat(64)).send().await.refused(404, "NotFound");
        get("zz").send().await.refused(400, "BadRequest");
        get("..%2f..%2forigin.json").send().await.refused(400, "BadRequest");
    }
}

#[tokio::test]
async fn given_the_same_request_when_repeated_and_after_a_restart_then_split_the_same() {
    let (lab, upload, token) = published().await;
    let range = Some("bytes=100000-2900000");
    let first = without_urls(reconstruction(&lab, &token, "v2", &upload, range).await);

    let second = without_urls(reconstruction(&lab, &token, "v2", &upload, range).await);
    let lab = lab.restart_with(|_| {}).await;
    let token = lab.cas_token(REPO, "read").await;
    let third = without_urls(reconstruction(&lab, &token, "v2", &upload, range).await);

    assert_eq!(first, second);
    assert_eq!(first, third);
}

#[tokio::test]
async fn given_several_files_when_asked_for_at_once_then_each_is_described_as_alone() {
    let (lab, upload, token) = published().await;
    let other = Upload::of(random(9, 200_000));
    other.publish(&lab, REPO, "other.bin").await;
    let target = format!("/cas/v1/reconstructions?file_id={}&file_id={}", upload.file, other.file);

    let answer = lab.get(&target).header("authorization", &token).send().await.ok().json();

    for file in [&upload, &other] {
        let alone = reconstruction(&lab, &token, "v1", file, None).await;
        assert_eq!(alone["terms"], answer["files"][file.file.to_string()]);
    }
    assert_eq!(2, answer["fetch_info"].as_object().unwrap().len());
    let call = |query: &str| lab.get(&format!("/cas/v1/reconstructions{query}")).header("authorization", &token);
    call("").send().await.refused(400, "BadRequest");
    call(&format!("?file_id={}", "1".repeat(64))).send().await.refused(404, "NotFound");
}

#[tokio::test]
async fn given_a_data_url_when_used_then_good_for_its_range_alone() {
    let (lab, upload, token) = published().await;
    let answer = reconstruction(&lab, &token, "v2", &upload, Some("bytes=500000-900000")).await;
    let entry = &answer["xorbs"][upload.xorb.hash().to_string()][0];
    let (url, bytes) = (entry["url"].as_str().unwrap(), &entry["ranges"][0]["bytes"]);
    let (first, last) = (bytes["start"].as_u64().unwrap(), bytes["end"].as_u64().unwrap());
    let get = |url: &str, range: String| lab.get(url).header("range", range);

    let data = get(url, format!("bytes={first}-{last}")).send().await.ok();
    assert_eq!(upload.xorb.records[first as usize..=last as usize], data.body[..]);
    assert_eq!(206, data.status);
    assert!(data.header("content-range").starts_with(&format!("bytes {first}-{last}/")));
    assert_eq!((last - first + 1).to_string(), data.header("content-length"));

    let sent = lab.counters.data_bytes_sent();
    lab.get(url).send().await.refused(403, "Forbidden");
    for range in [
        format!("bytes={first}-{}", last - 1),
        format!("bytes={}-{last}", first + 1),
        format!("bytes={first}-"),
        "bytes=-5".into(),
    ] {
        get(url, range).send().await.refused(403, "Forbidden");
    }
    let wider = url.replace(&format!("bytes={first}-{last}"), &format!("bytes=0-{last}"));
    assert_ne!(url, wider);
    get(&wider, format!("bytes=0-{last}")).send().await.refused(403, "Forbidden");
    let later = url.replace("expires=", "expires=9");
    get(&later, format!("bytes={first}-{last}")).send().await.refused(403, "Forbidden");
    let unsigned = url.split_once('?').unwrap().0;
    get(unsigned, format!("bytes={first}-{last}")).send().await.refused(403, "Forbidden");
    assert_eq!(sent, lab.counters.data_bytes_sent());

    let lab = lab.restart_with(|_| {}).await;
    let target = url.split_once("/cas/").unwrap().1;
    lab.get(&format!("/cas/{target}")).header("range", format!("bytes={first}-{last}")).send().await.ok();
}

#[tokio::test]
async fn given_an_expired_data_url_when_used_then_403_and_a_new_one_is_good() {
    let (lab, upload, _) = published().await;
    let lab = lab.restart_with(|config| config.url_lifetime = Duration::ZERO).await;
    let token = lab.cas_token(REPO, "read").await;
    let answer = reconstruction(&lab, &token, "v2", &upload, None).await;
    let entry = &answer["xorbs"][upload.xorb.hash().to_string()][0];
    let range = format!("bytes=0-{}", entry["ranges"][0]["bytes"]["end"]);

    lab.get(entry["url"].as_str().unwrap()).header("range", range).send().await.refused(403, "Forbidden");

    let lab = lab.restart_with(|_| {}).await;
    let token = lab.cas_token(REPO, "read").await;
    let answer = reconstruction(&lab, &token, "v2", &upload, None).await;
    assert!(upload.content == assemble(&lab, &answer).await);
}

#[tokio::test]
async fn given_a_regular_file_when_resolved_then_its_bytes_and_ranges() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let commit = lab.commit(REPO, &[file_line("sub dir/ü.txt", b"hello world")]).await.ok().json();
    let target = "/lab/tiny/resolve/main/sub%20dir/%C3%BC.txt";
    // `git hash-object` says so.
    let etag = "\"95d09f2b10159347eece71399a7e2e907ea3df4f\"";

    let whole = lab.get(target).send().await.ok();
    assert_eq!((200, b"hello world".as_slice(), etag), (whole.status, &whole.body[..], whole.header("etag")));
    assert_eq!(commit["commitOid"], whole.header("x-repo-commit"));
    assert_eq!("bytes", whole.header("accept-ranges"));

    let head = lab.head(target).send().await.ok();
    assert_eq!(("11", etag, 0), (head.header("content-length"), head.header("etag"), head.body.len()));

    for (range, expected, stated) in [
        ("bytes=0-4", "hello", "bytes 0-4/11"),
        ("bytes=6-", "world", "bytes 6-10/11"),
        ("bytes=-3", "rld", "bytes 8-10/11"),
        ("bytes=6-99", "world", "bytes 6-10/11"),
    ] {
        let part = lab.get(target).header("range", range).send().await.ok();
        assert_eq!((206, expected.as_bytes(), stated), (part.status, &part.body[..], part.header("content-range")));
    }
    lab.get(target).header("range", "bytes=11-").send().await.refused(416, "RangeNotSatisfiable");
    for (name, value) in [("range", "bytes=9-5"), ("range", "bytes=0-1,3-4")] {
        assert_eq!(200, lab.get(target).header(name, value).send().await.status);
    }
    let other_version = lab.get(target).header("range", "bytes=0-4").header("if-range", "\"other\"").send().await;
    assert_eq!((200, 11), (other_version.status, other_version.body.len()));
    assert_eq!(0, lab.counters.data_bytes_sent());
}

#[tokio::test]
async fn given_a_xet_file_when_resolved_then_metadata_and_a_way_to_its_plain_bytes() {
    let (lab, upload, _) = published().await;
    let head = lab.head("/lab/tiny/resolve/main/model.bin").send().await;

    let commit = head.header("x-repo-commit").to_owned();
    let etag = format!("\"{}\"", upload.sha256);
    let token_url = format!("<{}/api/models/lab/tiny/xet-read-token/{commit}>; rel=\"xet-auth\"", lab.url());
    let expected = [
        ("x-linked-etag", etag.as_str()),
        ("x-linked-size", "3000000"),
        ("x-xet-hash", &upload.file.to_string()),
        ("link", &token_url),
    ];
    assert_eq!(302, head.status);
    for (name, value) in expected {
        assert_eq!(value, head.header(name), "{name}");
    }

    // Clients follow a redirect on the same host before they read the metadata.
    let location = head.header("location").to_owned();
    let followed = lab.head(&location).send().await.ok();
    assert_eq!(("3000000", commit.as_str()), (followed.header("content-length"), followed.header("x-repo-commit")));
    for (name, value) in expected {
        assert_eq!(value, followed.header(name), "{name}");
    }
    assert_eq!(0, lab.counters.data_bytes_sent());

    let whole = lab.get(&location).send().await.ok();
    assert!(upload.content == whole.body);
    for (range, bytes) in
        [("bytes=0-0", 0..1), ("bytes=1000000-2000000", 1_000_000..2_000_001), ("bytes=-7", 2_999_993..3_000_000)]
    {
        let part = lab.get(&location).header("range", range).send().await.ok();
        assert_eq!(206, part.status);
        assert!(upload.content[bytes] == part.body, "{range}");
    }
    lab.get(&location).header("range", "bytes=3000000-").send().await.refused(416, "RangeNotSatisfiable");
}

#[tokio::test]
async fn given_the_signature_of_another_file_when_resolved_then_forbidden() {
    let (lab, _, _) = published().await;
    Upload::of(random(2, 100_000)).publish(&lab, REPO, "secret.bin").await;
    lab.commit(REPO, &[file_line("regular.txt", b"text")]).await.ok();
    let answer = lab.get("/lab/tiny/resolve/main/model.bin").send().await;
    let location = answer.header("location");

    for path in ["secret.bin", "regular.txt"] {
        lab.get(&location.replace("model.bin", path)).send().await.refused(403, "Forbidden");
    }
    let expired = location.replace("expires=", "expires=9");
    lab.get(&expired).send().await.refused(403, "Forbidden");
}

#[tokio::test]
async fn given_changes_to_a_file_when_asked_what_to_know_of_it_then_windows_and_the_gaps_between_them() {
    let (lab, upload, token) = published().await;
    let target = format!("/cas/v2/file-chunk-hashes/{}", upload.file);
    let ask = |ranges: &str| lab.get(&target).header("authorization", &token).header("x-range-dirty", ranges);
    let size = upload.content.len() as u64;

    let answer = ask("bytes=400000-400009,400020-400029").send().await.ok().json();

    assert_eq!(
        (size, upload.shard.xorbs[0].leaves.len() as u64),
        (answer["fileSize"].as_u64().unwrap(), answer["totalChunks"].as_u64().unwrap())
    );
    let windows = answer["windows"].as_array().unwrap();
    assert_eq!((1, 2), (windows.len(), answer["hashRanges"].as_array().unwrap().len()));
    let window: [u64; 2] = serde_json::from_value(windows[0]["dirtyByteRange"].clone()).unwrap();
    assert!(window[0] <= 400_000 && window[1] >= 400_030);
    let before: MerkleHashSubtree = serde_json::from_value(answer["hashRanges"][0].clone()).unwrap();
    assert!(before.is_at_start() && !before.is_at_end());
    // What lies in the window, put between the gaps, makes the file.
    let (mut at, mut inside) = (0, Vec::new());
    for leaf in &upload.shard.xorbs[0].leaves {
        if at >= window[0] && at < window[1] {
            inside.push(*leaf);
        }
        at += u64::from(leaf.length);
    }
    let mut whole = before;
    whole.append(&MerkleHashSubtree::of(&inside, false, window[1] == size)).unwrap();
    if let Ok(behind) = serde_json::from_value::<MerkleHashSubtree>(answer["hashRanges"][1].clone()) {
        whole.append(&behind).unwrap();
    }
    assert_eq!(Some(upload.file), whole.file_hash());

    for bad in
        ["", "bytes=", "bytes=5-3", "bytes=9-12,0-3", "bytes=0-5,5-9", "items=0-1", "bytes=0-18446744073709551615"]
    {
        ask(bad).send().await.refused(400, "BadRequest");
    }
    ask(&format!("bytes={size}-{}", size + 5)).send().await.refused(416, "RangeNotSatisfiable");
    lab.get(&target).header("x-range-dirty", "bytes=0-1").send().await.refused(401, "Unauthorized");
    let unknown = format!("/cas/v2/file-chunk-hashes/{}", "7".repeat(64));
    let asked = lab.get(&unknown).header("authorization", &token).header("x-range-dirty", "bytes=0-1").send().await;
    asked.refused(404, "NotFound");
}
