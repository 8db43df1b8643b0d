//! What connections and calls cost, and how long it takes to find a dead peer and to cancel a call.
//!
//! - `memory`: of idle connections and open calls, on both sides.
//! - `death`: from the end of a worker to the error of a call to it.
//! - `cancel`: from a caller that goes away to the handler at the end of a chain.

mod cancel;
mod death;
mod memory;

use std::time::Duration;

use anyhow::{Context, Result};
use plane_core::Address;

use crate::place::{Place, Plane};

const READY: Duration = Duration::from_secs(10);

/// Measures everything, and prints one table for each kind of figure.
pub(crate) async fn run(nats: &str) -> Result<()> {
    let planes = [Plane::Tcp, Plane::Nats];
    eprintln!("  memory");
    println!("{}", memory::COLUMNS);
    // Kept to the end: what one measurement frees would be used again by the next.
    let mut held = Vec::new();
    for plane in planes {
        let (lines, kept) = memory::measure(plane, nats).await.with_context(|| format!("memory over {plane}"))?;
        println!("{lines}");
        held.push(kept);
    }
    drop(held);
    eprintln!("  cancels");
    println!("\n{}", cancel::COLUMNS);
    for plane in planes {
        let place = Place::new(plane, nats)?;
        println!("{}", cancel::measure(&place).await.with_context(|| format!("cancels over {plane}"))?);
    }
    eprintln!("  dead peers");
    println!("\n{}", death::COLUMNS);
    for plane in planes {
        println!("{}", death::measure(plane, nats).await.with_context(|| format!("dead peers over {plane}"))?);
    }
    Ok(())
}

/// Where the one worker of this place is.
async fn address(place: &Place, endpoint: &str) -> Result<Address> {
    let client = place.manager()?.client(endpoint.parse()?);
    client.ready(READY).await?;
    let instances = client.instances();
    Ok(instances.first().context("no worker")?.address.clone())
}
