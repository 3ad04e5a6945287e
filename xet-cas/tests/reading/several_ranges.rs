//! Several ranges in one request.

use testkit::{Fault, Rule, SeenRequest};
use xet_cas::client::{Error, ReadOptions};

use super::lab::{Script, Xorb, all};

const BOUNDARY: &str = "multipart/byteranges; boundary=\"THE END\"";

fn xorb() -> Xorb {
    Xorb::new(1, &[30_000, 9_000, 50_000, 8_192, 20_000])
}

/// A file of the first, third and last chunk, whose ranges have one URL.
async fn script(xorb: &Xorb) -> Script {
    let terms = [(0, 0..1), (0, 4..5), (0, 2..3), (0, 0..1)];
    let script = Script::new(std::slice::from_ref(xorb), &terms, &[(0, vec![0..1, 2..3, 4..5])]).await;
    script.give_answer();
    script
}

fn parts(xorb: &Xorb) -> String {
    let part = |chunks: std::ops::Range<usize>| {
        let (start, end) = (xorb.offsets[chunks.start], xorb.offsets[chunks.end] - 1);
        // As text, byte by byte: the data is noise.
        let data: String = xorb.slice(&chunks).iter().map(|byte| char::from(*byte)).collect();
        format!("--THE END\r\nContent-Type: x/y\r\nContent-Range: bytes {start}-{end}/999999\r\n\r\n{data}\r\n")
    };
    format!("{}{}{}--THE END--\r\n", part(0..1), part(2..3), part(4..5))
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

async fn read(script: &Script) -> Result<Vec<u8>, Error> {
    all(script.reader(|config| config.multi_range = true, &ReadOptions::default()).await).await
}

fn ranges(script: &Script) -> Vec<String> {
    let range = |seen: &SeenRequest| seen.header("range").unwrap().to_owned();
    script.faulty.requests().iter().filter(|seen| seen.target.contains("/data/")).map(range).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn given_ranges_of_one_url_when_wanted_at_once_then_one_request_as_listed() {
    let xorb = xorb();
    for is_multipart in [true, false] {
        let script = script(&xorb).await;
        let plain = [0..1, 2..3, 4..5].map(|chunks| xorb.slice(&chunks).to_vec()).concat();
        match is_multipart {
            true => script.give_data(0, BOUNDARY, bytes(&parts(&xorb))),
            false => script.give_data(0, "application/octet-stream", plain),
        }

        assert!(read(&script).await.unwrap() == script.content);

        let ends: Vec<String> = [0, 2, 4].map(|at| format!("{}-{}", xorb.offsets[at], xorb.offsets[at + 1] - 1)).into();
        assert_eq!([format!("bytes={}", ends.join(","))], ranges(&script)[..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_ranges_of_one_url_when_not_told_otherwise_then_one_request_each() {
    let xorb = xorb();
    let script = script(&xorb).await;
    let each = [0..1, 2..3, 4..5].map(|chunks| {
        let range = format!("bytes={}-{}", xorb.offsets[chunks.start], xorb.offsets[chunks.end] - 1);
        let body = xorb.slice(&chunks).to_vec().into();
        let fault = Fault::Status { code: 206, headers: Vec::new(), body };
        script.faulty.add(Rule::path_starts_with("/data/0?", fault).header("range", &range));
        range
    });

    assert!(script.read().await.unwrap() == script.content);

    let mut asked = ranges(&script);
    asked.sort_unstable();
    assert_eq!(each[..], asked[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_parts_that_are_not_those_when_read_then_refused() {
    let xorb = xorb();
    let good = parts(&xorb);
    let at = |needle: &str| good.find(needle).unwrap();
    let second = at(&format!("--THE END\r\nContent-Type: x/y\r\nContent-Range: bytes {}", xorb.offsets[2]));
    for (lie, content_type) in [
        (good.replace("THE END", "another"), BOUNDARY),
        (good.replacen("Content-Range", "X-Range", 1), BOUNDARY),
        (format!("{}--THE END--\r\n", &good[..second]), BOUNDARY),
        (format!("{}{}", &good[second..], &good[..second]), BOUNDARY),
        (good[..good.len() - 30].to_owned(), BOUNDARY),
        (good.clone() + &"x".repeat(100_000), BOUNDARY),
        (good.clone(), "multipart/byteranges"),
        (good.clone(), "x/y"),
    ] {
        let script = script(&xorb).await;
        script.give_data(0, content_type, bytes(&lie));

        let error = read(&script).await.unwrap_err();

        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_server_that_gives_no_several_ranges_when_read_then_asked_for_one_by_one() {
    let xorb = xorb();
    let slices = [0..1, 2..3, 4..5].map(|chunks| xorb.slice(&chunks).to_vec());
    for (code, body) in [(200, xorb.records.clone()), (206, slices[0].clone())] {
        let script = script(&xorb).await;
        for (code, body) in [(code, body), (206, slices[0].clone()), (206, slices[1].clone()), (206, slices[2].clone())]
        {
            let fault = Fault::Status { code, headers: Vec::new(), body: body.into() };
            script.faulty.add(Rule::path_starts_with("/data/0?", fault).times(1));
        }

        assert!(read(&script).await.unwrap() == script.content);

        let commas: Vec<usize> = ranges(&script).iter().map(|range| range.matches(',').count()).collect();
        assert_eq!([2, 0, 0, 0], commas[..]);
    }
}
