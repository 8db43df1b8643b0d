//! What is to be told of calls from places that cannot wait: credit, stop and abort.

use async_nats::Subject;
use bytes::Bytes;
use parking_lot::Mutex;
use plane_core::Code;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use crate::connection::{NatsConnection, Outbound};
use crate::head;

/// What is to be told, by the subject it goes to. There is one entry for each call at most.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    pending: Mutex<FxHashMap<Box<str>, Intent>>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Intent {
    credit: u64,
    stop: bool,
    abort: Option<Code>,
    /// Where a missing listener is reported to.
    reply: Option<Subject>,
}

impl Controls {
    pub(crate) fn credit(&self, to: &Subject, reply: Option<&Subject>, credit: u32) {
        self.change(to, |intent| {
            intent.credit += u64::from(credit);
            intent.reply = reply.cloned();
        });
    }

    pub(crate) fn stop(&self, to: &Subject) {
        self.change(to, |intent| intent.stop = true);
    }

    pub(crate) fn abort(&self, to: &Subject, code: Code) {
        self.change(to, |intent| intent.abort = Some(code));
    }

    fn change(&self, to: &Subject, change: impl FnOnce(&mut Intent)) {
        let mut pending = self.pending.lock();
        match pending.get_mut(to.as_str()) {
            Some(intent) => change(intent),
            None => {
                let mut intent = Intent::default();
                change(&mut intent);
                pending.insert(to.as_str().into(), intent);
            }
        }
        drop(pending);
        self.bell.notify_one();
    }

    /// Forgets everything: the connection is lost, and the calls with it.
    pub(crate) fn clear(&self) {
        self.pending.lock().clear();
    }

    /// Tells everything there is to tell, for ever.
    pub(crate) async fn run(&self, connection: &NatsConnection) {
        loop {
            self.bell.notified().await;
            self.tell(connection).await;
        }
    }

    /// Tells what there is to tell now.
    pub(crate) async fn tell(&self, connection: &NatsConnection) {
        let pending = std::mem::take(&mut *self.pending.lock());
        for (subject, intent) in pending {
            let reply = intent.reply.clone();
            let subject = Subject::from(&*subject);
            let message = Outbound { subject, reply, headers: Some(intent.into_headers()), payload: Bytes::new() };
            if let Err(error) = connection.publish(message).await {
                // The loss of the connection ends the call on both sides by itself.
                tracing::debug!(%error, "a call could not be told something");
            }
        }
    }
}

impl Intent {
    fn into_headers(self) -> async_nats::HeaderMap {
        let mut headers = async_nats::HeaderMap::new();
        if self.credit > 0 {
            head::set(&mut headers, head::CREDIT, self.credit.min(u32::MAX.into()));
        }
        if self.stop {
            head::set(&mut headers, head::STOP, 1);
        }
        if let Some(code) = self.abort {
            head::set(&mut headers, head::ABORT, code.0);
        }
        headers
    }
}
