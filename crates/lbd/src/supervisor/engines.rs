//! The two engines as the supervisor sees them.

use tokio::sync::oneshot;

use super::slot::Engine;
use crate::advertiser::{self, Advertiser};
use crate::balancer::{self, Balancer};
use crate::engine::EventSink;

impl Engine for Advertiser {
    type Plan = lb_node::Plan;
    type Options = advertiser::Options;
    type Snapshot = lb_node::Status;
    type Legacy = advertiser::Legacy;
    const NAME: &'static str = "advertiser";

    fn start(plan: Self::Plan, options: Self::Options, events: EventSink) -> anyhow::Result<Self> {
        Ok(Self::start(plan, options, events)?)
    }

    fn apply(&self, plan: Self::Plan) -> oneshot::Receiver<Result<(), String>> {
        self.apply(plan)
    }

    fn status(&self) -> oneshot::Receiver<Self::Snapshot> {
        self.status()
    }

    fn stop(&self) -> impl Future<Output = Result<(), String>> + Send + 'static {
        let ended = self.stop();
        async move { ended.await.unwrap_or_else(|_| Err("because it failed".to_owned())) }
    }

    fn legacy(&mut self) -> Self::Legacy {
        Self::legacy(self)
    }

    async fn ended(&mut self) -> String {
        self.ended().await
    }
}

impl Engine for Balancer {
    type Plan = balancer::Plan;
    type Options = balancer::Options;
    type Snapshot = balancer::Snapshot;
    type Legacy = Option<balancer::Legacy>;
    const NAME: &'static str = "balancer";

    fn start(plan: Self::Plan, options: Self::Options, events: EventSink) -> anyhow::Result<Self> {
        Ok(Self::start(plan, options, events)?)
    }

    fn apply(&self, plan: Self::Plan) -> oneshot::Receiver<Result<(), String>> {
        self.apply(plan)
    }

    fn status(&self) -> oneshot::Receiver<Self::Snapshot> {
        self.status()
    }

    fn stop(&self) -> impl Future<Output = Result<(), String>> + Send + 'static {
        let ended = self.stop();
        async move {
            // One that panics has no entries that its successor would not find.
            let _ = ended.await;
            Ok(())
        }
    }

    fn legacy(&mut self) -> Self::Legacy {
        self.take_legacy()
    }

    async fn ended(&mut self) -> String {
        self.ended().await
    }
}
