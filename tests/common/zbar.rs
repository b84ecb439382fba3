//! Reads QR codes from pictures as a scanner does.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Every code in a picture of any format.
pub fn codes_in(picture: &Path) -> Vec<String> {
    // 4 is what it says of a picture without a code.
    let output = run("zbarimg", |zbar| {
        zbar.args(["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"])
            .arg(picture)
    });
    assert!(
        output.status.success() || output.status.code() == Some(4),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A picture of an SVG that is `width` pixels wide.
pub fn rasterise(svg: &Path, width: usize, png: &Path) {
    let output = run("rsvg-convert", |rsvg| {
        rsvg.args(["--width", &width.to_string(), "--keep-aspect-ratio", "--output"])
            .arg(png)
            .arg(svg)
    });
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Writes rows of grey values, 255 white, as a picture.
pub fn write_pgm(rows: &[Vec<u8>], path: &Path) {
    let mut file = format!("P5\n{} {}\n255\n", rows[0].len(), rows.len()).into_bytes();
    file.extend(rows.iter().flatten());
    std::fs::write(path, file).unwrap();
}

fn run(program: &str, with: impl FnOnce(&mut Command) -> &mut Command) -> Output {
    let mut command = Command::new(program);
    with(command.stdin(Stdio::null()))
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}; scripts/deps installs it"))
}
