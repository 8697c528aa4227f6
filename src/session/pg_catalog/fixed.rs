//! The tables of `pg_catalog` that do not depend on what there is: those that are always empty, and those that never change.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, new_null_array};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::FieldRef;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion_pg_catalog::pg_catalog::ArrowTable;
use parking_lot::Mutex;

use super::shape::Shape;
use crate::error::{Error, Result};

/// Tables that are always empty here, with the columns that clients ask for.
pub(crate) fn empty(name: &str) -> Option<&'static str> {
    Some(match name {
        "pg_auth_members" => "roleid:oid member:oid grantor:oid admin_option:bool",
        "pg_cursors" => {
            "name:text statement:text is_holdable:bool is_binary:bool is_scrollable:bool creation_time:timestamptz"
        }
        "pg_db_role_setting" => "setdatabase:oid setrole:oid setconfig:text[]",
        "pg_default_acl" => "oid:oid defaclrole:oid defaclnamespace:oid defaclobjtype:char defaclacl:text[]",
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
        "pg_available_extensions" => "name:name default_version:text installed_version:text comment:text",
        "pg_largeobject_metadata" => "oid:oid lomowner:oid lomacl:text[]",
        "pg_parameter_acl" => "oid:oid parname:text paracl:text[]",
        "pg_policies" => {
            "schemaname:name tablename:name policyname:name permissive:text roles:text[] cmd:text qual:text with_check:text"
        }
        "pg_prepared_xacts" => "transaction:int8 gid:text prepared:timestamptz owner:name database:name",
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
        "pg_user_mappings" => "umid:oid srvid:oid srvname:name umuser:oid usename:name umoptions:text[]",
        "pg_timezone_names" => "name:text abbrev:text utc_offset:text is_dst:bool",
        "pg_trigger" => {
            "oid:oid tgrelid:oid tgparentid:oid tgname:name tgfoid:oid tgtype:int2 tgenabled:char tgisinternal:bool tgconstrrelid:oid tgconstrindid:oid tgconstraint:oid tgdeferrable:bool tginitdeferred:bool tgnargs:int2 tgattr:int2[] tgargs:bytea tgqual:text tgoldtable:name tgnewtable:name"
        }
        "pg_user_mapping" => "oid:oid umuser:oid umserver:oid umoptions:text[]",
        _ => return None,
    })
}

/// The columns of the tables that never change. Names of functions (`regproc`) are text; where a function's oid is asked for,
/// none is known.
fn of_postgres_columns(name: &str) -> Option<&'static str> {
    Some(match name {
        "pg_aggregate" => {
            "aggfnoid:text aggkind:char aggnumdirectargs:int2 aggtransfn:text aggfinalfn:text aggcombinefn:text aggserialfn:text aggdeserialfn:text aggmtransfn:text aggminvtransfn:text aggmfinalfn:text aggfinalextra:bool aggmfinalextra:bool aggfinalmodify:char aggmfinalmodify:char aggsortop:oid aggtranstype:oid aggtransspace:int4 aggmtranstype:oid aggmtransspace:int4 agginitval:text aggminitval:text"
        }
        "pg_am" => "oid:oid amname:name amhandler:text amtype:char",
        "pg_amop" => {
            "oid:oid amopfamily:oid amoplefttype:oid amoprighttype:oid amopstrategy:int2 amoppurpose:char amopopr:oid amopmethod:oid amopsortfamily:oid"
        }
        "pg_amproc" => {
            "oid:oid amprocfamily:oid amproclefttype:oid amprocrighttype:oid amprocnum:int2 amproc:oid"
        }
        "pg_cast" => "oid:oid castsource:oid casttarget:oid castfunc:oid castcontext:char castmethod:char",
        "pg_collation" => {
            "oid:oid collname:name collnamespace:oid collowner:oid collprovider:char collisdeterministic:bool collencoding:int4 collcollate:text collctype:text colliculocale:text collversion:text"
        }
        "pg_conversion" => {
            "oid:oid conname:name connamespace:oid conowner:oid conforencoding:int4 contoencoding:int4 conproc:text condefault:bool"
        }
        "pg_description" => "objoid:oid classoid:oid objsubid:int4 description:text",
        "pg_language" => {
            "oid:oid lanname:name lanowner:oid lanispl:bool lanpltrusted:bool lanplcallfoid:oid laninline:oid lanvalidator:oid lanacl:text[]"
        }
        "pg_opclass" => {
            "oid:oid opcmethod:oid opcname:name opcnamespace:oid opcowner:oid opcfamily:oid opcintype:oid opcdefault:bool opckeytype:oid"
        }
        "pg_operator" => {
            "oid:oid oprname:name oprnamespace:oid oprowner:oid oprkind:char oprcanmerge:bool oprcanhash:bool oprleft:oid oprright:oid oprresult:oid oprcom:oid oprnegate:oid oprcode:text oprrest:text oprjoin:text"
        }
        "pg_opfamily" => "oid:oid opfmethod:oid opfname:name opfnamespace:oid opfowner:oid",
        "pg_range" => {
            "rngtypid:oid rngsubtype:oid rngmultitypid:oid rngcollation:oid rngsubopc:oid rngcanonical:text rngsubdiff:text"
        }
        "pg_ts_config" => "oid:oid cfgname:name cfgnamespace:oid cfgowner:oid cfgparser:oid",
        "pg_ts_dict" => {
            "oid:oid dictname:name dictnamespace:oid dictowner:oid dicttemplate:oid dictinitoption:text"
        }
        "pg_ts_parser" => {
            "oid:oid prsname:name prsnamespace:oid prsstart:text prstoken:text prsend:text prsheadline:text prslextype:text"
        }
        "pg_ts_template" => "oid:oid tmplname:name tmplnamespace:oid tmplinit:text tmpllexize:text",
        "pg_type" => {
            "oid:oid typname:name typnamespace:oid typowner:oid typlen:int2 typbyval:bool typtype:char typcategory:char typispreferred:bool typisdefined:bool typdelim:char typrelid:oid typsubscript:text typelem:oid typarray:oid typinput:text typoutput:text typreceive:text typsend:text typmodin:text typmodout:text typanalyze:text typalign:char typstorage:char typnotnull:bool typbasetype:oid typtypmod:int4 typndims:int4 typcollation:oid typdefaultbin:text typdefault:text typacl:text[]"
        }
        _ => return None,
    })
}

/// What never changes, as Postgres has it.
pub(crate) fn of_postgres(name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    match rows(name)? {
        Some(rows) => Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))),
        None => Ok(None),
    }
}

/// The rows of such a table, in the columns and types of the version that the server says it is; made once.
pub(crate) fn rows(name: &str) -> Result<Option<RecordBatch>> {
    static ROWS: Mutex<BTreeMap<String, RecordBatch>> = Mutex::new(BTreeMap::new());
    let Some(columns) = of_postgres_columns(name) else { return Ok(None) };
    if let Some(rows) = ROWS.lock().get(name) {
        return Ok(Some(rows.clone()));
    }
    let given = shipped(name)?;
    let schema = Shape::new(columns)?.schema();
    let all = concat_batches(&given.schema(), given.data())?;
    let column = |field: &FieldRef| -> Result<ArrayRef> {
        match all.column_by_name(field.name()) {
            // Privileges are always NULL; lists are not held as lists.
            Some(column) if !field.data_type().is_nested() => Ok(cast(column, field.data_type())?),
            _ => Ok(new_null_array(field.data_type(), all.num_rows())),
        }
    };
    let arrays = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    let rows = RecordBatch::try_new(schema, arrays)?;
    ROWS.lock().insert(name.to_owned(), rows.clone());
    Ok(Some(rows))
}

/// The table as the crate ships it.
fn shipped(name: &str) -> Result<&'static ArrowTable> {
    let tables = super::postgres()?;
    Ok(match name {
        "pg_aggregate" => &tables.pg_aggregate,
        "pg_am" => &tables.pg_am,
        "pg_amop" => &tables.pg_amop,
        "pg_amproc" => &tables.pg_amproc,
        "pg_cast" => &tables.pg_cast,
        "pg_collation" => &tables.pg_collation,
        "pg_conversion" => &tables.pg_conversion,
        "pg_description" => &tables.pg_description,
        "pg_language" => &tables.pg_language,
        "pg_opclass" => &tables.pg_opclass,
        "pg_operator" => &tables.pg_operator,
        "pg_opfamily" => &tables.pg_opfamily,
        "pg_range" => &tables.pg_range,
        "pg_ts_config" => &tables.pg_ts_config,
        "pg_ts_dict" => &tables.pg_ts_dict,
        "pg_ts_parser" => &tables.pg_ts_parser,
        "pg_ts_template" => &tables.pg_ts_template,
        "pg_type" => &tables.pg_type,
        other => return Err(Error::internal(format!("{other} is not among Postgres's tables"))),
    })
}
