//! The picture in pixels: black and white, one bit each, whole pixels per module.

use png::{BitDepth, ColorType, Compression, Encoder, Filter};

use super::{Code, CodeError};

/// Smallest picture one may ask for, pixels of a side.
pub const PNG_PIXELS_MIN: usize = 128;
/// Without asking: sharp where the page shows it, also on a screen with two pixels for one.
pub const PNG_PIXELS_DEFAULT: usize = 512;
/// Largest picture one may ask for: 128 KiB while it is made. What has to be larger is drawn from the SVG.
pub const PNG_PIXELS_MAX: usize = 1_024;

impl Code {
    /// As PNG of `pixels` × `pixels`. Each module is the same whole number of pixels, at least one: what is left over
    /// widens the quiet zone, and a code of more modules than pixels is larger than asked for.
    ///
    /// # Errors
    /// `Unwritten`, which does not happen in memory.
    pub fn png(&self, pixels: usize) -> Result<Vec<u8>, CodeError> {
        let pixels = pixels.clamp(PNG_PIXELS_MIN, PNG_PIXELS_MAX).max(self.side());
        let module = pixels / self.side();
        let before = (pixels - module * self.side()) / 2;
        let row_bytes = pixels.div_ceil(8);
        let white = vec![0xff_u8; row_bytes];
        let mut rows = white.repeat(before);
        for y in 0..self.side() {
            // Drawn once for all the rows of pixels that a module is high.
            let mut row = white.clone();
            for x in (0..self.side()).filter(|x| self.dark(*x, y)) {
                let from = before + x * module;
                for pixel in from..from + module {
                    if let Some(byte) = row.get_mut(pixel / 8) {
                        *byte &= !(0x80 >> (pixel % 8));
                    }
                }
            }
            for _ in 0..module {
                rows.extend_from_slice(&row);
            }
        }
        rows.resize(row_bytes * pixels, 0xff);
        write(&rows, pixels).map_err(|_| CodeError::Unwritten)
    }
}

/// Rows of one bit a pixel, each from a whole byte on, as a file.
fn write(rows: &[u8], pixels: usize) -> Result<Vec<u8>, png::EncodingError> {
    let side = u32::try_from(pixels).unwrap_or(u32::MAX);
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, side, side);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::One);
    encoder.set_compression(Compression::Balanced);
    // Most rows are the one above once more.
    encoder.set_filter(Filter::Up);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rows)?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of pixels, `true` for white.
    fn read(file: &[u8]) -> Vec<Vec<bool>> {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        assert_eq!(
            reader.output_color_type(),
            (ColorType::Grayscale, BitDepth::One),
            "no more than it needs"
        );
        let mut rows = Vec::new();
        while let Some(row) = reader.next_row().unwrap() {
            let bits = row
                .data()
                .iter()
                .flat_map(|b| (0..8).map(move |i| b & (0x80 >> i) != 0));
            rows.push(bits.collect());
        }
        let side = rows.len();
        rows.iter_mut().for_each(|row: &mut Vec<bool>| row.truncate(side));
        rows
    }

    #[test]
    fn modules_are_whole_pixels_in_a_picture_of_the_size_asked_for() {
        let code = Code::of("http://192.168.1.20:8080/q/AAAAAAAAAAAAAAAAAAAAAA").unwrap();
        for pixels in [PNG_PIXELS_MIN, 129, 200, PNG_PIXELS_DEFAULT, PNG_PIXELS_MAX] {
            let file = code.png(pixels).unwrap();
            let picture = read(&file);
            assert_eq!(picture.len(), pixels);
            assert!(file.len() < 4_096, "{} bytes at {pixels}", file.len());
            let module = pixels / code.side();
            let before = (pixels - module * code.side()) / 2;
            for (y, row) in picture.iter().enumerate() {
                for (x, white) in row.iter().enumerate() {
                    let at = |p: usize| p.checked_sub(before).map(|p| p / module);
                    let dark = at(x).zip(at(y)).is_some_and(|(x, y)| code.dark(x, y));
                    assert_eq!(*white, !dark, "{x},{y} of {pixels}");
                }
            }
        }
    }

    #[test]
    fn sizes_have_bounds_and_a_module_is_never_lost() {
        let code = Code::of("x").unwrap();
        let side = |pixels| read(&code.png(pixels).unwrap()).len();
        assert_eq!((side(0), side(usize::MAX)), (PNG_PIXELS_MIN, PNG_PIXELS_MAX));
        let large = Code::of(&"x".repeat(2_331)).unwrap();
        assert_eq!(large.side(), 185);
        assert_eq!(read(&large.png(PNG_PIXELS_MIN).unwrap()).len(), 185);
    }
}
