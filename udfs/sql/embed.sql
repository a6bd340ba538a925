-- The text's vector: FLOAT[dimension], unit length. NULL for NULL.
CREATE MACRO embed(content) AS aios_embed(content);
