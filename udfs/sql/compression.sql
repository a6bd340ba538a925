-- The text as a compressed BLOB with a checksum, which `reconstruct` reads. With `semantic` it is a summary, and without
-- `detail` nothing else but the names and numbers that this lacks, unless that is too far from the text. NULL for NULL.
CREATE MACRO compress(content, semantic := false, detail := true) AS
    aios_compress(content::VARCHAR, coalesce(semantic::BOOLEAN, false), coalesce(detail::BOOLEAN, true));

-- The text of a BLOB of `compress`, bit for bit, or the paraphrase where no detail was kept; an error for any other.
-- NULL for NULL.
CREATE MACRO reconstruct(packed) AS aios_reconstruct(packed::BLOB);
