//! What a user may be called, and where the picture may come from. Both are decoration that other
//! people's screens show: nothing in them may reorder, hide or overrun the text around.

use countersign_protocol::limits::{AVATAR_BYTES_MAX, NAME_CHARS_MAX};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Most combining marks in a row; scripts in use need three, stacks of more are made to overrun lines.
const MARKS_MAX: usize = 4;
const ZERO_WIDTH_JOINER: char = '\u{200D}';
/// Variation selectors 15 and 16: the character before is drawn as text, or as a picture.
const TEXT_FORM: char = '\u{FE0E}';
const EMOJI_FORM: char = '\u{FE0F}';

/// A display name as it is stored and shown: at most [`NAME_CHARS_MAX`] characters. `None` when nothing
/// visible is left. See [`line`].
pub fn display_name(raw: &str) -> Option<String> {
    line(raw, NAME_CHARS_MAX)
}

/// One line of text in Unicode form NFC, without control characters, bidirectional overrides and
/// characters that are not seen (joiners and form selectors stay in emoji, where they choose the
/// picture), with at most four combining marks in a row, at most `chars_max` characters, and no space
/// at either end. `None` when nothing is left. Applied to its own result it changes nothing.
pub fn line(raw: &str, chars_max: usize) -> Option<String> {
    let seen: Vec<char> = raw.chars().filter(|c| !is_hidden(*c)).nfc().collect();
    let joined = (0..seen.len()).filter_map(|i| {
        let keep = match seen[i] {
            ZERO_WIDTH_JOINER => joins_emoji(&seen, i),
            TEXT_FORM | EMOJI_FORM => i > 0 && has_forms(seen[i - 1]),
            _ => true,
        };
        keep.then_some(seen[i])
    });
    // Again, because what was dropped may have kept a letter and its accent apart.
    let mut marks = 0;
    let bounded = joined.nfc().filter(|c| {
        marks = if is_combining_mark(*c) { marks + 1 } else { 0 };
        marks <= MARKS_MAX
    });
    let line: String = bounded
        .skip_while(|c| c.is_whitespace())
        .take(chars_max)
        .collect();
    // The cut may have left half an emoji sequence.
    let line = line.trim_end_matches(|c: char| c.is_whitespace() || c == ZERO_WIDTH_JOINER);
    (!line.is_empty()).then(|| line.to_owned())
}

/// Whether the joiner at `i` stands between two emoji, of which the first may have a skin tone or ask
/// for its coloured form.
fn joins_emoji(text: &[char], i: usize) -> bool {
    let before = text[..i].iter().rev().find(|c| **c != EMOJI_FORM);
    before.is_some_and(|c| is_emoji(*c)) && text.get(i + 1).is_some_and(|c| is_emoji(*c))
}

/// Whether a character has a text form and an emoji form (keycaps, and what `emoji-variation-sequences`
/// of Unicode lists outside the emoji blocks).
const fn has_forms(c: char) -> bool {
    is_emoji(c)
        || matches!(c,
            '0'..='9' | '#' | '*' | '\u{A9}' | '\u{AE}' | '\u{203C}' | '\u{2049}' | '\u{2122}' | '\u{2139}'
            | '\u{24C2}' | '\u{25AA}'..='\u{25FE}' | '\u{3030}' | '\u{303D}' | '\u{3297}' | '\u{3299}')
}

/// The blocks that hold emoji, arrows and dingbats; with joiners between other characters of theirs
/// nothing is hidden that could not be seen.
const fn is_emoji(c: char) -> bool {
    matches!(c,
        '\u{2190}'..='\u{21FF}' | '\u{2300}'..='\u{23FF}' | '\u{2600}'..='\u{27BF}' | '\u{2B00}'..='\u{2BFF}'
        | '\u{1F000}'..='\u{1FAFF}')
}

/// Characters that are not themselves seen, but change or hide what is: Cc and Cf of Unicode 17 (the
/// joiner U+200D is looked at later), line and paragraph separators, and the letters and signs that
/// are drawn as nothing.
const fn is_hidden(c: char) -> bool {
    matches!(c,
        // Cc
        '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}'
        // Cf: soft hyphen, Arabic and Syriac signs, Mongolian vowel separator
        | '\u{AD}' | '\u{600}'..='\u{605}' | '\u{61C}' | '\u{6DD}' | '\u{70F}' | '\u{890}'..='\u{891}' | '\u{8E2}'
        | '\u{180E}'
        // Cf: zero width space and non-joiner, direction marks, embeddings, overrides, isolates
        | '\u{200B}'..='\u{200C}' | '\u{200E}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        // Cf: byte order mark, annotations, Kaithi, hieroglyphs, shorthand, musical symbols, tags
        | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{110BD}' | '\u{110CD}' | '\u{13430}'..='\u{1343F}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}'
        // Zl, Zp
        | '\u{2028}'..='\u{2029}'
        // Drawn as nothing: grapheme joiner, fillers, Khmer vowels, blanks, variation selectors but two
        | '\u{34F}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180D}' | '\u{180F}'
        | '\u{2800}' | '\u{3164}' | '\u{FFA0}' | '\u{FE00}'..='\u{FE0D}' | '\u{13441}'..='\u{13442}' | '\u{16FE4}'
        | '\u{1D159}')
}

/// Why an address was refused; the text says what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AvatarError(&'static str);

/// Checks the address of a picture: `https`, at most [`AVATAR_BYTES_MAX`] bytes of the characters that
/// RFC 3986 allows, a host name or IPv6 address, no credentials. It is passed on as it was given; the
/// gateway never opens it.
///
/// # Errors
/// When it breaks one of these rules; the text names it.
pub fn check_avatar(url: &str) -> Result<(), AvatarError> {
    if url.len() > AVATAR_BYTES_MAX {
        return Err(AvatarError("an avatar address is at most 512 bytes"));
    }
    let rest = url
        .strip_prefix("https://")
        .ok_or(AvatarError("an avatar address begins with https://"))?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b);
    if !rest.bytes().all(allowed) || rest.matches('#').count() > 1 {
        return Err(AvatarError(
            "an avatar address has a character that must be percent-encoded",
        ));
    }
    let escaped = |text: &str| text.len() >= 2 && text.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    if !rest.split('%').skip(1).all(escaped) {
        return Err(AvatarError(
            "a % in an avatar address is followed by two hexadecimal digits",
        ));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err(AvatarError("an avatar address has no user name"));
    }
    if path.contains(['[', ']']) || !is_host_and_port(authority) {
        return Err(AvatarError(
            "an avatar address has a host and, if at all, a port from 1 to 65535",
        ));
    }
    Ok(())
}

fn is_host_and_port(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port_ok = port.is_none_or(|p| {
        p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|number| number > 0)
    });
    let host_ok = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            // RFC 1035 names, with the underscore that is seen in use.
            let label_ok = |label: &str| {
                let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
                (1..=63).contains(&label.len()) && label.bytes().all(allowed)
            };
            host.len() <= 253 && host.split('.').all(label_ok)
        }
    };
    port_ok && host_ok
}

#[cfg(test)]
mod tests;
