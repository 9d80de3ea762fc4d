//! The description of the API (OpenAPI 3.1), made from the table of routes.

use super::answer::{Answer, json};
use super::call::Call;
use super::route::{Access, ROUTES, Route};
use axum::http::StatusCode;
use serde_json::{Map, Value as Json, json};

/// `GET /openapi.json`.
pub async fn get(_call: Call) -> Answer {
    Ok(json(StatusCode::OK, &description()))
}

/// The whole description.
pub fn description() -> Json {
    let mut paths: Map<String, Json> = Map::new();
    for route in ROUTES.iter().filter(|route| !route.title.is_empty()) {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.name().to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "autofunnel",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Events in, funnels out. Every error has the form {\"error\", \"hint\"?, \"field\"?}. A 2xx is sent only after what came in is durable. Every request may be sent again.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {
                        "error": { "type": "string", "description": "What is wrong, in one sentence" },
                        "hint": { "type": "string", "description": "What to do next" },
                        "field": { "type": "string", "description": "Path of the field: properties.amount" },
                    },
                },
            },
        },
    })
}

fn operation(route: &Route) -> Json {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Json> =
        in_path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })).collect();
    parameters.extend(
        route
            .query
            .iter()
            .map(|(name, doc)| json!({ "name": name, "in": "query", "description": doc, "schema": { "type": "string" } })),
    );
    let mut operation = json!({ "summary": route.title, "parameters": parameters, "responses": responses(route) });
    if !route.doc.is_empty() {
        operation["description"] = route.doc.into();
    }
    if let Access::Token(scope) = route.access {
        operation["security"] = json!([{ "token": [] }]);
        operation["x-scope"] = scope.name().into();
    }
    if route.body_bytes_max > 0 {
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": content(route.example) } });
    }
    operation
}

fn responses(route: &Route) -> Json {
    let mut responses: Map<String, Json> = Map::new();
    for (status, doc, example) in route.answers {
        let mut content = content(example);
        if *status >= 400 {
            content["schema"] = json!({ "$ref": "#/components/schemas/Error" });
        }
        responses.insert(status.to_string(), json!({ "description": doc, "content": { "application/json": content } }));
    }
    if responses.is_empty() {
        responses.insert("200".to_owned(), json!({ "description": route.title }));
    }
    if matches!(route.access, Access::Token(_) | Access::Metrics) {
        let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
        responses.insert("401".to_owned(), json!({ "description": "No valid token", "content": content }));
    }
    Json::Object(responses)
}

/// The examples of the table are JSON; a test makes sure of it.
fn content(example: &str) -> Json {
    match serde_json::from_str::<Json>(example) {
        Ok(example) => json!({ "example": example }),
        Err(_) => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_machines_is_described() {
        let description = description();
        for route in ROUTES.iter().filter(|route| matches!(route.access, Access::Token(_) | Access::Hook | Access::Metrics)) {
            let operation = &description["paths"][route.path][route.method.name().to_ascii_lowercase()];
            assert!(operation["responses"].as_object().is_some_and(|r| !r.is_empty()), "{}", route.path);
        }
        let post = &description["paths"]["/v1/events"]["post"];
        assert_eq!(post["requestBody"]["content"]["application/json"]["example"]["customer"], "C-17");
        assert_eq!(post["x-scope"], "ingest");
        assert!(description["paths"].get("/login").is_none());
    }
}
