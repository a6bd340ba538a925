"""The versions of models' weights in a database: installed, validated, active, and the vectors they made."""
