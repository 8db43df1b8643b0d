//! What the calls to workers came to, read from the clients whenever it is asked for ([`Calls`]).

use std::fmt;

use plane_core::{ClientStats, Transport};
use plane_manager::NetworkManager;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The calls that the frontend makes, as its manager counts them.
pub(super) struct Calls(pub(super) NetworkManager);

/// A value of one transport's client, told apart from others of its name by one more label.
type Value = (Transport, Option<(&'static str, &'static str)>, u64);

impl Collector for Calls {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let clients = self.0.stats().clients;
        let each = |value: fn(&ClientStats) -> u64| -> Vec<Value> {
            clients.iter().map(|(transport, stats)| (*transport, None, value(stats))).collect()
        };
        let outcomes = clients.iter().flat_map(|(transport, stats)| {
            let ClientStats { completed, failed, cancelled, .. } = *stats;
            let outcomes = [("completed", completed), ("failed", failed), ("cancelled", cancelled)];
            outcomes.map(|(outcome, calls)| (*transport, Some(("outcome", outcome)), calls))
        });
        let refusals = clients.iter().flat_map(|(transport, stats)| {
            stats.refusals.iter().map(|(reason, count)| (*transport, Some(("reason", reason.name())), count))
        });
        let count = ConstCounter::new;
        let gauge = |value| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let out = &mut encoder;
        encode(out, "calls", "Calls to workers that have ended", outcomes, count)?;
        encode(out, "calls_in_flight", "Calls to workers that have not ended", each(|stats| stats.in_flight), gauge)?;
        encode(out, "connections", "Connections that are open", each(|stats| stats.connections), gauge)?;
        encode(out, "dials", "Connections that were opened", each(|stats| stats.dials), count)?;
        encode(out, "refusals", "What workers did that ended a connection to them", refusals, count)?;
        let help = "Messages from NATS that belonged to no call and were dropped";
        encode(out, "unknown_replies", help, each(|stats| stats.unknown_replies), count)
    }
}

/// One family with all its series; nothing of it while there are none.
fn encode<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = Value>,
    metric: impl Fn(u64) -> M,
) -> fmt::Result {
    let mut values = values.into_iter().peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, metric(0).metric_type())?;
    for (transport, label, value) in values {
        let mut labels = vec![("transport", transport.to_string())];
        labels.extend(label.map(|(key, value)| (key, value.to_owned())));
        metric(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calls")
    }
}
