//! Properties of canonical JSON on generated values: round trips, and two independent readings that agree.

use proptest::prelude::*;
use serde_json::{Map, Number, Value};
use web4_core::canonical::{CanonicalError, canonicalize, validate};
use web4_core::envelope::{Envelope, seal};
use web4_core::identity::Identity;

const MAX_SAFE: i64 = (1 << 53) - 1;

fn number() -> impl Strategy<Value = Value> {
    let float = any::<f64>()
        .prop_filter("in range", |x| x.is_finite() && x.abs() <= MAX_SAFE as f64)
        .prop_map(|x| Value::Number(Number::from_f64(x).unwrap()));
    prop_oneof![(-MAX_SAFE..=MAX_SAFE).prop_map(Value::from), float, (-1000.0..1000.0).prop_map(Value::from)]
}

fn text() -> impl Strategy<Value = String> {
    let characters = prop_oneof![
        4 => any::<char>(),
        4 => prop::char::range(' ', '~'),
        1 => prop::char::range('\0', '\u{1f}'),
        1 => prop::char::range('\u{e000}', '\u{10010}'),
        1 => prop::sample::select(vec!['"', '\\', '/', '\u{7f}', '\u{2028}']),
    ];
    prop::collection::vec(characters, 0..24).prop_map(|characters| characters.into_iter().collect())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Equal as JSON values: numbers by their double, so that 1 and 1.0 are the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// serde_json writes and reads; the canonical form lies between and must lose nothing.
    #[test]
    fn canonical_form_keeps_the_value_and_is_stable(value in value()) {
        for written in [serde_json::to_vec(&value).unwrap(), serde_json::to_vec_pretty(&value).unwrap()] {
            let canonical = canonicalize(&written).unwrap();
            let read: Value = serde_json::from_slice(&canonical).unwrap();
            prop_assert!(same(&value, &read), "{value} became {read}");
            prop_assert_eq!(&canonicalize(&canonical).unwrap(), &canonical);
            prop_assert!(validate(&canonical).is_ok());
            let expected = if written == canonical { None } else { Some(CanonicalError::NotCanonical) };
            prop_assert_eq!(validate(&written).err(), expected);
        }
    }

    /// Whatever bytes: the walk without a tree accepts exactly what its own canonical form equals.
    #[test]
    fn validator_and_parser_agree_on_mutated_input(
        value in value(), at in any::<prop::sample::Index>(), byte in any::<u8>(), kind in 0..3_u8,
    ) {
        let mut data = canonicalize(&serde_json::to_vec(&value).unwrap()).unwrap();
        let at = at.index(data.len());
        match kind {
            0 => data[at] = byte,
            1 => data.insert(at, byte),
            _ => drop(data.remove(at)),
        }
        let expected = canonicalize(&data).map(|canonical| canonical == data);
        match validate(&data) {
            Ok(_) => prop_assert_eq!(expected, Ok(true)),
            Err(CanonicalError::NotCanonical) => prop_assert_eq!(expected, Ok(false)),
            Err(error) => prop_assert_eq!(expected, Err(error)),
        }
    }

    /// Any payload can be sealed, and what is sealed parses and verifies; its spans give the payload back.
    #[test]
    fn sealed_envelopes_verify(payload in value(), extra in text(), seed in any::<[u8; 32]>()) {
        let identity = Identity::from_seed(&seed);
        let mut unsigned = serde_json::json!({"cip": "1.0", "type": "T", "payload": payload});
        if !["cip", "hcp", "lip", "type", "payload", "sign"].contains(&extra.as_str()) {
            unsigned[extra] = Value::from(1);
        }
        let sealed = seal(&identity, &serde_json::to_vec(&unsigned).unwrap(), 1 << 18).unwrap();
        let envelope = Envelope::parse(sealed.as_slice(), 1 << 18).unwrap();
        prop_assert!(envelope.verify(&identity.public_key()).is_ok());
        let expected = canonicalize(&serde_json::to_vec(&payload).unwrap()).unwrap();
        prop_assert_eq!(envelope.payload(), Some(expected.as_slice()));
    }
}
