//! Amounts as people write them.

use std::{
    fmt::{self, Display},
    marker::PhantomData,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, de};

/// A bound that somebody named: so much, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit<T> {
    None,
    Of(T),
}

/// The word for no bound.
const NONE: &str = "none";

/// Bytes: a number, or one of KiB, MiB, GiB and TiB with the letter `k`, `m`, `g` or `t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u64);

/// Processors, in thousandths: written `2`, or `0.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Processors(pub(crate) u32);

impl<T> Limit<T> {
    /// What was said, or else the default.
    pub(crate) fn or(said: Option<Self>, default: Option<T>) -> Option<T> {
        match said {
            Some(Self::Of(amount)) => Some(amount),
            Some(Self::None) => None,
            None => default,
        }
    }

    /// The amount, where one was named.
    pub(crate) fn asked(said: Option<Self>) -> Option<T> {
        Self::or(said, None)
    }
}

impl<T: FromStr<Err = String>> FromStr for Limit<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case(NONE) { Ok(Self::None) } else { text.parse().map(Self::Of) }
    }
}

impl<T: Display> Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str(NONE),
            Self::Of(amount) => amount.fmt(f),
        }
    }
}

/// As a text, or as the number that it would be.
impl<'de, T: FromStr<Err = String>> Deserialize<'de> for Limit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);

        impl<T: FromStr<Err = String>> de::Visitor<'_> for Visitor<T> {
            type Value = Limit<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount, or \"none\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Limit<T>, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Limit<T>, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Limit<T>, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Limit<T>, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(Visitor(PhantomData))
    }
}

/// The letters of the units, each of which is 1,024 times the one before.
const UNITS: [char; 4] = ['k', 'm', 'g', 't'];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no size: write it as 1048576, 512m or 4g");
        let unit = text.chars().last().map(|last| last.to_ascii_lowercase());
        let (number, shift) = match unit.and_then(|unit| UNITS.iter().position(|it| *it == unit)) {
            Some(power) => (text.get(..text.len() - 1).unwrap_or_default(), 10 * (power + 1)),
            None => (text, 0),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

/// In the largest unit that it is whole numbers of.
impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut shown = None;
        for unit in UNITS {
            if rest == 0 || !rest.is_multiple_of(1 << 10) {
                break;
            }
            rest >>= 10;
            shown = Some(unit);
        }
        match shown {
            Some(unit) => write!(f, "{rest}{unit}"),
            None => write!(f, "{rest}"),
        }
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(count) if count > 0 => Ok(Self(count)),
            _ => Err(format!("`{text}` is no number of at least 1")),
        }
    }
}

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Processors {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no number of processors: write it as 2 or 0.5");
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || part.len() > 3 {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let part: u32 = format!("{part:0<3}").parse().map_err(|_| wrong())?;
        let all = whole.checked_mul(1_000).and_then(|whole| whole.checked_add(part));
        all.map(Self).ok_or_else(wrong)
    }
}

impl Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000, self.0 % 1_000);
        match part {
            0 => write!(f, "{whole}"),
            _ => f.write_str(format!("{whole}.{part:03}").trim_end_matches('0')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_they_are_shown() {
        for (text, bytes) in
            [("0", 0), ("1023", 1_023), ("4k", 4 << 10), ("512m", 512 << 20), ("3T", 3 << 40)]
        {
            let size: Size = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string(), text.to_lowercase());
        }
        assert_eq!(Size(2048 << 20).to_string(), "2g");
        for (text, thousandths) in [("2", 2_000), ("0.5", 500), ("1.25", 1_250), ("0.01", 10), ("0.125", 125)]
        {
            let processors: Processors = text.parse().unwrap();
            assert_eq!((processors.0, processors.to_string().as_str()), (thousandths, text));
        }
        assert_eq!("none".parse(), Ok(Limit::<Size>::None));
        assert_eq!("7".parse(), Ok(Limit::Of(Count(7))));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "k", "-1", "4kb", "1.5g", "4ä", "20000000t", "99999999999999999999"] {
            assert!(text.parse::<Limit<Size>>().is_err(), "{text}");
        }
        for text in ["", ".", "1.", ".5", "-1", "1.0001", "1e3", "9999999", "NaN"] {
            assert!(text.parse::<Processors>().is_err(), "{text}");
        }
        for text in ["", "0", "-1", "1.5"] {
            assert!(text.parse::<Count>().is_err(), "{text}");
        }
    }
}
