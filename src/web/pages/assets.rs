//! The style sheet and the little script that keeps a page fresh; both are part of the program.

use crate::web::answer::{Answer, asset};
use crate::web::call::Call;

/// `/assets/style.css`.
pub async fn style(_call: Call) -> Answer {
    Ok(asset("text/css; charset=utf-8", include_str!("style.css")))
}

/// `/assets/app.js`.
pub async fn script(_call: Call) -> Answer {
    Ok(asset("text/javascript; charset=utf-8", include_str!("app.js")))
}
