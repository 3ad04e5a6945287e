//! What a CAS may say that is not so. Nothing of it panics, hangs, or passes for the file.

use serde_json::{Value, json};
use testkit::{Fault, Rule};
use xet_cas::client::{Error, ErrorKind};

use super::lab::{DATA, Lab, Script, Xorb, one};

async fn script(change: impl FnOnce(&mut Value)) -> (Script, Vec<u8>) {
    let xorb = Xorb::new(1, &[30_000, 9_000, 50_000, 8_192]);
    let mut script = Script::new(std::slice::from_ref(&xorb), &[(0, 0..3), (0, 1..4)], &[(0, one(0..4))]).await;
    change(&mut script.answer);
    script.give_answer();
    (script, xorb.records)
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_reconstruction_that_is_not_of_the_file_when_read_then_refused_before_any_data() {
    let lies: [fn(&mut Value); 13] = [
        |answer| answer["terms"] = json!([]),
        |answer| drop(answer["terms"].as_array_mut().unwrap().pop()),
        |answer| {
            let term = answer["terms"][0].clone();
            answer["terms"].as_array_mut().unwrap().push(term);
        },
        |answer| answer["offset_into_first_range"] = 89_000.into(),
        |answer| answer["offset_into_first_range"] = u64::MAX.into(),
        |answer| answer["terms"][0]["unpacked_length"] = 1.into(),
        |answer| answer["terms"][0]["unpacked_length"] = u32::MAX.into(),
        |answer| answer["terms"][0]["range"] = json!({ "start": 3, "end": 0 }),
        |answer| answer["terms"][1]["range"] = json!({ "start": 2, "end": 9 }),
        |answer| answer["terms"][1]["hash"] = "00".repeat(32).into(),
        |answer| {
            for entry in answer["xorbs"].as_object_mut().unwrap().values_mut() {
                entry[0]["ranges"][0]["bytes"] = json!({ "start": 0, "end": u64::MAX - 1 });
            }
        },
        |answer| {
            for entry in answer["xorbs"].as_object_mut().unwrap().values_mut() {
                entry[0]["ranges"][0]["bytes"] = json!({ "start": 9, "end": 3 });
            }
        },
        |answer| {
            for entry in answer["xorbs"].as_object_mut().unwrap().values_mut() {
                entry[0]["ranges"][0]["chunks"] = json!({ "start": 0, "end": 4_000_000_000_u32 });
            }
        },
    ];
    for (at, lie) in lies.into_iter().enumerate() {
        let (script, _) = script(lie).await;

        let error = script.read().await.unwrap_err();

        assert_eq!(ErrorKind::Network, error.kind(), "{at}: {error}");
        assert_eq!(0, script.requests("/data/"), "{at}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_entries_that_overlap_when_read_then_the_file_all_the_same() {
    let xorb = Xorb::new(1, &[30_000, 9_000, 50_000, 8_192]);
    let entries = [(0, one(0..3)), (0, one(1..4)), (0, one(0..1))];
    let script = Script::new(std::slice::from_ref(&xorb), &[(0, 0..3), (0, 1..4), (0, 0..1)], &entries).await;
    script.give_answer();
    entries
        .iter()
        .enumerate()
        .for_each(|(at, (_, chunks))| script.give_data(at, "x/y", xorb.slice(&chunks[0]).to_vec()));

    assert!(script.read().await.unwrap() == script.content);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_data_that_is_not_the_entry_when_read_then_tried_again_and_refused() {
    let (_, good) = script(|_| {}).await;
    let one_more = [good.clone(), good[..38].to_vec()].concat();
    let swapped_length = {
        let mut data = good.clone();
        data[5] ^= 1;
        data
    };
    let other = Xorb::new(2, &[30_000, 9_000, 50_000, 8_192]).records;
    let mut flipped = good.clone();
    flipped[5_000] ^= 1;
    for (data, attempts) in [
        (Vec::new(), 1),
        (good[..good.len() - 1].to_vec(), 1),
        (one_more, 1),
        (swapped_length, 3),
        (vec![0; good.len()], 3),
        (vec![b'X'; good.len()], 3),
        // These decode, and only the name of the file tells.
        (flipped, 1),
        (other, 1),
    ] {
        let (script, _) = script(|_| {}).await;
        script.give_data(0, "x/y", data);

        let error = script.read().await.unwrap_err();

        assert!(matches!(error, Error::Format { .. } | Error::Malformed { .. }), "{error}");
        assert_eq!(attempts, script.requests("/data/"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_body_that_breaks_or_stalls_when_read_then_what_came_is_not_handed_on_twice() {
    let lab = Lab::new().await;
    for fault in [
        Fault::TruncateAfter(700_000),
        Fault::StallAfter(600_000),
        Fault::FlipBit { offset: 4 },
        Fault::WrongLength { by: -1 },
        Fault::NeverAnswer,
        Fault::Reset,
        Fault::status(503),
    ] {
        lab.faulty.clear();
        lab.faulty.add(Rule::path_contains(DATA, fault.clone()).times(1));

        let read = lab.read(..).await;

        match (read, fault) {
            (Err(Error::Malformed { .. }), Fault::WrongLength { .. }) => {}
            (read, fault) => {
                assert!(read.as_ref().is_ok_and(|read| *read == lab.large.1), "{fault:?}: {:?}", read.err())
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_connections_that_break_each_a_little_later_when_read_then_every_one_brings_it_further() {
    let lab = Lab::new().await;
    // Each by more than a chunk, all of them within the first batch.
    for bytes in [150_000, 290_000, 430_000] {
        lab.faulty.add(Rule::path_contains(DATA, Fault::TruncateAfter(bytes)).times(1));
    }

    assert!(lab.read(..).await.unwrap() == lab.large.1);

    assert_eq!(4, lab.seen(DATA).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_source_that_never_gets_better_when_read_then_it_ends_with_an_error() {
    let lab = Lab::new().await;
    for fault in [Fault::StallAfter(0), Fault::TruncateAfter(16), Fault::FlipBit { offset: 4 }, Fault::Html] {
        lab.faulty.clear();
        lab.faulty.add(Rule::path_contains(DATA, fault.clone()));

        assert!(lab.read(..).await.is_err(), "{fault:?}");
    }
}
