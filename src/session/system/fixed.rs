//! The tables of `pg_catalog` that do not depend on what there is: those that are always empty, and those that never change.

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use crate::error::Result;

/// Tables that are always empty here, with the columns that clients ask for.
pub(super) fn empty(name: &str) -> Option<&'static str> {
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
            "oid:oid subdbid:oid subname:name subowner:oid subenabled:bool subconninfo:text subslotname:name subpublications:text[]"
        }
        "pg_timezone_names" => "name:text abbrev:text utc_offset:text is_dst:bool",
        "pg_trigger" => {
            "oid:oid tgrelid:oid tgparentid:oid tgname:name tgfoid:oid tgtype:int2 tgenabled:char tgisinternal:bool tgconstrrelid:oid tgconstrindid:oid tgconstraint:oid tgdeferrable:bool tginitdeferred:bool tgnargs:int2 tgattr:int2[] tgargs:bytea tgqual:text tgoldtable:name tgnewtable:name"
        }
        "pg_user_mapping" => "oid:oid umuser:oid umserver:oid umoptions:text[]",
        _ => return None,
    })
}

/// What never changes, as Postgres has it.
pub(super) fn of_postgres(name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let tables = super::postgres()?;
    let table = match name {
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
        _ => return Ok(None),
    };
    Ok(Some(table.try_into_memtable()?))
}
