//! A QR code as a picture and as text: always dark on light, with its quiet zone, whatever surrounds it.

mod png;
mod terminal;

use fast_qr::convert::Builder;
use fast_qr::convert::svg::SvgBuilder;
use fast_qr::{ECL, QRBuilder, QRCode};

pub use self::png::{PNG_PIXELS_DEFAULT, PNG_PIXELS_MAX, PNG_PIXELS_MIN};
pub use self::terminal::COLUMNS_MAX;

/// Modules of white around the code (ISO/IEC 18004 asks for four).
const QUIET_ZONE: usize = 4;

/// Why there is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// More than 2,331 bytes, what the largest code holds at this error correction.
    #[error("the text is too long for a QR code")]
    TooLong,
    #[error("the picture could not be written")]
    Unwritten,
}

/// The modules of one text, with error correction M.
pub struct Code(QRCode);

impl Code {
    /// The code of a text.
    ///
    /// # Errors
    /// `TooLong`.
    pub fn of(text: &str) -> Result<Self, CodeError> {
        let built = QRBuilder::new(text).ecl(ECL::M).build();
        built.map(Self).map_err(|_| CodeError::TooLong)
    }

    /// Modules of a side, quiet zone included: 29 to 185.
    pub fn side(&self) -> usize {
        self.0.size + 2 * QUIET_ZONE
    }

    /// Whether the module is dark; nothing is outside the code. Counted from the outer edge of the quiet zone.
    fn dark(&self, x: usize, y: usize) -> bool {
        let inside = |at: usize| at.checked_sub(QUIET_ZONE).filter(|at| *at < self.0.size);
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => self.0[y].get(x).is_some_and(|module| module.value()),
            _ => false,
        }
    }

    /// As SVG without a size of its own, on white.
    pub fn svg(&self) -> String {
        let svg = SvgBuilder::default().margin(QUIET_ZONE).to_str(&self.0);
        // Modules are drawn one by one: smoothed edges would leave light seams between them.
        svg.replacen("<svg ", r#"<svg shape-rendering="crispEdges" "#, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_quiet_zone() {
        let code = Code::of("http://127.0.0.1:8080/q/AAAAAAAAAAAAAAAAAAAAAA").unwrap();
        let side = code.side();
        for at in 0..side {
            for edge in (0..QUIET_ZONE).chain(side - QUIET_ZONE..side + 9) {
                assert!(!code.dark(at, edge) && !code.dark(edge, at));
            }
        }
        assert!(code.dark(QUIET_ZONE, QUIET_ZONE), "a finder pattern begins there");
        let svg = code.svg();
        assert!(svg.contains(&format!(r#"viewBox="0 0 {side} {side}""#)));
        assert!(svg.contains(r##"fill="#ffffff""##) && svg.contains(r##"fill="#000000""##));
    }

    #[test]
    fn what_no_code_holds_is_refused() {
        assert!(Code::of(&"x".repeat(2_331)).is_ok());
        assert_eq!(Code::of(&"x".repeat(2_332)).err(), Some(CodeError::TooLong));
    }
}
