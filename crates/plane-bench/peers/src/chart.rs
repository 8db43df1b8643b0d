//! The medians as a picture: for each cell a bar for each peer, as long as its share of the fastest.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::peer::Peer;
use crate::report::Line;

const WIDTH: i32 = 960;
const LABELS: i32 = 190;
const VALUES: i32 = 130;
const BAR: i32 = 18;
const TITLE: i32 = 40;

/// Draws all cells one below the other.
pub(crate) fn draw(lines: &[Line], path: &Path) -> Result<()> {
    let mut cells: Vec<(&str, Vec<&Line>)> = Vec::new();
    for line in lines {
        match cells.last_mut() {
            Some((cell, peers)) if *cell == line.cell => peers.push(line),
            _ => cells.push((&line.cell, vec![line])),
        }
    }
    let height: i32 = cells.iter().map(|(_, peers)| block(peers.len())).sum();
    let size = (u32::try_from(WIDTH)?, u32::try_from(height).context("too many cells for a picture")?);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
    let mut top = 0;
    for (cell, peers) in &cells {
        draw_cell(&area, top, cell, peers).map_err(|error| anyhow!("{error}"))?;
        top += block(peers.len());
    }
    area.present().map_err(|error| anyhow!("{error}"))
}

fn block(peers: usize) -> i32 {
    TITLE + BAR * i32::try_from(peers).unwrap_or(i32::MAX / BAR / 2)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

fn draw_cell(area: &Area<'_>, top: i32, cell: &str, peers: &[&Line]) -> Drawn {
    let title = ("sans-serif", 15).into_font().style(FontStyle::Bold).color(&BLACK);
    area.draw(&Text::new(format!("{cell}: items in a second"), (8, top + TITLE / 2), title))?;
    let fastest = peers.iter().map(|line| line.items_per_second.median).fold(1.0, f64::max);
    let label = ("sans-serif", 13).into_font().color(&BLACK);
    let right = label.clone().pos(Pos::new(HPos::Right, VPos::Center));
    let left = label.pos(Pos::new(HPos::Left, VPos::Center));
    let mut y = top + TITLE;
    for line in peers {
        let rate = line.items_per_second.median;
        #[expect(clippy::cast_possible_truncation, reason = "at most the width of the picture")]
        let length = (f64::from(WIDTH - LABELS - VALUES) * rate / fastest) as i32;
        let is_plane = matches!(line.peer, Peer::Plane | Peer::PlaneNats);
        let color = if is_plane { RGBColor(32, 96, 160) } else { RGBColor(168, 176, 184) };
        let bar = [(LABELS, y + 2), (LABELS + length.max(1), y + BAR - 2)];
        area.draw(&Rectangle::new(bar, color.filled()))?;
        area.draw(&Text::new(line.peer.name(), (LABELS - 8, y + BAR / 2), right.clone()))?;
        area.draw(&Text::new(grouped(rate), (LABELS + length + 6, y + BAR / 2), left.clone()))?;
        y += BAR;
    }
    Ok(())
}

/// A number with a space between groups of three digits.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        assert_eq!(["1", "123", "1 234", "1 234 567"], [1.0, 123.0, 1234.4, 1_234_567.0].map(grouped)[..]);
    }
}
