//! The tables of `pg_catalog` that do not depend on what there is: those that are always empty, and
//! those that never change.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::catalog::{MemTable, TableProvider};
use parking_lot::Mutex;

use super::shape::TableColumns;
use crate::error::Result;
use crate::pgtypes::copy::{CopyDecoder, CopyOptions};

/// Tables that are always empty here, with the columns that clients ask for.
pub(crate) fn empty(name: &str) -> Option<&'static str> {
    Some(match name {
        "pg_auth_members" => "roleid:oid member:oid grantor:oid admin_option:bool",
        "pg_cursors" => {
            "name:text statement:text is_holdable:bool is_binary:bool is_scrollable:bool creation_time:timestamptz"
        }
        "pg_db_role_setting" => "setdatabase:oid setrole:oid setconfig:text[]",
        "pg_default_acl" => {
            "oid:oid defaclrole:oid defaclnamespace:oid defaclobjtype:char defaclacl:text[]"
        }
        "pg_depend" => {
            "classid:oid objid:oid objsubid:int4 refclassid:oid refobjid:oid refobjsubid:int4 deptype:char"
        }
        "pg_enum" => "oid:oid enumtypid:oid enumsortorder:float4 enumlabel:name",
        "pg_event_trigger" => {
            "oid:oid evtname:name evtevent:name evtowner:oid evtfoid:oid evtenabled:char evttags:text[]"
        }
        "pg_extension" => {
            "oid:oid extname:name extowner:oid extnamespace:oid extrelocatable:bool extversion:text extconfig:oid[] extcondition:text[]"
        }
        "pg_foreign_data_wrapper" => {
            "oid:oid fdwname:name fdwowner:oid fdwhandler:oid fdwvalidator:oid fdwacl:text[] fdwoptions:text[]"
        }
        "pg_foreign_server" => {
            "oid:oid srvname:name srvowner:oid srvfdw:oid srvtype:text srvversion:text srvacl:text[] srvoptions:text[]"
        }
        "pg_foreign_table" => "ftrelid:oid ftserver:oid ftoptions:text[]",
        "pg_group" => "groname:name grosysid:oid grolist:oid[]",
        "pg_inherits" => "inhrelid:oid inhparent:oid inhseqno:int4 inhdetachpending:bool",
        "pg_locks" => {
            "locktype:text database:oid relation:oid page:int4 tuple:int2 virtualxid:text transactionid:int8 classid:oid objid:oid objsubid:int2 virtualtransaction:text pid:int4 mode:text granted:bool fastpath:bool waitstart:timestamptz"
        }
        "pg_partitioned_table" => {
            "partrelid:oid partstrat:char partnatts:int2 partdefid:oid partattrs:int2[] partclass:oid[] partcollation:oid[] partexprs:text"
        }
        "pg_policy" => {
            "oid:oid polname:name polrelid:oid polcmd:char polpermissive:bool polroles:text polqual:text polwithcheck:text"
        }
        "pg_prepared_statements" => {
            "name:text statement:text prepare_time:timestamptz parameter_types:text[] from_sql:bool"
        }
        "pg_publication" => {
            "oid:oid pubname:name pubowner:oid puballtables:bool pubinsert:bool pubupdate:bool pubdelete:bool pubtruncate:bool pubviaroot:bool"
        }
        "pg_publication_namespace" => "oid:oid pnpubid:oid pnnspid:oid",
        "pg_publication_rel" => "oid:oid prpubid:oid prrelid:oid prqual:text prattrs:int2[]",
        "pg_publication_tables" => {
            "pubname:name schemaname:name tablename:name attnames:text[] rowfilter:text"
        }
        "pg_rewrite" => {
            "oid:oid rulename:name ev_class:oid ev_type:char ev_enabled:char is_instead:bool ev_qual:text ev_action:text"
        }
        "pg_sequence" => {
            "seqrelid:oid seqtypid:oid seqstart:int8 seqincrement:int8 seqmax:int8 seqmin:int8 seqcache:int8 seqcycle:bool"
        }
        "pg_sequences" => {
            "schemaname:name sequencename:name sequenceowner:name data_type:text start_value:int8 min_value:int8 max_value:int8 increment_by:int8 cycle:bool cache_size:int8 last_value:int8"
        }
        "pg_shdescription" => "objoid:oid classoid:oid description:text",
        "pg_stat_database" => {
            "datid:oid datname:name numbackends:int4 xact_commit:int8 xact_rollback:int8 blks_read:int8 blks_hit:int8 tup_returned:int8 tup_fetched:int8 tup_inserted:int8 tup_updated:int8 tup_deleted:int8 stats_reset:timestamptz"
        }
        "pg_stat_ssl" => {
            "pid:int4 ssl:bool version:text cipher:text bits:int4 client_dn:text client_serial:text issuer_dn:text"
        }
        "pg_statistic_ext" => {
            "oid:oid stxrelid:oid stxname:name stxnamespace:oid stxowner:oid stxstattarget:int4 stxkeys:int2[] stxkind:text[] stxexprs:text"
        }
        "pg_subscription" => {
            "oid:oid subdbid:oid subskiplsn:text subname:name subowner:oid subenabled:bool subbinary:bool substream:bool subtwophasestate:char subdisableonerr:bool subconninfo:text subslotname:name subsynccommit:text subpublications:text[]"
        }
        "pg_available_extensions" => {
            "name:name default_version:text installed_version:text comment:text"
        }
        "pg_largeobject_metadata" => "oid:oid lomowner:oid lomacl:text[]",
        "pg_parameter_acl" => "oid:oid parname:text paracl:text[]",
        "pg_policies" => {
            "schemaname:name tablename:name policyname:name permissive:text roles:text[] cmd:text qual:text with_check:text"
        }
        "pg_prepared_xacts" => {
            "transaction:int8 gid:text prepared:timestamptz owner:name database:name"
        }
        "pg_replication_slots" => {
            "slot_name:name plugin:name slot_type:text datoid:oid database:name temporary:bool active:bool active_pid:int4"
        }
        "pg_rules" => "schemaname:name tablename:name rulename:name definition:text",
        "pg_seclabel" => "objoid:oid classoid:oid objsubid:int4 provider:text label:text",
        "pg_seclabels" => {
            "objoid:oid classoid:oid objsubid:int4 objtype:text objnamespace:oid objname:text provider:text label:text"
        }
        "pg_statistic_ext_data" => {
            "stxoid:oid stxdinherit:bool stxdndistinct:text stxddependencies:text stxdmcv:text stxdexpr:text"
        }
        "pg_partition_tree" => "relid:oid parentrelid:oid isleaf:bool level:int4",
        "ts_token_type" => "tokid:int4 alias:text description:text",
        "pg_ts_config_map" => "mapcfg:oid maptokentype:int4 mapseqno:int4 mapdict:oid",
        "pg_user_mappings" => {
            "umid:oid srvid:oid srvname:name umuser:oid usename:name umoptions:text[]"
        }
        "pg_timezone_names" => "name:text abbrev:text utc_offset:text is_dst:bool",
        "pg_trigger" => {
            "oid:oid tgrelid:oid tgparentid:oid tgname:name tgfoid:oid tgtype:int2 tgenabled:char tgisinternal:bool tgconstrrelid:oid tgconstrindid:oid tgconstraint:oid tgdeferrable:bool tginitdeferred:bool tgnargs:int2 tgattr:int2[] tgargs:bytea tgqual:text tgoldtable:name tgnewtable:name"
        }
        "pg_user_mapping" => "oid:oid umuser:oid umserver:oid umoptions:text[]",
        _ => return None,
    })
}

/// The tables that never change: what PostgreSQL 15 has in them when a database is new, without
/// what is found in the system it runs on. The first line has the columns, the others are `COPY
/// (SELECT … FROM pg_catalog.NAME) TO STDOUT`. Names of functions (`regproc`) are text; where a
/// function's oid is asked for, none is known.
const OF_POSTGRES: &[(&str, &str)] = &[
    ("pg_aggregate", include_str!("postgres15/pg_aggregate.tsv")),
    ("pg_am", include_str!("postgres15/pg_am.tsv")),
    ("pg_amop", include_str!("postgres15/pg_amop.tsv")),
    ("pg_amproc", include_str!("postgres15/pg_amproc.tsv")),
    ("pg_cast", include_str!("postgres15/pg_cast.tsv")),
    ("pg_collation", include_str!("postgres15/pg_collation.tsv")),
    ("pg_conversion", include_str!("postgres15/pg_conversion.tsv")),
    ("pg_description", include_str!("postgres15/pg_description.tsv")),
    ("pg_language", include_str!("postgres15/pg_language.tsv")),
    ("pg_opclass", include_str!("postgres15/pg_opclass.tsv")),
    ("pg_operator", include_str!("postgres15/pg_operator.tsv")),
    ("pg_opfamily", include_str!("postgres15/pg_opfamily.tsv")),
    ("pg_range", include_str!("postgres15/pg_range.tsv")),
    ("pg_ts_config", include_str!("postgres15/pg_ts_config.tsv")),
    ("pg_ts_dict", include_str!("postgres15/pg_ts_dict.tsv")),
    ("pg_ts_parser", include_str!("postgres15/pg_ts_parser.tsv")),
    ("pg_ts_template", include_str!("postgres15/pg_ts_template.tsv")),
    ("pg_type", include_str!("postgres15/pg_type.tsv")),
];

/// What never changes, as Postgres has it.
pub(crate) fn of_postgres(name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    match rows(name)? {
        Some(rows) => Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))),
        None => Ok(None),
    }
}

/// The rows of such a table; read once.
pub(crate) fn rows(name: &str) -> Result<Option<RecordBatch>> {
    static ROWS: Mutex<BTreeMap<&str, RecordBatch>> = Mutex::new(BTreeMap::new());
    let Some((name, text)) = OF_POSTGRES.iter().find(|(known, _)| *known == name) else {
        return Ok(None);
    };
    if let Some(rows) = ROWS.lock().get(name) {
        return Ok(Some(rows.clone()));
    }
    let (columns, data) = text.split_once('\n').unwrap_or((text, ""));
    let mut decoder = CopyDecoder::new(TableColumns::new(columns)?.columns(), CopyOptions::text());
    decoder.push(data.as_bytes())?;
    let mut batches = Vec::new();
    while let Some(batch) = decoder.take() {
        batches.push(batch);
    }
    while let Some(batch) = decoder.finish()? {
        batches.push(batch);
    }
    let rows = concat_batches(&decoder.schema(), &batches)?;
    ROWS.lock().insert(name, rows.clone());
    Ok(Some(rows))
}
