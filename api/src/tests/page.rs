//! The document and its page.

use std::path::Path;

use serde_json::Value;

use crate::tests::house::House;

/// `UPDATE_GOLDEN=1 cargo test -p api` writes it anew.
#[tokio::test]
async fn the_document_is_the_one_that_was_reviewed() {
    let house = House::open().await;
    let served = house.get("/openapi.json").await;
    let document = serde_json::to_string_pretty(&served.json()).unwrap() + "\n";
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/openapi.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &document).unwrap();
    }

    assert_eq!(std::fs::read_to_string(golden).unwrap_or_default(), document);
}

#[tokio::test]
async fn every_operation_has_an_id_and_says_how_it_fails() {
    let house = House::open().await;
    let document = house.get("/openapi.json").await.json();

    assert!(document["openapi"].as_str().unwrap().starts_with("3.0"));
    for (path, methods) in document["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            assert!(operation["operationId"].is_string(), "{path}");
            for status in ["400", "401", "403", "404", "405", "414", "429", "500", "503"] {
                let reference = &operation["responses"][status]["$ref"];
                let response = document.pointer(&reference.as_str().unwrap()[1..]).unwrap();
                let body = &response["content"]["application/problem+json"];
                assert_eq!(body["schema"]["$ref"], "#/components/schemas/ErrorBody", "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_is_asked_for_has_no_other_fields() {
    let house = House::open().await;
    let document = house.get("/openapi.json").await.json();
    let mut bodies = 0;
    for operation in document["paths"].as_object().unwrap().values() {
        for operation in operation.as_object().unwrap().values() {
            let content = operation["requestBody"]["content"].as_object();
            for media in content.into_iter().flat_map(|content| content.values()) {
                let reference = media["schema"]["$ref"].as_str().unwrap();
                let schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
                assert_eq!(schema["additionalProperties"], false, "{reference}");
                bodies += 1;
            }
        }
    }
    assert_eq!(bodies, 11);
}

#[tokio::test]
async fn every_operation_says_who_may_ask_for_it_and_how_often() {
    let house = House::open().await;
    let document = house.get("/openapi.json").await.json();
    let schemes = &document["components"]["securitySchemes"];
    for (path, methods) in document["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            let security = operation["security"].as_array().unwrap();
            assert!(!security.is_empty(), "{path}");
            for scheme in security {
                let name = scheme.as_object().unwrap().keys().next().unwrap();
                assert!(schemes[name].is_object(), "{path} {name}");
            }
            assert!(operation["description"].as_str().unwrap().contains("Needs "), "{path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let response = match response["$ref"].as_str() {
                    Some(reference) => document.pointer(&reference[1..]).unwrap(),
                    None => response,
                };
                let is_let_in = !matches!(status.as_str(), "401" | "403" | "405");
                for header in ["RateLimit-Policy", "RateLimit", "X-RateLimit-Remaining"] {
                    let told = response["headers"][header].is_object();
                    assert_eq!(told, is_let_in, "{path} {status} {header}");
                }
                let challenged = response["headers"]["WWW-Authenticate"].is_object();
                assert_eq!(challenged, status == "401", "{path} {status}");
            }
        }
    }
    assert_eq!(schemes["ApiKey"]["name"], "X-API-Key");
}

#[tokio::test]
async fn a_path_with_two_methods_tells_and_checks_both() {
    let house = House::open().await;
    let document = house.get("/openapi.json").await.json();
    let methods = document["paths"]["/portfolio/positions"].as_object().unwrap();
    assert_eq!(methods.keys().collect::<Vec<_>>(), ["get", "post"]);

    assert_eq!(house.get("/v1/portfolio/positions?states=open").await.status, 400);
    let put = house.call("PUT", "/v1/portfolio/positions", "{}", &[]).await;
    assert_eq!((put.status, put.header("Allow")), (405, Some("GET, POST, HEAD")));
}

/// Every reference in a part of a document leads somewhere in it.
pub(crate) fn assert_references(value: &Value, document: &Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            object.values().for_each(|value| assert_references(value, document));
        }
        Value::Array(values) => values.iter().for_each(|value| assert_references(value, document)),
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let house = House::open().await;
    let document = house.get("/openapi.json").await.json();

    assert_references(&document, &document);
}

#[tokio::test]
async fn the_page_runs_no_script_but_ours() {
    let house = House::open().await;
    let page = house.get("/docs").await;

    assert_eq!(page.status, 200);
    assert!(page.header("Content-Security-Policy").unwrap().contains("script-src 'self';"));
    assert!(!page.body.contains("http://") && !page.body.contains("https://"));
    for path in page.body.split('"').filter(|text| text.starts_with("/docs/")) {
        let asset = house.get(path).await;
        assert_eq!(asset.status, 200, "{path}");

        let held = [("If-None-Match", asset.header("ETag").unwrap())];
        assert_eq!(house.ask("GET", path, &held).await.status, 304, "{path}");
    }
    let bundle = house.get("/docs/swagger-ui-bundle.js").await;
    assert_eq!(bundle.header("Content-Encoding"), Some("gzip"));
    assert_eq!(house.get("/docs/LICENSE.txt").await.status, 200);
}
