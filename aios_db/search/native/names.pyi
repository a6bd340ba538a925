from aios_db.search.portable.names import Names as Names
