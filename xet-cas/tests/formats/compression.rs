use std::io::{Read, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use proptest::prelude::*;
use xet_cas::{CHUNK_BYTES_MAX, CompressionPolicy, Compressor, Decompressor, Error, Scheme, SchemeChooser};

use super::samples::{config, contents, f32_ramp, splitmix};
use super::vectors::{cases, hex, hex32, input, number, section, text};

const SCHEMES: [Scheme; 3] = [Scheme::None, Scheme::Lz4, Scheme::Bg4Lz4];

#[test]
fn given_a_chunk_when_a_scheme_is_chosen_then_the_deployed_client_chooses_the_same() {
    let mut compressor = Compressor::new();
    for case in cases(section("chunk_serialize_auto")) {
        let (name, raw) = (text(&case["name"]), input(&case["input"]));

        let chosen = CompressionPolicy::Auto.choose(&raw);
        let (stored_as, stored) = compressor.compress(chosen, &raw);

        assert_eq!(number(&case["raw_len_field"]), raw.len() as u64, "{name}");
        assert_eq!(scheme(text(&case["predictor_choice"])), chosen, "{name}");
        assert_eq!(number(&case["stored_scheme_id"]), u64::from(stored_as.id()), "{name}");
        // Compressed bytes depend on the encoder, so another release may differ a little.
        let deployed = number(&case["stored_len_field"]);
        assert!(stored.len() as u64 <= deployed + deployed / 50, "{name}: {} bytes, deployed {deployed}", stored.len());
        assert_eq!(raw, decompress(stored_as, stored, raw.len()).unwrap(), "{name}");
    }
}

#[test]
fn given_more_than_one_block_when_compressed_then_the_deployed_client_decodes_it_and_so_do_we() {
    for length in [65_535, 65_536, 65_537, 262_144, 262_145, 600_000] {
        let raw = [splitmix(9, 1000), vec![0; length - 2000], splitmix(10, 1000)].concat();

        let mut compressor = Compressor::new();
        let (scheme, stored) = compressor.compress(Scheme::Lz4, &raw);

        assert_eq!(Scheme::Lz4, scheme);
        assert_eq!(Some(&raw), decompress_as_deployed(stored).ok().as_ref(), "{length} bytes");
        assert_eq!(Ok(&raw), decompress(scheme, stored, length).as_ref(), "{length} bytes");
    }
}

#[test]
fn given_a_policy_that_predicts_when_schemes_are_chosen_then_anew_every_32_chunks_and_where_a_run_begins() {
    let (grouped, plain) = (f32_ramp(65_536), b"text ".repeat(1_000));
    let mut schemes = SchemeChooser::new(CompressionPolicy::Auto);

    assert_eq!(Scheme::Bg4Lz4, schemes.choose(&grouped));
    for _ in 1..32 {
        assert_eq!(Scheme::Bg4Lz4, schemes.choose(&plain));
    }
    assert_eq!(Scheme::Lz4, schemes.choose(&plain));
    assert_eq!(Scheme::Lz4, schemes.choose(&grouped));
    schemes.begin_run();
    assert_eq!(Scheme::Bg4Lz4, schemes.choose(&grouped));
}

#[test]
fn given_a_fixed_policy_when_a_scheme_is_chosen_then_it_is_that_one_whatever_the_chunk() {
    for scheme in SCHEMES {
        assert_eq!(scheme, CompressionPolicy::Always(scheme).choose(&f32_ramp(65_536)));
        assert_eq!(scheme, CompressionPolicy::Always(scheme).choose(&[]));
    }
}

#[test]
fn given_frames_of_the_deployed_client_when_decoded_then_the_same_bytes() {
    for case in cases(section("lz4_frames")) {
        let (name, length) = (text(&case["name"]), number(&case["raw_len"]) as usize);
        for (scheme, frame) in [(Scheme::Lz4, &case["lz4_frame_hex"]), (Scheme::Bg4Lz4, &case["bg4_lz4_frame_hex"])] {
            let raw = decompress(scheme, &hex(frame), length).unwrap();

            assert_eq!(hex32(&case["raw_blake3"]), <[u8; 32]>::from(blake3::hash(&raw)), "{name} as {scheme:?}");
        }
    }
}

#[test]
fn given_frames_of_the_deployed_client_when_another_length_was_announced_then_refused() {
    for case in cases(section("lz4_frames")) {
        let length = number(&case["raw_len"]) as usize;
        for (scheme, frame) in [(Scheme::Lz4, &case["lz4_frame_hex"]), (Scheme::Bg4Lz4, &case["bg4_lz4_frame_hex"])] {
            for announced in [length + 1, length.saturating_sub(1), 0] {
                if announced != length {
                    assert_refused(decompress(scheme, &hex(frame), announced));
                }
            }
        }
    }
}

#[test]
fn given_every_kind_of_frame_another_writer_may_produce_when_decoded_then_the_same_bytes() {
    let raw = [splitmix(3, 70_000), vec![0; 30_000], f32_ramp(31_072)].concat();
    for block_size in [BlockSize::Max64KB, BlockSize::Max256KB] {
        for block_mode in [BlockMode::Independent, BlockMode::Linked] {
            for (block_checksums, content_checksum, content_size) in
                [(false, false, None), (true, false, None), (false, true, None), (true, true, Some(raw.len() as u64))]
            {
                let info = FrameInfo::new()
                    .block_size(block_size)
                    .block_mode(block_mode)
                    .block_checksums(block_checksums)
                    .content_checksum(content_checksum)
                    .content_size(content_size);

                let decoded = decompress(Scheme::Lz4, &frame(&info, &raw), raw.len());

                assert_eq!(Ok(&raw), decoded.as_ref(), "{info:?}");
            }
        }
    }
}

#[test]
fn given_a_frame_with_blocks_above_256_kib_when_decoded_then_refused() {
    for block_size in [BlockSize::Max1MB, BlockSize::Max4MB] {
        let frame = frame(&FrameInfo::new().block_size(block_size), &[1; 1000]);

        assert_refused(decompress(Scheme::Lz4, &frame, 1000));
    }
}

#[test]
fn given_a_block_longer_than_its_frame_allows_when_decoded_then_refused_as_the_deployed_client_does() {
    let raw = vec![5; CHUNK_BYTES_MAX];
    let mut small_blocks = frame(&FrameInfo::new().block_size(BlockSize::Max256KB), &raw);
    let header_of_small_blocks = frame(&FrameInfo::new().block_size(BlockSize::Max64KB), &[]);
    small_blocks[..7].copy_from_slice(&header_of_small_blocks[..7]);

    assert!(decompress_as_deployed(&small_blocks).is_err());
    assert_refused(decompress(Scheme::Lz4, &small_blocks, raw.len()));
}

#[test]
fn given_a_frame_with_a_wrong_header_checksum_when_decoded_then_refused_as_the_deployed_client_does() {
    let mut frame = frame(&FrameInfo::new(), &[5; 1000]);
    frame[6] ^= 1;

    assert!(decompress_as_deployed(&frame).is_err());
    assert_refused(decompress(Scheme::Lz4, &frame, 1000));
}

#[test]
fn given_an_empty_block_before_the_last_when_decoded_then_refused_as_it_ends_the_frame_for_the_deployed_client() {
    const STORED: u32 = 1 << 31;
    let frame = frame(&FrameInfo::new(), &splitmix(1, 100));
    let (header, blocks) = frame.split_at(7);
    let with_empty_block = [header, &STORED.to_le_bytes(), blocks].concat();

    assert_ne!(Some(100), decompress_as_deployed(&with_empty_block).ok().map(|decoded| decoded.len()));
    assert_refused(decompress(Scheme::Lz4, &with_empty_block, 100));
}

#[test]
fn given_bytes_behind_a_frame_when_decoded_then_refused() {
    let plain = frame(&FrameInfo::new(), &[5; 1000]);
    let linked = frame(&FrameInfo::new().block_mode(BlockMode::Linked), &[5; 1000]);

    for frame in [plain, linked] {
        assert_refused(decompress(Scheme::Lz4, &[&frame[..], &[0]].concat(), 1000));
        assert_refused(decompress(Scheme::Lz4, &[&frame[..], &frame[..]].concat(), 1000));
        assert_refused(decompress(Scheme::Lz4, &[&frame[..], &frame[..]].concat(), 2000));
    }
}

#[test]
fn given_scheme_ids_when_read_then_only_the_three_that_deployed_clients_write_are_known() {
    for id in 0..=u8::MAX {
        let read = Scheme::from_id(id);

        match SCHEMES.get(usize::from(id)) {
            Some(scheme) => assert_eq!((Ok(*scheme), id), (read, scheme.id())),
            None => assert_eq!(Err(Error::UnknownScheme { scheme: id }), read),
        }
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn given_any_chunks_when_compressed_with_any_scheme_then_each_decodes_to_itself(
        chunks in proptest::collection::vec(contents(CHUNK_BYTES_MAX), 1..4),
    ) {
        let (mut compressor, mut decompressor) = (Compressor::new(), Decompressor::new());
        for (raw, scheme) in chunks.iter().flat_map(|raw| SCHEMES.map(|scheme| (raw, scheme))) {
            let (stored_as, stored) = compressor.compress(scheme, raw);

            prop_assert!(stored.len() <= raw.len());
            prop_assert!(stored_as == scheme || stored_as == Scheme::None);
            let mut decoded = vec![0xaa; raw.len()];
            prop_assert_eq!(Ok(()), decompressor.decompress_into(stored_as, stored, &mut decoded));
            prop_assert_eq!(raw, &decoded);
        }
    }

    #[test]
    fn given_any_chunk_when_compressed_then_in_the_very_frame_of_the_deployed_client(
        chunks in proptest::collection::vec(contents(CHUNK_BYTES_MAX), 1..4),
    ) {
        let mut compressor = Compressor::new();
        for raw in &chunks {
            let deployed = frame(&FrameInfo::new(), raw);

            let (stored_as, stored) = compressor.compress(Scheme::Lz4, raw);

            prop_assert_eq!(stored_as == Scheme::Lz4, deployed.len() < raw.len());
            prop_assert_eq!(stored, if stored_as == Scheme::Lz4 { &deployed } else { raw });
        }
    }

    #[test]
    fn given_any_damage_to_a_frame_when_it_still_decodes_then_the_deployed_client_decodes_it_to_the_same(
        raw in contents(2000),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
        linked: bool,
    ) {
        let mode = if linked { BlockMode::Linked } else { BlockMode::Independent };
        let mut frame = frame(&FrameInfo::new().block_mode(mode), &raw);
        for (at, flip) in damage {
            *at.get_mut(&mut frame) ^= flip;
        }

        if let Ok(decoded) = decompress(Scheme::Lz4, &frame, raw.len()) {
            prop_assert_eq!(Some(decoded), decompress_as_deployed(&frame).ok());
        }
    }
}

fn scheme(config_name: &str) -> Scheme {
    match config_name {
        "none" => Scheme::None,
        "lz4" => Scheme::Lz4,
        "bg4-lz4" => Scheme::Bg4Lz4,
        unknown => panic!("scheme {unknown}"),
    }
}

fn decompress(scheme: Scheme, stored: &[u8], raw_length: usize) -> Result<Vec<u8>, Error> {
    let mut out = vec![0xaa; raw_length];
    Decompressor::new().decompress_into(scheme, stored, &mut out).map(|()| out)
}

fn decompress_as_deployed(frame: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    FrameDecoder::new(frame).read_to_end(&mut out).map(|_| out)
}

fn frame(info: &FrameInfo, raw: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info.clone(), Vec::new());
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

fn assert_refused(decoded: Result<Vec<u8>, Error>) {
    assert!(matches!(decoded, Err(Error::Payload { .. })), "{decoded:?}");
}
