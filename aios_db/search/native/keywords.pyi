from aios_db.search.portable.keywords import best as best
from aios_db.search.portable.keywords import scores as scores
