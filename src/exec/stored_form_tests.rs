//! State that another version of the server has stored in another form is told, and refused by the
//! name of its view.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::DataType;

use super::codec::{end, prefix};
use super::tests::open;
use crate::catalog::{Emission, Relation};
use crate::store::codec::{decode_batch, encode_batch};
use crate::store::{MemoryStore, Space, Store, WriteBatch};

/// Writes sums of floats as they were before they were exact: as one number.
fn write_rounded_sums(store: &dyn Store, view: &Relation) {
    let mut puts = WriteBatch::default();
    for entry in store.scan(Space::State, &prefix(view.id), &end(view.id)).unwrap() {
        let (key, value) = entry.unwrap();
        let rows = decode_batch(&value).unwrap();
        let schema = rows.schema();
        let columns = schema.fields().iter().zip(rows.columns()).map(|(field, column)| {
            let old: ArrayRef = match column.data_type() {
                DataType::Binary => {
                    Arc::new(Float64Array::from_iter_values((0..rows.num_rows()).map(|_| 1.0)))
                }
                _ => Arc::clone(column),
            };
            (field.name().clone(), old, true)
        });
        let old = RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap();
        assert_ne!(old.schema(), rows.schema());
        puts.put(Space::State, key, encode_batch(&old).unwrap());
    }
    assert!(!puts.is_empty());
    store.commit(puts).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_of_another_form_is_refused_by_name_and_others_are_read() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let bench = open(Arc::clone(&store)).await;
    let s = bench.stream().await;
    let floats = "SELECT k, sum(v + 0.5::double precision) AS x FROM s GROUP BY k";
    let floats = bench.view("floats", floats, Emission::OnChange).await;
    let whole =
        bench.view("whole", "SELECT k, sum(v) AS x FROM s GROUP BY k", Emission::OnChange).await;
    bench.insert(&s, &[(Some("a"), 1, 1), (Some("a"), 2, 2)]).await;
    assert_eq!(bench.rows(&floats).await, ["a 4.0"]);
    bench.engine.stop().await;
    drop(bench);
    write_rounded_sums(store.as_ref(), &floats);

    let bench = open(store).await;
    bench.insert(&s, &[(Some("a"), 4, 3)]).await;
    assert_eq!(bench.rows(&whole).await, ["a 7"]);
    let view = bench.engine.view(floats.id).unwrap();
    let error = bench.engine.sync(&[view], bench.engine.journal.last()).await.unwrap_err();
    assert!(
        error.message().contains("\"floats\" has failed: the stored state has another form"),
        "{error}"
    );
    assert_eq!(error.detail_text(), Some("SQLSTATE 0A000"));
}
