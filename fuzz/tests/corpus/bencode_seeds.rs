use std::collections::BTreeSet;

use bencode::OwnedValue;
use zest_fuzz::BencodeRecipe;

use super::seeds;

#[test]
fn given_the_bencode_seeds_when_decoded_then_every_kind_fault_and_deviation_is_among_them() {
    let (mut kinds, mut faults, mut deviations) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (_, bytes) in seeds("bencode") {
        faults.extend(zest_fuzz::cramped().decode(&bytes).err().map(fault));
        match bencode::Decoder::lenient().decode(&bytes) {
            Ok(document) => {
                kinds.extend(kinds_in(&document.root().into_owned().unwrap()));
                deviations.extend(document.deviations().iter().map(|(deviation, _)| format!("{deviation:?}")));
            }
            Err(error) => {
                faults.insert(fault(error));
            }
        }
    }

    assert_eq!(BTreeSet::from(["Bytes", "Dict", "Integer", "List"].map(str::to_owned)), kinds);
    let expected = [
        "IntegerOverflow",
        "KeyNotString",
        "LengthOverflow",
        "MissingValue",
        "StringTooLong",
        "TooDeep",
        "TooLarge",
        "TooManyTokens",
        "TrailingBytes",
        "Truncated",
        "Unexpected",
    ];
    assert_eq!(BTreeSet::from(expected.map(str::to_owned)), faults);
    let expected = ["DuplicateKey", "LeadingZero", "LengthLeadingZero", "NegativeZero", "PlusSign", "UnsortedKeys"];
    assert_eq!(BTreeSet::from(expected.map(str::to_owned)), deviations);
}

fn fault(error: bencode::Error) -> String {
    format!("{:?}", error.fault().unwrap()).split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn given_the_bencode_recipes_when_built_then_every_kind_is_among_them_and_within_others() {
    let values: Vec<OwnedValue> =
        seeds("bencode_there_and_back").iter().map(|(_, bytes)| BencodeRecipe::read(bytes).value).collect();
    let outer: BTreeSet<String> = values.iter().map(|value| format!("{:?}", value.kind())).collect();
    let all = BTreeSet::from(["Bytes", "Dict", "Integer", "List"].map(str::to_owned));
    let inside = |seed: OwnedValue| kinds_in(&seed);

    assert_eq!(all, outer);
    assert!(values.iter().any(|value| value.as_list().is_some() && inside(value.clone()) == all));
    assert!(values.iter().any(|value| value.as_dict().is_some() && inside(value.clone()) == all));
}

fn kinds_in(value: &OwnedValue) -> BTreeSet<String> {
    let items = value.as_list().into_iter().flatten();
    let values = value.as_dict().into_iter().flat_map(|pairs| pairs.values());
    items.chain(values).flat_map(kinds_in).chain([format!("{:?}", value.kind())]).collect()
}
