//! What is not public leaks to nobody: a hostile peer that knows every hash learns nothing and gets nothing.

use testkit::{Fault, PeerClient, Rule, Status};
use xet_cas::{Leaf, chunks};

use crate::lab::{Lab, finish};
use crate::serving::{Machine, hash, within};

const SECRET_REPO: &str = "lab/secret";

/// Bytes without a pattern.
fn noise(seed: u32, length: u32) -> Vec<u8> {
    (0..length / 4).flat_map(|at| (at ^ seed).wrapping_mul(0x9e37_79b9).rotate_left(at % 31).to_le_bytes()).collect()
}

/// A machine that has pulled the lab's public model, and a secret repository whose only file begins with all of a
/// public file: its xorb holds public and private chunks.
async fn machine_with_a_secret(lab: &Lab, no_longer: Rule) -> (Machine, Vec<u8>) {
    let folder = lab.folder.path().join("secret");
    std::fs::create_dir(&folder).unwrap();
    let secret = [noise(1, 400_000), noise(2, 400_000)].concat();
    std::fs::write(folder.join("secret.bin"), &secret).unwrap();
    lab.zest(&["publish", folder.to_str().unwrap(), SECRET_REPO]).await.assert_ok();
    let home = lab.folder.path().join("server");
    finish(lab.command_at(&home, &["pull", SECRET_REPO]).spawn().unwrap()).await.assert_ok();
    lab.faulty.add(no_longer);
    (Machine::start(lab, None).await, secret)
}

/// Asks for everything by every hash, in both swarms. Returns how many questions were asked.
async fn pry(lab: &Lab, machine: &Machine, secret: &[u8]) -> usize {
    let authority = lab.faulty.address().to_string();
    let leaves: Vec<Leaf> = chunks(secret).map(Leaf::of).collect();
    let xorb = *Leaf::xorb_hash(&leaves).as_bytes();
    let mut hashes = vec![hash(secret), xorb];
    hashes.extend(leaves.iter().map(|leaf| *leaf.hash.as_bytes()));
    let mut questions = 0;
    for repo in ["lab/model", SECRET_REPO] {
        let swarm = PeerClient::repo_swarm(&authority, "model", repo);
        let mut client = within(PeerClient::connect(machine.address, swarm)).await.unwrap();
        for hash in &hashes {
            assert!(!within(client.has(*hash)).await.unwrap());
            let list = within(client.list(*hash, 0, secret.len() as u64)).await.unwrap();
            let (xorb_list, xorb_data) = within(client.xorb(*hash, 0, 2)).await.unwrap();
            let data = within(client.file_bytes(*hash, 0, 100_000)).await.unwrap();
            for answer in [list, xorb_list, xorb_data, data] {
                assert_eq!((Status::NotFound, 0, 0), (answer.status, answer.entries, answer.chunks.len()));
                questions += 1;
            }
        }
    }
    questions
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_private_repository_beside_a_public_one_when_a_peer_knows_every_hash_then_it_gets_nothing() {
    let public = noise(1, 400_000);
    let lab = Lab::with(None, &[("public.bin", &public)]).await;
    let no_longer = Rule::path_contains(SECRET_REPO, Fault::status(401));
    let (machine, secret) = machine_with_a_secret(&lab, no_longer).await;

    assert!(pry(&lab, &machine, &secret).await > 40);

    // The public file that shares chunks with it is served, and its proofs hold its own chunks alone.
    let swarm = PeerClient::repo_swarm(&lab.faulty.address().to_string(), "model", "lab/model");
    let mut client = within(PeerClient::connect(machine.address, swarm)).await.unwrap();
    let data = within(client.file_bytes(hash(&public), 0, public.len() as u64)).await.unwrap();
    assert!(public == data.bytes(), "the public file is not served");
    drop(client);
    assert_eq!(public.len() as u64, machine.stop().await["data_bytes"].as_u64().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_gated_repository_when_a_peer_knows_every_hash_then_it_gets_nothing() {
    let lab = Lab::new().await;
    // Gated: everybody sees the files, and some may have them.
    let no_longer = Rule::path_contains(format!("{SECRET_REPO}/xet-read-token"), Fault::status(403));
    let (machine, secret) = machine_with_a_secret(&lab, no_longer).await;

    assert!(pry(&lab, &machine, &secret).await > 40);

    assert_eq!(0, machine.stop().await["data_bytes"]);
}
