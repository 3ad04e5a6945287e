//! Through the traits of bendy, and beside it.

#[cfg(test)]
mod bendy_traits {
    use bencode::{OWNED_DEPTH_MAX, OwnedValue, encode};
    use bendy::decoding::FromBencode;
    use bendy::encoding::ToBencode;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = OwnedValue> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(OwnedValue::from),
            any::<u64>().prop_map(OwnedValue::from),
            prop::collection::vec(any::<u8>(), 0..150).prop_map(OwnedValue::from),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            let key = prop::collection::vec(any::<u8>(), 0..6);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(OwnedValue::List),
                prop::collection::btree_map(key, inner, 0..8).prop_map(OwnedValue::Dict),
            ]
        })
    }

    proptest! {
        #[test]
        fn given_any_value_when_written_by_bendy_then_it_is_what_we_write_and_bendy_reads(value in values()) {
            let ours = encode(&value).unwrap();

            prop_assert_eq!(&ours, &value.to_bencode().unwrap());
            prop_assert_eq!(value, OwnedValue::from_bencode(&ours).unwrap());
        }
    }

    #[test]
    fn given_integers_at_the_edges_when_read_through_bendy_then_the_next_ones_are_errors() {
        for (text, is_ok) in [
            ("i18446744073709551615e", true),
            ("i18446744073709551616e", false),
            ("i-9223372036854775808e", true),
            ("i-9223372036854775809e", false),
        ] {
            assert_eq!(is_ok, OwnedValue::from_bencode(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn given_values_too_deep_when_written_through_bendy_then_they_are_refused_as_by_us() {
        let deepest = (1..OWNED_DEPTH_MAX).fold(OwnedValue::list([]), |inner, _| OwnedValue::list([inner]));
        assert_eq!(encode(&deepest).unwrap(), deepest.to_bencode().unwrap());

        let too_deep = OwnedValue::list([deepest]);
        assert!(encode(&too_deep).is_err() && too_deep.to_bencode().is_err());
    }
}
