//! The number in a tracked file, and what it does to an instance. `keepalived.conf(5)`, "Track
//! files".

/// Contributions end here; what is below is a fault.
const MOST: i64 = 253;

/// What a number does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It puts the instance into FAULT.
    Fault,
    /// It is added to its strength, −253 to 253.
    Adds(i32),
}

/// Reads the number at the beginning of a file, after white space: as in C, `0x` leads hexadecimal
/// and `0` octal digits. What follows the digits does not count; without any it is 0.
///
/// `None` for a number of more than 32 bits, which is to be ignored.
#[must_use]
pub fn parse(text: &[u8]) -> Option<i32> {
    let text = text.trim_ascii_start();
    let (sign, text) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let mut number = 0_i64;
    for digit in digits.iter().map_while(|digit| char::from(*digit).to_digit(radix)) {
        number = number.saturating_mul(radix.into()).saturating_add(digit.into());
    }
    i32::try_from(sign * number).ok()
}

/// What a number does to an instance that tracks its file with this weight.
///
/// The number times the weight is added, 253 at most; a product below −253 is a fault. With a weight
/// of 0 another number than 0 is one. `reverse` negates the product, or makes 0 the fault.
#[must_use]
pub fn effect(weight: i16, reverse: bool, value: i32) -> Effect {
    if weight == 0 {
        return if (value != 0) == reverse { Effect::Adds(0) } else { Effect::Fault };
    }
    let product = i64::from(value) * i64::from(weight);
    match if reverse { -product } else { product }.min(MOST) {
        product if product < -MOST => Effect::Fault,
        product => Effect::Adds(product as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_in_c() {
        // As keepalived 2.2.7 read them.
        let cases: [(&str, Option<i32>); 12] = [
            ("7\n", Some(7)),
            ("-300", Some(-300)),
            ("+4", Some(4)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            (" 12abc", Some(12)),
            ("abc", Some(0)),
            ("", Some(0)),
            ("-2147483648", Some(i32::MIN)),
            ("2147483648", None),
            ("99999999999", None),
            ("99999999999999999999999", None),
        ];
        for (text, value) in cases {
            assert_eq!(parse(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn a_number_times_its_weight_is_added_within_bounds() {
        assert_eq!(effect(2, false, 5), Effect::Adds(10));
        assert_eq!(effect(2, true, 5), Effect::Adds(-10));
        assert_eq!(effect(-1, false, 253), Effect::Adds(-253));
        assert_eq!(effect(1, false, 300), Effect::Adds(253));
        assert_eq!(effect(254, false, i32::MAX), Effect::Adds(253));
    }

    #[test]
    fn a_product_below_253_is_a_fault() {
        assert_eq!(effect(1, false, -254), Effect::Fault);
        assert_eq!(effect(254, false, -1), Effect::Fault);
        assert_eq!(effect(254, true, 1), Effect::Fault);
        assert_eq!(effect(1, false, i32::MIN), Effect::Fault);
    }

    #[test]
    fn without_weight_another_number_than_0_is_a_fault() {
        assert_eq!(effect(0, false, 0), Effect::Adds(0));
        assert_eq!(effect(0, false, -3), Effect::Fault);
        assert_eq!(effect(0, true, 0), Effect::Fault);
        assert_eq!(effect(0, true, 1), Effect::Adds(0));
    }
}
