//! Values with units.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::value::{Date, Datetime, Offset, Time};

use super::NOTHING;
use crate::rate;

/// One address, or a list of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Listen(pub(super) Vec<SocketAddr>);

/// A number of bytes, with a unit or without.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByteCount(pub(super) u64);

/// A time: seconds, or a number with a unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait(pub(super) Duration);

/// How often something is done, or never.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interval(pub(super) Option<Duration>);

/// A date, or a date with a time, as seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expiry(pub(super) u64);

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Addresses;
        impl<'de> Visitor<'de> for Addresses {
            type Value = Listen;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address like \"127.0.0.1:8080\", or a list of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Listen, E> {
                let address = text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))?;
                Ok(Listen(vec![address]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Listen, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Listen)
            }
        }
        deserializer.deserialize_any(Addresses)
    }
}

impl<'de> Deserialize<'de> for ByteCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Scalar::read(deserializer, "bytes above 0, like 500000 or \"500GB\"", rate::bytes).map(ByteCount)
    }
}

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = Scalar::read(deserializer, "seconds above 0, or \"90s\", \"5m\", \"24h\" or \"7d\"", seconds)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const NEVER: u64 = u64::MAX;
        let read = |text: &str| if text == "never" { Some(NEVER) } else { seconds(text) };
        let seconds = Scalar::read(deserializer, "seconds above 0, \"24h\" or \"never\"", read)?;
        Ok(Self((seconds != NEVER).then(|| Duration::from_secs(seconds)).filter(|wait| *wait > NOTHING)))
    }
}

/// A whole number, or a text that comes to one; in both cases above 0.
struct Scalar<F> {
    expected: &'static str,
    read: F,
}

impl<F: Fn(&str) -> Option<u64>> Scalar<F> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, expected: &'static str, read: F) -> Result<u64, D::Error> {
        deserializer.deserialize_any(Self { expected, read })
    }
}

impl<F: Fn(&str) -> Option<u64>> Visitor<'_> for Scalar<F> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        let positive = u64::try_from(number).ok().filter(|number| *number > 0);
        positive.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        let number = (self.read)(text).filter(|number| *number > 0);
        number.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

/// `90s`, `5m`, `24h`, `7d`
fn seconds(text: &str) -> Option<u64> {
    const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 60 * 60), ('d', 24 * 60 * 60)];
    let (unit, factor) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
    text.strip_suffix(unit)?.trim_end().parse::<u64>().ok()?.checked_mul(factor)
}

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Moment;
        impl<'de> Visitor<'de> for Moment {
            type Value = Datetime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date like 2030-12-31, or a time with its zone like 2030-12-31T12:00:00Z")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Datetime, E> {
                text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Datetime, A::Error> {
                Datetime::deserialize(MapAccessDeserializer::new(map))
            }
        }
        let moment = deserializer.deserialize_any(Moment)?;
        let unusable = || D::Error::invalid_value(serde::de::Unexpected::Other(&format!("`{moment}`")), &Moment);
        unix_seconds(moment).map(Expiry).ok_or_else(unusable)
    }
}

/// A date alone is its beginning in UTC. A time without a zone could be any of 26 hours.
fn unix_seconds(moment: Datetime) -> Option<u64> {
    const DAY_MINUTES: i64 = 24 * 60;
    let date = moment.date?;
    let midnight = days(date) * DAY_MINUTES;
    let (minutes, second) = match (moment.time, moment.offset) {
        (None, _) => (midnight, 0),
        (Some(Time { hour, minute, second, .. }), Some(offset)) => {
            let ahead = match offset {
                Offset::Z => 0,
                Offset::Custom { minutes } => i64::from(minutes),
            };
            (midnight + i64::from(hour) * 60 + i64::from(minute) - ahead, i64::from(second.unwrap_or(0)))
        }
        (Some(_), None) => return None,
    };
    u64::try_from(minutes * 60 + second).ok()
}

/// Days since 1970.
fn days(Date { year, month, day }: Date) -> i64 {
    // Years that begin in March have the odd day at their end.
    let (year, month) = match month {
        1 | 2 => (i64::from(year) - 1, i64::from(month) + 9),
        _ => (i64::from(year), i64::from(month) - 3),
    };
    let day_of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::{seconds, unix_seconds};

    #[test]
    fn given_moments_when_read_then_seconds_since_1970() {
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(951_782_400)),
            ("2024-02-29T23:59:59Z", Some(1_709_251_199)),
            ("2025-01-01T00:00:00Z", Some(1_735_689_600)),
            ("2025-01-01T02:30:00+02:30", Some(1_735_689_600)),
            ("2024-12-31T16:00:00-08:00", Some(1_735_689_600)),
            ("2100-03-01", Some(4_107_542_400)),
            ("2025-01-01T00:00:00", None),
            ("1969-12-31", None),
            ("12:00:00", None),
        ] {
            assert_eq!(expected, unix_seconds(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn given_times_when_read_then_seconds() {
        for (text, expected) in [
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("24 h", Some(86_400)),
            ("7d", Some(604_800)),
            ("5", None),
            ("-5m", None),
            ("5w", None),
            ("m", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(expected, seconds(text), "{text}");
        }
    }
}
