-- The text as a compressed BLOB with a checksum, which `reconstruct` reads. NULL for NULL.
CREATE MACRO compress(content) AS aios_compress(content::VARCHAR);

-- The text of a BLOB of `compress`, bit for bit; an error for any other. NULL for NULL.
CREATE MACRO reconstruct(packed) AS aios_reconstruct(packed::BLOB);
