-- The first k of a ranked list, in which one source that is not trusted fully has only its share (`trust.source_share`).
CREATE MACRO best_of(ranked, k) AS list_transform([ranked], lambda given:
    list_select(given, aios_places(list_transform(given, lambda each: each.memory_id), k)))[1];
