//! An engine behind an endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use plane_core::{Context, EndpointId, Error, Status, typed};
use plane_manager::{NetworkManager, Service};

use crate::engine::Engine;
use crate::generate::GenerateRequest;

/// The key of an instance's metadata that says which model it serves.
pub const MODEL: &str = "model";

/// Answers requests for `model` at `endpoint` with `engine`, until the [`Service`] is dropped or shut down.
///
/// # Errors
/// As [`NetworkManager::serve`].
pub async fn serve_model(
    manager: &NetworkManager,
    endpoint: EndpointId,
    model: &str,
    engine: impl Engine,
) -> Result<Service, Error> {
    let metadata = BTreeMap::from([(MODEL.to_owned(), model.to_owned())]);
    let (engine, model): (_, Arc<str>) = (Arc::new(engine), model.into());
    let handler = typed::streaming(move |request: GenerateRequest, context: Context| {
        let (engine, model) = (engine.clone(), model.clone());
        async move {
            if request.model != *model {
                let what = format!("this worker serves the model {model:?} and was asked for {:?}", request.model);
                return Err(Status::not_found(what));
            }
            engine.generate(request, context).await
        }
    });
    manager.serve_with_metadata(endpoint, metadata, handler).await
}
