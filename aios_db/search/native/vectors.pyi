from aios_db.search.portable.vectors import nearest as nearest
from aios_db.search.portable.vectors import products as products
