-- The tables as views. `lance_memories` and `lance_association_links` are the live Lance datasets; projections and
-- filters on these views are pushed down into them.

CREATE VIEW memories AS FROM lance_memories;

CREATE VIEW association_links AS FROM lance_association_links;
