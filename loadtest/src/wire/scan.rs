//! Numbers found in frames without parsing them. Frames of one kind have their fields at the same place
//! nearly always; the place is remembered and checked, and searched for again when it moved.

/// Looks for `"<key>":` followed by an unsigned integer.
#[derive(Debug)]
pub struct NumberField<const N: usize> {
    key: &'static [u8; N],
    at: usize,
}

impl<const N: usize> NumberField<N> {
    /// A scanner for `key`, given with quotes and colon: `b"\"offset\":"`.
    pub const fn new(key: &'static [u8; N]) -> NumberField<N> {
        NumberField { key, at: 0 }
    }

    /// The number, if the frame has the key and digits after it.
    pub fn find(&mut self, frame: &[u8]) -> Option<u64> {
        let there = frame.get(self.at..).and_then(|rest| rest.first_chunk());
        if there != Some(self.key) {
            self.at = frame.windows(N).position(|w| w == self.key.as_slice())?;
        }
        number(&frame[self.at + N..])
    }
}

/// Digits at the start of `bytes`, spaces before them skipped. Ends at the first other byte.
pub fn number(bytes: &[u8]) -> Option<u64> {
    let start = bytes.iter().position(|b| *b != b' ')?;
    let mut value = 0_u64;
    let mut digits = 0;
    for byte in &bytes[start..] {
        if !byte.is_ascii_digit() {
            break;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
        digits += 1;
    }
    (digits > 0).then_some(value)
}

/// Writes `value` right-aligned into `out`, spaces before it: fixed width that is still JSON.
pub fn write_padded(mut value: u64, out: &mut [u8]) {
    let mut first = true;
    for byte in out.iter_mut().rev() {
        if value == 0 && !first {
            *byte = b' ';
        } else {
            *byte = b'0' + u8::try_from(value % 10).unwrap_or(0);
            value /= 10;
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_where_they_are() {
        let mut field = NumberField::new(b"\"offset\":");
        for (frame, want) in [
            (r#"{"type":"message","room":"a:b","offset":42,"x":1}"#, Some(42)),
            (r#"{"type":"message","room":"a:b","offset":43}"#, Some(43)),
            (r#"{"type":"message","room":"a:bcd","offset":    44}"#, Some(44)),
            (r#"{"offset":"x"}"#, None),
            (r#"{"offset":99999999999999999999}"#, None),
            (r#"{"offset":"#, None),
            (r"{}", None),
            ("", None),
        ] {
            assert_eq!(field.find(frame.as_bytes()), want, "{frame}");
        }
    }

    #[test]
    fn padded_numbers_read_back() {
        let mut out = [b'x'; 8];
        for value in [0, 7, 10, 12_345_678] {
            write_padded(value, &mut out);
            assert_eq!(number(&out), Some(value));
            let json = String::from_utf8(out.to_vec()).unwrap();
            assert_eq!(serde_json::from_str::<u64>(&json).unwrap(), value);
        }
    }
}
