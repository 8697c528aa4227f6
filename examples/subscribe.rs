//! Follows a materialized view from Rust: a row for each change, as it happens.
//!
//! Start a server, make the view `bids_per_owner` with `\i sql/quickstart.sql`, and then
//! `cargo run --example subscribe -- bids_per_owner`. Ctrl-C ends it.
//!
//! SUBSCRIBE has no end, so its rows must be taken as they come: `query_raw` gives a stream of
//! them. In SQL it is a statement like any other; nothing here knows of Tidemill but the port and
//! the first two columns.

use std::error::Error;

use futures::{StreamExt, pin_mut};
use tokio_postgres::{NoTls, SimpleQueryMessage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let view = std::env::args().nth(1).unwrap_or_else(|| "bids_per_owner".to_owned());
    let server = std::env::var("TIDEMILL_URL")
        .unwrap_or_else(|_| "postgres://tidemill@127.0.0.1:5455/tidemill".to_owned());
    let (client, connection) = tokio_postgres::connect(&server, NoTls).await?;
    let talking = tokio::spawn(connection);
    // A name goes into the text, so it is quoted as Postgres quotes names.
    let name = format!("\"{}\"", view.replace('"', "\"\""));
    let columns = columns(&client, &name).await?;
    println!("epoch diff {}", columns.join(" "));
    let casts: Vec<String> =
        columns.iter().map(|column| format!("\"{}\"::text", column.replace('"', "\"\""))).collect();
    // As text, whatever the types are; a program that knows its view leaves this away and reads
    // typed values.
    let follow = format!("SUBSCRIBE TO (SELECT {} FROM {name})", casts.join(", "));
    let changes = client.query_raw(&follow, Vec::<String>::new()).await?;
    pin_mut!(changes);
    while let Some(change) = changes.next().await {
        let change = change?;
        let (epoch, diff): (i64, i64) = (change.try_get(0)?, change.try_get(1)?);
        let mut line = format!("{epoch} {diff:+}");
        for column in 2..change.len() {
            let value: Option<String> = change.try_get(column)?;
            line.push(' ');
            line.push_str(value.as_deref().unwrap_or("NULL"));
        }
        println!("{line}");
    }
    drop(client);
    Ok(talking.await??)
}

/// The names of the view's columns, from a query that gives no rows.
async fn columns(
    client: &tokio_postgres::Client,
    name: &str,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let messages = client.simple_query(&format!("SELECT * FROM {name} LIMIT 0")).await?;
    let columns = messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::RowDescription(columns) => {
            Some(columns.iter().map(|c| c.name().to_owned()).collect())
        }
        _ => None,
    });
    Ok(columns.unwrap_or_default())
}
