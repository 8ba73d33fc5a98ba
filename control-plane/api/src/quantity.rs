//! `resource.Quantity`: exact fixed-point numbers with a suffix (`100m`, `1.5Gi`, `2e3`).

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use serde_json::Value;

/// Nanos in one: no quantity is finer.
const SCALE: i128 = 1_000_000_000;
/// 2^63-1, the greatest quantity; larger ones are capped.
const MAX: i128 = i64::MAX as i128 * SCALE;

/// How a quantity was written, which is how its canonical form is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// `k`, `M`, `G` …
    #[default]
    DecimalSi,
    /// `Ki`, `Mi`, `Gi` …
    BinarySi,
    /// `e3`, `E6` …
    DecimalExponent,
}

/// A number of at most nine decimal places. Equality and order are those of the number, not of its form.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * SCALE, format: Format::DecimalSi }
    }

    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * (SCALE / 1000), format: Format::DecimalSi }
    }

    /// Bytes, shown with binary suffixes.
    pub fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * SCALE, format: Format::BinarySi }
    }

    /// The quantity in a document: a string, or a number that means one.
    ///
    /// # Errors
    /// When the value is neither, or does not parse.
    pub fn from_value(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::String(text) => text.trim().parse(),
            Value::Number(number) => number.to_string().parse(),
            _ => Err(QuantityError::Format),
        }
    }

    /// Whole units, rounded up (away from zero), as Kubernetes' `Value()`.
    pub fn value(self) -> i64 {
        self.rounded(SCALE)
    }

    /// Thousandths, rounded up, as Kubernetes' `MilliValue()`.
    pub fn milli_value(self) -> i64 {
        self.rounded(SCALE / 1000)
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    pub fn format(self) -> Format {
        self.format
    }

    /// How many times `other` goes into this, as near as a float can tell.
    pub fn ratio(self, other: Self) -> f64 {
        self.nanos as f64 / other.nanos as f64
    }

    fn rounded(self, unit: i128) -> i64 {
        let (whole, rest) = (self.nanos / unit, self.nanos % unit);
        let whole = whole + rest.signum();
        i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
    }

    fn with(self, nanos: i128, other: Self) -> Self {
        // The sum of nothing and something looks like the something.
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: nanos.clamp(-MAX, MAX), format }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let number_end = text
            .char_indices()
            .find(|&(at, c)| !(c.is_ascii_digit() || c == '.' || (at == 0 && matches!(c, '+' | '-'))))
            .map_or(text.len(), |(at, _)| at);
        let (number, suffix) = text.split_at(number_end);
        let (negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(QuantityError::Format);
        }
        let (format, binary, exponent) = parse_suffix(suffix)?;
        let nanos = scale(whole, fraction, binary, exponent);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }
}

/// The format, the power of 1024 and the power of ten that a suffix means.
fn parse_suffix(suffix: &str) -> Result<(Format, u32, i64), QuantityError> {
    let decimal = |exponent| Ok((Format::DecimalSi, 0, exponent));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => Ok((Format::BinarySi, 1, 0)),
        "Mi" => Ok((Format::BinarySi, 2, 0)),
        "Gi" => Ok((Format::BinarySi, 3, 0)),
        "Ti" => Ok((Format::BinarySi, 4, 0)),
        "Pi" => Ok((Format::BinarySi, 5, 0)),
        "Ei" => Ok((Format::BinarySi, 6, 0)),
        _ => match suffix.strip_prefix(['e', 'E']) {
            Some(digits) => {
                digits.parse().map(|exponent| (Format::DecimalExponent, 0, exponent)).map_err(|_| QuantityError::Suffix)
            }
            None => Err(QuantityError::Suffix),
        },
    }
}

/// `whole.fraction * 1024^binary * 10^exponent` in nanos, rounded up and capped. Works on digits, so that no length
/// of number can overflow.
fn scale(whole: &str, fraction: &str, binary: u32, exponent: i64) -> i128 {
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).skip_while(|&digit| digit == b'0').collect();
    // The number is 0.DIGITS * 10^point nanos, before 1024^binary.
    let shift = exponent.saturating_add(9).saturating_sub(i64::try_from(fraction.len()).unwrap_or(i64::MAX));
    let length = i64::try_from(digits.len()).unwrap_or(i64::MAX).saturating_add(shift);
    if digits.is_empty() {
        return 0;
    }
    if length > 30 {
        return MAX;
    }
    if length < -20 {
        return 1;
    }
    // 38 digits fit into i128; more than 34 are finer than a nano, whatever the suffix, unless they end in zeros.
    let kept = digits.len().min(37);
    let mut inexact = digits[kept..].iter().any(|&digit| digit != b'0');
    let mut number = digits[..kept].iter().fold(0i128, |number, digit| number * 10 + i128::from(digit - b'0'));
    let mut shift = shift + i64::try_from(digits.len() - kept).unwrap_or(0);
    for _ in 0..binary {
        // Room for the factor: give up digits that are below a nano anyway.
        while number > i128::MAX / 1024 {
            inexact |= number % 10 != 0;
            number /= 10;
            shift += 1;
        }
        number *= 1024;
    }
    while shift > 0 {
        match number.checked_mul(10) {
            Some(next) if next <= MAX * 10 => number = next,
            _ => return MAX,
        }
        shift -= 1;
    }
    while shift < 0 {
        inexact |= number % 10 != 0;
        number /= 10;
        shift += 1;
    }
    (number + i128::from(inexact)).min(MAX)
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, and the greatest suffix that keeps the number exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos % SCALE == 0;
        // Below 1024 and with a fraction a binary quantity is written as a decimal one.
        if self.format == Format::BinarySi && whole && (self.nanos / SCALE).abs() >= 1024 {
            let mut units = self.nanos / SCALE;
            let mut suffix = "";
            for next in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] {
                if units % 1024 != 0 {
                    break;
                }
                units /= 1024;
                suffix = next;
            }
            return write!(f, "{units}{suffix}");
        }
        let mut number = self.nanos;
        let mut exponent = -9;
        while number % 1000 == 0 && exponent < 18 {
            number /= 1000;
            exponent += 3;
        }
        match (self.format, exponent) {
            (_, 0) => write!(f, "{number}"),
            (Format::DecimalExponent, exponent) => write!(f, "{number}e{exponent}"),
            (_, exponent) => {
                let suffix = match exponent {
                    -9 => "n",
                    -6 => "u",
                    -3 => "m",
                    3 => "k",
                    6 => "M",
                    9 => "G",
                    12 => "T",
                    15 => "P",
                    _ => "E",
                };
                write!(f, "{number}{suffix}")
            }
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with(self.nanos + other.nanos, other)
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.with(self.nanos - other.nanos, other)
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
        quantities.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Quantity {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn quantities_have_their_value_and_canonical_form() {
        for (text, milli, canonical) in [
            ("0", 0, "0"),
            ("1", 1000, "1"),
            ("100m", 100, "100m"),
            ("0.5", 500, "500m"),
            (".5", 500, "500m"),
            ("1.", 1000, "1"),
            ("1000m", 1000, "1"),
            ("1500m", 1500, "1500m"),
            ("1.5Gi", 1_610_612_736_000, "1536Mi"),
            ("1Ki", 1_024_000, "1Ki"),
            ("0.5Ki", 512_000, "512"),
            ("1000", 1_000_000, "1k"),
            ("1024", 1_024_000, "1024"),
            ("12e6", 12_000_000_000, "12e6"),
            ("1E", i64::MAX, "1E"),
            ("1E3", 1_000_000, "1e3"),
            ("-3", -3000, "-3"),
            ("+3", 3000, "3"),
            ("-1.5Ki", -1_536_000, "-1536"),
            ("0.0001", 1, "100u"),
            ("0.1m", 1, "100u"),
            ("1n", 1, "1n"),
            ("0.1n", 1, "1n"),
            ("128974848", 128_974_848_000, "128974848"),
            ("129M", 129_000_000_000, "129M"),
            ("123Mi", 128_974_848_000, "123Mi"),
            ("9223372036854775808", i64::MAX, "9223372036854775807"),
            ("99999999999999999999999999999999999999999999", i64::MAX, "9223372036854775807"),
            ("0.00000000000000000000000000000000000000000001", 1, "1n"),
            ("16Ei", i64::MAX, "9223372036854775807"),
        ] {
            let quantity = parse(text);
            assert_eq!((quantity.milli_value(), quantity.to_string().as_str()), (milli, canonical), "{text}");
        }
    }

    #[test]
    fn whole_units_round_up() {
        for (text, units) in [("1.1", 2), ("-1.1", -2), ("1n", 1), ("2", 2), ("1Gi", 1 << 30)] {
            assert_eq!(parse(text).value(), units, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "1.1.1",
            "Mi",
            "1 Mi",
            "1mi",
            "1kB",
            "1K",
            "1e",
            "1eX",
            "e3",
            "--1",
            "1E3i",
            "½",
            "1e99999999999999999999",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn order_and_equality_are_those_of_the_number() {
        assert_eq!(parse("1Gi"), parse("1024Mi"));
        assert_eq!(parse("1000m"), parse("1"));
        assert!(parse("1G") < parse("1Gi"));
        assert!(parse("-1") < Quantity::ZERO);
        assert_eq!([parse("1Gi"), parse("512Mi")].into_iter().sum::<Quantity>().to_string(), "1536Mi");
        assert_eq!((parse("2") - parse("500m")).to_string(), "1500m");
        assert_eq!(Quantity::from_value(&serde_json::json!(0.25)).expect("is one").milli_value(), 250);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC*") {
            let _ = text.parse::<Quantity>();
        }

        #[test]
        fn the_canonical_form_means_the_same(text in "[-+]?[0-9]{1,25}(\\.[0-9]{0,25})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[-+]?[0-9]{1,3})?") {
            let quantity = parse(&text);
            let again = parse(&quantity.to_string());
            prop_assert_eq!(again, quantity);
            prop_assert_eq!(again.to_string(), quantity.to_string());
        }
    }
}
