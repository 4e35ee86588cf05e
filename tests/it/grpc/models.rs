//! What is asked about the server and its models.

use ekiden::grpc::GrpcOptions;
use ekiden::grpc::inference::*;
use tonic::Code;

use super::{Grpc, drained, options, refused, request};
use crate::http::iris;
use crate::kit;
use crate::support::{Gate, eventually};

fn named<T>(make: impl Fn(String, String) -> T, name: &str, version: &str) -> T {
    make(name.to_owned(), version.to_owned())
}

#[test]
fn the_server_says_what_it_is() {
    let server = Grpc::start(&iris());
    server.ask(async |mut client| {
        assert!(client.server_live(ServerLiveRequest {}).await.expect("an answer").into_inner().live);
        assert!(client.server_ready(ServerReadyRequest {}).await.expect("an answer").into_inner().ready);
        let about = client.server_metadata(ServerMetadataRequest {}).await.expect("an answer").into_inner();
        assert_eq!((about.name.as_str(), about.version.as_str()), ("ekiden", env!("CARGO_PKG_VERSION")));
        assert!(about.extensions.iter().any(|extension| extension == "statistics"), "{:?}", about.extensions);
        for absent in ["model_repository", "system_shared_memory", "cuda_shared_memory", "sequence", "trace"] {
            assert!(!about.extensions.iter().any(|extension| extension == absent), "{absent}");
        }
    });
}

#[test]
fn a_model_says_what_it_takes_and_how_it_is_served() {
    let server = Grpc::start(&iris());
    server.ask(async |mut client| {
        let ready = named(|name, version| ModelReadyRequest { name, version }, "iris_clf", "");
        assert!(client.model_ready(ready).await.expect("an answer").into_inner().ready);
        let asked = named(|name, version| ModelMetadataRequest { name, version }, "iris_clf", "");
        let about = client.model_metadata(asked).await.expect("an answer").into_inner();
        assert_eq!((about.name.as_str(), about.platform.as_str()), ("iris_clf", "ekiden"));
        let [input] = about.inputs.as_slice() else { panic!("one input: {about:?}") };
        let input = (input.name.as_str(), input.datatype.as_str(), input.shape.as_slice());
        assert_eq!(input, ("features", "FP32", &[-1, 4][..]));
        let [output] = about.outputs.as_slice() else { panic!("one output: {about:?}") };
        let output = (output.name.as_str(), output.datatype.as_str(), output.shape.as_slice());
        assert_eq!(output, ("probabilities", "FP32", &[-1, 3][..]));

        let asked = named(|name, version| ModelConfigRequest { name, version }, "iris_clf", "");
        let config = client.model_config(asked).await.expect("an answer").into_inner().config.expect("one");
        assert_eq!((config.name.as_str(), config.backend.as_str()), ("iris_clf", "ekiden"));
        assert!(config.max_batch_size > 1, "{config:?}");
        let [input] = config.input.as_slice() else { panic!("one input: {config:?}") };
        assert_eq!(
            (input.name.as_str(), input.data_type(), input.dims.as_slice()),
            ("features", DataType::TypeFp32, &[4][..])
        );
        let [group] = config.instance_group.as_slice() else { panic!("one group: {config:?}") };
        assert_eq!((group.kind(), group.count), (model_instance_group::Kind::Cpu, 1));
        assert!(
            matches!(config.scheduling_choice, Some(model_config::SchedulingChoice::DynamicBatching(_))),
            "{config:?}"
        );
        assert!(!config.model_transaction_policy.expect("a policy").decoupled);
    });
}

#[test]
fn a_model_that_is_not_there_is_not_found() {
    let server = Grpc::start(&iris());
    server.ask(async |mut client| {
        let missing =
            |name: &str, version: &str| named(|name, version| ModelMetadataRequest { name, version }, name, version);
        let hint = ["there is no model \"iris_cl\"", "did you mean \"iris_clf\"?"];
        refused(client.model_metadata(missing("iris_cl", "")).await, Code::NotFound, &hint);
        refused(client.model_metadata(missing("iris_clf", "7")).await, Code::NotFound, &["has no version \"7\""]);
        let long = "x".repeat(1 << 20);
        refused(client.model_metadata(missing(&long, "")).await, Code::NotFound, &["xxx…", "of 1048576 bytes"]);
        let config = named(|name, version| ModelConfigRequest { name, version }, "x", "");
        refused(client.model_config(config).await, Code::NotFound, &["there is no model"]);
        let ready = named(|name, version| ModelReadyRequest { name, version }, "x", "");
        refused(client.model_ready(ready).await, Code::NotFound, &["there is no model"]);
        let counts = named(|name, version| ModelStatisticsRequest { name, version }, "x", "");
        refused(client.model_statistics(counts).await, Code::NotFound, &["there is no model"]);
    });
}

#[test]
fn statistics_count_what_was_done() {
    let server = Grpc::start(&iris());
    let flower = || request("iris_clf", "features", "FP32", &[2, 4], vec![0; 32]);
    server.infer(flower()).expect("an answer");
    refused(server.infer(request("iris_clf", "features", "FP32", &[1, 3], vec![0; 12])), Code::InvalidArgument, &[]);
    let asked = |name: &str| named(|name, version| ModelStatisticsRequest { name, version }, name, "");
    let ask = |name: &str| {
        server.ask(async |mut client| client.model_statistics(asked(name)).await.expect("numbers").into_inner())
    };
    // Calls and batches are counted when they have been answered.
    eventually("all is counted", || {
        let one = ask("iris_clf");
        let calls = one.model_stats[0].inference_stats.as_ref().expect("calls");
        let [succeeded, failed] = [calls.success, calls.fail].map(|calls| calls.map(|calls| calls.count));
        (one.model_stats[0].execution_count, succeeded, failed) == (1, Some(1), Some(1))
    });
    let (all, one) = (ask(""), ask("iris_clf"));
    assert_eq!(all, one);
    let [model] = one.model_stats.as_slice() else { panic!("one model: {one:?}") };
    assert_eq!((model.name.as_str(), model.inference_count, model.execution_count), ("iris_clf", 2, 1));
    assert!(model.last_inference > 0, "{model:?}");
    let calls = model.inference_stats.as_ref().expect("calls");
    let count = |duration: &Option<StatisticDuration>| duration.map(|duration| (duration.count, duration.ns > 0));
    assert_eq!(count(&calls.success), Some((1, true)));
    assert_eq!(calls.fail.map(|fail| fail.count), Some(1));
    assert_eq!(count(&calls.compute_infer), Some((1, true)));
    let [batch] = model.batch_stats.as_slice() else { panic!("one size: {model:?}") };
    assert_eq!((batch.batch_size, count(&batch.compute_infer)), (2, Some((1, true))));
}

#[test]
fn orders_are_not_taken_unless_the_server_says_so() {
    let app = kit::app(&Gate::default(), |runner| runner);
    let load = |model: &str| RepositoryModelLoadRequest { model_name: model.to_owned(), ..Default::default() };
    let unload = |model: &str| RepositoryModelUnloadRequest { model_name: model.to_owned(), ..Default::default() };
    let public = Grpc::start(&app);
    public.ask(async |mut client| {
        let parts = ["POST /v2/repository/models/kit/load to the admin listener (admin_bind)", "grpc_orders = true"];
        refused(client.repository_model_load(load("kit")).await, Code::PermissionDenied, &parts);
        let refusal = client.repository_model_unload(unload("kit")).await;
        refused(refusal, Code::PermissionDenied, &["/models/kit/unload to the admin listener"]);
    });

    let operators = Grpc::with(&app, GrpcOptions { takes_orders: true, ..options() });
    let states = |ready: bool| {
        let asked = RepositoryIndexRequest { ready, ..RepositoryIndexRequest::default() };
        let index =
            operators.ask(async |mut client| client.repository_index(asked).await.expect("a list").into_inner());
        index.models.into_iter().find(|model| model.name == "kit.text").map(|model| (model.state, model.reason))
    };
    assert_eq!(states(true), Some(("READY".to_owned(), String::new())));
    operators.ask(async |mut client| {
        let about = client.server_metadata(ServerMetadataRequest {}).await.expect("an answer").into_inner();
        assert!(about.extensions.iter().any(|extension| extension == "model_repository"), "{:?}", about.extensions);
        client.repository_model_unload(unload("kit")).await.expect("it is done");
    });
    assert_eq!(states(true), None);
    assert_eq!(states(false), Some(("UNAVAILABLE".to_owned(), "runner \"kit\" is stopped".to_owned())));
    operators.ask(async |mut client| {
        assert!(!client.server_ready(ServerReadyRequest {}).await.expect("an answer").into_inner().ready);
        let ready = named(|name, version| ModelReadyRequest { name, version }, "kit.text", "");
        assert!(!client.model_ready(ready).await.expect("an answer").into_inner().ready);
        let one_of_many = client.repository_model_load(load("kit.text")).await;
        refused(one_of_many, Code::InvalidArgument, &["name that, for all of them"]);
        refused(client.repository_model_load(load("other")).await, Code::NotFound, &["there is no model \"other\""]);
        let own = RepositoryModelLoadRequest {
            parameters: [("config".to_owned(), Default::default())].into(),
            ..load("kit")
        };
        let parts = ["parameter \"config\": a model is what the configuration says"];
        refused(client.repository_model_load(own).await, Code::InvalidArgument, &parts);
        client.repository_model_load(load("kit")).await.expect("it is done");
    });
    assert_eq!(states(true), Some(("READY".to_owned(), String::new())));
}

#[test]
fn a_runner_that_has_stopped_is_unavailable() {
    let app = kit::app(&Gate::default(), |runner| runner);
    let server = Grpc::start(&app);
    drained(&app);
    let status = refused(server.infer(super::text("a")), Code::Unavailable, &["the runner has stopped"]);
    assert!(!status.details().is_empty(), "{status:?}");
}
