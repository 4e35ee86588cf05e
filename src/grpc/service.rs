//! The procedures, each in the words of the protocol's core.

use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::door::Bounds;
use super::infer::{Asked, log, model};
use super::inference::grpc_inference_service_server::GrpcInferenceService;
use super::inference::*;
use super::server::{GrpcOptions, Phase};
use super::status::{order, refusal};
use super::stream::{Answers, Common, answers};
use crate::oip::{self, Model, ServerMetadata};
use crate::serving::Serving;

/// Answers the procedures.
pub(super) struct Service {
    pub(super) serving: Serving,
    pub(super) options: GrpcOptions,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Service {
    fn model(&self, name: &str, version: &str) -> Result<Model, Status> {
        model(&self.serving, name, version).map_err(|error| refusal(&error))
    }

    /// Whoever reaches this port makes calls; who may give orders is for the server's operator to say.
    fn takes_orders(&self, model: &str, order: &str) -> Result<(), Status> {
        if self.options.takes_orders {
            return Ok(());
        }
        let model = crate::codec::json::excerpt(model.as_bytes());
        Err(Status::permission_denied(format!(
            "orders are not taken here: POST /v2/repository/models/{model}/{order} to the admin listener (admin_bind), or \
             start the server with grpc_orders = true"
        )))
    }
}

type Answered<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for Service {
    type ModelStreamInferStream = Answers;

    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Answered<ServerLiveResponse> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Answered<ServerReadyResponse> {
        let ready = *self.phase.borrow() == Phase::Serving && oip::not_ready(&self.serving).is_empty();
        Ok(Response::new(ServerReadyResponse { ready }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Answered<ModelReadyResponse> {
        let ModelReadyRequest { name, version } = request.into_inner();
        let ready = self.model(&name, &version)?.not_ready().is_none();
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(&self, _: Request<ServerMetadataRequest>) -> Answered<ServerMetadataResponse> {
        Ok(Response::new(ServerMetadata::new(self.options.takes_orders).into()))
    }

    async fn model_metadata(&self, request: Request<ModelMetadataRequest>) -> Answered<ModelMetadataResponse> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        Ok(Response::new(self.model(&name, &version)?.metadata().into()))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answered<ModelInferResponse> {
        let bounds = Bounds::of(&request);
        let request = request.into_inner();
        let (model, id) = (request.model_name.clone(), request.id.clone());
        let answer = async { Asked::new(&self.serving, request, &bounds)?.run().await }.await;
        log(&model, &id, &answer);
        answer.map(Response::new).map_err(|error| refusal(&error))
    }

    async fn model_stream_infer(&self, request: Request<Streaming<ModelInferRequest>>) -> Answered<Answers> {
        let common = Common {
            serving: self.serving.clone(),
            bounds: Bounds::of(&request),
            phase: self.phase.clone(),
            max_message_bytes: self.options.max_message_bytes,
        };
        Ok(Response::new(answers(request.into_inner(), common)))
    }

    async fn model_config(&self, request: Request<ModelConfigRequest>) -> Answered<ModelConfigResponse> {
        let ModelConfigRequest { name, version } = request.into_inner();
        let config = self.model(&name, &version)?.config().into();
        Ok(Response::new(ModelConfigResponse { config: Some(config) }))
    }

    async fn model_statistics(&self, request: Request<ModelStatisticsRequest>) -> Answered<ModelStatisticsResponse> {
        let ModelStatisticsRequest { name, version } = request.into_inner();
        let models = if name.is_empty() { Model::all(&self.serving) } else { vec![self.model(&name, &version)?] };
        let model_stats = models.iter().map(|model| model.statistics().into()).collect();
        Ok(Response::new(ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(&self, request: Request<RepositoryIndexRequest>) -> Answered<RepositoryIndexResponse> {
        let models = oip::index(&self.serving, request.into_inner().ready);
        Ok(Response::new(RepositoryIndexResponse { models: models.into_iter().map(Into::into).collect() }))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Answered<RepositoryModelLoadResponse> {
        let RepositoryModelLoadRequest { model_name: model, parameters, .. } = request.into_inner();
        self.takes_orders(&model, "load")?;
        oip::check_load(parameters.keys()).map_err(|error| refusal(&error))?;
        oip::load(&self.serving, &model).await.map_err(|error| order(&error))?;
        Ok(Response::new(RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Answered<RepositoryModelUnloadResponse> {
        let model = request.into_inner().model_name;
        self.takes_orders(&model, "unload")?;
        let done = oip::unload(&self.serving, &model, self.options.grace).await;
        done.map_err(|error| order(&error))?;
        Ok(Response::new(RepositoryModelUnloadResponse {}))
    }
}
