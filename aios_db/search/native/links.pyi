from aios_db.search.portable.links import merge as merge
from aios_db.search.portable.links import step as step
