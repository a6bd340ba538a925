-- Models: the versions of their weights in this database, how they were validated, and what is in their files.

CREATE VIEW weight_versions AS FROM lance_weight_versions;

CREATE VIEW validation_reports AS FROM lance_validation_reports;

CREATE VIEW schema_migrations AS FROM lance_schema_migrations;

-- The tensors of a model, by its name or its directory: layer_name, shape, dtype, bytes, quant_type (NULL in V1 files)
-- and whether they are in memory now.
CREATE MACRO model_weights(name) AS TABLE
SELECT unnest(aios_model_weights(name), max_depth := 2);

-- Memory of accelerators in bytes: total, used by every process, allocated by this one, and of each model that this
-- process has open the weights that stay there and those that come and go. All 0 on a CPU.
CREATE MACRO vram() AS TABLE
SELECT unnest(aios_vram(true), max_depth := 2);

-- The values of a row of a weight file, in row-major order: (q - zero_point) * scale of int8 and int2, and the numbers
-- themselves of fp16 and fp32.
CREATE MACRO dequantize(data, quant_type, scales, zero_points, shape, group_size, quant_axis := NULL) AS
    aios_dequantize(data, quant_type, scales, zero_points, shape, group_size, quant_axis);
