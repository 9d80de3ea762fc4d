//! The table of routes, and what is made of it: the router and (in `openapi`) the description.

use super::answer::{Answer, Reply, method_not_allowed};
use super::auth::Scope;
use super::call::Call;
use super::dispatch::dispatch;
use super::serve::nothing_here;
use super::{WebState, api, openapi, pages};
use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::routing::{MethodFilter, MethodRouter, on};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Largest body of a webhook, in bytes.
pub const HOOK_BYTES_MAX: usize = 256 * 1024;
/// Largest workspace that is sent, in bytes.
pub const WORKSPACE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest form, in bytes.
const FORM_BYTES_MAX: usize = 4 * 1024;

/// Who may use a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Everybody.
    Open,
    /// A token with this scope (or `admin`).
    Token(Scope),
    /// A token that may read, unless the settings open it.
    Metrics,
    /// The webhook's own signature.
    Hook,
    /// A form of our own page, without a login.
    Login,
    /// A person who has logged in with a token that may read.
    Page,
}

/// What a request wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Read.
    Get,
    /// Add or ask.
    Post,
    /// Set.
    Put,
    /// Remove.
    Delete,
}

impl Verb {
    /// As it stands in a request.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Put => "PUT",
            Verb::Delete => "DELETE",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Put => MethodFilter::PUT,
            Verb::Delete => MethodFilter::DELETE,
        }
    }
}

/// What a handler is.
pub type Handler = fn(Call) -> BoxFuture<'static, Answer>;

/// One way in.
pub struct Route {
    /// Its method.
    pub method: Verb,
    /// Its path, with `{names}`.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    /// What it is for, in a few words.
    pub title: &'static str,
    /// What else there is to say.
    pub doc: &'static str,
    /// Parameters of the query: name and meaning.
    pub query: &'static [(&'static str, &'static str)],
    /// Largest body; 0: none is read.
    pub body_bytes_max: usize,
    /// An example of the body.
    pub example: &'static str,
    /// Answers: status, meaning, example (may be empty).
    pub answers: &'static [(u16, &'static str, &'static str)],
    /// What it does.
    pub handler: Handler,
}

/// A route with nothing but method, path, access, title and handler.
const fn plain(method: Verb, path: &'static str, access: Access, title: &'static str, handler: Handler) -> Route {
    Route { method, path, access, title, doc: "", query: &[], body_bytes_max: 0, example: "", answers: &[], handler }
}

const INGEST: Access = Access::Token(Scope::Ingest);
const READ: Access = Access::Token(Scope::Read);
const OPERATE: Access = Access::Token(Scope::Operate);
const ADMIN: Access = Access::Token(Scope::Admin);

const LIMIT: (&str, &str) = ("limit", "How many rows, from 1 to 500; 100 when missing");

/// Every way in.
pub static ROUTES: &[Route] = &[
    Route {
        method: Verb::Post,
        path: "/v1/events",
        access: INGEST,
        title: "Send events",
        doc: "One event, a list of at most 1,000, or one per line (content-type application/x-ndjson). An event that is sent again with the same id counts once. `time` is now when missing; `properties` are whatever the event has.",
        query: &[],
        body_bytes_max: BODY_BYTES_MAX,
        example: r#"{"id":"order-1001","event":"purchase","customer":"C-17","time":"2027-03-01T09:00:00Z","properties":{"order_id":"1001","amount":42.50,"items":[{"sku":"beans-house","category":"beans","quantity":1,"amount":42.50}]}}"#,
        answers: &[
            (202, "Accepted and durable; for several events with the list of those that were not", r#"{"status":"accepted"}"#),
            (200, "Known already, with the same content", r#"{"status":"duplicate"}"#),
            (
                409,
                "This id was sent before with other content; the first one is kept",
                r#"{"error":"this id was sent before with other content","hint":"the first one is kept; give the new event an id of its own"}"#,
            ),
            (
                400,
                "Refused",
                r#"{"error":"`customer` is missing","hint":"say to whom it happened, with your id for that customer","field":"customer"}"#,
            ),
            (413, "Larger than 1 MiB", ""),
            (503, "The store is not available; send it again", ""),
        ],
        handler: |call| Box::pin(api::events::post(call)),
    },
    Route {
        query: &[("query", "Beginning of id, name, e-mail or phone"), ("after", "The last id of the page before"), LIMIT],
        answers: &[(
            200,
            "A page of customers",
            r#"{"customers":[{"id":"C-17","name":"Ada Lovelace","email":"ada@example.com","phone":"","segments":["vip"]}],"next":null}"#,
        )],
        ..plain(Verb::Get, "/v1/customers", READ, "List customers", |call| Box::pin(api::customers::list(call)))
    },
    Route {
        answers: &[
            (
                200,
                "The customer",
                r#"{"id":"C-17","created":"2027-01-10T09:00:00Z","profile":{"name":"Ada Lovelace"},"consent":{},"suppressed":[],"membership":null,"loyalty":{"balance":200},"segments":{},"runs":[]}"#,
            ),
            (404, "Not known", ""),
        ],
        ..plain(Verb::Get, "/v1/customers/{id}", READ, "Read a customer", |call| Box::pin(api::customers::get(call)))
    },
    Route {
        doc: "What is given is changed, the rest stays; a field set to null is removed. `consent` takes true, false or a map with granted, source, time and topic. `membership` is taken only with `membership_owner: api` or `account`.",
        body_bytes_max: BODY_BYTES_MAX,
        example: r#"{"profile":{"name":"Ada Lovelace","email":"ada@example.com","zone":"Europe/Berlin","birthday":"1992-02-29"},"consent":{"email":true,"sms":{"granted":false,"source":"checkout"}}}"#,
        answers: &[(202, "Accepted and durable", r#"{"status":"accepted"}"#), (400, "Refused", "")],
        ..plain(Verb::Put, "/v1/customers/{id}", OPERATE, "Change a customer", |call| Box::pin(api::customers::put(call)))
    },
    Route {
        answers: &[
            (202, "Accepted: runs stop, and everything known is removed", r#"{"status":"accepted"}"#),
            (404, "Not known", ""),
        ],
        ..plain(Verb::Delete, "/v1/customers/{id}", OPERATE, "Forget a customer", |call| Box::pin(api::customers::delete(call)))
    },
    Route {
        query: &[("before", "The last `seq` of the page before"), LIMIT],
        answers: &[
            (
                200,
                "What happened, newest first, and why",
                r#"{"facts":[{"seq":7,"at":"2027-03-01T09:00:00Z","what":"sent","about":"welcome-mail","sentence":"Sent “welcome-mail” by email","why":"","seen":[],"run":{"funnel":"welcome","run":1,"step":"email_1"}}],"next":null}"#,
            ),
            (404, "There is no such customer", ""),
        ],
        ..plain(Verb::Get, "/v1/customers/{id}/timeline", READ, "Read a customer's timeline", |call| {
            Box::pin(api::customers::timeline(call))
        })
    },
    Route {
        answers: &[(
            200,
            "Funnels with their figures of the last 365 days",
            r#"{"funnels":[{"name":"welcome","title":"Welcome to the roastery","trigger":"the first purchase","events":["purchase"],"waiting":12,"figures":{"entered":40,"sent":55}}]}"#,
        )],
        ..plain(Verb::Get, "/v1/funnels", READ, "List funnels", |call| Box::pin(api::funnels::list(call)))
    },
    Route {
        doc: "The id of the request (header Idempotency-Key or field `id`) makes sure that sending it again starts no second run. A funnel whose trigger is not `manual` starts only with `force`.",
        body_bytes_max: BODY_BYTES_MAX,
        example: r#"{"customer":"C-17","id":"invite-2027-03","properties":{"gift":"mug"}}"#,
        answers: &[
            (202, "Accepted and durable", r#"{"status":"accepted"}"#),
            (200, "Asked for before", r#"{"status":"duplicate"}"#),
            (404, "No such funnel", ""),
            (409, "This id was used before for something else", ""),
        ],
        ..plain(Verb::Post, "/v1/funnels/{name}/runs", OPERATE, "Start a run", |call| Box::pin(api::funnels::start(call)))
    },
    Route {
        query: &[
            ("customer", "Only of this customer"),
            ("funnel", "Only of this funnel"),
            ("state", "waiting, held, sending, review, unresolved, finished, exited or stopped"),
            LIMIT,
        ],
        answers: &[(
            200,
            "Runs, newest first",
            r#"{"runs":[{"customer":"C-17","run":1,"funnel":"welcome","version":"4f2a…","state":"waiting","step":"wait_1","entered":"2027-03-01T09:00:00Z","until":"2027-03-04T09:00:00Z"}]}"#,
        )],
        ..plain(Verb::Get, "/v1/runs", READ, "List runs", |call| Box::pin(api::funnels::runs(call)))
    },
    Route {
        doc: "Scopes: `ingest` sends events, `import` imports, `read` reads, `operate` changes customers and starts runs, `admin` may do everything. Only a digest of the token is kept: it cannot be shown again.",
        body_bytes_max: BODY_BYTES_MAX,
        example: r#"{"name":"web shop","scopes":["ingest"],"expires":"2999-12-31T00:00:00Z"}"#,
        answers: &[(201, "The token, shown this one time", r#"{"token":"af_…","name":"web shop"}"#), (400, "Refused", "")],
        ..plain(Verb::Post, "/v1/tokens", ADMIN, "Make a token", |call| Box::pin(api::tokens::post(call)))
    },
    Route {
        query: &[("from", "First day, 2027-03-01; 365 days ago when missing"), ("to", "Last day; today when missing")],
        answers: &[(
            200,
            "Figures by day, funnel, step and kind of fact",
            r#"{"from":"2027-03-01","to":"2027-03-30","figures":[{"day":"2027-03-01","funnel":"welcome","version":"4f2a","step":"email_1","variant":"email","what":"sent","reason":"","count":12,"amount":0}]}"#,
        )],
        ..plain(Verb::Get, "/v1/stats", READ, "Read figures", |call| Box::pin(api::funnels::stats(call)))
    },
    Route {
        query: &[
            ("funnel", "Of this funnel; all of them and the shop when missing"),
            ("from", "First day, 2027-03-01; 365 days up to the last one when missing"),
            ("to", "Last day; today when missing"),
            ("by", "day, version, step, variant, channel, segment or cohort"),
            ("per", "Cohorts of a `week` or a `month`"),
            ("segment", "Cohorts of those who were in this segment when they entered"),
        ],
        answers: &[
            (
                200,
                "Statistics as tables; conversions and revenue are of those who entered in these days",
                r#"{"funnel":"welcome","from":"2027-03-01","to":"2027-03-30","by":"channel","zone":"Europe/Berlin","currency":"EUR","tables":[{"name":"channels","title":"Messages by channel","columns":[{"name":"channel","kind":"text"},{"name":"sent","kind":"count"}],"rows":[{"channel":"email","sent":12}]}],"notes":[]}"#,
            ),
            (400, "Refused", ""),
            (404, "There is no such funnel", ""),
        ],
        ..plain(Verb::Get, "/v1/stats/report", READ, "Read statistics", |call| Box::pin(api::stats::show(call)))
    },
    Route {
        query: &[("customer", "Only of this customer"), ("before", "Only before this instant"), LIMIT],
        answers: &[(
            200,
            "Messages kept by the development inbox, newest first",
            r#"{"messages":[{"id":"C-17/1/email_1/1","customer":"C-17","channel":"email","to":"ada@example.com","funnel":"welcome","template":"welcome-mail","subject":"Welcome, Ada","text":"…","html":"","at":"2027-03-01T09:00:00Z"}]}"#,
        )],
        ..plain(Verb::Get, "/v1/messages", READ, "List kept messages", |call| Box::pin(api::messages::list(call)))
    },
    Route {
        query: &[LIMIT],
        answers: &[(
            200,
            "Effects that wait, next due first, with the last failure; and those that are held for a person's word",
            r#"{"waiting":[{"effect":"C-17/1/email_1/1","customer":"C-17","due":"2027-03-01T09:00:00Z","attempts":2,"why":"the answer was 503"}],"held":[{"effect":"C-18/2/gift/1","customer":"C-18","funnel":"welcome","run":2,"entered":"2027-03-01T09:00:00Z","why":"unknown: no answer: none within 10 s"}]}"#,
        )],
        ..plain(Verb::Get, "/v1/effects", READ, "List effects", |call| Box::pin(api::effects::list(call)))
    },
    Route {
        query: &[("effect", "The effect's id")],
        answers: &[
            (
                200,
                "All that is known of it",
                r#"{"effect":"C-17/1/email_1/1","customer":"C-17","funnel":"welcome","run":1,"step":"email_1","kind":"message","provider":"mail","content":{"channel":"email","to":"ada@example.com","template":"welcome-mail","variables":{}},"decided_at":"2027-03-01T09:00:00Z","valid_until":"2027-03-04T09:00:00Z","due":"2027-03-01T09:10:00Z","attempts":2,"why":"the answer was 503","doubtful_since":null}"#,
            ),
            (404, "It is not on its way", ""),
        ],
        ..plain(Verb::Get, "/v1/customers/{id}/effects", READ, "Show an effect", |call| Box::pin(api::effects::show(call)))
    },
    Route {
        doc: "It is tried at once, under the same key and with the same content. What is paused or limited goes on waiting.",
        body_bytes_max: BODY_BYTES_MAX,
        example: r#"{"effect":"C-17/1/email_1/1"}"#,
        answers: &[(200, "It is due", r#"{"status":"due"}"#), (404, "It does not wait, or is being sent", "")],
        ..plain(Verb::Post, "/v1/customers/{id}/effects/retry", OPERATE, "Retry an effect", |call| {
            Box::pin(api::effects::retry(call))
        })
    },
    Route {
        doc: "Its run goes on as after a refusal; where an earlier attempt may have had its effect, as after one whose fate is unknown.",
        body_bytes_max: BODY_BYTES_MAX,
        example: r#"{"effect":"C-17/1/email_1/1","why":"the address is wrong"}"#,
        answers: &[(200, "It is dropped", r#"{"status":"dropped"}"#), (404, "It does not wait, or is being sent", "")],
        ..plain(Verb::Post, "/v1/customers/{id}/effects/drop", OPERATE, "Drop an effect", |call| {
            Box::pin(api::effects::discard(call))
        })
    },
    Route {
        query: &[("funnel", "Only of this funnel"), LIMIT],
        answers: &[(
            200,
            "Steps that are held for review, with what they look like",
            r#"{"held":[{"effect":"C-17/4/email_1/1","customer":"C-17","funnel":"spring-sale","run":4,"step":"email_1","since":"2027-03-01T09:00:00Z","until":"2027-03-02T09:00:00Z","channel":"email","to":"ada@example.com","subject":"Spring sale","text":"…"}]}"#,
        )],
        ..plain(Verb::Get, "/v1/review", READ, "List steps held for review", |call| Box::pin(api::review::list(call)))
    },
    Route {
        doc: "It is decided as if it had just been come to: consent, quiet hours and caps count as they are now.",
        body_bytes_max: BODY_BYTES_MAX,
        example: r#"{"effect":"C-17/4/email_1/1"}"#,
        answers: &[
            (202, "Accepted and durable", r#"{"status":"accepted"}"#),
            (200, "Said before", r#"{"status":"duplicate"}"#),
            (404, "Nothing is held under that id, or not any more", ""),
            (409, "Something else was said of it before", ""),
        ],
        ..plain(Verb::Post, "/v1/customers/{id}/review/release", OPERATE, "Release a step", |call| {
            Box::pin(api::review::release(call))
        })
    },
    Route {
        doc: "The step is skipped, and the run goes on.",
        body_bytes_max: BODY_BYTES_MAX,
        example: r#"{"effect":"C-17/4/email_1/1","why":"wrong picture"}"#,
        answers: &[
            (202, "Accepted and durable", r#"{"status":"accepted"}"#),
            (200, "Said before", r#"{"status":"duplicate"}"#),
            (404, "Nothing is held under that id, or not any more", ""),
            (409, "Something else was said of it before", ""),
        ],
        ..plain(Verb::Post, "/v1/customers/{id}/review/reject", OPERATE, "Reject a step", |call| {
            Box::pin(api::review::reject(call))
        })
    },
    Route {
        answers: &[(
            200,
            "What is paused, since when, by whom and why",
            r#"{"pauses":[{"funnel":"welcome","since":"2027-03-01T09:00:00Z","by":"ada","why":"wrong price in the letter"}]}"#,
        )],
        ..plain(Verb::Get, "/v1/pauses", READ, "List pauses", |call| Box::pin(api::pauses::list(call)))
    },
    Route {
        answers: &[(
            200,
            "Its hash, what was applied, newest first, and how far the look at everybody is that follows an apply",
            r#"{"hash":"4f1c","applied":[{"hash":"4f1c","at":"2027-03-01T09:00:00Z","by":"ada","note":"spring offers","before":"90aa"}],"scan":{"running":true,"turned":1500,"customers":20000}}"#,
        )],
        ..plain(Verb::Get, "/v1/workspace", READ, "Show the workspace in force", |call| Box::pin(api::workspace::show(call)))
    },
    Route {
        doc: "Nothing is changed. `files` are the texts of the workspace's files by their paths in its folder; `version` instead is the beginning of the hash of one that was in force. For live runs it says, step by step, how many stay, migrate, fire (go on at a step that is another one now) or exit.",
        body_bytes_max: WORKSPACE_BYTES_MAX,
        example: r#"{"files":{"autofunnel.yaml":"workspace: Shop\nzone: Europe/Berlin\ncurrency: EUR\n"}}"#,
        answers: &[
            (
                200,
                "What would change, and for which runs",
                r#"{"base":"90aa","hash":"4f1c","changes":[{"kind":"funnel","name":"welcome","how":"changed"}],"runs":[{"funnel":"welcome","version":"1b2c3d4e","step":"wait_1","count":120,"fate":"migrate","to":"wait_1"}],"refused":[]}"#,
            ),
            (404, "No version begins like this", ""),
            (422, "The workspace has faults; `faults` lists them", ""),
        ],
        ..plain(Verb::Post, "/v1/workspace/plan", OPERATE, "Plan a workspace", |call| Box::pin(api::workspace::plan(call)))
    },
    Route {
        doc: "`base` is the hash that the plan was made against: when another workspace is in force by now, nothing is done. The same files again change nothing. Live runs stay on their version, or move, as each funnel's `on_change` says.",
        body_bytes_max: WORKSPACE_BYTES_MAX,
        example: r#"{"version":"90aa","base":"4f1c","note":"back to last week"}"#,
        answers: &[
            (200, "It is in force, or was already", r#"{"status":"applied","hash":"90aa"}"#),
            (404, "No version begins like this", ""),
            (409, "Another workspace is in force by now, or live runs use what would be gone", ""),
            (422, "The workspace has faults; `faults` lists them", ""),
        ],
        ..plain(Verb::Post, "/v1/workspace/apply", ADMIN, "Apply a workspace", |call| Box::pin(api::workspace::apply(call)))
    },
    Route {
        doc: "Once this is answered nothing of it leaves: no message, no booking, no call. Customers go on entering and waiting. Name one of `funnel`, `provider` and `workspace` (true).",
        body_bytes_max: BODY_BYTES_MAX,
        example: r#"{"funnel":"welcome","why":"wrong price in the letter"}"#,
        answers: &[
            (
                200,
                "It is paused",
                r#"{"funnel":"welcome","since":"2027-03-01T09:00:00Z","by":"ada","why":"wrong price in the letter"}"#,
            ),
            (404, "There is no such funnel or provider", ""),
        ],
        ..plain(Verb::Post, "/v1/pauses", OPERATE, "Pause", |call| Box::pin(api::pauses::pause(call)))
    },
    Route {
        doc: "What waited for it leaves at once, within the limits of its provider; what has outlived its time is decided anew.",
        body_bytes_max: BODY_BYTES_MAX,
        example: r#"{"funnel":"welcome"}"#,
        answers: &[(200, "It goes on", r#"{"funnel":"welcome","status":"resumed"}"#), (404, "It is not paused", "")],
        ..plain(Verb::Post, "/v1/pauses/end", OPERATE, "Resume", |call| Box::pin(api::pauses::resume(call)))
    },
    Route {
        doc: "For a grant whose call broke off, at a store that takes no key: whoever has looked it up there says what was found, and the run goes on.",
        body_bytes_max: BODY_BYTES_MAX,
        example: r#"{"effect":"C-18/2/gift/1","outcome":"accepted","points":100,"why":"found in their list"}"#,
        answers: &[
            (202, "Accepted and durable", r#"{"status":"accepted"}"#),
            (200, "Said before", r#"{"status":"duplicate"}"#),
            (404, "No run of this customer is held by that effect, or not any more", ""),
            (409, "Something else was said of it before", ""),
        ],
        ..plain(Verb::Post, "/v1/customers/{id}/effects/resolve", OPERATE, "Resolve an effect", |call| {
            Box::pin(api::effects::resolve(call))
        })
    },
    Route {
        query: &[LIMIT],
        answers: &[(
            200,
            "Inputs put aside because turns on them failed again and again, newest first, with the cause",
            r#"{"inputs":[{"customer":"C-17","seq":4711,"at":"2027-03-01T09:00:00Z","cause":"the process ended while handling it (3 times)","input":{"accepted_at":1803891600000,"body":"Erase"}}]}"#,
        )],
        ..plain(Verb::Get, "/v1/quarantine", READ, "List inputs put aside", |call| Box::pin(api::quarantine::list(call)))
    },
    Route {
        doc: "The input is accepted anew, behind everything that waits for this customer.",
        answers: &[
            (202, "Accepted and durable", r#"{"status":"accepted"}"#),
            (404, "No such input is put aside, or not any more", ""),
        ],
        ..plain(Verb::Post, "/v1/customers/{id}/quarantine/{seq}/retry", OPERATE, "Retry an input put aside", |call| {
            Box::pin(api::quarantine::retry(call))
        })
    },
    Route {
        answers: &[
            (200, "It is dropped for good", r#"{"status":"dropped"}"#),
            (404, "No such input is put aside, or not any more", ""),
        ],
        ..plain(Verb::Delete, "/v1/customers/{id}/quarantine/{seq}", OPERATE, "Drop an input put aside", |call| {
            Box::pin(api::quarantine::discard(call))
        })
    },
    Route {
        doc: "Fills history and fires nothing. One JSON document per line (application/x-ndjson), a JSON list of up to 10,000 of them (an item's place counts as its line), or comma-separated rows (text/csv); a row with `event` is an event of the past, any other a customer. Sending the same rows again does no harm.",
        body_bytes_max: BODY_BYTES_MAX,
        example: r#"{"customer":"C-17","profile":{"name":"Ada Lovelace"},"consent":{"email":true}}"#,
        answers: &[
            (200, "What became of the rows", r#"{"accepted":1,"duplicates":0,"conflicts":0,"refused":0,"items":[]}"#),
            (400, "The body cannot be read, or every row was refused", ""),
        ],
        ..plain(Verb::Post, "/v1/import", Access::Token(Scope::Import), "Import customers and past events", |call| {
            Box::pin(api::import::post(call))
        })
    },
    Route {
        doc: "The source's settings say how a delivery proves where it comes from and which events it means. Either all of its events are taken in or none.",
        body_bytes_max: HOOK_BYTES_MAX,
        answers: &[
            (202, "Accepted and durable", r#"{"status":"accepted"}"#),
            (200, "Known already (`duplicate`), or it means no event (`ignored`)", r#"{"status":"ignored"}"#),
            (400, "It cannot be used", ""),
            (401, "It does not prove where it comes from", ""),
            (404, "No such source", ""),
            (409, "This id was sent before with other content; the first one is kept", ""),
        ],
        ..plain(Verb::Post, "/hooks/{source}", Access::Hook, "Deliver a webhook", |call| Box::pin(api::hooks::post(call)))
    },
    plain(Verb::Get, "/livez", Access::Open, "Whether the process runs", |call| Box::pin(api::health::live(call))),
    Route {
        answers: &[(200, "Ready", ""), (503, "The store is not available, or the server is stopping", "")],
        ..plain(Verb::Get, "/readyz", Access::Open, "Whether requests are welcome", |call| Box::pin(api::health::ready(call)))
    },
    plain(Verb::Get, "/metrics", Access::Metrics, "Figures for Prometheus", |call| Box::pin(api::health::metrics(call))),
    plain(Verb::Get, "/openapi.json", Access::Open, "This description", |call| Box::pin(openapi::get(call))),
    plain(Verb::Get, "/assets/style.css", Access::Open, "", |call| Box::pin(pages::assets::style(call))),
    plain(Verb::Get, "/assets/app.js", Access::Open, "", |call| Box::pin(pages::assets::script(call))),
    plain(Verb::Get, "/u/{token}", Access::Open, "", |call| Box::pin(pages::links::ask(call))),
    Route {
        body_bytes_max: FORM_BYTES_MAX,
        ..plain(Verb::Post, "/u/{token}", Access::Open, "", |call| Box::pin(pages::links::unsubscribe(call)))
    },
    plain(Verb::Get, "/l/{token}", Access::Open, "", |call| Box::pin(pages::links::follow(call))),
    plain(Verb::Get, "/login", Access::Open, "", |call| Box::pin(pages::login::form(call))),
    Route {
        body_bytes_max: FORM_BYTES_MAX,
        ..plain(Verb::Post, "/login", Access::Login, "", |call| Box::pin(pages::login::submit(call)))
    },
    Route {
        body_bytes_max: FORM_BYTES_MAX,
        ..plain(Verb::Post, "/logout", Access::Login, "", |call| Box::pin(pages::login::leave(call)))
    },
    plain(Verb::Get, "/", Access::Page, "", |call| Box::pin(pages::overview::show(call))),
    plain(Verb::Get, "/funnels/{name}", Access::Page, "", |call| Box::pin(pages::funnel::show(call))),
    plain(Verb::Get, "/customers", Access::Page, "", |call| Box::pin(pages::customers::show(call))),
    plain(Verb::Get, "/customers/{id}", Access::Page, "", |call| Box::pin(pages::customer::show(call))),
    plain(Verb::Get, "/inbox", Access::Page, "", |call| Box::pin(pages::inbox::list(call))),
    plain(Verb::Get, "/inbox/{id}", Access::Page, "", |call| Box::pin(pages::inbox::show(call))),
    plain(Verb::Get, "/inbox/{id}/preview", Access::Page, "", |call| Box::pin(pages::inbox::preview(call))),
];

/// The route that events come through.
pub fn events() -> &'static Route {
    // It is the first of the table, which a test makes sure of.
    &ROUTES[0]
}

/// The router over the whole table.
pub fn router(state: Arc<WebState>) -> Router {
    let mut router: Router<Arc<WebState>> = Router::new();
    for (i, route) in ROUTES.iter().enumerate() {
        if ROUTES[..i].iter().any(|before| before.path == route.path) {
            continue;
        }
        let methods = ROUTES.iter().filter(|other| other.path == route.path);
        let methods = methods.fold(MethodRouter::new(), |methods, route| methods.merge(one_method(route)));
        router = router.route(route.path, methods.fallback(move || not_this_method(route.path)));
    }
    router.fallback(nothing_here).with_state(state)
}

fn one_method(route: &'static Route) -> MethodRouter<Arc<WebState>> {
    on(route.method.filter(), move |State(state): State<Arc<WebState>>, params: RawPathParams, request: Request<Body>| {
        let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        dispatch(route, state, params, request)
    })
}

async fn not_this_method(path: &'static str) -> Reply {
    let methods: Vec<&str> = ROUTES.iter().filter(|route| route.path == path).map(|route| route.method.name()).collect();
    method_not_allowed(&methods.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        assert_eq!((events().path, events().method), ("/v1/events", Verb::Post));
        for (i, route) in ROUTES.iter().enumerate() {
            assert!(
                !ROUTES[..i].iter().any(|other| other.path == route.path && other.method == route.method),
                "{} twice",
                route.path
            );
            assert!(route.body_bytes_max == 0 || route.method != Verb::Get, "{}", route.path);
            // Nothing that changes anything is a GET, and machines' routes are described.
            if matches!(route.access, Access::Token(_)) {
                assert!(!route.title.is_empty() && !route.answers.is_empty(), "{}", route.path);
            }
            for example in route.answers.iter().map(|(_, _, example)| *example).chain([route.example]).filter(|e| !e.is_empty()) {
                assert!(serde_json::from_str::<serde_json::Value>(example).is_ok(), "{} {example}", route.path);
            }
        }
    }
}
