-- The first k of a ranked list, in which one source that is not trusted fully has only its share (`trust.source_share`), unless
-- the filter asks for sources by name.
CREATE MACRO best_of(ranked, k, filter := NULL) AS list_transform([ranked], lambda given:
    list_select(given, aios_places(list_transform(given, lambda each: each.memory_id), k, filter)))[1];
