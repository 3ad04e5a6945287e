//! Replays the committed seeds under every law, and checks that they are worth beginning from.

#[cfg(test)]
mod corpus {
    mod bencode_seeds;
    mod bt_wire_seeds;

    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use bep_xet::{Dialect, Message};
    use xet_cas::shard::{LookupTables, Shard, ShardFile, StoredShard};
    use xet_cas::xorb::{Footer, Record, Records};
    use xet_cas::{CompressionPolicy, MerkleHashSubtree, Reconstruction, Scheme};
    use zest_fuzz::{MessagesRecipe, ShardRecipe, XorbRecipe};

    type Law = fn(&[u8]);

    const TARGETS: [(&str, Law); 14] = [
        ("bencode", zest_fuzz::bencode),
        ("bencode_there_and_back", zest_fuzz::bencode_there_and_back),
        ("bt_wire", zest_fuzz::bt_wire),
        ("bt_wire_there_and_back", zest_fuzz::bt_wire_there_and_back),
        ("bep_xet", zest_fuzz::bep_xet),
        ("bep_xet_there_and_back", zest_fuzz::bep_xet_there_and_back),
        ("xorb", zest_fuzz::xorb),
        ("xorb_there_and_back", zest_fuzz::xorb_there_and_back),
        ("shard", zest_fuzz::shard),
        ("shard_there_and_back", zest_fuzz::shard_there_and_back),
        ("reconstruction", zest_fuzz::reconstruction),
        ("subtree", zest_fuzz::subtree),
        ("multipart", zest_fuzz::multipart),
        ("multipart_there_and_back", zest_fuzz::multipart_there_and_back),
    ];

    #[test]
    fn given_the_committed_seeds_when_replayed_then_every_law_holds() {
        for (target, law) in TARGETS {
            for (name, bytes) in seeds(target) {
                println!("{target}/{name}");
                law(&bytes);
            }
        }
    }

    #[test]
    fn given_the_committed_seeds_when_cut_or_changed_then_every_law_holds() {
        for (target, law) in TARGETS {
            for (name, bytes) in seeds(target) {
                for at in (0..bytes.len()).step_by(1 + bytes.len() / 100) {
                    println!("{target}/{name} at {at}");
                    let mut changed = bytes.clone();
                    changed[at] ^= 0x81;
                    law(&changed);
                    law(&bytes[..at]);
                }
            }
        }
    }

    #[test]
    fn given_no_input_when_any_law_is_tried_then_it_holds() {
        TARGETS.iter().for_each(|(_, law)| law(&[]));
    }

    #[test]
    fn given_the_fuzz_targets_when_listed_then_each_has_seeds_and_a_law_here() {
        let listed = |folder: &str| -> BTreeSet<String> {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let name = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_string_lossy().into_owned();
            fs::read_dir(folder).unwrap().map(|entry| name(entry.unwrap())).collect()
        };
        let here: BTreeSet<String> = TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();

        assert_eq!(here, listed("fuzz_targets"));
        assert_eq!(here, listed("seeds"));
    }

    #[test]
    fn given_the_xorb_seeds_when_decoded_then_every_scheme_and_kind_of_frame_and_footers_are_among_them() {
        let seeds = seeds("xorb");
        let mut schemes = BTreeSet::new();
        let (mut plain_frames, mut other_frames, mut with_footer, mut without_footer, mut malformed) = (0, 0, 0, 0, 0);
        for (_, bytes) in &seeds {
            let mut records = Records::new(bytes);
            for record in &mut records {
                match record {
                    Ok(Record { header, payload }) => {
                        schemes.insert(header.scheme.id());
                        if header.scheme != Scheme::None {
                            *(if payload[4] == 0x60 { &mut plain_frames } else { &mut other_frames }) += 1;
                        }
                    }
                    Err(_) => malformed += 1,
                }
            }
            match Footer::decode_from_end(bytes) {
                Ok(_) => with_footer += 1,
                Err(_) => without_footer += 1,
            }
        }

        assert_eq!(BTreeSet::from([0, 1, 2]), schemes);
        for reached in [plain_frames, other_frames, with_footer, without_footer, malformed] {
            assert_ne!(0, reached);
        }
    }

    #[test]
    fn given_the_xorb_recipes_when_built_then_every_policy_and_scheme_is_among_them() {
        let recipes: Vec<XorbRecipe> =
            seeds("xorb_there_and_back").iter().map(|(_, bytes)| XorbRecipe::read(bytes)).collect();
        let has = |policy| recipes.iter().any(|recipe| recipe.policy == policy && !recipe.chunks.is_empty());
        let scheme = |record: Result<Record<'_>, _>| record.unwrap().header.scheme.id();
        let schemes = |recipe: &XorbRecipe| Records::new(&recipe.build().records).map(scheme).collect::<Vec<_>>();

        assert!(has(CompressionPolicy::Auto));
        for scheme in [Scheme::None, Scheme::Lz4, Scheme::Bg4Lz4] {
            assert!(has(CompressionPolicy::Always(scheme)));
        }
        assert_eq!(BTreeSet::from([0, 1, 2]), recipes.iter().flat_map(schemes).collect());
        assert!(recipes.iter().any(|recipe| recipe.chunks.is_empty()));
    }

    #[test]
    fn given_the_shard_seeds_when_decoded_then_every_kind_of_entry_is_among_them() {
        let decoded: Vec<_> = seeds("shard").iter().map(|(_, bytes)| Shard::decode_upload(bytes)).collect();

        assert!(decoded.iter().any(Result::is_err));
        check_every_kind_of_entry(decoded.into_iter().flatten());
    }

    #[test]
    fn given_the_shard_recipes_when_built_then_every_kind_of_entry_is_among_them() {
        check_every_kind_of_entry(
            seeds("shard_there_and_back").iter().map(|(_, bytes)| ShardRecipe::read(bytes).shard),
        );
    }

    fn check_every_kind_of_entry(shards: impl Iterator<Item = Shard>) {
        let shards: Vec<Shard> = shards.collect();
        let files: Vec<&ShardFile> = shards.iter().flat_map(|shard| &shard.files).collect();
        let kinds: BTreeSet<_> = files
            .iter()
            .map(|file| (!file.terms.is_empty(), file.verification.is_some(), file.sha256.is_some()))
            .collect();

        for (verified, with_sha256) in [(false, false), (false, true), (true, false), (true, true)] {
            assert!(kinds.contains(&(true, verified, with_sha256)), "verified: {verified}, SHA-256: {with_sha256}");
        }
        assert!(files.iter().any(|file| file.terms.is_empty()));
        assert!(shards.iter().any(|shard| shard.xorbs.iter().any(|xorb| xorb.leaves.len() > 1)));
        assert!(shards.iter().any(|shard| *shard == Shard::default()));
    }

    #[test]
    fn given_the_stored_shard_seeds_when_decoded_then_every_form_is_among_them() {
        let decode = |(name, bytes): &(String, Vec<u8>)| Some((name.clone(), StoredShard::decode(bytes).ok()?));
        let stored: Vec<(String, StoredShard)> = seeds("shard").iter().filter_map(decode).collect();

        check_every_form(stored.iter().map(|(_, stored)| stored));
        for (name, bytes) in seeds("shard").iter().filter(|(name, _)| name == "stored_by_a_client") {
            let tables = u64::from_le_bytes(*bytes[bytes.len() - 200 + 64..].first_chunk().unwrap());
            assert_ne!(0, tables, "{name} has a table of chunks");
        }
    }

    #[test]
    fn given_the_stored_shard_recipes_when_built_then_every_form_and_table_is_among_them() {
        let recipes: Vec<ShardRecipe> =
            seeds("shard_there_and_back").iter().map(|(_, bytes)| ShardRecipe::read(bytes)).collect();

        check_every_form(recipes.iter().map(|recipe| &recipe.stored));
        let tables = |table: fn(&LookupTables) -> bool| recipes.iter().map(move |recipe| table(&recipe.tables));
        for table in [tables(|tables| tables.files), tables(|tables| tables.xorbs), tables(|tables| tables.chunks)] {
            assert_eq!(BTreeSet::from([false, true]), table.collect());
        }
    }

    fn check_every_form<'a>(shards: impl Iterator<Item = &'a StoredShard>) {
        let shards: Vec<&StoredShard> = shards.collect();
        let has = |form: fn(&StoredShard) -> bool| shards.iter().any(|shard| form(shard));

        assert!(has(|shard| shard.key.is_some()) && has(|shard| shard.key.is_none()));
        assert!(has(|shard| shard.created != 0) && has(|shard| shard.created == 0));
        assert!(has(|shard| shard.xorbs.iter().any(|xorb| xorb.global_dedup_chunks.is_empty())));
        assert!(has(|shard| shard.xorbs.iter().any(|xorb| !xorb.global_dedup_chunks.is_empty())));
        assert!(has(|shard| shard.files.is_empty()) && has(|shard| !shard.files.is_empty()));
    }

    #[test]
    fn given_the_xorb_seeds_when_read_then_footers_of_both_versions_and_a_nonce_are_among_them() {
        let seeds = seeds("xorb");
        let stored = |name: &str| &seeds.iter().find(|(seed, _)| seed == name).unwrap().1;
        for name in ["with_footer", "with_nonce", "with_footer_of_version_0"] {
            assert!(Footer::decode_stored(stored(name)).is_ok(), "{name}");
        }
        assert!(Footer::decode_from_end(stored("with_footer_of_version_0")).is_err());
        assert_ne!(stored("with_footer"), stored("with_nonce"));
    }

    #[test]
    fn given_the_reconstruction_seeds_when_read_then_both_versions_with_all_and_without_anything_are_among_them() {
        let seeds = seeds("reconstruction");
        let v1 = seeds.iter().filter_map(|(_, bytes)| Reconstruction::from_json_v1(bytes).ok());
        let v2 = seeds.iter().filter_map(|(_, bytes)| Reconstruction::from_json_v2(bytes).ok());
        let bytes = |answer: &Reconstruction| answer.terms.iter().map(|term| u64::from(term.unpacked_length)).sum();
        let mut reached = BTreeSet::new();
        for (version, answers) in [(1, v1.collect::<Vec<_>>()), (2, v2.collect())] {
            for answer in answers {
                let is_sound = answer.check_whole_file(bytes(&answer)).is_ok();
                reached.insert((version, is_sound, answer.terms.len().min(2)));
            }
        }

        for version in [1, 2] {
            for terms in 0..=2 {
                assert!(reached.contains(&(version, true, terms)), "version {version}, {terms} terms: {reached:?}");
            }
        }
        assert!(reached.contains(&(2, false, 1)));
    }

    #[test]
    fn given_the_subtree_seeds_when_read_then_every_place_in_a_list_is_among_them() {
        let seeds = seeds("subtree");
        let read: Vec<Option<MerkleHashSubtree>> =
            seeds.iter().map(|(_, bytes)| serde_json::from_slice(bytes).ok()).collect();
        let places: BTreeSet<_> =
            read.iter().flatten().map(|subtree| (subtree.is_at_start(), subtree.is_at_end())).collect();

        assert_eq!(4, places.len());
        assert!(read.contains(&None));
        let several_levels = |(_, bytes): &(String, Vec<u8>)| {
            serde_json::from_slice::<serde_json::Value>(bytes)
                .is_ok_and(|json| json["levels"].as_array().is_some_and(|levels| levels.len() > 2))
        };
        assert!(seeds.iter().any(several_levels));
    }

    #[test]
    fn given_the_bep_xet_seeds_when_decoded_then_every_message_and_variant_is_among_them() {
        let decode = |(dialect, bytes): (Dialect, Vec<u8>)| {
            Message::decode_in(dialect, bytes.into(), &bep_xet::Limits::default())
        };
        let in_all = |(_, bytes): (String, Vec<u8>)| DIALECTS.map(|dialect| (dialect, bytes.clone()));
        let decoded: Vec<_> = seeds("bep_xet").into_iter().flat_map(in_all).map(decode).collect();
        let handshakes = seeds("bep_xet").into_iter().filter(|(_, bytes)| bencode::decode(bytes).is_ok());

        assert!(decoded.iter().any(Result::is_err));
        assert_eq!(1, handshakes.count());
        check_every_variant(decoded.into_iter().flatten());
    }

    #[test]
    fn given_the_bep_xet_recipes_when_built_then_every_message_and_variant_is_among_them() {
        let recipes: Vec<_> =
            seeds("bep_xet_there_and_back").iter().map(|(_, bytes)| MessagesRecipe::read(bytes)).collect();

        for dialect in DIALECTS {
            let has_messages = |recipe: &MessagesRecipe| recipe.dialect == dialect && recipe.messages.len() > 5;
            assert!(recipes.iter().any(has_messages), "{dialect}");
        }
        let messages: Vec<Message> = recipes.into_iter().flat_map(|recipe| recipe.messages).collect();
        assert!(messages.iter().any(|message| matches!(message, Message::ChunkData(_))));
        check_every_variant(messages.into_iter());
    }

    const DIALECTS: [Dialect; 3] = [Dialect::Base, Dialect::Ranged, Dialect::V2];

    fn check_every_variant(messages: impl Iterator<Item = Message>) {
        let mut reached = BTreeSet::new();
        for message in messages {
            reached.insert(name(&message));
            match message {
                Message::HaveQuery(query) => reached.extend(query.objects.iter().map(|object| name(&object.kind))),
                Message::Have(have) => reached.extend(have.entries.iter().map(|entry| name(&entry.state))),
                Message::ManifestRequest(request) => _ = reached.insert(name(&request.query.form)),
                Message::Manifest(manifest) => _ = reached.insert(format!("{:?} list", manifest.form())),
                Message::RangeRequest(request) => _ = reached.insert(name(&request.range.unit)),
                Message::ChunkRequest(request) => {
                    _ = reached.insert(format!("request in ranges: {}", request.chunks.is_some()));
                }
                Message::ChunkResponse(response) => {
                    _ = reached.insert(format!("response from an offset: {}", response.chunk_offset.is_some()));
                }
                Message::ChunkNotFound(answer) => _ = reached.insert(format!("with hash: {}", answer.hash.is_some())),
                Message::ChunkError(answer) => _ = reached.insert(format!("with text: {}", !answer.text.is_empty())),
                Message::End(end) => _ = reached.insert(format!("END {}", name(&end.status))),
                _ => {}
            }
        }

        let messages = "HaveQuery Have ManifestRequest Manifest RangeRequest Chunk End Cancel Ping Pong";
        let objects = "Unknown UnknownRequest Xorb File Chunk None All Runs Claimed Run FileBytes";
        for expected in messages.split(' ').chain(objects.split(' ')) {
            assert!(reached.contains(expected), "{expected}: {reached:?}");
        }
        for expected in ["request in ranges", "response from an offset", "with hash", "with text"] {
            for is_so in [false, true] {
                assert!(reached.contains(&format!("{expected}: {is_so}")), "{expected}: {is_so}: {reached:?}");
            }
        }
        for expected in ["Whole list", "Run list", "END Done", "END Busy", "END Unknown"] {
            assert!(reached.contains(expected), "{expected}: {reached:?}");
        }
    }

    /// Name of a variant.
    fn name(variant: &impl std::fmt::Debug) -> String {
        format!("{variant:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
    }

    /// Names and contents of a target's seeds.
    fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
        let mut seeds: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect();
        seeds.sort();
        assert!(!seeds.is_empty());
        seeds
    }
}
