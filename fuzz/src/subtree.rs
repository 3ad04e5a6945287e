use xet_cas::{Leaf, MerkleHashSubtree};

/// The bytes are the JSON of a run of leaves that was reduced.
pub fn subtree(data: &[u8]) {
    let Ok(subtree) = serde_json::from_slice::<MerkleHashSubtree>(data) else { return };
    let written = serde_json::to_vec(&subtree).expect("there is nothing in it that JSON cannot hold");
    assert_eq!(subtree, serde_json::from_slice(&written).expect("we read what we wrote"));
    assert_eq!(subtree.is_at_start() && subtree.is_at_end(), subtree.xorb_hash().is_some());

    // Whatever it says, it can be appended to something, and something to it, if it says that this may be.
    let leaves: Vec<Leaf> = (0..20_u8).map(|i| Leaf::of(&[i])).collect();
    let mut whole = MerkleHashSubtree::of(&leaves, true, false);
    assert_eq!(!subtree.is_at_start(), whole.append(&subtree).is_ok());
    assert_eq!(!whole.is_at_end(), whole.append(&MerkleHashSubtree::of(&leaves, false, true)).is_ok());
}
