//! The code for a terminal: half blocks, two modules in a character.

use super::Code;

/// Black on white of the colour cube, which themes leave alone: the terminal's own colours may be light on dark.
const COLOURS: &str = "\x1b[38;5;16;48;5;231m";
const PLAIN: &str = "\x1b[0m";
/// A line that wraps is no code any more; terminals are at least this wide.
pub const COLUMNS_MAX: usize = 80;

impl Code {
    /// As lines of characters with colours. `None`: it would be wider than [`COLUMNS_MAX`].
    pub fn terminal(&self) -> Option<String> {
        let side = self.side();
        if side > COLUMNS_MAX {
            return None;
        }
        let mut text = String::new();
        for y in (0..side).step_by(2) {
            text.push_str(COLOURS);
            for x in 0..side {
                text.push(match (self.dark(x, y), self.dark(x, y + 1)) {
                    (false, false) => ' ',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (true, true) => '█',
                });
            }
            text.push_str(PLAIN);
            text.push('\n');
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_colours_and_the_same_width() {
        let code = Code::of("http://192.168.1.20:8080/").unwrap();
        let text = code.terminal().unwrap();
        assert_eq!(text.lines().count(), code.side().div_ceil(2));
        for line in text.lines() {
            let bare = line.strip_prefix(COLOURS).unwrap().strip_suffix(PLAIN).unwrap();
            assert_eq!(bare.chars().count(), code.side());
        }
    }

    #[test]
    fn what_would_wrap_is_not_shown() {
        assert_eq!(Code::of(&"x".repeat(1_000)).unwrap().terminal(), None);
    }
}
