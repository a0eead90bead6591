//! Sizes and durations as people write them: `256MiB`, `30s`.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes: `512MiB`, `100MB`, or a plain number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A length of time: `30s`, `5m`, `250ms`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Size {
    /// As many mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// As a number of bytes in this process's memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Period {
    /// As many seconds.
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 > 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&humantime::format_duration(self.0), f)
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A size for people: `3.4 MiB`.
pub fn human_bytes(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a TOML value or an environment variable may hold.
#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = |text: &str| {
            de::Error::custom(format!(
                "`{text}` is not a size; write a number with a unit, such as \"256MiB\" or \"1GiB\""
            ))
        };
        match TextOrNumber::deserialize(deserializer) {
            Ok(TextOrNumber::Number(bytes)) => Ok(Self(bytes)),
            Ok(TextOrNumber::Text(text)) => {
                text.trim().parse::<ByteSize>().map(|s| Self(s.0)).map_err(|_| wrong(&text))
            }
            Err(_) => Err(wrong("the value")),
        }
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = |text: &str| {
            de::Error::custom(format!(
                "`{text}` is not a duration; write a number with a unit, such as \"30s\" or \"5m\""
            ))
        };
        match TextOrNumber::deserialize(deserializer) {
            Ok(TextOrNumber::Text(text)) => humantime::parse_duration(text.trim()).map(Self).map_err(|_| wrong(&text)),
            Ok(TextOrNumber::Number(number)) => Err(wrong(&number.to_string())),
            Err(_) => Err(wrong("the value")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Both {
        size: Size,
        period: Period,
    }

    #[test]
    fn units_are_read_and_written_back() {
        let both: Both = toml::from_str("size = \"1536KiB\"\nperiod = \"1m 30s\"").unwrap();
        assert_eq!(both, Both { size: Size(1536 << 10), period: Period::secs(90) });
        assert_eq!(toml::from_str::<Both>(&toml::to_string(&both).unwrap()).unwrap(), both);
        assert_eq!(Size(100_000_000).to_string(), "100000000");
        assert_eq!(Size::mib(1024).to_string(), "1GiB");
    }

    #[test]
    fn wrong_units_say_what_is_meant() {
        let error = |text: &str| toml::from_str::<Both>(text).unwrap_err().message().to_owned();
        assert!(error("size = \"12 parsecs\"\nperiod = \"1s\"").contains("is not a size"));
        assert!(error("size = 1\nperiod = 30").contains("`30` is not a duration"));
        assert!(error("size = -1\nperiod = \"1s\"").contains("is not a size"));
    }
}
