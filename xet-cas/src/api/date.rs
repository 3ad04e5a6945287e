//! Dates in JSON.

const MINUTE_SECONDS: i64 = 60;
const HOUR_SECONDS: i64 = 60 * MINUTE_SECONDS;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;

/// Seconds since 1970 of `2024-02-29T23:59:59.000Z`, or with an offset such as `+01:00` in place of the `Z`. Fractions
/// of a second are cut off. `None` for what is no such date, or before 1970.
pub(crate) fn unix_seconds(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut date = date.split('-').map(|part| number(part, i64::MAX));
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let end = time.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(time.len());
    let (clock, zone) = time.split_at(end);
    let clock = clock.split_once('.').map_or(clock, |(whole, _)| whole);
    let mut clock = clock.split(':');
    let (hour, minute) = (number(clock.next()?, 23)?, number(clock.next()?, 59)?);
    let second = clock.next().map_or(Some(0), |second| number(second, 60))?;
    if date.next().is_some() || clock.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (sign, offset) = match zone.split_at_checked(1) {
        Some(("+", offset)) => (1, offset),
        Some(("-", offset)) => (-1, offset),
        Some(("Z" | "z", "")) | None => (0, "00:00"),
        _ => return None,
    };
    let (hours, minutes) = offset.split_once(':').or_else(|| offset.split_at_checked(2))?;
    let offset = sign * (number(hours, 23)? * HOUR_SECONDS + number(minutes, 59)? * MINUTE_SECONDS);
    let seconds = days(year, month, day) * DAY_SECONDS + hour * HOUR_SECONDS + minute * MINUTE_SECONDS + second;
    (seconds - offset).try_into().ok()
}

fn number(text: &str, max: i64) -> Option<i64> {
    let is_number = (1..=4).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number <= max)
}

/// Days from the beginning of 1970 to this one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    /// In 400 years of the calendar.
    const ERA_DAYS: i64 = 146_097;
    // Years that begin in March have the odd day at their end.
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    era * ERA_DAYS + 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// `2024-02-29T23:59:59.000Z`, of seconds since 1970.
#[cfg(feature = "server")]
pub(crate) fn utc(unix_seconds: u64) -> String {
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    /// In 400 years of the calendar.
    const ERA_DAYS: u64 = 146_097;
    let (days, seconds) = (unix_seconds / DAY_SECONDS, unix_seconds % DAY_SECONDS);
    // Years that begin in March have the odd day at their end.
    let since_march_of_0 = days + 719_468;
    let (era, day_of_era) = (since_march_of_0 / ERA_DAYS, since_march_of_0 % ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / (ERA_DAYS - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

#[cfg(test)]
mod tests {
    use super::unix_seconds;

    #[cfg(feature = "server")]
    #[test]
    fn given_seconds_when_told_as_a_date_then_leap_years_and_centuries_are_right() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_735_689_600, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!((date.to_owned(), Some(seconds)), (super::utc(seconds), unix_seconds(date)));
        }
    }

    #[test]
    fn given_a_date_when_read_then_leap_years_centuries_and_offsets_are_right() {
        for (date, seconds) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-28T23:59:59Z", 951_782_399),
            ("2000-02-29T00:00:00.999Z", 951_782_400),
            ("2024-02-29T23:59:59.000Z", 1_709_251_199),
            ("2025-01-01 00:00:00", 1_735_689_600),
            ("2025-01-01T01:30:00+01:30", 1_735_689_600),
            ("2024-12-31T19:00:00-0500", 1_735_689_600),
            ("2100-03-01T00:00Z", 4_107_542_400),
        ] {
            assert_eq!(Some(seconds), unix_seconds(date), "{date}");
        }
    }

    #[test]
    fn given_anything_else_when_read_then_no_date() {
        for text in [
            "",
            "today",
            "2024-02-29",
            "2024-13-01T00:00:00Z",
            "2024-02-00T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2024-02-29T24:00:00Z",
            "2024-02-29T00:00:00X",
            "2024-02-29T00:00:00+x",
            "2024-02-29T00:00:00+é",
            "99999999999999999999-01-01T00:00:00Z",
            "-1-01-01T00:00:00Z",
        ] {
            assert_eq!(None, unix_seconds(text), "{text}");
        }
    }
}
