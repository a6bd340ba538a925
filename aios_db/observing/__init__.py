"""What a process does on a database, in numbers: recorded, shown in SQL, and handed to who monitors."""
