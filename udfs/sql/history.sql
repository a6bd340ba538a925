-- What was changed, by whom and by which call: a row per call that changed memories or links, the oldest first.
CREATE VIEW changes AS SELECT unnest(aios_changes(true), recursive := true);

-- Brings what a change wrote back to what it was before; one row: its own change_id, and how much it wrote. An error, and
-- nothing written, where a later change touched the same memories, or where more of them than storage.confirm_forget would be
-- deleted, unless `confirm` is true.
CREATE MACRO undo(change, confirm := false) AS TABLE
SELECT unnest(aios_undo(struct_extract({'written': whole_number('change', change)}, aios_writes('undo')), confirm::BOOLEAN, aios_call('undo')),
    recursive := true)
LIMIT 1 + 0 * coalesce(change::BIGINT, 0);

-- Brings memories and links back to a version (a whole number) or to a time, as a new version; one row, as `undo`.
CREATE MACRO restore(point, confirm := false) AS TABLE
SELECT unnest(aios_restore(struct_extract({'written': list_transform([point::VARCHAR], lambda given:
    [CASE WHEN regexp_full_match(given, '\d{1,18}') THEN given::BIGINT END, epoch_us(TRY_CAST(given AS TIMESTAMPTZ))])[1]}, aios_writes('restore')), confirm::BOOLEAN, aios_call('restore')),
    recursive := true)
LIMIT 1 + 0 * coalesce(len(point::VARCHAR), 0);
