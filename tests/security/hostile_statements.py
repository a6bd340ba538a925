"""Statements that read or write outside of the database, or try to be allowed to."""

from __future__ import annotations

# {o} is a directory outside, {d} the database, {a} the allowed directory
READS = """
FROM read_text('{o}/secret.txt')
FROM read_text(['{o}/secret.txt'])
FROM read_text('{o}/*')
FROM read_text('file://{o}/secret.txt')
FROM read_text('{a}/../outside/secret.txt')
FROM read_text('{d}/../outside/secret.txt')
FROM read_blob('{o}/secret.txt')
FROM read_blob('{d}/aios.json')
FROM read_csv('{o}/secret.csv')
FROM read_csv_auto('{o}/secret.csv')
FROM read_csv('{o}/secret.csv', header := false, columns := {{'a': 'VARCHAR'}})
FROM read_json('{o}/secret.json')
FROM read_json_auto('{o}/secret.json')
FROM read_json_objects('{o}/secret.json')
FROM read_ndjson('{o}/secret.json')
FROM read_ndjson_auto('{o}/secret.json')
FROM read_ndjson_objects('{o}/secret.json')
FROM read_parquet('{o}/secret.parquet')
FROM parquet_scan('{o}/secret.parquet')
FROM parquet_metadata('{o}/secret.parquet')
FROM parquet_schema('{o}/secret.parquet')
FROM parquet_file_metadata('{o}/secret.parquet')
FROM parquet_kv_metadata('{o}/secret.parquet')
FROM parquet_bloom_probe('{o}/secret.parquet', 'a', 'x')
FROM sniff_csv('{o}/secret.csv')
FROM glob('{o}/*')
FROM glob('/etc/*')
FROM '{o}/secret.csv'
FROM '{o}/secret.json'
FROM '{o}/secret.parquet'
FROM '{o}/secret.duckdb'
FROM '{o}/*.parquet'
SELECT * FROM "{o}/secret.parquet"
FROM read_duckdb('{o}/secret.duckdb')
FROM '/etc/passwd'
FROM read_text('/etc/passwd')
FROM read_text('/proc/self/environ')
FROM read_text('/proc/self/cmdline')
FROM read_text('/dev/stdin')
FROM read_text('~/.bashrc')
SELECT (SELECT content FROM read_text('{o}/secret.txt'))
WITH t AS (FROM read_text('{o}/secret.txt')) FROM t
SELECT text FROM memories UNION ALL SELECT content FROM read_text('{o}/secret.txt')
SELECT text FROM recall((SELECT content FROM read_text('{o}/secret.txt')))
SELECT remember(content) FROM read_text('{o}/secret.txt')
SELECT embed(content) FROM read_text('{o}/secret.txt')
SELECT embed_image(content) FROM read_blob('{o}/secret.txt')
FROM remember_all((SELECT list({{text: content}}) FROM read_text('{o}/secret.txt')))
INSERT INTO memories (text) SELECT content FROM read_text('{o}/secret.txt')
UPDATE memories SET text = (SELECT content FROM read_text('{o}/secret.txt'))
DELETE FROM memories WHERE text IN (SELECT content FROM read_text('{o}/secret.txt'))
CREATE TABLE mine AS FROM read_text('{o}/secret.txt')
CREATE VIEW mine AS FROM read_text('{o}/secret.txt')
CREATE TEMP VIEW mine AS FROM '{o}/secret.csv'
COPY (FROM read_text('{o}/secret.txt')) TO '{a}/copy.csv'
EXPLAIN ANALYZE FROM read_text('{o}/secret.txt')
DESCRIBE FROM read_csv('{o}/secret.csv')
SUMMARIZE FROM read_csv('{o}/secret.csv')
PREPARE p AS FROM read_text('{o}/secret.txt')
FROM query('FROM read_text(''{o}/secret.txt'')')
FROM query_table('{o}/secret.parquet')
FROM query_table(['{o}/secret.parquet'])
FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{o}/secret.txt'')'))
PRAGMA json_execute_serialized_sql('FROM read_text(''{o}/secret.txt'')')
PIVOT (FROM read_text('{o}/secret.txt')) ON content
FROM model_weights('{o}')
FROM model_weights('{o}/secret.parquet')
FROM model_weights('../../../../../../../../{o}')
FROM model_weights('/etc')
FROM model_weights('~')
SELECT aios_model_weights('{o}')
SELECT getenv('HOME')
FROM secret_of_the_program
FROM statement
FROM operation
FROM parameters
SELECT * FROM df
FROM read_text('http://127.0.0.1:9/x')
FROM read_csv('https://127.0.0.1:9/x.csv')
FROM 's3://bucket/x.parquet'
FROM 'hf://datasets/x/y.parquet'
FROM delta_scan('{o}')
FROM iceberg_scan('{o}')
FROM sqlite_scan('{o}/secret.duckdb', 't')
FROM postgres_scan('host=127.0.0.1', 'public', 't')
FROM st_read('{o}/secret.json')
FROM read_xlsx('{o}/secret.csv')
""".strip().splitlines()

WRITES = """
COPY (SELECT 1) TO '{d}/aios.json'
COPY (SELECT 1) TO '{o}/new.csv'
COPY (SELECT 1) TO '{o}/secret.csv'
COPY (SELECT 1) TO '{o}/new.json'
COPY (SELECT 1 AS a) TO '{o}/new.parquet' (FORMAT parquet)
COPY (SELECT 1 AS a) TO '{o}/parts' (FORMAT csv, PARTITION_BY (a))
COPY (SELECT 1) TO '{a}/../outside/new.csv'
COPY memories TO '{o}/new.csv'
COPY (SELECT text FROM recall('key')) TO '{o}/new.csv'
COPY (SELECT 1) TO '/dev/stdout'
COPY mine FROM '{o}/secret.csv'
COPY FROM DATABASE memory TO other
EXPORT DATABASE '{o}/all'
EXPORT DATABASE '{d}/all' (FORMAT parquet)
IMPORT DATABASE '{o}'
ATTACH '{o}/secret.duckdb'
ATTACH '{o}/secret.duckdb' AS other (READ_ONLY)
ATTACH '{o}/new.duckdb' AS other
ATTACH IF NOT EXISTS '{o}/new.duckdb'
ATTACH '{d}/aios.json' AS other
ATTACH 'http://127.0.0.1:9/x.duckdb' AS other
ATTACH 'md:' AS other
ATTACH '{o}/secret.duckdb' AS other (TYPE sqlite)
ATTACH 'host=127.0.0.1' AS other (TYPE postgres)
ATTACH ':memory:' AS other; COPY (SELECT 1) TO '{o}/new.csv'
SELECT 1; COPY (SELECT 1) TO '{o}/new.csv'
INSTALL httpfs
INSTALL '{o}/secret.txt'
FORCE INSTALL spatial FROM 'http://127.0.0.1:9'
INSTALL spatial FROM community
LOAD httpfs
LOAD '{o}/secret.txt'
UPDATE EXTENSIONS
CALL start_ui()
CREATE PERSISTENT SECRET s (TYPE http, BEARER_TOKEN 'x')
CREATE SECRET s IN local_file (TYPE http, BEARER_TOKEN 'x')
CALL enable_logging('QueryLog', storage := 'file', storage_path := '{o}/log')
FROM enable_logging('QueryLog', storage := 'file', storage_path := '{o}/log')
SELECT * FROM "enable_logging"('QueryLog', storage = 'file', storage_path = '{o}/log')
FROM query('FROM enable_' || 'logging(''QueryLog'', storage := ''file'', storage_path := ''{o}/log'')')
FROM query /* so */ ('CALL enable_logging()')
CREATE MACRO log_it(x) AS TABLE FROM query(x); FROM log_it('FROM enable_' || 'logging()')
CALL enable_profiling(format := 'json', save_location := '{o}/profile')
PRAGMA enable_profiling = 'json'
PRAGMA profiling_output = '{o}/profile'
SET profiling_output = '{o}/profile'
SET log_query_path = '{o}/log'
""".strip().splitlines()

SETTINGS = """
SET enable_external_access = true
SET GLOBAL enable_external_access = true
RESET enable_external_access
SET lock_configuration = false
RESET GLOBAL lock_configuration
PRAGMA enable_external_access = true
SET allowed_directories = ['/']
SET allowed_paths = ['{o}/secret.txt']
SET GLOBAL python_enable_replacements = true
SET python_scan_all_frames = true
SET allow_persistent_secrets = true
SET autoinstall_known_extensions = true
SET allow_community_extensions = true
SET allow_unsigned_extensions = true
SET extension_directory = '{o}'
SET home_directory = '{o}'
SET secret_directory = '{o}'
SET temp_directory = '{o}'
SET memory_limit = '900GB'
SET file_search_path = '{o}'
SET custom_extension_repository = 'http://127.0.0.1:9'
SET search_path = 'system'; SET enable_external_access = true
BEGIN; SET GLOBAL enable_external_access = true
""".strip().splitlines()
