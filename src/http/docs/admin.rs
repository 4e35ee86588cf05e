//! The document of the admin listener, where operators' orders are taken.

use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, HttpMethod, OpenApi, OpenApiBuilder, Paths, ResponsesBuilder, Server};

use super::{add, answers, fixed, info, v2};
use crate::http::admin::Done;
use crate::http::error::Body;
use crate::serving::Reloaded;

const INTRODUCTION: &str = "Orders of operators. Whoever reaches this listener may give them; web pages may not.";

/// What each order does.
const ORDERS: [(&str, &str); 4] = [
    ("restart", "Replaces a runner's executors one after the other; one that has ended begins anew"),
    ("pause", "Runs nothing more: calls are taken and wait"),
    ("resume", "Goes on after a pause"),
    ("drain", "Finishes what a runner has accepted, and stops it"),
];

/// The document of all that `serve_admin` takes.
pub(in crate::http) fn admin() -> OpenApi {
    let mut paths = Paths::new();
    for (order, about) in ORDERS {
        let responses = ResponsesBuilder::new()
            .response("200", fixed::answer("application/json", "ekiden.Done", "It is done."))
            .response("403", forbidden())
            .response(
                "409",
                fixed::refusal("The runner's state does not allow it, or another order is under way.", "impossible"),
            )
            .response("500", fixed::refusal("It was begun, and has failed.", "order_failed"));
        let responses = answers::NOT_FOUND.add_to(responses);
        let operation = fixed::operation(order, about, responses).parameter(fixed::runner());
        add(&mut paths, HttpMethod::Post, &format!("/v1/runners/{{runner}}/{order}"), operation.build());
    }
    let responses = ResponsesBuilder::new()
        .response("200", fixed::answer("application/json", "ekiden.Reloaded", "All of it is done."))
        .response("403", forbidden())
        .response(
            "409",
            fixed::refusal("A reload is going on and another waits, or the server goes away.", "impossible"),
        )
        .response("422", fixed::refusal("The new configuration is wrong; nothing has changed.", "invalid_config"))
        .response(
            "500",
            fixed::refusal("Some runners could not be changed, or the reload was lost.", "reload_incomplete"),
        );
    let about = "Reads the configuration again, and has what is served follow it";
    add(&mut paths, HttpMethod::Post, "/v1/reload", fixed::operation("reload", about, responses).build());
    v2::add_orders(&mut paths);
    fixed::add_docs(&mut paths);
    let components = v2::components(ComponentsBuilder::new())
        .schemas_from_iter(answers::schemas::<Body>())
        .schemas_from_iter(answers::schemas::<Done>())
        .schemas_from_iter(answers::schemas::<Reloaded>())
        .response(answers::NOT_FOUND.name, answers::NOT_FOUND.response());
    OpenApiBuilder::new()
        .info(info("Ekiden: orders", INTRODUCTION))
        .servers(Some([Server::new(".")]))
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some([TagBuilder::new().name(fixed::TAG).description(Some("Orders.")).build()]))
        .build()
}

fn forbidden() -> utoipa::openapi::Response {
    fixed::refusal("The order comes from a web page: it has an `origin`.", "forbidden")
}
